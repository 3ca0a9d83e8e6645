//! One pass over a track: what lives in it is copied elsewhere, slice by slice.
//!
//! Each slice: copy, sync, swap the index in batches, pass over the chains that were copied. The
//! next checkpoint then gives their room back, so that a compaction needs room for a slice and not
//! for a track. What crashes in between leaves copies that replay joins, or a track that is passed
//! over once more; nothing needs undoing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::control::{Busy, Control};
use super::copies::{CopiedValue, Copies, samples};
use super::outputs::{Debt, Outputs};
use crate::disk::{CopiedChain, Owner, Volume, slice_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{DirectoryEntry, Room};
use crate::format::checksum;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::{self, Grave, TrackRow};
use crate::format::record::{Compressed, Meta, Put, Record, Value};
use crate::format::{DiskId, Seq, TrackId};
use crate::index::{self, Original, Passed};
use crate::store::{Packed, Shared};
use crate::track::{Chain, ChainHead, Scanner, TrackFile, ValuePlace};

/// A batch of swaps is not larger than this: it is what a put may have to wait for.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// A slice, where there is room enough.
const SLICE_BYTES: usize = 8 << 20;
const SLICE_MIN_BYTES: usize = 256 << 10;
/// Chains that are passed over in one batch.
const HEADS_A_BATCH: usize = 256;

/// Where copies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The disk that the track lies on.
    Same,
    /// The other disks: this one is to become empty.
    Others(DiskId),
    /// This disk.
    Disk(DiskId),
}

/// What steers a pass.
pub(super) struct Steering<'a> {
    pub(super) control: &'a Control,
    /// Whether to go on; asked often.
    pub(super) go_on: &'a (dyn Fn() -> bool + Sync),
    /// Bytes copied a second at most.
    pub(super) rate: &'a (dyn Fn() -> Option<u64> + Sync),
    pub(super) target: Target,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing lives in the track any more.
    Done,
    /// It was told to stop.
    Stopped,
    /// Something in it can't be read, and stays.
    Blocked,
    /// Readers hold back what was freed, and copying more would fill the disk.
    HeldBack,
}

/// A pass over a track.
pub(super) struct Pass<'a> {
    shared: &'a Shared,
    steering: &'a Steering<'a>,
    outputs: &'a mut Outputs,
    busy: &'a Busy<'a>,
    track: Arc<TrackFile>,
    disk: DiskId,
    /// Seq as of which what is copied is known to live: the outputs' floor (invariant I9).
    as_of: Seq,
    slice: Slice,
    slice_bytes: usize,
    is_whole: bool,
}

#[derive(Default)]
struct Slice {
    shards: BTreeMap<u8, Copies>,
    ready: Vec<(u8, Copies)>,
    bytes: usize,
    passed: Passed,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        steering: &'a Steering<'a>,
        outputs: &'a mut Outputs,
        busy: &'a Busy<'a>,
    ) -> Result<Self> {
        let now = shared.current_seq();
        let as_of = shared.unknown_above.map_or(now, |seq| seq.min(now));
        // Behind this, all that have a seq below are applied: what is found live then was so as of
        // that seq.
        shared.sync()?;
        step!("pass.begun");
        let row = row_of(shared, busy.track)?;
        let slice_bytes = slice_bytes(shared.options.reserve_bytes) as usize;
        Ok(Pass {
            track: shared.files.get(busy.track)?,
            disk: row.disk,
            shared,
            steering,
            outputs,
            busy,
            as_of,
            slice: Slice::default(),
            slice_bytes: slice_bytes.max(SLICE_MIN_BYTES),
            is_whole: true,
        })
    }

    /// Passes over the track.
    pub(super) fn run(mut self) -> Result<End> {
        let row = row_of(self.shared, self.busy.track)?;
        self.progress(row.start, row.applied);
        let ended = self.all(&row);
        if !matches!(ended, Ok(End::Done)) {
            // What was appended and not swapped must not be found later.
            self.outputs.seal(self.shared)?;
        }
        step!("pass.ended");
        self.steering.control.progress(self.disk, |progress| {
            progress.track = None;
            progress.tracks += u64::from(matches!(ended, Ok(End::Done)));
        });
        ended
    }

    fn all(&mut self, row: &TrackRow) -> Result<End> {
        // The passes before may have copied as much as may be there twice.
        if let Some(end) = self.settle()? {
            return Ok(end);
        }
        match self.chains(row)? {
            End::Done => self.refilled(),
            end => Ok(end),
        }
    }

    fn chains(&mut self, row: &TrackRow) -> Result<End> {
        let mut scanner = Scanner::new(self.track.clone(), row.start, row.applied);
        while let Some(chain) = scanner.next_chain(false)? {
            match chain {
                Ok(chain) => {
                    if let Some(end) = self.chain(&chain)? {
                        return Ok(end);
                    }
                }
                Err(bad) => {
                    self.cannot_read(&Error::chunk(
                        &self.track.path,
                        self.track.id,
                        bad.chunk,
                        bad.fault,
                    ));
                    scanner.skip_to_chain(bad.chunk + 1)?;
                }
            }
            if self.slice.passed.heads.len() >= HEADS_A_BATCH
                && let Some(end) = self.end_slice()?
            {
                return Ok(end);
            }
            self.progress(scanner.at(), row.applied);
        }
        if let Some(end) = self.end_slice()? {
            return Ok(end);
        }
        Ok(if self.is_whole { End::Done } else { End::Blocked })
    }

    fn chain(&mut self, chain: &Chain) -> Result<Option<End>> {
        let (mut records, mut packed_bytes) = (0, 0);
        for bad in &chain.bad {
            let fault = bad.fault.clone();
            self.cannot_read(&Error::chunk(&self.track.path, self.track.id, bad.chunk, fault));
        }
        for directory in &chain.directories {
            for entry in directory.entries() {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(fault) => {
                        let (path, at) = (&self.track.path, chain.head.start);
                        self.cannot_read(&Error::chunk(path, self.track.id, at, fault));
                        break;
                    }
                };
                records += u64::from(!matches!(entry.record, Record::Delete { .. }));
                if let Room::Packed(len) = entry.room {
                    packed_bytes += u64::from(len);
                }
                self.record(&chain.head, &entry)?;
                if self.slice.bytes >= self.slice_bytes
                    && let Some(end) = self.end_slice()?
                {
                    return Ok(Some(end));
                }
            }
        }
        if self.is_whole {
            let passed = &mut self.slice.passed;
            passed.end = chain.head.end();
            passed.heads.push((chain.head.start, chain.head.head_chunks));
            passed.records += records;
            passed.packed_bytes += packed_bytes;
        }
        Ok(None)
    }

    /// Copies a record, if it lives.
    fn record(&mut self, head: &ChainHead, entry: &DirectoryEntry<'_>) -> Result<()> {
        let original = Original { track: self.track.id, chain: head.seq };
        // Invariant I4: what is found to live stays until it was read.
        let _pin = self.shared.pins.pin();
        if !self.lives(entry, original)? {
            return Ok(());
        }
        let place = |len| ValuePlace {
            chunk: head.start + entry.spot.chunk,
            offset: entry.spot.offset,
            len,
            seq: head.seq,
        };
        let value = match (&entry.record, entry.room) {
            (_, Room::None) | (Record::Delete { .. }, _) => Ok(None),
            (Record::Put(put), _) => self.read_put(put, place(put.inline_bytes())).map(Some),
            (Record::Segment { len, crc }, _) => self.read(&place(*len), *crc).map(Some),
        };
        let value = match value {
            Ok(value) => value,
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.cannot_read(&error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.copy(entry.seq, &entry.record, value, original);
        Ok(())
    }

    /// Whether the index points at the record.
    fn lives(&self, entry: &DirectoryEntry<'_>, original: Original) -> Result<bool> {
        let view = self.shared.index.view();
        match &entry.record {
            Record::Put(put) => {
                let Some(row) = view.entry(put.space, put.key)? else { return Ok(false) };
                let found = row.entry()?;
                let at = Original { track: found.track, chain: found.chain };
                Ok((found.seq, at) == (entry.seq, original))
            }
            Record::Delete { space, key } => {
                let Original { track, chain } = original;
                let grave = index::grave(&self.shared.index, &entry::grave_key(*space, key))?;
                Ok(grave == Some(Grave { seq: entry.seq, track, chain }))
            }
            Record::Segment { .. } => {
                let row = view.segment(entry.seq)?;
                Ok(row
                    .is_some_and(|row| (row.track, row.chain) == (original.track, original.chain)))
            }
        }
    }

    /// Reads a value, and makes sure that it is what was written: a copy gets new checksums.
    fn read(&self, place: &ValuePlace, crc: u32) -> Result<CopiedValue> {
        let mut value = vec![0; place.len as usize];
        self.track.read_unmapped(place, 0, &mut value)?;
        let computed = checksum::crc32c(&value);
        if computed != crc {
            let fault = crate::format::Fault::Checksum { what: "value", stored: crc, computed };
            return Err(Error::chunk(&self.track.path, self.track.id, place.chunk, fault));
        }
        Ok(CopiedValue::Plain(value))
    }

    fn read_put(&self, put: &Put<'_>, place: ValuePlace) -> Result<CopiedValue> {
        let Meta { len, crc, .. } = put.meta;
        let Value::Compressed(Compressed { with_dictionary, .. }) = put.value else {
            return self.read(&place, crc);
        };
        let packed = Packed { track: self.track.id, place, with_dictionary, len, crc };
        let frame = Shared::frame_unmapped(&self.track, &packed)?;
        let value = self.shared.expand(&self.track, &packed, &frame)?;
        Ok(CopiedValue::Compressed { value, frame: (!with_dictionary).then_some(frame) })
    }

    fn copy(
        &mut self,
        seq: Seq,
        record: &Record<'_>,
        value: Option<CopiedValue>,
        original: Original,
    ) {
        let shard = match (record, &self.shared.options.shard) {
            (Record::Put(put), Some(shard)) => shard(put.key, put.meta.len, put.meta.expires_ms),
            _ => 0,
        };
        let copies = self.slice.shards.entry(shard).or_default();
        let before = copies.bytes();
        copies.push(seq, record, value, original);
        self.slice.bytes += copies.bytes() - before;
        if copies.originals.len() >= BATCH_RECORDS || copies.bytes() >= BATCH_BYTES {
            let full = std::mem::take(copies);
            self.slice.ready.push((shard, full));
        }
    }

    /// Writes the slice: copy, sync, swap, pass over. Gives why the pass ends, if it does.
    fn end_slice(&mut self) -> Result<Option<End>> {
        let slice = std::mem::take(&mut self.slice);
        let mut copies = slice.ready;
        copies.extend(slice.shards);
        copies.retain(|(_, copies)| !copies.originals.is_empty());
        let records = copies.iter().map(|(_, copies)| copies.originals.len() as u64).sum::<u64>();
        if records > 0 {
            self.steering.control.pace(
                slice.bytes as u64,
                (self.steering.rate)(),
                self.steering.go_on,
            );
            self.make_room(slice.bytes as u64)?;
            self.write(copies)?;
            self.steering.control.progress(self.disk, |progress| {
                progress.copied_bytes += slice.bytes as u64;
                progress.copied_records += records;
            });
        }
        if slice.passed.end > 0 {
            let mut books = self.shared.books_to_swap();
            self.shared.change(&mut books, |join| join.pass(self.track.id, &slice.passed))?;
            step!("slice.passed");
        }
        self.outputs.debt.bytes += slice.bytes as u64;
        self.outputs.debt.batch = self.shared.books().state.batch;
        if !(self.steering.go_on)() {
            return Ok(Some(End::Stopped));
        }
        self.settle()
    }

    fn write(&mut self, copies: Vec<(u8, Copies)>) -> Result<()> {
        let mut chains = Vec::new();
        let mut full = None;
        let compresses = self.shared.options.compression.is_some();
        for (shard, batch) in &copies {
            let volume = self.target()?;
            let alike = || {
                let same_shard = copies.iter().filter(|(other, _)| other == shard);
                samples(same_shard.map(|(_, copies)| copies), compresses)
            };
            let floor = self.as_of;
            match self.outputs.append(self.shared, &volume, *shard, floor, batch, alike) {
                Ok(chain) => chains.push((chain, &batch.originals)),
                Err(error) => {
                    full = Some(error);
                    break;
                }
            }
        }
        step!("slice.copied");
        // Before the swaps: what is swapped must not be lost, since its original may be gone with
        // the next checkpoint (invariant I1).
        self.outputs.sync()?;
        step!("slice.synced");
        for (chain, originals) in &chains {
            self.swap(chain, originals)?;
        }
        self.outputs.seal_full(self.shared)?;
        full.map_or(Ok(()), Err)
    }

    /// Invariant I6: a copy counts only while the index points at what was read.
    fn swap(&mut self, chain: &CopiedChain, originals: &[Original]) -> Result<()> {
        let shared = self.shared;
        shared.admit_swap()?;
        let output = self.outputs.of(chain.track).expect("it is open until it is told");
        let appended = chain.appended(output);
        let records = shared.records(&appended)?;
        let facts = appended.facts();
        {
            let mut books = shared.books_to_swap();
            shared.change(&mut books, |join| {
                for (copy, original) in records.iter().zip(originals) {
                    join.swap(&facts, copy, *original)?;
                }
                join.end_chain(&facts, 0);
                Ok(())
            })?;
        }
        shared.checkpoints.wrote(u64::from(facts.chunks), false);
        output.told(chain);
        step!("slice.swapped");
        Ok(())
    }

    fn target(&self) -> Result<Arc<Volume>> {
        let volumes = &self.shared.volumes;
        let found = match self.steering.target {
            Target::Same => volumes.of(self.disk),
            Target::Disk(id) => volumes.of(id),
            Target::Others(id) => {
                let all = volumes.all();
                let others = all.iter().filter(|v| v.disk.id != id && v.takes_puts());
                others.max_by_key(|volume| volume.ask_available_bytes()).cloned()
            }
        };
        let what = "there is no other disk that it could move to";
        found.ok_or_else(|| Error::new(ErrorKind::Full, what))
    }

    /// Where the target has hardly room for the slice, what was freed before is given back first.
    fn make_room(&mut self, bytes: u64) -> Result<()> {
        let target = self.target()?;
        // It names what the slice may begin: a track that it can't name is a file too many.
        self.shared.make_room_for_meta();
        let available = self.shared.options.io.available_space(&target.dir).unwrap_or(0);
        if available < bytes + self.shared.options.reserve_bytes {
            self.outputs.trim();
            self.shared.give_back()?;
        }
        if self.shared.options.io.available_space(&target.dir).unwrap_or(0) < 2 * bytes {
            self.shared.release_reserve();
        }
        Ok(())
    }

    /// Gives back what was freed, before too much is there twice; waits for the readers that hold
    /// it.
    fn settle(&mut self) -> Result<Option<End>> {
        const PATIENCE: Duration = Duration::from_millis(50);
        let Debt { bytes, batch } = self.outputs.debt;
        let available = self.shared.options.io.available_space(&self.target()?.dir).unwrap_or(0);
        let most = (self.shared.options.track_bytes / 4).min(available / 4).max(SLICE_BYTES as u64);
        if bytes < most {
            return Ok(None);
        }
        self.outputs.trim();
        // Where it is readers that hold it, another checkpoint brings nothing.
        if self.shared.checkpoints.durable_batch() < batch || self.shared.pins.oldest() >= batch {
            self.shared.give_back()?;
        }
        step!("slice.given-back");
        let mut waited = 0;
        while self.shared.reusable_batch() < batch {
            if !(self.steering.go_on)() {
                return Ok(Some(End::Stopped));
            }
            waited += 1;
            if waited > 20 {
                return Ok(Some(End::HeldBack));
            }
            std::thread::sleep(PATIENCE);
        }
        if waited > 0 {
            self.shared.give_back()?;
        }
        self.outputs.debt = Debt::default();
        Ok(None)
    }

    /// Moves the segments that were refilled into the track: no directory in it names them.
    fn refilled(&mut self) -> Result<End> {
        if row_of(self.shared, self.busy.track)?.is_dead() {
            return Ok(End::Done);
        }
        let rows = index::segments(&self.shared.index, |row| row.track == self.busy.track)?;
        for (seq, row) in rows {
            let pin = self.shared.pins.pin();
            if self.shared.index.view().segment(seq)? != Some(row) {
                continue;
            }
            let place = ValuePlace { chunk: row.chunk, offset: 0, len: row.len, seq: row.chain };
            let value = match self.read(&place, row.crc) {
                Ok(value) => value,
                Err(error) if error.kind() == ErrorKind::Corruption => {
                    self.cannot_read(&error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            drop(pin);
            let original = Original { track: row.track, chain: row.chain };
            let record = Record::Segment { len: row.len, crc: row.crc };
            self.copy(seq, &record, Some(value), original);
            if self.slice.bytes >= self.slice_bytes
                && let Some(end) = self.end_slice()?
            {
                return Ok(end);
            }
        }
        Ok(self.end_slice()?.unwrap_or(if self.is_whole { End::Done } else { End::Blocked }))
    }

    fn cannot_read(&mut self, error: &Error) {
        tracing::error!(%error, track = %self.track.id, "compaction leaves what it can't read");
        self.is_whole = false;
    }

    fn progress(&self, at: u32, end: u32) {
        let bytes = |chunks: u32| u64::from(chunks) * CHUNK_BYTES as u64;
        self.steering.control.progress(self.disk, |progress| {
            progress.track = Some(self.busy.track);
            progress.done_bytes = bytes(at);
            progress.total_bytes = bytes(end);
        });
    }
}

fn row_of(shared: &Shared, track: TrackId) -> Result<TrackRow> {
    let row = shared.books().tracks.get(&track).copied();
    row.ok_or_else(|| Error::new(ErrorKind::NotFound, "the track is gone").with_track(track))
}
