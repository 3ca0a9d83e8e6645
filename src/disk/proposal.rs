//! What a caller asks a disk to append, framed and summed in the caller's own thread.

use std::sync::Arc;

use super::reply::{Outcome, Reply, reply};
use crate::compression::Dictionary;
use crate::format::Seq;
use crate::format::chain::{Body, Layout, Room};
use crate::format::chunk::{self, CHUNK_BYTES};
use crate::format::record::{self, Record};
use crate::options::Durability;

/// The records of one atomic append, still without seqs and places.
#[derive(Debug, Default)]
pub(crate) struct Proposal {
    entries: Vec<u8>,
    ends: Vec<usize>,
    rooms: Vec<Room>,
    packed: Vec<u8>,
    bodies: Vec<Body>,
    /// What small values in it are compressed with: only a track that has it can take them.
    pub(super) dictionary: Option<Arc<Dictionary>>,
}

/// A proposal on its way through a disk's queue.
pub(crate) struct Request {
    pub(crate) proposal: Proposal,
    pub(crate) durability: Durability,
    /// Whether it may use the room that is kept for deletes.
    pub(crate) uses_reserve: bool,
    pub(crate) reply: Reply<Ack>,
    /// Dropped when the request is answered: the caller's claim on memory.
    pub(crate) _share: Box<dyn Send>,
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It was appended, is as durable as was asked, and is in the index.
    Done {
        /// The seq of its first record; the others follow one by one.
        first: Seq,
    },
    /// Nothing: the disk has gone on to a track with another dictionary than the proposal's. It is
    /// to be framed again.
    Stale,
}

impl Request {
    /// A request, and where its outcome comes. `share` is dropped when it is there.
    pub(crate) fn new(
        proposal: Proposal,
        durability: Durability,
        uses_reserve: bool,
        share: impl Send + 'static,
    ) -> (Self, Outcome<Ack>) {
        let (reply, outcome) = reply();
        let share = Box::new(share);
        (Request { proposal, durability, uses_reserve, reply, _share: share }, outcome)
    }

    /// Whether a track with this dictionary can take it.
    pub(super) fn fits(&self, dictionary: Option<&Arc<Dictionary>>) -> bool {
        match (&self.proposal.dictionary, dictionary) {
            (None, _) => true,
            (Some(wanted), Some(there)) => Arc::ptr_eq(wanted, there),
            (Some(_), None) => false,
        }
    }
}

impl Proposal {
    /// An empty proposal with room for so many records, and so many bytes of small values.
    pub(crate) fn with_capacity(records: usize, packed_bytes: usize) -> Self {
        const ENTRY_BYTES: usize = 96;
        Proposal {
            entries: Vec::with_capacity(records * ENTRY_BYTES),
            ends: Vec::with_capacity(records),
            rooms: Vec::with_capacity(records),
            packed: Vec::with_capacity(packed_bytes),
            bodies: Vec::new(),
            dictionary: None,
        }
    }

    /// A proposal of one record without value bytes in its chain.
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let mut proposal = Proposal::default();
        proposal.push(record);
        proposal
    }

    /// Adds a record without value bytes in this chain.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        debug_assert_eq!(Room::of(record), Room::None);
        self.push_entry(record);
    }

    /// Adds a record whose value shares chunks.
    pub(crate) fn push_packed(&mut self, record: &Record<'_>, value: &[u8]) {
        debug_assert_eq!(Room::of(record), Room::Packed(value.len() as u32));
        self.push_entry(record);
        self.packed.extend_from_slice(value);
    }

    /// Adds a record whose value owns its chunks.
    pub(crate) fn push_owned(&mut self, record: &Record<'_>, body: Body) {
        debug_assert_eq!(Room::of(record), Room::Owned(body.len() as u32));
        self.push_entry(record);
        self.bodies.push(body);
    }

    /// Adds a record whose value lies there as `stored`.
    pub(crate) fn push_stored(&mut self, record: &Record<'_>, stored: &[u8]) {
        match Room::of(record) {
            Room::None => self.push(record),
            Room::Packed(_) => self.push_packed(record, stored),
            Room::Owned(_) => {
                let mut body = Body::with_capacity(stored.len());
                body.push(stored);
                self.push_owned(record, body);
            }
        }
    }

    /// Says what small values in it are compressed with: all of them with the same.
    pub(crate) fn set_dictionary(&mut self, dictionary: &Arc<Dictionary>) {
        self.dictionary.get_or_insert_with(|| dictionary.clone());
    }

    /// Gives the record that was pushed last a seq that it has already: it is a copy.
    pub(crate) fn keep_seq(&mut self, seq: Seq) {
        let start = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before]);
        record::set_seq(&mut self.entries[start..], seq);
    }

    fn push_entry(&mut self, record: &Record<'_>) {
        record.encode_into(&mut self.entries);
        self.ends.push(self.entries.len());
        self.rooms.push(Room::of(record));
    }

    /// Records.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// About the bytes that it takes in memory and on disk.
    pub(crate) fn bytes(&self) -> usize {
        let bodies = self.bodies.iter().map(|body| chunk::chunks_for(body.len()) as usize);
        self.entries.len() + self.packed.len() + bodies.sum::<usize>() * CHUNK_BYTES
    }

    /// Gives the records their seqs, from `first` on.
    pub(super) fn set_seqs(&mut self, first: Seq) {
        let mut start = 0;
        for (seq, &end) in (first.0..).zip(&self.ends) {
            record::set_seq(&mut self.entries[start..end], Seq(seq));
            start = end;
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.entries[start..end])
    }

    /// Where everything of a chain of this proposal alone goes.
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.layout_parts().collect::<Vec<_>>())
    }

    pub(super) fn layout_parts(&self) -> impl Iterator<Item = (usize, Room)> {
        self.entries().map(<[u8]>::len).zip(self.rooms.iter().copied())
    }

    pub(super) fn packed(&self) -> &[u8] {
        &self.packed
    }

    pub(super) fn bodies_mut(&mut self) -> &mut [Body] {
        &mut self.bodies
    }
}
