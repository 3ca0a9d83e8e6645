//! Writing objects piece by piece, in bounded memory: streams and parts.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::gate::Pass;
use super::object::Times;
use super::refill::{self, Taken};
use super::write::{check_put, check_segments, put_record, segmented};
use super::{Info, PutOptions, Shared};
use crate::disk::{Ack, Outcome, Owner, Proposal, Request, Volume, wait_for_all};
use crate::error::Result;
use crate::format::Seq;
use crate::format::chain::Body;
use crate::format::checksum;
use crate::format::record::{Meta, Put, Record, SegmentList, SegmentRef, Space};
use crate::options::Durability;

/// However many streams share the memory, their segments are not smaller than this.
const SEGMENT_MIN_BYTES: usize = 32 << 10;
const SEGMENT_MAX_BYTES: usize = 64 << 20;
/// Segments after which their size doubles, so that huge objects have short lists of them.
const SEGMENTS_A_SIZE: usize = 256;

/// Writes an object as a stream. It appears whole with [`commit`](Self::commit); a writer that is
/// dropped leaves nothing.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let mut writer = store.writer("camera-1/live.ts")?;
/// std::io::copy(&mut &b"media"[..], &mut writer)?;
/// assert!(!store.exists("camera-1/live.ts")?);
/// writer.commit()?;
/// assert!(store.exists("camera-1/live.ts")?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    segments: Segments<'a>,
    key: Vec<u8>,
    options: PutOptions,
}

/// Writes a part: bytes that [`Store::assemble`](crate::Store::assemble) makes an object of later.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use std::io::Write;
///
/// let mut first = store.part()?;
/// first.write_all(b"one ")?;
/// let mut second = store.part()?;
/// second.write_all(b"two")?;
/// let parts = [first.finish()?.id, second.finish()?.id];
/// store.assemble("both", &parts, &kogia::PutOptions::default())?;
/// assert_eq!(store.get("both")?.as_deref(), Some(&b"one two"[..]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PartWriter<'a> {
    segments: Segments<'a>,
}

/// A part's name in its store.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let part: kogia::PartId = store.part()?.finish()?.id;
/// assert!(store.discard_part(part)?);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartId(pub u64);

/// A part that waits to be assembled.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let info: kogia::PartInfo = store.part()?.finish()?;
/// assert_eq!(store.parts()?, [info]);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartInfo {
    /// Its name.
    pub id: PartId,
    /// Its bytes.
    pub len: u64,
    /// CRC-32C of them.
    pub crc32c: u32,
    /// When it was finished, in milliseconds since 1970.
    pub created_ms: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(shared: &'a Shared, key: &[u8], options: PutOptions) -> Result<Self> {
        check_put(key, &options)?;
        shared.check_poison()?;
        Ok(Writer { segments: Segments::new(shared), key: key.to_vec(), options })
    }

    /// Makes what was written the object, under the conditions that were given.
    pub fn commit(self) -> Result<Info> {
        self.finish()
    }

    /// The same with options in place of those that the stream was begun with, for what is known only
    /// when all has been written, as a digest among the attributes.
    pub fn commit_with(mut self, options: PutOptions) -> Result<Info> {
        check_put(&self.key, &options)?;
        self.options = options;
        self.finish()
    }

    /// Bytes that were written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.segments.len + self.segments.body.len()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.segments.push(bytes)
    }

    pub(crate) fn finish(mut self) -> Result<Info> {
        let shared = self.segments.shared;
        let times = self.options.times(shared.now_ms());
        if self.segments.is_untouched() {
            let body = std::mem::take(&mut self.segments.body);
            let seq = shared.put_at(&self.key, &body.to_value(), &self.options, times)?;
            return Ok(self.info(seq, body.len(), body.crc(), times));
        }
        let (len, crc, list) = self.segments.seal()?;
        let record = put_record(&self.key, len, crc, &self.options, times, segmented(list));
        shared.admit(0)?;
        let pass = Pass::of(self.options.condition);
        let _gate = shared.gates.pass([(Space::Object, &self.key[..], pass)]);
        shared.check_condition(&self.key, self.options.condition)?;
        let seq = shared.append(0, self.options.durability, false, |_| Proposal::of(&record))?;
        self.segments.keep();
        Ok(self.info(seq, len, crc, times))
    }

    fn info(&self, seq: Seq, len: u64, crc32c: u32, times: Times) -> Info {
        Info {
            seq,
            len,
            crc32c,
            created_ms: times.created_ms,
            modified_ms: times.modified_ms,
            expires_ms: self.options.expires_ms,
            attributes: self.options.attributes.clone(),
        }
    }
}

impl<'a> PartWriter<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Result<Self> {
        shared.check_poison()?;
        Ok(PartWriter { segments: Segments::new(shared) })
    }

    /// Makes what was written a part; durable when this returns.
    pub fn finish(mut self) -> Result<PartInfo> {
        let shared = self.segments.shared;
        let (len, crc, list) = self.segments.seal()?;
        let id = shared.new_part();
        let created_ms = shared.now_ms();
        let meta = Meta {
            len,
            crc,
            created_ms,
            modified_ms: created_ms,
            expires_ms: None,
            attributes: &[],
        };
        shared.admit(0)?;
        let key = id.0.to_be_bytes();
        let value = segmented(list);
        let record = Record::Put(Put { space: Space::Part, key: &key, meta, value });
        shared.append(0, Some(Durability::Sync), false, |_| Proposal::of(&record))?;
        self.segments.keep();
        Ok(PartInfo { id, len, crc32c: crc, created_ms })
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.segments.push(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: nothing is there before the commit.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Write for PartWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.segments.push(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: nothing is there before the part is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes on their way into segments over all disks.
#[derive(Debug)]
struct Segments<'a> {
    shared: &'a Shared,
    body: Body,
    len: u64,
    crc: u32,
    done: Vec<SegmentRef>,
    in_flight: VecDeque<InFlight>,
    /// Extents of refilled segments, until a put owns them.
    taken: Vec<Taken<'a>>,
    /// The disks that were written to.
    used: Vec<Arc<Volume>>,
}

/// A segment that was sent, in the order of the stream.
#[derive(Debug)]
enum InFlight {
    Queued { outcome: Outcome<Ack>, len: u64 },
    Refilled(SegmentRef),
}

impl InFlight {
    fn receive(self) -> Result<SegmentRef> {
        match self {
            InFlight::Queued { outcome, len } => {
                let Ack::Done { first } = outcome.wait()? else {
                    unreachable!("segments are not compressed")
                };
                Ok(SegmentRef { seq: first, len, refilled: None })
            }
            InFlight::Refilled(segment) => Ok(segment),
        }
    }
}

impl<'a> Segments<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Segments {
            shared,
            body: Body::default(),
            len: 0,
            crc: 0,
            done: Vec::new(),
            in_flight: VecDeque::new(),
            taken: Vec::new(),
            used: Vec::new(),
        }
    }

    /// Whether no segment was sent yet.
    fn is_untouched(&self) -> bool {
        self.done.is_empty() && self.in_flight.is_empty()
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.segment_bytes() - self.body.len() as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.body.is_empty() && now.len() == room {
                self.body = Body::with_capacity(room);
            }
            self.body.push(now);
            if now.len() == room {
                self.send()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// The size of the next segment: it doubles as the object grows, up to this stream's share of
    /// the memory, since each stream holds one.
    fn segment_bytes(&self) -> usize {
        let sent = self.done.len() + self.in_flight.len();
        let doublings = (sent / SEGMENTS_A_SIZE).min(6);
        let options = &self.shared.options;
        let streams = self.shared.streams.load(Ordering::Relaxed).max(4);
        let most = (options.queue_bytes() / streams).clamp(SEGMENT_MIN_BYTES, SEGMENT_MAX_BYTES);
        // What is in the body already stays in one segment.
        (options.segment_bytes << doublings).min(most).max(self.body.len() as usize + 1)
    }

    /// Queues the body as a segment on the disk that is best for it.
    fn send(&mut self) -> Result<()> {
        check_segments(self.done.len() + self.in_flight.len() + 1)?;
        let mut body = std::mem::take(&mut self.body);
        let (len, crc) = (body.len(), body.crc());
        while self.in_flight.len() >= 2 * self.shared.volumes.all().len() {
            self.receive()?;
        }
        self.shared.check_poison()?;
        self.shared.admit(len as usize)?;
        self.crc = checksum::combine(self.crc, crc, len as usize);
        self.len += len;
        let share = self.shared.budget.take(len as usize);
        if self.shared.options.refill
            && let Some((segment, taken)) = self.shared.refill(&mut body)?
        {
            self.in_flight.push_back(InFlight::Refilled(segment));
            self.taken.push(taken);
            return Ok(());
        }
        let mut proposal = Proposal::default();
        proposal.push_owned(&Record::Segment { len, crc }, body);
        let volume = self.shared.place(len, false)?;
        if !self.used.iter().any(|used| Arc::ptr_eq(used, &volume)) {
            self.used.push(volume.clone());
        }
        // Synced all at once, before the record that names them is appended.
        let (request, outcome) = Request::new(proposal, Durability::Os, false, share);
        if self.used.len() == 1 {
            volume.write(request, &outcome);
        } else {
            // Who waits for one disk would leave the others without work.
            volume.submit(request);
        }
        self.in_flight.push_back(InFlight::Queued { outcome, len });
        step!("stream.segment-queued");
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        if let Some(sent) = self.in_flight.pop_front() {
            self.done.push(sent.receive()?);
        }
        Ok(())
    }

    /// Makes all segments durable; gives length, checksum and list of the whole.
    ///
    /// Invariant I3: before the record that names them is appended, whatever its durability.
    fn seal(&mut self) -> Result<(u64, u32, SegmentList)> {
        if !self.body.is_empty() {
            self.send()?;
        }
        while !self.in_flight.is_empty() {
            self.receive()?;
        }
        let syncs: Vec<_> = self.used.iter().map(|volume| volume.submit_sync()).collect();
        wait_for_all(syncs)?;
        refill::sync_all(&self.taken)?;
        step!("stream.segments-synced");
        Ok((self.len, self.crc, SegmentList(self.done.clone())))
    }

    /// Says that a put owns the segments now.
    fn keep(&mut self) {
        self.done.clear();
    }
}

impl Drop for Segments<'_> {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
        let sent = std::mem::take(&mut self.in_flight);
        self.done.extend(sent.into_iter().filter_map(|sent| sent.receive().ok()));
        self.done.retain(|segment| segment.refilled.is_none());
        if self.done.is_empty() {
            return;
        }
        let seqs: Vec<_> = self.done.iter().map(|segment| segment.seq).collect();
        // Where this fails, recovery frees them: nobody owns them.
        if let Err(error) = self.shared.free_unowned(seqs) {
            tracing::warn!(%error, "the segments of a dropped stream stay until the next open");
        }
    }
}
