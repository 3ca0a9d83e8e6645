//! Plain puts and their entries, by hand: those whose value is inline, by far the most; what a listing reads of
//! each common prefix; and lists of segments, to read: each range of a large object decodes the whole list.
//!
//! The bytes are bincode's (`codec`), at a quarter of its instructions. What is not plain, or does
//! not decode, is left to bincode, which also says what is wrong with it; a test holds the two
//! against each other.

use super::entry::{Entry, Place, PrefixRow};
use super::record::{Meta, Put, Record, Refilled, SegmentList, SegmentRef, Space, Value};
use super::{Seq, TrackId};

/// The numbers of a plain entry take 83 bytes at most, and of the last one eight are written.
const NUMBERS_BYTES: usize = 96;

const PUT: u8 = 0;
const INLINE_VALUE: u8 = 0;
const EMPTY_PLACE: u8 = 0;
const INLINE_PLACE: u8 = 1;
const SEGMENTS_PLACE: u8 = 2;
/// A segment in a list takes no less.
const SEGMENT_MIN_BYTES: usize = 3;

/// From here on a number takes this byte, which says how wide it is, and so many bytes more.
const U16: u8 = 251;
const U32: u8 = 252;
const U64: u8 = 253;

/// Appends the record to `out` if it is a plain put; whether it is.
pub(super) fn encode_record(record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    let Record::Put(Put { space, key, meta, value: Value::Inline }) = record else { return false };
    let mut numbers = Numbers::new();
    numbers.byte(PUT);
    numbers.byte(*space as u8);
    numbers.number(key.len() as u64);
    out.extend_from_slice(numbers.bytes());
    out.extend_from_slice(key);
    numbers.len = 0;
    numbers.meta(meta);
    out.extend_from_slice(numbers.bytes());
    out.extend_from_slice(meta.attributes);
    out.push(INLINE_VALUE);
    true
}

/// Decodes a plain put; `None` if it is something else.
pub(super) fn decode_record(bytes: &[u8]) -> Option<Record<'_>> {
    let mut from = Reader(bytes);
    if from.byte()? != PUT {
        return None;
    }
    let space = match from.byte()? {
        0 => Space::Object,
        1 => Space::Part,
        _ => return None,
    };
    let (key, meta) = (from.slice()?, from.meta()?);
    let is_plain = from.byte()? == INLINE_VALUE && from.0.is_empty();
    is_plain.then_some(Record::Put(Put { space, key, meta, value: Value::Inline }))
}

/// Appends the entry to `out` if it is that of a plain put; whether it is.
pub(super) fn encode_entry(entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
    let Entry { seq, track, chain, meta, place } = entry;
    if !matches!(place, Place::Empty | Place::Inline { .. }) {
        return false;
    }
    let mut numbers = Numbers::new();
    numbers.number(seq.0);
    numbers.number(track.0.into());
    numbers.number(chain.0);
    numbers.meta(meta);
    if !meta.attributes.is_empty() {
        out.extend_from_slice(numbers.bytes());
        out.extend_from_slice(meta.attributes);
        numbers.len = 0;
    }
    if let Place::Inline { chunk, offset } = *place {
        numbers.byte(INLINE_PLACE);
        numbers.number(chunk.into());
        numbers.number(offset.into());
    } else {
        numbers.byte(EMPTY_PLACE);
    }
    out.extend_from_slice(numbers.bytes());
    true
}

/// Decodes the entry of a put that is plain or in segments; `None` if it is something else.
pub(super) fn decode_entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let mut from = Reader(bytes);
    let (seq, track, chain) = (Seq(from.u64()?), TrackId(from.u32()?), Seq(from.u64()?));
    let meta = from.meta()?;
    let place = match from.byte()? {
        EMPTY_PLACE => Place::Empty,
        INLINE_PLACE => Place::Inline { chunk: from.u32()?, offset: from.u16()? },
        SEGMENTS_PLACE => Place::Segments(from.segments()?),
        _ => return None,
    };
    from.0.is_empty().then_some(Entry { seq, track, chain, meta, place })
}

/// Decodes what is counted below a common prefix.
pub(super) fn decode_prefix(bytes: &[u8]) -> Option<PrefixRow> {
    let mut from = Reader(bytes);
    let row = PrefixRow { keys: from.u64()?, lasting: from.u64()?, direct: from.u64()? };
    from.0.is_empty().then_some(row)
}

/// Numbers on their way out: collected here, they are appended at once.
struct Numbers {
    bytes: [u8; NUMBERS_BYTES],
    len: usize,
}

impl Numbers {
    fn new() -> Self {
        Numbers { bytes: [0; NUMBERS_BYTES], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn number(&mut self, number: u64) {
        let (first, width) = match number {
            0..=250 => (number as u8, 0),
            251..=0xffff => (U16, 2),
            0x1_0000..=0xffff_ffff => (U32, 4),
            _ => (U64, 8),
        };
        let rest = self.len + 1;
        self.bytes[self.len] = first;
        // All eight, always: what is more than the width is overwritten, or not given out.
        self.bytes[rest..rest + 8].copy_from_slice(&number.to_le_bytes());
        self.len = rest + width;
    }

    /// All but the attributes themselves, which are last.
    fn meta(&mut self, meta: &Meta<'_>) {
        let Meta { len, crc, created_ms, modified_ms, expires_ms, attributes } = meta;
        self.number(*len);
        self.number((*crc).into());
        self.number(*created_ms);
        self.number(*modified_ms);
        self.byte(expires_ms.is_some().into());
        if let Some(expires_ms) = expires_ms {
            self.number(*expires_ms);
        }
        self.number(attributes.len() as u64);
    }
}

/// What is left to decode.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn fixed<const WIDTH: usize>(&mut self) -> Option<[u8; WIDTH]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        match self.byte()? {
            U16 => self.fixed().map(u16::from_le_bytes),
            byte => (byte < U16).then_some(byte.into()),
        }
    }

    fn u32(&mut self) -> Option<u32> {
        match self.byte()? {
            U16 => self.fixed().map(u16::from_le_bytes).map(u32::from),
            U32 => self.fixed().map(u32::from_le_bytes),
            byte => (byte < U16).then_some(byte.into()),
        }
    }

    fn u64(&mut self) -> Option<u64> {
        match self.byte()? {
            U16 => self.fixed().map(u16::from_le_bytes).map(u64::from),
            U32 => self.fixed().map(u32::from_le_bytes).map(u64::from),
            U64 => self.fixed().map(u64::from_le_bytes),
            byte => (byte < U16).then_some(byte.into()),
        }
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        let (slice, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(slice)
    }

    fn segments(&mut self) -> Option<SegmentList> {
        let count = usize::try_from(self.u64()?).ok()?;
        // What is there bounds what is allocated.
        if count > self.0.len() / SEGMENT_MIN_BYTES {
            return None;
        }
        let (mut list, mut seq) = (Vec::with_capacity(count), 0_u64);
        for _ in 0..count {
            // The sign is the last bit.
            let delta = self.u64()?;
            seq = seq.wrapping_add((delta >> 1) ^ (delta & 1).wrapping_neg());
            let len = self.u64()?;
            let refilled = match self.byte()? {
                0 => None,
                1 => Some(Refilled {
                    track: TrackId(self.u32()?),
                    chunk: self.u32()?,
                    crc: self.u32()?,
                }),
                _ => return None,
            };
            list.push(SegmentRef { seq: Seq(seq), len, refilled });
        }
        Some(SegmentList(list))
    }

    fn meta(&mut self) -> Option<Meta<'a>> {
        let (len, crc, created_ms, modified_ms) =
            (self.u64()?, self.u32()?, self.u64()?, self.u64()?);
        let expires_ms = match self.byte()? {
            0 => None,
            1 => Some(self.u64()?),
            _ => return None,
        };
        Some(Meta { len, crc, created_ms, modified_ms, expires_ms, attributes: self.slice()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::codec;

    const NUMBERS: [u64; 12] = [
        0,
        1,
        250,
        251,
        252,
        253,
        255,
        u16::MAX as u64,
        u16::MAX as u64 + 1,
        u32::MAX as u64,
        u32::MAX as u64 + 1,
        u64::MAX,
    ];

    /// Metas in which each field takes each of the numbers that fit.
    fn metas<'a>(attributes: &'a [&'a [u8]]) -> impl Iterator<Item = Meta<'a>> {
        let fields = NUMBERS.iter().flat_map(|number| (0..6).map(move |field| (field, *number)));
        let metas = fields.map(|(field, number)| {
            let of = |this| if field == this { number } else { 7 };
            let expires_ms = (field >= 4).then(|| of(4));
            let crc = u32::try_from(of(1)).unwrap_or(u32::MAX);
            let (len, created_ms, modified_ms) = (of(0), of(2), of(3));
            Meta { len, crc, created_ms, modified_ms, expires_ms, attributes: b"" }
        });
        metas
            .flat_map(|meta| attributes.iter().map(move |a| Meta { attributes: a, ..meta.clone() }))
    }

    /// What is accepted by hand is what bincode makes of it, whatever the bytes are.
    fn same_of_any_bytes(bytes: &[u8], same: impl Fn(&[u8])) {
        same(bytes);
        for cut in 0..bytes.len() {
            same(&bytes[..cut]);
            for value in [0, 1, 2, 250, 251, 252, 253, 254, 255] {
                let mut changed = bytes.to_vec();
                changed[cut] = value;
                same(&changed);
            }
        }
    }

    #[test]
    fn puts_are_bincode_to_the_last_byte() {
        let long = [7; 300];
        let attributes: [&[u8]; 3] = [b"", b"type", &long];
        for meta in metas(&attributes) {
            for (space, key) in [(Space::Object, &b"camera"[..]), (Space::Part, &long)] {
                let put = Put { space, key, meta: meta.clone(), value: Value::Inline };
                let (record, mut by_hand, mut bincode) = (Record::Put(put), vec![], vec![]);
                assert!(encode_record(&record, &mut by_hand));
                codec::encode_into(&record, &mut bincode);
                assert_eq!(by_hand, bincode);
                assert_eq!(decode_record(&by_hand), Some(record));
            }
        }
    }

    #[test]
    fn entries_are_bincode_to_the_last_byte() {
        let long = [7; 300];
        let places = [(0, 0), (250, 251), (u32::MAX, u16::MAX), (70_000, 4071)]
            .map(|(chunk, offset)| Place::Inline { chunk, offset });
        let attributes: [&[u8]; 2] = [b"", &long];
        let metas: Vec<_> = metas(&attributes).collect();
        for (at, meta) in metas.into_iter().enumerate() {
            for place in places.iter().cloned().chain([Place::Empty]) {
                let number = NUMBERS[at % NUMBERS.len()];
                let (seq, chain) = (Seq(number), Seq(number.wrapping_add(1)));
                let track = TrackId(u32::try_from(number).unwrap_or(u32::MAX));
                let entry = Entry { seq, track, chain, meta: meta.clone(), place };
                let (mut by_hand, mut bincode) = (vec![], vec![]);
                assert!(encode_entry(&entry, &mut by_hand));
                codec::encode_into(&entry, &mut bincode);
                assert_eq!(by_hand, bincode);
                assert_eq!(decode_entry(&by_hand), Some(entry));
            }
        }
    }

    #[test]
    fn what_is_accepted_by_hand_is_what_bincode_makes_of_it() {
        let attributes: [&[u8]; 2] = [b"", b"type"];
        for meta in metas(&attributes).step_by(5) {
            let mut bytes = vec![];
            let put = Put { space: Space::Object, key: b"key", meta, value: Value::Inline };
            let place = Place::Inline { chunk: 70_000, offset: 300 };
            let (seq, chain) = (Seq(1 << 41), Seq(251));
            let meta = put.meta.clone();
            let entry = Entry { seq, track: TrackId(3), chain, meta, place };
            codec::encode_into(&Record::Put(put), &mut bytes);
            same_of_any_bytes(&bytes, |bytes| {
                let by_hand = decode_record(bytes);
                let bincode = codec::decode("record", bytes);
                assert!(by_hand.is_none_or(|by_hand| Ok(by_hand) == bincode), "{bytes:?}");
            });
            bytes.clear();
            codec::encode_into(&entry, &mut bytes);
            same_of_any_bytes(&bytes, |bytes| {
                let by_hand = decode_entry(bytes);
                let bincode = codec::decode("index entry", bytes);
                assert!(by_hand.is_none_or(|by_hand| Ok(by_hand) == bincode), "{bytes:?}");
            });
        }
    }

    #[test]
    fn lists_of_segments_are_what_bincode_makes_of_them() {
        let segment = |at: usize| {
            let number = |by: usize| NUMBERS[(at + by) % NUMBERS.len()];
            let narrow = |by| u32::try_from(number(by)).unwrap_or(u32::MAX);
            let place = Refilled { track: TrackId(narrow(2)), chunk: narrow(5), crc: narrow(7) };
            let refilled = (at % 2 == 1).then_some(place);
            SegmentRef { seq: Seq(number(0)), len: number(1), refilled }
        };
        for count in [0, 1, 2, 5, 30] {
            let list = SegmentList((0..count).map(|at| segment(at * 5 + count)).collect());
            let meta = metas(&[b"type"]).next().expect("there are some");
            let (seq, track, chain) = (Seq(1 << 41), TrackId(3), Seq(251));
            let entry = Entry { seq, track, chain, meta, place: Place::Segments(list) };
            let mut bytes = vec![];
            codec::encode_into(&entry, &mut bytes);
            assert_eq!(decode_entry(&bytes), Some(entry));
            same_of_any_bytes(&bytes, |bytes| {
                let by_hand = decode_entry(bytes);
                let bincode = codec::decode("index entry", bytes);
                assert!(by_hand.is_none_or(|by_hand| Ok(by_hand) == bincode), "{bytes:?}");
            });
        }
    }

    #[test]
    fn counts_are_what_bincode_makes_of_them() {
        for (at, &keys) in NUMBERS.iter().enumerate() {
            let (lasting, direct) =
                (NUMBERS[(at + 3) % NUMBERS.len()], NUMBERS[(at + 7) % NUMBERS.len()]);
            let row = PrefixRow { keys, lasting, direct };
            let mut bytes = vec![];
            codec::encode_into(&row, &mut bytes);
            assert_eq!(decode_prefix(&bytes), Some(row));
            same_of_any_bytes(&bytes, |bytes| {
                let by_hand = decode_prefix(bytes);
                let bincode = codec::decode("counts", bytes);
                assert!(by_hand.is_none_or(|by_hand| Ok(by_hand) == bincode), "{bytes:?}");
            });
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_bincode() {
        let meta = metas(&[b""]).next().expect("there are some");
        let (space, key) = (Space::Object, &b"key"[..]);
        let value = Value::Segments(SegmentList::default());
        let mut out = vec![];
        for record in [
            Record::Put(Put { space, key, meta: meta.clone(), value }),
            Record::Delete { space, key },
            Record::Segment { len: 1, crc: 2 },
        ] {
            assert!(!encode_record(&record, &mut out));
        }
        let place = Place::Segments(SegmentList::default());
        let entry = Entry { seq: Seq(1), track: TrackId(2), chain: Seq(3), meta, place };
        assert!(!encode_entry(&entry, &mut out));
        assert!(out.is_empty());
    }
}
