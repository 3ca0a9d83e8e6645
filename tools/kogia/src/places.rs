//! Where a store lies, and keeping what else a command reads and writes out of there.

use std::path::{Component, Path, PathBuf};

use kogia::Store;

use crate::failure::Failure;

/// Refuses a file or directory that lies in what is the store's own, or that in it: a store does not
/// go into itself, and what comes out of it may have the names of its files.
pub fn refuse_own(path: &Path, store: &Store) -> Result<(), Failure> {
    let there = resolve(path);
    let folder = store.id().to_string();
    // A disk may have more in its directory than the store.
    let on_disk = |disk: kogia::DiskStats| [disk.path.join("DISK"), disk.path.join(&folder)];
    let own = store.stats()?.disks.into_iter().flat_map(on_disk);
    for own in own.chain([store.home().to_owned()]).map(|own| resolve(&own)) {
        let how = match (own.starts_with(&there), there.starts_with(&own)) {
            (true, _) => "holds",
            (_, true) => "is",
            _ => continue,
        };
        let (path, own) = (path.display(), own.display());
        let what = format!("{path} {how} a part of the store itself, {own}; give another place");
        return Err(Failure::Usage(what));
    }
    Ok(())
}

/// The path without links and `..`, as far as there is anything at it.
pub fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        if part == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_parents_are_followed_also_to_what_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir(real.join("a")).expect("a directory");
        std::os::unix::fs::symlink("a", real.join("link")).expect("a link");
        for (path, meant) in [
            ("a", "a"),
            ("link/new", "a/new"),
            ("link/../new", "new"),
            ("new/../a", "a"),
            ("new/../../a", "../a"),
        ] {
            let meant = meant
                .strip_prefix("../")
                .map_or(real.join(meant), |outside| real.parent().expect("a parent").join(outside));
            assert_eq!(resolve(&dir.path().join(path)), meant, "{path}");
        }
    }
}
