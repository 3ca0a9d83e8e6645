//! Assembling objects from parts, without copying a byte.

use super::gate::{Pass, Passed};
use super::write::{check_put, check_segments, put_record, segmented};
use super::{PartId, PartInfo, PutOptions, Shared};
use crate::disk::{Owner, Proposal};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Seq;
use crate::format::checksum;
use crate::format::entry::{self, Entry, Place};
use crate::format::record::{Record, SegmentList, SegmentRef, Space};
use crate::options::Condition;

impl Shared {
    /// A part number that was never given out.
    pub(crate) fn new_part(&self) -> PartId {
        PartId(self.take_seqs(1).0)
    }

    pub(crate) fn assemble(
        &self,
        key: &[u8],
        parts: &[PartId],
        options: &PutOptions,
    ) -> Result<Seq> {
        check_put(key, options)?;
        self.admit(0)?;
        let names = names(parts);
        let _gates = self.pass_alone_with(key, &names, Pass::of(options.condition));
        self.check_condition(key, options.condition)?;
        self.append_assembled(key, Joined::default(), parts, &names, options)
    }

    /// Assembles parts behind the object that is there with this seq; `None` if its bytes don't lie in
    /// segments, which alone can go over to another put.
    pub(crate) fn extend(
        &self,
        key: &[u8],
        seq: Seq,
        parts: &[PartId],
        options: &PutOptions,
    ) -> Result<Option<Seq>> {
        check_put(key, options)?;
        self.admit(0)?;
        let names = names(parts);
        let _gates = self.pass_alone_with(key, &names, Pass::Alone);
        self.check_condition(key, Condition::IfSeq(seq))?;
        let row = self.index.view().entry(Space::Object, key)?;
        let row = row.ok_or_else(|| Error::new(ErrorKind::Condition, "the key is absent"))?;
        let mut joined = Joined::default();
        if !joined.push(row.entry()?) {
            return Ok(None);
        }
        self.append_assembled(key, joined, parts, &names, options).map(Some)
    }

    /// The gates of a key and of parts, these alone, so that nobody else assembles or discards them
    /// meanwhile.
    fn pass_alone_with(&self, key: &[u8], names: &[[u8; 8]], pass: Pass) -> Passed<'_> {
        let mut gates = vec![(Space::Object, key, pass)];
        gates.extend(names.iter().map(|name| (Space::Part, &name[..], Pass::Alone)));
        self.gates.pass(gates)
    }

    fn append_assembled(
        &self,
        key: &[u8],
        mut joined: Joined,
        parts: &[PartId],
        names: &[[u8; 8]],
        options: &PutOptions,
    ) -> Result<Seq> {
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(Error::invalid(format!("part {} is given twice", parts[at].0)));
            }
            let Some(row) = self.index.view().entry(Space::Part, name)? else {
                let what =
                    format!("part {} is not there: assembled, discarded or aged out", parts[at].0);
                return Err(Error::new(ErrorKind::NotFound, what));
            };
            joined.push(row.entry()?);
        }
        check_segments(joined.segments.len())?;
        let times = options.times(self.now_ms());
        let value = segmented(SegmentList(joined.segments));
        let put = put_record(key, joined.len, joined.crc, options, times, value);
        self.append(0, options.durability, false, |_| {
            // One chain: the object takes the segments over, then the parts go.
            let mut proposal = Proposal::of(&put);
            for name in names {
                proposal.push(&Record::Delete { space: Space::Part, key: name });
            }
            proposal
        })
    }

    pub(crate) fn discard_part(&self, part: PartId) -> Result<bool> {
        let name = part.0.to_be_bytes();
        let _gate = self.gates.pass([(Space::Part, &name[..], Pass::Alone)]);
        if self.index.view().entry(Space::Part, &name)?.is_none() {
            return Ok(false);
        }
        self.append_delete(Space::Part, &name, None)?;
        Ok(true)
    }

    pub(crate) fn parts(&self) -> Result<Vec<PartInfo>> {
        let view = self.index.snapshot();
        let mut cursor = view.entries(Space::Part);
        let mut parts = Vec::new();
        cursor.seek(&[]);
        while let Some((key, entry)) = cursor.entry()? {
            let id = entry::parse_seq_key(key).map_err(|fault| self.index.fault(fault))?;
            parts.push(part_info(PartId(id.0), &entry));
            cursor.next();
        }
        Ok(parts)
    }

    /// Frees segments that no put has taken over.
    pub(crate) fn free_unowned(&self, seqs: Vec<Seq>) -> Result<()> {
        self.change(&mut self.books(), |join| join.free_unowned(seqs)).map(|_| ())
    }
}

/// What lies one behind the other.
#[derive(Default)]
struct Joined {
    len: u64,
    crc: u32,
    segments: Vec<SegmentRef>,
}

impl Joined {
    /// Adds what an entry has, unless that is bytes outside segments; whether it did.
    fn push(&mut self, entry: Entry<'_>) -> bool {
        match entry.place {
            Place::Segments(segments) => self.segments.extend(segments.0),
            _ if entry.meta.len == 0 => {}
            _ => return false,
        }
        let len = usize::try_from(entry.meta.len).unwrap_or(usize::MAX);
        self.crc = checksum::combine(self.crc, entry.meta.crc, len);
        self.len += entry.meta.len;
        true
    }
}

fn names(parts: &[PartId]) -> Vec<[u8; 8]> {
    parts.iter().map(|part| part.0.to_be_bytes()).collect()
}

fn part_info(id: PartId, entry: &Entry<'_>) -> PartInfo {
    let meta = &entry.meta;
    PartInfo { id, len: meta.len, crc32c: meta.crc, created_ms: meta.created_ms }
}
