//! Disks of the store that are not there, where that is accepted.
//!
//! What the index knows of them stays as it is. What it does not know of them (if the store was not
//! closed, chains behind the last checkpoint) may be puts, deletes and commits of long ago, and comes
//! to light when the disk is back. Until then nothing may be concluded from its absence:
//!
//! - no tombstone is forgotten, and no floor raised (invariant I9);
//! - a copy's floor is one below all that may come to light: a delete among that kills the copy,
//!   whose track must not vouch against its tombstone;
//! - segments and parts that nobody has claimed stay: their commit may be among that.

use std::path::PathBuf;

use super::disks::Found;
use crate::error::{Error, Result};
use crate::format::{DiskId, Seq};
use crate::index::Books;

/// The missing disks.
#[derive(Debug, Default)]
pub(super) struct Missing(Vec<(DiskId, PathBuf, Error)>);

impl Missing {
    pub(super) fn of(found: &[Found]) -> Self {
        let missing = found.iter().filter_map(|disk| {
            let error = disk.missing.clone()?;
            tracing::error!(%error, disk = %disk.path.display(), "the store opens without a disk");
            Some((disk.state.id, disk.path.clone(), error))
        });
        Missing(missing.collect())
    }

    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn has(&self, disk: DiskId) -> bool {
        self.0.iter().any(|(missing, _, _)| *missing == disk)
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.iter().map(|(_, path, _)| path.clone()).collect()
    }

    /// Fails where a disk is missing: without it an index would be made that has never heard of what
    /// lies there, and deleted objects would be back with it.
    pub(super) fn refuse_rebuild(&self) -> Result<()> {
        let Some((_, path, error)) = self.0.first() else { return Ok(()) };
        let what = "the index has to be made anew, which takes all disks, and this one is missing";
        Err(Error::new(error.kind(), what).with_path(path).with_source(error.clone()))
    }

    /// A seq below those of all records that missing disks may hold and the index does not know. Each
    /// is in the last track there that the index knows writers to append to, or in a later one, and
    /// is newer than that track's floor.
    pub(super) fn unknown_above(&self, books: &Books) -> Option<Seq> {
        let last_floor = |disk: &DiskId| {
            let mut rows = books.tracks.values().rev();
            rows.find(|row| row.disk == *disk && !row.compacted).map_or(Seq(0), |row| row.floor)
        };
        self.0.iter().map(|(disk, _, _)| last_floor(disk)).min()
    }
}
