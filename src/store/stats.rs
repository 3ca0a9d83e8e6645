//! What a store holds, from its counters.

use std::path::PathBuf;

use serde::Serialize;

use super::Shared;
use crate::error::Result;
use crate::format::DiskId;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;

/// What a store holds. Taken from counters, not from a scan.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.put("key", "value")?;
/// let stats = store.stats()?;
/// assert_eq!((stats.objects, stats.object_bytes), (1, 5));
/// assert_eq!(stats.total().live_bytes, 5);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Objects, with those that have expired and are not deleted yet.
    pub objects: u64,
    /// Bytes of their values.
    pub object_bytes: u64,
    /// Parts that wait to be assembled.
    pub parts: u64,
    /// Deletes that may not yet be forgotten.
    pub tombstones: u64,
    /// The disks, in the order in which they came to the store.
    pub disks: Vec<DiskStats>,
}

/// What a store holds on one disk.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let stats = store.stats()?;
/// let disk: &kogia::DiskStats = &stats.disks[0];
/// assert!(!disk.full);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskStats {
    /// The disk.
    pub id: DiskId,
    /// Its directory.
    pub path: PathBuf,
    /// Bytes that its file system has left.
    pub available_bytes: u64,
    /// Whether the last put that was meant for it found no room.
    pub full: bool,
    /// Whether freed chunks are given back to its file system.
    pub punches: bool,
    /// Whether everything on it is to move to the other disks.
    pub draining: bool,
    /// Why it takes no more writes until the store is opened again, if it does not.
    pub failure: Option<String>,
    /// The store's tracks on it.
    pub space: SpaceStats,
}

/// How the room in tracks is used, in bytes.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let space: kogia::SpaceStats = store.stats()?.total();
/// assert_eq!(space.tracks, 0);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SpaceStats {
    /// Tracks.
    pub tracks: u64,
    /// Bytes of their files to the end of what was appended, holes included.
    pub file_bytes: u64,
    /// Value bytes that objects, parts and streams refer to, as they lie there: compressed where they
    /// are.
    pub live_bytes: u64,
    /// Value bytes that nothing refers to any more, in chunks shared with other records.
    pub dead_bytes: u64,
    /// Bytes of whole chunks that nothing refers to any more.
    pub free_bytes: u64,
    /// Bytes that were given back to the file system.
    pub punched_bytes: u64,
}

impl Stats {
    /// All disks together.
    #[must_use]
    pub fn total(&self) -> SpaceStats {
        self.disks.iter().fold(SpaceStats::default(), |sum, disk| SpaceStats {
            tracks: sum.tracks + disk.space.tracks,
            file_bytes: sum.file_bytes + disk.space.file_bytes,
            live_bytes: sum.live_bytes + disk.space.live_bytes,
            dead_bytes: sum.dead_bytes + disk.space.dead_bytes,
            free_bytes: sum.free_bytes + disk.space.free_bytes,
            punched_bytes: sum.punched_bytes + disk.space.punched_bytes,
        })
    }
}

impl SpaceStats {
    fn add(&mut self, row: &TrackRow) {
        let bytes = |chunks: u32| u64::from(chunks) * CHUNK_BYTES as u64;
        self.tracks += 1;
        self.file_bytes += bytes(row.sealed.unwrap_or(row.applied));
        self.live_bytes += row.live_bytes;
        self.dead_bytes += row.dead_bytes;
        self.free_bytes += bytes(row.free_chunks);
        self.punched_bytes += bytes(row.punched_chunks);
    }
}

impl Shared {
    pub(crate) fn stats(&self) -> Result<Stats> {
        let books = self.books();
        let volumes = self.volumes.all();
        let disks = volumes.iter().map(|volume| {
            let mut space = SpaceStats::default();
            let rows = books.tracks.values().filter(|row| row.disk == volume.disk.id);
            rows.for_each(|row| space.add(row));
            DiskStats {
                id: volume.disk.id,
                path: volume.disk.path.clone(),
                available_bytes: self.options.io.available_space(&volume.dir).unwrap_or(0),
                full: volume.is_full(),
                punches: volume.punches(),
                draining: volume.is_draining(),
                failure: volume.failure().map(|error| error.to_string()),
                space,
            }
        });
        Ok(Stats {
            objects: books.state.objects,
            object_bytes: books.state.object_bytes,
            parts: books.state.parts,
            tombstones: books.state.graves,
            disks: disks.collect(),
        })
    }
}
