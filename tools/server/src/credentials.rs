//! The pair of keys that a server makes when it is given none.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::access::AccessKey;

const FILE: &str = "credentials.toml";
const NAME_CHARS: usize = 20;
const SECRET_CHARS: usize = 40;

#[derive(Deserialize)]
struct Kept {
    access_key: String,
    secret_key: String,
}

/// Where the pair is kept.
#[must_use]
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The pair that was made before, or a new one, which nobody else may read.
pub fn load_or_make(dir: &Path) -> Result<AccessKey, String> {
    let path = path(dir);
    let in_file = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let kept: Kept = toml::from_str(&text).map_err(|e| in_file(&e))?;
            Ok(key(kept.access_key, kept.secret_key))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = key(random(NAME_CHARS, UPPER)?, random(SECRET_CHARS, ALL)?);
            keep(dir, &path, &made).map_err(|e| in_file(&e))?;
            Ok(made)
        }
        Err(error) => Err(in_file(&error)),
    }
}

fn key(access_key: String, secret_key: String) -> AccessKey {
    AccessKey { access_key, secret_key, rules: Vec::new() }
}

/// Whole or not at all: half a file would keep the server from starting.
fn keep(dir: &Path, path: &Path, made: &AccessKey) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    let (name, secret) = (&made.access_key, &made.secret_key);
    writeln!(file, "access_key = \"{name}\"\nsecret_key = \"{secret}\"")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(dir)?.sync_all()
}

const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Letters of an alphabet whose length divides 256.
fn random<const N: usize>(chars: usize, alphabet: &[u8; N]) -> Result<String, String> {
    const { assert!(256 % N == 0) };
    let mut bytes = vec![0; chars];
    getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers: {e}"))?;
    Ok(bytes.iter().map(|&byte| char::from(alphabet[usize::from(byte) % N])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_make(dir.path()).unwrap();
        assert_eq!((made.access_key.len(), made.secret_key.len()), (NAME_CHARS, SECRET_CHARS));
        let again = load_or_make(dir.path()).unwrap();
        assert_eq!((again.access_key, again.secret_key), (made.access_key, made.secret_key));
        let mode = std::fs::metadata(path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(path(dir.path()), "rubbish").unwrap();
        assert!(load_or_make(dir.path()).unwrap_err().contains(FILE));
    }
}
