//! How a value is laid down: as it is, or compressed.

use std::sync::Arc;

use super::Shared;
use crate::compression::{Compressor, Dictionary};
use crate::disk::{Proposal, Volume};
use crate::format::record::{Compressed, OWNED_MIN_BYTES, Put, Record, Value};

/// Compresses values for one track, where the store compresses.
pub(crate) struct Encoder<'a> {
    compressor: Option<&'a Compressor>,
    dictionary: Option<Arc<Dictionary>>,
}

impl<'a> Encoder<'a> {
    /// For a track with this dictionary.
    pub(crate) fn new(
        compressor: Option<&'a Compressor>,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Self {
        Encoder { compressor, dictionary }
    }

    /// Whether there is a compressor.
    pub(crate) fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    /// The value's frame, where it is worth it. Values that own chunks are compressed alone: they
    /// have enough to repeat in themselves, and need no dictionary to be read.
    pub(crate) fn compress(&self, value: &[u8]) -> Option<(Vec<u8>, Compressed)> {
        let is_small = (value.len() as u64) < OWNED_MIN_BYTES;
        let dictionary = self.dictionary.as_deref().filter(|_| is_small);
        let frame = self.compressor?.compress(value, dictionary)?;
        let bytes = frame.len() as u64;
        Some((frame, Compressed { bytes, with_dictionary: dictionary.is_some() }))
    }

    /// Lets a new value be one of those that the next track's dictionary is trained from.
    pub(crate) fn sample(&self, value: &[u8]) {
        if let Some(compressor) = self.compressor
            && (value.len() as u64) < OWNED_MIN_BYTES
        {
            compressor.offer(value);
        }
    }

    /// Adds a record whose value lies there as `stored`, for a track that has the dictionary.
    pub(crate) fn push(&self, proposal: &mut Proposal, record: &Record<'_>, stored: &[u8]) {
        if let Record::Put(Put { value: Value::Compressed(compressed), .. }) = record
            && compressed.with_dictionary
        {
            proposal.set_dictionary(self.dictionary.as_ref().expect("it was compressed with it"));
        }
        proposal.push_stored(record, stored);
    }
}

impl Shared {
    /// What compresses values for the disk's active track, or without a dictionary for any.
    pub(crate) fn encoder(&self, volume: &Volume, with_dictionary: bool) -> Encoder<'_> {
        let compressor = self.compressor.as_ref();
        let dictionary = compressor.filter(|_| with_dictionary).and_then(|_| volume.dictionary());
        Encoder::new(compressor, dictionary)
    }
}
