//! What the formats cost in processor time: checksums, framing, decoding.
//!
//! ```text
//! cargo bench --bench format
//! ```

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use kogia::format::chain::{Body, ChainPlace, Directory, Layout, Room};
use kogia::format::chunk::{self, CHUNK_BYTES, ChunkPlace, PAYLOAD_BYTES};
use kogia::format::record::{Meta, Put, Record, Space, Value};
use kogia::format::{Seq, StoreId, TrackId, checksum};

const START: ChunkPlace = ChunkPlace { store: StoreId([7; 16]), track: TrackId(1), chunk: 1 };
const CHAIN: ChainPlace = ChainPlace { start: START, seq: Seq(99), synced: 1 };

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    checksums(&mut criterion);
    bodies(&mut criterion);
    directories(&mut criterion);
    criterion.final_summary();
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    let bytes = vec![0xa5; 1 << 20];
    for len in [100, PAYLOAD_BYTES, 1 << 20] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes[..len], |b, bytes| {
            b.iter(|| checksum::crc32c(black_box(bytes)));
        });
    }
}

/// A value of 1 MiB on its way into chunks and out of them.
fn bodies(criterion: &mut Criterion) {
    let value = vec![0x5a; 1 << 20];
    let mut group = criterion.benchmark_group("body of 1 MiB");
    group.throughput(Throughput::Bytes(value.len() as u64));
    group.bench_function("frame", |b| {
        b.iter(|| {
            let mut body = Body::with_capacity(value.len());
            body.push(black_box(&value));
            body.crc()
        });
    });
    let mut body = Body::with_capacity(value.len());
    body.push(&value);
    let chunks = chunk::chunks_for(body.len()) as u32;
    group.bench_function("seal", |b| {
        b.iter(|| black_box(body.seal(&CHAIN, 0, chunks)).len());
    });
    let framed = body.seal(&CHAIN, 0, chunks);
    group.bench_function("open and verify", |b| {
        b.iter(|| {
            for (at, bytes) in (0..).zip(framed.chunks_exact(CHUNK_BYTES)) {
                let opened = chunk::open(black_box(bytes), CHAIN.chunk_place(at));
                black_box(opened.expect("it was sealed there"));
            }
        });
    });
}

/// The directory of a batch of 1,000 small puts.
fn directories(criterion: &mut Criterion) {
    const PUTS: u64 = 1000;
    let value = [0x3c; 100];
    let keys: Vec<String> = (0..PUTS).map(|at| format!("camera-01/2026-11-20/{at:08}")).collect();
    let mut group = criterion.benchmark_group("directory of 1,000 puts");
    group.throughput(Throughput::Elements(PUTS));
    let encode = || -> Vec<Vec<u8>> { keys.iter().map(|key| entry(key, &value)).collect() };
    group.bench_function("encode", |b| b.iter(|| encode().len()));

    let entries = encode();
    let room = Room::Packed(value.len() as u32);
    let parts: Vec<_> = entries.iter().map(|entry| (entry.len(), room)).collect();
    let packed = value.repeat(PUTS as usize);
    let mut framed = Vec::new();
    let frame = |framed: &mut Vec<u8>| {
        let layout = Layout::new(&parts);
        layout.write_head(&CHAIN, entries.iter().map(Vec::as_slice), [&packed[..]], framed);
        layout.directory_chunks
    };
    group.bench_function("lay out and frame", |b| b.iter(|| frame(&mut framed)));

    let directory_chunks = frame(&mut framed) as usize;
    group.bench_function("open and decode", |b| {
        b.iter(|| {
            let chunks = (0..).zip(framed.chunks_exact(CHUNK_BYTES)).take(directory_chunks);
            let decoded: usize = chunks.map(|(at, bytes)| decode(bytes, at)).sum();
            assert_eq!(decoded, PUTS as usize);
        });
    });
}

fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    let meta = Meta {
        len: value.len() as u64,
        crc: checksum::crc32c(value),
        created_ms: 1_795_000_000_000,
        modified_ms: 1_795_000_000_000,
        expires_ms: None,
        attributes: &[],
    };
    let (space, key) = (Space::Object, key.as_bytes());
    let mut entry = Vec::with_capacity(80);
    Record::Put(Put { space, key, meta, value: Value::Inline }).encode_into(&mut entry);
    entry
}

fn decode(bytes: &[u8], index: u32) -> usize {
    let opened = chunk::open(bytes, CHAIN.chunk_place(index));
    let (_, payload) = opened.expect("it was sealed there");
    let directory = Directory::decode(payload).expect("it was framed");
    directory.entries().filter(|entry| black_box(entry).is_ok()).count()
}
