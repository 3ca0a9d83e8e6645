//! A queue's track header, its file `QUEUE`, and its consumers' positions.
//!
//! The header is the payload of a track's chunk 0, of kind track header and seq 0:
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `KOGIAQTR` |
//! | 8 | 4 | version | 1 |
//! | 12 | 16 | queue | queue id |
//! | 28 | 4 | track | track id, as in the file's name |
//! | 32 | 4 | predecessor | the track before this one; 0 for none |
//! | 36 | 4 | predecessor end | position at which that ends; all before was durable |
//! | 40 | 1 | cut | 1 if the predecessor was cut off there by a crash, 0 if it was full |
//! | 41 | 3 | reserved | 0 |
//! | 44 | 8 | created | milliseconds since 1970 |
//!
//! Example: the payload of a first track begins `4b 4f 47 49 41 51 54 52 01 00 00 00`.
//!
//! The files are in the envelope of [`meta`], with the magic `KOGIAQUE` for `QUEUE` and `KOGIACSM`
//! for a consumer's; both are of version 1.

use serde::{Deserialize, Serialize};

use super::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES};
use super::{Fault, Seq, StoreId, TrackId, bytes_at, meta};

const MAGIC: &[u8; 8] = b"KOGIAQTR";
const VERSION: u32 = 1;
const BYTES: usize = 52;
const WHAT: &str = "queue's track header";

/// Where a track of a queue ended.
///
/// ```
/// use kogia::format::{TrackId, queue::{QueueTrack, TrackEnd}};
/// # use kogia::format::StoreId;
///
/// let end = TrackEnd { track: TrackId(2), end: 70_000, cut: true };
/// # let (queue, created_ms) = (StoreId([1; 16]), 5);
/// let after_a_crash = QueueTrack { queue, track: TrackId(3), predecessor: Some(end), created_ms };
/// assert!(after_a_crash.predecessor.is_some_and(|before| before.cut));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackEnd {
    /// The track.
    pub track: TrackId,
    /// Position behind its last item.
    pub end: u32,
    /// Whether writing was cut off there.
    pub cut: bool,
}

/// Chunk 0 of a queue's track.
///
/// ```
/// use kogia::format::{StoreId, TrackId, queue::QueueTrack};
///
/// let (queue, track) = (StoreId([1; 16]), TrackId(1));
/// let header = QueueTrack { queue, track, predecessor: None, created_ms: 1_700_000_000_000 };
/// assert_eq!(QueueTrack::from_chunk(&header.to_chunk(), queue, track), Ok(header));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueTrack {
    /// The queue that owns the track.
    pub queue: StoreId,
    /// Its number.
    pub track: TrackId,
    /// The track before it.
    pub predecessor: Option<TrackEnd>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

impl QueueTrack {
    /// The header as the track's first chunk.
    #[must_use]
    pub fn to_chunk(&self) -> Vec<u8> {
        let none = TrackEnd { track: TrackId(0), end: 0, cut: false };
        let before = self.predecessor.unwrap_or(none);
        let mut chunk = vec![0; CHUNK_BYTES];
        let payload = &mut chunk[HEADER_BYTES..HEADER_BYTES + BYTES];
        payload[..8].copy_from_slice(MAGIC);
        payload[8..12].copy_from_slice(&VERSION.to_le_bytes());
        payload[12..28].copy_from_slice(&self.queue.0);
        payload[28..32].copy_from_slice(&self.track.0.to_le_bytes());
        payload[32..36].copy_from_slice(&before.track.0.to_le_bytes());
        payload[36..40].copy_from_slice(&before.end.to_le_bytes());
        payload[40] = before.cut.into();
        payload[44..52].copy_from_slice(&self.created_ms.to_le_bytes());
        let header = ChunkHeader {
            used: BYTES as u16,
            first: true,
            last: true,
            kind: ChunkKind::TrackHeader,
            seq: Seq(0),
            next: 0,
        };
        header.seal_whole(&mut chunk, place(self.queue, self.track));
        chunk
    }

    /// Decodes chunk 0 of the track `track` of `queue`.
    pub fn from_chunk(bytes: &[u8], queue: StoreId, track: TrackId) -> Result<Self, Fault> {
        let (header, payload) = chunk::open(bytes, place(queue, track))?;
        if header.kind != ChunkKind::TrackHeader {
            return Err(invalid(format!("chunk 0 is of kind {:?}", header.kind)));
        }
        if payload.len() < BYTES {
            return Err(Fault::Short { what: WHAT, needed: BYTES, found: payload.len() });
        }
        if &payload[..8] != MAGIC {
            return Err(Fault::Magic { what: WHAT });
        }
        let found = u32::from_le_bytes(bytes_at(payload, 8));
        if found != VERSION {
            return Err(Fault::Version { what: WHAT, found, known: VERSION });
        }
        let known = (StoreId(bytes_at(payload, 12)), number(payload, 28));
        if known != (queue, track) {
            return Err(invalid(format!("it is of track {} of queue {}", known.1, known.0)));
        }
        let cut = match payload[40] {
            0 => false,
            1 => true,
            other => return Err(invalid(format!("cut is {other}"))),
        };
        let end = u32::from_le_bytes(bytes_at(payload, 36));
        let before = TrackEnd { track: number(payload, 32), end, cut };
        let predecessor = (before.track.0 != 0).then_some(before);
        let created_ms = u64::from_le_bytes(bytes_at(payload, 44));
        Ok(QueueTrack { queue, track, predecessor, created_ms })
    }
}

fn number(payload: &[u8], at: usize) -> TrackId {
    TrackId(u32::from_le_bytes(bytes_at(payload, at)))
}

fn place(queue: StoreId, track: TrackId) -> ChunkPlace {
    ChunkPlace { store: queue, track, chunk: 0 }
}

fn invalid(why: String) -> Fault {
    Fault::Invalid { what: WHAT, why }
}

/// What is known of a queue beside its tracks: the file `QUEUE`.
///
/// ```
/// use kogia::format::{StoreId, queue::QueueMeta};
///
/// let meta = QueueMeta::new(StoreId([1; 16]));
/// assert_eq!(QueueMeta::decode(&meta.encode()), Ok(meta));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueMeta {
    /// The queue.
    pub queue: StoreId,
    /// What was truncated lies before this id.
    pub first_kept: u64,
    /// Where the last track ends, if that is known: a track behind it, or none where this is
    /// `None`, was being written to.
    pub end: Option<TrackEnd>,
    /// Items are dropped that are older than so many milliseconds.
    pub max_age_ms: Option<u64>,
    /// The oldest items are dropped when the tracks have more bytes than these.
    pub max_bytes: Option<u64>,
    /// Ranges of ids whose loss was accepted.
    pub lost: Vec<(u64, u64)>,
}

impl QueueMeta {
    /// A queue in which there is nothing yet.
    #[must_use]
    pub fn new(queue: StoreId) -> Self {
        let (max_age_ms, max_bytes) = (None, None);
        QueueMeta { queue, first_kept: 0, end: None, max_age_ms, max_bytes, lost: Vec::new() }
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        meta::seal(b"KOGIAQUE", VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        meta::open_first("QUEUE", b"KOGIAQUE", bytes)
    }
}

/// The position of a consumer.
///
/// ```
/// use kogia::format::{StoreId, queue::ConsumerMeta};
///
/// let position = ConsumerMeta { queue: StoreId([1; 16]), committed: 4122 };
/// assert_eq!(ConsumerMeta::decode(&position.encode()), Ok(position));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsumerMeta {
    /// The queue.
    pub queue: StoreId,
    /// The id of the last item that was dealt with.
    pub committed: u64,
}

impl ConsumerMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        meta::seal(b"KOGIACSM", VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        meta::open_first("consumer", b"KOGIACSM", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_begin_as_documented() {
        let (queue, track) = (StoreId([1; 16]), TrackId(3));
        let end = TrackEnd { track: TrackId(2), end: 99, cut: true };
        for predecessor in [None, Some(end)] {
            let header = QueueTrack { queue, track, predecessor, created_ms: 5 };
            let chunk = header.to_chunk();
            assert_eq!(&chunk[HEADER_BYTES..][..12], b"KOGIAQTR\x01\0\0\0");
            assert_eq!(QueueTrack::from_chunk(&chunk, queue, track), Ok(header));
            assert!(QueueTrack::from_chunk(&chunk, queue, TrackId(4)).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_of_the_small_files_is_found() {
        let end = Some(TrackEnd { track: TrackId(2), end: 99, cut: true });
        let lost = vec![(1, 2)];
        let meta = QueueMeta { end, lost, max_bytes: Some(7), ..QueueMeta::new(StoreId([1; 16])) };
        let good = meta.encode();
        assert_eq!(QueueMeta::decode(&good), Ok(meta));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(QueueMeta::decode(&bad).is_err(), "bit {bit}");
        }
    }
}
