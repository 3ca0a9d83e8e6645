//! How far tracks were synced is known to a rebuild, whatever became of the tracks and files that
//! said so: no chain of which a value was punched out is taken for a torn end (invariant I10).

use std::path::Path;

use kogia::{Batch, CompactOptions, Store, TrackId};

use crate::machine::{HOME, Machine, assert_sound, assert_value, compact, value};

/// Two objects in one chain; the first of them owns its chunks.
fn put_both(store: &Store) {
    let mut both = Batch::new();
    both.put("goes", value(1, 20_000)).put("stays", value(2, 300));
    store.write(both).unwrap();
}

#[track_caller]
fn assert_rebuilt(machine: &Machine) {
    let store = machine.rebuild();
    assert!(store.recovery().torn.is_empty(), "{:?}", store.recovery());
    assert_value(&store, "stays", &value(2, 300));
    assert!(!store.exists("goes").unwrap());
    assert_sound(&store);
}

#[test]
fn the_track_before_the_last_one_is_whole_when_the_last_one_was_unlinked() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    for i in 0..4 {
        store.put(format!("k{i}"), value(10 + i, 40_000)).unwrap();
    }
    put_both(&store);
    store.put("elsewhere", value(3, 60_000)).unwrap();
    assert_eq!(machine.tracks().len(), 2);
    store.delete("elsewhere").unwrap();
    store.delete("goes").unwrap();
    let second = CompactOptions { tracks: Some(vec![TrackId(2)]), ..CompactOptions::default() };
    store.compact(&second).unwrap();
    let left: Vec<_> = store.tracks().unwrap();
    assert_eq!(left.iter().filter(|track| !track.compacted).count(), 1, "{left:?}");
    assert!(left[0].punched_bytes > 0);
    store.close().unwrap();
    assert_rebuilt(&machine);
}

#[test]
fn what_compaction_wrote_is_vouched_for_again_after_meta_was_lost() {
    let machine = Machine::new(2, 1);
    let store = machine.open();
    put_both(&store);
    store.put("elsewhere", value(3, 60_000)).unwrap();
    store.delete("elsewhere").unwrap();
    compact(&store);
    assert!(store.tracks().unwrap().iter().any(|track| track.compacted && track.live_records > 0));
    store.close().unwrap();
    machine.io.remove_file(Path::new(HOME).join("META")).unwrap();
    let store = machine.open();
    store.delete("goes").unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    assert_rebuilt(&machine);
}
