//! Writing values into chunks that were freed (an option, off by default).
//!
//! A refilled value has no directory where it lies: the record that names it carries its place
//! and checksum. The extent is chosen, written and synced; then the record is appended, and joining
//! it takes the extent out of the free list. Whatever is cut off before that leaves the extent
//! free.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Shared;
use crate::disk::Owner;
use crate::error::Result;
use crate::format::chain::{Body, ChainPlace};
use crate::format::chunk::{self, CHUNK_BYTES};
use crate::format::entry::{Extent, FreeRow, TrackRow};
use crate::format::record::{OWNED_MIN_BYTES, Refilled, SegmentList, SegmentRef, Value};
use crate::format::{DiskId, Seq, TrackId};
use crate::index::{self, free_rows};
use crate::io;
use crate::track::TrackFile;

/// So many freed bytes, and such a part of what they lie in, are worth a checkpoint and the end of a track, so that
/// they can be refilled.
pub(super) const MUCH_BYTES: u64 = 16 << 20;
const MUCH_OF_TRACK: u32 = 8;

/// Runs that are known at most: the others are found when there are less.
const MOST_RUNS: usize = 1 << 16;
/// Runs that a value tries: of some the neighbours came free since, and with them they wait for a checkpoint.
const MOST_TRIES: usize = 16;

/// What may be refilled, and what is. The latter is neither punched nor unlinked.
#[derive(Debug, Default)]
pub(crate) struct Refills {
    /// Held while an extent is chosen, and while one is punched or a track unlinked.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Extents that a writer has taken, until the record that names them is in the index.
    taken: BTreeMap<(TrackId, u32), Hold>,
    /// What there was to take when it was looked for last; `None` before that.
    pool: Option<Pool>,
}

/// Runs of free chunks, by their length.
#[derive(Debug, Default)]
struct Pool {
    runs: BTreeMap<u32, Vec<Run>>,
    /// The last batch of the index when it was looked for, and the last of which chunks could be reused.
    as_of: (u64, u64),
}

/// Consecutive free chunks of a sealed track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    disk: DiskId,
    extent: Extent,
}

/// What is known of an extent that a writer has taken.
#[derive(Debug, Clone, Copy)]
struct Hold {
    chunks: u32,
    /// The segment that is written there gets this seq or a greater one.
    since: Seq,
}

/// An extent that is being refilled; given back when the record that names it is in the index, or
/// will never be.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    refills: &'a Refills,
    extent: Extent,
    track: Arc<TrackFile>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.refills.give_back(self.extent);
    }
}

/// What was refilled of the values of one write, by their numbers in it.
#[derive(Debug, Default)]
pub(crate) struct RefilledValues<'a> {
    /// With the values' checksums.
    segments: BTreeMap<usize, (SegmentRef, u32)>,
    /// Until the records that name them are in the index.
    taken: Vec<Taken<'a>>,
}

impl RefilledValues<'_> {
    /// What a record says of a value instead of bringing it; with its checksum.
    pub(crate) fn get(&self, number: usize) -> Option<(Value, u32)> {
        let (segment, crc) = self.segments.get(&number)?;
        Some((Value::Segments(SegmentList(vec![*segment])), *crc))
    }

    /// Bytes of the values.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|(segment, _)| segment.len).sum()
    }
}

/// Makes what was written into extents durable; before the record that names them is appended (I3). One sync a track.
pub(crate) fn sync_all(taken: &[Taken<'_>]) -> Result<()> {
    let tracks: BTreeMap<TrackId, &TrackFile> =
        taken.iter().map(|taken| (taken.extent.track, &*taken.track)).collect();
    tracks.values().try_for_each(|track| track.sync_refilled())
}

impl Pool {
    fn push(&mut self, run: Run) {
        if is_long_enough(run.extent.chunks) {
            self.runs.entry(run.extent.chunks).or_default().push(run);
        }
    }

    /// The first chunks of the shortest run that has so many; the others stay.
    fn take(&mut self, chunks: u32) -> Option<Run> {
        let mut longer = self.runs.range_mut(chunks..);
        let mut run = longer.find_map(|(_, runs)| runs.pop())?;
        if self.runs.get(&run.extent.chunks).is_some_and(Vec::is_empty) {
            self.runs.remove(&run.extent.chunks);
        }
        let Extent { track, chunk, chunks: all } = run.extent;
        let left = Extent { track, chunk: chunk + chunks, chunks: all - chunks };
        self.push(Run { extent: left, ..run });
        run.extent.chunks = chunks;
        Some(run)
    }

    fn forget(&mut self, track: TrackId) {
        self.runs.values_mut().for_each(|runs| runs.retain(|run| run.extent.track != track));
        self.runs.retain(|_, runs| !runs.is_empty());
    }
}

impl Refills {
    /// Runs `reuse` unless a writer has taken some of the extent; no writer takes any meanwhile.
    pub(crate) fn unless_taken<T>(&self, extent: Extent, reuse: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        if overlaps(&state.taken, extent) { None } else { Some(reuse()) }
    }

    /// The same for a whole track, of which none takes anything behind this either.
    pub(crate) fn unless_any_taken<T>(
        &self,
        whole: Extent,
        unlink: impl FnOnce() -> T,
    ) -> Option<T> {
        let mut state = self.state();
        if overlaps(&state.taken, whole) {
            return None;
        }
        state.pool.iter_mut().for_each(|pool| pool.forget(whole.track));
        Some(unlink())
    }

    /// Whether a writer has taken anything of some tracks.
    pub(crate) fn are_taken(&self, of: impl Fn(TrackId) -> bool) -> bool {
        self.state().taken.keys().any(|(track, _)| of(*track))
    }

    /// Waits until no extent is being punched and no track unlinked.
    pub(crate) fn wait_for_reuse(&self) {
        drop(self.state());
    }

    /// Refilled segments that the index does not know yet have the seq that this gives, or a greater
    /// one.
    pub(crate) fn unapplied_from(&self, next_seq: impl FnOnce() -> Seq) -> Seq {
        let state = self.state();
        // Under the lock: who takes an extent behind this gets a seq behind this, too.
        let next = next_seq();
        state.taken.values().map(|hold| hold.since).fold(next, Seq::min)
    }

    /// Whether there may be so many consecutive chunks.
    fn may_have(&self, chunks: u32) -> bool {
        let state = self.state();
        state.pool.as_ref().is_none_or(|pool| pool.runs.range(chunks..).next().is_some())
    }

    /// Takes so many consecutive chunks out of the pool.
    fn take(&self, chunks: u32, since: Seq) -> Option<Run> {
        let mut state = self.state();
        let State { taken, pool } = &mut *state;
        let pool = pool.as_mut()?;
        loop {
            let run = pool.take(chunks)?;
            let Extent { track, chunk, .. } = run.extent;
            // It may have been free when the pool was looked for, and taken then.
            if !overlaps(taken, run.extent) {
                taken.insert((track, chunk), Hold { chunks, since });
                return Some(run);
            }
        }
    }

    /// Gives an extent back.
    fn give_back(&self, extent: Extent) {
        self.state().taken.remove(&(extent.track, extent.chunk));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}

impl Shared {
    /// Writes those of the values that have chunks of their own into freed ones, as long as some fit, and makes
    /// them durable: all with one sync a track.
    pub(crate) fn refill_values<'v>(
        &self,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Result<RefilledValues<'_>> {
        let mut refilled = RefilledValues::default();
        if !self.options.refill {
            return Ok(refilled);
        }
        self.check_poison()?;
        for (number, value) in values.into_iter().enumerate() {
            let chunks = u32::try_from(chunk::chunks_for(value.len() as u64)).unwrap_or(u32::MAX);
            if (value.len() as u64) < OWNED_MIN_BYTES || !self.refills.may_have(chunks) {
                continue;
            }
            // Given back with each: whoever holds the gate may wait for it.
            let _share = self.budget.take(value.len());
            let mut body = Body::with_capacity(value.len());
            body.push(value);
            let Some((segment, taken)) = self.refill(&mut body)? else { continue };
            refilled.segments.insert(number, (segment, body.crc()));
            refilled.taken.push(taken);
        }
        if !refilled.taken.is_empty() {
            sync_all(&refilled.taken)?;
            step!("refill.synced");
        }
        Ok(refilled)
    }

    /// Writes a body into freed chunks, not yet synced; `None` where none fit it.
    pub(crate) fn refill(&self, body: &mut Body) -> Result<Option<(SegmentRef, Taken<'_>)>> {
        let Ok(chunks) = u32::try_from(chunk::chunks_for(body.len())) else { return Ok(None) };
        let Some((Run { disk, extent }, is_hole)) = self.take_free(chunks)? else {
            return Ok(None);
        };
        let track = match self.files.get(extent.track) {
            Ok(track) => track,
            Err(error) => {
                self.refills.give_back(extent);
                return Err(error);
            }
        };
        let taken = Taken { refills: &self.refills, extent, track };
        let track = &taken.track;
        let has_room = || !is_hole || self.has_room(disk, extent.chunks);
        if track.refuses_refills() || track.is_linked()? || !has_room() {
            return Ok(None);
        }
        let seq = self.take_seqs(1);
        let place = ChainPlace { start: track.place(extent.chunk), seq, synced: 0 };
        let (len, crc) = (body.len(), body.crc());
        let offset = u64::from(extent.chunk) * CHUNK_BYTES as u64;
        let mut buffers = [IoSlice::new(body.seal(&place, 0, chunks))];
        io::write_all_at(&*track.file, &mut buffers, offset)
            .map_err(|e| track.io_error("refill freed chunks of", e))?;
        step!("refill.written");
        let refilled = Some(Refilled { track: extent.track, chunk: extent.chunk, crc });
        Ok(Some((SegmentRef { seq, len, refilled }, taken)))
    }

    /// Ends active tracks of which much is free: what is appended to is not refilled, since of two syncs of one
    /// file one might see a failure and the other not.
    pub(super) fn seal_for_refills(&self) {
        if !self.options.refill {
            return;
        }
        for volume in self.volumes.all().iter() {
            let active = volume.last_track().and_then(|(track, _)| {
                let row = self.books().tracks.get(&track).copied()?;
                row.sealed.is_none().then_some(row)
            });
            let is_much = |row: TrackRow| {
                let free_bytes = u64::from(row.free_chunks) * CHUNK_BYTES as u64;
                free_bytes >= MUCH_BYTES
                    && row.free_chunks >= row.applied / MUCH_OF_TRACK
                    && !row.is_dead()
            };
            if active.is_some_and(is_much)
                && !self.volumes.are_without(volume)
                && let Err(error) = self.isolate(volume, self.seal_active(volume))
            {
                tracing::warn!(%error, "a track of which much is free is not sealed");
            }
        }
    }

    /// Looks for what may be refilled. Where nothing is unlinked meanwhile.
    pub(super) fn renew_pool(&self) -> Result<()> {
        if !self.options.refill {
            return Ok(());
        }
        let reusable = self.reusable_batch();
        // A track that holds nothing may be unlinked already, where the unlinking came to no end.
        let (batch, mut tracks): (u64, Vec<(TrackId, TrackRow)>) = {
            let books = self.books();
            let sealed = books.tracks.iter().filter(|(_, row)| row.sealed.is_some());
            let live = sealed.filter(|(_, row)| !row.is_dead()).map(|(id, row)| (*id, *row));
            (books.state.batch, live.collect())
        };
        let as_of = (batch, reusable);
        if self.refills.state().pool.as_ref().is_some_and(|pool| pool.as_of == as_of) {
            return Ok(());
        }
        tracks.retain(|(id, row)| {
            row.free_chunks + row.punched_chunks > 0 && self.takes_refills(*id, row.disk)
        });
        tracks.sort_by_key(|(_, row)| Reverse(row.free_chunks));
        let (mut pool, mut left) = (Pool { as_of, ..Pool::default() }, MOST_RUNS);
        for (track, TrackRow { disk, .. }) in tracks {
            if left == 0 {
                break;
            }
            // A backup may have it too. One that can't be opened is told of when it is read.
            if self.files.get(track).and_then(|file| file.is_linked()).unwrap_or(true) {
                continue;
            }
            let is_usable = |row: &FreeRow| row.freed_by <= reusable && is_long_enough(row.chunks);
            let rows = free_rows(&self.index, track)?.into_iter();
            for (chunk, row) in rows.filter(|(_, row)| is_usable(row)).take(left) {
                pool.push(Run { disk, extent: Extent { track, chunk, chunks: row.chunks } });
                left -= 1;
            }
        }
        self.refills.state().pool = Some(pool);
        Ok(())
    }

    /// Takes so many free chunks; says whether they were punched out.
    fn take_free(&self, chunks: u32) -> Result<Option<(Run, bool)>> {
        if self.refills.state().pool.is_none()
            && let Ok(_serial) = self.reclaiming.try_lock()
        {
            self.renew_pool()?;
        }
        // A backup in the making holds everything back.
        let tries = if self.reusable_batch() == 0 { 0 } else { MOST_TRIES };
        for _ in 0..tries {
            let Some(run) = self.refills.take(chunks, self.current_seq()) else { break };
            // It may have been refilled since the pool was looked for, and be freed again.
            let found = index::free_row_around(&self.index, run.extent);
            let row = found.inspect_err(|_| self.refills.give_back(run.extent))?;
            let row = row.filter(|row| row.freed_by <= self.reusable_batch());
            if let Some(row) = row.filter(|_| self.takes_refills(run.extent.track, run.disk)) {
                return Ok(Some((run, row.punched)));
            }
            self.refills.give_back(run.extent);
        }
        Ok(None)
    }

    /// Whether holes may be filled: that takes as much room as appending does.
    fn has_room(&self, disk: DiskId, chunks: u32) -> bool {
        let bytes = u64::from(chunks) * CHUNK_BYTES as u64;
        self.volumes.of(disk).is_some_and(|volume| volume.check_room(bytes).is_ok())
    }

    /// Whether a track is to keep what it holds: neither it nor its disk is being emptied.
    fn takes_refills(&self, track: TrackId, disk: DiskId) -> bool {
        let volume = self.volumes.of(disk);
        volume.is_some_and(|volume| volume.takes_puts()) && !self.compaction.is_busy(track)
    }
}

/// Whether anything that has chunks of its own would fit.
fn is_long_enough(chunks: u32) -> bool {
    u64::from(chunks) >= chunk::chunks_for(OWNED_MIN_BYTES)
}

fn overlaps(taken: &BTreeMap<(TrackId, u32), Hold>, extent: Extent) -> bool {
    let end = extent.chunk.saturating_add(extent.chunks);
    let before = taken.range(..(extent.track, end)).next_back();
    before.is_some_and(|(&(track, chunk), hold)| {
        track == extent.track && chunk + hold.chunks > extent.chunk
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: DiskId = DiskId([1; 16]);

    fn refills(runs: &[(u32, u32)]) -> Refills {
        let mut pool = Pool::default();
        for &(chunk, chunks) in runs {
            let extent = Extent { track: TrackId(1), chunk, chunks };
            pool.push(Run { disk: DISK, extent });
        }
        Refills { state: Mutex::new(State { pool: Some(pool), ..State::default() }) }
    }

    fn extent(chunk: u32, chunks: u32) -> Extent {
        Extent { track: TrackId(1), chunk, chunks }
    }

    #[test]
    fn what_is_taken_is_not_reused_until_it_is_given_back() {
        let refills = refills(&[(10, 5)]);
        assert_eq!(refills.take(5, Seq(7)).map(|run| run.extent), Some(extent(10, 5)));
        assert_eq!(refills.take(5, Seq(8)), None);
        for (chunk, chunks) in [(10, 5), (9, 2), (14, 1), (0, 100), (12, 1)] {
            assert_eq!(refills.unless_taken(extent(chunk, chunks), || ()), None);
        }
        assert_eq!(refills.unless_any_taken(extent(0, 100), || ()), None);
        assert_eq!(refills.unless_taken(extent(15, 5), || ()), Some(()));
        assert_eq!(refills.unless_taken(extent(5, 5), || ()), Some(()));
        assert_eq!(refills.unapplied_from(|| Seq(10)), Seq(7));
        refills.give_back(extent(10, 5));
        assert_eq!(refills.unapplied_from(|| Seq(11)), Seq(11));
        assert_eq!(refills.unless_taken(extent(10, 5), || ()), Some(()));
    }

    #[test]
    fn the_shortest_run_that_is_long_enough_is_taken_and_its_rest_stays() {
        let refills = refills(&[(100, 30), (10, 12), (50, 6), (80, 3)]);
        let take = |chunks| refills.take(chunks, Seq(1)).map(|run| run.extent);
        assert_eq!(take(7), Some(extent(10, 7)));
        // The rest of that one, rather than what is longer.
        assert_eq!(take(5), Some(extent(17, 5)));
        assert_eq!(take(5), Some(extent(50, 5)));
        assert_eq!(take(20), Some(extent(100, 20)));
        assert_eq!(take(20), None);
        assert_eq!(take(10), Some(extent(120, 10)));
        assert_eq!(take(1), None);
    }

    #[test]
    fn what_was_taken_already_when_the_pool_was_looked_for_is_not_taken_again() {
        let refills = refills(&[(10, 5)]);
        refills.state().taken.insert((TrackId(1), 12), Hold { chunks: 5, since: Seq(1) });
        assert_eq!(refills.take(5, Seq(2)), None);
    }

    #[test]
    fn nothing_of_a_track_is_taken_behind_its_unlinking() {
        let refills = refills(&[(10, 5), (100, 30)]);
        assert_eq!(refills.unless_any_taken(extent(0, 200), || ()), Some(()));
        assert_eq!(refills.take(5, Seq(1)), None);
    }
}
