//! A chain of any records: what was laid out is found again, each value at its place.

#![no_main]

use kogia_fuzz::forge::PLACE;
use kogia_fuzz::format::Seq;
use kogia_fuzz::format::chain::{Body, ChainPlace, Directory, Layout, Room, Spot};
use kogia_fuzz::format::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind};
use kogia_fuzz::format::record::{self, MAX_KEY_BYTES, Put, Record, Space, Value};
use kogia_fuzz::seeds;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Keys and values of one chain stop here: larger ones only take longer.
const MAX_CHAIN_BYTES: usize = 60_000;

const CHAIN: ChainPlace = ChainPlace { start: PLACE, seq: Seq(1 << 41), synced: 2 };

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let mut source = Unstructured::new(data);
    let (mut operations, mut bytes) = (Vec::new(), 0);
    while bytes < MAX_CHAIN_BYTES && !source.is_empty() {
        let Ok(operation) = Operation::draw(&mut source) else { break };
        bytes += operation.key.len() + operation.value.len();
        operations.push(operation);
    }
    if !operations.is_empty() {
        check(&operations);
    }
});

/// A record to be, with its value.
struct Operation {
    shape: u8,
    key: Vec<u8>,
    attributes: Vec<u8>,
    value: Vec<u8>,
}

impl Operation {
    fn draw(source: &mut Unstructured<'_>) -> Result<Self> {
        let shape = source.int_in_range(0..=3)?;
        let key_len = match source.int_in_range(0..=7)? {
            0..=4 => source.int_in_range(1..=40)?,
            5 | 6 => source.int_in_range(3900..=4100)?,
            _ => source.int_in_range(1..=MAX_KEY_BYTES)?,
        };
        let value_len = match source.int_in_range(0..=7)? {
            0 => 0,
            1..=5 => source.int_in_range(1..=5_000)?,
            _ => source.int_in_range(16_000..=21_000)?,
        };
        let attributes_len = source.int_in_range(0..=50)?;
        let fill: u8 = source.arbitrary()?;
        let bytes = |len| (0..len).map(|i: usize| fill ^ (i % 251) as u8).collect();
        let [key, attributes, value] = [key_len, attributes_len, value_len].map(bytes);
        Ok(Operation { shape, key, attributes, value })
    }

    fn record(&self) -> Record<'_> {
        let (key, attributes) = (&self.key[..], &self.attributes[..]);
        let crc = crc32c::crc32c(&self.value);
        let len = self.value.len() as u64;
        match self.shape {
            0 => Record::Delete { space: Space::Object, key },
            1 if len > 0 => Record::Segment { len, crc },
            _ => {
                let meta = record::Meta { len, crc, attributes, ..seeds::meta(len) };
                Record::Put(Put { space: Space::Object, key, meta, value: Value::Inline })
            }
        }
    }
}

/// Writes the operations as one chain, reads it back from its chunks, and finds each record and
/// each value again.
fn check(operations: &[Operation]) {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for (operation, seq) in operations.iter().zip(1000..) {
        let mut entry = Vec::new();
        operation.record().encode_into(&mut entry);
        record::set_seq(&mut entry, Seq(seq));
        entries.push(entry);
    }
    let rooms: Vec<Room> = operations.iter().map(|o| Room::of(&o.record())).collect();
    let lengths = entries.iter().map(Vec::len);
    let layout = Layout::new(&lengths.zip(rooms.iter().copied()).collect::<Vec<_>>());
    let bytes = write(&layout, operations, &entries, &rooms);
    let chunks = open(&bytes);
    assert_eq!(chunks.len(), layout.chunks as usize);

    let mut found = 0;
    for (index, (header, payload)) in chunks.iter().enumerate() {
        if header.kind != ChunkKind::Directory {
            continue;
        }
        let mut directory = Directory::decode(payload).expect("our own directory");
        assert_eq!((directory.index as usize, directory.chunks), (index, layout.chunks));
        assert_eq!((directory.synced, directory.directory_chunks), (2, layout.directory_chunks));
        for (header, rest) in &chunks[index + 1..][..directory.rest_chunks() as usize] {
            assert_eq!(header.kind, ChunkKind::DirectoryRest);
            directory.push_rest(rest);
        }
        for entry in directory.entries() {
            let entry = entry.expect("our own entry");
            let operation = &operations[found];
            assert_eq!(entry.record, operation.record());
            assert_eq!(entry.seq, Seq(1000 + found as u64));
            assert_eq!((entry.room, entry.spot), (rooms[found], layout.spots[found]));
            if entry.room != Room::None {
                assert!(value(&chunks, entry.spot, operation.value.len()) == operation.value);
            }
            found += 1;
        }
    }
    assert_eq!(found, operations.len());
}

fn write(
    layout: &Layout,
    operations: &[Operation],
    entries: &[Vec<u8>],
    rooms: &[Room],
) -> Vec<u8> {
    let with_rooms = || operations.iter().zip(rooms);
    let packed = with_rooms().filter(|(_, room)| matches!(room, Room::Packed(_)));
    let mut bytes = Vec::new();
    layout.write_head(
        &CHAIN,
        entries.iter().map(|entry| &entry[..]),
        packed.map(|(operation, _)| &operation.value[..]),
        &mut bytes,
    );
    let mut at = layout.head_chunks;
    for (operation, _) in with_rooms().filter(|(_, room)| matches!(room, Room::Owned(_))) {
        let mut body = Body::default();
        operation.value.chunks(1777).for_each(|piece| body.push(piece));
        assert_eq!(body.crc(), crc32c::crc32c(&operation.value));
        let sealed = body.seal(&CHAIN, at, layout.chunks);
        at += (sealed.len() / CHUNK_BYTES) as u32;
        bytes.extend_from_slice(sealed);
    }
    bytes
}

fn open(bytes: &[u8]) -> Vec<(ChunkHeader, &[u8])> {
    let count = bytes.len() / CHUNK_BYTES;
    let open = |(index, bytes): (usize, _)| {
        let (header, payload) =
            chunk::open(bytes, CHAIN.chunk_place(index as u32)).expect("our own chunk");
        assert_eq!((header.first, header.last), (index == 0, index + 1 == count));
        assert_eq!(header.seq, CHAIN.seq);
        (header, payload)
    };
    bytes.chunks_exact(CHUNK_BYTES).enumerate().map(open).collect()
}

/// The `len` value bytes from `at` on.
fn value(chunks: &[(ChunkHeader, &[u8])], at: Spot, len: usize) -> Vec<u8> {
    let payloads = chunks[at.chunk as usize..].iter().flat_map(|(_, payload)| payload.iter());
    payloads.copied().skip(at.offset.into()).take(len).collect()
}

fn samples() -> Vec<Vec<u8>> {
    // What they mean is up to `arbitrary`; that they are many bytes is what counts.
    let sample = |factor: u8| (0..=255_u8).map(|i| i.wrapping_mul(factor * 2 + 1)).collect();
    (1..=4).map(sample).collect()
}
