use super::*;
use crate::format::record::{Meta, Put, Space, Value};
use crate::format::{StoreId, TrackId};

const CHAIN: ChainPlace = ChainPlace {
    start: ChunkPlace { store: StoreId([3; 16]), track: TrackId(5), chunk: 100 },
    seq: Seq(1000),
    synced: 77,
};

/// A put of `len` bytes whose key is `key_len` bytes long.
struct Sample {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Sample {
    fn new(tag: u8, key_len: usize, len: usize) -> Self {
        Sample { key: vec![tag; key_len], value: (0..len).map(|i| tag ^ (i % 251) as u8).collect() }
    }

    fn record(&self) -> Record<'_> {
        let meta = Meta {
            len: self.value.len() as u64,
            crc: checksum::crc32c(&self.value),
            created_ms: 1,
            modified_ms: 2,
            expires_ms: None,
            attributes: b"",
        };
        Record::Put(Put { space: Space::Object, key: &self.key, meta, value: Value::Inline })
    }
}

/// Writes the samples as one chain and gives its bytes.
fn write(samples: &[Sample]) -> Vec<u8> {
    let mut entries = Vec::new();
    for sample in samples {
        let mut entry = Vec::new();
        sample.record().encode_into(&mut entry);
        entries.push(entry);
    }
    let rooms: Vec<_> =
        samples.iter().zip(&entries).map(|(s, e)| (e.len(), Room::of(&s.record()))).collect();
    let layout = Layout::new(&rooms);
    let is_packed = |room: &Room| matches!(room, Room::Packed(_));
    let packed = samples.iter().zip(&rooms).filter(|(_, (_, r))| is_packed(r));
    let mut bytes = Vec::new();
    layout.write_head(
        &CHAIN,
        entries.iter().map(|e| &e[..]),
        packed.map(|(s, _)| &s.value[..]),
        &mut bytes,
    );
    let mut at = layout.head_chunks;
    for (sample, (_, room)) in samples.iter().zip(&rooms) {
        if let Room::Owned(len) = room {
            let mut body = Body::with_capacity(*len as usize);
            sample.value.chunks(1000).for_each(|piece| body.push(piece));
            assert_eq!(body.crc(), checksum::crc32c(&sample.value));
            bytes.extend_from_slice(body.seal(&CHAIN, at, layout.chunks));
            at += chunk::chunks_for(u64::from(*len)) as u32;
        }
    }
    assert_eq!(bytes.len(), layout.chunks as usize * CHUNK_BYTES);
    bytes
}

/// Reads the chain back: every record with its value.
fn read(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let payloads: Vec<(ChunkHeader, &[u8])> = bytes
        .chunks_exact(CHUNK_BYTES)
        .enumerate()
        .map(|(i, chunk)| chunk::open(chunk, CHAIN.chunk_place(i as u32)).unwrap())
        .collect();
    let count = payloads.len();
    for (i, (header, _)) in payloads.iter().enumerate() {
        assert_eq!((header.first, header.last), (i == 0, i + 1 == count));
        let next = (100 + i as u64 + 1) * CHUNK_BYTES as u64;
        assert_eq!(header.next, if i + 1 == count { 0 } else { next });
    }
    let mut found = Vec::new();
    for (i, (header, payload)) in payloads.iter().enumerate() {
        if header.kind != ChunkKind::Directory {
            continue;
        }
        let mut directory = Directory::decode(payload).unwrap();
        assert_eq!((directory.chunks as usize, directory.index as usize), (count, i));
        assert_eq!(directory.synced, 77);
        for rest in 1..=directory.rest_chunks() as usize {
            assert_eq!(payloads[i + rest].0.kind, ChunkKind::DirectoryRest);
            directory.push_rest(payloads[i + rest].1);
        }
        for entry in directory.entries() {
            let entry = entry.unwrap();
            let Record::Put(put) = entry.record else { panic!("only puts were written") };
            let mut value = Vec::new();
            let mut at = entry.spot;
            while (value.len() as u64) < put.meta.len {
                let payload = &payloads[at.chunk as usize].1[at.offset.into()..];
                let left = put.meta.len as usize - value.len();
                value.extend_from_slice(&payload[..payload.len().min(left)]);
                at = Spot { chunk: at.chunk + 1, offset: 0 };
            }
            found.push((put.key.to_vec(), value));
        }
    }
    found
}

fn round_trip(samples: &[Sample]) -> usize {
    let bytes = write(samples);
    let expected: Vec<_> = samples.iter().map(|s| (s.key.clone(), s.value.clone())).collect();
    assert!(read(&bytes) == expected);
    bytes.len() / CHUNK_BYTES
}

#[test]
fn one_small_put_is_one_chunk() {
    assert_eq!(round_trip(&[Sample::new(1, 10, 100)]), 1);
    assert_eq!(round_trip(&[Sample::new(1, 10, 0)]), 1);
}

#[test]
fn small_values_share_chunks_and_large_ones_do_not() {
    let small: Vec<_> = (0..100).map(|i| Sample::new(i, 8, 100)).collect();
    assert_eq!(round_trip(&small), 4);
    let mixed: Vec<_> =
        (0..6).map(|i| Sample::new(i, 8, [50, 20_000, 5_000][i as usize % 3])).collect();
    assert_eq!(round_trip(&mixed), 3 + 2 * 5);
}

#[test]
fn entries_larger_than_a_chunk_run_over_into_rest_chunks() {
    for key_len in [3990, 4006, 4010, 4012, 4030, 4072, 8100, 8110, 8120, 65_535] {
        let samples = [Sample::new(1, 5, 10), Sample::new(2, key_len, 3000), Sample::new(3, 6, 20)];
        round_trip(&samples);
        round_trip(&samples[1..2]);
        round_trip(&samples[..2]);
    }
}

#[test]
fn every_length_around_a_chunks_end_round_trips() {
    for len in (3950..4100).chain(8000..8200).chain(16_280..16_300) {
        round_trip(&[Sample::new(1, 5, len), Sample::new(2, 5, 30)]);
    }
}

#[test]
fn a_directory_that_claims_more_than_it_has_is_refused() {
    let bytes = write(&[Sample::new(1, 10, 100)]);
    let payload = &bytes[HEADER_BYTES..CHUNK_BYTES];
    for at in (0..PRELUDE_BYTES).step_by(4) {
        for word in [0, 1, 2, 100, u32::MAX / 2, u32::MAX] {
            let mut bad = payload.to_vec();
            bad[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
            if let Ok(directory) = Directory::decode(&bad) {
                let _ = directory.entries().count();
            }
        }
    }
}
