//! The index as a directory of files: staged for a backup, and put into its place there.
//!
//! RocksDB never changes a file of rows (`.sst`), so these may be shared; the others are small.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;

use super::Index;
use crate::error::{Error, Result};
use crate::io::{Io, RealIo};

/// Beside an index: what a backup takes it from. Its files are links, so it has to be on the same
/// file system.
const STAGED: &str = "staged-for-backup";
/// Beside a backup's index: the one that will take its place.
const NEW: &str = "new";
/// Beside a backup's index: the one whose place was taken.
const OLD: &str = "old";

impl Index {
    /// Links the index as it was flushed last; gives the directory with the links. The caller has
    /// just flushed it and holds the apply lock: RocksDB would flush what has come since, which is
    /// not for it to do (invariant I1).
    pub(crate) fn stage(&self) -> Result<PathBuf> {
        let staged = beside(&self.path, STAGED);
        Self::forget_staged(&self.path)?;
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&staged))
            .map_err(|e| super::error::index(&staged, e))?;
        Ok(staged)
    }

    /// Removes what a backup has taken the index at `path` from.
    pub(crate) fn forget_staged(path: &Path) -> Result<()> {
        let staged = beside(path, STAGED);
        // RocksDB's own name for one that it has not finished.
        Self::destroy(&staged.with_extension(format!("{STAGED}.tmp")))?;
        Self::destroy(&staged)
    }

    /// An empty directory for the index that is to be the one at `path`.
    pub(crate) fn prepare_new(path: &Path) -> Result<PathBuf> {
        Self::forget_unfinished(path)?;
        let new = beside(path, NEW);
        RealIo.create_dir_all(&new).map_err(|e| Error::io("create", &new, e))?;
        Ok(new)
    }

    /// Takes the index at `path` away, durably. Without one, opening makes it anew from the tracks.
    pub(crate) fn retire(path: &Path) -> Result<()> {
        Self::check_own(path)?;
        rename(path, &beside(path, OLD))
    }

    /// Makes the prepared index the one at `path`, durably.
    pub(crate) fn install(path: &Path) -> Result<()> {
        rename(&beside(path, NEW), path)
    }

    /// Removes what was prepared for `path` and what was retired from there.
    pub(crate) fn forget_unfinished(path: &Path) -> Result<()> {
        [NEW, OLD].iter().try_for_each(|name| Self::destroy(&beside(path, name)))
    }
}

/// Bytes of the files of rows at `path`.
pub(super) fn tables_bytes(path: &Path) -> u64 {
    let size = |file: fs::DirEntry| {
        let is_table = file.path().extension().is_some_and(|extension| extension == "sst");
        if is_table { file.metadata().map_or(0, |data| data.len()) } else { 0 }
    };
    fs::read_dir(path).map_or(0, |files| files.flatten().map(size).sum())
}

/// Whether there is room for RocksDB to rewrite the files of rows at `path`, of so many bytes, beside a
/// flush.
pub(super) fn has_room_to_compact(path: &Path, tables_bytes: u64, memtable_bytes: usize) -> bool {
    let needed = tables_bytes.min(super::MOST_COMPACTION_BYTES) + 2 * memtable_bytes as u64;
    // A new index has no directory yet.
    let available = path.ancestors().find_map(|dir| fs2::available_space(dir).ok());
    available.is_some_and(|available| available >= needed)
}

/// `index.name` for `index`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.push(name);
    beside.into()
}

/// Renames a directory, durably; nothing where there is none.
fn rename(from: &Path, to: &Path) -> Result<()> {
    let parent = from.parent().unwrap_or(Path::new("/"));
    let renamed = match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed,
    };
    renamed.and_then(|()| RealIo.sync_dir(parent)).map_err(|e| Error::io("rename", from, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_is_still_to_be_made_has_the_room_of_the_directory_it_will_lie_in() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(has_room_to_compact(&dir.path().join("store/index"), 0, 1));
        assert!(!has_room_to_compact(&dir.path().join("store/index"), 0, usize::MAX / 4));
    }
}
