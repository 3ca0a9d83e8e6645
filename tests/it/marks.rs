//! How far tracks were synced is known to a rebuild, whatever became of the tracks and files that
//! said so: no chain of which a value was punched out is taken for a torn end (invariant I10).

use std::path::{Path, PathBuf};

use kogia::{BackupOptions, Batch, CompactOptions, LinkMode, Options, Store, TrackId};

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

/// The file of that name below a directory.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

/// Between the moment when `META` forgets a track and that when its file goes nothing says any more how far
/// it was synced; but a backup shares only what is.
#[test]
fn a_track_that_a_backup_shares_is_whole_when_nothing_else_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (home, target) = (dir.path().join("store"), dir.path().join("backup"));
    let options = || Options::new().compaction(false);
    let store = options().open(&home).unwrap();
    // More than compaction copies at once: the last chain of what it writes has but what goes.
    let keys = ["stays", "goes/1", "goes/2", "goes/3"];
    for (tag, key) in (0..).zip(keys) {
        store.put(key, value(tag, 3 << 20)).unwrap();
    }
    store.put("elsewhere", value(3, 60_000)).unwrap();
    store.delete("elsewhere").unwrap();
    compact(&store);
    keys[1..].iter().for_each(|key| assert!(store.delete(key).unwrap()));
    store.checkpoint().unwrap();
    let mode = BackupOptions { mode: LinkMode::HardLink, ..BackupOptions::default() };
    assert!(store.backup(&target, &mode).unwrap().linked_bytes > 0);
    let track = store.tracks().unwrap().into_iter().find(|track| track.compacted).unwrap();
    assert!(track.punched_bytes > 0, "{track:?}");
    let path = find(&home, &track.track.file_name()).unwrap();
    store.put("stays", value(4, 300)).unwrap();
    store.checkpoint().unwrap();
    assert!(!path.exists());
    // Nor does the header of the track that came after it.
    store.put("stays", value(5, 300)).unwrap();
    compact(&store);
    assert!(store.tracks().unwrap().iter().all(|track| track.compacted));
    store.close().unwrap();
    // As if the power had been cut before it went.
    std::fs::hard_link(find(&target, &track.track.file_name()).unwrap(), &path).unwrap();
    let store = options().rebuild(&home).unwrap();
    assert!(store.recovery().torn.is_empty(), "{:?}", store.recovery());
    assert_value(&store, "stays", &value(5, 300));
    assert!(!store.exists(keys[3]).unwrap());
    assert_sound(&store);
}
