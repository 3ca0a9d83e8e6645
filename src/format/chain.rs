//! A chain: one atomic append. Its directory first, then its values.
//!
//! ```text
//! chunk   0           1           2       3            4     ..      9
//!       +-----------+-----------+-------+------------+--------------+
//!       | directory | directory | small | small, end | a large value|  ...
//!       |           | a, b, c.. | ..a b | c          | alone        |
//!       +-----------+-----------+-------+------------+--------------+
//! ```
//!
//! A directory chunk's payload opens with a prelude, repeated in each, so that each decodes
//! alone and one bad chunk costs only the keys in it:
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 4 | chunks | chunks in the chain |
//! | 4 | 4 | index | this chunk's number in the chain |
//! | 8 | 4 | directory chunks | chunks at the front that hold the directory |
//! | 12 | 4 | entry bytes | bytes of the entries that begin here; more than fit only if one entry goes on in the `DirectoryRest` chunks behind |
//! | 16 | 4 | entry count | entries that begin here |
//! | 20 | 4 | synced | chunk up to which the track had been synced when the chain was framed (I10) |
//! | 24 | 4 | value chunk | chunk, in the chain, of this directory chunk's first packed value |
//! | 28 | 2 | value offset | its byte offset in that chunk's payload |
//! | 30 | 2 | reserved | 0 |
//! | 32 | 4 | body chunk | chunk, in the chain, of this directory chunk's first owned value |
//! | 36 | | entries | see [`super::record`] |
//!
//! Values of fewer than [`OWNED_MIN_BYTES`] bytes are *packed* one behind the other, from the end
//! of the last directory chunk on; larger ones, and all segments, are *owned*: they begin a chunk
//! and share none. Both follow in the order of their records, so that a place is arithmetic: a
//! packed position advances by the value's length over payloads of 4,072 bytes, an owned one by
//! whole chunks. Empty values and values in segments take no place.
//!
//! Example: the put of a 4-byte value under `k` makes one chunk: prelude, the entry of some 30
//! bytes, and the value behind it; its prelude begins
//! `01 00 00 00 00 00 00 00 01 00 00 00` (one chunk, number 0, one directory chunk).

use std::borrow::Cow;
use std::sync::LazyLock;

use super::checksum::{self, Joiner};
use super::chunk::{
    self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES,
};
use super::record::{self, OWNED_MIN_BYTES, Record};
use super::{Fault, Seq, bytes_at};

/// Bytes of a directory chunk's payload before its entries.
pub const PRELUDE_BYTES: usize = 36;
/// Entry bytes that fit a directory chunk.
const ENTRY_ROOM: usize = PAYLOAD_BYTES - PRELUDE_BYTES;
/// Chunks in a chain at most, so that a chain's length is never trusted beyond it: 1 GiB.
pub const MAX_CHUNKS: u32 = 1 << 18;

const WHAT: &str = "directory";

/// How a record's value takes room in its chain.
///
/// ```
/// use kogia::format::{chain::Room, record::Record};
///
/// let segment = Record::Segment { len: 5_000, crc: 0 };
/// assert_eq!(Room::of(&segment), Room::Owned(5_000));
/// assert_eq!(Room::of(&segment).owned_chunks(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// No bytes here: deletes, empty values, values in segments.
    None,
    /// Shares chunks with its neighbours.
    Packed(u32),
    /// Begins a chunk and shares none.
    Owned(u32),
}

/// A value's place in its chain.
///
/// ```
/// use kogia::format::chain::{Layout, PRELUDE_BYTES, Room, Spot};
///
/// // Entries of 30 bytes; the values are packed behind them.
/// let layout = Layout::new(&[(30, Room::Packed(4)), (30, Room::Packed(7))]);
/// let first = PRELUDE_BYTES as u16 + 60;
/// assert_eq!(layout.spots[0], Spot { chunk: 0, offset: first });
/// assert_eq!(layout.spots[1], Spot { chunk: 0, offset: first + 4 });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spot {
    /// Chunk, counted from the chain's first.
    pub chunk: u32,
    /// Byte offset in that chunk's payload.
    pub offset: u16,
}

impl Room {
    /// The room that `record` takes.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Self {
        match record {
            Record::Segment { len, .. } => Room::Owned(room_bytes(*len)),
            Record::Put(put) => match put.inline_bytes() {
                0 => Room::None,
                len if len >= OWNED_MIN_BYTES => Room::Owned(room_bytes(len)),
                len => Room::Packed(room_bytes(len)),
            },
            Record::Delete { .. } => Room::None,
        }
    }

    /// The whole chunks of a value that shares none.
    #[must_use]
    pub fn owned_chunks(self) -> u32 {
        match self {
            Room::Owned(len) => chunk::chunks_for(len.into()) as u32,
            Room::None | Room::Packed(_) => 0,
        }
    }
}

/// A length that no chain can hold saturates, and then fails the check against the chain's end.
fn room_bytes(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// The positions of the next packed and the next owned value.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    packed: Spot,
    body: u32,
}

impl Cursor {
    /// The place of a value that takes `room`, and moves on behind it.
    fn take(&mut self, room: Room) -> Result<Spot, Fault> {
        let beyond = || Fault::Invalid { what: WHAT, why: "a value beyond the chain's end".into() };
        match room {
            Room::None => Ok(Spot::default()),
            Room::Owned(len) => {
                let spot = Spot { chunk: self.body, offset: 0 };
                let chunks = chunk::chunks_for(len.into()) as u32;
                self.body = self.body.checked_add(chunks).ok_or_else(beyond)?;
                Ok(spot)
            }
            Room::Packed(len) => {
                let spot = self.packed;
                let end = u64::from(spot.offset) + u64::from(len);
                let chunks = (end / PAYLOAD_BYTES as u64) as u32;
                self.packed.chunk = spot.chunk.checked_add(chunks).ok_or_else(beyond)?;
                self.packed.offset = (end % PAYLOAD_BYTES as u64) as u16;
                Ok(spot)
            }
        }
    }
}

/// Where everything of a chain goes, before it has a seq or a place.
///
/// ```
/// use kogia::format::chain::{Layout, Room, Spot};
///
/// // A small value shares the directory's chunk, a large one owns those behind it.
/// let layout = Layout::new(&[(30, Room::Packed(4)), (30, Room::Owned(20_000))]);
/// assert_eq!((layout.head_chunks, layout.chunks), (1, 6));
/// assert_eq!(layout.spots[1], Spot { chunk: 1, offset: 0 });
/// ```
#[derive(Debug)]
pub struct Layout {
    /// Chunks of the directory and the packed values.
    pub head_chunks: u32,
    /// Chunks of the whole chain.
    pub chunks: u32,
    /// Chunks of the directory.
    pub directory_chunks: u32,
    /// The place of each record's value.
    pub spots: Vec<Spot>,
    groups: Vec<Group>,
}

/// The entries of one directory chunk.
#[derive(Debug)]
struct Group {
    chunk: u32,
    entries: std::ops::Range<usize>,
    bytes: usize,
    cursor: Cursor,
}

impl Layout {
    /// Lays out records of the given entry lengths and rooms.
    #[must_use]
    pub fn new(records: &[(usize, Room)]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut chunk = 0;
        for (index, &(len, _)) in records.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if group.bytes + len <= ENTRY_ROOM => {
                    group.entries.end += 1;
                    group.bytes += len;
                }
                before => {
                    chunk += before.map_or(0, |group| group.chunks());
                    groups.push(Group::new(chunk, index, len));
                }
            }
        }
        let directory_chunks = chunk + groups.last().map_or(0, Group::chunks);
        let packed = match groups.last() {
            Some(group) if group.bytes < ENTRY_ROOM => {
                Spot { chunk: group.chunk, offset: (PRELUDE_BYTES + group.bytes) as u16 }
            }
            _ => Spot { chunk: directory_chunks, offset: 0 },
        };
        let packed_bytes = |room: Room| if let Room::Packed(n) = room { n.into() } else { 0 };
        let total: u64 = records.iter().map(|&(_, room)| packed_bytes(room)).sum();
        let end = u64::from(packed.offset) + total;
        let last = Spot {
            chunk: packed.chunk + (end / PAYLOAD_BYTES as u64) as u32,
            offset: (end % PAYLOAD_BYTES as u64) as u16,
        };
        let head_chunks = directory_chunks.max(last.chunk + u32::from(last.offset > 0));

        let mut cursor = Cursor { packed, body: head_chunks };
        let mut spots = Vec::with_capacity(records.len());
        for group in &mut groups {
            group.cursor = cursor;
            for &(_, room) in &records[group.entries.clone()] {
                spots.push(cursor.take(room).expect("our own chains are bounded"));
            }
        }
        let chunks = cursor.body;
        Layout { head_chunks, chunks, directory_chunks, spots, groups }
    }

    /// Writes the directory and the packed values, checksums included, into `out`, which is
    /// cleared first. `entries` and `packed` are in the order of the records.
    pub fn write_head<'a>(
        &self,
        chain: &ChainPlace,
        entries: impl IntoIterator<Item = &'a [u8]>,
        packed: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        out.resize(self.head_chunks as usize * CHUNK_BYTES, 0);
        let mut head = Head { framed: out, used: vec![0; self.head_chunks as usize] };
        let mut entries = entries.into_iter();
        for group in &self.groups {
            let start = Spot { chunk: group.chunk, offset: 0 };
            let mut at = head.copy(start, &self.prelude(group, chain));
            for entry in entries.by_ref().take(group.entries.len()) {
                at = head.copy(at, entry);
            }
        }
        let start = self.groups.first().map_or(Spot::default(), |group| group.cursor.packed);
        packed.into_iter().fold(start, |at, value| head.copy(at, value));
        head.seal(self, chain);
    }

    fn prelude(&self, group: &Group, chain: &ChainPlace) -> [u8; PRELUDE_BYTES] {
        let mut prelude = [0; PRELUDE_BYTES];
        let words = [
            self.chunks,
            group.chunk,
            self.directory_chunks,
            group.bytes as u32,
            group.entries.len() as u32,
            chain.synced,
            group.cursor.packed.chunk,
            u32::from(group.cursor.packed.offset),
            group.cursor.body,
        ];
        for (field, word) in prelude.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        prelude
    }

    fn kind(&self, index: u32) -> ChunkKind {
        if self.groups.binary_search_by_key(&index, |group| group.chunk).is_ok() {
            ChunkKind::Directory
        } else if index < self.directory_chunks {
            ChunkKind::DirectoryRest
        } else {
            ChunkKind::Body
        }
    }
}

/// The chunks of a directory and its packed values, while they are filled.
struct Head<'a> {
    framed: &'a mut [u8],
    used: Vec<u16>,
}

impl Head<'_> {
    /// Copies `bytes` to the payload position `at`; gives the position behind them.
    fn copy(&mut self, mut at: Spot, mut bytes: &[u8]) -> Spot {
        while !bytes.is_empty() {
            let room = PAYLOAD_BYTES - usize::from(at.offset);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let start = at.chunk as usize * CHUNK_BYTES + HEADER_BYTES + usize::from(at.offset);
            self.framed[start..start + now.len()].copy_from_slice(now);
            at.offset += now.len() as u16;
            self.used[at.chunk as usize] = at.offset;
            if usize::from(at.offset) == PAYLOAD_BYTES {
                at = Spot { chunk: at.chunk + 1, offset: 0 };
            }
            bytes = later;
        }
        at
    }

    fn seal(self, layout: &Layout, chain: &ChainPlace) {
        let chunks = self.framed.chunks_exact_mut(CHUNK_BYTES);
        for (index, (bytes, used)) in (0_u32..).zip(chunks.zip(self.used)) {
            let header = chain.header(index, layout.chunks, used, layout.kind(index));
            header.seal_whole(bytes, chain.chunk_place(index));
        }
    }
}

impl Group {
    fn new(chunk: u32, index: usize, bytes: usize) -> Self {
        let cursor = Cursor { packed: Spot::default(), body: 0 };
        Group { chunk, entries: index..index + 1, bytes, cursor }
    }

    fn chunks(&self) -> u32 {
        1 + self.bytes.saturating_sub(ENTRY_ROOM).div_ceil(PAYLOAD_BYTES) as u32
    }
}

/// A chain's identity and place: what its chunks' headers say.
///
/// ```
/// use kogia::format::chain::ChainPlace;
/// use kogia::format::chunk::{ChunkKind, ChunkPlace};
/// use kogia::format::{Seq, StoreId, TrackId};
///
/// let start = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 10 };
/// let chain = ChainPlace { start, seq: Seq(9), synced: 10 };
/// assert_eq!(chain.chunk_place(2).chunk, 12);
/// let header = chain.header(0, 3, 400, ChunkKind::Directory);
/// assert_eq!((header.first, header.last, header.next), (true, false, 11 * 4096));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChainPlace {
    /// The chain's first chunk.
    pub start: ChunkPlace,
    /// The chain's seq.
    pub seq: Seq,
    /// Chunk up to which the track had been synced.
    pub synced: u32,
}

impl ChainPlace {
    /// The place of the chain's chunk `index`.
    #[must_use]
    pub fn chunk_place(&self, index: u32) -> ChunkPlace {
        ChunkPlace { chunk: self.start.chunk + index, ..self.start }
    }

    /// The header of the chain's chunk `index`, of `chunks` in all.
    #[must_use]
    pub fn header(&self, index: u32, chunks: u32, used: u16, kind: ChunkKind) -> ChunkHeader {
        let last = index + 1 == chunks;
        let next = u64::from(self.start.chunk + index + 1) * CHUNK_BYTES as u64;
        ChunkHeader {
            used,
            first: index == 0,
            last,
            kind,
            seq: self.seq,
            next: if last { 0 } else { next },
        }
    }
}

/// An owned value, framed into chunks by the caller; only the headers wait for the place.
///
/// ```
/// use kogia::format::{chain::Body, checksum::crc32c};
///
/// let mut body = Body::with_capacity(11);
/// body.push(b"kogia ");
/// body.push(b"sima");
/// assert_eq!((body.len(), body.crc()), (10, crc32c(b"kogia sima")));
/// assert_eq!(body.to_value(), b"kogia sima");
/// ```
#[derive(Debug, Default)]
pub struct Body {
    framed: Vec<u8>,
    payload_crcs: Vec<u32>,
    len: u64,
}

impl Body {
    /// An empty body with room for `bytes` value bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let chunks = bytes.div_ceil(PAYLOAD_BYTES);
        Body {
            framed: Vec::with_capacity(chunks * CHUNK_BYTES),
            payload_crcs: Vec::with_capacity(chunks),
            len: 0,
        }
    }

    /// Appends value bytes, summing them as they are copied.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let fill = (self.len % PAYLOAD_BYTES as u64) as usize;
            let (now, later) = bytes.split_at((PAYLOAD_BYTES - fill).min(bytes.len()));
            if fill == 0 {
                self.framed.extend_from_slice(&[0; HEADER_BYTES]);
                self.payload_crcs.push(0);
            }
            self.framed.extend_from_slice(now);
            let crc = self.payload_crcs.last_mut().expect("pushed with the chunk");
            *crc = checksum::extend(*crc, now);
            self.len += now.len() as u64;
            bytes = later;
        }
    }

    /// Value bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no value bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// CRC-32C of the value bytes, from the sums of the payloads.
    #[must_use]
    pub fn crc(&self) -> u32 {
        static FULL: LazyLock<Joiner> = LazyLock::new(|| Joiner::new(PAYLOAD_BYTES));
        let Some((&last, full)) = self.payload_crcs.split_last() else { return 0 };
        if full.is_empty() {
            return last;
        }
        let crc = full.iter().fold(0, |sum, &crc| FULL.join(sum, crc));
        // To sum what is in the last chunk once more takes a hundredth of what it takes to shift by any length.
        let start = full.len() * CHUNK_BYTES + HEADER_BYTES;
        let used = self.len as usize - full.len() * PAYLOAD_BYTES;
        checksum::extend(crc, &self.framed[start..start + used])
    }

    /// The value bytes, copied out of their chunks.
    #[must_use]
    pub fn to_value(&self) -> Vec<u8> {
        let payloads = self.framed.chunks(CHUNK_BYTES).map(|chunk| &chunk[HEADER_BYTES..]);
        payloads.flatten().copied().collect()
    }

    /// Seals the chunks, as the chain's chunks from number `first` on, of `chunks` in all; gives
    /// the bytes to append.
    pub fn seal(&mut self, chain: &ChainPlace, first: u32, chunks: u32) -> &[u8] {
        let whole = self.payload_crcs.len() * CHUNK_BYTES;
        let last_used = (self.len.max(1) - 1) as usize % PAYLOAD_BYTES + 1;
        self.framed.resize(whole, 0);
        let count = self.payload_crcs.len();
        let framed = self.framed.chunks_exact_mut(CHUNK_BYTES);
        for (at, (bytes, &crc)) in framed.zip(&self.payload_crcs).enumerate() {
            let used = if at + 1 == count { last_used } else { PAYLOAD_BYTES };
            let index = first + at as u32;
            let header = chain.header(index, chunks, used as u16, ChunkKind::Body);
            header.seal(bytes, crc, chain.chunk_place(index));
        }
        &self.framed
    }
}

/// One decoded directory chunk.
///
/// ```
/// use kogia::format::{chain::Directory, chunk};
/// # use kogia::format::chain::{ChainPlace, Layout, Room};
/// # use kogia::format::chunk::ChunkPlace;
/// # use kogia::format::record::{self, Record};
/// # use kogia::format::{Seq, StoreId, TrackId};
/// # let segment = Record::Segment { len: 5_000, crc: 0 };
/// # let mut entry = Vec::new();
/// # segment.encode_into(&mut entry);
/// # record::set_seq(&mut entry, Seq(8));
/// # let layout = Layout::new(&[(entry.len(), Room::of(&segment))]);
/// # let start = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 10 };
/// # let mut bytes = Vec::new();
/// # let chain = ChainPlace { start, seq: Seq(9), synced: 10 };
/// # layout.write_head(&chain, [&entry[..]], [], &mut bytes);
///
/// // The first chunk of a chain that holds one segment of 5,000 bytes.
/// let (_, payload) = chunk::open(&bytes, start)?;
/// let directory = Directory::decode(payload)?;
/// assert_eq!((directory.index, directory.chunks, directory.head_chunks()), (0, 3, 1));
/// assert_eq!(directory.entries().count(), 1);
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Debug, Clone)]
pub struct Directory<'a> {
    /// Chunks in the chain.
    pub chunks: u32,
    /// This chunk's number in the chain.
    pub index: u32,
    /// Chunks at the chain's front that hold the directory.
    pub directory_chunks: u32,
    /// Chunk up to which the track had been synced when the chain was framed.
    pub synced: u32,
    entry_bytes: usize,
    entry_count: u32,
    cursor: Cursor,
    entries: Cow<'a, [u8]>,
}

/// A record as a directory holds it.
///
/// ```
/// # use kogia::format::chain::{ChainPlace, Layout, Room};
/// # use kogia::format::chunk::ChunkPlace;
/// # use kogia::format::record::{self, Record};
/// # use kogia::format::{Seq, StoreId, TrackId};
/// # let segment = Record::Segment { len: 5_000, crc: 0 };
/// # let mut entry = Vec::new();
/// # segment.encode_into(&mut entry);
/// # record::set_seq(&mut entry, Seq(8));
/// # let layout = Layout::new(&[(entry.len(), Room::of(&segment))]);
/// # let start = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 10 };
/// # let mut bytes = Vec::new();
/// # let chain = ChainPlace { start, seq: Seq(9), synced: 10 };
/// # layout.write_head(&chain, [&entry[..]], [], &mut bytes);
/// # use kogia::format::{chain::Directory, chunk};
/// # let (_, payload) = chunk::open(&bytes, start)?;
/// # let directory = Directory::decode(payload)?;
/// let entry = directory.entries().next().expect("the chain has one record")?;
/// assert_eq!((entry.seq, entry.room), (Seq(8), Room::Owned(5_000)));
/// assert_eq!((entry.spot.chunk, entry.spot.offset), (1, 0));
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// The record's seq.
    pub seq: Seq,
    /// The operation.
    pub record: Record<'a>,
    /// Where its value is in the chain, if it has one there.
    pub spot: Spot,
    /// The room that its value takes there.
    pub room: Room,
}

impl<'a> Directory<'a> {
    /// Decodes the prelude of a directory chunk's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Fault> {
        if payload.len() < PRELUDE_BYTES {
            let found = payload.len();
            return Err(Fault::Short { what: WHAT, needed: PRELUDE_BYTES, found });
        }
        let word = |at| u32::from_le_bytes(bytes_at(payload, at));
        let directory = Directory {
            chunks: word(0),
            index: word(4),
            directory_chunks: word(8),
            synced: word(20),
            entry_bytes: word(12) as usize,
            entry_count: word(16),
            cursor: Cursor {
                packed: Spot { chunk: word(24), offset: word(28) as u16 },
                body: word(32),
            },
            entries: Cow::Borrowed(&payload[PRELUDE_BYTES..]),
        };
        directory.check()?;
        Ok(directory)
    }

    /// `DirectoryRest` chunks that the entry which begins here runs over into.
    #[must_use]
    pub fn rest_chunks(&self) -> u32 {
        self.entry_bytes.saturating_sub(ENTRY_ROOM).div_ceil(PAYLOAD_BYTES) as u32
    }

    /// Chunks of the directory and the packed values; known from a chain's first chunk.
    #[must_use]
    pub fn head_chunks(&self) -> u32 {
        self.cursor.body
    }

    /// The same, where the first chunk can't be read: known from the last directory chunk, if all
    /// its entries decode.
    #[must_use]
    pub fn packed_end(&self) -> Option<u32> {
        if self.index + 1 + self.rest_chunks() != self.directory_chunks {
            return None;
        }
        let mut rest = &self.entries[..self.entry_bytes.min(self.entries.len())];
        let mut cursor = self.cursor;
        for _ in 0..self.entry_count {
            self.next_entry(&mut rest, &mut cursor).ok()?;
        }
        let Spot { chunk, offset } = cursor.packed;
        Some(self.directory_chunks.max(chunk + u32::from(offset > 0)))
    }

    /// The same, holding its own bytes.
    #[must_use]
    pub fn into_owned(self) -> Directory<'static> {
        Directory { entries: Cow::Owned(self.entries.into_owned()), ..self }
    }

    /// Appends the payload of the next `DirectoryRest` chunk.
    pub fn push_rest(&mut self, payload: &[u8]) {
        self.entries.to_mut().extend_from_slice(payload);
    }

    /// How many records it says that it has.
    pub(crate) fn entry_count(&self) -> usize {
        self.entry_count as usize
    }

    /// The records of this directory chunk, in order; a fault ends them.
    pub fn entries(&self) -> impl Iterator<Item = Result<DirectoryEntry<'_>, Fault>> {
        let mut rest = &self.entries[..self.entry_bytes.min(self.entries.len())];
        let mut cursor = self.cursor;
        let mut left = self.entry_count;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let entry = self.next_entry(&mut rest, &mut cursor);
            if entry.is_err() {
                left = 0;
            }
            Some(entry)
        })
    }

    fn next_entry<'b>(
        &self,
        rest: &mut &'b [u8],
        cursor: &mut Cursor,
    ) -> Result<DirectoryEntry<'b>, Fault> {
        let needed = record::entry_bytes(rest)?;
        if needed > rest.len() {
            return Err(Fault::Short { what: WHAT, needed, found: rest.len() });
        }
        let (entry, behind) = rest.split_at(needed);
        let (seq, record) = record::decode(entry)?;
        let room = Room::of(&record);
        let spot = cursor.take(room)?;
        let packed_end = cursor.packed.chunk + u32::from(cursor.packed.offset > 0);
        if packed_end.max(cursor.body) > self.chunks {
            let why = "a value beyond the chain's end".into();
            return Err(Fault::Invalid { what: WHAT, why });
        }
        *rest = behind;
        Ok(DirectoryEntry { seq, record, spot, room })
    }

    fn check(&self) -> Result<(), Fault> {
        let invalid = |why: String| Err(Fault::Invalid { what: WHAT, why });
        if self.chunks == 0 || self.chunks > MAX_CHUNKS {
            return invalid(format!("{} chunks in the chain", self.chunks));
        }
        if self.index >= self.directory_chunks || self.directory_chunks > self.chunks {
            return invalid(format!(
                "chunk {} of {} of the directory, in a chain of {}",
                self.index, self.directory_chunks, self.chunks
            ));
        }
        if self.index + self.rest_chunks() >= self.directory_chunks {
            return invalid(format!("{} entry bytes run out of it", self.entry_bytes));
        }
        let one_runs_over = self.rest_chunks() == 0 || self.entry_count == 1;
        if !one_runs_over || self.entry_count as usize > self.entry_bytes / record::PREFIX_BYTES {
            return invalid(format!("{} entries in {} bytes", self.entry_count, self.entry_bytes));
        }
        if usize::from(self.cursor.packed.offset) >= PAYLOAD_BYTES
            || self.cursor.packed.chunk > self.chunks
            || self.cursor.body < self.directory_chunks
            || self.cursor.body > self.chunks
        {
            return invalid("values beyond the chain's end".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
