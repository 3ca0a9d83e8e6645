//! A queue's chunks of items: one by itself, and several in a row, over whose ends items go. The
//! frames are read as streams read them, and again by the letter of the documentation.

#![no_main]

use kogia_fuzz::forge;
use kogia_fuzz::format::chunk::{ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES};
use kogia_fuzz::format::items::{
    self, FRAMES_AT, Frame, ItemsChunk, MAX_CARRIED_BYTES, MAX_LENGTH_BYTES, Pieces,
};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

const PLACE: ChunkPlace = forge::PLACE;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = ItemsChunk::open(data, PLACE);
    let bytes = forge::chunk(data, PLACE);
    if let Ok(chunk) = ItemsChunk::open(&bytes, PLACE) {
        walk(&chunk);
        seal_again(&bytes, &chunk);
    }
    in_pieces(data);
});

/// Frames follow each other without gaps, up to one that goes on.
fn walk(chunk: &ItemsChunk<'_>) {
    let Some(first) = chunk.first else { return };
    assert!((FRAMES_AT..chunk.end()).contains(&first));
    let mut at = first;
    let mut base = chunk.base;
    while at < chunk.end() {
        let Ok(Frame::Whole { item, next }) = chunk.frame(at) else { return };
        assert!(at < item.start && item.start <= item.end && item.end == next);
        assert!(next <= chunk.end());
        let mut length = [0; MAX_LENGTH_BYTES];
        let width = items::write_length(item.len(), &mut length);
        assert_eq!(&chunk.payload[at..item.start], &length[..width]);
        at = next;
        if chunk.rewrite == 0 {
            continue;
        }
        // In a rewritten track, positions increase, and each has one form.
        let carried = &chunk.payload[item];
        let Ok((position, width)) = items::item_behind(base, carried) else { return };
        let mut step = [0; MAX_LENGTH_BYTES];
        assert_eq!(items::write_length((position - base) as usize, &mut step), width);
        assert_eq!(carried[..width], step[..width]);
        base = position;
    }
}

/// What was opened and is sealed again opens to the same.
fn seal_again(bytes: &[u8], chunk: &ItemsChunk<'_>) {
    let mut again = bytes.to_vec();
    let end = HEADER_BYTES + chunk.end();
    let first = chunk.first.map(|first| HEADER_BYTES + first);
    if chunk.rewrite == 0 {
        items::seal(&mut again, PLACE, end, first, chunk.frames_before, chunk.durable);
    } else {
        let before = u32::try_from(chunk.frames_before).expect("it is half of a number");
        items::seal_rewritten(&mut again, PLACE, end, first, chunk.rewrite, before, chunk.base);
    }
    assert_eq!(ItemsChunk::open(&again, PLACE).as_ref(), Ok(chunk));
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
                assert!(taken <= piece.len() && pieces.item().len() <= MAX_CARRIED_BYTES);
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
    let mut rewritten = vec![0; 4096];
    let frames = b"\x06\xa0\x20sima\x06\x01kogia";
    let end = items::FRAMES_IN_CHUNK + frames.len();
    rewritten[items::FRAMES_IN_CHUNK..end].copy_from_slice(frames);
    items::seal_rewritten(&mut rewritten, PLACE, end, first, 3, 5, 4122);
    vec![
        rewritten[..end].to_vec(),
        chunk(first, b"\x05kogia\x04sima\x00"),
        chunk(first, b"\xac\x02the beginning of 300 bytes"),
        chunk(Some(HEADER_BYTES + 6), b"rest\x05kogia"),
        chunk(None, b"the middle of an item"),
    ]
}
