//! Disks, which all partitions share: finding them by name, adding them, keeping them.

use std::path::Path;

use kogia::{DiskId, DiskStats};

use super::Fault;
use crate::data::Partitions;

/// Digits of an id that are enough to name a disk.
const MIN_DIGITS: usize = 4;

/// The one disk that `name` means, its directory or its id or how that begins, among all partitions'.
/// One that was drained from some of them already is found where it still is.
pub fn find(partitions: &Partitions, name: &str) -> Result<DiskId, Fault> {
    let mut matching = Vec::new();
    for store in partitions.all() {
        let disks = store.stats()?.disks;
        matching.extend(disks.iter().filter(|disk| is_named(disk, name)).map(|disk| disk.id));
    }
    matching.sort_unstable();
    matching.dedup();
    match matching[..] {
        [id] => Ok(id),
        [] => Err(Fault::invalid(format!("{name} names none of the disks"))),
        _ => Err(Fault::invalid(format!("{name} names several of the disks"))),
    }
}

fn is_named(disk: &DiskStats, name: &str) -> bool {
    let is_its_id =
        name.len() >= MIN_DIGITS && disk.id.to_string().starts_with(&name.to_ascii_lowercase());
    let is_its_place = || {
        let (place, name) = (disk.path.canonicalize(), Path::new(name).canonicalize());
        place.is_ok_and(|place| name.is_ok_and(|name| name == place))
    };
    is_its_id || Path::new(name) == disk.path || is_its_place()
}

/// Makes a directory a further disk of all partitions. Those that have it already stay as they are,
/// so that what failed halfway can be done again.
pub fn add(partitions: &Partitions, dir: &str) -> Result<DiskId, Fault> {
    if !Path::new(dir).is_absolute() {
        return Err(Fault::invalid(format!("{dir:?} is no absolute path")));
    }
    let mut id = None;
    for store in partitions.all() {
        let disks = store.stats()?.disks;
        id = Some(match disks.iter().find(|disk| is_named(disk, dir)) {
            Some(disk) => disk.id,
            None => store.add_disk(dir)?,
        });
    }
    id.ok_or_else(|| Fault::invalid("there are no partitions"))
}

/// Takes back that a disk is to be drained, wherever it still is.
pub fn keep(partitions: &Partitions, name: &str) -> Result<DiskId, Fault> {
    let id = find(partitions, name)?;
    for store in partitions.all() {
        if store.stats()?.disks.iter().any(|disk| disk.id == id) {
            store.keep_disk(id)?;
        }
    }
    Ok(id)
}
