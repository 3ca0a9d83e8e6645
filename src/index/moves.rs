//! Swaps: bringing in what compaction copied, and passing over what it left behind.
//!
//! A copy keeps its record's seq; only its chain is new. While the store runs, a copy counts only
//! if the index still points at what was read (invariant I6). In recovery the same chain is joined
//! like any other, and comes to the same: a key that was overwritten or deleted meanwhile has a
//! greater seq, in the index or as a tombstone.

use super::join::{entry_of, segment_of};
use super::{ChainFacts, Join};
use crate::error::Result;
use crate::format::chain::DirectoryEntry;
use crate::format::entry::{self, Entry, Extent, Grave, SegmentRow};
use crate::format::record::{Put, Record, Space};
use crate::format::{Seq, TrackId};

/// The record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) track: TrackId,
    pub(crate) chain: Seq,
}

/// The chains of a track that compaction has passed over: nothing in them lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passed {
    /// The chunk behind the last of them.
    pub(crate) end: u32,
    /// First chunk and length of each one's directory and packed values.
    pub(crate) heads: Vec<(u32, u32)>,
    /// Puts and segments in them.
    pub(crate) records: u64,
    /// Bytes of their packed values.
    pub(crate) packed_bytes: u64,
}

impl Join<'_> {
    /// Brings a copy in, if the index still points at the original; gives whether it does.
    pub(crate) fn swap(
        &mut self,
        chain: &ChainFacts,
        copy: &DirectoryEntry<'_>,
        original: Original,
    ) -> Result<bool> {
        match &copy.record {
            Record::Put(put) => self.swap_put(chain, copy, put, original),
            Record::Delete { space, key } => {
                let row_key = entry::grave_key(*space, key);
                self.swap_grave(chain, copy.seq, &row_key, *space, key, original)
            }
            Record::Segment { len, crc } => {
                let row = segment_of(chain, copy.spot, *len, *crc);
                self.swap_segment(copy.seq, row, original)
            }
        }
    }

    fn swap_put(
        &mut self,
        chain: &ChainFacts,
        copy: &DirectoryEntry<'_>,
        put: &Put<'_>,
        original: Original,
    ) -> Result<bool> {
        let found = match self.entry_row(put.space, put.key)? {
            Some(row) => {
                let entry = Entry::decode(&row).map_err(|fault| self.index.fault(fault))?;
                Some((entry.seq, Original { track: entry.track, chain: entry.chain }))
            }
            None => None,
        };
        if found == Some((copy.seq, original)) {
            self.put(chain, copy.seq, put, copy.spot)?;
            return Ok(true);
        }
        self.bury_alone(&entry_of(chain, copy.seq, put, copy.spot))?;
        Ok(false)
    }

    fn swap_grave(
        &mut self,
        chain: &ChainFacts,
        seq: Seq,
        row_key: &[u8],
        space: Space,
        key: &[u8],
        original: Original,
    ) -> Result<bool> {
        let old = Grave { seq, track: original.track, chain: original.chain };
        if self.grave(space, key)? != Some(old) {
            return Ok(false);
        }
        self.drop_grave(row_key, old);
        self.set_grave(row_key, Grave { seq, track: chain.track, chain: chain.seq });
        Ok(true)
    }

    fn swap_segment(&mut self, seq: Seq, copy: SegmentRow, original: Original) -> Result<bool> {
        let old = self.segment_row(seq)?;
        let read = |old: SegmentRow| Original { track: old.track, chain: old.chain };
        if old.map(read) == Some(original) {
            self.segment(seq, copy)?;
            return Ok(true);
        }
        self.bury_segment(&copy)?;
        Ok(false)
    }

    /// Says that nothing lives in a track's chains up to `passed.end`: their heads are free, and
    /// are not scanned any more.
    pub(crate) fn pass(&mut self, track: TrackId, passed: &Passed) -> Result<()> {
        let number = self.number;
        if let Some(row) = self.track(track) {
            row.start = row.start.max(passed.end);
            row.last_kill = number;
            row.dead_records = row.dead_records.saturating_sub(passed.records);
            row.dead_bytes = row.dead_bytes.saturating_sub(passed.packed_bytes);
            row.head_chunks -= passed.heads.iter().map(|(_, chunks)| chunks).sum::<u32>();
        }
        for &(chunk, chunks) in &passed.heads {
            self.release_merging(Extent { track, chunk, chunks })?;
        }
        Ok(())
    }
}
