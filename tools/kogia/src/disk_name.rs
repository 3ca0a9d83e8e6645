//! How a disk is named on the command line: by its directory, or by its id or how that begins.

use std::path::Path;

use kogia::{DiskId, DiskStats};

use crate::failure::Failure;

/// Digits of an id that are enough to name a disk.
const MIN_DIGITS: usize = 4;
/// Digits of an id that are shown where there is little room.
const SHORT_DIGITS: usize = 8;

/// The disk of the store that `name` means.
pub fn find(disks: &[DiskStats], name: &Path) -> Result<DiskId, Failure> {
    let matching: Vec<_> = disks.iter().filter(|disk| is_named(disk, name)).collect();
    match matching[..] {
        [disk] => Ok(disk.id),
        _ => Err(Failure::Usage(format!(
            "{} names {} of the store's disks; 'kogia disks STORE' shows them",
            name.display(),
            if matching.is_empty() { "none" } else { "several" }
        ))),
    }
}

/// The beginning of the id, for a column.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_DIGITS).unwrap_or(id)
}

fn is_named(disk: &DiskStats, name: &Path) -> bool {
    let is_its_place = || {
        let (place, name) = (disk.path.canonicalize(), name.canonicalize());
        place.is_ok_and(|place| name.is_ok_and(|name| name == place))
    };
    let is_its_id = name.to_str().is_some_and(|digits| {
        digits.len() >= MIN_DIGITS && disk.id.to_string().starts_with(&digits.to_ascii_lowercase())
    });
    // One that is missing has no place to be resolved.
    let is_where_it_was = || std::path::absolute(name).is_ok_and(|name| name == disk.path);
    is_its_id || is_where_it_was() || is_its_place()
}
