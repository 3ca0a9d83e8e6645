//! Giving room back after a checkpoint: punching freed chunks, unlinking dead tracks, forgetting
//! tombstones.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{PartId, Shared};
use crate::disk::Owner;
use crate::disk::Volume;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::{Extent, FreeRow, Grave, TrackRow};
use crate::format::record::Space;
use crate::format::{DiskId, TrackId, entry};
use crate::index::{self, Family, free_rows};

/// Tombstones that are forgotten in one batch.
const GRAVES_A_BATCH: usize = 1000;

impl Shared {
    /// A checkpoint, and everything that it makes possible.
    pub(crate) fn tidy(&self) -> Result<()> {
        self.tidy_after(|| self.checkpoint(), Fate::Punched)
    }

    /// The same, as it is done by and by: the [pool](Fate::Kept) stays.
    pub(crate) fn tidy_by_the_way(&self) -> Result<()> {
        self.seal_for_refills();
        self.tidy_after(|| self.checkpoint(), Fate::Kept)
    }

    /// Everything; writers wait while the index is flushed.
    pub(crate) fn tidy_before_writes(&self) -> Result<()> {
        self.tidy_after(|| self.checkpoint_before_writes(), Fate::Punched)
    }

    fn tidy_after(&self, checkpoint: impl Fn() -> Result<()>, fate: Fate) -> Result<()> {
        // A disk that is missing may hold what assembles a part, or what a tombstone hides.
        let knows_all = self.unknown_above.is_none();
        if knows_all {
            self.age_out_parts()?;
        }
        self.give_back_after(checkpoint, fate)?;
        self.reserve.keep();
        if knows_all {
            self.raise_floors()?;
            self.forget_graves()?;
        }
        self.weigh();
        Ok(())
    }

    /// A checkpoint, and the room that it makes. Passes no gates.
    pub(crate) fn give_back(&self) -> Result<()> {
        self.give_back_after(|| self.checkpoint(), Fate::Punched)
    }

    fn give_back_after(&self, checkpoint: impl Fn() -> Result<()>, fate: Fate) -> Result<()> {
        let mut outcome = checkpoint();
        if self.options.refill && outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Full) {
            // What was kept to be refilled may be the room that it lacks.
            let serial = self.reclaiming.lock().expect("no panic holds it");
            self.punch_freed(Fate::Punched)?;
            drop(serial);
            outcome = checkpoint();
        }
        outcome?;
        let _serial = self.reclaiming.lock().expect("no panic holds it");
        self.unlink_dead_tracks()?;
        self.punch_freed(fate)?;
        self.renew_pool()
    }

    /// Invariant I4: what was freed by this batch or an earlier one is in a durable checkpoint,
    /// and out of every reader's reach.
    pub(crate) fn reusable_batch(&self) -> u64 {
        self.checkpoints.durable_batch().min(self.pins.oldest())
    }

    fn punch_freed(&self, fate: Fate) -> Result<()> {
        // What it passed over by then, `META` knows to be trimmed: a scan that begins before would
        // take the hole for damage.
        let reusable = self.reusable_batch();
        let mut tracks: Vec<(TrackId, TrackRow)> = {
            let books = self.books();
            let freed = books.tracks.iter().filter(|(_, row)| row.free_chunks > 0);
            freed.map(|(id, row)| (*id, *row)).collect()
        };
        let kept_bytes = if fate == Fate::Kept { self.pool_bytes() } else { 0 };
        let freed_chunks: u64 = tracks.iter().map(|(_, row)| u64::from(row.free_chunks)).sum();
        let mut excess_chunks = freed_chunks.saturating_sub(kept_bytes / CHUNK_BYTES as u64);
        // First where nothing would be refilled.
        tracks.sort_by_key(|(_, row)| row.sealed.is_some() && !row.is_dead());
        let mut held_chunks = 0;
        for (track, row) in tracks {
            self.sync_if_due();
            let Some(volume) = self.volumes.of(row.disk) else { continue };
            if !volume.punches() || self.volumes.are_without(&volume) {
                continue;
            }
            // Room that is kept for large values is none for small ones.
            let is_short = volume.load().available_bytes < kept_bytes + volume.kept_bytes();
            let most_chunks = if kept_bytes == 0 || is_short { u64::MAX } else { excess_chunks };
            let mut left_chunks = u64::from(row.free_chunks);
            if most_chunks > 0 {
                let punched = self.punch_track(track, reusable, most_chunks);
                volume.room_came_back();
                let punched = self.isolate(&volume, punched)?.unwrap_or_default();
                excess_chunks = excess_chunks.saturating_sub(punched.chunks);
                left_chunks = punched.held_chunks;
            }
            // What stays in the pool is no garbage that somebody should bring back.
            held_chunks += left_chunks;
        }
        self.compaction.set_held(held_chunks * CHUNK_BYTES as u64);
        Ok(())
    }

    /// Bytes of freed chunks that stay for new values: an eighth of what the objects have, or about twice what
    /// comes free between two checkpoints, whichever is less.
    fn pool_bytes(&self) -> u64 {
        if !self.options.refill {
            return 0;
        }
        let most = self.options.checkpoint_bytes.saturating_mul(2);
        (self.books().state.object_bytes / 8).min(most)
    }

    /// Punches what may be punched out of a track, until it is about so many chunks.
    fn punch_track(&self, track: TrackId, reusable: u64, most_chunks: u64) -> Result<Punched> {
        let (mut punched, mut chunks, mut held_chunks) = (Vec::new(), 0, 0);
        let readers_hold = reusable < self.checkpoints.durable_batch();
        for (chunk, row) in free_rows(&self.index, track)? {
            if chunks >= most_chunks {
                held_chunks += if row.punched { 0 } else { u64::from(row.chunks) };
                continue;
            }
            if row.punched || row.freed_by > reusable {
                let is_held = !row.punched && readers_hold;
                held_chunks += if is_held { u64::from(row.chunks) } else { 0 };
                continue;
            }
            let extent = Extent { track, chunk, chunks: row.chunks };
            let (offset, len) = (u64::from(chunk), u64::from(row.chunks));
            let punch = || {
                // Since the rows were read, a refill may have come to an end, or the track may
                // have been unlinked.
                let is_free = self.is_free(track, chunk, row)?;
                if is_free {
                    let file = self.files.get(track)?;
                    if file.is_linked()? {
                        return Ok(None);
                    }
                    let (offset, len) = (offset * CHUNK_BYTES as u64, len * CHUNK_BYTES as u64);
                    let outcome = file.file.punch(offset, len);
                    outcome.map_err(|e| file.io_error("punch freed chunks out of", e))?;
                    step!("reclaim.punched");
                }
                Ok(Some(is_free))
            };
            match self.refills.unless_taken(extent, punch).transpose()? {
                Some(Some(true)) => {
                    punched.push((chunk, row));
                    chunks += u64::from(row.chunks);
                }
                // A backup shares the track: nothing of it is given back before that is gone.
                Some(None) => held_chunks += u64::from(row.chunks),
                Some(Some(false)) | None => {}
            }
        }
        if punched.is_empty() {
            return Ok(Punched { chunks, held_chunks });
        }
        self.compaction.came_back(chunks * CHUNK_BYTES as u64);
        self.change(&mut self.books(), |join| join.set_punched(track, &punched))?;
        step!("reclaim.punches-noted");
        Ok(Punched { chunks, held_chunks })
    }

    /// Sets a disk apart that fails, where there are others: those go on.
    pub(crate) fn isolate<T>(&self, volume: &Volume, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if volume.fail(&error) && self.volumes.any_takes_puts() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a free row is still as it was seen.
    pub(crate) fn is_free(&self, track: TrackId, chunk: u32, seen: FreeRow) -> Result<bool> {
        let row = self.index.get(Family::Free, &entry::free_key(track, chunk))?;
        Ok(row.is_some_and(|row| *row == *seen.encode()))
    }

    /// Unlinks sealed tracks in which nothing lives and no tombstone is needed any more.
    fn unlink_dead_tracks(&self) -> Result<()> {
        let reusable = self.reusable_batch();
        let dead: Vec<(TrackId, TrackRow)> = {
            let books = self.books();
            let dead = books.tracks.iter().filter(|&(id, row)| {
                row.sealed.is_some_and(|end| end == row.applied)
                    && row.is_dead()
                    && row.last_kill <= reusable
                    && (row.graves == 0
                        || self.unknown_above.is_none() && graves_can_go(&books.tracks, *id, row))
            });
            dead.map(|(id, row)| (*id, *row)).collect()
        };
        for (id, row) in dead {
            let whole = Extent { track: id, chunk: 0, chunks: row.applied };
            let unlink = || {
                // Since the tracks were looked at, a refill may have come to an end, or another
                // checkpoint may have unlinked this one.
                let is_dead = self.books().tracks.get(&id) == Some(&row);
                // What compaction is about to copy must not lose its tombstones' reason (I9), and what
                // is being unlinked must not be passed over: the index would learn of it again.
                let taken = if is_dead { self.compaction.take(id) } else { None };
                taken.map_or(Ok(()), |_taken| self.unlink(id, &row))
            };
            self.sync_if_due();
            let Some(volume) = self.volumes.of(row.disk) else { continue };
            if !self.volumes.are_without(&volume) {
                let unlinked = self.refills.unless_any_taken(whole, unlink).transpose();
                self.isolate(&volume, unlinked)?;
            }
        }
        Ok(())
    }

    fn unlink(&self, id: TrackId, row: &TrackRow) -> Result<()> {
        let Some(volume) = self.volumes.of(row.disk) else { return Ok(()) };
        let path = volume.dir.join(id.file_name());
        let io = &*self.options.io;
        self.vouch_for_predecessor(id, row)?;
        step!("unlink.vouched");
        self.ledger.forget_track(id, self.last_beside(id, row.disk))?;
        step!("unlink.unnamed");
        // Unlink, then sync the directory, then forget the tombstones: in any other order a power
        // cut brings the track back without the tombstones that hide its records (I9).
        match io.remove(&path) {
            // An earlier attempt got as far as this, and failed to sync the directory.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(|e| Error::io("unlink the track", &path, e))?,
        }
        step!("unlink.removed");
        io.sync_dir(&volume.dir).map_err(|e| Error::io("sync the disk", &volume.dir, e))?;
        step!("unlink.directory-synced");
        volume.room_came_back();
        self.files.forget(id);
        if row.graves > 0 {
            self.drop_graves(|grave| grave.track == id)?;
        }
        self.change(&mut self.books(), |join| join.drop_track(id))?;
        step!("unlink.rows-dropped");
        self.ledger.update(|meta| {
            meta.cuts.retain(|(track, _)| *track != id);
            meta.trims.retain(|(track, _)| *track != id);
        })?;
        step!("unlink.forgotten");
        self.compaction.came_back(u64::from(row.applied - row.punched_chunks) * CHUNK_BYTES as u64);
        tracing::info!(track = %id, "unlinked a dead track");
        Ok(())
    }

    /// The last of the disk's other tracks that writers append to, and how far it is durable.
    fn last_beside(&self, id: TrackId, disk: DiskId) -> Option<(TrackId, u32)> {
        let books = self.books();
        let mut others = books.tracks.iter().rev();
        let last = others.find(|(other, row)| **other != id && row.disk == disk && !row.compacted);
        last.map(|(other, row)| (*other, row.synced))
    }

    /// Invariant I10: the header of a compacted track says how far the one before it was synced.
    /// Before it goes, `META` has to.
    fn vouch_for_predecessor(&self, id: TrackId, row: &TrackRow) -> Result<()> {
        if !row.compacted {
            return Ok(());
        }
        let header = self.files.get(id).and_then(|track| track.read_header());
        let is_vouched_for = |track: TrackId| match &header {
            Ok(header) => header.predecessor.is_some_and(|(named, _)| named == track),
            // Whatever it was.
            Err(_) => true,
        };
        let orphans: Vec<_> = {
            let books = self.books();
            let others = books.tracks.iter().filter(|(other, others_row)| {
                **other != id && others_row.compacted && is_vouched_for(**other)
            });
            others
                .map(|(other, others_row)| (others_row.disk, (*other, others_row.synced)))
                .collect()
        };
        if orphans.is_empty() {
            return Ok(());
        }
        self.ledger.update(|meta| {
            orphans.into_iter().for_each(|(disk, orphan)| meta.vouch_for(disk, orphan));
        })
    }

    /// A sealed track in which nothing is dead can say so: its records are live as of now. (An
    /// active track can't: what is on its way to it has seqs below the present one.)
    fn raise_floors(&self) -> Result<()> {
        let books = self.books();
        let newest = books.tracks.values().map(|row| row.last_grave).max().unwrap_or_default();
        let low = |row: &TrackRow| {
            row.floor <= newest
                && row.sealed == Some(row.applied)
                && row.dead_records == 0
                // What compaction has passed over is there still, dead and not counted.
                && row.start == 1
                && row.lost_chunks == 0
        };
        // Most often there is nothing to raise: no batch then, or an idle store would write for ever.
        if books.state.graves == 0 || !books.tracks.values().any(low) {
            return Ok(());
        }
        drop(books);
        let now = self.current_seq();
        // A delete may have its seq and not be applied yet, and what it kills still count as
        // live: behind this, all that have a seq below `now` are applied.
        self.sync()?;
        let mut books = self.books();
        self.change(&mut books, |join| {
            let raised = join.books.tracks.iter().filter(|(_, row)| low(row));
            let raised: Vec<TrackId> = raised.map(|(id, _)| *id).collect();
            for id in raised {
                if let Some(row) = join.track(id) {
                    row.floor = now;
                }
            }
            Ok(())
        })?;
        step!("reclaim.floors-raised");
        Ok(())
    }

    /// Invariant I9: a tombstone may go when every track's floor is above it.
    fn forget_graves(&self) -> Result<()> {
        let floor = {
            let books = self.books();
            let floors = books.tracks.values().map(|row| row.floor);
            // Without tombstones, or without tracks, nothing is learned of how far they were looked at.
            let Some(oldest) = floors.min().filter(|_| books.state.graves > 0) else {
                return Ok(());
            };
            if self.grave_floor.fetch_max(oldest.0, Ordering::Relaxed) >= oldest.0 {
                return Ok(());
            }
            oldest
        };
        self.drop_graves(|grave| grave.seq < floor)
    }

    /// Forgets tombstones, so many at a time that nobody waits for long, and no more are in memory.
    pub(super) fn drop_graves(&self, wanted: impl Fn(&Grave) -> bool) -> Result<()> {
        for some in index::graves(&self.index, GRAVES_A_BATCH, wanted) {
            let some = some?;
            self.change(&mut self.books(), |join| {
                for (key, grave) in &some {
                    // A newer tombstone may have taken its place.
                    if index::grave(&self.index, key)? == Some(*grave) {
                        join.drop_grave(key, *grave);
                    }
                }
                Ok(())
            })?;
            step!("reclaim.graves-forgotten");
        }
        Ok(())
    }

    /// Discards parts that nobody assembled in time.
    fn age_out_parts(&self) -> Result<()> {
        let Some(age) = self.options.part_max_age else { return Ok(()) };
        if self.books().state.parts == 0 {
            return Ok(());
        }
        let oldest =
            self.now_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let mut old = Vec::new();
        let view = self.index.snapshot();
        let mut cursor = view.entries(Space::Part);
        cursor.seek(&[]);
        while let Some((key, entry)) = cursor.entry()? {
            if entry.meta.created_ms < oldest {
                let seq = entry::parse_seq_key(key).map_err(|fault| self.index.fault(fault))?;
                old.push(PartId(seq.0));
            }
            cursor.next();
        }
        for part in old {
            self.discard_part(part)?;
        }
        Ok(())
    }
}

/// What was punched out of a track.
#[derive(Debug, Clone, Copy, Default)]
struct Punched {
    chunks: u64,
    /// What readers, a backup or the pool hold.
    held_chunks: u64,
}

/// What becomes of freed chunks that new values would refill: a hole in their place is made, and then filled,
/// at the price of two changes of the file's blocks, and perhaps of a discard that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// What is more than [`Shared::pool_bytes`] is punched out.
    Kept,
    /// All is, as where room is wanted.
    Punched,
}

/// Whether a track may be unlinked as far as its tombstones go: each would hide only records of
/// tracks that came after it, or of the track itself.
fn graves_can_go(tracks: &BTreeMap<TrackId, TrackRow>, id: TrackId, row: &TrackRow) -> bool {
    let mut others = tracks.iter().filter(|(other, _)| **other != id);
    others.all(|(_, other)| other.floor > row.last_grave)
}
