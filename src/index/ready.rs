//! Records with the rows that they become, made without the apply lock and beside the look-up of
//! what they replace.

use super::ChainFacts;
use super::join::entry_of;
use super::rows::ENTRY_BYTES;
use crate::format::chain::DirectoryEntry;
use crate::format::record::Record;

/// A chain that is ready to be brought in.
pub(crate) struct Ready<'c> {
    pub(crate) records: Vec<DirectoryEntry<'c>>,
    pub(super) facts: ChainFacts,
    /// The puts' rows, one behind the other.
    rows: Vec<u8>,
    /// Where each record's row ends.
    ends: Vec<usize>,
}

impl<'c> Ready<'c> {
    pub(crate) fn new(facts: ChainFacts, records: Vec<DirectoryEntry<'c>>) -> Self {
        let mut rows = Vec::with_capacity(records.len() * ENTRY_BYTES);
        let mut ends = Vec::with_capacity(records.len());
        for entry in &records {
            if let Record::Put(put) = &entry.record {
                entry_of(&facts, entry.seq, put, entry.spot).encode_into(&mut rows);
            }
            ends.push(rows.len());
        }
        Ready { records, facts, rows, ends }
    }

    /// Each record with its row; that of what is no put is empty.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&DirectoryEntry<'c>, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let rows = starts.zip(&self.ends).map(|(start, &end)| &self.rows[start..end]);
        self.records.iter().zip(rows)
    }
}
