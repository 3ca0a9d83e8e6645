//! What a compaction has read and not yet written: records with their values.
//!
//! They are laid down only when it is known which track they go to, since its dictionary decides how
//! small values are compressed.

use crate::compression;
use crate::disk::Proposal;
use crate::error::Result;
use crate::format::chunk::{self, CHUNK_BYTES};
use crate::format::record::{self, Compressed, OWNED_MIN_BYTES, Put, Record, Value};
use crate::format::{Fault, Seq};
use crate::index::Original;
use crate::store::Encoder;

/// Copies on their way into one chain.
#[derive(Default)]
pub(super) struct Copies {
    list: Vec<Copied>,
    pub(super) originals: Vec<Original>,
    bytes: usize,
}

struct Copied {
    seq: Seq,
    /// The record as it is laid down in the original.
    entry: Vec<u8>,
    value: Option<CopiedValue>,
}

/// A value as it was read.
pub(super) enum CopiedValue {
    Plain(Vec<u8>),
    Compressed {
        value: Vec<u8>,
        /// Its frame, where that is read without a dictionary: it is good for any track.
        frame: Option<Vec<u8>>,
    },
}

impl CopiedValue {
    fn bytes(&self) -> &[u8] {
        match self {
            CopiedValue::Plain(value) | CopiedValue::Compressed { value, .. } => value,
        }
    }
}

impl Copies {
    pub(super) fn push(
        &mut self,
        seq: Seq,
        record: &Record<'_>,
        value: Option<CopiedValue>,
        original: Original,
    ) {
        let mut entry = Vec::new();
        record.encode_into(&mut entry);
        record::set_seq(&mut entry, seq);
        self.bytes +=
            entry.len() + value.as_ref().map_or(0, |copied| room(record, copied.bytes().len()));
        self.list.push(Copied { seq, entry, value });
        self.originals.push(original);
    }

    /// Bytes that the records and their values take in a track at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The small values that will be compressed, to train a dictionary from: all, or those that are.
    fn small_values(&self, all: bool) -> impl Iterator<Item = &[u8]> {
        let values = self.list.iter().filter_map(|copied| copied.value.as_ref());
        values
            .filter(move |value| all || matches!(value, CopiedValue::Compressed { .. }))
            .map(CopiedValue::bytes)
            .filter(|value| (value.len() as u64) < OWNED_MIN_BYTES)
    }

    /// The copies as they are laid down in a track.
    pub(super) fn propose(&self, encoder: &Encoder<'_>) -> Result<Proposal, Fault> {
        let mut proposal = Proposal::default();
        for copied in &self.list {
            let (_, record) = record::decode(&copied.entry)?;
            match (record, &copied.value) {
                (record, None) => proposal.push(&record),
                (Record::Put(put), Some(value)) => push_put(&mut proposal, put, value, encoder),
                (record, Some(value)) => proposal.push_stored(&record, value.bytes()),
            }
            proposal.keep_seq(copied.seq);
        }
        Ok(proposal)
    }
}

/// What a value takes that is not compressed.
fn room(record: &Record<'_>, len: usize) -> usize {
    let is_packed = matches!(record, Record::Put(_)) && (len as u64) < OWNED_MIN_BYTES;
    if is_packed { len } else { chunk::chunks_for(len as u64) as usize * CHUNK_BYTES }
}

fn push_put(proposal: &mut Proposal, put: Put<'_>, copied: &CopiedValue, encoder: &Encoder<'_>) {
    let (bytes, frame) = match copied {
        CopiedValue::Plain(value) => (value, None),
        CopiedValue::Compressed { value, frame } => (value, frame.as_ref()),
    };
    let was_compressed = matches!(copied, CopiedValue::Compressed { .. });
    // A small value's may become smaller with a dictionary.
    let is_small = (bytes.len() as u64) < OWNED_MIN_BYTES;
    let tries = frame.is_none() || is_small;
    let fresh = if tries { encoder.compress_copy(bytes, was_compressed) } else { None };
    let alone = |frame: &Vec<u8>| Compressed { bytes: frame.len() as u64, with_dictionary: false };
    let (value, stored) = match (&fresh, frame) {
        (Some((fresh, compressed)), _) => (Value::Compressed(*compressed), fresh),
        (None, Some(frame)) => (Value::Compressed(alone(frame)), frame),
        (None, None) => (Value::Inline, bytes),
    };
    encoder.push(proposal, &Record::Put(Put { value, ..put }), stored);
}

/// Of the small values of these copies as many as a dictionary is trained from.
pub(super) fn samples<'c>(copies: impl Iterator<Item = &'c Copies>, all: bool) -> Vec<&'c [u8]> {
    compression::spread(&copies.flat_map(|copies| copies.small_values(all)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::TrackId;

    #[test]
    fn copies_take_no_more_than_they_say() {
        for len in [1, 300, 4_073, OWNED_MIN_BYTES - 1, OWNED_MIN_BYTES, OWNED_MIN_BYTES + 1] {
            let record = Record::Segment { len, crc: 0 };
            let value = CopiedValue::Plain(vec![7; len as usize]);
            let original = Original { track: TrackId(1), chain: Seq(2) };
            let mut copies = Copies::default();
            copies.push(Seq(3), &record, Some(value), original);
            let compressor = compression::Compressor::new(3);
            let proposal = copies.propose(&Encoder::new(&compressor, false, None)).unwrap();
            assert!(proposal.bytes() <= copies.bytes(), "{len}");
        }
    }
}
