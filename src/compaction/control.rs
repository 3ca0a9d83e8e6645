//! What steers compaction while it runs: pace, pause, stop, progress, and how hard writers press.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::format::{DiskId, TrackId};

/// The longest that a put waits for space to come back: it is slowed down, not refused.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Waiting for the pace looks up this often, so that stopping is prompt.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Shared by the compactions of a store, its writers and its callers.
#[derive(Debug)]
pub(crate) struct Control {
    /// Bytes copied a second at most; 0 is no limit.
    rate: AtomicU64,
    paused: AtomicBool,
    stopped: AtomicBool,
    /// Whether garbage has reached the bound, and compaction can do something about it.
    pressed: AtomicBool,
    /// Bytes that came back since and no writer has used up yet.
    credit: AtomicI64,
    /// Freed bytes that readers or backups hold: nothing that compaction does brings them back.
    held: AtomicU64,
    /// Lock: taken alone.
    state: Mutex<State>,
    wake: Condvar,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Tracks that a compaction passes over: not unlinked, not refilled, not taken twice.
    busy: BTreeSet<TrackId>,
    /// Tracks that can't be compacted, until the store is opened again.
    blocked: BTreeSet<TrackId>,
    disks: BTreeMap<DiskId, DiskProgress>,
    /// When the next byte may be copied.
    next: Option<Instant>,
    /// Counts what compactions wait for to change.
    calls: u64,
    /// The oldest batch that a reader holds, and since when it is that one.
    oldest: Option<(u64, Instant)>,
}

/// How far the compaction of a disk has come.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let disk = store.stats()?.disks[0].id;
/// let progress: kogia::DiskProgress = store.compaction().disks.remove(&disk).unwrap_or_default();
/// assert_eq!(progress.track, None); // it has nothing to do
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiskProgress {
    /// The track that is being compacted.
    pub track: Option<TrackId>,
    /// Bytes of it that were passed over.
    pub done_bytes: u64,
    /// Bytes of it in all.
    pub total_bytes: u64,
    /// Tracks that were compacted since the store was opened.
    pub tracks: u64,
    /// Bytes that were copied since.
    pub copied_bytes: u64,
    /// Records that were copied since.
    pub copied_records: u64,
}

/// What compaction is doing.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.pause_compaction();
/// assert!(store.compaction().paused);
/// store.resume_compaction();
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompactionStatus {
    /// Whether it was paused.
    pub paused: bool,
    /// Bytes copied a second at most; `None` is no limit.
    pub bytes_per_second: Option<u64>,
    /// Whether writers are slowed down to the pace at which space comes back.
    pub slows_writers: bool,
    /// The most batches of compaction that any change of the index has waited for.
    pub most_swaps_waited_for: u64,
    /// Tracks that it can't read: they stay as they are.
    pub blocked: Vec<TrackId>,
    /// The disks it has looked at.
    pub disks: BTreeMap<DiskId, DiskProgress>,
}

/// A track that is being compacted or unlinked, while this lives.
pub(crate) struct Busy<'a> {
    control: &'a Control,
    pub(super) track: TrackId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.control.state().busy.remove(&self.track);
    }
}

impl Control {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Control {
            rate: AtomicU64::new(rate.unwrap_or(0)),
            paused: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            pressed: AtomicBool::new(false),
            credit: AtomicI64::new(0),
            held: AtomicU64::new(0),
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Condvar::new(),
        }
    }

    pub(crate) fn status(&self, most_swaps_waited_for: u64) -> CompactionStatus {
        let state = self.state();
        CompactionStatus {
            paused: self.is_paused(),
            bytes_per_second: self.rate(),
            slows_writers: self.pressed.load(Ordering::Relaxed),
            most_swaps_waited_for,
            blocked: state.blocked.iter().copied().collect(),
            disks: state.disks.clone(),
        }
    }

    pub(crate) fn set_rate(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        // What waits by the former pace waits no more.
        self.state().next = None;
        self.call();
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        self.call();
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Ends the threads, and makes writers wait no more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.call();
        self.press(false);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes the threads look up.
    pub(crate) fn call(&self) {
        self.state().calls += 1;
        self.wake.notify_all();
    }

    /// Waits for a call; gives whether the threads go on.
    pub(super) fn sleep(&self, timeout: Duration) -> bool {
        let state = self.state();
        let calls = state.calls;
        let idle = |state: &mut State| state.calls == calls && !self.is_stopped();
        drop(self.wake.wait_timeout_while(state, timeout, idle).expect("no panic holds it"));
        !self.is_stopped()
    }

    /// Waits until `bytes` more may be copied, or `go_on` says no; not at all while writers are pressed.
    pub(super) fn pace(&self, bytes: u64, limit: Option<u64>, go_on: impl Fn() -> bool) {
        let Some(rate) = limit else { return };
        let share = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let until = {
            let mut state = self.state();
            let now = Instant::now();
            let until = state.next.map_or(now, |next| next.max(now)) + share;
            *state.next.insert(until)
        };
        let holds = || self.state().next.is_some_and(|next| next >= until);
        while go_on() && !self.pressed.load(Ordering::Relaxed) && holds() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_UP));
        }
    }

    /// Takes a track, unless somebody has it.
    pub(crate) fn take(&self, track: TrackId) -> Option<Busy<'_>> {
        // Not `then_some`: a `Busy` that is dropped here would wait for the lock that this line holds.
        self.state().busy.insert(track).then(|| Busy { control: self, track })
    }

    /// Whether a compaction passes over the track, or it is being unlinked.
    pub(crate) fn is_busy(&self, track: TrackId) -> bool {
        self.state().busy.contains(&track)
    }

    /// The tracks that are not to be chosen.
    pub(super) fn excluded(&self) -> BTreeSet<TrackId> {
        let state = self.state();
        state.busy.union(&state.blocked).copied().collect()
    }

    /// Says that a track can't be read.
    pub(super) fn block(&self, track: TrackId) {
        self.state().blocked.insert(track);
    }

    pub(super) fn progress(&self, disk: DiskId, change: impl FnOnce(&mut DiskProgress)) {
        change(self.state().disks.entry(disk).or_default());
    }

    /// Says which batch is the oldest that readers hold, and which is durable; gives whether readers
    /// have held space back for long.
    pub(super) fn is_held_back(&self, oldest: u64, durable: u64) -> bool {
        let mut state = self.state();
        let since = match state.oldest {
            Some((before, since)) if before == oldest => since,
            _ => state.oldest.insert((oldest, Instant::now())).1,
        };
        oldest < durable && since.elapsed() >= MAX_WAIT
    }

    /// Says whether writers have to wait for space to come back.
    pub(crate) fn press(&self, pressed: bool) {
        if self.pressed.swap(pressed, Ordering::Relaxed) != pressed {
            self.credit.store(0, Ordering::Relaxed);
            tracing::info!(pressed, "writers wait for compaction");
        }
        self.room.notify_all();
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Says that so many freed bytes could not be given back.
    pub(crate) fn set_held(&self, bytes: u64) {
        self.held.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Says that so much came back.
    pub(crate) fn came_back(&self, bytes: u64) {
        if self.is_pressed() {
            self.credit.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
            self.room.notify_all();
        }
    }

    /// Waits, where garbage has reached the bound, until as much has come back as is to be written.
    pub(crate) fn admit(&self, bytes: usize) {
        if !self.is_pressed() {
            return;
        }
        let waiting = |_: &mut State| self.is_pressed() && self.credit.load(Ordering::Relaxed) <= 0;
        drop(self.room.wait_timeout_while(self.state(), MAX_WAIT, waiting));
        self.credit.fetch_sub(bytes as i64, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}
