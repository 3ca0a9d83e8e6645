//! The index's rows: what RocksDB holds of a store.
//!
//! | rows | column family | key | value |
//! | --- | --- | --- | --- |
//! | objects | `objects` | the object's key | [`Entry`] |
//! | parts | `default` | `p`, then the part's number, 8 bytes big-endian | [`Entry`] |
//! | tombstones | `graves` | space (1 byte: 0 object, 1 part), then the key | [`Grave`] |
//! | common prefixes | `prefixes` | how many `/` it has (1 byte), then the prefix | [`PrefixRow`] |
//! | segments | `segments` | the segment's seq, 8 bytes big-endian | [`SegmentRow`] |
//! | loose segments | `default` | `l`, then the seq of a segment that no put owns, 8 bytes big-endian | empty |
//! | free chunks | `default` | `f`, then track (4 bytes big-endian), first chunk (4 bytes big-endian) | [`FreeRow`] |
//! | tracks | `default` | `t`, then track (4 bytes big-endian) | [`TrackRow`] |
//! | state | `default` | `sstore` | [`StateRow`] |
//!
//! Values are bincode with variable-length integers: 1 byte below 251, else a byte that names the
//! width and 2, 4 or 8 bytes; options and enums open with their variant's number. Example: the
//! free row of 3 chunks, freed by batch 9, not punched, is `03 09 00`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::{Compressed, Meta, OWNED_MIN_BYTES, SegmentList, Space};
use super::track_header::TrackKind;
use super::{DiskId, Fault, Seq, StoreId, TrackId, chunk, codec, plain};

/// The version of the rows; an index of another version is rebuilt.
pub const INDEX_VERSION: u32 = 5;

/// Common prefixes are counted up to, and including, each of these bytes in an object's key.
pub const PREFIX_DELIMITER: u8 = b'/';

/// Common prefixes with more delimiters have no row: a key may consist of them.
pub const MAX_PREFIX_DEPTH: u8 = 32;

/// What a key means.
///
/// ```
/// use kogia::format::entry::{Entry, Extent, Place};
/// use kogia::format::{Seq, TrackId, record::Meta};
/// # let (created_ms, modified_ms, expires_ms) = (1_700_000_000_000, 1_700_000_000_000, None);
/// # let meta = Meta { len: 20_000, crc: 0, created_ms, modified_ms, expires_ms, attributes: b"" };
///
/// let place = Place::Inline { chunk: 6, offset: 0 };
/// let entry = Entry { seq: Seq(8), track: TrackId(2), chain: Seq(9), meta, place };
/// assert_eq!(Entry::decode(&entry.encode()), Ok(entry.clone()));
/// // 20,000 bytes own their chunks.
/// assert_eq!(entry.owned_extent(), Some(Extent { track: TrackId(2), chunk: 6, chunks: 5 }));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry<'a> {
    /// The put's seq.
    pub seq: Seq,
    /// The track that holds the put's record.
    pub track: TrackId,
    /// The chain that holds it.
    pub chain: Seq,
    /// Length, checksum, times, attributes.
    #[serde(borrow)]
    pub meta: Meta<'a>,
    /// Where the bytes are.
    pub place: Place,
}

/// Where a value's bytes are.
///
/// ```
/// use kogia::format::entry::{Entry, Place};
/// # use kogia::format::{Seq, TrackId, record::Meta};
/// # let (created_ms, modified_ms, expires_ms) = (1_700_000_000_000, 1_700_000_000_000, None);
/// # let meta = Meta { len: 0, crc: 0, created_ms, modified_ms, expires_ms, attributes: b"" };
/// # let place = Place::Empty;
/// # let empty = Entry { seq: Seq(8), track: TrackId(2), chain: Seq(9), meta, place };
///
/// let meta = Meta { len: 7, ..empty.meta.clone() };
/// let small = Entry { meta, place: Place::Inline { chunk: 6, offset: 100 }, ..empty.clone() };
/// assert_eq!((empty.inline_bytes(), small.inline_bytes()), (0, 7));
/// assert_eq!(small.owned_extent(), None); // it shares its chunk
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place {
    /// Nowhere: the value is empty.
    Empty,
    /// In the put's own chain, from this chunk of the track and this byte of its payload on.
    Inline {
        /// Chunk of the track.
        chunk: u32,
        /// Byte of its payload.
        offset: u16,
    },
    /// In segments; `segments` knows where each is.
    Segments(SegmentList),
    /// In the put's own chain, compressed.
    Compressed {
        /// Chunk of the track.
        chunk: u32,
        /// Byte of its payload.
        offset: u16,
        /// The frame.
        compressed: Compressed,
    },
}

/// A run of consecutive chunks of one track.
///
/// ```
/// use kogia::format::{TrackId, entry::Extent};
///
/// let freed = Extent { track: TrackId(2), chunk: 6, chunks: 5 };
/// let behind = Extent { chunk: freed.chunk + freed.chunks, chunks: 1, ..freed };
/// assert!(freed < behind);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Extent {
    /// The track.
    pub track: TrackId,
    /// The first chunk.
    pub chunk: u32,
    /// Chunks.
    pub chunks: u32,
}

impl<'a> Entry<'a> {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.meta.attributes.len());
        self.encode_into(&mut out);
        out
    }

    /// Appends the row's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        if !plain::encode_entry(self, out) {
            codec::encode_into(self, out);
        }
    }

    /// Decodes a row, borrowing its attributes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Fault> {
        plain::decode_entry(bytes).map_or_else(|| codec::decode("index entry", bytes), Ok)
    }

    /// The whole chunks that the value owns in the put's chain.
    #[must_use]
    pub fn owned_extent(&self) -> Option<Extent> {
        let bytes = self.inline_bytes();
        match self.place {
            Place::Inline { chunk, .. } | Place::Compressed { chunk, .. }
                if bytes >= OWNED_MIN_BYTES =>
            {
                let chunks = u32::try_from(chunk::chunks_for(bytes)).ok()?;
                Some(Extent { track: self.track, chunk, chunks })
            }
            _ => None,
        }
    }

    /// Bytes of the value in the put's own chain, as they lie there.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        match &self.place {
            Place::Inline { .. } => self.meta.len,
            Place::Compressed { compressed, .. } => compressed.bytes,
            Place::Empty | Place::Segments(_) => 0,
        }
    }
}

/// A tombstone that may not yet be forgotten (invariant I9).
///
/// ```
/// use kogia::format::entry::{Grave, grave_key};
/// use kogia::format::{Seq, TrackId, record::Space};
///
/// let key = grave_key(Space::Object, b"a");
/// let grave = Grave { seq: Seq(8), track: TrackId(2), chain: Seq(9) };
/// assert_eq!(key, [0, b'a']);
/// assert_eq!(Grave::decode(&grave.encode()), Ok(grave));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grave {
    /// The delete's seq.
    pub seq: Seq,
    /// The track that holds the delete's record.
    pub track: TrackId,
    /// The chain that holds it.
    pub chain: Seq,
}

/// How many objects have keys that begin with a common prefix. Only prefixes of objects have one.
///
/// Each row says truly which of its counts are 0; what the others are, it says as of the last
/// checkpoint or later. (The rest is in memory, so that a put seldom changes one.)
///
/// ```
/// use kogia::format::entry::{PrefixRow, parse_prefix_key, prefix_key};
///
/// let key = prefix_key(b"cam/1/");
/// let row = PrefixRow { keys: 7, lasting: 7, direct: 0 };
/// assert_eq!(key, *b"\x02cam/1/");
/// assert_eq!(parse_prefix_key(&key), Ok((2, &b"cam/1/"[..])));
/// assert_eq!(row.encode(), [7, 7, 0]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PrefixRow {
    /// Objects.
    pub keys: u64,
    /// Those of them that do not expire by what their put said.
    pub lasting: u64,
    /// Those of them whose keys have no further delimiter.
    pub direct: u64,
}

impl PrefixRow {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self, 16)
    }

    /// Decodes a row.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let by_hand = plain::decode_prefix(bytes);
        by_hand.map_or_else(|| decode("index row of a common prefix", bytes), Ok)
    }

    /// Which of the counts are not 0.
    #[must_use]
    pub fn kinds(&self) -> [bool; 3] {
        [self.keys, self.lasting, self.direct].map(|count| count > 0)
    }
}

/// Where a segment is, and who owns it.
///
/// ```
/// use kogia::format::{Seq, TrackId, entry::SegmentRow};
///
/// let row = SegmentRow {
///     track: TrackId(2),
///     chunk: 6,
///     len: 5_000,
///     crc: 0x1234_5678,
///     chain: Seq(9),
///     has_record: true,
///     owner: None, // its stream is not committed yet
/// };
/// assert_eq!(row.extent().chunks, 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentRow {
    /// The track.
    pub track: TrackId,
    /// Its first body chunk.
    pub chunk: u32,
    /// Value bytes.
    pub len: u64,
    /// CRC-32C of them.
    pub crc: u32,
    /// The seq that its chunks carry.
    pub chain: Seq,
    /// Whether a directory of its own names it (`false`: it was refilled into freed chunks).
    pub has_record: bool,
    /// The seq of the put that owns it; `None` while its stream is being written.
    pub owner: Option<Seq>,
}

impl SegmentRow {
    /// The chunks of the segment's bytes.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let chunks = u32::try_from(chunk::chunks_for(self.len)).unwrap_or(u32::MAX);
        Extent { track: self.track, chunk: self.chunk, chunks }
    }
}

/// A run of chunks that nothing live refers to; its place is the row's key.
///
/// ```
/// use kogia::format::{TrackId, entry::{FreeRow, free_key, parse_free_key}};
///
/// let key = free_key(TrackId(2), 6);
/// let row = FreeRow { chunks: 3, freed_by: 9, punched: false };
/// assert_eq!(parse_free_key(&key), Ok((TrackId(2), 6)));
/// assert_eq!(row.encode(), [3, 9, 0]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FreeRow {
    /// Chunks.
    pub chunks: u32,
    /// The index batch that freed the youngest of them: they may be reused once that batch is in
    /// a checkpoint and every reader that began before it is gone (invariant I4).
    pub freed_by: u64,
    /// Whether they have been punched out of the file.
    pub punched: bool,
}

/// What a track holds, and how far it is reflected in the index.
///
/// ```
/// use kogia::format::entry::TrackRow;
/// use kogia::format::{DiskId, Seq, track_header::TrackKind};
///
/// let row = TrackRow::new(DiskId([2; 16]), TrackKind::Append, 0, 1_700_000_000_000, Seq(4));
/// assert_eq!((row.sealed, row.applied), (None, 1)); // active, and its header is all there is
/// assert_eq!(TrackRow::decode(&row.encode()), Ok(row));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackRow {
    /// The disk it lies on.
    pub disk: DiskId,
    /// Whether compaction wrote it.
    pub compacted: bool,
    /// The partition function's answer for the records in it.
    pub shard: u8,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// Seq as of which every put and segment in it was known to be live (invariant I9).
    pub floor: Seq,
    /// The chunk that its chains begin with: what compaction has passed over lies before it, and
    /// is never scanned again.
    pub start: u32,
    /// Where it ends, in chunks; `None` while it is active.
    pub sealed: Option<u32>,
    /// Chunk up to which it is reflected in the index (invariant I1).
    pub applied: u32,
    /// Chunk up to which it had been synced when this row was written (invariant I1).
    pub synced: u32,
    /// Live puts and segments.
    pub live_records: u64,
    /// Value bytes of them in this track.
    pub live_bytes: u64,
    /// Those of the value bytes that share chunks.
    pub packed_bytes: u64,
    /// Dead puts and segments whose records are still here.
    pub dead_records: u64,
    /// Value bytes of them that share chunks, and so come back only with the track.
    pub dead_bytes: u64,
    /// Chunks of directories and packed values: freed only with the track.
    pub head_chunks: u32,
    /// Chunks that live values own alone.
    pub owned_chunks: u32,
    /// Chunks freed and not punched.
    pub free_chunks: u32,
    /// Chunks punched out.
    pub punched_chunks: u32,
    /// Chunks that were damaged, and passed over because the caller accepted the loss.
    pub lost_chunks: u32,
    /// The last index batch that killed a record here.
    pub last_kill: u64,
    /// Tombstones here that may not yet be forgotten.
    pub graves: u64,
    /// The greatest seq of a delete here.
    pub last_grave: Seq,
}

impl TrackRow {
    /// The row of a track that was just created.
    #[must_use]
    pub fn new(disk: DiskId, kind: TrackKind, shard: u8, created_ms: u64, floor: Seq) -> Self {
        TrackRow {
            disk,
            compacted: kind == TrackKind::Compacted,
            shard,
            created_ms,
            floor,
            start: 1,
            sealed: None,
            applied: 1,
            synced: 1,
            live_records: 0,
            live_bytes: 0,
            packed_bytes: 0,
            dead_records: 0,
            dead_bytes: 0,
            head_chunks: 0,
            owned_chunks: 0,
            free_chunks: 0,
            punched_chunks: 0,
            lost_chunks: 0,
            last_kill: 0,
            graves: 0,
            last_grave: Seq(0),
        }
    }

    /// Whether nothing in the track is live.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.live_records == 0 && self.owned_chunks == 0
    }
}

/// The store's own row: counters, and a copy of what `META` says, for when that is lost.
///
/// ```
/// use kogia::format::{StoreId, entry::{INDEX_VERSION, StateRow}};
///
/// let new = StateRow {
///     version: INDEX_VERSION,
///     store: StoreId([1; 16]),
///     opening: 1,
///     batch: 0,
///     next_track: 1,
///     objects: 0,
///     object_bytes: 0,
///     parts: 0,
///     graves: 0,
///     rebuilding: false,
/// };
/// assert_eq!(StateRow::decode(&new.encode()), Ok(new));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StateRow {
    /// [`INDEX_VERSION`].
    pub version: u32,
    /// The store.
    pub store: StoreId,
    /// The opening that wrote this row.
    pub opening: u32,
    /// The number of the last index batch; stamps what it freed.
    pub batch: u64,
    /// Tracks have ids below this one.
    pub next_track: u32,
    /// Objects.
    pub objects: u64,
    /// Bytes of their values.
    pub object_bytes: u64,
    /// Parts that wait to be assembled.
    pub parts: u64,
    /// Tombstones.
    pub graves: u64,
    /// Whether a rebuild is under way: then the rows are not yet all there.
    pub rebuilding: bool,
}

macro_rules! row {
    ($($name:ident => $what:literal),* $(,)?) => {$(
        impl $name {
            /// The row's bytes.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                encode(self, 64)
            }

            /// Decodes a row.
            pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
                decode($what, bytes)
            }
        }
    )*};
}

row! {
    Grave => "index row of a tombstone",
    SegmentRow => "index row of a segment",
    FreeRow => "index row of free chunks",
    TrackRow => "index row of a track",
    StateRow => "index row of the store",
}

/// The key of a tombstone's row.
#[must_use]
pub fn grave_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(space as u8);
    row.extend_from_slice(key);
    row
}

/// The delimiters in a key, or in a common prefix of keys.
#[must_use]
pub fn depth(key: &[u8]) -> usize {
    key.iter().filter(|byte| **byte == PREFIX_DELIMITER).count()
}

/// The common prefixes of an object's key that have rows, the shortest first; the first is empty.
pub fn common_prefixes(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let delimiters = key.iter().enumerate().filter(|(_, byte)| **byte == PREFIX_DELIMITER);
    let ends = delimiters.map(|(at, _)| at + 1).take(usize::from(MAX_PREFIX_DEPTH));
    std::iter::once(0).chain(ends).map(|end| &key[..end])
}

/// The key of a common prefix's row.
///
/// Prefixes of one depth lie together, so that those below another are found one by one, whatever
/// lies below them.
#[must_use]
pub fn prefix_key(prefix: &[u8]) -> Vec<u8> {
    let depth = u8::try_from(depth(prefix)).expect("a prefix that has a row");
    [&[depth], prefix].concat()
}

/// The depth and the common prefix that a `prefixes` key means.
pub fn parse_prefix_key(key: &[u8]) -> Result<(u8, &[u8]), Fault> {
    let (depth, prefix) = key.split_first().ok_or_else(|| bad_key("prefixes", key))?;
    Ok((*depth, prefix))
}

/// The key of a free row.
#[must_use]
pub fn free_key(track: TrackId, chunk: u32) -> [u8; 8] {
    (u64::from(track.0) << 32 | u64::from(chunk)).to_be_bytes()
}

/// The place that a free row's key means.
pub fn parse_free_key(key: &[u8]) -> Result<(TrackId, u32), Fault> {
    let key: [u8; 8] = key.try_into().map_err(|_| bad_key("free", key))?;
    let place = u64::from_be_bytes(key);
    Ok((TrackId((place >> 32) as u32), place as u32))
}

/// The track that a `tracks` key means.
pub fn parse_track_key(key: &[u8]) -> Result<TrackId, Fault> {
    let key: [u8; 4] = key.try_into().map_err(|_| bad_key("tracks", key))?;
    Ok(TrackId(u32::from_be_bytes(key)))
}

/// The seq that a `segments` or `parts` key means.
pub fn parse_seq_key(key: &[u8]) -> Result<Seq, Fault> {
    let key: [u8; 8] = key.try_into().map_err(|_| bad_key("segments", key))?;
    Ok(Seq(u64::from_be_bytes(key)))
}

fn bad_key(what: &'static str, key: &[u8]) -> Fault {
    Fault::Invalid { what, why: format!("a row's key of {} bytes", key.len()) }
}

fn encode<T: Serialize>(value: &T, capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    codec::encode_into(value, &mut out);
    out
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Fault> {
    codec::decode(what, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_what_is_written() {
        let row = FreeRow { chunks: 3, freed_by: 9, punched: false };
        assert_eq!(row.encode(), [3, 9, 0]);
        assert_eq!(FreeRow::decode(&[3, 9, 0]), Ok(row));
    }

    #[test]
    fn entries_round_trip_and_refuse_trailing_bytes() {
        let entry = Entry {
            seq: Seq(1 << 41),
            track: TrackId(2),
            chain: Seq(1 << 41 | 7),
            meta: Meta {
                len: OWNED_MIN_BYTES,
                crc: 3,
                created_ms: 4,
                modified_ms: 5,
                expires_ms: None,
                attributes: b"attributes",
            },
            place: Place::Inline { chunk: 6, offset: 0 },
        };
        let mut row = entry.encode();
        assert_eq!(Entry::decode(&row), Ok(entry.clone()));
        assert_eq!(entry.owned_extent(), Some(Extent { track: TrackId(2), chunk: 6, chunks: 4 }));
        row.push(0);
        assert!(Entry::decode(&row).is_err());
    }

    #[test]
    fn prefixes_are_counted_to_a_depth() {
        let prefixes = |key: &'static [u8]| common_prefixes(key).collect::<Vec<_>>();
        assert_eq!(prefixes(b""), [b""]);
        assert_eq!(prefixes(b"key"), [b""]);
        assert_eq!(prefixes(b"a//b"), [&b""[..], b"a/", b"a//"]);
        assert_eq!(prefixes(b"a/b/"), [&b""[..], b"a/", b"a/b/"]);
        let deepest = prefixes(&[b'/'; 100]).pop().expect("one at least");
        assert_eq!(deepest, [b'/'; 32]);
        assert_eq!(prefix_key(deepest)[0], MAX_PREFIX_DEPTH);
        assert!(parse_prefix_key(b"").is_err());
    }

    #[test]
    fn free_keys_sort_by_track_then_chunk() {
        assert!(free_key(TrackId(1), u32::MAX) < free_key(TrackId(2), 0));
        assert_eq!(parse_free_key(&free_key(TrackId(3), 4)), Ok((TrackId(3), 4)));
        assert!(parse_free_key(b"x").is_err());
    }
}
