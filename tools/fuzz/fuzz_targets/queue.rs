//! A queue's track header and small files.

#![no_main]

use kogia_fuzz::forge;
use kogia_fuzz::format::TrackId;
use kogia_fuzz::format::chunk::{ChunkPlace, HEADER_BYTES};
use kogia_fuzz::format::queue::{
    ConsumerMeta, QueueMeta, QueueTrack, RewrittenEnd, TrackEnd, track_file_name,
    track_of_file_name,
};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const PLACE: ChunkPlace = ChunkPlace { chunk: 0, ..forge::PLACE };

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = QueueTrack::from_chunk(data, PLACE.store, PLACE.track);
    let bytes = forge::chunk(data, PLACE);
    if let Ok(header) = QueueTrack::from_chunk(&bytes, PLACE.store, PLACE.track) {
        let again = header.to_chunk();
        assert_eq!(QueueTrack::from_chunk(&again, PLACE.store, PLACE.track), Ok(header));
        for place in forge::elsewhere(PLACE, 1) {
            if place.chunk == 0 {
                assert!(QueueTrack::from_chunk(&bytes, place.store, place.track).is_err());
            }
        }
    }
    let _ = (QueueMeta::decode(data), ConsumerMeta::decode(data));
    for version in [1, 2] {
        if let Ok(meta) = QueueMeta::decode(&forge::envelope(b"KOGIAQUE", version, data)) {
            assert_eq!(QueueMeta::decode(&meta.encode()), Ok(meta.clone()));
            rewrite(meta, data);
        }
    }
    if let Some((track, rewrite)) = std::str::from_utf8(data).ok().and_then(track_of_file_name) {
        assert_eq!(track_file_name(track, rewrite).as_bytes(), data);
    }
    for version in [1, 2] {
        if let Ok(meta) = ConsumerMeta::decode(&forge::envelope(b"KOGIACSM", version, data)) {
            assert_eq!(ConsumerMeta::decode(&meta.encode()), Ok(meta));
        }
    }
});

/// Whatever was rewritten before, what is rewritten now counts, and all else stays.
fn rewrite(mut meta: QueueMeta, data: &[u8]) {
    let track = |number: &u8| TrackId(u32::from(*number) + 1);
    let mut tracks: Vec<_> = data.iter().take(8).map(track).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let before = meta.rewrites.clone();
    let number = before.newest().saturating_add(1);
    meta.rewrites.add(&tracks, number);
    for id in (0..=257).map(TrackId) {
        let expected = if tracks.contains(&id) { number } else { before.of(id) };
        assert_eq!(meta.rewrites.of(id), expected);
    }
    meta.rewrites.forget_before(TrackId(9));
    assert_eq!(meta.rewrites.of(TrackId(8)), 0);
    assert_eq!(QueueMeta::decode(&meta.encode()), Ok(meta));
}

fn samples() -> Vec<Vec<u8>> {
    let predecessor = Some(TrackEnd { track: TrackId(6), end: 70_000, cut: true });
    let (queue, track) = (PLACE.store, PLACE.track);
    let created_ms = 1_700_000_000_000;
    let header = QueueTrack { queue, track, predecessor, created_ms, rewritten: None };
    let rewritten = Some(RewrittenEnd { rewrite: 3, end: 70_000 });
    let rewritten = QueueTrack { rewritten, ..header.clone() };
    let mut meta = QueueMeta::new(queue);
    meta.rewrites.add(&[TrackId(3), TrackId(4), TrackId(6)], 2);
    (meta.end, meta.max_bytes, meta.lost) = (predecessor, Some(10 << 30), vec![(7 << 32, 8 << 32)]);
    let consumer = ConsumerMeta { queue, committed: 7 << 32 | 4122, consumer: "shipper".into() };
    // Of the files, what is in the envelope.
    let value = |file: Vec<u8>| file[16..file.len() - 4].to_vec();
    vec![
        header.to_chunk()[..HEADER_BYTES + 52].to_vec(),
        rewritten.to_chunk()[..HEADER_BYTES + 60].to_vec(),
        b"0000000007.0000000003.track".to_vec(),
        value(meta.encode()),
        value(consumer.encode()),
    ]
}
