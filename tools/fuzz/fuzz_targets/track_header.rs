//! A track's header, which decodes only as chunk 0 of the track that it is asked for.

#![no_main]

use kogia_fuzz::forge;
use kogia_fuzz::format::chunk::{self, ChunkPlace, HEADER_BYTES};
use kogia_fuzz::format::track_header::{TrackHeader, TrackKind};
use kogia_fuzz::format::{DiskId, Seq, TrackId};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const PLACE: ChunkPlace = ChunkPlace { chunk: 0, ..forge::PLACE };

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = TrackHeader::from_chunk(data, PLACE.store, PLACE.track);

    let bytes = forge::chunk(data, PLACE);
    let Ok(header) = TrackHeader::from_chunk(&bytes, PLACE.store, PLACE.track) else { return };
    let dictionary = TrackHeader::dictionary(&bytes, PLACE.store, PLACE.track).unwrap();
    let again = header.to_chunk(dictionary);
    assert_eq!(TrackHeader::from_chunk(&again, header.store, header.track), Ok(header.clone()));
    assert_eq!(TrackHeader::dictionary(&again, header.store, header.track), Ok(dictionary));
    for place in forge::elsewhere(PLACE, header.floor.0 as u32) {
        if place.chunk == 0 {
            assert!(TrackHeader::from_chunk(&bytes, place.store, place.track).is_err());
        } else {
            assert!(chunk::open(&bytes, place).is_err());
        }
    }
});

fn samples() -> Vec<Vec<u8>> {
    let first = TrackHeader {
        store: PLACE.store,
        disk: DiskId([2; 16]),
        track: PLACE.track,
        kind: TrackKind::Append,
        shard: 0,
        floor: Seq(Seq::first_of(1).0 + 4),
        predecessor: None,
        created_ms: 1_700_000_000_000,
    };
    let predecessor = Some((TrackId(6), 4_000));
    let second = TrackHeader { kind: TrackKind::Compacted, shard: 9, predecessor, ..first.clone() };
    let chunks = [first.to_chunk(b""), second.to_chunk(&[5; 256])];
    chunks.map(|chunk| chunk[..HEADER_BYTES + 80 + 256].to_vec()).to_vec()
}
