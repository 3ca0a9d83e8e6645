//! A directory's chunks, hostile ones: what they claim stays in their chain's bounds.

#![no_main]

use kogia_fuzz::forge::PLACE;
use kogia_fuzz::format::Seq;
use kogia_fuzz::format::chain::{
    ChainPlace, Directory, Layout, MAX_CHUNKS, PRELUDE_BYTES, Room, Spot,
};
use kogia_fuzz::format::chunk::{self, CHUNK_BYTES, PAYLOAD_BYTES};
use kogia_fuzz::format::record::{self, Record, Space};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const CHAIN: ChainPlace = ChainPlace { start: PLACE, seq: Seq(1 << 41), synced: 2 };

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| check(data));

/// Takes `data` for the payload of a directory chunk, and what is behind it for those of the
/// rest.
fn check(data: &[u8]) {
    let (payload, mut rest) = data.split_at(data.len().min(PAYLOAD_BYTES));
    let Ok(mut directory) = Directory::decode(payload) else { return };
    assert!(directory.chunks <= MAX_CHUNKS && directory.directory_chunks <= directory.chunks);
    assert!(directory.index + directory.rest_chunks() < directory.directory_chunks);
    for _ in 0..directory.rest_chunks() {
        let (now, later) = rest.split_at(rest.len().min(PAYLOAD_BYTES));
        if now.is_empty() {
            break;
        }
        directory.push_rest(now);
        rest = later;
    }
    let mut seen = 0;
    let mut failed = false;
    for entry in directory.entries() {
        assert!(!failed, "a fault ends the entries");
        let Ok(entry) = entry else {
            failed = true;
            continue;
        };
        seen += 1;
        assert_eq!(entry.room, Room::of(&entry.record));
        assert!(end(entry.spot, entry.room) <= directory.chunks, "{entry:?}");
        let mut again = Vec::new();
        entry.record.encode_into(&mut again);
        assert_eq!(record::decode(&again), Ok((Seq(0), entry.record)));
    }
    let bytes = payload.len() + data.len() - PRELUDE_BYTES;
    assert!(seen <= bytes / record::PREFIX_BYTES);
}

/// The chunk behind the last one that a value touches.
fn end(spot: Spot, room: Room) -> u32 {
    match room {
        Room::None => 0,
        Room::Owned(len) | Room::Packed(len) => {
            let bytes = u64::from(spot.offset) + u64::from(len);
            spot.chunk + chunk::chunks_for(bytes) as u32
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    let records = seeds::records();
    let key = vec![b'k'; 9_000];
    let long = Record::Delete { space: Space::Object, key: &key };
    vec![payloads(&records), payloads(&records[..1]), payloads(&[long])]
}

/// The payloads of the directory of a chain of `records`.
fn payloads(records: &[Record<'_>]) -> Vec<u8> {
    let encode = |record: &Record<'_>| {
        let mut entry = Vec::new();
        record.encode_into(&mut entry);
        entry
    };
    let entries: Vec<_> = records.iter().map(encode).collect();
    let rooms = entries.iter().zip(records).map(|(entry, r)| (entry.len(), Room::of(r)));
    let rooms: Vec<_> = rooms.collect();
    let layout = Layout::new(&rooms);
    let packed = rooms.iter().filter_map(|&(_, room)| match room {
        Room::Packed(len) => Some(&[1; 4096][..len as usize]),
        Room::Owned(_) | Room::None => None,
    });
    let mut bytes = Vec::new();
    layout.write_head(&CHAIN, entries.iter().map(|entry| &entry[..]), packed, &mut bytes);
    let directory = bytes.chunks_exact(CHUNK_BYTES).take(layout.directory_chunks as usize);
    let open = |(index, bytes)| chunk::open(bytes, CHAIN.chunk_place(index)).expect("our own").1;
    (0..).zip(directory).flat_map(open).copied().collect()
}
