//! Checkpoints: the moments at which the index is made durable.
//!
//! A checkpoint syncs every disk, cuts the index over all column families, flushes what came before
//! the cut while writers go on behind it, and writes to `META` how far each active track is durable.
//! What the index freed before the cut may then be reused.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Shared;
use super::refill;
use crate::disk::{Owner, slice_bytes, wait_for_all};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::{DiskId, TrackId};
use crate::index::Books;
use crate::io::{Io, RealIo};

/// What has come together since the last checkpoint, and who waits for the next.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Held by whoever takes a checkpoint.
    serial: Mutex<()>,
    /// Bytes that the index takes, about, that came since the last cut.
    memtable_bytes: AtomicUsize,
    /// Bytes that came before it and are being flushed.
    flushing_bytes: AtomicUsize,
    track_bytes: AtomicU64,
    /// Bytes that were freed since the last cut, and whether a checkpoint was asked for because of them.
    freed_bytes: AtomicU64,
    freed_much: AtomicBool,
    /// Bytes that were written since the file system was last made to count everything.
    unsettled_bytes: AtomicU64,
    /// Whether chains were appended that are not yet synced.
    unsynced: AtomicBool,
    /// When the last sync of an interval was.
    synced: Mutex<Instant>,
    /// The last index batch that is durable.
    durable_batch: AtomicU64,
    signals: Mutex<Signals>,
    wake: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) stop: bool,
    pub(crate) checkpoint: bool,
    pub(crate) expiry: bool,
    /// A checkpoint is wanted for what has come together; the next one serves, whoever takes it.
    pub(crate) flush: bool,
    /// Checkpoints taken or given up so far.
    rounds: u64,
}

/// What a flush makes durable.
struct Cut {
    batch: u64,
    /// Each disk's last track, and where it is durable to.
    ends: Vec<(DiskId, Option<(TrackId, u32)>)>,
    /// Where the tracks of compaction are durable to.
    outputs: BTreeMap<TrackId, u32>,
    trims: Vec<(TrackId, u32)>,
}

impl Checkpoints {
    pub(crate) fn new(durable_batch: u64) -> Self {
        Checkpoints {
            serial: Mutex::new(()),
            memtable_bytes: AtomicUsize::new(0),
            flushing_bytes: AtomicUsize::new(0),
            track_bytes: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            freed_much: AtomicBool::new(false),
            unsettled_bytes: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
            synced: Mutex::new(Instant::now()),
            durable_batch: AtomicU64::new(durable_batch),
            signals: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Counts what the index grew by.
    pub(crate) fn grew(&self, bytes: usize) {
        self.memtable_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what was appended to tracks.
    pub(crate) fn wrote(&self, chunks: u64, unsynced: bool) {
        self.track_bytes.fetch_add(chunks * CHUNK_BYTES as u64, Ordering::Relaxed);
        self.unsettled_bytes.fetch_add(chunks * CHUNK_BYTES as u64, Ordering::Relaxed);
        if unsynced {
            self.unsynced.store(true, Ordering::Relaxed);
        }
    }

    /// Counts what was freed, in a store whose objects have so many bytes. That room comes back with a checkpoint,
    /// for which a small store would wait until it takes several times as much as it has. Where it is to be
    /// refilled, it is wanted sooner: what is put meanwhile is appended.
    pub(crate) fn freed(&self, chunks: u64, object_bytes: u64, refills: bool) {
        const MUCH_BYTES: u64 = 64 << 20;
        const PART: u64 = 10;
        const PART_TO_REFILL: u64 = 20;
        if chunks == 0 {
            return;
        }
        let bytes = chunks * CHUNK_BYTES as u64;
        let freed = self.freed_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let much_bytes = match refills {
            true => refill::MUCH_BYTES.max(object_bytes / PART_TO_REFILL),
            false => MUCH_BYTES.max(object_bytes / PART),
        };
        let is_much = freed >= much_bytes;
        if is_much && !self.freed_much.swap(true, Ordering::Relaxed) {
            self.request_flush();
        }
    }

    /// The last index batch that is durable.
    pub(crate) fn durable_batch(&self) -> u64 {
        self.durable_batch.load(Ordering::Acquire)
    }

    /// Wakes the housekeeper.
    pub(crate) fn wake(&self) {
        self.wake.notify_all();
        self.done.notify_all();
    }

    /// Asks the housekeeper for a checkpoint.
    pub(crate) fn request(&self) {
        self.signals().checkpoint = true;
        self.wake.notify_all();
    }

    /// Asks for a checkpoint because of what has come together since the last one.
    fn request_flush(&self) {
        self.signals().flush = true;
        self.wake.notify_all();
    }

    /// Bytes of the index that are in no durable checkpoint, about.
    fn unflushed_bytes(&self) -> usize {
        self.memtable_bytes.load(Ordering::Relaxed) + self.flushing_bytes.load(Ordering::Relaxed)
    }

    /// Counts anew: what has come together is being flushed. Under the apply lock.
    fn cut(&self) {
        let bytes = self.memtable_bytes.swap(0, Ordering::Relaxed);
        self.flushing_bytes.store(bytes, Ordering::Relaxed);
        self.track_bytes.store(0, Ordering::Relaxed);
        self.freed_bytes.store(0, Ordering::Relaxed);
        self.freed_much.store(false, Ordering::Relaxed);
        self.signals().flush = false;
    }

    /// What came before the cut is durable.
    fn flushed(&self) {
        self.flushing_bytes.store(0, Ordering::Relaxed);
        // Whoever misses this is woken at the round's end.
        self.done.notify_all();
    }

    /// Asks the housekeeper to see whether something has to go.
    pub(crate) fn request_expiry(&self) {
        self.signals().expiry = true;
        self.wake.notify_all();
    }

    /// Asks the housekeeper to end.
    pub(crate) fn stop(&self) {
        self.signals().stop = true;
        self.wake.notify_all();
    }

    /// Waits up to `timeout` for a signal; gives it, and takes what was requested.
    pub(crate) fn sleep(&self, timeout: Duration) -> Signals {
        let idle = |s: &mut Signals| !s.stop && !s.checkpoint && !s.flush && !s.expiry;
        let slept = self.wake.wait_timeout_while(self.signals(), timeout, idle);
        let mut signals = slept.expect("no panic holds it").0;
        let flush = std::mem::take(&mut signals.flush);
        let checkpoint = std::mem::take(&mut signals.checkpoint);
        let expiry = std::mem::take(&mut signals.expiry);
        Signals { stop: signals.stop, checkpoint, expiry, flush, rounds: signals.rounds }
    }

    /// Whether chains wait for a sync, for as long as an interval; taken.
    fn take_unsynced(&self, interval: Duration) -> bool {
        let mut synced = self.synced.lock().expect("no panic holds it");
        let is_due = synced.elapsed() >= interval;
        if is_due {
            *synced = Instant::now();
        }
        is_due && self.unsynced.swap(false, Ordering::Relaxed)
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().expect("no panic holds it")
    }
}

impl Shared {
    /// Waits while the unflushed index takes all the memory that it may (invariant I1: it must
    /// not flush by itself), and asks for a checkpoint when three quarters are taken.
    pub(crate) fn admit(&self, bytes: usize) -> Result<()> {
        self.compaction.admit(bytes);
        self.admit_rows()
    }

    /// The same, for what brings room or is bounded elsewhere.
    pub(crate) fn admit_rows(&self) -> Result<()> {
        let (checkpoints, limit) = (&self.checkpoints, self.options.memtable_bytes());
        let grown = checkpoints.memtable_bytes.load(Ordering::Relaxed);
        if grown >= limit / 4 * 3 || self.due_by_bytes() {
            checkpoints.request_flush();
        }
        let is_full = || checkpoints.unflushed_bytes() >= limit;
        while is_full() {
            self.check_poison()?;
            let mut signals = checkpoints.signals();
            // One that is under way makes room as well.
            let asks = checkpoints.flushing_bytes.load(Ordering::Relaxed) == 0;
            if asks {
                // Asked for and waited for under one lock, so that no round comes between.
                signals.flush = true;
                checkpoints.wake.notify_all();
            }
            let round = signals.rounds;
            let waiting = |s: &mut Signals| {
                s.rounds == round && !s.stop && self.check_poison().is_ok() && is_full()
            };
            let signals = checkpoints.done.wait_while(signals, waiting);
            let is_over = signals.expect("no panic holds it").rounds > round;
            if asks && is_over && is_full() {
                let what = "the file system has no room for a checkpoint of the index";
                return Err(Error::new(ErrorKind::Full, what).with_path(&self.home));
            }
        }
        Ok(())
    }

    /// Like [`admit`](Self::admit), for deletes. They go on while there is room left for a checkpoint
    /// and for compaction: behind that the store could neither be opened again nor get any room back.
    pub(crate) fn admit_delete(&self) -> Result<()> {
        self.admit_swap()?;
        let lacks_room = || {
            let kept = self.flush_bytes() + 2 * slice_bytes(self.options.reserve_bytes);
            self.available_to_index(kept) < kept
        };
        if !lacks_room() {
            return Ok(());
        }
        self.reserve.release();
        if lacks_room() {
            self.volumes.all().iter().for_each(|volume| volume.trim());
        }
        if lacks_room() {
            self.give_back()?;
        }
        if lacks_room() {
            let what =
                "what room is left is kept for checkpoints and compaction; compact the store";
            return Err(Error::new(ErrorKind::Full, what).with_path(self.index.path()));
        }
        Ok(())
    }

    /// Like [`admit`](Self::admit), for compaction: it goes on where there is no room for checkpoints.
    pub(crate) fn admit_swap(&self) -> Result<()> {
        match self.admit_rows() {
            Err(error) if error.kind() == ErrorKind::Full => Ok(()),
            admitted => admitted,
        }
    }

    /// Like [`admit_delete`](Self::admit_delete), for the housekeeper, who would wait for itself:
    /// takes the checkpoint.
    pub(crate) fn admit_upkeep(&self) -> Result<()> {
        let grown = self.checkpoints.memtable_bytes.load(Ordering::Relaxed);
        if grown < self.options.memtable_bytes() / 2 {
            return Ok(());
        }
        let is_bounded = || self.checkpoints.unflushed_bytes() < self.options.memtable_bytes();
        match self.checkpoint() {
            // Deletes bring room, but what they add to the index has to be flushed in the end.
            Err(error) if error.kind() == ErrorKind::Full && is_bounded() => Ok(()),
            taken => taken,
        }
    }

    fn due_by_bytes(&self) -> bool {
        let written = self.checkpoints.track_bytes.load(Ordering::Relaxed);
        // What is appended found no chunks to refill: those that were freed wait for a checkpoint.
        let refill_bytes = if self.options.refill { self.options.track_bytes } else { u64::MAX };
        written >= self.options.checkpoint_bytes.min(refill_bytes)
    }

    /// Makes all acknowledged writes durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let outcomes: Vec<_> =
            self.volumes.all().iter().map(|volume| volume.submit_sync()).collect();
        wait_for_all(outcomes)
    }

    /// The interval's sync: called often enough by whoever keeps the housekeeper busy for long.
    pub(crate) fn sync_if_due(&self) {
        if self.checkpoints.take_unsynced(self.options.sync_interval)
            && let Err(error) = self.sync()
        {
            tracing::error!(%error, "the interval's sync failed");
        }
    }

    /// Makes the index durable. Does nothing where nothing has changed.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let outcome = self.try_checkpoint();
        self.end_round();
        outcome
    }

    /// The same; writers wait while the index is flushed.
    pub(crate) fn checkpoint_before_writes(&self) -> Result<()> {
        let outcome = {
            let _serial = self.checkpoints.serial.lock().expect("no panic holds it");
            if self.has_changed() { self.flush_and(|_| Ok(())) } else { Ok(()) }
        };
        self.end_round();
        outcome
    }

    fn has_changed(&self) -> bool {
        self.books().state.batch != self.checkpoints.durable_batch()
    }

    /// A checkpoint, also where nothing has changed, and a look at it before anything follows: `look`
    /// runs under the apply lock, and finds the flushed index as the books are.
    pub(crate) fn checkpoint_and<T>(&self, look: impl FnOnce(&Books) -> Result<T>) -> Result<T> {
        let outcome = {
            let _serial = self.checkpoints.serial.lock().expect("no panic holds it");
            self.flush_and(look)
        };
        self.end_round();
        outcome
    }

    fn end_round(&self) {
        self.checkpoints.signals().rounds += 1;
        self.checkpoints.done.notify_all();
    }

    fn try_checkpoint(&self) -> Result<()> {
        let _serial = self.checkpoints.serial.lock().expect("no panic holds it");
        if !self.has_changed() {
            return Ok(());
        }
        let started = Instant::now();
        self.prepare()?;
        let cut = {
            let mut books = self.books();
            let cut = self.cut(&mut books)?;
            self.or_poison(self.index.begin_flush(&mut books))?;
            self.checkpoints.cut();
            cut
        };
        self.await_flush()?;
        self.note_durable(cut, started)
    }

    fn flush_and<T>(&self, look: impl FnOnce(&Books) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.prepare()?;
        let (cut, seen) = {
            let mut books = self.books();
            let cut = self.cut(&mut books)?;
            self.or_poison(self.index.flush())?;
            self.checkpoints.cut();
            self.checkpoints.flushed();
            (cut, look(&books))
        };
        self.note_durable(cut, started)?;
        seen
    }

    /// What needs no apply lock: most of what has to be synced is synced here, while writers go on.
    fn prepare(&self) -> Result<()> {
        self.sync()?;
        step!("checkpoint.synced");
        self.make_room_for_meta();
        self.make_room()
    }

    /// Syncs whatever the index reflects, and says so in it. Whoever flushes begins to before the
    /// apply lock is given back.
    fn cut(&self, books: &mut Books) -> Result<Cut> {
        self.check_poison()?;
        // Invariant I1: under the apply lock, after every disk is synced, all families at once.
        let mut ends = Vec::new();
        for volume in self.volumes.all().iter() {
            ends.push((volume.disk.id, volume.sync_applied()?));
        }
        self.change(books, |join| {
            let ids: Vec<_> = join.books.tracks.keys().copied().collect();
            for id in ids {
                if join.books.tracks[&id].synced < join.books.tracks[&id].applied
                    && let Some(row) = join.track(id)
                {
                    row.synced = row.applied;
                }
            }
            Ok(())
        })?;
        step!("checkpoint.rows-written");
        let compacted = books.tracks.iter().filter(|(_, row)| row.compacted);
        Ok(Cut {
            batch: books.state.batch,
            ends,
            outputs: compacted.map(|(id, row)| (*id, row.synced)).collect(),
            trims: books.trims().collect(),
        })
    }

    /// Waits until what came before the cut is durable. Writers go on: what they write is in
    /// memtables that this flush has no part in.
    fn await_flush(&self) -> Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        while self.index.is_flushing()? {
            self.check_poison()?;
            if self.index.has_failed()? {
                // A flush that failed, or a compaction: only one that is waited for says which.
                let mut books = self.books();
                self.cut(&mut books)?;
                self.or_poison(self.index.flush())?;
            } else {
                self.sync_if_due();
                std::thread::sleep(LOOK_EVERY);
            }
        }
        self.checkpoints.flushed();
        step!("checkpoint.flushed");
        Ok(())
    }

    /// After the flush: `META` is the last witness of what was synced, also for a rebuild
    /// (invariant I10), and what a punch takes away later lies before these ends.
    fn note_durable(&self, cut: Cut, started: Instant) -> Result<()> {
        let Cut { batch, ends, outputs, trims } = cut;
        self.ledger.update(|meta| {
            for (disk, synced) in ends {
                // A disk that has rolled meanwhile is not taken back to the track before.
                if let Some(state) = meta.disks.iter_mut().find(|state| state.id == disk)
                    && let (Some((now, end)), Some((track, synced))) = (&mut state.active, synced)
                    && *now == track
                {
                    *end = synced;
                }
            }
            for (track, end) in meta.disks.iter_mut().flat_map(|state| &mut state.outputs) {
                *end = outputs.get(track).copied().unwrap_or(*end);
            }
            // Of what compaction has passed over since, nothing is punched yet; and what killed the
            // records there may not be durable, so that a rebuild has to find them.
            meta.trims = trims;
        })?;
        self.checkpoints.durable_batch.store(batch, Ordering::Release);
        step!("checkpoint.named");
        tracing::debug!(batch, took = ?started.elapsed(), "checkpoint");
        Ok(())
    }

    /// An index that can't be flushed takes no more.
    fn or_poison(&self, flushed: Result<()>) -> Result<()> {
        flushed.inspect_err(|error| self.poison(error))
    }

    /// `META` is replaced by a file that is written beside it.
    pub(crate) fn make_room_for_meta(&self) {
        const META_BYTES: u64 = 64 << 10;
        let left = self.options.io.available_space(&self.home);
        if left.is_ok_and(|left| left < META_BYTES) {
            self.reserve.release();
        }
    }

    /// A flush that runs out of room ends RocksDB, so none is begun without; the reserve is for
    /// this.
    fn make_room(&self) -> Result<()> {
        let needed = self.flush_bytes();
        let index = self.index.path();
        let compaction = self.index.compaction_bytes();
        for volume in self.volumes.all().iter() {
            volume.keep_for_index(if is_beside(index, &volume.dir) { compaction } else { 0 });
        }
        let wanted = needed + compaction;
        self.index.compact_itself(self.available_to_index(wanted) >= wanted)?;
        if self.available_to_index(needed) < needed {
            self.reserve.release();
        }
        if self.available_to_index(needed) < needed {
            let what = format!("no room for a checkpoint of the index, which needs {needed} bytes");
            return Err(Error::new(ErrorKind::Full, what).with_path(index));
        }
        Ok(())
    }

    /// Room on the index's file system, where so many bytes are needed: counted anew where what was
    /// written since the last count makes a difference. The index is always on the operating
    /// system's file system.
    fn available_to_index(&self, needed: u64) -> u64 {
        let path = self.index.path();
        let available = || RealIo.available_space(path).unwrap_or(u64::MAX);
        let unsettled = &self.checkpoints.unsettled_bytes;
        let left = available();
        if left >= needed.saturating_add(unsettled.load(Ordering::Relaxed)) {
            return left;
        }
        unsettled.store(0, Ordering::Relaxed);
        // Best effort: where it fails, there is nothing better than what was said before.
        let _ = RealIo.settle_space(path);
        available()
    }

    /// What a flush of the index takes at most.
    fn flush_bytes(&self) -> u64 {
        self.checkpoints.unflushed_bytes() as u64 * 2 + (1 << 20)
    }
}

/// Whether two paths are on one file system of the operating system's.
fn is_beside(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev());
    device(one).is_ok_and(|one| device(other).is_ok_and(|other| one == other))
}
