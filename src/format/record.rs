//! A record: one logical operation, as a directory holds it.
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 4 | length | bytes of this entry, these four included |
//! | 4 | 8 | seq | the record's seq, kept for life |
//! | 12 | | operation | bincode of [`Record`]: variable-length integers, little-endian |
//!
//! Integers below 251 take one byte; 251, 252 and 253 announce a `u16`, `u32` and `u64`. Slices
//! are a length and their bytes; an enum is its variant's number and fields. The value's place is
//! not written: it follows from the lengths of the records before it (see [`super::chain`]).
//!
//! Example: the delete of object `a` with seq 2.1:
//!
//! ```text
//! length       seq                      1=delete 0=object  key length and key
//! 10 00 00 00  01 00 00 00 00 02 00 00  01       00        01 61
//! ```

use serde::{Deserialize, Serialize};

use super::chunk::chunks_for;
use super::{Fault, Seq, TrackId, bytes_at, codec, plain};

/// Bytes of an entry before its operation.
pub const PREFIX_BYTES: usize = 12;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;
/// The largest attribute block, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;
/// The most segments of an object: a record of more might not decode, since what decoding may take is
/// bounded.
pub const MAX_SEGMENTS: usize = 1 << 20;
/// The longest value that is compressed, in bytes: reading any of it takes memory for all.
pub const MAX_COMPRESSED_BYTES: u64 = 1 << 30;

/// Values of at least this many bytes own whole chunks, so that they can be freed alone; smaller
/// ones share chunks with their neighbours. At this size a last chunk half empty costs an eighth.
pub const OWNED_MIN_BYTES: u64 = 4 * super::chunk::PAYLOAD_BYTES as u64;

/// Which of a store's two maps a key belongs to.
///
/// ```
/// use kogia::format::entry::grave_key;
/// use kogia::format::record::Space;
///
/// // The same key means two things.
/// assert_ne!(grave_key(Space::Object, b"00000001"), grave_key(Space::Part, b"00000001"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Space {
    /// What users put and list.
    Object,
    /// Parts written ahead, waiting to be assembled into an object. Keys are 8 bytes, big-endian.
    Part,
}

/// One operation.
///
/// ```
/// use kogia::format::Seq;
/// use kogia::format::record::{self, Record, Space};
///
/// let delete = Record::Delete { space: Space::Object, key: b"camera-1/0001.ts" };
/// let mut entry = Vec::new();
/// delete.encode_into(&mut entry);
/// record::set_seq(&mut entry, Seq(9));
/// assert_eq!(record::decode(&entry), Ok((Seq(9), delete)));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Record<'a> {
    /// Makes `key` mean this value, whole.
    Put(#[serde(borrow)] Put<'a>),
    /// Makes `key` mean nothing.
    Delete {
        /// The map.
        space: Space,
        /// The key in it.
        #[serde(with = "serde_bytes")]
        key: &'a [u8],
    },
    /// Value bytes in this chain, that a put elsewhere names by this record's seq.
    Segment {
        /// Bytes, at least 1.
        len: u64,
        /// CRC-32C of them.
        crc: u32,
    },
}

/// The operation that makes a key mean a value.
///
/// ```
/// use kogia::format::chain::Room;
/// use kogia::format::record::{Put, Record, Space, Value};
/// # use kogia::format::record::Meta;
/// # let (created_ms, modified_ms, expires_ms) = (1_700_000_000_000, 1_700_000_000_000, None);
/// # let meta = Meta { len: 7, crc: 0, created_ms, modified_ms, expires_ms, attributes: b"" };
///
/// let put = Put { space: Space::Object, key: b"camera-1/0001.ts", meta, value: Value::Inline };
/// assert_eq!(Room::of(&Record::Put(put)), Room::Packed(7));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Put<'a> {
    /// The map.
    pub space: Space,
    /// The key in it.
    #[serde(with = "serde_bytes")]
    pub key: &'a [u8],
    /// What `head` tells.
    #[serde(borrow)]
    pub meta: Meta<'a>,
    /// Where the value's bytes are.
    pub value: Value,
}

/// What is known of a value without reading it.
///
/// ```
/// use kogia::format::{checksum::crc32c, record::Meta};
///
/// let value = b"a frame";
/// let meta = Meta {
///     len: value.len() as u64,
///     crc: crc32c(value),
///     created_ms: 1_700_000_000_000,
///     modified_ms: 1_699_999_999_000,
///     expires_ms: None,
///     attributes: b"video/mp2t",
/// };
/// assert!(meta.modified_ms < meta.created_ms);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Meta<'a> {
    /// Bytes of the value.
    pub len: u64,
    /// CRC-32C of the value.
    pub crc: u32,
    /// When this value was put, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its source was last changed, as the caller says; else the same.
    pub modified_ms: u64,
    /// When the object is to stop being there, in milliseconds since 1970; nothing sets or heeds
    /// it yet.
    pub expires_ms: Option<u64>,
    /// The caller's attributes, opaque.
    #[serde(with = "serde_bytes")]
    pub attributes: &'a [u8],
}

/// Where a put's bytes are.
///
/// ```
/// use kogia::format::chain::Room;
/// use kogia::format::record::{Put, Record, Space, Value};
/// # use kogia::format::Seq;
/// # use kogia::format::record::{Meta, SegmentList, SegmentRef};
/// # let segments = SegmentList(vec![SegmentRef { seq: Seq(8), len: 7, refilled: None }]);
/// # let (created_ms, modified_ms, expires_ms) = (1_700_000_000_000, 1_700_000_000_000, None);
/// # let meta = Meta { len: 7, crc: 0, created_ms, modified_ms, expires_ms, attributes: b"" };
///
/// // A value in segments takes no room in the put's own chain.
/// let value = Value::Segments(segments);
/// let put = Put { space: Space::Object, key: b"key", meta, value };
/// assert_eq!(Room::of(&Record::Put(put)), Room::None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// In the record's own chain, as they are.
    Inline,
    /// In segments, in this order.
    Segments(SegmentList),
    /// In the record's own chain, as one zstd frame.
    Compressed(Compressed),
}

/// How a compressed value lies in its chain.
///
/// ```
/// use kogia::format::chain::Room;
/// use kogia::format::record::{Compressed, Put, Record, Space, Value};
/// # use kogia::format::record::Meta;
/// # let (created_ms, modified_ms, expires_ms) = (1_700_000_000_000, 1_700_000_000_000, None);
/// # let meta = Meta { len: 300, crc: 0, created_ms, modified_ms, expires_ms, attributes: b"" };
///
/// // 300 bytes of value take 80 bytes of room.
/// let value = Value::Compressed(Compressed { bytes: 80, with_dictionary: true });
/// let put = Put { space: Space::Object, key: b"camera-1/0001.json", meta, value };
/// assert_eq!(Room::of(&Record::Put(put)), Room::Packed(80));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compressed {
    /// Bytes of the frame, fewer than the value's.
    pub bytes: u64,
    /// Whether it takes the dictionary in the track's header to read it.
    pub with_dictionary: bool,
}

impl Compressed {
    /// Whether a value of `len` bytes can lie like this: it is larger than its frame, and a reader
    /// has memory for it, whatever the bytes on disk claim.
    #[must_use]
    pub fn can_hold(&self, len: u64) -> bool {
        (1..len).contains(&self.bytes) && len <= MAX_COMPRESSED_BYTES
    }
}

impl Put<'_> {
    /// Bytes of the value in the put's own chain.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        match &self.value {
            Value::Inline => self.meta.len,
            Value::Compressed(compressed) => compressed.bytes,
            Value::Segments(_) => 0,
        }
    }
}

/// The segments of a value, in order. Written as differences of seqs, since most follow closely.
///
/// ```
/// use kogia::format::Seq;
/// use kogia::format::record::{SegmentList, SegmentRef};
///
/// let segment = |seq, len| SegmentRef { seq: Seq(seq), len, refilled: None };
/// let list = SegmentList(vec![segment(8, 1 << 20), segment(10, 300)]);
/// assert_eq!(list.0.iter().map(|segment| segment.len).sum::<u64>(), 1_048_876);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SegmentList(pub Vec<SegmentRef>);

/// A segment, as the put that owns it names it.
///
/// ```
/// use kogia::format::record::{Refilled, SegmentRef};
/// use kogia::format::{Seq, TrackId};
///
/// let appended = SegmentRef { seq: Seq(8), len: 300, refilled: None };
/// let place = Refilled { track: TrackId(3), chunk: 40, crc: 0x1234_5678 };
/// let refilled = SegmentRef { seq: Seq(10), refilled: Some(place), ..appended };
/// assert_eq!((appended.len, refilled.len), (300, 300));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The segment record's seq: its name, wherever it lies.
    pub seq: Seq,
    /// Its bytes.
    pub len: u64,
    /// Where it lies and its checksum, if it was written into freed chunks: it has no directory of
    /// its own there.
    pub refilled: Option<Refilled>,
}

impl SegmentRef {
    /// Whether the chunks that it lies in, as far as it says, have numbers.
    fn fits_a_track(&self) -> bool {
        let fits = |place: Refilled| {
            let end = u64::from(place.chunk).saturating_add(chunks_for(self.len));
            place.chunk > 0 && end <= u64::from(u32::MAX)
        };
        self.refilled.is_none_or(fits)
    }
}

/// A segment that was written into freed chunks.
///
/// ```
/// use kogia::format::{TrackId, checksum::crc32c, record::Refilled};
///
/// let place = Refilled { track: TrackId(3), chunk: 40, crc: crc32c(b"a frame") };
/// assert_eq!(place.track.file_name(), "0000000003.track");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refilled {
    /// The track.
    pub track: TrackId,
    /// Its first chunk.
    pub chunk: u32,
    /// CRC-32C of its bytes.
    pub crc: u32,
}

impl Serialize for SegmentList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        serializer.collect_seq(self.0.iter().map(|segment| {
            let delta = segment.seq.0.wrapping_sub(before) as i64;
            before = segment.seq.0;
            (delta, segment.len, segment.refilled)
        }))
    }
}

impl<'de> Deserialize<'de> for SegmentList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let deltas = Vec::<(i64, u64, Option<Refilled>)>::deserialize(deserializer)?;
        let mut seq = 0_u64;
        let list = deltas.into_iter().map(|(delta, len, refilled)| {
            seq = seq.wrapping_add(delta as u64);
            SegmentRef { seq: Seq(seq), len, refilled }
        });
        Ok(SegmentList(list.collect()))
    }
}

impl Record<'_> {
    /// Appends the entry to `out`, with seq 0: the writer gives it out later, with [`set_seq`].
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        if !plain::encode_record(self, out) {
            codec::encode_into(self, out);
        }
        let length = u32::try_from(out.len() - start).expect("an entry is bounded in bytes");
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Gives the encoded entry its seq.
pub fn set_seq(entry: &mut [u8], seq: Seq) {
    entry[4..PREFIX_BYTES].copy_from_slice(&seq.0.to_le_bytes());
}

/// Bytes of the entry that `bytes` begins with, which may go on beyond them.
pub fn entry_bytes(bytes: &[u8]) -> Result<usize, Fault> {
    if bytes.len() < PREFIX_BYTES {
        return Err(Fault::Short { what: "record", needed: PREFIX_BYTES, found: bytes.len() });
    }
    let length = u32::from_le_bytes(bytes_at(bytes, 0)) as usize;
    if length <= PREFIX_BYTES {
        let why = format!("length {length} leaves no room for an operation");
        return Err(Fault::Invalid { what: "record", why });
    }
    Ok(length)
}

/// Decodes one whole entry.
pub fn decode(entry: &[u8]) -> Result<(Seq, Record<'_>), Fault> {
    let length = entry_bytes(entry)?;
    if length != entry.len() {
        return Err(Fault::Short { what: "record", needed: length, found: entry.len() });
    }
    let operation = &entry[PREFIX_BYTES..];
    let plain = plain::decode_record(operation);
    let record = plain.map_or_else(|| codec::decode("record", operation), Ok)?;
    check(&record)?;
    Ok((Seq(u64::from_le_bytes(bytes_at(entry, 4))), record))
}

fn check(record: &Record<'_>) -> Result<(), Fault> {
    let invalid = |why: String| Err(Fault::Invalid { what: "record", why });
    let (space, key) = match record {
        Record::Segment { len: 0, .. } => return invalid("an empty segment".into()),
        Record::Segment { .. } => return Ok(()),
        Record::Delete { space, key } => (space, key),
        Record::Put(put) => {
            if put.meta.attributes.len() > MAX_ATTRIBUTE_BYTES {
                return invalid(format!("attributes of {} bytes", put.meta.attributes.len()));
            }
            match &put.value {
                Value::Inline => {}
                Value::Segments(SegmentList(list)) => {
                    let total = list.iter().try_fold(0_u64, |sum, s| sum.checked_add(s.len));
                    if total != Some(put.meta.len) || list.iter().any(|s| s.len == 0) {
                        return invalid("its segments do not add up to its length".into());
                    }
                    if !list.iter().all(SegmentRef::fits_a_track) {
                        return invalid("a segment beyond all chunks that there may be".into());
                    }
                }
                Value::Compressed(compressed) => {
                    let len = put.meta.len;
                    if !compressed.can_hold(len) {
                        return invalid(format!("{len} bytes compressed to {}", compressed.bytes));
                    }
                }
            }
            (&put.space, &put.key)
        }
    };
    let fits = match space {
        Space::Object => (1..=MAX_KEY_BYTES).contains(&key.len()),
        Space::Part => key.len() == 8,
    };
    if fits { Ok(()) } else { invalid(format!("a key of {} bytes", key.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u64, len: u64) -> SegmentRef {
        SegmentRef { seq: Seq(seq), len, refilled: None }
    }

    #[test]
    fn the_documented_example_is_what_is_written() {
        let mut entry = Vec::new();
        Record::Delete { space: Space::Object, key: b"a" }.encode_into(&mut entry);
        set_seq(&mut entry, Seq(Seq::first_of(2).0 + 1));
        assert_eq!(entry, [16, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 1, 0, 1, b'a']);
    }

    #[test]
    fn puts_round_trip_with_attributes_and_segments() {
        let refilled = Some(Refilled { track: TrackId(3), chunk: 4, crc: 5 });
        let segments = vec![segment(900, 3), SegmentRef { refilled, ..segment(700, 4) }];
        let put = Record::Put(Put {
            space: Space::Object,
            key: b"camera/1",
            meta: Meta {
                len: 7,
                crc: 1,
                created_ms: 2,
                modified_ms: 3,
                expires_ms: Some(4),
                attributes: b"type",
            },
            value: Value::Segments(SegmentList(segments)),
        });
        let mut entry = Vec::new();
        put.encode_into(&mut entry);
        set_seq(&mut entry, Seq(8));
        assert_eq!(decode(&entry), Ok((Seq(8), put)));
    }

    #[test]
    fn a_put_of_as_many_segments_as_there_may_be_decodes() {
        let refilled = Refilled { track: TrackId(u32::MAX), chunk: 1 << 30, crc: u32::MAX };
        let refilled = Some(refilled);
        let (count, len) = (MAX_SEGMENTS as u64, 1 << 40);
        let segment = |n| SegmentRef { refilled, ..segment(u64::MAX - n, len) };
        let meta = Meta {
            len: len * count,
            crc: u32::MAX,
            created_ms: u64::MAX,
            modified_ms: u64::MAX,
            expires_ms: Some(u64::MAX),
            attributes: &vec![0; MAX_ATTRIBUTE_BYTES],
        };
        let value = Value::Segments(SegmentList((0..count).map(segment).collect()));
        let key = vec![0; MAX_KEY_BYTES];
        let put = Record::Put(Put { space: Space::Object, key: &key, meta, value });
        let mut entry = Vec::new();
        put.encode_into(&mut entry);
        set_seq(&mut entry, Seq(8));
        assert!(decode(&entry) == Ok((Seq(8), put)));
    }

    #[test]
    fn records_that_break_a_rule_are_refused() {
        let long_key = vec![0; MAX_KEY_BYTES + 1];
        let compressed = |len, bytes| {
            let meta = Meta {
                len,
                crc: 0,
                created_ms: 0,
                modified_ms: 0,
                expires_ms: None,
                attributes: b"",
            };
            let value = Value::Compressed(Compressed { bytes, with_dictionary: false });
            Record::Put(Put { space: Space::Object, key: b"k", meta, value })
        };
        let refilled = |chunk, len| {
            let place = Refilled { track: TrackId(1), chunk, crc: 0 };
            let list = vec![SegmentRef { refilled: Some(place), ..segment(1, len) }];
            let value = Value::Segments(SegmentList(list));
            let Record::Put(put) = compressed(len, 1) else { unreachable!("it is a put") };
            Record::Put(Put { value, ..put })
        };
        let bad = [
            refilled(0, 7),
            refilled(u32::MAX, 7),
            refilled(7, 1 << 50),
            Record::Delete { space: Space::Object, key: b"" },
            Record::Delete { space: Space::Object, key: &long_key },
            Record::Delete { space: Space::Part, key: b"short" },
            Record::Segment { len: 0, crc: 0 },
            compressed(7, 7),
            compressed(7, 0),
            compressed(MAX_COMPRESSED_BYTES + 1, 7),
        ];
        for record in bad {
            let mut entry = Vec::new();
            record.encode_into(&mut entry);
            assert!(matches!(decode(&entry), Err(Fault::Invalid { .. })), "{record:?}");
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let mut entry = vec![0; PREFIX_BYTES];
        entry.extend_from_slice(&[1, 0, 253, 255, 255, 255, 255, 255, 255, 255, 127]);
        let length = entry.len() as u32;
        entry[..4].copy_from_slice(&length.to_le_bytes());
        assert!(decode(&entry).is_err());
    }
}
