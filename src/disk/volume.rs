//! A store's place on a disk: its active track, its syncs, its failures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use super::lane::{Active, Lane};
use super::space::Space;
use super::writer::Disk;
use crate::compression::Dictionary;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::Spot;
use crate::format::track_header::TrackHeader;
use crate::format::{DiskId, Seq, StoreId, TrackId};
use crate::track::{Appender, TrackFile};

/// What a disk needs of the store whose records it appends.
///
/// Whoever appends calls these; [`apply`](Self::apply) under the volume's turn, what creates or cuts a track
/// under its lane, the others holding none of its locks.
pub(crate) trait Owner: Send + Sync {
    /// Gives out `count` seqs that were never given out before; the first of them.
    fn take_seqs(&self, count: u64) -> Seq;

    /// Gives out a track id that was never given out before, with its floor.
    fn take_track(&self) -> (TrackId, Seq);

    /// A dictionary for small values like those of late, where values are compressed and it would
    /// do them good.
    fn train_dictionary(&self) -> Option<Arc<Dictionary>>;

    /// Makes it durable that `track` is the disk's active one, before its first chain.
    fn track_created(&self, disk: DiskId, track: &Arc<TrackFile>, dir: &Arc<PathBuf>)
    -> Result<()>;

    /// Makes it durable that compaction writes `track`, before its first chain.
    fn output_created(
        &self,
        disk: DiskId,
        track: &Arc<TrackFile>,
        header: &TrackHeader,
        dir: &Arc<PathBuf>,
    ) -> Result<()>;

    /// Makes it durable that nothing behind chunk `end` of `track` ever counts (invariant I2).
    fn track_cut(&self, track: TrackId, end: u32) -> Result<()>;

    /// Brings an appended chain into the index.
    fn apply(&self, chain: &Appended<'_>) -> Result<()>;

    /// Gives the room back that is kept for deletes on a full file system.
    fn release_reserve(&self);

    /// Says that appended chains which were applied may be lost: nothing may be flushed any more.
    fn poison(&self, cause: &Error);

    /// The time, in milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// A chain as it was appended.
pub(crate) struct Appended<'a> {
    pub(crate) disk: DiskId,
    pub(crate) track: TrackId,
    /// The track's header facts, for the index's row of a new track.
    pub(crate) floor: Seq,
    pub(crate) created_ms: u64,
    pub(crate) start: u32,
    pub(crate) chunks: u32,
    pub(crate) head_chunks: u32,
    pub(crate) seq: Seq,
    /// Chunk up to which the track is durable now.
    pub(crate) synced: u32,
    /// The encoded records, with the places of their values counted from the chain's start.
    pub(crate) records: Vec<(&'a [u8], Spot)>,
    /// Tracks that were sealed before this chain was appended.
    pub(crate) sealed: Vec<Sealed>,
}

/// A track was sealed at `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) track: TrackId,
    pub(crate) end: u32,
}

/// A store's place on a disk.
pub(crate) struct Volume {
    pub(crate) disk: Arc<Disk>,
    pub(crate) store: StoreId,
    /// The store's folder on the disk.
    pub(crate) dir: Arc<PathBuf>,
    pub(crate) track_chunks: u32,
    pub(crate) reserve_bytes: u64,
    /// What the index needs to compact itself, where it lies on the same file system.
    index_bytes: AtomicU64,
    owner: OnceLock<Weak<dyn Owner>>,
    /// Lock order: after the turn and the store's apply lock, before its ledger. Held across appends, and not
    /// across syncs: of those there is one at a time (`Lane::is_syncing`), since of two of a track one might see
    /// a failure and the other not.
    pub(super) lane: Mutex<Lane>,
    /// A sync is over.
    synced: Condvar,
    /// Held by whoever syncs, applies and answers what was appended. Lock order: after keys' gates and the disk's
    /// queue, before the apply lock and all others.
    pub(super) turn: Mutex<()>,
    /// Held by whoever trains a dictionary and begins a track with it. Lock order: before the lane.
    pub(super) training: Mutex<()>,
    /// The active track's, or the last one's. Lock: taken alone, or after the lane.
    dictionary: RwLock<Option<Arc<Dictionary>>>,
    pub(super) full: AtomicBool,
    draining: AtomicBool,
    /// Why the disk is left out until the store is opened again.
    failure: OnceLock<Error>,
    pub(super) queued_bytes: AtomicU64,
    placed_bytes: AtomicU64,
    available_bytes: AtomicU64,
    pub(super) holes: Holes,
}

/// What freed chunks in the middle of a track bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holes {
    /// Nothing: they are not punched out.
    None,
    /// Their room, at once.
    Room,
    /// Their room, when everything that was written together with them is freed, too.
    LateRoom,
}

/// What placement weighs of a disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Bytes that wait to be written.
    pub(crate) queued_bytes: u64,
    /// Bytes that were placed here since the store was opened.
    pub(crate) placed_bytes: u64,
    /// Bytes that the file system had left when it was last asked.
    pub(crate) available_bytes: u64,
}

impl Volume {
    pub(crate) fn new(
        disk: Arc<Disk>,
        store: StoreId,
        dir: PathBuf,
        track_chunks: u32,
        reserve_bytes: u64,
        holes: Holes,
    ) -> Self {
        let available = disk.io().available_space(&dir).unwrap_or(0);
        Volume {
            disk,
            store,
            dir: Arc::new(dir),
            track_chunks,
            reserve_bytes,
            index_bytes: AtomicU64::new(0),
            owner: OnceLock::new(),
            lane: Mutex::default(),
            synced: Condvar::new(),
            turn: Mutex::default(),
            training: Mutex::default(),
            dictionary: RwLock::default(),
            full: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            failure: OnceLock::new(),
            queued_bytes: AtomicU64::new(0),
            placed_bytes: AtomicU64::new(0),
            available_bytes: AtomicU64::new(available),
            holes,
        }
    }

    /// Names the store; once, before the first request.
    pub(crate) fn set_owner(&self, owner: Weak<dyn Owner>) {
        assert!(self.owner.set(owner).is_ok(), "a volume has one owner");
    }

    /// Continues a track that was active at the last clean close.
    pub(crate) fn resume(
        &self,
        track: Arc<TrackFile>,
        end: u32,
        header: &TrackHeader,
        dictionary: Option<Arc<Dictionary>>,
    ) {
        let appender = Appender::new(track, end);
        let &TrackHeader { floor, created_ms, .. } = header;
        self.set_dictionary(dictionary.clone());
        self.lock().active = Some(Active { appender, floor, created_ms, dictionary, applied: end });
    }

    /// What small values that are to be appended now are compressed with.
    pub(crate) fn dictionary(&self) -> Option<Arc<Dictionary>> {
        self.dictionary.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_dictionary(&self, dictionary: Option<Arc<Dictionary>>) {
        *self.dictionary.write().unwrap_or_else(PoisonError::into_inner) = dictionary;
    }

    /// Names the track before the next one, and the chunk up to which it is durable.
    pub(crate) fn follow(&self, predecessor: TrackId, end: u32) {
        self.lock().predecessor = Some((predecessor, end));
    }

    /// The active track, or where there is none the one before it, and the chunk up to which it
    /// is durable.
    pub(crate) fn last_track(&self) -> Option<(TrackId, u32)> {
        self.lock().last_track()
    }

    /// Seals the active track; the next append begins a new one. Gives what the index has not been
    /// told of yet.
    pub(crate) fn seal_active(self: &Arc<Self>) -> Result<Vec<Sealed>> {
        let owner = self.owner()?;
        let mut lane = self.lock_unless(|lane| lane.is_syncing);
        lane.sync(&*owner)?;
        lane.cut_blank(&*owner)?;
        if let Some(end) = lane.active.as_ref().map(|active| active.appender.end()) {
            lane.retire(end);
        }
        let sealed = std::mem::take(&mut lane.sealed);
        drop(lane);
        // The index hears of the seal when it has all chains before it: recovery does not look at what a track has
        // that is known to be sealed.
        self.settle_and_hand_over();
        Ok(sealed)
    }

    /// Has a track that was sealed told to the index later: it does not know the track yet.
    pub(crate) fn tell_later(&self, sealed: Sealed) {
        self.lock().sealed.push(sealed);
    }

    /// Whether the last write was refused for want of room.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Asks the file system again whether a full disk has room for `bytes` of values by now.
    pub(crate) fn has_room_again(&self, bytes: u64) -> bool {
        let mut lane = self.lock();
        let fits = self.checks_room(&mut lane.space, bytes).is_ok();
        self.full.store(!fits, Ordering::Relaxed);
        fits
    }

    /// Gives back what the file system has allocated behind the end of the active track, in advance: on
    /// xfs as much as is left for deletes, or more.
    pub(crate) fn trim(&self) {
        if let Some(active) = &mut self.lock().active {
            active.appender.trim();
        }
    }

    /// Makes it durable that the active track's file ends where its chains do, before the store is closed. All
    /// of them are.
    pub(crate) fn cut_blank(&self) -> Result<()> {
        let owner = self.owner()?;
        self.lock_unless(|lane| lane.is_syncing).cut_blank(&*owner)
    }

    /// Says that chunks or tracks of the disk were given back to the file system.
    pub(crate) fn room_came_back(&self) {
        self.lock().space.came_back();
    }

    /// Keeps so much from puts beside the reserve.
    pub(crate) fn keep_for_index(&self, bytes: u64) {
        self.index_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What puts leave.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.reserve_bytes + self.index_bytes.load(Ordering::Relaxed)
    }

    /// What placement weighs.
    pub(crate) fn load(&self) -> Load {
        Load {
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed),
            placed_bytes: self.placed_bytes.load(Ordering::Relaxed),
            available_bytes: self.available_bytes.load(Ordering::Relaxed),
        }
    }

    /// Leaves the disk out from the beginning.
    pub(crate) fn leave_out(&self, error: &Error) {
        let _ = self.failure.set(error.clone());
    }

    /// Leaves the disk out if the error is its own; gives whether it is.
    pub(crate) fn fail(&self, error: &Error) -> bool {
        let is_its_own = error.kind() == ErrorKind::Io
            && !error.is_shortage()
            && error.path().is_some_and(|path| path.starts_with(&*self.dir));
        if is_its_own && self.failure.set(error.clone()).is_ok() {
            tracing::error!(%error, disk = %self.disk.path.display(), "the disk is left out");
        }
        is_its_own
    }

    /// Why the disk is left out.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether the disk is neither drained nor failing.
    pub(crate) fn takes_puts(&self) -> bool {
        !self.is_draining() && self.failure().is_none()
    }

    /// Ends the disk's part in the store, if nothing is being appended to it; whether it did.
    pub(crate) fn leave(&self) -> bool {
        let mut lane = self.lock();
        let is_told = lane.sealed.is_empty() && lane.unapplied.is_empty();
        lane.has_left = lane.active.is_none() && is_told && lane.beginning == 0;
        if lane.has_left {
            // Its file goes with whatever else the index does not know of.
            lane.created = None;
        }
        lane.has_left
    }

    /// Runs `create`, which brings a track of compaction into the index; the disk does not leave the
    /// store meanwhile, and if it has, nothing is created.
    pub(super) fn begin_output<T>(&self, create: impl FnOnce() -> Result<T>) -> Result<T> {
        {
            let mut lane = self.lock();
            lane.check_stays(self)?;
            lane.beginning += 1;
        }
        let created = create();
        self.lock().beginning -= 1;
        created
    }

    /// Takes it back.
    pub(crate) fn stay(&self) {
        self.lock().has_left = false;
    }

    /// Asks the file system what it has left.
    pub(crate) fn ask_available_bytes(&self) -> u64 {
        self.disk.io().available_space(&self.dir).unwrap_or(0)
    }

    /// Whether freed chunks of this disk are given back to the file system.
    pub(crate) fn punches(&self) -> bool {
        self.holes != Holes::None
    }

    /// Whether that brings their room back, whatever lies around them.
    pub(crate) fn holes_are_room(&self) -> bool {
        self.holes == Holes::Room
    }

    pub(super) fn enqueued(&self, bytes: u64) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.placed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has the device begin with what was appended, for a sync that comes a little later.
    pub(super) fn start_write_back(&self) {
        let begun = self.lock().active.as_mut().map(|active| active.appender.begin_write_back());
        // Not under the lane: it may wait for the device's queue.
        if let Some((track, range)) = begun
            && !range.is_empty()
        {
            track.file.start_write_back(range);
        }
    }

    /// Makes all applied chains durable; gives what [`last_track`](Self::last_track) does. Called
    /// under the store's apply lock.
    pub(crate) fn sync_applied(&self) -> Result<Option<(TrackId, u32)>> {
        let owner = self.owner()?;
        self.sync_if(&*owner, Lane::has_unsynced_in_index, |_| ())?;
        Ok(self.last_track())
    }

    /// Makes all appended chains durable.
    pub(super) fn sync(&self) -> Result<()> {
        let owner = self.owner()?;
        self.sync_if(&*owner, |_| true, |_| ())
    }

    /// The same, before more like them are appended.
    pub(super) fn sync_expecting_more(&self, owner: &dyn Owner) -> Result<()> {
        let prepare = |lane: &mut Lane| {
            // Elsewhere it would be in vain: what is written anew goes to another place.
            if self.holes != Holes::LateRoom {
                lane.write_blank(self);
            }
        };
        self.sync_if(owner, |_| true, prepare)
    }

    /// Syncs the active track if `wants` says so, when no other sync is under way. Others append meanwhile.
    fn sync_if(
        &self,
        owner: &dyn Owner,
        wants: impl Fn(&Lane) -> bool,
        prepare: impl FnOnce(&mut Lane),
    ) -> Result<()> {
        let mut lane = self.lock_unless(|lane| lane.is_syncing && wants(lane));
        if !wants(&lane) {
            return Ok(());
        }
        prepare(&mut lane);
        let Some(begun) = lane.begin_sync(owner)? else { return Ok(()) };
        drop(lane);
        let unwinding = Unwinding(self);
        let outcome = begun.run();
        drop(unwinding);
        let mut lane = self.lock();
        let ended = lane.end_sync(owner, begun, outcome);
        drop(lane);
        self.synced.notify_all();
        ended
    }

    pub(super) fn checks_room(&self, space: &mut Space, bytes: u64) -> Result<()> {
        space.check(self.disk.io(), &self.dir, bytes, self.kept_bytes())
    }

    /// Counts `bytes` that are to be written; refuses them where less than the reserve would be
    /// left.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<()> {
        let mut lane = self.lock();
        let checked = self.checks_room(&mut lane.space, bytes);
        self.full.store(checked.is_err(), Ordering::Relaxed);
        self.available_bytes.store(lane.space.spend(bytes), Ordering::Relaxed);
        checked
    }

    pub(super) fn owner(&self) -> Result<Arc<dyn Owner>> {
        let owner = self.owner.get().and_then(Weak::upgrade);
        owner.ok_or_else(|| Error::new(ErrorKind::Poisoned, "the store was closed"))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().expect("no panic holds it")
    }

    /// Waits while a sync is in the way.
    pub(super) fn lock_unless(
        &self,
        is_in_the_way: impl FnMut(&mut Lane) -> bool,
    ) -> MutexGuard<'_, Lane> {
        self.synced.wait_while(self.lock(), is_in_the_way).expect("no panic holds it")
    }
}

/// Ends a sync in which a file system panics: it has failed.
struct Unwinding<'a>(&'a Volume);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut lane = self.0.lane.lock().unwrap_or_else(PoisonError::into_inner);
        lane.is_syncing = false;
        if let Some(active) = &mut lane.active {
            active.appender.fail();
        }
        drop(lane);
        self.0.synced.notify_all();
    }
}

/// What compaction copies at once at most, and always has room for, of the reserve.
pub(crate) fn slice_bytes(reserve_bytes: u64) -> u64 {
    const SLICE_BYTES: u64 = 8 << 20;
    SLICE_BYTES.min(reserve_bytes / 4)
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volume").field("dir", &self.dir).finish_non_exhaustive()
    }
}
