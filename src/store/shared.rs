//! What a store's calls, its disks' threads and its housekeeper share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use super::apply_lock::{ApplyGuard, ApplyLock};
use super::budget::Budget;
use super::checkpoint::Checkpoints;
use super::gate::Gates;
use super::ledger::Ledger;
use super::look_ahead::LookAhead;
use super::pins::Pins;
use super::refill::Refills;
use super::reserve::Reserve;
use super::retention::Retention;
use super::volumes::Volumes;
use crate::compaction::Control;
use crate::compression::{Compressor, DEFAULT_LEVEL, Decompressor, Dictionary};
use crate::disk::{Appended, Owner, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{DirectoryEntry, Room};
use crate::format::entry::TrackRow;
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{DiskId, Seq, StoreId, TrackId, record};
use crate::index::{Ahead, Books, ChainFacts, Index, Join, Ready};
use crate::options::Options;
use crate::recovery::{self, RecoveryReport};
use crate::track::{TrackFile, TrackFiles};

/// An open store.
///
/// Lock order: the backup lock, what passes delete (`retention`), a key's gate, the checkpoint lock,
/// the reclaimer's, what is being refilled, a volume's turn, the apply lock (`books`), a volume's lane, the
/// ledger.
/// Under the pins', the files' and compaction's locks no other is taken.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) home: PathBuf,
    pub(crate) id: StoreId,
    pub(crate) index: Index,
    /// The apply lock.
    books: ApplyLock,
    pub(crate) volumes: Volumes,
    pub(crate) files: TrackFiles,
    pub(crate) ledger: Ledger,
    pub(crate) gates: Gates,
    pub(crate) pins: Pins,
    pub(crate) budget: Arc<Budget>,
    /// Streams that are being written.
    pub(crate) streams: AtomicUsize,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) reserve: Reserve,
    /// Held by whoever gives room back.
    pub(crate) reclaiming: Mutex<()>,
    pub(crate) refills: Refills,
    pub(crate) compaction: Control,
    pub(crate) retention: Retention,
    pub(crate) look_ahead: LookAhead,
    /// Held by whoever takes a backup; before all other locks.
    pub(crate) backing_up: Mutex<()>,
    /// Held by whoever adds a disk, or begins to drain one; after the backup lock.
    pub(crate) changing_disks: Mutex<()>,
    /// For new values where the options say so, and for copies of those that are compressed.
    pub(crate) compressor: Compressor,
    pub(crate) decompressor: Decompressor,
    /// The tombstones below this floor were forgotten already.
    pub(crate) grave_floor: AtomicU64,
    /// A seq below those of all records that disks which are missing may hold and the index does not
    /// know; `None` where all disks are there.
    pub(crate) unknown_above: Option<Seq>,
    pub(crate) recovery: RecoveryReport,
    next_seq: AtomicU64,
    next_track: AtomicU32,
    poison: OnceLock<Error>,
    /// Held so that nobody else opens the store (invariant I8); the last to be dropped.
    locks: Mutex<Locks>,
}

/// Of a store's home, and of its folder on each disk.
pub(crate) type Locks = BTreeMap<PathBuf, Box<dyn Send + Sync>>;

/// What opening has found out.
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) home: PathBuf,
    pub(crate) index: Index,
    pub(crate) books: Books,
    pub(crate) volumes: Vec<Arc<Volume>>,
    pub(crate) files: TrackFiles,
    pub(crate) ledger: Ledger,
    pub(crate) reserve: Reserve,
    pub(crate) unknown_above: Option<Seq>,
    pub(crate) recovery: RecoveryReport,
    pub(crate) locks: Locks,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let meta = parts.ledger.get();
        let pins = Pins::default();
        pins.publish(parts.books.state.batch);
        Shared {
            id: meta.store,
            index: parts.index,
            volumes: Volumes::new(parts.volumes),
            files: parts.files,
            ledger: parts.ledger,
            gates: Gates::new(),
            pins,
            budget: Arc::new(Budget::new(parts.options.queue_bytes())),
            streams: AtomicUsize::new(0),
            checkpoints: Checkpoints::new(parts.books.state.batch),
            reserve: parts.reserve,
            reclaiming: Mutex::default(),
            refills: Refills::default(),
            compaction: Control::new(parts.options.compaction_rate),
            retention: Retention::new(&parts.options.retention, parts.options.checkpoint_interval),
            look_ahead: LookAhead::default(),
            backing_up: Mutex::default(),
            changing_disks: Mutex::default(),
            compressor: Compressor::new(parts.options.compression.unwrap_or(DEFAULT_LEVEL)),
            decompressor: Decompressor::default(),
            grave_floor: AtomicU64::new(0),
            unknown_above: parts.unknown_above,
            recovery: parts.recovery,
            next_seq: AtomicU64::new(Seq::first_of(meta.openings).0 + 1),
            next_track: AtomicU32::new(meta.next_track),
            poison: OnceLock::new(),
            books: ApplyLock::new(parts.books),
            options: parts.options,
            home: parts.home,
            locks: Mutex::new(parts.locks),
        }
    }

    /// Locks the store's folder on a further disk, unless it was a disk of this opening before.
    pub(crate) fn lock_folder(&self, folder: &Path) -> Result<()> {
        let mut locks = self.locks.lock().expect("no panic holds it");
        recovery::lock_folder(&*self.options.io, folder, &mut locks)
    }

    /// The apply lock.
    pub(crate) fn books(&self) -> ApplyGuard<'_> {
        self.books.lock()
    }

    /// The apply lock, for a swap of compaction.
    pub(crate) fn books_to_swap(&self) -> ApplyGuard<'_> {
        self.books.lock_to_swap()
    }

    pub(crate) fn most_swaps_waited_for(&self) -> u64 {
        self.books.most_swaps_waited_for()
    }

    /// An error if the store takes no more writes.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// A seq greater than all that were given out.
    pub(crate) fn current_seq(&self) -> Seq {
        Seq(self.next_seq.load(Ordering::Acquire))
    }

    /// Makes a change of the index, as one batch. After an error the books may not agree with the
    /// rows any more, so the store takes no more writes.
    pub(crate) fn change<T>(
        &self,
        books: &mut Books,
        change: impl FnOnce(&mut Join<'_>) -> Result<T>,
    ) -> Result<T> {
        self.check_poison()?;
        let mut join = Join::new(&self.index, books);
        let outcome = change(&mut join).and_then(|value| {
            let freed_chunks = join.freed_chunks;
            Ok((value, freed_chunks, join.commit()?))
        });
        match outcome {
            Ok((value, freed_chunks, bytes)) => {
                self.checkpoints.grew(bytes);
                let object_bytes = books.state.object_bytes;
                self.checkpoints.freed(freed_chunks, object_bytes, self.options.refill);
                self.pins.publish(books.state.batch);
                Ok(value)
            }
            Err(error) => {
                self.poison(&error);
                Err(error)
            }
        }
    }

    /// Brings a chain in.
    fn join_chain(
        &self,
        join: &mut Join<'_>,
        chain: &Appended<'_>,
        ready: &Ready<'_>,
        ahead: Option<Ahead>,
    ) -> Result<()> {
        for sealed in &chain.sealed {
            if let Some(row) = join.track(sealed.track) {
                row.sealed = Some(sealed.end);
            }
        }
        join.books.tracks.entry(chain.track).or_insert_with(|| {
            TrackRow::new(chain.disk, TrackKind::Append, 0, chain.created_ms, chain.floor)
        });
        join.chain(ready, ahead)
    }

    /// The records of an appended chain.
    pub(crate) fn records<'c>(&self, chain: &Appended<'c>) -> Result<Vec<DirectoryEntry<'c>>> {
        let mut records = Vec::with_capacity(chain.records.len());
        for &(entry, spot) in &chain.records {
            let (seq, record) = record::decode(entry).map_err(|fault| self.index.fault(fault))?;
            let room = Room::of(&record);
            records.push(DirectoryEntry { seq, record, spot, room });
        }
        Ok(records)
    }
}

impl Appended<'_> {
    /// What of the chain concerns all its records.
    pub(crate) fn facts(&self) -> ChainFacts {
        ChainFacts {
            track: self.track,
            start: self.start,
            chunks: self.chunks,
            head_chunks: self.head_chunks,
            seq: self.seq,
            synced: self.synced,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Owner for Shared {
    fn take_seqs(&self, count: u64) -> Seq {
        // Invariant I7: a seq never runs over into the next opening's. The counter of 40 bits lasts for
        // twelve days at a million a second; behind that nobody gets any more.
        let within = |next: u64| {
            let end = next + count;
            (Seq(next).opening() == Seq(end).opening()).then_some(end)
        };
        let taken = self.next_seq.fetch_update(Ordering::AcqRel, Ordering::Acquire, within);
        Seq(taken.expect("an opening's seqs are not used up: the store is to be opened anew"))
    }

    fn take_track(&self) -> (TrackId, Seq) {
        let id = self.next_track.fetch_add(1, Ordering::AcqRel);
        // Records get greater seqs than the floor, and are live when they are written.
        (TrackId(id), self.take_seqs(1))
    }

    fn train_dictionary(&self) -> Option<Arc<Dictionary>> {
        self.compressor.train_offered().map(Arc::new)
    }

    fn track_created(
        &self,
        disk: DiskId,
        track: &Arc<TrackFile>,
        dir: &Arc<PathBuf>,
    ) -> Result<()> {
        self.ledger.update(|meta| {
            meta.next_track = meta.next_track.max(track.id.0 + 1);
            if let Some(state) = meta.disks.iter_mut().find(|state| state.id == disk) {
                state.active = Some((track.id, 1));
            }
        })?;
        self.files.add_open(track, dir);
        Ok(())
    }

    fn output_created(
        &self,
        disk: DiskId,
        track: &Arc<TrackFile>,
        header: &TrackHeader,
        dir: &Arc<PathBuf>,
    ) -> Result<()> {
        self.ledger.update(|meta| {
            meta.next_track = meta.next_track.max(track.id.0 + 1);
            if let Some(state) = meta.disks.iter_mut().find(|state| state.id == disk) {
                // Its header vouches for the one before (invariant I10).
                state.outputs.retain(|output| Some(output.0) != header.predecessor.map(|p| p.0));
                state.outputs.push((track.id, 1));
            }
        })?;
        step!("output.named");
        self.files.add_open(track, dir);
        let row = TrackRow::new(disk, header.kind, header.shard, header.created_ms, header.floor);
        self.change(&mut self.books(), |join| {
            join.add_track(track.id, row);
            Ok(())
        })?;
        step!("output.known");
        Ok(())
    }

    fn track_cut(&self, track: TrackId, end: u32) -> Result<()> {
        self.ledger.update(|meta| {
            meta.cuts.push((track, end));
            for state in &mut meta.disks {
                state.active = state.active.filter(|(active, _)| *active != track);
            }
        })
    }

    fn apply(&self, chain: &Appended<'_>) -> Result<()> {
        let records = self.records(chain).inspect_err(|error| self.poison(error))?;
        let ready = Ready::new(chain.facts(), records);
        let ahead = self.look_ahead.take(chain.records.len());
        {
            let mut books = self.books();
            self.change(&mut books, |join| self.join_chain(join, chain, &ready, ahead))?;
        }
        self.note_puts(&ready.records);
        for sealed in &chain.sealed {
            self.files.seal(sealed.track, sealed.end);
        }
        self.checkpoints.wrote(u64::from(chain.chunks), chain.synced < chain.start + chain.chunks);
        Ok(())
    }

    fn release_reserve(&self) {
        self.reserve.release();
    }

    fn poison(&self, cause: &Error) {
        let what = "a write that was acknowledged may be lost, and the store takes no more; \
                    reopen it to recover";
        let error = Error::new(ErrorKind::Poisoned, what).with_source(cause.clone());
        if self.poison.set(error).is_ok() {
            tracing::error!(%cause, "the store takes no more writes");
        }
        self.checkpoints.wake();
    }

    fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }
}

/// The time by the machine's clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
