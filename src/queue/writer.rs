//! The writer thread: it takes what appenders have packed, one group after the other, writes it
//! with one call, syncs once for all who wait, and says how far the queue has come.

use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::lane::Lane;
use super::options::QueueOptions;
use super::source::Source;
use super::tail::Tail;
use super::track::Track;
use super::{Id, retention};
use crate::error::{Error, ErrorKind, Result};
use crate::format::TrackId;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::items::MAX_ITEM_BYTES;
use crate::format::queue::{QueueMeta, QueueTrack, TrackEnd};
use crate::io::{self, WriteBack};

/// The writer wakes up when so much waits, although nobody asks for it: 256 KiB.
const WAKE_CHUNKS: u32 = 64;
/// Room is taken from the file system in steps: 4 MiB.
const RESERVE_CHUNKS: u32 = 1024;

/// A queue that is written to.
pub(super) struct Inner {
    pub(super) source: Arc<Source>,
    pub(super) options: QueueOptions,
    pub(super) tail: Tail,
    /// The number of the last rewrite that was tried. Lock: held by the one that is going on, and
    /// taken before all others.
    pub(super) rewriting: Mutex<u32>,
    /// Lock: taken before the state's, never after it.
    pub(super) meta: Mutex<QueueMeta>,
    state: Mutex<State>,
    /// The writer waits here.
    work: Condvar,
    /// All others wait here: for a pass of the writer with an even number, or with an odd one. So a
    /// pass does not wake those who have come while it was under way, and have to wait for the next.
    done: [Condvar; 2],
    pub(super) _lock: Box<dyn Send + Sync>,
}

/// Where writing stands.
pub(super) struct State {
    lane: Lane,
    spare: Option<Lane>,
    pub(super) track: Option<Arc<Track>>,
    /// The track before the next one.
    predecessor: Option<TrackEnd>,
    /// The chunk in which the lane begins.
    base: u32,
    /// Frames that begin in the track before the lane.
    frames: u64,
    /// Chunks of the track that have room on the disk.
    reserved: u32,
    write_back: WriteBack,
    /// Behind all that was appended.
    pub(super) end: Id,
    written: Id,
    pub(super) durable: Id,
    want_write: bool,
    want_sync: Id,
    unsynced_since: Option<Instant>,
    /// Whether a new track is wanted, how often one was tried to get, and how that ended last.
    want_roll: bool,
    rolls: u64,
    roll_error: Option<Error>,
    /// How often the writer has written, or tried to.
    passes: u64,
    /// What it does at the moment.
    pass: Option<Pass>,
    full: Option<Error>,
    poison: Option<Error>,
    idle: bool,
    closing: bool,
}

/// A pass of the writer that is under way.
struct Pass {
    /// Behind all that is written when it ends.
    end: Id,
    syncs: bool,
}

/// What is written at once.
struct Group {
    lane: Lane,
    track: Arc<Track>,
    base: u32,
    frames: u64,
    end: Id,
}

impl State {
    /// Writing begins behind `end`, in `track` or, where that is `None`, in a new one.
    pub(super) fn new(
        track: Option<Arc<Track>>,
        end: Id,
        frames: u64,
        predecessor: Option<TrackEnd>,
    ) -> Self {
        State {
            lane: Lane::default(),
            spare: Some(Lane::default()),
            track,
            predecessor,
            base: end.position().div_ceil(CHUNK_BYTES as u32),
            frames,
            reserved: 0,
            write_back: WriteBack::default(),
            end,
            written: end,
            durable: end,
            want_write: false,
            want_sync: end,
            unsynced_since: None,
            want_roll: false,
            rolls: 0,
            roll_error: None,
            passes: 0,
            pass: None,
            full: None,
            poison: None,
            idle: false,
            closing: false,
        }
    }

    fn is_blocked(&self) -> bool {
        self.want_roll || self.full.is_some() || self.poison.is_some()
    }

    fn check(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(poisoned(cause)),
            None => Ok(()),
        }
    }

    /// Adds an item for which there is room.
    #[inline]
    fn push(&mut self, item: &[u8]) -> Id {
        let track = self.end.track();
        let base = self.base * CHUNK_BYTES as u32;
        let start = self.lane.push(item);
        self.end = Id::new(track, base + self.lane.at() as u32);
        Id::new(track, base + start as u32)
    }

    /// The number of the pass that makes what lies before `end` written, or durable, if it is
    /// asked for.
    fn pass_for(&self, end: Id, durable: bool) -> u64 {
        let is_next = |pass: &Pass| pass.end < end || (durable && !pass.syncs);
        self.passes + u64::from(self.pass.as_ref().is_some_and(is_next))
    }

    fn is_due(&self, interval: std::time::Duration) -> bool {
        self.unsynced_since.is_some_and(|since| since.elapsed() >= interval)
    }

    fn take_group(&mut self) -> Option<Group> {
        if self.lane.is_empty() {
            return None;
        }
        let spare = self.spare.take().unwrap_or_default();
        let lane = std::mem::replace(&mut self.lane, spare);
        let track = self.track.clone().expect("what is appended has a track");
        let group = Group { track, base: self.base, frames: self.frames, end: self.end, lane };
        self.base += group.lane.chunks();
        self.frames += group.lane.frames();
        Some(group)
    }
}

impl Inner {
    pub(super) fn new(
        source: Arc<Source>,
        options: QueueOptions,
        tail: Tail,
        meta: QueueMeta,
        state: State,
        lock: Box<dyn Send + Sync>,
    ) -> Self {
        let rewriting = Mutex::new(meta.rewrites.newest());
        let (meta, state) = (Mutex::new(meta), Mutex::new(state));
        let (work, done) = (Condvar::new(), [Condvar::new(), Condvar::new()]);
        Inner { source, options, tail, rewriting, meta, state, work, done, _lock: lock }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }

    fn wake(&self, state: &mut State) {
        // A call to the system each, so only where somebody sleeps.
        if std::mem::take(&mut state.idle) {
            self.work.notify_one();
        }
    }

    /// Waits until the writer has made one more pass, or at least has something to tell.
    fn wait_done<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let next = state.passes;
        self.wait_pass(state, next)
    }

    /// Waits for the end of pass number `pass`, the next one or the one behind it, or for an error.
    fn wait_pass<'a>(&self, state: MutexGuard<'a, State>, pass: u64) -> MutexGuard<'a, State> {
        self.done[(pass % 2) as usize].wait(state).expect("no panic holds it")
    }

    fn wake_all(&self) {
        self.done.iter().for_each(Condvar::notify_all);
    }

    // Appending.

    /// Takes an item, whose id is then known; nothing is written yet.
    #[inline]
    pub(super) fn take<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        item: &[u8],
    ) -> Result<(Id, MutexGuard<'a, State>)> {
        if state.is_blocked() || state.lane.chunks_with(item.len()) > state.lane.chunks() {
            state = self.make_room(state, item)?;
        }
        let id = state.push(item);
        if state.unsynced_since.is_none() {
            state.unsynced_since = Some(Instant::now());
            self.wake(&mut state);
        }
        Ok((id, state))
    }

    /// Waits until an item can be taken: in the track, in the buffer, and on the disk.
    fn make_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        item: &[u8],
    ) -> Result<MutexGuard<'a, State>> {
        if item.len() > MAX_ITEM_BYTES {
            let what = format!("an item of {} bytes: at most 1 GiB is possible", item.len());
            return Err(Error::invalid(what));
        }
        let buffer_chunks = (self.options.buffer_bytes / CHUNK_BYTES) as u32;
        loop {
            state.check()?;
            if state.full.is_some() {
                state = self.try_again(state)?;
                continue;
            }
            if state.want_roll {
                state = self.wait_done(state);
                continue;
            }
            let chunks = state.lane.chunks_with(item.len());
            let end = state.base + chunks;
            let is_first = state.frames + state.lane.frames() == 0;
            if state.track.is_none() || (end > self.options.track_chunks() && !is_first) {
                state = self.roll(state)?;
                continue;
            }
            if !state.lane.is_empty() && chunks > buffer_chunks {
                state.want_write = true;
                self.wake(&mut state);
                state = self.wait_done(state);
                continue;
            }
            if end > state.reserved {
                self.reserve(&mut state, end)?;
            }
            if state.lane.chunks() >= self.wake_chunks() {
                self.wake(&mut state);
            }
            return Ok(state);
        }
    }

    fn wake_chunks(&self) -> u32 {
        let half = self.options.buffer_bytes / CHUNK_BYTES / 2;
        (half as u32).clamp(1, WAKE_CHUNKS)
    }

    /// Takes room for the track's chunks before `end`, and some more, before an item is taken: so
    /// what is taken can be written.
    ///
    /// The first room in a track is durable before an id in it is given out: a track that is found
    /// with nothing but a header after a crash is gone on with, and would give them out again.
    fn reserve(&self, state: &mut State, end: u32) -> Result<()> {
        let track = state.track.as_ref().expect("the caller has checked");
        let ample = (end + RESERVE_CHUNKS).min(self.options.track_chunks()).max(end);
        let bytes = |chunks: u32| u64::from(chunks) * CHUNK_BYTES as u64;
        let fail = |e| track.io_error("take room for the queue", e);
        let allocated = track.file.allocate(bytes(ample)).map(|()| ample);
        let reserved = match allocated.or_else(|_| track.file.allocate(bytes(end)).map(|()| end)) {
            Err(e) if e.kind() == std::io::ErrorKind::Unsupported => u32::MAX,
            reserved => reserved.map_err(fail)?,
        };
        if state.base <= 1 && state.reserved <= 1 {
            let extended = if reserved == u32::MAX { track.file.set_len(bytes(2)) } else { Ok(()) };
            if let Err(e) = extended.and_then(|()| track.file.sync_data()) {
                let error = track.io_error("sync the queue", e);
                state.poison = Some(error.clone());
                self.wake_all();
                return Err(poisoned(&error));
            }
        }
        state.reserved = reserved;
        Ok(())
    }

    /// Has what was refused for want of room written, if there is some by now.
    fn try_again<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        let passes = state.passes;
        state.want_write = true;
        self.wake(&mut state);
        while state.passes == passes && state.poison.is_none() {
            state = self.wait_done(state);
        }
        match &state.full {
            Some(full) => Err(full.clone()),
            None => Ok(state),
        }
    }

    /// Has a track go on no more: if it is the last one, the writer begins another.
    pub(super) fn end_track(&self, id: TrackId) -> Result<()> {
        let state = self.state();
        if state.end.track() == id {
            drop(self.roll(state)?);
        }
        Ok(())
    }

    /// Has the writer begin a new track.
    fn roll<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        let rolls = state.rolls;
        state.want_roll = true;
        self.wake(&mut state);
        while state.rolls == rolls && state.poison.is_none() {
            state = self.wait_done(state);
        }
        state.check()?;
        match &state.roll_error {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }

    /// Waits until all before `end` is written, or durable.
    pub(super) fn wait_for<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        end: Id,
        durable: bool,
    ) -> Result<()> {
        let passes = state.passes;
        loop {
            if end <= if durable { state.durable } else { state.written } {
                return Ok(());
            }
            state.check()?;
            if let Some(full) = state.full.as_ref().filter(|_| state.passes > passes) {
                return Err(taken_though_full(full));
            }
            state.want_write = true;
            if durable {
                state.want_sync = state.want_sync.max(end);
            }
            self.wake(&mut state);
            let pass = state.pass_for(end, durable);
            state = self.wait_pass(state, pass);
        }
    }

    /// Has the writer write all and end.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.closing = true;
        self.wake(&mut state);
    }

    /// Begins the first track that this opening writes to, before the writer is there; a full disk
    /// leaves that for later.
    pub(super) fn begin(&self) -> Result<()> {
        match self.create_track() {
            Ok(track) => self.state().adopt(track),
            Err(error) if error.kind() == ErrorKind::Full => {}
            Err(error) => return Err(error),
        }
        let end = self.state().end;
        self.tail.publish(end, end);
        self.tail.ring();
        Ok(())
    }

    /// How writing ended: where, and in which track.
    pub(super) fn ended(&self) -> Result<(Option<Arc<Track>>, Id)> {
        let state = self.state();
        state.check()?;
        if let Some(full) = &state.full {
            return Err(full.clone());
        }
        Ok((state.track.clone(), state.end))
    }

    // The writer.

    /// Writes until the queue is closed.
    pub(super) fn run(&self) {
        let mut stuck = None;
        loop {
            let mut state = self.wait_for_work();
            if state.poison.is_some() {
                // It is being closed, and the sync that has failed is not tried again.
                return;
            }
            let (closing, roll) = (state.closing, state.want_roll);
            let sync = closing
                || roll
                || state.want_sync > state.durable
                || state.is_due(self.options.sync_interval);
            state.want_write = false;
            let group = stuck.take().or_else(|| state.take_group());
            let durable = state.durable;
            let end = group.as_ref().map_or(state.written, |group| group.end);
            state.pass = Some(Pass { end, syncs: sync });
            drop(state);
            stuck = self.write(group, durable, sync);
            let (is_poisoned, is_all_written) = {
                let state = self.state();
                (state.poison.is_some(), stuck.is_none() && state.lane.is_empty())
            };
            // What was appended while a group was stuck belongs into this track still.
            if roll && is_all_written && !is_poisoned {
                self.begin_track();
            }
            if closing && (is_poisoned || stuck.is_some() || self.state().lane.is_empty()) {
                return;
            }
        }
    }

    fn wait_for_work(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        let interval = self.options.sync_interval;
        loop {
            let wants = state.want_write
                || state.want_roll
                || state.want_sync > state.durable
                || (state.full.is_none() && state.lane.chunks() >= self.wake_chunks())
                || state.is_due(interval);
            if state.closing || (wants && state.poison.is_none()) {
                return state;
            }
            state.idle = true;
            let since = state.unsynced_since.filter(|_| state.poison.is_none());
            state = match since {
                Some(since) => {
                    let left = interval.saturating_sub(since.elapsed());
                    self.work.wait_timeout(state, left).expect("no panic holds it").0
                }
                None => self.work.wait(state).expect("no panic holds it"),
            };
            state.idle = false;
        }
    }

    /// Writes a group, and syncs if that is wanted; gives the group back if there is no room.
    fn write(&self, mut group: Option<Group>, durable: Id, sync: bool) -> Option<Group> {
        let wrote = group.as_mut().map_or(Ok(()), |group| self.write_group(group, durable));
        if let Err(error) = wrote {
            if error.kind() != ErrorKind::Full {
                self.poison(&error);
                return None;
            }
            let mut state = self.state();
            if std::mem::take(&mut state.want_roll) {
                state.rolls += 1;
                state.roll_error = Some(error.clone());
            }
            state.full = Some(error);
            // Those who wait are told; it is tried again when somebody asks, and after a while.
            state.want_sync = state.durable;
            state.unsynced_since = Some(Instant::now());
            self.tell(state);
            self.wake_all();
            return group;
        }
        let (written, track) = match group {
            Some(mut group) => {
                group.lane.clear(2 * self.options.buffer_bytes);
                let mut state = self.state();
                state.spare = Some(group.lane);
                state.written = group.end;
                let ready = state.write_back.ready(group.end.position().into());
                drop(state);
                if let Some(range) = ready {
                    group.track.file.start_write_back(range);
                }
                (group.end, Some(group.track))
            }
            None => {
                let state = self.state();
                (state.written, state.track.clone())
            }
        };
        let synced = match track.filter(|_| sync && written > durable) {
            Some(track) => track.file.sync_data().map_err(|e| track.io_error("sync the queue", e)),
            None => Ok(()),
        };
        match synced {
            // Never tried again: the second sync would succeed, and the bytes be gone.
            Err(error) => self.poison(&error),
            Ok(()) => self.advance(sync),
        }
        None
    }

    /// Says how far writing has come.
    fn advance(&self, synced: bool) {
        let mut state = self.state();
        state.full = None;
        if synced {
            step!("queue.synced");
            state.durable = state.written;
            state.unsynced_since = (state.end > state.durable).then(Instant::now);
        }
        self.tail.publish(state.durable, state.written);
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let pass = state.passes;
        state.passes += 1;
        state.pass = None;
        drop(state);
        self.done[(pass % 2) as usize].notify_all();
        self.tail.ring();
    }

    /// Takes nothing any more.
    fn poison(&self, cause: &Error) {
        tracing::error!(error = %cause, "the queue takes no more items");
        let mut state = self.state();
        state.poison = Some(cause.clone());
        self.tell(state);
        self.wake_all();
    }

    fn write_group(&self, group: &mut Group, durable: Id) -> Result<()> {
        let track = group.track.clone();
        let mark = if durable.track() == track.id { durable.position() } else { 0 };
        let place = (track.queue, track.id, group.base);
        let bytes = group.lane.seal(place, group.frames, mark.into());
        let offset = u64::from(group.base) * CHUNK_BYTES as u64;
        io::write_all_at(&*track.file, &mut [IoSlice::new(bytes)], offset)
            .map_err(|e| track.io_error("append to the queue", e))?;
        step!("queue.written");
        Ok(())
    }

    /// Begins a new track behind all that was written, which is durable.
    fn begin_track(&self) {
        let created = self.create_track();
        let mut state = self.state();
        state.want_roll = false;
        state.rolls += 1;
        let rolled = created.is_ok();
        state.roll_error = match created {
            Ok(track) => {
                state.adopt(track);
                None
            }
            Err(error) => Some(error),
        };
        self.tail.publish(state.durable, state.written);
        drop(state);
        self.wake_all();
        self.tail.ring();
        if rolled && let Err(error) = retention::apply(self) {
            tracing::warn!(%error, "old tracks could not be dropped; tried again with the next one");
        }
    }

    fn create_track(&self) -> Result<Track> {
        let (full, end, before) = {
            let state = self.state();
            (state.track.clone(), state.end, state.predecessor)
        };
        let predecessor = match &full {
            Some(track) => {
                give_back(track, end);
                Some(TrackEnd { track: track.id, end: end.position(), cut: false })
            }
            None => before,
        };
        let header = QueueTrack {
            queue: self.source.queue,
            track: TrackId(end.track().0 + 1),
            predecessor,
            created_ms: (self.options.clock)(),
            rewritten: None,
        };
        step!("queue.roll");
        Track::create(&*self.source.io, &self.source.dir, &header)
    }
}

impl State {
    /// Goes on in a new track.
    fn adopt(&mut self, track: Track) {
        let end = Id::new(track.id, CHUNK_BYTES as u32);
        (self.base, self.frames, self.reserved) = (1, 0, 1);
        self.write_back = WriteBack::default();
        (self.end, self.written, self.durable) = (end, end, end);
        self.track = Some(Arc::new(track));
        self.predecessor = None;
    }
}

/// Gives back the room that was taken behind a track's end. Best effort.
fn give_back(track: &Track, end: Id) {
    let chunks = end.position().div_ceil(CHUNK_BYTES as u32);
    let _ = track.file.set_len(u64::from(chunks) * CHUNK_BYTES as u64);
}

fn poisoned(cause: &Error) -> Error {
    let what = "an earlier write or sync failed: open the queue again";
    Error::new(ErrorKind::Poisoned, what).with_source(cause.clone())
}

fn taken_though_full(full: &Error) -> Error {
    let what = "the disk is full: what was appended is kept in memory, and is written when there \
                is room; it must not be appended again";
    Error::new(ErrorKind::Full, what).with_source(full.clone())
}
