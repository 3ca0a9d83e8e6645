//! The index's rows and keys: what decodes, encodes to a row of the same meaning.

#![no_main]

use kogia_fuzz::format::entry::{
    Entry, FreeRow, Grave, INDEX_VERSION, Place, PrefixRow, SegmentRow, StateRow, TrackRow,
    common_prefixes, free_key, grave_key, parse_free_key, parse_prefix_key, parse_seq_key,
    parse_track_key, prefix_key,
};
use kogia_fuzz::format::record::{Compressed, OWNED_MIN_BYTES, SegmentList, SegmentRef, Space};
use kogia_fuzz::format::track_header::TrackKind;
use kogia_fuzz::format::{DiskId, Seq, StoreId, TrackId};
use kogia_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

macro_rules! round_trip {
    ($row:ty, $data:expr) => {
        if let Ok(row) = <$row>::decode($data) {
            let again = row.encode();
            assert!(again.len() <= $data.len(), "integers are written in their shortest form");
            assert_eq!(<$row>::decode(&again), Ok(row));
            for len in 0..again.len() {
                assert!(<$row>::decode(&again[..len]).is_err(), "decodes cut off at {len}");
            }
        }
    };
}

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    round_trip!(Entry<'_>, data);
    round_trip!(Grave, data);
    round_trip!(PrefixRow, data);
    round_trip!(SegmentRow, data);
    round_trip!(FreeRow, data);
    round_trip!(TrackRow, data);
    round_trip!(StateRow, data);
    if let Ok(entry) = Entry::decode(data) {
        let (owned, bytes) = (entry.owned_extent(), entry.inline_bytes());
        assert!(owned.is_none() || bytes >= OWNED_MIN_BYTES);
        assert!(!matches!(entry.place, Place::Inline { .. }) || bytes == entry.meta.len);
    }
    if let Ok(row) = SegmentRow::decode(data) {
        let _ = row.extent();
    }
    keys(data);
});

fn keys(data: &[u8]) {
    if let Ok((track, chunk)) = parse_free_key(data) {
        assert_eq!(free_key(track, chunk), data);
    }
    if let Ok(track) = parse_track_key(data) {
        assert_eq!(track.0.to_be_bytes(), data);
    }
    if let Ok(seq) = parse_seq_key(data) {
        assert_eq!(seq.0.to_be_bytes(), data);
    }
    assert_eq!(grave_key(Space::Part, data)[1..], *data);
    for (depth, prefix) in common_prefixes(data).enumerate() {
        let key = prefix_key(prefix);
        assert!(data.starts_with(prefix));
        assert_eq!(
            parse_prefix_key(&key).map(|(of, found)| (of.into(), found)),
            Ok((depth, prefix))
        );
    }
}

fn samples() -> Vec<Vec<u8>> {
    let seq = Seq(Seq::first_of(2).0 + 77);
    let place = Place::Inline { chunk: 900, offset: 4000 };
    let inline = Entry { seq, track: TrackId(5), chain: seq, meta: seeds::meta(1 << 20), place };
    let compressed = Compressed { bytes: 300, with_dictionary: true };
    let compressed = Place::Compressed { chunk: 900, offset: 4000, compressed };
    let segment = SegmentRef { seq, len: 4096, refilled: None };
    let list = SegmentList(vec![segment, SegmentRef { seq: Seq(seq.0 + 1), ..segment }]);
    let segment = SegmentRow {
        track: TrackId(1),
        chunk: 70_000,
        len: 1 << 20,
        crc: u32::MAX,
        chain: seq,
        has_record: true,
        owner: Some(seq),
    };
    let disk = DiskId([4; 16]);
    let state = StateRow {
        version: INDEX_VERSION,
        store: StoreId([5; 16]),
        opening: 3,
        batch: 1 << 33,
        next_track: 300,
        objects: 1_000_000,
        object_bytes: 1 << 40,
        parts: 3,
        graves: 0,
        rebuilding: false,
    };
    vec![
        inline.encode(),
        Entry { place: Place::Segments(list), ..inline.clone() }.encode(),
        Entry { place: compressed, ..inline.clone() }.encode(),
        Entry { place: Place::Empty, meta: seeds::meta(0), ..inline }.encode(),
        Grave { seq, track: TrackId(300), chain: seq }.encode(),
        segment.encode(),
        PrefixRow { keys: 1 << 40, lasting: 300, direct: 0 }.encode(),
        b"a/b//c".to_vec(),
        FreeRow { chunks: 300, freed_by: 1 << 40, punched: true }.encode(),
        TrackRow::new(disk, TrackKind::Compacted, 7, 1_700_000_000_000, seq).encode(),
        state.encode(),
        free_key(TrackId(1), 2).to_vec(),
        1_u32.to_be_bytes().to_vec(),
    ]
}
