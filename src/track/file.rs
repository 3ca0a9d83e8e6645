//! An open track.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::error::{Error, Result};
use crate::format::chunk::{CHUNK_BYTES, ChunkPlace};
use crate::format::track_header::TrackHeader;
use crate::format::{StoreId, TrackId};
use crate::io::{self, File, Io, Map, OpenMode};

/// An open track, shared by its writer and its readers.
#[derive(Debug)]
pub(crate) struct TrackFile {
    pub(crate) id: TrackId,
    pub(crate) store: StoreId,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Where the track was sealed, in chunks; set once. Nothing is written behind it any more.
    sealed: OnceLock<u32>,
    map: OnceLock<Option<Map>>,
    /// Whether a sync of refilled chunks has failed. Held while syncing: the system reports a
    /// failure to one caller only, and all whose bytes it concerns have to see it (invariant I2).
    refill_failed: Mutex<bool>,
    /// Second chance of the cache of open tracks.
    pub(super) used: AtomicBool,
}

impl TrackFile {
    /// Creates the file with its header, and makes both durable.
    pub(crate) fn create(io: &dyn Io, dir: &Path, header: &TrackHeader) -> Result<Self> {
        let path = dir.join(header.track.file_name());
        let fail = |doing| move |path: &Path, e| Error::io(doing, path, e);
        let file =
            io.open(&path, OpenMode::CreateNew).map_err(|e| fail("create the track")(&path, e))?;
        let chunk = header.to_chunk();
        let written = io::write_all_at(&*file, &mut [std::io::IoSlice::new(&chunk)], 0)
            .and_then(|()| file.sync_data())
            .and_then(|()| io.sync_dir(dir));
        if let Err(e) = written {
            // Best effort: an unfinished track without chains is removed at the next open, too.
            let _ = io.remove(&path);
            return Err(fail("create the track")(&path, e));
        }
        Ok(Self::new(header.store, header.track, path, file))
    }

    /// Opens an existing track.
    pub(crate) fn open(io: &dyn Io, dir: &Path, store: StoreId, id: TrackId) -> Result<Self> {
        let path = dir.join(id.file_name());
        let file = io
            .open(&path, OpenMode::ReadWrite)
            .map_err(|e| Error::io("open the track", &path, e))?;
        Ok(Self::new(store, id, path, file))
    }

    fn new(store: StoreId, id: TrackId, path: PathBuf, file: Arc<dyn File>) -> Self {
        let (sealed, map) = (OnceLock::new(), OnceLock::new());
        let (refill_failed, used) = (Mutex::new(false), AtomicBool::new(true));
        TrackFile { id, store, path, file, sealed, map, refill_failed, used }
    }

    /// Says that nothing will be appended behind chunk `end`.
    pub(crate) fn seal(&self, end: u32) {
        let _ = self.sealed.set(end);
    }

    /// Whole chunks in the file now.
    pub(crate) fn chunks(&self) -> Result<u32> {
        let len = self.file.len().map_err(|e| self.io_error("measure the track", e))?;
        Ok(u32::try_from(len / CHUNK_BYTES as u64).unwrap_or(u32::MAX))
    }

    /// The map of a sealed track; `None` while it is active or where maps are not to be had.
    pub(crate) fn map(&self) -> Option<&Map> {
        let end = *self.sealed.get()?;
        let map = self.map.get_or_init(|| {
            // A failed map is not an error: the track is then read like an active one. The length
            // is checked because touching a page behind the file's end is a signal.
            let len = u64::from(end) * CHUNK_BYTES as u64;
            let there = self.file.len().ok()?;
            if there < len { None } else { self.file.map(len).ok().flatten() }
        });
        map.as_ref()
    }

    /// Reads whole chunks from `chunk` on; `buffer` holds a multiple of a chunk's bytes.
    pub(crate) fn read_chunks(&self, chunk: u32, buffer: &mut [u8]) -> std::io::Result<()> {
        io::read_exact_at(&*self.file, buffer, u64::from(chunk) * CHUNK_BYTES as u64)
    }

    /// Makes refilled chunks of a sealed track durable.
    pub(crate) fn sync_refilled(&self) -> Result<()> {
        let mut failed = self.refill_failed.lock().expect("no panic holds it");
        let synced = if *failed {
            Err(std::io::Error::other("an earlier sync of this track failed"))
        } else {
            self.file.sync_data()
        };
        *failed = synced.is_err();
        synced.map_err(|e| self.io_error("sync refilled chunks of", e))
    }

    /// Whether a sync of refilled chunks has failed: then no more can be made durable.
    pub(crate) fn refuses_refills(&self) -> bool {
        // Where a sync is under way, the writer's own sync behind it will tell.
        self.refill_failed.try_lock().is_ok_and(|failed| *failed)
    }

    /// Reads and decodes chunk 0.
    pub(crate) fn read_header(&self) -> Result<TrackHeader> {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.read_chunks(0, &mut chunk).map_err(|e| self.io_error("read the track's header", e))?;
        TrackHeader::from_chunk(&chunk, self.store, self.id)
            .map_err(|fault| Error::chunk(&self.path, self.id, 0, fault))
    }

    pub(crate) fn place(&self, chunk: u32) -> ChunkPlace {
        ChunkPlace { store: self.store, track: self.id, chunk }
    }

    pub(crate) fn io_error(&self, doing: &'static str, e: std::io::Error) -> Error {
        Error::io(doing, &self.path, e)
    }

    /// Marks the track as used since the cache last looked; gives whether it was.
    pub(super) fn touch(&self, used: bool) -> bool {
        self.used.swap(used, Ordering::Relaxed)
    }
}
