//! An open track.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use zstd::zstd_safe::DDict;

use crate::compression::Dictionary;
use crate::error::{Error, Result};
use crate::format::chunk::{CHUNK_BYTES, ChunkPlace};
use crate::format::track_header::TrackHeader;
use crate::format::{Fault, StoreId, TrackId};
use crate::io::{self, File, Io, Map, OpenMode};

/// An active track is mapped anew when it has grown by so many chunks at least: 4 MiB.
const MIN_GROWTH_CHUNKS: u32 = 1024;

/// An open track, shared by its writer and its readers.
pub(crate) struct TrackFile {
    pub(crate) id: TrackId,
    pub(crate) store: StoreId,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    /// Where the track was sealed, in chunks; set once. Nothing is written behind it any more.
    sealed: OnceLock<u32>,
    map: OnceLock<Option<Map>>,
    /// What small values of this track are read with.
    dictionary: OnceLock<DDict<'static>>,
    /// Whether it may be mapped before it is sealed.
    maps_growing: AtomicBool,
    /// Chunk up to which the track is durable, as its writer says: nothing before it is written
    /// again, and the file is never made shorter than that.
    synced: AtomicU32,
    /// What of an active track is mapped. Lock: taken alone.
    growing: RwLock<Option<Arc<Map>>>,
    /// Whether a sync of refilled chunks has failed. Held while syncing: the system reports a
    /// failure to one caller only, and all whose bytes it concerns have to see it (invariant I2).
    refill_failed: Mutex<bool>,
    /// Second chance of the cache of open tracks.
    used: AtomicBool,
}

impl TrackFile {
    /// Creates the file with its header, and makes both durable.
    pub(crate) fn create(
        io: &dyn Io,
        dir: &Path,
        header: &TrackHeader,
        dictionary: Option<&Dictionary>,
    ) -> Result<Self> {
        let path = dir.join(header.track.file_name());
        let fail = |doing| move |path: &Path, e| Error::io(doing, path, e);
        let file =
            io.open(&path, OpenMode::CreateNew).map_err(|e| fail("create the track")(&path, e))?;
        let chunk = header.to_chunk(dictionary.map_or(&[], Dictionary::bytes));
        step!("track.created");
        let written = io::write_all_at(&*file, &mut [std::io::IoSlice::new(&chunk)], 0)
            .and_then(|()| file.sync_data())
            .inspect(|()| step!("track.header-synced"))
            .and_then(|()| io.sync_dir(dir));
        if let Err(e) = written {
            // Best effort: an unfinished track without chains is removed at the next open, too.
            let _ = io.remove(&path);
            return Err(fail("create the track")(&path, e));
        }
        step!("track.directory-synced");
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
        TrackFile {
            id,
            store,
            path,
            file,
            sealed: OnceLock::new(),
            map: OnceLock::new(),
            dictionary: OnceLock::new(),
            maps_growing: AtomicBool::new(false),
            synced: AtomicU32::new(0),
            growing: RwLock::default(),
            refill_failed: Mutex::new(false),
            used: AtomicBool::new(true),
        }
    }

    /// Says that nothing will be appended behind chunk `end`.
    pub(crate) fn seal(&self, end: u32) {
        let _ = self.sealed.set(end);
        // The map of the whole takes over.
        *self.growing.write().expect("no panic holds it") = None;
    }

    /// Says that the track may be mapped while it is active, as far as it is durable.
    pub(super) fn map_growing(&self) {
        self.maps_growing.store(true, Ordering::Relaxed);
    }

    /// Says that all chunks before `end` are durable.
    pub(super) fn synced_to(&self, end: u32) {
        self.synced.store(end, Ordering::Release);
    }

    /// Whole chunks in the file now.
    pub(crate) fn chunks(&self) -> Result<u32> {
        Ok(u32::try_from(self.len()? / CHUNK_BYTES as u64).unwrap_or(u32::MAX))
    }

    /// The map of a sealed track; `None` while it is active or where maps are not to be had.
    pub(crate) fn map(&self) -> Option<&Map> {
        let end = *self.sealed.get()?;
        self.map.get_or_init(|| self.map_chunks(end)).as_ref()
    }

    /// A map of an active track that holds all chunks before `end`; `None` where there is none.
    ///
    /// It is made anew when the durable part has grown by a quarter, so that the newest fifth is
    /// not mapped, or a little more.
    pub(super) fn growing_map(&self, end: u32) -> Option<Arc<Map>> {
        let covers = |map: &Arc<Map>| map.len() / CHUNK_BYTES >= end as usize;
        if !self.maps_growing.load(Ordering::Relaxed) || end > self.synced.load(Ordering::Acquire) {
            return None;
        }
        if let Some(map) =
            self.growing.read().expect("no panic holds it").as_ref().filter(|map| covers(map))
        {
            return Some(map.clone());
        }
        let mut growing = self.growing.write().expect("no panic holds it");
        let mapped = growing.as_ref().map_or(0, |map| (map.len() / CHUNK_BYTES) as u32);
        let synced = self.synced.load(Ordering::Acquire);
        let is_worth_it = synced >= mapped + (mapped / 4).max(MIN_GROWTH_CHUNKS);
        if is_worth_it && self.sealed.get().is_none() {
            *growing = self.map_chunks(synced).map(Arc::new);
        }
        growing.as_ref().filter(|map| covers(map)).cloned()
    }

    /// Maps the chunks before `end`. A failure is not an error: the track is then read without.
    fn map_chunks(&self, end: u32) -> Option<Map> {
        // The length is checked because touching a page behind the file's end is a signal.
        let len = u64::from(end) * CHUNK_BYTES as u64;
        let there = self.file.len().ok()?;
        if there < len { None } else { self.file.map(len).ok().flatten() }
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

    /// Bytes of the file.
    pub(crate) fn len(&self) -> Result<u64> {
        self.file.len().map_err(|e| self.io_error("measure the track", e))
    }

    /// Whether a backup shares the file: then none of it may be changed, since that would change
    /// the backup.
    pub(crate) fn is_linked(&self) -> Result<bool> {
        let links = self.file.link_count();
        Ok(links.map_err(|e| self.io_error("count the links of the track", e))? > 1)
    }

    /// Reads and decodes chunk 0.
    pub(crate) fn read_header(&self) -> Result<TrackHeader> {
        TrackHeader::from_chunk(&self.read_first()?, self.store, self.id)
            .map_err(|fault| Error::chunk(&self.path, self.id, 0, fault))
    }

    /// Reads the dictionary in chunk 0; empty where the track has none.
    pub(crate) fn read_dictionary(&self) -> Result<Vec<u8>> {
        TrackHeader::dictionary(&self.read_first()?, self.store, self.id)
            .map(<[u8]>::to_vec)
            .map_err(|fault| Error::chunk(&self.path, self.id, 0, fault))
    }

    /// The dictionary in chunk 0, ready to read with; read once.
    pub(crate) fn dictionary(&self) -> Result<&DDict<'static>> {
        if let Some(known) = self.dictionary.get() {
            return Ok(known);
        }
        let dictionary = DDict::try_create(&self.read_dictionary()?).ok_or_else(|| {
            let why = "zstd does not take it".into();
            Error::chunk(&self.path, self.id, 0, Fault::Invalid { what: "dictionary", why })
        })?;
        Ok(self.dictionary.get_or_init(|| dictionary))
    }

    fn read_first(&self) -> Result<Vec<u8>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        self.read_chunks(0, &mut chunk).map_err(|e| self.io_error("read the track's header", e))?;
        Ok(chunk)
    }

    pub(crate) fn place(&self, chunk: u32) -> ChunkPlace {
        ChunkPlace { store: self.store, track: self.id, chunk }
    }

    pub(crate) fn io_error(&self, doing: &'static str, e: std::io::Error) -> Error {
        Error::io(doing, &self.path, e)
    }

    /// Marks the track as used since the cache last looked. Written once, lest every reader waits for
    /// the mark to come from another's processor.
    pub(super) fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the track was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for TrackFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::format::track_header::TrackKind;
    use crate::format::{DiskId, Seq};
    use crate::io::RealIo;
    use crate::io::sim::{CallKind, Fail, Fault, Keep, SimIo};
    use crate::track::Appender;

    fn created(io: &dyn Io, dir: &Path) -> Arc<TrackFile> {
        let header = TrackHeader {
            store: StoreId([1; 16]),
            disk: DiskId([2; 16]),
            track: TrackId(3),
            kind: TrackKind::Append,
            shard: 0,
            floor: Seq(4),
            predecessor: None,
            created_ms: 5,
        };
        Arc::new(TrackFile::create(io, dir, &header, None).expect("it is created"))
    }

    fn append(appender: &mut Appender, chunks: u32, byte: u8) {
        let bytes = vec![byte; chunks as usize * CHUNK_BYTES];
        appender.append(&mut [IoSlice::new(&bytes)], false).expect("it appends");
    }

    #[test]
    fn an_active_track_is_mapped_as_far_as_it_is_durable_and_anew_as_it_grows() {
        let dir = tempfile::tempdir().expect("a directory");
        let track = created(&RealIo, dir.path());
        track.map_growing();
        let mut appender = Appender::new(track.clone(), 1);
        append(&mut appender, 2 * MIN_GROWTH_CHUNKS, 6);
        assert!(track.growing_map(2).is_none(), "it isn't durable");
        appender.sync().expect("it syncs");
        let end = 1 + 2 * MIN_GROWTH_CHUNKS;
        let map = track.growing_map(2).expect("a map");
        assert_eq!(map.len(), end as usize * CHUNK_BYTES);
        assert_eq!(map[map.len() - 1], 6);
        assert!(track.growing_map(end).is_some());

        append(&mut appender, MIN_GROWTH_CHUNKS - 1, 7);
        appender.sync().expect("it syncs");
        assert!(track.growing_map(end + 1).is_none(), "it has grown too little");
        append(&mut appender, 1, 8);
        appender.sync().expect("it syncs");
        append(&mut appender, 1, 9);
        let end = end + MIN_GROWTH_CHUNKS;
        let map = track.growing_map(end).expect("a map");
        assert_eq!((map.len(), map[map.len() - 1]), (end as usize * CHUNK_BYTES, 8));
        assert!(track.growing_map(end + 1).is_none(), "it isn't durable");

        appender.sync().expect("it syncs");
        track.seal(end + 1);
        assert!(track.growing_map(2).is_none(), "the whole is mapped");
        assert_eq!(track.map().map(|map| map.len()), Some((end as usize + 1) * CHUNK_BYTES));
    }

    /// Symptom: the files of a store's tracks were longer than the tracks, for good, after a power cut behind
    /// a write that had failed half done.
    /// Cause: what had been written was taken off, but nothing synced that, since the track itself had
    /// nothing new; and nobody measures a track that is sealed.
    /// Rule: a track's sync makes its end durable, whatever lies behind that.
    #[test]
    fn what_a_failed_append_leaves_does_not_come_back_behind_a_sync() {
        let mut came_back = 0;
        for seed in 0..64 {
            let (io, dir) = (SimIo::new(seed), Path::new("/disk"));
            io.create_dir_all(dir).expect("a directory");
            let track = created(&io, dir);
            let mut appender = Appender::new(track.clone(), 1);
            append(&mut appender, 1, 6);
            appender.sync().expect("it syncs");
            io.fail(Fault::nth(CallKind::Write, 0, Fail::Short(3 * CHUNK_BYTES - 1000)));
            io.fail(Fault::nth(CallKind::Write, 1, Fail::Enospc));
            let bytes = vec![7; 4 * CHUNK_BYTES];
            appender.append(&mut [IoSlice::new(&bytes)], false).expect_err("the disk is full");
            let len = |io: &SimIo| io.read_file(&track.path).expect("it is there").len();
            came_back += usize::from(len(&io.crash(Keep::Random(seed))) > 2 * CHUNK_BYTES);
            appender.sync().expect("it syncs");
            assert_eq!(len(&io.crash(Keep::Random(seed))), 2 * CHUNK_BYTES, "seed {seed}");
        }
        assert!(came_back > 0, "it never comes back");
    }

    #[test]
    fn an_active_track_is_not_mapped_unasked() {
        let dir = tempfile::tempdir().expect("a directory");
        let track = created(&RealIo, dir.path());
        let mut appender = Appender::new(track.clone(), 1);
        append(&mut appender, 2 * MIN_GROWTH_CHUNKS, 6);
        appender.sync().expect("it syncs");
        assert!(track.growing_map(2).is_none());
    }
}
