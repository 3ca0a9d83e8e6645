//! A queue's track header and small files.

#![no_main]

use kogia_fuzz::forge;
use kogia_fuzz::format::TrackId;
use kogia_fuzz::format::chunk::{ChunkPlace, HEADER_BYTES};
use kogia_fuzz::format::queue::{ConsumerMeta, QueueMeta, QueueTrack, TrackEnd};
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
    if let Ok(meta) = QueueMeta::decode(&forge::envelope(b"KOGIAQUE", 1, data)) {
        assert_eq!(QueueMeta::decode(&meta.encode()), Ok(meta));
    }
    if let Ok(meta) = ConsumerMeta::decode(&forge::envelope(b"KOGIACSM", 1, data)) {
        assert_eq!(ConsumerMeta::decode(&meta.encode()), Ok(meta));
    }
});

fn samples() -> Vec<Vec<u8>> {
    let predecessor = Some(TrackEnd { track: TrackId(6), end: 70_000, cut: true });
    let (queue, track) = (PLACE.store, PLACE.track);
    let header = QueueTrack { queue, track, predecessor, created_ms: 1_700_000_000_000 };
    let mut meta = QueueMeta::new(queue);
    (meta.end, meta.max_bytes, meta.lost) = (predecessor, Some(10 << 30), vec![(7 << 32, 8 << 32)]);
    let consumer = ConsumerMeta { queue, committed: 7 << 32 | 4122 };
    // Of the files, what is in the envelope.
    let value = |file: Vec<u8>| file[16..file.len() - 4].to_vec();
    vec![
        header.to_chunk()[..HEADER_BYTES + 52].to_vec(),
        value(meta.encode()),
        value(consumer.encode()),
    ]
}
