//! Puts, deletes and batches.

use std::ops::Range;
use std::sync::Arc;

use super::encoder::Encoder;
use super::gate::Pass;
use super::look_ahead;
use super::object::Times;
use super::refill::RefilledValues;

use super::{DeleteOptions, PutOptions, Shared};
use crate::disk::{Ack, Owner, Proposal, Request, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Seq;
use crate::format::chain::Body;
use crate::format::checksum;
use crate::format::record::{
    MAX_ATTRIBUTE_BYTES, MAX_KEY_BYTES, MAX_SEGMENTS, Meta, OWNED_MIN_BYTES, Put, Record,
    SegmentList, Space, Value,
};
use crate::options::{Condition, Durability};

/// A batch is one chain, and a chain is bounded: this leaves room for what frames it.
const BATCH_MAX_BYTES: usize = 512 << 20;
/// After so many tracks that were full before it was framed for them, a write does without their
/// dictionaries, so that any track can take it.
const MAX_STALE: u32 = 2;

/// Puts and deletes that are carried out all or not at all, also across a crash.
///
/// Operations on one key count in their order. Conditions are checked before the batch is
/// written, against what is there then, and all of them must hold.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let mut batch = kogia::Batch::new();
/// batch.put("segment/2", "media").put("latest", "2").delete("segment/1");
/// store.write(batch)?;
/// assert_eq!(store.get("latest")?.as_deref(), Some(&b"2"[..]));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Batch {
    operations: Vec<Operation>,
    /// Keys and values, one behind the other: an allocation each would cost more than the copy.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Operation {
    key: Range<usize>,
    condition: Condition,
    put: Option<(Range<usize>, Option<Box<PutOptions>>)>,
}

/// What puts carry that nothing was said of.
static DEFAULTS: PutOptions = PutOptions {
    attributes: Vec::new(),
    modified_ms: None,
    created_ms: None,
    expires_ms: None,
    condition: Condition::Always,
    durability: None,
};

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        self.push_put(key.as_ref(), value.as_ref(), Condition::Always, None)
    }

    /// Adds a put. Its durability is the batch's.
    pub fn put_with(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &PutOptions,
    ) -> &mut Self {
        let said = (*options != DEFAULTS).then(|| Box::new(options.clone()));
        self.push_put(key.as_ref(), value.as_ref(), options.condition, said)
    }

    fn push_put(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: Condition,
        options: Option<Box<PutOptions>>,
    ) -> &mut Self {
        let (key, value) = (self.store(key), self.store(value));
        self.operations.push(Operation { key, condition, put: Some((value, options)) });
        self
    }

    /// Adds a delete; the key may be absent.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.delete_with(key, Condition::Always)
    }

    /// Adds a delete under a condition.
    pub fn delete_with(&mut self, key: impl AsRef<[u8]>, condition: Condition) -> &mut Self {
        let key = self.store(key.as_ref());
        self.operations.push(Operation { key, condition, put: None });
        self
    }

    /// Operations so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn key(&self, operation: &Operation) -> &[u8] {
        &self.bytes[operation.key.clone()]
    }

    /// The value that is put; empty of a delete.
    fn value(&self, operation: &Operation) -> &[u8] {
        operation.put.as_ref().map_or(&[], |(value, _)| &self.bytes[value.clone()])
    }
}

impl Shared {
    pub(crate) fn put(&self, key: &[u8], value: &[u8], options: &PutOptions) -> Result<Seq> {
        self.put_at(key, value, options, options.times(self.now_ms()))
    }

    pub(crate) fn put_at(
        &self,
        key: &[u8],
        value: &[u8],
        options: &PutOptions,
        times: Times,
    ) -> Result<Seq> {
        check_put(key, options)?;
        if value.len() > self.options.inline_max_bytes() {
            let mut writer = super::Writer::new(self, key, options.clone())?;
            writer.push(value)?;
            return Ok(writer.finish()?.seq);
        }
        self.admit(value.len())?;
        let refilled = self.refill_values([value])?;
        let pass = Pass::of(options.condition);
        let _gate = self.gates.pass([(Space::Object, key, pass)]);
        self.check_condition(key, options.condition)?;
        let bytes = value.len() - refilled.bytes() as usize;
        self.append(bytes, options.durability, false, |encoder| {
            let mut proposal = Proposal::default();
            propose_put(&mut proposal, encoder, key, value, options, times, refilled.get(0));
            proposal
        })
    }

    pub(crate) fn delete(&self, key: &[u8], options: &DeleteOptions) -> Result<bool> {
        check_key(key)?;
        self.admit_delete()?;
        // Alone, so that of two deletes of a key only one finds it there.
        let _gate = self.gates.pass([(Space::Object, key, Pass::Alone)]);
        self.check_condition(key, options.condition)?;
        if self.found(key)?.is_none() {
            return Ok(false);
        }
        self.append_delete(Space::Object, key, options.durability)?;
        Ok(true)
    }

    pub(crate) fn append_delete(
        &self,
        space: Space,
        key: &[u8],
        durability: Option<Durability>,
    ) -> Result<Seq> {
        self.append(0, durability, true, |_| Proposal::of(&Record::Delete { space, key }))
    }

    pub(crate) fn write(&self, batch: &Batch, durability: Option<Durability>) -> Result<Vec<Seq>> {
        let mut bytes = batch.bytes.len();
        for operation in &batch.operations {
            check_key(batch.key(operation))?;
            if let Some((_, Some(options))) = &operation.put {
                check_put(batch.key(operation), options)?;
                bytes += options.attributes.len();
            }
        }
        let most = self.options.queue_bytes().min(BATCH_MAX_BYTES);
        if bytes > most {
            let what = format!(
                "a batch of {bytes} bytes; {most} is the most under this store's memory_bytes"
            );
            return Err(Error::invalid(what));
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let deletes_only = batch.operations.iter().all(|operation| operation.put.is_none());
        if deletes_only {
            self.admit_delete()?;
        } else {
            self.admit(bytes)?;
        }
        let refilled = self.refill_values(batch.operations.iter().map(|one| batch.value(one)))?;
        let gates = batch.operations.iter().map(|operation| {
            let pass = match operation.put {
                Some(_) => Pass::of(operation.condition),
                None => Pass::Alone,
            };
            (Space::Object, batch.key(operation), pass)
        });
        let _gates = self.gates.pass(gates);
        for operation in &batch.operations {
            self.check_condition(batch.key(operation), operation.condition)?;
        }
        let now_ms = self.now_ms();
        let keys: Vec<&[u8]> = batch.operations.iter().map(|one| batch.key(one)).collect();
        let frame = |encoder: &Encoder<'_>| propose(batch, encoder, now_ms, &refilled);
        let bytes = bytes - refilled.bytes() as usize;
        let first = self.append_looking_ahead(bytes, durability, deletes_only, frame, &keys)?;
        Ok((first.0..).take(batch.len()).map(Seq).collect())
    }

    /// Fails unless `condition` holds for `key`. The key's gate is held alone.
    pub(crate) fn check_condition(&self, key: &[u8], condition: Condition) -> Result<()> {
        if condition == Condition::Always {
            return Ok(());
        }
        let found = self.found(key)?;
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => found.is_none(),
            Condition::IfPresent => found.is_some(),
            Condition::IfSeq(seq) => found == Some(seq),
        };
        if holds {
            return Ok(());
        }
        let what = match found {
            Some(seq) => format!("{condition} was asked, but the key has seq {seq}"),
            None => format!("{condition} was asked, but the key is absent"),
        };
        Err(Error::new(ErrorKind::Condition, what))
    }

    /// The seq of the object that is there now.
    fn found(&self, key: &[u8]) -> Result<Option<Seq>> {
        let Some(row) = self.index.view().entry(Space::Object, key)? else { return Ok(None) };
        let entry = row.entry()?;
        Ok(self.moment().has(key, &entry.meta).then_some(entry.seq))
    }

    /// Appends what `frame` proposes to a disk that has room, and waits for it. The caller was
    /// admitted before it passed any gate: the checkpoint that it may have to wait for passes gates
    /// itself.
    pub(crate) fn append(
        &self,
        bytes: usize,
        durability: Option<Durability>,
        uses_reserve: bool,
        frame: impl Fn(&Encoder<'_>) -> Proposal,
    ) -> Result<Seq> {
        self.append_looking_ahead(bytes, durability, uses_reserve, frame, &[])
    }

    /// The same; looks up these objects' keys, which the records are about, in their order, before their
    /// turn comes.
    fn append_looking_ahead(
        &self,
        bytes: usize,
        durability: Option<Durability>,
        uses_reserve: bool,
        frame: impl Fn(&Encoder<'_>) -> Proposal,
        keys: &[&[u8]],
    ) -> Result<Seq> {
        self.check_poison()?;
        let durability = durability.unwrap_or(self.options.durability);
        let (mut refusals, mut stale) = (0, 0);
        loop {
            let volume = self.place(bytes as u64, uses_reserve)?;
            let share = self.budget.take(bytes);
            let proposal = frame(&self.encoder(&volume, stale < MAX_STALE));
            let (turn, framed_bytes) = (self.look_ahead.turn(), proposal.bytes() as u64);
            let (request, outcome) = Request::new(proposal, durability, uses_reserve, share);
            let looks_ahead = look_ahead::is_worth_it(keys.len(), framed_bytes);
            if looks_ahead {
                volume.write_beside(request, &outcome, || {
                    // Behind others', it would be one of a group, after whose changes this says nothing.
                    if volume.load().queued_bytes <= framed_bytes {
                        self.look_ahead(&turn, keys);
                    }
                });
            } else {
                volume.write(request, &outcome);
            }
            match outcome.wait() {
                Ok(Ack::Done { first }) => return Ok(first),
                Ok(Ack::Stale) => stale += 1,
                // The disk has filled up meanwhile, or fails: another may do. What a failing one
                // may have of this is overtaken by what the other gets.
                Err(error)
                    if refusals < self.volumes.all().len() && self.is_refusal(&volume, &error) =>
                {
                    refusals += 1;
                    if uses_reserve && error.kind() == ErrorKind::Full {
                        // The reserve is used up: what was deleted before has to make room.
                        self.give_back()?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a write that failed like this may succeed on another disk.
    fn is_refusal(&self, volume: &Volume, error: &Error) -> bool {
        error.kind() == ErrorKind::Full || self.volumes.are_without(volume)
    }

    /// The disk for `bytes` more: the one with the shortest queue, and among those the one with
    /// the least written for its room. Full disks are left out, and those that fail or are drained
    /// while there are others.
    pub(crate) fn place(&self, bytes: u64, uses_reserve: bool) -> Result<Arc<Volume>> {
        const SAME_QUEUE_BYTES: u64 = 256 << 10;
        let volumes = self.volumes.all();
        if let [only] = &volumes[..]
            && (uses_reserve || !only.is_full())
        {
            return Ok(only.clone());
        }
        let any_takes_puts = volumes.iter().any(|volume| volume.takes_puts());
        let usable = volumes
            .iter()
            .filter(|volume| !any_takes_puts || volume.takes_puts())
            .filter(|volume| uses_reserve || !volume.is_full() || volume.has_room_again(bytes));
        let best = usable.min_by_key(|volume| {
            let load = volume.load();
            let share =
                load.placed_bytes.saturating_mul(1 << 20) / (load.available_bytes >> 10).max(1);
            (load.queued_bytes / SAME_QUEUE_BYTES, share)
        });
        best.cloned().ok_or_else(|| {
            let paths: Vec<_> = volumes.iter().map(|v| v.disk.path.display().to_string()).collect();
            let what = format!(
                "no room for a value of {bytes} bytes: {} full; delete objects, free room or add \
                 a disk",
                if paths.len() == 1 {
                    format!("the disk {} is", paths[0])
                } else {
                    format!("all disks ({}) are", paths.join(", "))
                }
            );
            Error::new(ErrorKind::Full, what)
        })
    }
}

impl Pass {
    pub(crate) fn of(condition: Condition) -> Self {
        if condition == Condition::Always { Pass::Shared } else { Pass::Alone }
    }
}

fn propose(
    batch: &Batch,
    encoder: &Encoder<'_>,
    now_ms: u64,
    refilled: &RefilledValues<'_>,
) -> Proposal {
    let lens =
        batch.operations.iter().filter_map(|operation| Some(operation.put.as_ref()?.0.len()));
    let packed_bytes = lens.filter(|&len| (len as u64) < OWNED_MIN_BYTES).sum();
    let mut proposal = Proposal::with_capacity(batch.len(), packed_bytes);
    for (number, operation) in batch.operations.iter().enumerate() {
        let key = batch.key(operation);
        match &operation.put {
            Some((_, options)) => {
                let options = options.as_deref().unwrap_or(&DEFAULTS);
                let (value, times) = (batch.value(operation), options.times(now_ms));
                let refilled = refilled.get(number);
                propose_put(&mut proposal, encoder, key, value, options, times, refilled);
            }
            None => proposal.push(&Record::Delete { space: Space::Object, key }),
        }
    }
    proposal
}

fn propose_put(
    proposal: &mut Proposal,
    encoder: &Encoder<'_>,
    key: &[u8],
    value: &[u8],
    options: &PutOptions,
    times: Times,
    refilled: Option<(Value, u32)>,
) {
    if let Some((segments, crc)) = refilled {
        proposal.push(&put_record(key, value.len() as u64, crc, options, times, segments));
        return;
    }
    encoder.sample(value);
    if let Some((frame, compressed)) = encoder.compress(value) {
        let (len, crc) = (value.len() as u64, checksum::crc32c(value));
        let value = Value::Compressed(compressed);
        encoder.push(proposal, &put_record(key, len, crc, options, times, value), &frame);
        return;
    }
    if value.len() as u64 >= OWNED_MIN_BYTES {
        let mut body = Body::with_capacity(value.len());
        body.push(value);
        let record = put_record(key, body.len(), body.crc(), options, times, Value::Inline);
        proposal.push_owned(&record, body);
        return;
    }
    let crc = checksum::crc32c(value);
    let record = put_record(key, value.len() as u64, crc, options, times, Value::Inline);
    if value.is_empty() {
        proposal.push(&record);
    } else {
        proposal.push_packed(&record, value);
    }
}

/// The record of a put of an object.
pub(crate) fn put_record<'a>(
    key: &'a [u8],
    len: u64,
    crc: u32,
    options: &'a PutOptions,
    times: Times,
    value: Value,
) -> Record<'a> {
    let meta = Meta {
        len,
        crc,
        created_ms: times.created_ms,
        modified_ms: times.modified_ms,
        expires_ms: options.expires_ms,
        attributes: &options.attributes,
    };
    Record::Put(Put { space: Space::Object, key, meta, value })
}

/// The value that is made of segments; an empty one has none.
pub(crate) fn segmented(list: SegmentList) -> Value {
    if list.0.is_empty() { Value::Inline } else { Value::Segments(list) }
}

/// Refuses more segments than a record may have.
pub(crate) fn check_segments(count: usize) -> Result<()> {
    if count > MAX_SEGMENTS {
        let what = format!("an object of {count} segments; {MAX_SEGMENTS} are the most");
        return Err(Error::invalid(what));
    }
    Ok(())
}

pub(crate) fn check_put(key: &[u8], options: &PutOptions) -> Result<()> {
    check_key(key)?;
    if options.attributes.len() > MAX_ATTRIBUTE_BYTES {
        let len = options.attributes.len();
        let what = format!("attributes of {len} bytes; {MAX_ATTRIBUTE_BYTES} are the most");
        return Err(Error::invalid(what));
    }
    Ok(())
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(());
    }
    let what = format!("a key of {} bytes; 1 to {MAX_KEY_BYTES} are allowed", key.len());
    Err(Error::invalid(what))
}
