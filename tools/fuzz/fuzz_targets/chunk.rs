//! A chunk opens only as what was sealed, and only at its place.

#![no_main]

use kogia_fuzz::forge::{self, PLACE};
use kogia_fuzz::format::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind, HEADER_BYTES};
use kogia_fuzz::format::{Fault, Seq};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let _ = chunk::open(data, PLACE);
    if data.len() > HEADER_BYTES {
        let (header, payload) = data.split_at(HEADER_BYTES);
        let _ = chunk::open_split(header, payload, PLACE);
    }
    let bytes = forge::chunk(data, PLACE);
    match chunk::open(&bytes, PLACE) {
        Ok((header, payload)) => check(&bytes, header, payload),
        Err(Fault::Checksum { stored, computed, .. }) => {
            panic!("by the documentation {stored:08x}, by the code {computed:08x}")
        }
        Err(_) => {}
    }
});

fn check(bytes: &[u8], header: ChunkHeader, payload: &[u8]) {
    assert_eq!(usize::from(header.used), payload.len());
    let mut again = vec![0; CHUNK_BYTES];
    again[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
    header.seal_whole(&mut again, PLACE);
    assert_eq!(chunk::open(&again, PLACE), Ok((header, payload)));
    assert_eq!(
        chunk::open_split(&bytes[..HEADER_BYTES], payload, PLACE),
        Ok((header, payload)),
        "a payload area that is just long enough is enough"
    );
    assert!(chunk::open_split(&bytes[..HEADER_BYTES], &payload[1..], PLACE).is_err());

    let random = header.seq.0 ^ header.next;
    for place in forge::elsewhere(PLACE, random as u32) {
        assert!(chunk::open(bytes, place).is_err(), "opened at {place:?}");
    }
    // The bits of `used` say how far the checksum reaches, so a flip there is another matter.
    let covered = (HEADER_BYTES + payload.len()) * 8;
    let bit = random as usize % covered;
    if !(4 * 8..6 * 8).contains(&bit) {
        let mut bad = bytes.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(chunk::open(&bad, PLACE).is_err(), "opened with bit {bit} flipped");
    }
}

fn samples() -> Vec<Vec<u8>> {
    let kinds =
        [ChunkKind::TrackHeader, ChunkKind::Directory, ChunkKind::DirectoryRest, ChunkKind::Body];
    let sample = |(kind, used): (ChunkKind, u16)| {
        let mut bytes = vec![7; CHUNK_BYTES];
        let seq = Seq(Seq::first_of(3).0 + 5);
        let header = ChunkHeader { used, first: true, last: used < 100, kind, seq, next: 4 << 12 };
        header.seal_whole(&mut bytes, PLACE);
        bytes.truncate(HEADER_BYTES + usize::from(used));
        bytes
    };
    kinds.into_iter().zip([80, 1, 200, 4072]).map(sample).collect()
}
