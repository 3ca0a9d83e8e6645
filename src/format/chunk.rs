//! A chunk: 4,096 bytes that verify by themselves, at their own place only.
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 4 | crc | CRC-32C over the payload in use, then bytes 4 to 23 of this header, then the place |
//! | 4 | 2 | used | payload bytes in use; 0 means all 4,072 |
//! | 6 | 1 | flags | bit 0: first of its chain; bit 1: last; bits 4 to 7: kind (never 0) |
//! | 7 | 1 | reserved | 0 |
//! | 8 | 8 | seq | the chain's seq: a stale chunk of an earlier chain never passes for one of this |
//! | 16 | 8 | next | byte offset in this track of the chain's next chunk; 0 ends the chain |
//! | 24 | 4,072 | payload | bytes past `used` are zero and not checksummed |
//!
//! The *place* is 24 bytes that are not stored: store id (16), track id (4), chunk number (4). A
//! chunk that was misdirected, or belongs to another store, does not verify. The payload comes
//! first, so that callers can sum their bytes before the writer knows the place.
//!
//! Kinds: 1 track header, 2 directory, 3 rest of a directory entry, 4 body, 5 items of a queue.
//!
//! The first 28 bytes of a one-chunk chain whose payload is `kogia`, with seq 2.1, in store 0,
//! track 7, chunk 1:
//!
//! ```text
//! CRC         used  fl r   seq                      next                     payload
//! 8e fe 92 d2 05 00 23 00  01 00 00 00 00 02 00 00  00 00 00 00 00 00 00 00  6b 6f 67 69 61
//! ```

use super::{Fault, Seq, StoreId, TrackId, bytes_at, checksum};

/// Bytes of a chunk.
pub const CHUNK_BYTES: usize = 4096;
/// Bytes of a chunk's header.
pub const HEADER_BYTES: usize = 24;
/// Payload bytes that a chunk can carry.
pub const PAYLOAD_BYTES: usize = CHUNK_BYTES - HEADER_BYTES;

const CRC_END: usize = 4;
const USED_AT: usize = CRC_END;
const FLAGS_AT: usize = USED_AT + 2;
const SEQ_AT: usize = FLAGS_AT + 2;
const NEXT_AT: usize = SEQ_AT + 8;
const _: () = assert!(NEXT_AT + 8 == HEADER_BYTES && PAYLOAD_BYTES <= u16::MAX as usize);

const FLAG_FIRST: u8 = 1;
const FLAG_LAST: u8 = 2;
const KIND_SHIFT: u32 = 4;

/// What a chunk's payload is.
///
/// ```
/// use kogia::format::chunk::{self, ChunkKind, ChunkPlace};
/// # use kogia::format::track_header::{TrackHeader, TrackKind};
/// # use kogia::format::{DiskId, Seq, StoreId, TrackId};
/// # let track_header = TrackHeader {
/// #     store: StoreId([1; 16]),
/// #     disk: DiskId([2; 16]),
/// #     track: TrackId(3),
/// #     kind: TrackKind::Append,
/// #     shard: 0,
/// #     floor: Seq(4),
/// #     predecessor: None,
/// #     created_ms: 5,
/// # };
/// # let place = ChunkPlace { store: StoreId([1; 16]), track: TrackId(3), chunk: 0 };
///
/// let first = track_header.to_chunk(b"");
/// let (header, _) = chunk::open(&first, place)?;
/// assert_eq!(header.kind, ChunkKind::TrackHeader);
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChunkKind {
    /// Chunk 0 of a track.
    TrackHeader = 1,
    /// Record headers, each whole, and perhaps the first values behind them.
    Directory = 2,
    /// The rest of a record header that is larger than a chunk.
    DirectoryRest = 3,
    /// Value bytes.
    Body = 4,
    /// Items of a queue ([`items`](super::items)).
    Items = 5,
}

/// The place a chunk is bound to by its checksum.
///
/// ```
/// use kogia::format::chunk::{self, ChunkPlace};
/// # use kogia::format::chunk::{CHUNK_BYTES, ChunkHeader, ChunkKind};
/// # use kogia::format::{Fault, Seq, StoreId, TrackId};
/// # let (first, last, kind, seq) = (true, true, ChunkKind::Body, Seq(9));
/// # let header = ChunkHeader { used: 5, first, last, kind, seq, next: 0 };
/// # let mut bytes = vec![0; CHUNK_BYTES];
///
/// let here = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 3 };
/// header.seal_whole(&mut bytes, here);
/// assert!(chunk::open(&bytes, here).is_ok());
/// let elsewhere = ChunkPlace { chunk: 4, ..here };
/// assert!(matches!(chunk::open(&bytes, elsewhere), Err(Fault::Checksum { .. })));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkPlace {
    /// The store that owns the track.
    pub store: StoreId,
    /// The track.
    pub track: TrackId,
    /// The chunk's number in the track.
    pub chunk: u32,
}

/// A chunk's header, without its checksum.
///
/// ```
/// use kogia::format::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind, HEADER_BYTES};
/// # use kogia::format::{Seq, StoreId, TrackId, chunk::ChunkPlace};
/// # let place = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 3 };
///
/// let (first, last, kind, seq) = (true, true, ChunkKind::Body, Seq(9));
/// let header = ChunkHeader { used: 5, first, last, kind, seq, next: 0 };
/// let mut bytes = vec![0; CHUNK_BYTES];
/// bytes[HEADER_BYTES..][..5].copy_from_slice(b"kogia");
/// header.seal_whole(&mut bytes, place);
/// assert_eq!(chunk::open(&bytes, place), Ok((header, &b"kogia"[..])));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkHeader {
    /// Payload bytes in use, 1 to [`PAYLOAD_BYTES`].
    pub used: u16,
    /// Whether the chunk begins its chain.
    pub first: bool,
    /// Whether the chunk ends its chain.
    pub last: bool,
    /// What the payload is.
    pub kind: ChunkKind,
    /// The chain's seq.
    pub seq: Seq,
    /// Byte offset of the chain's next chunk; 0 at the end.
    pub next: u64,
}

impl ChunkPlace {
    fn to_bytes(self) -> [u8; 24] {
        let mut place = [0; 24];
        place[..16].copy_from_slice(&self.store.0);
        place[16..20].copy_from_slice(&self.track.0.to_le_bytes());
        place[20..].copy_from_slice(&self.chunk.to_le_bytes());
        place
    }
}

impl ChunkHeader {
    /// Writes the header into `chunk`, whose payload has the checksum `payload_crc` over its
    /// `used` bytes.
    pub fn seal(&self, chunk: &mut [u8], payload_crc: u32, place: ChunkPlace) {
        debug_assert!((1..=PAYLOAD_BYTES).contains(&usize::from(self.used)));
        let used = if usize::from(self.used) == PAYLOAD_BYTES { 0 } else { self.used };
        let mut flags = (self.kind as u8) << KIND_SHIFT;
        if self.first {
            flags |= FLAG_FIRST;
        }
        if self.last {
            flags |= FLAG_LAST;
        }
        chunk[USED_AT..FLAGS_AT].copy_from_slice(&used.to_le_bytes());
        chunk[FLAGS_AT] = flags;
        chunk[FLAGS_AT + 1] = 0;
        chunk[SEQ_AT..NEXT_AT].copy_from_slice(&self.seq.0.to_le_bytes());
        chunk[NEXT_AT..HEADER_BYTES].copy_from_slice(&self.next.to_le_bytes());
        let crc = bind(payload_crc, &chunk[CRC_END..HEADER_BYTES], place);
        chunk[..CRC_END].copy_from_slice(&crc.to_le_bytes());
    }

    /// Like [`seal`](Self::seal), summing the payload that `chunk` already holds.
    pub fn seal_whole(&self, chunk: &mut [u8], place: ChunkPlace) {
        let payload = &chunk[HEADER_BYTES..HEADER_BYTES + usize::from(self.used)];
        let payload_crc = checksum::crc32c(payload);
        self.seal(chunk, payload_crc, place);
    }
}

/// Checks the chunk that was read at `place`; gives its header and the payload in use.
pub fn open(chunk: &[u8], place: ChunkPlace) -> Result<(ChunkHeader, &[u8]), Fault> {
    if chunk.len() < CHUNK_BYTES {
        return Err(Fault::Short { what: "chunk", needed: CHUNK_BYTES, found: chunk.len() });
    }
    let (header, payload) = chunk[..CHUNK_BYTES].split_at(HEADER_BYTES);
    open_split(header, payload, place)
}

/// Like [`open`], for a header and a payload area that were read to different places.
///
/// # Panics
/// If the slices are not of [`HEADER_BYTES`] and at least the used payload's bytes: a caller
/// sizes them from the index, so `payload` may be shorter than the chunk's; that is a fault.
pub fn open_split<'a>(
    header: &[u8],
    payload: &'a [u8],
    place: ChunkPlace,
) -> Result<(ChunkHeader, &'a [u8]), Fault> {
    let used = match u16::from_le_bytes(bytes_at(header, USED_AT)) {
        0 => PAYLOAD_BYTES as u16,
        used => used,
    };
    let stored = u32::from_le_bytes(bytes_at(header, 0));
    if usize::from(used) > payload.len() {
        let hint =
            Fault::Short { what: "chunk payload", needed: used.into(), found: payload.len() };
        return Err(hint);
    }
    let payload = &payload[..usize::from(used)];
    let flags = header[FLAGS_AT];
    if flags == 0 && header.iter().all(|&b| b == 0) {
        return Err(Fault::Hole);
    }
    let computed = bind(checksum::crc32c(payload), &header[CRC_END..HEADER_BYTES], place);
    if stored != computed {
        return Err(Fault::Checksum { what: "chunk", stored, computed });
    }
    let header = ChunkHeader {
        used,
        first: flags & FLAG_FIRST != 0,
        last: flags & FLAG_LAST != 0,
        kind: kind_of(flags)?,
        seq: Seq(u64::from_le_bytes(bytes_at(header, SEQ_AT))),
        next: u64::from_le_bytes(bytes_at(header, NEXT_AT)),
    };
    Ok((header, payload))
}

/// Chunks that `bytes` of payload fill.
#[must_use]
pub fn chunks_for(bytes: u64) -> u64 {
    bytes.div_ceil(PAYLOAD_BYTES as u64)
}

fn bind(payload_crc: u32, header: &[u8], place: ChunkPlace) -> u32 {
    let mut tail = [0; HEADER_BYTES - CRC_END + 24];
    tail[..HEADER_BYTES - CRC_END].copy_from_slice(header);
    tail[HEADER_BYTES - CRC_END..].copy_from_slice(&place.to_bytes());
    checksum::extend(payload_crc, &tail)
}

fn kind_of(flags: u8) -> Result<ChunkKind, Fault> {
    match flags >> KIND_SHIFT {
        1 => Ok(ChunkKind::TrackHeader),
        2 => Ok(ChunkKind::Directory),
        3 => Ok(ChunkKind::DirectoryRest),
        4 => Ok(ChunkKind::Body),
        5 => Ok(ChunkKind::Items),
        other => Err(Fault::Invalid { what: "chunk", why: format!("kind {other} is unknown") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: ChunkPlace = ChunkPlace { store: StoreId([0; 16]), track: TrackId(7), chunk: 1 };

    fn example() -> (ChunkHeader, Vec<u8>) {
        let header = ChunkHeader {
            used: 5,
            first: true,
            last: true,
            kind: ChunkKind::Directory,
            seq: Seq(Seq::first_of(2).0 + 1),
            next: 0,
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        chunk[HEADER_BYTES..HEADER_BYTES + 5].copy_from_slice(b"kogia");
        header.seal_whole(&mut chunk, PLACE);
        (header, chunk)
    }

    #[test]
    fn the_documented_example_is_what_is_written() {
        let (_, chunk) = example();
        let hex: Vec<String> = chunk[..29].iter().map(|b| format!("{b:02x}")).collect();
        let doc = include_str!("chunk.rs");
        let line = doc.lines().find(|l| l.ends_with("6b 6f 67 69 61")).expect("the example");
        let documented: Vec<&str> = line.trim_start_matches("//! ").split_whitespace().collect();
        assert_eq!(hex, documented);
    }

    #[test]
    fn opens_what_was_sealed_at_its_own_place_only() {
        let (header, chunk) = example();
        assert_eq!(open(&chunk, PLACE), Ok((header, &b"kogia"[..])));
        let elsewhere = [
            ChunkPlace { chunk: 2, ..PLACE },
            ChunkPlace { track: TrackId(8), ..PLACE },
            ChunkPlace { store: StoreId([1; 16]), ..PLACE },
        ];
        for place in elsewhere {
            assert!(matches!(open(&chunk, place), Err(Fault::Checksum { .. })), "{place:?}");
        }
    }

    #[test]
    fn every_flipped_bit_that_counts_is_found() {
        let (_, chunk) = example();
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut bad = chunk.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad, PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_hole_and_a_short_chunk_have_faults_of_their_own() {
        assert_eq!(open(&[0; CHUNK_BYTES], PLACE), Err(Fault::Hole));
        assert!(matches!(open(&[1; 100], PLACE), Err(Fault::Short { .. })));
    }
}
