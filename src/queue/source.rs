//! Where readers find items: a queue's directory, and how far it has come.

use std::io::ErrorKind as Kind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cursor::{Broken, Cursor};
use super::tail::Tail;
use super::track::{self, Track};
use super::{Id, META_LIMIT, QUEUE};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::queue::{QueueMeta, Rewrites, TrackEnd};
use crate::format::{StoreId, TrackId};
use crate::io::{Io, OpenMode};

/// How long who follows waits before looking again, where nobody can ring.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What any number of streams share.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) io: Arc<dyn Io>,
    pub(super) dir: PathBuf,
    pub(super) queue: StoreId,
    /// `None` until a writer is known to tell. Lock: taken alone.
    tail: Mutex<Option<Tail>>,
    /// Ranges of ids whose loss was accepted. Lock: taken alone.
    lost: Mutex<Vec<(u64, u64)>>,
    /// Which file is which track's, as the owner of the queue knows it; all others ask `QUEUE`.
    /// Lock: taken alone.
    rewrites: Mutex<Option<Rewrites>>,
    /// The last track, its length, and the end that was found in it. Lock: taken alone.
    found: Mutex<Option<(TrackId, u64, Id)>>,
}

/// How far a queue goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) durable: Id,
    pub(super) written: Id,
    pub(super) first_kept: Id,
}

impl Source {
    /// What the owner of the queue reads.
    pub(super) fn of_owner(
        io: Arc<dyn Io>,
        dir: PathBuf,
        meta: &QueueMeta,
        tail: Tail,
    ) -> Arc<Self> {
        let rewrites = Some(meta.rewrites.clone());
        Arc::new(Self::new(io, dir, meta, Some(tail), rewrites))
    }

    /// What another process reads.
    pub(super) fn beside_owner(io: Arc<dyn Io>, dir: PathBuf) -> Result<Arc<Self>> {
        let meta = read_meta(&*io, &dir)?;
        Ok(Arc::new(Self::new(io, dir, &meta, None, None)))
    }

    fn new(
        io: Arc<dyn Io>,
        dir: PathBuf,
        meta: &QueueMeta,
        tail: Option<Tail>,
        rewrites: Option<Rewrites>,
    ) -> Self {
        let (tail, lost) = (Mutex::new(tail), Mutex::new(meta.lost.clone()));
        let (rewrites, found) = (Mutex::new(rewrites), Mutex::default());
        Source { io, dir, queue: meta.queue, tail, lost, rewrites, found }
    }

    /// What the writer tells, if it does.
    pub(super) fn tail(&self) -> Option<Tail> {
        let mut known = self.tail.lock().expect("no panic holds it");
        if known.is_none() {
            let page = self.io.page(&self.dir.join(super::TAIL), false).ok()?;
            let (tail, boot) = (Tail::of(page), self.io.boot_id().ok()?);
            *known = tail.is_of(self.queue, boot).then_some(tail);
        }
        known.clone()
    }

    /// How far the queue goes now.
    pub(super) fn ends(&self) -> Result<Ends> {
        if let Some(tail) = self.tail() {
            // The durable end first: it is never behind the written one that is read after it.
            let durable = tail.durable();
            let written = tail.written().max(durable);
            return Ok(Ends { durable, written, first_kept: tail.first_kept() });
        }
        // Nobody has written since the machine was started: what is there came from the disk.
        let meta = read_meta(&*self.io, &self.dir)?;
        let end = self.look_for_end(&meta)?;
        Ok(Ends { durable: end, written: end, first_kept: Id(meta.first_kept) })
    }

    fn look_for_end(&self, meta: &QueueMeta) -> Result<Id> {
        for id in track::list(&*self.io, &self.dir)?.into_iter().rev() {
            if let Some(TrackEnd { end, .. }) = meta.end.filter(|end| end.track == id) {
                return Ok(Id::new(id, end));
            }
            let track = match self.open_track(id)? {
                Some(track) => Arc::new(track),
                None => continue,
            };
            let len = track.len()?;
            if track.header()?.is_err() && len <= CHUNK_BYTES as u64 {
                // It was being created.
                continue;
            }
            let mut found = self.found.lock().expect("no panic holds it");
            if let Some((_, _, end)) = found.filter(|known| (known.0, known.1) == (id, len)) {
                return Ok(end);
            }
            if track.rewritten.is_some() {
                // There was another behind it, which is missing.
                return Ok(Id::new(TrackId(id.0 + 1), CHUNK_BYTES as u32));
            }
            let limit = whole_chunks(len);
            let mut cursor = Cursor::new(track, 0)?;
            loop {
                match cursor.advance(limit) {
                    Ok(Some(_)) => {}
                    Err(Broken::Io(e)) => return Err(Broken::Io(e).into_error(&cursor.track)),
                    Ok(None) | Err(Broken::Chunk(..)) => {
                        let end = Id::new(id, cursor.end());
                        *found = Some((id, len, end));
                        return Ok(end);
                    }
                }
            }
        }
        Ok(Id(meta.first_kept))
    }

    /// Opens a track; `None` if it is not there.
    pub(super) fn open_track(&self, id: TrackId) -> Result<Option<Track>> {
        let (io, mut rewrite) = (&*self.io, self.rewrite_of(id)?);
        loop {
            let file = (id, rewrite);
            if let Some(track) = Track::open(io, &self.dir, self.queue, file, OpenMode::Read)? {
                return Ok(Some(track));
            }
            // The file of a track goes only when `QUEUE` names another.
            let now = self.rewrite_of(id)?;
            if now == rewrite {
                return Ok(None);
            }
            rewrite = now;
        }
    }

    /// The rewrite that has written a track; 0 for none.
    fn rewrite_of(&self, id: TrackId) -> Result<u32> {
        if let Some(known) = &*self.rewrites.lock().expect("no panic holds it") {
            return Ok(known.of(id));
        }
        Ok(read_meta(&*self.io, &self.dir)?.rewrites.of(id))
    }

    /// Has all who open a track from now on open the one that these name.
    pub(super) fn set_rewrites(&self, rewrites: Rewrites) {
        *self.rewrites.lock().expect("no panic holds it") = Some(rewrites);
    }

    /// Has them ask `QUEUE`, as all do who do not own the queue.
    pub(super) fn forget_rewrites(&self) {
        *self.rewrites.lock().expect("no panic holds it") = None;
    }

    /// The first track that is there behind `id`.
    pub(super) fn track_behind(&self, id: TrackId) -> Result<Option<TrackId>> {
        Ok(track::list(&*self.io, &self.dir)?.into_iter().find(|track| *track > id))
    }

    /// The first id that is kept, asked where something is missing. `QUEUE` says it first; who
    /// writes then tells, and then drops.
    pub(super) fn first_kept(&self) -> Result<Id> {
        let stored = Id(read_meta(&*self.io, &self.dir)?.first_kept);
        Ok(self.ends()?.first_kept.max(stored))
    }

    /// Whether the loss of what `id` names was accepted. Asked only where something is missing.
    pub(super) fn is_accepted(&self, id: Id) -> Result<bool> {
        let meta = read_meta(&*self.io, &self.dir)?;
        let mut lost = self.lost.lock().expect("no panic holds it");
        *lost = meta.lost;
        Ok(lost.iter().any(|(from, to)| (*from..*to).contains(&id.0)))
    }

    pub(super) fn rung(&self) -> u32 {
        self.tail().map_or(0, |tail| tail.rung())
    }

    /// Waits until something may have changed.
    pub(super) fn wait(&self, rung: u32, timeout: Option<Duration>) {
        match self.tail() {
            Some(tail) => tail.wait(rung, timeout),
            None => {
                std::thread::sleep(timeout.map_or(LOOK_AGAIN, |timeout| timeout.min(LOOK_AGAIN)));
            }
        }
    }
}

/// The position behind the whole chunks of a file.
pub(super) fn whole_chunks(len: u64) -> u32 {
    let chunks = (len / CHUNK_BYTES as u64).min(u64::from(u32::MAX) / CHUNK_BYTES as u64);
    chunks as u32 * CHUNK_BYTES as u32
}

/// Reads `QUEUE`.
pub(super) fn read_meta(io: &dyn Io, dir: &std::path::Path) -> Result<QueueMeta> {
    let path = dir.join(QUEUE);
    match io.read_small(&path, META_LIMIT) {
        Ok(bytes) => QueueMeta::decode(&bytes).map_err(|fault| Error::fault(&path, fault)),
        Err(e) if e.kind() == Kind::NotFound => {
            Err(Error::new(ErrorKind::NotFound, "there is no queue").with_path(dir))
        }
        Err(e) => Err(Error::io("read", &path, e)),
    }
}
