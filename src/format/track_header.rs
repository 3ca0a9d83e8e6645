//! A track's header: the payload of its chunk 0.
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `KOGIATRK` |
//! | 8 | 4 | version | 2; 1 had no dictionary |
//! | 12 | 16 | store | store id |
//! | 28 | 16 | disk | disk id |
//! | 44 | 4 | track | track id, as in the file's name |
//! | 48 | 1 | kind | 0 append, 1 compacted |
//! | 49 | 1 | shard | the partition function's answer; 0 in append tracks |
//! | 50 | 2 | reserved | 0 |
//! | 52 | 8 | floor | seq as of which every record here was known to be live; here: at creation |
//! | 60 | 4 | predecessor | the disk's active track before this one; 0 for none |
//! | 64 | 4 | predecessor end | chunk up to which the predecessor was synced |
//! | 68 | 8 | created | milliseconds since 1970 |
//! | 76 | 4 | chunk size | 4,096 |
//! | 80 | 0 to 3,992 | dictionary | what small values of this track were compressed with; to the end of the payload in use |
//!
//! The chunk's own CRC-32C covers all of it; its seq is the floor. Example: the first 16 payload
//! bytes of any track of version 2 are `4b 4f 47 49 41 54 52 4b 02 00 00 00` and the first four
//! bytes of the store id.
//!
//! The dictionary lies here because this chunk is written before the first record that needs it,
//! and is never punched before the track is unlinked.

use super::chunk::{
    self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES,
};
use super::{DiskId, Fault, Seq, StoreId, TrackId, bytes_at};

const MAGIC: &[u8; 8] = b"KOGIATRK";
const VERSION: u32 = 2;
const WITHOUT_DICTIONARY: u32 = 1;
const BYTES: usize = 80;
/// The largest dictionary, in bytes.
pub const MAX_DICTIONARY_BYTES: usize = PAYLOAD_BYTES - BYTES;
const WHAT: &str = "track header";

/// How a track came to be.
///
/// ```
/// use kogia::format::entry::TrackRow;
/// use kogia::format::track_header::TrackKind;
/// use kogia::format::{DiskId, Seq};
///
/// let row = TrackRow::new(DiskId([2; 16]), TrackKind::Compacted, 3, 1_700_000_000_000, Seq(9));
/// assert!(row.compacted);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackKind {
    /// Written by the ingest of new records.
    Append,
    /// Written by compaction.
    Compacted,
}

/// Chunk 0 of a track.
///
/// ```
/// use kogia::format::track_header::{TrackHeader, TrackKind};
/// use kogia::format::{DiskId, Seq, StoreId, TrackId};
///
/// let (store, track) = (StoreId([1; 16]), TrackId(3));
/// let header = TrackHeader {
///     store,
///     disk: DiskId([2; 16]),
///     track,
///     kind: TrackKind::Append,
///     shard: 0,
///     floor: Seq(4),
///     predecessor: Some((TrackId(2), 99)),
///     created_ms: 1_700_000_000_000,
/// };
/// let chunk = header.to_chunk(b"a dictionary");
/// assert_eq!(TrackHeader::from_chunk(&chunk, store, track), Ok(header));
/// assert_eq!(TrackHeader::dictionary(&chunk, store, track), Ok(&b"a dictionary"[..]));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackHeader {
    /// The store that owns the track.
    pub store: StoreId,
    /// The disk it lies on.
    pub disk: DiskId,
    /// Its number.
    pub track: TrackId,
    /// How it came to be.
    pub kind: TrackKind,
    /// The partition function's answer for the records in it.
    pub shard: u8,
    /// Seq as of which every record in it was known to be live.
    pub floor: Seq,
    /// The disk's active track before this one, and the chunk up to which that was synced: a bad
    /// chunk before it is damage, not a torn tail (invariant I10).
    pub predecessor: Option<(TrackId, u32)>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

impl TrackHeader {
    /// The header as the track's first chunk, with a dictionary of at most
    /// [`MAX_DICTIONARY_BYTES`], or an empty one.
    #[must_use]
    pub fn to_chunk(&self, dictionary: &[u8]) -> Vec<u8> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let (track, end) = self.predecessor.unwrap_or((TrackId(0), 0));
        let mut payload = Vec::with_capacity(BYTES);
        payload.extend_from_slice(MAGIC);
        payload.extend_from_slice(&VERSION.to_le_bytes());
        payload.extend_from_slice(&self.store.0);
        payload.extend_from_slice(&self.disk.0);
        payload.extend_from_slice(&self.track.0.to_le_bytes());
        payload.extend_from_slice(&[u8::from(self.kind == TrackKind::Compacted), self.shard, 0, 0]);
        payload.extend_from_slice(&self.floor.0.to_le_bytes());
        payload.extend_from_slice(&track.0.to_le_bytes());
        payload.extend_from_slice(&end.to_le_bytes());
        payload.extend_from_slice(&self.created_ms.to_le_bytes());
        payload.extend_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
        debug_assert_eq!(payload.len(), BYTES);
        payload.extend_from_slice(dictionary);
        chunk[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(&payload);
        let header = ChunkHeader {
            used: payload.len() as u16,
            first: true,
            last: true,
            kind: ChunkKind::TrackHeader,
            seq: self.floor,
            next: 0,
        };
        header.seal_whole(&mut chunk, self.place());
        chunk
    }

    /// Decodes chunk 0 of the track `track` of `store`.
    pub fn from_chunk(bytes: &[u8], store: StoreId, track: TrackId) -> Result<Self, Fault> {
        let header = Self::decode(payload(bytes, store, track)?)?;
        if (header.store, header.track) != (store, track) {
            let why = format!("it is of track {} of store {}", header.track, header.store);
            return Err(invalid(why));
        }
        Ok(header)
    }

    /// The dictionary in chunk 0 of the track `track` of `store`; empty where it has none.
    pub fn dictionary(bytes: &[u8], store: StoreId, track: TrackId) -> Result<&[u8], Fault> {
        Self::from_chunk(bytes, store, track)?;
        Ok(&payload(bytes, store, track)?[BYTES..])
    }

    fn decode(payload: &[u8]) -> Result<Self, Fault> {
        if payload.len() < 12 {
            return Err(Fault::Short { what: WHAT, needed: BYTES, found: payload.len() });
        }
        if &payload[..8] != MAGIC {
            return Err(Fault::Magic { what: WHAT });
        }
        let found = u32::from_le_bytes(bytes_at(payload, 8));
        if found != VERSION && found != WITHOUT_DICTIONARY {
            return Err(Fault::Version { what: WHAT, found, known: VERSION });
        }
        if payload.len() < BYTES {
            return Err(Fault::Short { what: WHAT, needed: BYTES, found: payload.len() });
        }
        let chunk_bytes = u32::from_le_bytes(bytes_at(payload, 76));
        if chunk_bytes as usize != CHUNK_BYTES {
            return Err(invalid(format!("chunks of {chunk_bytes} bytes")));
        }
        let predecessor = TrackId(u32::from_le_bytes(bytes_at(payload, 60)));
        let predecessor_end = u32::from_le_bytes(bytes_at(payload, 64));
        Ok(TrackHeader {
            store: StoreId(bytes_at(payload, 12)),
            disk: DiskId(bytes_at(payload, 28)),
            track: TrackId(u32::from_le_bytes(bytes_at(payload, 44))),
            kind: match payload[48] {
                0 => TrackKind::Append,
                1 => TrackKind::Compacted,
                other => return Err(invalid(format!("track kind {other}"))),
            },
            shard: payload[49],
            floor: Seq(u64::from_le_bytes(bytes_at(payload, 52))),
            predecessor: (predecessor.0 != 0).then_some((predecessor, predecessor_end)),
            created_ms: u64::from_le_bytes(bytes_at(payload, 68)),
        })
    }

    fn place(&self) -> ChunkPlace {
        ChunkPlace { store: self.store, track: self.track, chunk: 0 }
    }
}

fn payload(bytes: &[u8], store: StoreId, track: TrackId) -> Result<&[u8], Fault> {
    let (header, payload) = chunk::open(bytes, ChunkPlace { store, track, chunk: 0 })?;
    if header.kind != ChunkKind::TrackHeader {
        return Err(invalid(format!("chunk 0 is of kind {:?}", header.kind)));
    }
    Ok(payload)
}

fn invalid(why: String) -> Fault {
    Fault::Invalid { what: WHAT, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TrackHeader {
        TrackHeader {
            store: StoreId([1; 16]),
            disk: DiskId([2; 16]),
            track: TrackId(3),
            kind: TrackKind::Append,
            shard: 0,
            floor: Seq(4),
            predecessor: Some((TrackId(2), 99)),
            created_ms: 5,
        }
    }

    #[test]
    fn round_trips() {
        let header = example();
        for dictionary in [&b""[..], &[7; MAX_DICTIONARY_BYTES]] {
            let chunk = header.to_chunk(dictionary);
            let (store, track) = (header.store, header.track);
            assert_eq!(&chunk[HEADER_BYTES..HEADER_BYTES + 12], b"KOGIATRK\x02\0\0\0");
            assert_eq!(TrackHeader::from_chunk(&chunk, store, track), Ok(header.clone()));
            assert_eq!(TrackHeader::dictionary(&chunk, store, track), Ok(dictionary));
        }
    }

    #[test]
    fn the_first_version_is_read() {
        let header = example();
        let mut chunk = header.to_chunk(b"");
        chunk[HEADER_BYTES + 8] = 1;
        let (parsed, _) = chunk::open(&header.to_chunk(b""), header.place()).unwrap();
        parsed.seal_whole(&mut chunk, header.place());
        assert_eq!(TrackHeader::from_chunk(&chunk, header.store, header.track), Ok(header));
    }

    #[test]
    fn an_unknown_version_names_both() {
        let header = example();
        let mut chunk = header.to_chunk(b"");
        chunk[HEADER_BYTES + 8] = 9;
        let (parsed, _) = chunk::open(&header.to_chunk(b""), header.place()).unwrap();
        parsed.seal_whole(&mut chunk, header.place());
        let fault = TrackHeader::from_chunk(&chunk, header.store, header.track).unwrap_err();
        assert_eq!(fault, Fault::Version { what: WHAT, found: 9, known: 2 });
    }
}
