//! Writing values into chunks that were freed (an option, off by default).
//!
//! A refilled value has no directory where it lies: the record that names it carries its place
//! and checksum. The extent is chosen, written and synced; then the record is appended, and joining
//! it takes the extent out of the free list. Whatever is cut off before that leaves the extent
//! free.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use super::gate::Pass;
use super::object::Times;
use super::write::put_record;
use super::{PutOptions, Shared};
use crate::disk::{Owner, Proposal};
use crate::error::Result;
use crate::format::chain::{Body, ChainPlace};
use crate::format::chunk::{self, CHUNK_BYTES};
use crate::format::entry::{self, Extent, FreeRow};
use crate::format::record::{Refilled, SegmentList, SegmentRef, Space, Value};
use crate::format::{Seq, TrackId};
use crate::index::Family;
use crate::io;
use crate::track::TrackFile;

/// Free rows that are looked at for one value: where none of them is large enough, the value is
/// appended like any other.
const ROWS_A_SEARCH: usize = 64;

/// Extents that a writer has taken from the free list, until the record that names them is in the
/// index. Neither punched nor unlinked meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Refills {
    /// Held while an extent is chosen, and while one is punched or a track unlinked.
    taken: Mutex<BTreeMap<(TrackId, u32), Hold>>,
    /// Where the next search begins.
    next: Mutex<(TrackId, u32)>,
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

impl Taken<'_> {
    /// Makes what was written durable; before the record that names it is appended (I3).
    pub(crate) fn sync(&self) -> Result<()> {
        self.track.sync_refilled()
    }
}

impl Refills {
    /// Runs `reuse` unless a writer has taken some of the extent; no writer takes any meanwhile.
    pub(crate) fn unless_taken<T>(&self, extent: Extent, reuse: impl FnOnce() -> T) -> Option<T> {
        let taken = self.taken.lock().expect("no panic holds it");
        if overlaps(&taken, extent) { None } else { Some(reuse()) }
    }

    /// Waits until no extent is being punched and no track unlinked.
    pub(crate) fn wait_for_reuse(&self) {
        drop(self.taken.lock().expect("no panic holds it"));
    }

    /// Refilled segments that the index does not know yet have the seq that this gives, or a greater
    /// one.
    pub(crate) fn unapplied_from(&self, next_seq: impl FnOnce() -> Seq) -> Seq {
        let taken = self.taken.lock().expect("no panic holds it");
        // Under the lock: who takes an extent behind this gets a seq behind this, too.
        let next = next_seq();
        taken.values().map(|hold| hold.since).fold(next, Seq::min)
    }

    /// Takes the extent, unless it overlaps one that was taken.
    fn take(&self, extent: Extent, since: Seq) -> bool {
        let mut taken = self.taken.lock().expect("no panic holds it");
        let free = !overlaps(&taken, extent);
        if free {
            taken.insert((extent.track, extent.chunk), Hold { chunks: extent.chunks, since });
        }
        free
    }

    /// Gives an extent back.
    fn give_back(&self, extent: Extent) {
        self.taken.lock().expect("no panic holds it").remove(&(extent.track, extent.chunk));
    }
}

impl Shared {
    /// Puts a value into freed chunks; `None` where none fit it.
    pub(crate) fn put_refilled(
        &self,
        key: &[u8],
        value: &[u8],
        options: &PutOptions,
        times: Times,
    ) -> Result<Option<Seq>> {
        self.check_poison()?;
        self.admit(value.len())?;
        let share = self.budget.take(value.len());
        let mut body = Body::with_capacity(value.len());
        body.push(value);
        let Some((segment, taken)) = self.refill(&mut body)? else { return Ok(None) };
        taken.sync()?;
        // Whoever holds the gate may wait for it.
        drop(share);
        step!("refill.synced");
        let pass = Pass::of(options.condition);
        let _gate = self.gates.pass([(Space::Object, key, pass)]);
        self.check_condition(key, options.condition)?;
        let list = Value::Segments(SegmentList(vec![segment]));
        let record = put_record(key, body.len(), body.crc(), options, times, list);
        self.append(0, options.durability, false, |_| Proposal::of(&record)).map(Some)
    }

    /// Writes a body into freed chunks, not yet synced; `None` where none fit it.
    pub(crate) fn refill(&self, body: &mut Body) -> Result<Option<(SegmentRef, Taken<'_>)>> {
        let Ok(chunks) = u32::try_from(chunk::chunks_for(body.len())) else { return Ok(None) };
        let Some((extent, is_hole)) = self.take_free(chunks)? else { return Ok(None) };
        let track = match self.files.get(extent.track) {
            Ok(track) => track,
            Err(error) => {
                self.refills.give_back(extent);
                return Err(error);
            }
        };
        let taken = Taken { refills: &self.refills, extent, track };
        let track = &taken.track;
        if track.refuses_refills() || track.is_linked()? || is_hole && !self.has_room(extent) {
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

    /// Takes the first extent of so many chunks that a search comes by; says whether it was punched
    /// out.
    fn take_free(&self, chunks: u32) -> Result<Option<(Extent, bool)>> {
        let reusable = self.reusable_batch();
        let from = *self.refills.next.lock().expect("no panic holds it");
        let view = self.index.view();
        let mut cursor = view.rows(Family::Free);
        cursor.seek(&entry::free_key(from.0, from.1));
        for _ in 0..ROWS_A_SEARCH {
            let Some((key, row)) = cursor.row()? else {
                *self.refills.next.lock().expect("no panic holds it") = (TrackId(0), 0);
                return Ok(None);
            };
            let decoded = entry::parse_free_key(key).and_then(|k| Ok((k, FreeRow::decode(row)?)));
            let ((track, chunk), row) = decoded.map_err(|fault| self.index.fault(fault))?;
            let extent = Extent { track, chunk, chunks };
            *self.refills.next.lock().expect("no panic holds it") = (track, chunk + 1);
            let fits =
                row.chunks >= chunks && row.freed_by <= reusable && self.takes_refills(track);
            if fits && self.refills.take(extent, self.current_seq()) {
                // The row may have gone to another writer since it was read, or the track have
                // died; now nobody else takes it, and the track stays.
                if self.is_free(track, chunk, row)? && self.takes_refills(track) {
                    return Ok(Some((extent, row.punched)));
                }
                self.refills.give_back(extent);
            }
            cursor.next();
        }
        Ok(None)
    }

    /// Whether a hole may be filled: that takes as much room as appending does.
    fn has_room(&self, hole: Extent) -> bool {
        let disk = self.books().tracks.get(&hole.track).map(|row| row.disk);
        let volume = disk.and_then(|disk| self.volumes.of(disk));
        let bytes = u64::from(hole.chunks) * CHUNK_BYTES as u64;
        volume.is_some_and(|volume| volume.check_room(bytes).is_ok())
    }

    /// Whether a track is sealed and holds something live, and is to keep it: neither it nor its disk
    /// is being emptied. One that holds nothing may be unlinked already, where the unlinking came to
    /// no end.
    fn takes_refills(&self, track: TrackId) -> bool {
        let row = self.books().tracks.get(&track).copied();
        let stays = row.filter(|row| row.sealed.is_some() && !row.is_dead());
        let volume = stays.and_then(|row| self.volumes.of(row.disk));
        volume.is_some_and(|volume| volume.takes_puts()) && !self.compaction.is_busy(track)
    }
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

    #[test]
    fn overlapping_extents_are_not_taken_twice_nor_reused() {
        let refills = Refills::default();
        let extent = |chunk, chunks| Extent { track: TrackId(1), chunk, chunks };
        assert!(refills.take(extent(10, 5), Seq(7)));
        for (chunk, chunks) in [(10, 5), (9, 2), (14, 1), (0, 100), (12, 1)] {
            assert!(!refills.take(extent(chunk, chunks), Seq(8)));
            assert_eq!(refills.unless_taken(extent(chunk, chunks), || ()), None);
        }
        assert_eq!(refills.unless_taken(extent(15, 5), || ()), Some(()));
        assert!(refills.take(extent(5, 5), Seq(9)));
        assert_eq!(refills.unapplied_from(|| Seq(10)), Seq(7));
        refills.give_back(extent(10, 5));
        assert!(refills.take(extent(12, 1), Seq(10)));
        assert_eq!(refills.unapplied_from(|| Seq(11)), Seq(9));
    }
}
