//! Valid checksums over arbitrary bytes, by the letter of the documented layouts and without the
//! encoders, and by another implementation of the checksum where the format has a faster one, so
//! that what both encoder and decoder get wrong is found too.

use crate::format::chunk::{CHUNK_BYTES, ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES};
use crate::format::{StoreId, TrackId};

/// Where the targets' chunks lie.
pub const PLACE: ChunkPlace =
    ChunkPlace { store: StoreId(*b"a store's 16 B.."), track: TrackId(7), chunk: 3 };

/// Makes `bytes` a chunk's length and puts its checksum right, whatever else the header says.
#[must_use]
pub fn chunk(bytes: &[u8], place: ChunkPlace) -> Vec<u8> {
    let mut chunk = bytes.to_vec();
    chunk.resize(CHUNK_BYTES, 0);
    let used = match u16::from_le_bytes([chunk[4], chunk[5]]) {
        0 => PAYLOAD_BYTES,
        used => usize::from(used).min(PAYLOAD_BYTES),
    };
    let mut covered = chunk[HEADER_BYTES..HEADER_BYTES + used].to_vec();
    covered.extend_from_slice(&chunk[4..HEADER_BYTES]);
    covered.extend_from_slice(&place.store.0);
    covered.extend_from_slice(&place.track.0.to_le_bytes());
    covered.extend_from_slice(&place.chunk.to_le_bytes());
    chunk[..4].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    chunk
}

/// Places that differ from `place` in one 32-bit word, which a CRC-32 always tells apart.
#[must_use]
pub fn elsewhere(place: ChunkPlace, difference: u32) -> Vec<ChunkPlace> {
    let difference = difference.max(1);
    let mut places = vec![
        ChunkPlace { track: TrackId(place.track.0 ^ difference), ..place },
        ChunkPlace { chunk: place.chunk ^ difference, ..place },
    ];
    for word in place.store.0.chunks_exact(4).enumerate().map(|(index, _)| index * 4) {
        let mut store = place.store;
        for (byte, other) in store.0[word..word + 4].iter_mut().zip(difference.to_le_bytes()) {
            *byte ^= other;
        }
        places.push(ChunkPlace { store, ..place });
    }
    places
}

/// The envelope of `META` and its like around `value`.
#[must_use]
pub fn envelope(magic: &[u8; 8], version: u32, value: &[u8]) -> Vec<u8> {
    let mut file = magic.to_vec();
    file.extend_from_slice(&version.to_le_bytes());
    file.extend_from_slice(&(value.len() as u32).to_le_bytes());
    file.extend_from_slice(value);
    file.extend_from_slice(&crc32c::crc32c(&file).to_le_bytes());
    file
}

/// An entry of a directory around `operation`.
#[must_use]
pub fn entry(seq: u64, operation: &[u8]) -> Vec<u8> {
    let mut entry = ((operation.len() + 12) as u32).to_le_bytes().to_vec();
    entry.extend_from_slice(&seq.to_le_bytes());
    entry.extend_from_slice(operation);
    entry
}
