//! What `--disk` may name where a store is opened: its disks, which may have moved. The library
//! would make any other directory one of them, for good.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kogia::StoreId;
use kogia::format::meta::{DiskMeta, StoreMeta};
use kogia::io::{RealIo, resolve};

use crate::failure::Failure;

/// Refuses a directory that is no disk of the store at `home`.
pub fn check(home: &Path, given: &[PathBuf]) -> Result<(), Failure> {
    let meta = fs::read(home.join("META")).ok();
    let meta = meta.and_then(|bytes| StoreMeta::decode(&bytes).ok());
    let is_disk = |dir: &Path| match &meta {
        Some(meta) => is_known(home, meta, dir) || is_one_of(meta, dir),
        None => is_any(dir),
    };
    match given.iter().find(|dir| !is_disk(dir)) {
        None => Ok(()),
        Some(dir) => Err(Failure::Usage(format!(
            "{} holds no disk of the store; 'kogia disk add STORE DIR' adds one, and --disk says \
             where one is now that has moved",
            dir.display()
        ))),
    }
}

/// Whether a disk was there when the store was last opened.
fn is_known(home: &Path, meta: &StoreMeta, dir: &Path) -> bool {
    let dir = resolve(&RealIo, dir);
    meta.disks.iter().any(|disk| resolve(&RealIo, &home.join(&disk.path)) == dir)
}

/// Whether a disk of the store is there. Of what can't be read the library says what is wrong.
fn is_one_of(meta: &StoreMeta, dir: &Path) -> bool {
    match fs::read(dir.join("DISK")) {
        Ok(bytes) => DiskMeta::decode(&bytes)
            .map_or(true, |found| meta.disks.iter().any(|disk| disk.id == found.id)),
        // Its tracks tell which disk it is, with --accept-loss.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            dir.join(meta.store.to_string()).is_dir()
        }
        Err(_) => true,
    }
}

/// Whether a disk of some store is there: all that can be told where `META` is lost.
fn is_any(dir: &Path) -> bool {
    let is_store = |name: &str| StoreId::parse(name).is_some();
    let mut names =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|found| found.file_name());
    names.any(|name| name == "DISK" || name.to_str().is_some_and(is_store))
}
