//! Reading: from whatever part of whatever track, through maps or not.

use kogia::{Durability, Options, Store};

const VALUE_BYTES: usize = 700_000;

fn value(tag: usize) -> Vec<u8> {
    (0..VALUE_BYTES).map(|i| (i * 31 + tag * 7 + i / 509) as u8).collect()
}

fn open(home: &std::path::Path, mapped: bool) -> Store {
    let options = Options::new().durability(Durability::Os).track_bytes(24 << 20);
    options.map_tracks(mapped).open(home).expect("it opens")
}

fn check(store: &Store, tag: usize) {
    let (key, expected) = (format!("k{tag}"), value(tag));
    assert!(store.get(&key).expect("it reads").expect("it is there") == expected, "{key}");
    let (start, end) = (VALUE_BYTES / 3, VALUE_BYTES - 5000);
    let range = start as u64..end as u64;
    let part = store.get_range(&key, range.clone()).expect("it reads");
    assert!(part.expect("it is there") == expected[start..end], "{key}");
    let mut part = vec![7; 9];
    let info = store.get_range_into(&key, range, &mut part).expect("it reads");
    assert_eq!(info.expect("it is there").len, VALUE_BYTES as u64);
    assert!(part == expected[start..end], "{key}");
    let mut reader = store.reader(&key).expect("it opens").expect("it is there");
    let mut borrowed = Vec::new();
    while let Some(slice) = reader.next_slice().expect("it reads") {
        borrowed.extend_from_slice(slice);
    }
    assert!(borrowed == expected, "{key}");
}

/// Values lie in sealed tracks, in the part of the active one that is mapped, behind that in what
/// is durable, and in what isn't; and across each border.
#[test]
fn values_read_the_same_wherever_they_lie_in_active_and_sealed_tracks() {
    for mapped in [true, false] {
        let home = tempfile::tempdir().expect("a directory");
        let mut store = open(home.path(), mapped);
        for tag in 0..60 {
            store.put(format!("k{tag}"), value(tag)).expect("it puts");
            if tag % 5 == 0 {
                store.sync().expect("it syncs");
            }
            (tag.saturating_sub(9)..=tag).step_by(3).for_each(|tag| check(&store, tag));
            if tag == 45 {
                // The active track is gone on with.
                drop(store);
                store = open(home.path(), mapped);
            }
        }
        (0..60).for_each(|tag| check(&store, tag));
    }
}
