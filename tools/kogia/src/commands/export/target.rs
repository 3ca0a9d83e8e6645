//! Where an exported object goes: always below the directory, whatever its key says.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The place of the object under `key` below `dir`, its folders made. Refuses keys that are no
/// relative path in plain form, and links and other things in the way, which could lead out.
pub fn prepare(dir: &Path, key: &[u8]) -> Result<PathBuf, Failure> {
    let names = plain_names(key)?;
    let (file, folders) = names.split_last().expect("a split gives at least one name");
    let mut path = dir.to_path_buf();
    for folder in folders {
        path.push(folder);
        make_folder(&path).map_err(Failure::file(&path))?;
    }
    path.push(file);
    refuse_other_than_file(&path).map_err(Failure::file(&path))?;
    Ok(path)
}

fn plain_names(key: &[u8]) -> Result<Vec<&OsStr>, Failure> {
    key.split(|byte| *byte == b'/').map(plain_name).collect()
}

fn plain_name(name: &[u8]) -> Result<&OsStr, Failure> {
    match name {
        b"" => Err(Failure::UnsafeKey("it begins or ends with '/', or has '//' in it")),
        b"." | b".." => Err(Failure::UnsafeKey("'.' or '..' is one of its names")),
        _ if name.contains(&0) => Err(Failure::UnsafeKey(r"it has the byte \x00 in it")),
        _ => Ok(OsStr::from_bytes(name)),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(())
            } else {
                Err(io::Error::new(
                    error.kind(),
                    "a folder belongs here, and something else is here",
                ))
            }
        }
        result => result,
    }
}

fn refuse_other_than_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file belongs here, and something else is here",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_paths() {
        for key in ["a", "a/b", "...", "a\\b", " ", "a/..b"] {
            assert!(plain_names(key.as_bytes()).is_ok(), "{key}");
        }
        for key in ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.", "a\0b"] {
            assert!(plain_names(key.as_bytes()).is_err(), "{key}");
        }
    }
}
