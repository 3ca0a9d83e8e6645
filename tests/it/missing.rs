//! Disks that are missing when the store is opened, and are back later.

use std::collections::BTreeMap;
use std::fs;

use kogia::io::sim::{CallKind, Fail, Fault, Keep};
use kogia::{CompactOptions, ErrorKind, Options, Store};

use crate::machine::{HOME, Machine, assert_sound, assert_value, compact, refused, value};

type Map = BTreeMap<String, Vec<u8>>;

const CALLS: [CallKind; 10] = [
    CallKind::Open,
    CallKind::Create,
    CallKind::CreateDir,
    CallKind::List,
    CallKind::Exists,
    CallKind::ReadSmall,
    CallKind::Remove,
    CallKind::SyncDir,
    CallKind::AvailableSpace,
    CallKind::Canonicalize,
];

/// Takes a disk away: no name on it is found any more.
fn unplug(machine: &Machine, disk: usize) {
    for kind in CALLS {
        let fault = Fault::next(kind, Fail::Eio).under(Machine::disk(disk));
        machine.io.fail(fault.lasting());
    }
}

fn without(machine: &Machine) -> Options {
    machine.options_on(&[]).accept_missing(true)
}

fn put(store: &Store, map: &mut Map, keys: std::ops::Range<u64>, tag: u64) {
    for i in keys {
        let (key, bytes) =
            (format!("k{i:03}"), value(tag + i, [300, 9_000, 40_000][i as usize % 3]));
        store.put(&key, &bytes).unwrap();
        map.insert(key, bytes);
    }
}

fn delete(store: &Store, map: &mut Map, keys: impl Iterator<Item = u64>) {
    for key in keys.map(|i| format!("k{i:03}")) {
        assert!(store.delete(&key).unwrap(), "{key}");
        map.remove(&key);
    }
}

#[track_caller]
fn assert_holds(store: &Store, map: &Map) {
    let found: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
    let expected: Vec<_> = map.keys().map(|key| key.as_bytes().to_vec()).collect();
    assert_eq!(found, expected);
    map.iter().for_each(|(key, bytes)| assert_value(store, key, bytes));
    assert_sound(store);
}

#[test]
fn a_store_goes_on_without_a_missing_disk_and_has_everything_when_it_is_back() {
    let machine = Machine::new(1, 3);
    let (store, mut map) = (machine.open(), Map::new());
    put(&store, &mut map, 0..120, 0);
    store.close().unwrap();
    unplug(&machine, 1);
    assert_eq!(refused(machine.options_on(&[]).open(HOME)), ErrorKind::Io);
    let store = without(&machine).open(HOME).unwrap();
    assert_eq!(store.recovery().missing, [Machine::disk(1)]);
    let why = store.stats().unwrap().disks[1].failure.clone().unwrap();
    assert!(why.contains("/mnt/disk-1"), "{why}");
    let mut failed = 0;
    for (key, bytes) in &map {
        match store.get(key) {
            Ok(found) => assert!(found.as_ref() == Some(bytes), "{key}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.path().unwrap().starts_with(Machine::disk(1)), "{error}");
                failed += 1;
            }
        }
    }
    assert!((20..80).contains(&failed), "{failed}");
    // Listing and heads need no track.
    assert_eq!(store.iter(..).filter(Result::is_ok).count(), 120);
    put(&store, &mut map, 100..160, 1_000);
    delete(&store, &mut map, 40..70);
    store.checkpoint().unwrap();
    compact(&store);
    store.close().unwrap();
    // Once more without it, and killed.
    let store = without(&machine).open(HOME).unwrap();
    put(&store, &mut map, 150..170, 2_000);
    let machine = machine.kill(store);
    machine.io.heal();
    let store = machine.options_on(&[]).open(HOME).unwrap();
    assert_eq!(store.recovery().missing, [] as [std::path::PathBuf; 0]);
    assert_holds(&store, &map);
    compact(&store);
    store.close().unwrap();
    assert_holds(&machine.rebuild(), &map);
}

/// Deletes, overwrites and an assembly on the missing disk that the index has not heard of.
#[test]
fn what_a_missing_disk_knew_since_the_last_checkpoint_counts_when_it_is_back() {
    for (seed, gone) in (0..4).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let machine = Machine::new(10 + seed, 2);
        let (store, mut map) = (machine.open(), Map::new());
        put(&store, &mut map, 0..60, 0);
        store.checkpoint().unwrap();
        delete(&store, &mut map, (seed..60).step_by(4));
        put(&store, &mut map, 45..58, 1_000);
        // Enough for further tracks that the index has never heard of.
        put(&store, &mut map, 60..90, 0);
        let part = store.part().unwrap().finish().unwrap().id;
        store.assemble("whole", &[part], &kogia::PutOptions::default()).unwrap();
        map.insert("whole".into(), Vec::new());
        let machine = machine.cut(store, Keep::Nothing);
        unplug(&machine, gone);
        for round in 0..2 {
            let store = without(&machine).part_max_age(Some(std::time::Duration::ZERO));
            let store = store.open(HOME).unwrap();
            put(&store, &mut map, 20..24, 2_000 + round * 100);
            delete(&store, &mut map, [20, 22].into_iter());
            compact(&store);
            store.checkpoint().unwrap();
            compact(&store);
            store.close().unwrap();
        }
        machine.io.heal();
        let store = machine.open();
        assert_holds(&store, &map);
        for _ in 0..3 {
            compact(&store);
            store.checkpoint().unwrap();
        }
        assert_holds(&store, &map);
        store.close().unwrap();
        let store = machine.rebuild();
        assert_holds(&store, &map);
        // And tombstones go, now that all is known.
        delete(&store, &mut map.clone(), 60..90);
        for _ in 0..3 {
            compact(&store);
        }
        assert_eq!(store.stats().unwrap().tombstones, 0, "seed {seed}, disk {gone}");
    }
}

/// A delete lies on the missing disk, and the index has not heard of it. Meanwhile the deleted key
/// is copied to a new track, which would vouch that all in it lived. When the disk is back, so is the
/// delete; once no track's floor was below it, its tombstone would go, and its record with the next
/// compaction of its track; and a rebuild would find the copy.
///
/// Fails without `unknown_above` in `Pass::new`.
#[test]
fn a_copy_of_what_a_missing_disk_knew_to_be_deleted_does_not_outlive_the_tombstone() {
    let machine = Machine::new(5, 1);
    let store = machine.open();
    (0..40).for_each(|i| assert!(store.put(format!("k{i}"), value(i, 1_000)).is_ok()));
    (1..30).for_each(|i| assert!(store.delete(format!("k{i}")).unwrap()));
    store.checkpoint().unwrap();
    // With so much less on it, the new disk gets what comes next.
    let new = store.add_disk(Machine::disk(1)).unwrap();
    assert!(store.delete("k0").unwrap());
    store.put("other", value(1, 1_000)).unwrap();
    let on_new = |store: &Store| {
        let tracks = store.tracks().unwrap();
        let tracks: Vec<_> = tracks.iter().filter(|t| t.disk == new).map(|t| t.track).collect();
        assert!(!tracks.is_empty());
        CompactOptions { tracks: Some(tracks), min_garbage: Some(0.0), ..CompactOptions::default() }
    };
    on_new(&store);
    let machine = machine.cut(store, Keep::Nothing);
    unplug(&machine, 1);
    let store = without(&machine).open(HOME).unwrap();
    assert!(store.exists("k0").unwrap() && !store.exists("other").unwrap());
    let report = compact(&store);
    assert!(report.copied_records > 0, "{report:?}");
    store.close().unwrap();
    machine.io.heal();
    let store = machine.options_on(&[]).open(HOME).unwrap();
    assert!(!store.exists("k0").unwrap() && store.exists("other").unwrap());
    for _ in 0..3 {
        store.compact(&on_new(&store)).unwrap();
        store.put("more", "changes").unwrap();
        store.checkpoint().unwrap();
    }
    store.close().unwrap();
    let store = machine.options_on(&[]).rebuild(HOME).unwrap();
    assert!(!store.exists("k0").unwrap() && store.exists("other").unwrap());
    assert_sound(&store);
}

#[test]
fn an_index_is_not_made_anew_and_a_store_not_opened_without_any_disk() {
    let machine = Machine::new(3, 2);
    let (store, mut map) = (machine.open(), Map::new());
    put(&store, &mut map, 0..30, 0);
    store.close().unwrap();
    unplug(&machine, 0);
    assert_eq!(refused(without(&machine).rebuild(HOME)), ErrorKind::Io);
    unplug(&machine, 1);
    assert_eq!(refused(without(&machine).open(HOME)), ErrorKind::Io);
    machine.io.heal();
    machine.lose_index();
    unplug(&machine, 0);
    assert_eq!(refused(without(&machine).open(HOME)), ErrorKind::Io);
    machine.io.heal();
    assert_holds(&machine.open(), &map);
}

#[test]
fn nothing_is_made_in_the_mount_point_of_a_disk_that_is_not_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let [home, a, b, kept] = ["home", "a", "b", "kept"].map(|name| dir.path().join(name));
    let store = Options::new().disk(&a).disk(&b).open(&home).unwrap();
    (0..20).for_each(|i| assert!(store.put(format!("k{i}"), value(i, 9_000)).is_ok()));
    store.close().unwrap();
    fs::rename(&b, &kept).unwrap();
    fs::create_dir(&b).unwrap();
    for given in [&[][..], &[a.clone(), b.clone()]] {
        let options = given.iter().fold(Options::new(), |options, disk| options.disk(disk));
        let store = options.accept_missing(true).open(&home).unwrap();
        assert_eq!(store.recovery().missing.len(), 1);
        store.put("new", "value").unwrap();
        store.close().unwrap();
        assert_eq!(fs::read_dir(&b).unwrap().count(), 0);
    }
    fs::remove_dir(&b).unwrap();
    fs::rename(&kept, &b).unwrap();
    let store = Store::open(&home).unwrap();
    (0..20).for_each(|i| assert_value(&store, &format!("k{i}"), &value(i, 9_000)));
    assert_value(&store, "new", b"value");
}

/// Keys whose tombstones lie on the disk that is given up have older records on the other one.
///
/// Fails without `delete_once_more`.
#[test]
fn what_lay_on_a_disk_that_is_given_up_is_deleted_and_nothing_else_and_nothing_comes_back() {
    for (seed, gone) in (0..3).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let machine = Machine::new(20 + seed, 2);
        let (store, mut map) = (machine.open(), Map::new());
        put(&store, &mut map, 0..60, 0);
        put(&store, &mut map, 20..40, 500);
        delete(&store, &mut map, (0..60).step_by(3));
        map.insert("stream".into(), value(7, 300_000));
        store.put("stream", &map["stream"]).unwrap();
        store.part().unwrap().finish().unwrap();
        let id = store.stats().unwrap().disks[gone].id;
        assert_eq!(refused(store.forget_disk(id, |_, _| {})), ErrorKind::InvalidArgument);
        store.close().unwrap();
        unplug(&machine, gone);
        let store = without(&machine).open(HOME).unwrap();
        let mut lost = Vec::new();
        let objects = store.objects_on(id, |key, _| lost.push(key.to_vec())).unwrap();
        assert_eq!(objects, lost.len() as u64);
        let mut told = Vec::new();
        assert_eq!(store.forget_disk(id, |key, _| told.push(key.to_vec())).unwrap(), objects);
        assert_eq!(told, lost);
        let lost: Vec<_> = lost.into_iter().map(|key| String::from_utf8(key).unwrap()).collect();
        assert!(lost.iter().all(|key| map.remove(key).is_some()) && lost.len() > 5, "{lost:?}");
        assert!(map.len() > 5);
        assert_eq!(store.stats().unwrap().disks.len(), 1);
        put(&store, &mut map, 100..110, 0);
        assert_holds(&store, &map);
        store.close().unwrap();
        let other = [1 - gone];
        let store = machine.options_on(&other).rebuild(HOME).unwrap();
        assert_holds(&store, &map);
        compact(&store);
        store.close().unwrap();
        assert_holds(&machine.options_on(&other).rebuild(HOME).unwrap(), &map);
        // What is back too late is refused.
        machine.io.heal();
        assert_eq!(refused(machine.options_on(&[0, 1]).open(HOME)), ErrorKind::Disk);
    }
}
