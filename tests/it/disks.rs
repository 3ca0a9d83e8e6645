//! Disks: the right ones are found and filled; wrong ones are refused by name and left alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kogia::io::sim::{Fail, Fault, Keep, SimIo};
use kogia::{ErrorKind, Options, Store};

use crate::machine::{HOME, Machine, assert_value};
use crate::sample::{self, CLOSED, copy_tree, home, open, options, value};

/// Fails unless opening with these disks is refused for the one at `path`.
fn assert_refused(root: &Path, disks: &[&Path], path: &Path) -> String {
    let options = disks.iter().fold(Options::new(), |options, disk| options.disk(disk));
    let error = options.open(home(root)).expect_err("a wrong disk");
    assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
    assert_eq!(error.path(), Some(path), "{error}");
    error.to_string()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// A store on two disks that knows them by its own paths.
fn store_of_two(root: &Path) -> [std::path::PathBuf; 2] {
    let store = open(root).unwrap();
    store.put("large", value(1, 300_000)).unwrap();
    store.close().unwrap();
    [root.join("a"), root.join("b")]
}

#[test]
fn disks_are_remembered_without_being_given() {
    let dir = tempfile::tempdir().unwrap();
    store_of_two(dir.path());
    let store = Store::open(home(dir.path())).unwrap();
    assert_eq!(store.stats().unwrap().disks.len(), 2);
    assert!(store.get("large").unwrap() == Some(value(1, 300_000)));
}

#[test]
fn a_disk_may_be_given_under_another_path() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let moved = dir.path().join("moved");
    fs::rename(&b, &moved).unwrap();
    let store = Options::new().disk(&a).disk(&moved).open(home(dir.path())).unwrap();
    assert!(store.get("large").unwrap() == Some(value(1, 300_000)));
    store.close().unwrap();
    // And is remembered there.
    let store = Store::open(home(dir.path())).unwrap();
    assert!(store.get("large").unwrap() == Some(value(1, 300_000)));
}

#[test]
fn a_missing_disk_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [_, b] = store_of_two(dir.path());
    let kept = dir.path().join("kept");
    fs::rename(&b, &kept).unwrap();
    let message = assert_refused(dir.path(), &[], &b);
    assert!(message.contains("mounted"), "{message}");
    assert!(!b.exists());
    fs::rename(&kept, &b).unwrap();
    assert!(Store::open(home(dir.path())).unwrap().exists("large").unwrap());
}

#[test]
fn an_unmounted_disk_is_refused_and_nothing_is_created_in_its_mount_point() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let id = Store::open(home(dir.path())).unwrap().stats().unwrap().disks[1].id;
    let kept = dir.path().join("kept");
    fs::rename(&b, &kept).unwrap();
    fs::create_dir(&b).unwrap();
    for disks in [&[][..], &[a.as_path(), b.as_path()]] {
        let message = assert_refused(dir.path(), disks, &b);
        assert!(message.contains(&id.to_string()), "{message}");
        assert!(is_empty(&b));
    }
    fs::remove_dir(&b).unwrap();
    fs::rename(&kept, &b).unwrap();
    assert!(Store::open(home(dir.path())).unwrap().exists("large").unwrap());
}

#[test]
fn swapped_disks_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let ids: Vec<_> = open(dir.path()).unwrap().stats().unwrap().disks;
    let between = dir.path().join("between");
    fs::rename(&a, &between).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(&between, &b).unwrap();
    let message = assert_refused(dir.path(), &[], &a);
    for disk in ids {
        assert!(message.contains(&disk.id.to_string()), "{message}");
    }
}

#[test]
fn a_foreign_disk_in_the_place_of_ones_own_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [_, b] = store_of_two(dir.path());
    let other = tempfile::tempdir().unwrap();
    let [foreign, _] = store_of_two(other.path());
    fs::rename(&b, dir.path().join("kept")).unwrap();
    copy_tree(&foreign, &b);
    let before = sample::files(&b);
    assert_refused(dir.path(), &[], &b);
    assert_eq!(sample::files(&b), before);
}

#[test]
fn a_copied_disk_is_refused_beside_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let copy = dir.path().join("copy");
    copy_tree(&b, &copy);
    let message = assert_refused(dir.path(), &[&a, &b, &copy], &copy);
    assert!(message.contains(b.to_str().unwrap()), "{message}");
}

/// Two disks of one identity that were not copied with their tracks, but hold the same ones.
#[test]
fn a_track_that_lies_on_two_disks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let track = sample::tracks(&b).remove(0);
    let twin = a.join(track.strip_prefix(&b).unwrap());
    fs::copy(&track, twin).unwrap();
    let error = Store::open(home(dir.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk);
    assert!(error.to_string().contains("two disks"), "{error}");
}

#[test]
fn an_empty_disk_is_added_at_open_and_gets_data() {
    let dir = tempfile::tempdir().unwrap();
    store_of_two(dir.path());
    let added = dir.path().join("added");
    for existing in [false, true] {
        if existing {
            fs::create_dir(&added).unwrap();
        }
        let store = options(dir.path()).disk(&added).open(home(dir.path())).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!(stats.disks.len(), 3);
        store.put("dealt", value(2, 600_000)).unwrap();
        let on_added = store.stats().unwrap().disks[2].space.live_bytes;
        assert!(on_added >= 100_000, "{on_added}");
        store.close().unwrap();
        let store = Store::open(home(dir.path())).unwrap();
        assert_eq!(store.stats().unwrap().disks.len(), 3);
        assert!(store.get("dealt").unwrap() == Some(value(2, 600_000)));
        drop(store);
        // Once more, from before the disk was added.
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
        store_of_two(dir.path());
    }
}

#[test]
fn a_directory_with_files_is_no_new_disk_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = store_of_two(dir.path());
    let holiday = dir.path().join("holiday");
    fs::create_dir(&holiday).unwrap();
    fs::write(holiday.join("photo.jpg"), b"not ours").unwrap();
    assert_refused(dir.path(), &[&a, &b, &holiday], &holiday);
    assert_eq!(sample::files(&holiday), [holiday.join("photo.jpg")]);
    assert!(Store::open(home(dir.path())).unwrap().exists("large").unwrap());
}

#[test]
fn a_mount_of_a_fresh_file_system_is_a_new_disk() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/lost+found")).unwrap();
    open(dir.path()).unwrap().put("key", "value").unwrap();
}

#[test]
fn a_moved_store_with_its_tracks_inside_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let store = Store::open(&old).unwrap();
    store.put("key", value(1, 50_000)).unwrap();
    store.close().unwrap();
    fs::rename(&old, &new).unwrap();
    let store = Store::open(&new).unwrap();
    assert!(store.get("key").unwrap() == Some(value(1, 50_000)));
    assert!(!old.exists());
}

/// Symptom: a second store on disks that were in use opened as the first one, at the same time.
/// Cause: a new home looked like one that has lost META and index, and took over the only store
/// that was found on the disks. Rule: a new home is a new store; tracks on given disks are taken
/// over by a rebuild alone.
#[test]
fn two_stores_share_disks_and_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| options(dir.path()).open(dir.path().join(name)).unwrap();
    {
        let (one, other) = (open("one"), open("other"));
        assert_ne!(one.id(), other.id());
        std::thread::scope(|scope| {
            for (seed, store) in [&one, &other].into_iter().enumerate() {
                scope.spawn(move || {
                    for i in 0..50 {
                        let value = value(seed as u64 * 100 + i, 3000);
                        store.put(format!("key/{i}"), value).unwrap();
                    }
                });
            }
        });
    }
    fs::remove_dir_all(dir.path().join("other/index")).unwrap();
    for (seed, name) in ["one", "other"].into_iter().enumerate() {
        let store = open(name);
        assert_eq!(store.stats().unwrap().objects, 50);
        for i in 0..50 {
            let expected = value(seed as u64 * 100 + i, 3000);
            assert!(store.get(format!("key/{i}")).unwrap() == Some(expected), "{name}, {i}");
        }
    }
}

#[test]
fn a_large_object_is_dealt_over_all_disks() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d"];
    let options = Options::new().segment_bytes(64 << 10).memory_bytes(16 << 20);
    let options = names.iter().fold(options, |options, name| options.disk(dir.path().join(name)));
    let store = options.open(home(dir.path())).unwrap();
    store.put("large", value(1, 4 << 20)).unwrap();
    for disk in store.stats().unwrap().disks {
        let live = disk.space.live_bytes;
        assert!(live >= 512 << 10, "{live} bytes on {}", disk.path.display());
    }
    assert!(store.get("large").unwrap() == Some(value(1, 4 << 20)));
}

#[test]
fn a_full_disk_is_left_out_of_placement() {
    let dir = tempfile::tempdir().unwrap();
    let io = SimIo::new(1);
    io.set_capacity("/small", 300 << 10);
    let store = Options::new()
        .io(Arc::new(io))
        .disk("/small")
        .disk("/large")
        .index_dir(dir.path())
        .reserve_bytes(128 << 10)
        .segment_bytes(32 << 10)
        .memory_bytes(16 << 20)
        .open("/home")
        .unwrap();
    for i in 0..100 {
        store.put(format!("key/{i}"), value(i, 20_000)).unwrap();
    }
    let stats = store.stats().unwrap();
    let (small, large) = (&stats.disks[0], &stats.disks[1]);
    assert!(small.space.file_bytes <= 172 << 10, "{small:?}");
    assert!(large.space.live_bytes >= 1_800_000, "{large:?}");
    for i in 0..100 {
        assert!(store.get(format!("key/{i}")).unwrap() == Some(value(i, 20_000)), "{i}");
    }
}

#[test]
fn a_copy_of_a_whole_store_opens_beside_the_original() {
    let (one, other) = (CLOSED.copy(), CLOSED.copy());
    let (first, second) = (open(one.path()).unwrap(), open(other.path()).unwrap());
    first.put("tiny", "of the first").unwrap();
    second.put("tiny", "of the second").unwrap();
    assert_eq!(first.get("tiny").unwrap().as_deref(), Some(&b"of the first"[..]));
    assert_eq!(second.get("tiny").unwrap().as_deref(), Some(&b"of the second"[..]));
}

/// Symptom: a store that was made at the second attempt did not open after a power cut: a disk of it
/// was missing. Cause: the first attempt had failed at the sync behind `DISK`, the second found the
/// file there and went on, and `META` named a disk that no sync had ever made durable. Rule: what is
/// found is as little durable as whoever left it made it; it is synced before anything builds on it.
#[test]
fn a_store_whose_creation_failed_at_any_call_is_durable_when_it_is_there() {
    for call in 0.. {
        let machine = Machine::new(1, 2);
        machine.io.fail(Fault::call(call, Fail::Eio).lasting());
        let is_made = machine.options().open(HOME).is_ok();
        machine.io.heal();
        let store = machine.open();
        store.put("key", "value").unwrap();
        let machine = machine.cut(store, Keep::Nothing);
        assert_value(&machine.open(), "key", b"value");
        if is_made {
            break;
        }
    }
}
