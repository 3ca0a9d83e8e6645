//! A queue's chunks of items: one by itself, and several in a row, over whose ends items go. The
//! frames are read as streams read them, and again by the letter of the documentation.

#![no_main]

use kogia_fuzz::forge;
use kogia_fuzz::format::chunk::{ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES};
use kogia_fuzz::format::items::{self, FRAMES_AT, Frame, ItemsChunk, MAX_ITEM_BYTES, Pieces};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const PLACE: ChunkPlace = forge::PLACE;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = ItemsChunk::open(data, PLACE);
    let bytes = forge::chunk(data, PLACE);
    if let Ok(chunk) = ItemsChunk::open(&bytes, PLACE) {
        walk(&chunk);
    }
    in_pieces(data);
});

/// Frames follow each other without gaps, up to one that goes on.
fn walk(chunk: &ItemsChunk<'_>) {
    let Some(first) = chunk.first else { return };
    assert!((FRAMES_AT..chunk.end()).contains(&first));
    let mut at = first;
    while at < chunk.end() {
        let Ok(Frame::Whole { item, next }) = chunk.frame(at) else { return };
        assert!(at < item.start && item.start <= item.end && item.end == next);
        assert!(next <= chunk.end());
        let mut length = [0; items::MAX_LENGTH_BYTES];
        let width = items::write_length(item.len(), &mut length);
        assert_eq!(&chunk.payload[at..item.start], &length[..width]);
        at = next;
    }
}

/// Bytes that are cut into pieces of up to a chunk give the same items as in one piece.
fn in_pieces(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let size = (usize::from(cut) * 16 + 1).min(PAYLOAD_BYTES);
    let mut whole = 0;
    let mut pieces = Pieces::default();
    let mut rest = data;
    let mut begun = 0;
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(size)];
        match pieces.add(piece) {
            Err(_) => return,
            Ok(None) => rest = &rest[piece.len()..],
            Ok(Some(taken)) => {
                assert!(taken <= piece.len() && pieces.item().len() <= MAX_ITEM_BYTES);
                rest = &rest[taken..];
                let end = data.len() - rest.len();
                let frame = items::frame_at(data, begun).expect("it was whole");
                let Frame::Whole { item, next } = frame else { panic!("it was whole") };
                assert_eq!((&data[item], next), (pieces.item(), end));
                (whole, begun) = (whole + 1, end);
                pieces.clear();
            }
        }
    }
    assert!(whole <= data.len());
}

fn samples() -> Vec<Vec<u8>> {
    let chunk = |first: Option<usize>, frames: &[u8]| {
        let mut bytes = vec![0; 4096];
        bytes[items::FRAMES_IN_CHUNK..][..frames.len()].copy_from_slice(frames);
        let end = items::FRAMES_IN_CHUNK + frames.len();
        items::seal(&mut bytes, PLACE, end, first, 5, 4096);
        bytes[..end].to_vec()
    };
    let first = Some(items::FRAMES_IN_CHUNK);
    vec![
        chunk(first, b"\x05kogia\x04sima\x00"),
        chunk(first, b"\xac\x02the beginning of 300 bytes"),
        chunk(Some(HEADER_BYTES + 6), b"rest\x05kogia"),
        chunk(None, b"the middle of an item"),
    ]
}
