//! How a value is laid down: as it is, or compressed.

use std::sync::Arc;

use super::Shared;
use crate::compression::{Compressor, Dictionary};
use crate::disk::{Proposal, Volume};
use crate::format::record::{Compressed, OWNED_MIN_BYTES, Put, Record, Value};

/// Compresses values for one track.
pub(crate) struct Encoder<'a> {
    compressor: &'a Compressor,
    /// Whether what is not compressed yet is to be.
    compresses: bool,
    dictionary: Option<Arc<Dictionary>>,
}

impl<'a> Encoder<'a> {
    /// For a track with this dictionary.
    pub(crate) fn new(
        compressor: &'a Compressor,
        compresses: bool,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Self {
        Encoder { compressor, compresses, dictionary }
    }

    /// The frame of a new value, where the store compresses and it is worth it.
    pub(crate) fn compress(&self, value: &[u8]) -> Option<(Vec<u8>, Compressed)> {
        if self.compresses { self.compress_copy(value, false) } else { None }
    }

    /// The same for a copy: what was compressed is so again, or it would take more room than it
    /// gives back.
    pub(crate) fn compress_copy(
        &self,
        value: &[u8],
        was_compressed: bool,
    ) -> Option<(Vec<u8>, Compressed)> {
        if !self.compresses && !was_compressed {
            return None;
        }
        // Values that own chunks have enough to repeat in themselves.
        let is_small = (value.len() as u64) < OWNED_MIN_BYTES;
        let dictionary = self.dictionary.as_deref().filter(|_| is_small);
        let frame = self.compressor.compress(value, dictionary)?;
        let bytes = frame.len() as u64;
        Some((frame, Compressed { bytes, with_dictionary: dictionary.is_some() }))
    }

    /// Lets a new value be one of those that the next track's dictionary is trained from.
    pub(crate) fn sample(&self, value: &[u8]) {
        if self.compresses && (value.len() as u64) < OWNED_MIN_BYTES {
            self.compressor.offer(value);
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
        let compresses = self.options.compression.is_some();
        let dictionary = if compresses && with_dictionary { volume.dictionary() } else { None };
        Encoder::new(&self.compressor, compresses, dictionary)
    }
}
