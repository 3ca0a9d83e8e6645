//! Bringing records into the index: for every key the greatest (record seq, chain seq) wins,
//! tombstones included (invariant I6).
//!
//! A [`Join`] collects the changes of one or more chains and writes them as one RocksDB batch. It
//! sees its own changes, so that two puts of one key may share a batch. Live writes, replay and
//! rebuild use the same code. The caller holds the store's apply lock: that makes compare and
//! write one step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rocksdb::WriteBatch;

use super::books::STATE_KEY;
use super::prefixes::Counts;
use super::rows::Rows;
use super::view::family_of;
use super::{Books, Family, Index, Ready, bounds, graves};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{DirectoryEntry, Spot};
use crate::format::entry::{self, Entry, Extent, FreeRow, Grave, Place, SegmentRow, TrackRow};
use crate::format::record::{Put, Record, SegmentList, Space, Value};
use crate::format::{Seq, TrackId};

/// What a row takes in a memtable beside its bytes: its node in the skip list, and what is left at
/// the ends of arena blocks. Measured: 24 to 33 bytes.
const ROW_OVERHEAD_BYTES: usize = 32;

/// A row for so many bytes of common prefixes: those of long keys of short names come to far more than the
/// keys.
const PREFIX_BYTES: usize = 256;

/// What of a chain concerns all its records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainFacts {
    pub(crate) track: TrackId,
    pub(crate) start: u32,
    pub(crate) chunks: u32,
    pub(crate) head_chunks: u32,
    pub(crate) seq: Seq,
    /// Chunk up to which the track is durable.
    pub(crate) synced: u32,
}

/// What was found of some objects' keys when batch `batch` was the last one.
pub(crate) struct Ahead {
    batch: u64,
    found: LookedUp,
}

/// What was looked up, and what was learnt beside.
struct LookedUp {
    rows: Rows,
    bounds: bounds::Found,
}

impl Index {
    /// Looks up objects' keys before the chain that they are from is brought in. Batch `batch` was
    /// there before this is called.
    pub(crate) fn look_ahead(&self, batch: u64, keys: &[&[u8]]) -> Result<Ahead> {
        Ok(Ahead { batch, found: self.look_up(keys)? })
    }

    fn look_up(&self, keys: &[&[u8]]) -> Result<LookedUp> {
        let mut found = bounds::Found::new();
        let rows = Rows::look_up(keys, |keys| {
            let (rows, bounds) = self.get_sorted(keys)?;
            found = bounds;
            Ok::<_, Error>(rows)
        })?;
        Ok(LookedUp { rows, bounds: found })
    }
}

/// Changes that become one batch.
pub(crate) struct Join<'a> {
    pub(super) index: &'a Index,
    pub(crate) books: &'a mut Books,
    pub(super) number: u64,
    /// In a rebuild freed chunks are found by complement, when all is known: chunks that a record
    /// had once may have been given to another since.
    rebuild: bool,
    /// Entries' rows that were looked up or changed, by space.
    entries: [Rows; 2],
    pub(super) graves: HashMap<Vec<u8>, Option<Grave>>,
    pub(super) segments: HashMap<Seq, Option<SegmentRow>>,
    pub(super) free: BTreeMap<(TrackId, u32), Option<FreeRow>>,
    /// Chunks that come to the free list.
    pub(crate) freed_chunks: u64,
    prefixes: Counts,
    tracks: BTreeSet<TrackId>,
    /// The last of them that was asked for.
    last_track: Option<TrackId>,
}

impl<'a> Join<'a> {
    pub(crate) fn new(index: &'a Index, books: &'a mut Books) -> Self {
        let number = books.state.batch + 1;
        Join {
            index,
            books,
            number,
            rebuild: false,
            entries: Default::default(),
            graves: HashMap::new(),
            segments: HashMap::new(),
            free: BTreeMap::new(),
            freed_chunks: 0,
            prefixes: Counts::default(),
            tracks: BTreeSet::new(),
            last_track: None,
        }
    }

    /// A join that does not keep the free list.
    pub(crate) fn for_rebuild(index: &'a Index, books: &'a mut Books) -> Self {
        Join { rebuild: true, ..Self::new(index, books) }
    }

    /// The track's row, to be written with the batch.
    pub(crate) fn track(&mut self, id: TrackId) -> Option<&mut TrackRow> {
        if self.last_track != Some(id) {
            self.tracks.insert(id);
            self.last_track = Some(id);
        }
        self.books.tracks.get_mut(&id)
    }

    /// Adds a track. What lies before its first chain is free.
    pub(crate) fn add_track(&mut self, id: TrackId, row: TrackRow) {
        self.books.tracks.insert(id, row);
        self.tracks.insert(id);
        self.release(Extent { track: id, chunk: 1, chunks: row.start - 1 });
    }

    /// Says that all of a chain's records were given. The values of those that are lost have
    /// `lost_chunks`: a rebuild finds that they are free.
    pub(crate) fn end_chain(&mut self, chain: &ChainFacts, lost_chunks: u32) {
        let lost_chunks = if self.rebuild { 0 } else { lost_chunks };
        if let Some(row) = self.track(chain.track) {
            row.head_chunks += chain.head_chunks;
            row.lost_chunks += lost_chunks;
            row.applied = row.applied.max(chain.start + chain.chunks);
            row.synced = row.synced.max(chain.synced);
        }
        if self.rebuild {
            let (chunk, end) = (chain.start + chain.head_chunks, chain.start + chain.chunks);
            self.release(Extent { track: chain.track, chunk, chunks: end - chunk });
        }
    }

    /// Brings a chain in, which is whole. The join has looked up or changed nothing yet. What was
    /// found ahead serves, if it is of these records and nothing has changed since.
    pub(crate) fn chain(&mut self, ready: &Ready<'_>, ahead: Option<Ahead>) -> Result<()> {
        self.look_up(&ready.records, ahead)?;
        let chain = &ready.facts;
        for (entry, row) in ready.iter() {
            match &entry.record {
                Record::Put(put) => {
                    let new = entry_of(chain, entry.seq, put, entry.spot);
                    self.put_entry(put, &new, |out| out.extend_from_slice(row))?;
                }
                _ => self.record(chain, entry)?,
            }
        }
        self.end_chain(chain, 0);
        Ok(())
    }

    /// Looks up what the records are about, all at once: that costs less than one by one.
    fn look_up(&mut self, records: &[DirectoryEntry<'_>], ahead: Option<Ahead>) -> Result<()> {
        let keys = keys_of(records);
        let ahead =
            ahead.filter(|ahead| ahead.batch + 1 == self.number && ahead.found.rows.are_of(&keys));
        match ahead {
            Some(ahead) => self.take_in(ahead.found),
            None if keys.len() > 1 => self.take_in(self.index.look_up(&keys)?),
            None => {}
        }
        Ok(())
    }

    fn take_in(&mut self, found: LookedUp) {
        self.entries[Space::Object as usize] = found.rows;
        self.index.learn_bounds(found.bounds);
    }

    /// Looks up what records are about that will be brought in one by one: all at once, which costs less.
    /// The join has looked up or changed nothing yet.
    pub(crate) fn expect<'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r DirectoryEntry<'r>>,
    ) -> Result<()> {
        self.take_in(self.index.look_up(&keys_of(records))?);
        Ok(())
    }

    /// Brings one record in.
    pub(crate) fn record(&mut self, chain: &ChainFacts, entry: &DirectoryEntry<'_>) -> Result<()> {
        match &entry.record {
            Record::Put(put) => self.put(chain, entry.seq, put, entry.spot),
            Record::Delete { space, key } => self.delete(chain, entry.seq, *space, key),
            Record::Segment { len, crc } => {
                self.segment(entry.seq, segment_of(chain, entry.spot, *len, *crc))
            }
        }
    }

    pub(super) fn put(
        &mut self,
        chain: &ChainFacts,
        seq: Seq,
        put: &Put<'_>,
        spot: Spot,
    ) -> Result<()> {
        let new = entry_of(chain, seq, put, spot);
        self.put_entry(put, &new, |out| new.encode_into(out))
    }

    /// The same with what the key then means, and how its row is written.
    fn put_entry(
        &mut self,
        put: &Put<'_>,
        new: &Entry<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let grave = self.grave(put.space, put.key)?;
        let known = self.entries[put.space as usize].place(put.key);
        let old_row = match known {
            Some(place) => self.entries[put.space as usize].at(place).map(<[u8]>::to_vec),
            None => self.entry_row(put.space, put.key)?,
        };
        let old = match &old_row {
            Some(row) => Some(Entry::decode(row).map_err(|fault| self.index.fault(fault))?),
            None => None,
        };
        // Invariant I6: the greatest (record seq, chain seq) wins.
        let newest = old.as_ref().is_none_or(|old| (old.seq, old.chain) < (new.seq, new.chain))
            && grave.is_none_or(|grave| grave.seq < new.seq);
        if !newest {
            return self.bury(new);
        }
        self.count(put.space, put.key, new, 1);
        self.own(new)?;
        match &old {
            // A copy: the segments are the same, and so is their owner.
            Some(old) if old.seq == new.seq => {
                self.count(put.space, put.key, old, -1);
                self.displace(old)?;
            }
            Some(old) => {
                self.count(put.space, put.key, old, -1);
                self.kill(old)?;
            }
            None => {}
        }
        if let Some(grave) = grave {
            self.drop_grave(&entry::grave_key(put.space, put.key), grave);
        }
        self.entries[put.space as usize].put(put.key, known, write);
        Ok(())
    }

    fn delete(&mut self, chain: &ChainFacts, seq: Seq, space: Space, key: &[u8]) -> Result<()> {
        let grave = self.grave(space, key)?;
        let old_row = self.entry_row(space, key)?;
        if grave.is_some_and(|grave| (grave.seq, grave.chain) >= (seq, chain.seq)) {
            return Ok(());
        }
        if let Some(row) = &old_row {
            let old = Entry::decode(row).map_err(|fault| self.index.fault(fault))?;
            if old.seq > seq {
                return Ok(());
            }
            self.count(space, key, &old, -1);
            self.kill(&old)?;
            self.entries[space as usize].delete(key);
        }
        if let Some(grave) = grave {
            self.drop_grave(&entry::grave_key(space, key), grave);
        }
        let new = Grave { seq, track: chain.track, chain: chain.seq };
        self.set_grave(&entry::grave_key(space, key), new);
        Ok(())
    }

    pub(super) fn set_grave(&mut self, row_key: &[u8], grave: Grave) {
        if let Some(row) = self.track(grave.track) {
            row.graves += 1;
            row.last_grave = row.last_grave.max(grave.seq);
        }
        self.books.state.graves += 1;
        self.graves.insert(row_key.to_vec(), Some(grave));
    }

    pub(super) fn segment(&mut self, seq: Seq, row: SegmentRow) -> Result<()> {
        let old = self.segment_row(seq)?;
        if old.is_some_and(|old| old.chain >= row.chain) {
            return self.bury_segment(&row);
        }
        let mut row = row;
        if let Some(old) = &old {
            row.owner = row.owner.or(old.owner);
            self.displace_segment(old)?;
        }
        let extent = row.extent();
        if let Some(track) = self.track(row.track) {
            track.live_records += u64::from(row.has_record);
            track.live_bytes += row.len;
            track.owned_chunks += extent.chunks;
        }
        self.segments.insert(seq, Some(row));
        Ok(())
    }

    /// A segment that lies elsewhere by now, or is gone: it is dead from the start.
    pub(super) fn bury_segment(&mut self, loser: &SegmentRow) -> Result<()> {
        let number = self.number;
        if let Some(row) = self.track(loser.track) {
            row.dead_records += u64::from(loser.has_record);
            row.last_kill = number;
        }
        self.set_free(loser.extent())
    }

    /// Makes `new` the owner of what it refers to.
    fn own(&mut self, new: &Entry<'_>) -> Result<()> {
        if let Some(row) = self.track(new.track) {
            row.live_records += 1;
            row.live_bytes += new.inline_bytes();
            match new.owned_extent() {
                Some(extent) => row.owned_chunks += extent.chunks,
                None => row.packed_bytes += new.inline_bytes(),
            }
        }
        let Place::Segments(SegmentList(list)) = &new.place else { return Ok(()) };
        for segment in list {
            if let Some(row) = self.segment_row(segment.seq)? {
                let owner = Some(new.seq);
                self.segments.insert(segment.seq, Some(SegmentRow { owner, ..row }));
            } else if let Some(refilled) = segment.refilled {
                let row = SegmentRow {
                    track: refilled.track,
                    chunk: refilled.chunk,
                    len: segment.len,
                    crc: refilled.crc,
                    chain: segment.seq,
                    has_record: false,
                    owner: Some(new.seq),
                };
                self.segment(segment.seq, row)?;
                if !self.rebuild && !self.claim(row.extent())? {
                    let what = format!("segment {} lies in chunks that are not free", segment.seq);
                    return Err(Error::new(ErrorKind::Corruption, what));
                }
            }
            // Else the segment was lost with its track; reading the object says so.
        }
        Ok(())
    }

    /// A put that lost: it is dead from the start.
    fn bury(&mut self, loser: &Entry<'_>) -> Result<()> {
        self.bury_alone(loser)?;
        self.kill_segments(loser, |owner, _| owner.is_none())
    }

    /// The same, and nothing is said of its segments: it is a copy.
    pub(super) fn bury_alone(&mut self, loser: &Entry<'_>) -> Result<()> {
        let number = self.number;
        if let Some(row) = self.track(loser.track) {
            row.dead_records += 1;
            row.last_kill = number;
            if loser.owned_extent().is_none() {
                row.dead_bytes += loser.inline_bytes();
            }
        }
        match loser.owned_extent() {
            Some(extent) => self.set_free(extent),
            None => Ok(()),
        }
    }

    /// Frees what an entry refers to that is overwritten or deleted.
    fn kill(&mut self, old: &Entry<'_>) -> Result<()> {
        self.displace(old)?;
        self.kill_segments(old, |owner, seq| owner == Some(seq))
    }

    /// Frees what an entry's record takes in its track. Its segments stay.
    fn displace(&mut self, old: &Entry<'_>) -> Result<()> {
        let number = self.number;
        let extent = old.owned_extent();
        if let Some(row) = self.track(old.track) {
            row.live_records -= 1;
            row.dead_records += 1;
            row.live_bytes -= old.inline_bytes();
            row.last_kill = number;
            match extent {
                Some(extent) => row.owned_chunks -= extent.chunks,
                None => {
                    row.packed_bytes -= old.inline_bytes();
                    row.dead_bytes += old.inline_bytes();
                }
            }
        }
        match extent {
            Some(extent) => self.set_free(extent),
            None => Ok(()),
        }
    }

    /// Frees those of an entry's segments of which `which` says so, by owner and the entry's seq:
    /// a segment that has gone over to another put lives on.
    fn kill_segments(
        &mut self,
        entry: &Entry<'_>,
        which: fn(Option<Seq>, Seq) -> bool,
    ) -> Result<()> {
        let Place::Segments(SegmentList(list)) = &entry.place else { return Ok(()) };
        for segment in list {
            if let Some(row) = self.segment_row(segment.seq)?
                && which(row.owner, entry.seq)
            {
                if self.rebuild {
                    // The put that has taken it over may come up behind what ends this one: both
                    // may have been moved. Whose it is is known only when all puts are.
                    self.segments.insert(segment.seq, Some(SegmentRow { owner: None, ..row }));
                } else {
                    self.free_segment(segment.seq, &row)?;
                }
            }
        }
        Ok(())
    }

    /// Gives a segment to a put, unless it is lost.
    pub(crate) fn set_owner(&mut self, segment: Seq, owner: Seq) -> Result<bool> {
        let Some(row) = self.segment_row(segment)? else { return Ok(false) };
        if row.owner != Some(owner) {
            self.segments.insert(segment, Some(SegmentRow { owner: Some(owner), ..row }));
        }
        Ok(true)
    }

    /// Frees segments that no put has taken over.
    pub(crate) fn free_unowned(&mut self, seqs: impl IntoIterator<Item = Seq>) -> Result<u64> {
        let mut freed = 0;
        for seq in seqs {
            if let Some(row) = self.segment_row(seq)?
                && row.owner.is_none()
            {
                self.free_segment(seq, &row)?;
                freed += 1;
            }
        }
        Ok(freed)
    }

    fn free_segment(&mut self, seq: Seq, segment: &SegmentRow) -> Result<()> {
        self.segments.insert(seq, None);
        self.displace_segment(segment)
    }

    /// Frees the chunks of a segment.
    fn displace_segment(&mut self, segment: &SegmentRow) -> Result<()> {
        let number = self.number;
        let extent = segment.extent();
        if let Some(row) = self.track(segment.track) {
            row.live_records -= u64::from(segment.has_record);
            row.dead_records += u64::from(segment.has_record);
            row.live_bytes -= segment.len;
            row.owned_chunks -= extent.chunks;
            row.last_kill = number;
        }
        self.set_free(extent)
    }

    pub(super) fn set_free(&mut self, extent: Extent) -> Result<()> {
        if self.rebuild { Ok(()) } else { self.release_merging(extent) }
    }

    /// Forgets a tombstone. What has taken its place may not be durable yet: the track stays until
    /// it is.
    pub(crate) fn drop_grave(&mut self, row_key: &[u8], grave: Grave) {
        let number = self.number;
        if let Some(row) = self.track(grave.track) {
            row.graves = row.graves.saturating_sub(1);
            row.last_kill = number;
        }
        self.books.state.graves -= 1;
        self.graves.insert(row_key.to_vec(), None);
    }

    /// Forgets a track that was unlinked.
    pub(crate) fn drop_track(&mut self, id: TrackId) -> Result<()> {
        self.books.tracks.remove(&id);
        self.tracks.insert(id);
        self.drop_free_of(id)
    }

    fn count(&mut self, space: Space, key: &[u8], entry: &Entry<'_>, sign: i64) {
        let state = &mut self.books.state;
        match space {
            Space::Part => state.parts = state.parts.wrapping_add_signed(sign),
            Space::Object => {
                let bytes = sign * entry.meta.len as i64;
                state.objects = state.objects.wrapping_add_signed(sign);
                state.object_bytes = state.object_bytes.wrapping_add_signed(bytes);
                let place = self.entries[space as usize].place(key);
                self.prefixes.count(key, place, entry.meta.expires_ms.is_none(), sign);
            }
        }
    }

    pub(super) fn entry_row(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(known) = self.entries[space as usize].get(key) {
            return Ok(known.map(<[u8]>::to_vec));
        }
        Ok(self.index.get(family_of(space), key)?.map(|row| row.to_vec()))
    }

    pub(super) fn grave(&self, space: Space, key: &[u8]) -> Result<Option<Grave>> {
        if self.books.state.graves == 0 && self.graves.is_empty() {
            return Ok(None);
        }
        let key = entry::grave_key(space, key);
        if let Some(grave) = self.graves.get(&key) {
            return Ok(*grave);
        }
        graves::grave(self.index, &key)
    }

    pub(super) fn segment_row(&self, seq: Seq) -> Result<Option<SegmentRow>> {
        match self.segments.get(&seq) {
            Some(row) => Ok(*row),
            None => self.index.view().segment(seq),
        }
    }

    /// About the rows of the batch.
    pub(crate) fn len(&self) -> usize {
        let entries: usize = self.entries.iter().map(Rows::len).sum();
        let prefixes = self.prefixes.bytes() / PREFIX_BYTES;
        entries + self.segments.len() + self.graves.len() + self.free.len() + prefixes
    }

    /// Writes the batch; gives about the bytes that it takes in memory.
    pub(crate) fn commit(self) -> Result<usize> {
        let rows_bytes = self.entries.iter().map(Rows::bytes).sum::<usize>();
        let mut batch = WriteBatch::with_capacity_bytes(rows_bytes + rows_bytes / 4);
        let columns = Family::ALL.map(|family| self.index.column(family.column()));
        let mut set = |family: Family, key: &[u8], row: Option<&[u8]>| match row {
            Some(row) => batch.put_cf(columns[family as usize], family.key(key), row),
            None => batch.delete_cf(columns[family as usize], family.key(key)),
        };
        for space in [Space::Object, Space::Part] {
            let changed = self.entries[space as usize].changed();
            changed.for_each(|(key, row)| set(family_of(space), key, row));
        }
        for (key, row) in &self.graves {
            set(Family::Graves, key, row.map(|row| row.encode()).as_deref());
        }
        for (seq, row) in &self.segments {
            let key = seq.0.to_be_bytes();
            let loose = row.is_some_and(|row| row.owner.is_none());
            set(Family::Segments, &key, row.map(|row| row.encode()).as_deref());
            set(Family::Loose, &key, loose.then_some(&[]));
        }
        for (&(track, chunk), row) in &self.free {
            let key = entry::free_key(track, chunk);
            set(Family::Free, &key, row.map(|row| row.encode()).as_deref());
        }
        let prefixes_bytes = self.index.apply_counts(
            self.prefixes,
            &self.entries[Space::Object as usize],
            |key, row| {
                set(Family::Prefixes, key, row.map(|row| row.encode()).as_deref());
            },
        )?;
        for track in &self.tracks {
            let row = self.books.tracks.get(track).map(TrackRow::encode);
            set(Family::Tracks, &track.0.to_be_bytes(), row.as_deref());
        }
        self.books.state.batch = self.number;
        set(Family::State, STATE_KEY, Some(&self.books.state.encode()));
        let size = batch.size_in_bytes() + batch.len() * ROW_OVERHEAD_BYTES + prefixes_bytes;
        let objects = self.entries[Space::Object as usize].changed();
        self.index.bounds().raise(objects.filter_map(|(key, row)| row.and(Some(key))));
        self.index.write(batch)?;
        Ok(size)
    }
}

/// The keys of objects that records are about.
fn keys_of<'r>(records: impl IntoIterator<Item = &'r DirectoryEntry<'r>>) -> Vec<&'r [u8]> {
    let keys = records.into_iter().filter_map(|entry| match &entry.record {
        Record::Put(Put { space: Space::Object, key, .. })
        | Record::Delete { space: Space::Object, key } => Some(*key),
        _ => None,
    });
    keys.collect()
}

/// Where a segment of this chain is; nobody owns it yet.
pub(super) fn segment_of(chain: &ChainFacts, spot: Spot, len: u64, crc: u32) -> SegmentRow {
    SegmentRow {
        track: chain.track,
        chunk: chain.start + spot.chunk,
        len,
        crc,
        chain: chain.seq,
        has_record: true,
        owner: None,
    }
}

/// What a key means by a put of this chain.
pub(super) fn entry_of<'p>(chain: &ChainFacts, seq: Seq, put: &Put<'p>, spot: Spot) -> Entry<'p> {
    let place = match &put.value {
        Value::Segments(list) => Place::Segments(list.clone()),
        Value::Inline if put.meta.len == 0 => Place::Empty,
        Value::Inline => Place::Inline { chunk: chain.start + spot.chunk, offset: spot.offset },
        Value::Compressed(compressed) => Place::Compressed {
            chunk: chain.start + spot.chunk,
            offset: spot.offset,
            compressed: *compressed,
        },
    };
    Entry { seq, track: chain.track, chain: chain.seq, meta: put.meta.clone(), place }
}
