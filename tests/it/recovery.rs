//! Recovery: whatever is missing or older than the rest, opening finds out what was there.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kogia::io::sim::{Keep, SimIo};
use kogia::{ErrorKind, Phase, PutOptions, Stats, Store};

use crate::sample::{self, CLOSED, CRASHED, Image, copy_tree, home, open, options, value};

/// Opens a changed copy of the image, which must have everything; then closes it, opens it again,
/// and writes to it, so that what recovery made is found to be of lasting use.
fn recovers(image: &Image, change: impl FnOnce(&Path)) {
    let copy = image.copy();
    change(copy.path());
    let store = open(copy.path()).unwrap();
    image.check(&store);
    store.close().unwrap();
    let store = open(copy.path()).unwrap();
    assert!(store.recovery().clean);
    image.check(&store);
    store.put("tiny", "newer than all").unwrap();
    drop(store);
    let store = open(copy.path()).unwrap();
    assert_eq!(store.get("tiny").unwrap().as_deref(), Some(&b"newer than all"[..]));
}

fn meta(root: &Path) -> PathBuf {
    home(root).join("META")
}

fn index(root: &Path) -> PathBuf {
    home(root).join("index")
}

/// The index's files whose names have this in them.
fn index_files(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut files = sample::files(&index(root));
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().contains(name));
    assert!(!files.is_empty(), "the index has no {name}");
    files
}

fn garble(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let len = bytes.len();
    bytes[len / 3..len / 2].iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_crashed_store_is_replayed() {
    recovers(&CRASHED, |_| {});
}

#[test]
fn a_store_without_meta_recovers() {
    for image in [&*CLOSED, &*CRASHED] {
        recovers(image, |root| fs::remove_file(meta(root)).unwrap());
    }
}

#[test]
fn a_store_with_a_torn_meta_recovers_at_every_truncation() {
    let whole = fs::read(meta(&CRASHED.path())).unwrap();
    let copy = CRASHED.copy();
    let stride = if std::env::var_os("KOGIA_TEST_EVERY_BYTE").is_some() { 1 } else { 9 };
    for len in (0..whole.len()).step_by(stride) {
        fs::write(meta(copy.path()), &whole[..len]).unwrap();
        CRASHED.check(&open(copy.path()).unwrap());
    }
}

/// Tracks on disks that may be shared are taken over only when that is asked for.
#[test]
fn a_store_with_neither_meta_nor_index_is_rebuilt() {
    recovers(&CRASHED, |root| {
        fs::remove_file(meta(root)).unwrap();
        fs::remove_dir_all(index(root)).unwrap();
        let error = open(root).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
        assert!(error.to_string().contains("rebuild"), "{error}");
        CRASHED.check(&options(root).rebuild(home(root)).unwrap());
    });
}

#[test]
fn a_store_with_its_disk_inside_recovers_with_neither_meta_nor_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put("key", value(1, 50_000)).unwrap();
    let id = store.id();
    store.close().unwrap();
    fs::remove_file(dir.path().join("META")).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.id(), id);
    assert!(store.get("key").unwrap() == Some(value(1, 50_000)));
}

/// Symptom: after META was lost, opening without naming the disks left the store with a disk of
/// its own making, and refused the right ones from then on. Cause: with no META to say where the
/// disks were, the default one was made. Rule: what is lost is asked for, and nothing is made.
#[test]
fn without_meta_a_store_asks_for_its_disks_and_makes_none() {
    let losses: [fn(&Path); 3] = [
        |root| fs::remove_file(meta(root)).unwrap(),
        |root| fs::write(meta(root), b"rubbish").unwrap(),
        |root| {
            fs::write(meta(root), b"rubbish").unwrap();
            fs::remove_dir_all(index(root)).unwrap();
        },
    ];
    for lose in losses {
        recovers(&CLOSED, |root| {
            lose(root);
            let indexed = index(root).exists();
            let error = Store::open(home(root)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
            assert!(error.to_string().contains("META"), "{error}");
            assert!(!home(root).join("tracks").exists());
            if !indexed {
                CLOSED.check(&options(root).rebuild(home(root)).unwrap());
            }
        });
    }
}

/// Symptom: with a disk that was not mounted a store that had lost its home was made anew of the others,
/// and what they had of objects that lay over both was freed. Cause: the empty directory passed for a new
/// disk. Rule: where nobody says which disks there are, all of them have to be there.
#[test]
fn a_rebuild_without_meta_takes_no_empty_directory_for_a_disk_and_misses_one_that_is_not_given() {
    let dir = tempfile::tempdir().unwrap();
    let disks = ["a", "b", "c"].map(|name| dir.path().join(name));
    let of = |disks: &[PathBuf]| disks.iter().fold(kogia::Options::new(), |o, disk| o.disk(disk));
    let home = dir.path().join("home");
    let store = of(&disks[..2]).open(&home).unwrap();
    let bytes = value(1, 3 << 20);
    for key in 0..4 {
        let mut stream = store.writer(format!("k{key}")).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.commit().unwrap();
    }
    store.close().unwrap();
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(&disks[2]).unwrap();
    let swapped = [disks[0].clone(), disks[2].clone()];
    assert_eq!(of(&swapped).rebuild(&home).unwrap_err().kind(), ErrorKind::Disk);
    assert!(fs::read_dir(&disks[2]).unwrap().next().is_none());
    let alone = [0, 1].map(|at| of(&disks[at..=at]).rebuild(&home).unwrap_err().kind());
    assert!(alone.contains(&ErrorKind::Damaged), "{alone:?}");
    let store = of(&disks[..2]).rebuild(&home).unwrap();
    (0..4).for_each(|key| assert!(store.get(format!("k{key}")).unwrap().as_ref() == Some(&bytes)));
}

/// Symptom: an opening that never ended. Cause: with a flipped bit the type of a record of the index's
/// list of files was one at which RocksDB's reader goes round and round. Rule: RocksDB is given no
/// list with such a record.
#[test]
fn an_index_whose_list_of_files_has_a_flipped_bit_opens_or_is_made_anew() {
    // Where each of the records has its type, which is the seventh of its bytes.
    let types = |manifest: &[u8]| {
        let mut at = 6;
        std::iter::from_fn(|| {
            let header = manifest.get(at - 6..=at)?;
            let len = usize::from(u16::from_le_bytes([header[4], header[5]]));
            let next = at + 7 + len;
            Some(std::mem::replace(&mut at, next))
        })
        .collect::<Vec<_>>()
    };
    let copy = CLOSED.copy();
    let manifest = fs::read(&index_files(copy.path(), "MANIFEST")[0]).unwrap();
    let types = types(&manifest);
    assert!(types.len() > 5 && types.iter().all(|&at| manifest[at] == 1), "{types:?}");
    for &at in types.iter().step_by(types.len() / 4) {
        for bit in 0..8 {
            recovers(&CLOSED, |root| {
                let path = &index_files(root, "MANIFEST")[0];
                let mut bytes = fs::read(path).unwrap();
                bytes[at] ^= 1 << bit;
                fs::write(path, bytes).unwrap();
            });
        }
    }
}

/// Symptom: a rebuild, with its disks named, of a store whose first opening was cut off asked for the
/// disks to be named. Rule: what is said is what is missing.
#[test]
fn a_rebuild_of_what_never_was_a_store_says_that_the_disks_hold_none() {
    let dir = tempfile::tempdir().unwrap();
    let options = || kogia::Options::new().disk(dir.path().join("disk"));
    options().open(dir.path().join("home")).unwrap().close().unwrap();
    // As if it had been killed before anything but an index without rows was there.
    fs::remove_file(dir.path().join("home/META")).unwrap();
    fs::remove_dir_all(dir.path().join("disk")).unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let index = dir.path().join("home/index");
    fs::remove_dir_all(&index).unwrap();
    fs::create_dir(&index).unwrap();
    fs::write(index.join("CURRENT"), b"").unwrap();
    let error = options().rebuild(dir.path().join("home")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
    assert!(error.to_string().contains("no disk that was given holds a store"), "{error}");
}

/// Symptom: after an older META was put back, an acknowledged overwrite was not to be seen.
/// Cause: the openings that META counts began again, so that new seqs were below old ones. Rule:
/// a seq is greater than all that the index and the tracks have (invariant I7).
#[test]
fn a_meta_of_an_older_time_does_not_bring_seqs_back() {
    for rebuild in [false, true] {
        let copy = CLOSED.copy();
        let old = fs::read(meta(copy.path())).unwrap();
        for round in 0..3 {
            open(copy.path()).unwrap().put("tiny", format!("round {round}")).unwrap();
        }
        fs::write(meta(copy.path()), &old).unwrap();
        let store = if rebuild {
            options(copy.path()).rebuild(home(copy.path())).unwrap()
        } else {
            open(copy.path()).unwrap()
        };
        assert_eq!(store.get("tiny").unwrap().as_deref(), Some(&b"round 2"[..]));
        let before = store.head("tiny").unwrap().unwrap().seq;
        assert!(store.put("tiny", "last").unwrap() > before);
        assert_eq!(store.get("tiny").unwrap().as_deref(), Some(&b"last"[..]));
        assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
    }
}

#[test]
fn a_store_without_index_recovers() {
    for image in [&*CLOSED, &*CRASHED] {
        recovers(image, |root| fs::remove_dir_all(index(root)).unwrap());
    }
}

#[test]
fn an_index_without_its_current_file_is_made_anew() {
    recovers(&CRASHED, |root| fs::remove_file(index(root).join("CURRENT")).unwrap());
}

#[test]
fn an_index_with_a_garbled_manifest_is_made_anew() {
    recovers(&CRASHED, |root| garble(&index_files(root, "MANIFEST")[0]));
}

#[test]
fn an_index_without_one_of_its_tables_is_made_anew() {
    let tables = index_files(&CRASHED.path(), ".sst").len();
    for at in [0, tables / 2, tables - 1] {
        recovers(&CRASHED, |root| fs::remove_file(&index_files(root, ".sst")[at]).unwrap());
    }
}

#[test]
fn a_lock_that_a_dead_process_left_is_no_obstacle() {
    recovers(&CRASHED, |root| {
        fs::write(home(root).join("LOCK"), b"").unwrap();
        fs::write(index(root).join("LOCK"), b"").unwrap();
    });
}

/// A table with flipped bytes is found when it is read: opening or reading says so, never gives
/// wrong data, and a rebuild makes it good.
#[test]
fn an_index_with_flipped_bytes_in_a_table_fails_or_is_made_anew() {
    for at in 0..index_files(&CLOSED.path(), ".sst").len() {
        let copy = CLOSED.copy();
        garble(&index_files(copy.path(), ".sst")[at]);
        match open(copy.path()) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error}"),
            Ok(store) => {
                for (key, value) in CLOSED.live() {
                    match store.get(key) {
                        Ok(found) => assert!(found.as_deref() == Some(value), "{key} reads wrong"),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{error}"),
                    }
                }
            }
        }
        CLOSED.check(&options(copy.path()).rebuild(home(copy.path())).unwrap());
    }
}

#[test]
fn an_index_of_an_older_time_is_brought_up_by_replay() {
    let copy = CLOSED.copy();
    let old = tempfile::tempdir().unwrap();
    copy_tree(&index(copy.path()), old.path());
    let mut expected = BTreeMap::new();
    for round in 0..3 {
        let store = open(copy.path()).unwrap();
        for i in 0..4 {
            let key = format!("round {round}/{i}");
            expected.insert(key.clone(), value(round * 4 + i, 3000));
            store.put(key, value(round * 4 + i, 3000)).unwrap();
        }
        store.delete(format!("last/{round}")).unwrap();
    }
    fs::remove_dir_all(index(copy.path())).unwrap();
    copy_tree(old.path(), &index(copy.path()));

    let store = open(copy.path()).unwrap();
    assert!(!store.recovery().rebuilt && store.recovery().replayed_records > 0);
    for (key, value) in expected {
        assert!(store.get(&key).unwrap().as_deref() == Some(&value[..]), "{key}");
    }
    for round in 0..3 {
        assert!(!store.exists(format!("last/{round}")).unwrap());
    }
    assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
}

#[test]
fn an_index_of_another_store_is_thrown_away() {
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path()).unwrap();
    store.put("foreign", "not ours").unwrap();
    store.close().unwrap();
    recovers(&CLOSED, |root| {
        fs::remove_dir_all(index(root)).unwrap();
        copy_tree(&index(other.path()), &index(root));
    });
}

#[test]
fn torn_ends_on_several_disks_at_once_are_cut_off() {
    let copy = CRASHED.copy();
    let tracks = sample::tracks(copy.path());
    let last_on = |disk: &str| {
        let on_disk = |path: &&PathBuf| path.starts_with(copy.path().join(disk));
        tracks.iter().rev().find(on_disk).expect("each disk has tracks")
    };
    for disk in ["a", "b"] {
        let track = OpenOptions::new().append(true).open(last_on(disk)).unwrap();
        std::io::Write::write_all(&mut &track, &value(1, 5000)).unwrap();
    }
    let store = open(copy.path()).unwrap();
    assert_eq!(store.recovery().torn.len(), 2);
    assert!(store.recovery().damage.is_empty());
    CRASHED.check(&store);
}

#[test]
fn an_unfinished_roll_is_no_loss() {
    let last = sample::tracks(&CRASHED.path()).pop().unwrap();
    let header = fs::read(&last).unwrap()[..4096].to_vec();
    let next = last.with_file_name(kogia::TrackId(7).file_name());
    let inside = next.strip_prefix(CRASHED.path()).unwrap();
    for contents in [&[][..], &header[..100], &[0; 4096], &[0; 100]] {
        recovers(&CRASHED, |root| fs::write(root.join(inside), contents).unwrap());
    }
    // A whole header, as a roll leaves it that was cut off before META was told.
    let sound = CLOSED.copy();
    let store = open(sound.path()).unwrap();
    let tracks = sample::tracks(sound.path());
    store.put("a roll", value(1, 60_000)).unwrap();
    let new: Vec<_> =
        sample::tracks(sound.path()).into_iter().filter(|path| !tracks.contains(path)).collect();
    assert_eq!(new.len(), 1);
    let header = fs::read(&new[0]).unwrap()[..4096].to_vec();
    let inside = new[0].strip_prefix(sound.path()).unwrap();
    recovers(&CLOSED, |root| fs::write(root.join(inside), &header).unwrap());
}

/// A store's listing, contents and counters.
#[derive(PartialEq)]
struct Everything {
    listing: Vec<(Vec<u8>, kogia::Info)>,
    contents: Vec<Vec<u8>>,
    stats: Stats,
}

fn everything(store: &Store) -> Everything {
    let listing: Vec<_> = store.iter(..).map(Result::unwrap).collect();
    let contents = listing.iter().map(|(key, _)| store.get(key).unwrap().unwrap()).collect();
    let mut stats = store.stats().unwrap();
    // What a rebuild need not find as it was: how far the file system is taken, what is punched
    // already, and which tombstones were forgotten.
    for disk in &mut stats.disks {
        disk.available_bytes = 0;
        disk.space.free_bytes += std::mem::take(&mut disk.space.punched_bytes);
    }
    stats.tombstones = 0;
    Everything { listing, contents, stats }
}

#[test]
fn a_rebuild_gives_the_same_listing_contents_and_stats_and_shows_progress() {
    let copy = CLOSED.copy();
    let store = open(copy.path()).unwrap();
    let mut part = store.part().unwrap();
    std::io::Write::write_all(&mut part, &value(1, 40_000)).unwrap();
    let part = part.finish().unwrap();
    let attributes = PutOptions {
        attributes: b"attributes".to_vec(),
        modified_ms: Some(7),
        ..PutOptions::default()
    };
    store.put_with("attributed", value(2, 50_000), &attributes).unwrap();
    let before = everything(&store);
    store.close().unwrap();

    let seen = Arc::new(Mutex::new(Vec::new()));
    let steps = seen.clone();
    let options = options(copy.path()).on_progress(move |p| steps.lock().unwrap().push(*p));
    let store = options.rebuild(home(copy.path())).unwrap();
    assert!(store.recovery().rebuilt);
    assert_eq!(store.parts().unwrap(), [part]);
    let after = everything(&store);
    assert_eq!(before.stats, after.stats);
    assert!(before == after);
    assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
    let seen = seen.lock().unwrap();
    let last = seen.last().expect("progress was shown");
    assert_eq!(last.phase, Phase::Rebuild);
    assert!(last.records > 80 && last.done_bytes > 0 && last.done_bytes <= last.total_bytes);
}

#[test]
fn segments_of_dead_streams_are_freed_and_those_of_parts_are_kept() {
    let copy = CLOSED.copy();
    let store = open(copy.path()).unwrap();
    let live = store.stats().unwrap().total().live_bytes;
    let mut part = store.part().unwrap();
    std::io::Write::write_all(&mut part, &value(1, 100_000)).unwrap();
    let part = part.finish().unwrap();
    let mut stream = store.writer("never committed").unwrap();
    std::io::Write::write_all(&mut stream, &value(2, 100_000)).unwrap();
    store.sync().unwrap();
    // The process dies here.
    let crashed = tempfile::tempdir().unwrap();
    copy_tree(copy.path(), crashed.path());

    let store = open(crashed.path()).unwrap();
    assert_eq!(store.recovery().freed_segments, 3);
    assert_eq!(store.parts().unwrap(), [part]);
    let stats = store.stats().unwrap().total();
    assert_eq!(stats.live_bytes, live + 100_000);
    assert!(stats.free_bytes + stats.punched_bytes >= 96 << 10);
    assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
    store.assemble("of the part", &[part.id], &PutOptions::default()).unwrap();
    assert!(store.get("of the part").unwrap() == Some(value(1, 100_000)));
    assert!(!store.exists("never committed").unwrap());
}

/// A store on a simulated machine, with chains behind its last checkpoint on both disks.
fn simulated(io: &SimIo, index: &Path) -> kogia::Result<Store> {
    kogia::Options::new()
        .io(Arc::new(io.clone()))
        .disk("/a")
        .disk("/b")
        .index_dir(index)
        .track_bytes(64 << 10)
        .segment_bytes(32 << 10)
        .memory_bytes(16 << 20)
        .reserve_bytes(0)
        .checkpoint_interval(std::time::Duration::from_secs(3600))
        .open("/home")
}

/// The power goes at each call of a recovery in turn; the one after it finds everything.
#[test]
fn a_crash_at_any_call_of_a_recovery_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (io, live) = (SimIo::new(1), dir.path().join("live"));
    let store = simulated(&io, &live).unwrap();
    store.put("kept", value(1, 20_000)).unwrap();
    store.checkpoint().unwrap();
    let mut expected = BTreeMap::from([("kept".to_owned(), value(1, 20_000))]);
    for i in 0..12 {
        let key = format!("{i}");
        store.put(&key, value(i, 9000)).unwrap();
        expected.insert(key, value(i, 9000));
    }
    let old = dir.path().join("old");
    copy_tree(&live, &old);
    // Writes that were not synced tear the ends.
    for i in 0..4 {
        let os = PutOptions { durability: Some(kogia::Durability::Os), ..PutOptions::default() };
        store.put_with(format!("os/{i}"), value(50 + i, 5000), &os).unwrap();
    }
    let crashed = io.crash(Keep::Random(3));
    drop(store);

    let check = |store: &Store| {
        for (key, value) in &expected {
            assert!(store.get(key).unwrap().as_ref() == Some(value), "{key}");
        }
        assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
    };
    let calls = {
        let (io, index) = (crashed.crash(Keep::Everything), dir.path().join("count"));
        copy_tree(&old, &index);
        let store = simulated(&io, &index).unwrap();
        let calls = io.calls();
        check(&store);
        calls
    };
    let stride = if std::env::var_os("KOGIA_TEST_EVERY_BYTE").is_some() { 1 } else { 2 };
    for number in (0..calls).step_by(stride) {
        let (io, index) = (crashed.crash(Keep::Everything), dir.path().join(number.to_string()));
        copy_tree(&old, &index);
        io.power_off_at_call(number);
        drop(simulated(&io, &index));
        let store = simulated(&io.crash(Keep::Random(number)), &index).unwrap();
        check(&store);
        drop(store);
        fs::remove_dir_all(&index).unwrap();
    }
}
