//! Assembling objects from parts, without copying a byte.

use super::gate::Pass;
use super::write::{check_put, put_record, segmented};
use super::{PartId, PartInfo, PutOptions, Shared};
use crate::disk::{Owner, Proposal};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Seq;
use crate::format::checksum;
use crate::format::entry::{self, Entry, Place};
use crate::format::record::{Record, SegmentList, Space};

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
        let names: Vec<[u8; 8]> = parts.iter().map(|part| part.0.to_be_bytes()).collect();
        // The parts alone, so that nobody else assembles or discards them meanwhile.
        let mut gates = vec![(Space::Object, key, Pass::of(options.condition))];
        gates.extend(names.iter().map(|name| (Space::Part, &name[..], Pass::Alone)));
        let _gates = self.gates.pass(gates);
        self.check_condition(key, options.condition)?;

        let (mut len, mut crc, mut list) = (0, 0, Vec::new());
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(Error::invalid(format!("part {} is given twice", parts[at].0)));
            }
            let Some(row) = self.index.view().entry(Space::Part, name)? else {
                let what =
                    format!("part {} is not there: assembled, discarded or aged out", parts[at].0);
                return Err(Error::new(ErrorKind::NotFound, what));
            };
            let entry = row.entry()?;
            let part_len = usize::try_from(entry.meta.len).unwrap_or(usize::MAX);
            crc = checksum::combine(crc, entry.meta.crc, part_len);
            len += entry.meta.len;
            if let Place::Segments(segments) = entry.place {
                list.extend(segments.0);
            }
        }
        let times = options.times(self.now_ms());
        let put = put_record(key, len, crc, options, times, segmented(SegmentList(list)));
        self.append(0, options.durability, false, |_| {
            // One chain: the object takes the segments over, then the parts go.
            let mut proposal = Proposal::of(&put);
            for name in &names {
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

fn part_info(id: PartId, entry: &Entry<'_>) -> PartInfo {
    let meta = &entry.meta;
    PartInfo { id, len: meta.len, crc32c: meta.crc, created_ms: meta.created_ms }
}
