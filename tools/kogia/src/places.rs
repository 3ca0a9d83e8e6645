//! Where a store lies, and keeping what else a command reads and writes out of there.

use std::path::Path;

use kogia::Store;
use kogia::io::{RealIo, resolve};

use crate::failure::Failure;

/// Refuses a file or directory that lies in what is the store's own, or that in it: a store does not
/// go into itself, and what comes out of it may have the names of its files.
pub fn refuse_own(path: &Path, store: &Store) -> Result<(), Failure> {
    let there = resolve(&RealIo, path);
    let folder = store.id().to_string();
    // A disk may have more in its directory than the store.
    let on_disk = |disk: kogia::DiskStats| [disk.path.join("DISK"), disk.path.join(&folder)];
    let own = store.stats()?.disks.into_iter().flat_map(on_disk);
    for own in own.chain([store.home().to_owned()]).map(|own| resolve(&RealIo, &own)) {
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
