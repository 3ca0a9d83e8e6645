//! Backups: one moment, apart from the store, and old or new whenever they are cut off.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kogia::io::sim::Keep;
use kogia::{
    BackupOptions, BackupReport, Batch, Create, ErrorKind, LinkMode, Options, Store, VerifyOptions,
};
use tempfile::TempDir;

use crate::held::{Call, HeldIo};
use crate::machine::{HOME, Machine, assert_sound, assert_value};
use crate::sample::{self, CLOSED, copy_tree, home, keys, options, tracks, value};

fn mode(mode: LinkMode) -> BackupOptions {
    BackupOptions { mode, ..BackupOptions::default() }
}

#[track_caller]
fn backup(store: &Store, dir: &Path, link_mode: LinkMode) -> BackupReport {
    store.backup(dir, &mode(link_mode)).unwrap()
}

/// Opens a backup as it lies there, with nothing else said.
#[track_caller]
fn open_backup(dir: &Path) -> Store {
    Options::new().create(Create::Never).open(dir).unwrap()
}

/// A directory with a store at `home`, on the disks `a` and `b`, and room for backups.
fn place() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = sample::open(dir.path()).unwrap();
    (dir, store)
}

/// Names and bytes of the tracks below a directory.
fn bytes(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    tracks(root).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// All keys with their values.
fn contents(store: &Store) -> Vec<(String, Vec<u8>)> {
    let with_value = |key: String| {
        let value = store.get(&key).unwrap().unwrap();
        (key, value)
    };
    keys(store).into_iter().map(with_value).collect()
}

const MODES: [LinkMode; 3] = [LinkMode::Auto, LinkMode::HardLink, LinkMode::Copy];

#[test]
fn a_backup_is_the_whole_store_and_can_be_rebuilt() {
    for link_mode in MODES {
        let dir = CLOSED.copy();
        let store = sample::open(dir.path()).unwrap();
        let target = dir.path().join("backup");
        let report = backup(&store, &target, link_mode);
        assert_eq!(report.tracks, tracks(&target).len() as u64);
        assert!(report.index_bytes > 0);
        // Beside the open store.
        let copy = open_backup(&target);
        assert_eq!(copy.id(), store.id());
        assert!(copy.recovery().clean && !copy.recovery().rebuilt, "{:?}", copy.recovery());
        CLOSED.check(&copy);
        copy.close().unwrap();
        CLOSED.check(&Store::rebuild(&target).unwrap());
        CLOSED.check(&store);
        assert_eq!(store.stats().unwrap().disks.len(), 2);
    }
}

#[test]
fn a_backup_can_be_moved_and_its_store_lost() {
    let dir = CLOSED.copy();
    let store = sample::open(dir.path()).unwrap();
    backup(&store, &dir.path().join("backup"), LinkMode::Auto);
    store.close().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    copy_tree(&dir.path().join("backup"), &moved);
    drop(dir);
    let copy = open_backup(&moved);
    CLOSED.check(&copy);
    copy.put("new", "value").unwrap();
    assert_eq!(copy.get("new").unwrap().as_deref(), Some(&b"value"[..]));
}

/// Batches of five keys, on both disks, all with the number of the batch.
fn write_batch(store: &Store, number: u64, large: bool) {
    let mut batch = Batch::new();
    for key in 0..5 {
        let tail = if large && key == 0 { value(number, 20_000) } else { Vec::new() };
        batch.put(format!("k{key}"), [&number.to_be_bytes()[..], &tail].concat());
    }
    store.write(batch).unwrap();
}

fn batch_number(store: &Store) -> u64 {
    let number = |key: u64| {
        let bytes = store.get(format!("k{key}")).unwrap().unwrap();
        u64::from_be_bytes(bytes[..8].try_into().unwrap())
    };
    let first = number(0);
    assert!((1..5).all(|key| number(key) == first), "a batch in halves");
    first
}

#[test]
fn a_backup_under_writes_is_one_moment() {
    let (dir, store) = place();
    write_batch(&store, 0, true);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                write_batch(&store, number, number % 3 == 0);
                acknowledged.store(number, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        scope.spawn(|| {
            for number in 0.. {
                store.put(format!("other/{}", number % 50), value(number, 9000)).unwrap();
                store.delete(format!("other/{}", (number + 25) % 50)).unwrap();
                if number % 20 == 0 {
                    store.checkpoint().unwrap();
                }
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        // Also where this panics: else the others would go on for ever.
        let _stop = StopOnDrop(&stop);
        for round in 0..12 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let before = acknowledged.load(Ordering::SeqCst);
            // Every third one is new, the others go on.
            let target = dir.path().join(format!("backup-{}", round / 3));
            backup(&store, &target, MODES[round / 3 % 3]);
            let after = acknowledged.load(Ordering::SeqCst);
            let copy = open_backup(&target);
            assert_sound(&copy);
            assert!((before..=after + 1).contains(&batch_number(&copy)));
            let found = contents(&copy);
            drop(copy);
            let copy = Store::rebuild(&target).unwrap();
            assert!(contents(&copy) == found);
            assert_sound(&copy);
        }
    });
    assert_sound(&store);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A store on a machine whose calls can be held, with values of which two share a track; and how it
/// is backed up.
struct Held {
    machine: Machine,
    io: HeldIo,
    store: Store,
    index: TempDir,
}

const DIR: &str = "/backups/one";

impl Held {
    fn new(options: impl FnOnce(Options) -> Options) -> Self {
        let machine = Machine::new(1, 1);
        let io = HeldIo::new(&machine.io);
        let held = machine.options().track_bytes(64 << 10).io(Arc::new(io.clone()));
        let store = options(held).open(HOME).unwrap();
        (0..9).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
        Held { machine, io, store, index: tempfile::tempdir().unwrap() }
    }

    fn backup(&self) -> BackupReport {
        let index_dir = Some(self.index.path().join("index"));
        let options = BackupOptions { index_dir, ..mode(LinkMode::Copy) };
        self.store.backup(DIR, &options).unwrap()
    }

    fn options_of_backup(&self) -> Options {
        self.machine.options_of_backup(&self.index.path().join("index"))
    }
}

/// Enforced in src/store/backup.rs, `copy_to`: `let _hold = self.pins.hold_all();` and `measure`:
/// `row.sealed.unwrap_or(row.applied).min(there)`.
///
/// Values are put behind the moment before anything is looked at, and others deleted and given back
/// before it is copied.
#[test]
fn what_comes_after_the_moment_of_a_backup_is_not_in_it() {
    let held = Held::new(|options| options);
    held.store.checkpoint().unwrap();
    let before = contents(&held.store);
    let meta = held.io.hold_next(Call::Replace, HOME);
    let read = held.io.hold_next(Call::Read, Machine::disk(0));
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| held.backup());
        meta.wait();
        held.store.put("at once", "in the same track").unwrap();
        meta.let_go();
        read.wait();
        for i in [0, 1, 2, 4] {
            assert!(held.store.delete(format!("k{i}")).unwrap());
        }
        held.store.put("later", value(9, 20_000)).unwrap();
        held.store.put("k3", value(10, 100)).unwrap();
        held.store.checkpoint().unwrap();
        read.let_go();
        backup.join().unwrap();
    });
    let copy = held.options_of_backup().open(DIR).unwrap();
    assert!(contents(&copy) == before);
    assert_sound(&copy);
    copy.close().unwrap();
    let copy = held.options_of_backup().rebuild(DIR).unwrap();
    assert!(contents(&copy) == before);
    // What was held back meanwhile is given back afterwards.
    held.store.checkpoint().unwrap();
    assert_eq!(held.store.stats().unwrap().total().free_bytes, 0);
}

/// Enforced in src/store/refill.rs, `unapplied_from`: `.map(|hold| hold.since)`.
///
/// A value is on its way to freed chunks while a backup copies them, and gets there afterwards.
#[test]
fn a_track_that_was_being_refilled_during_a_backup_is_copied_again() {
    let held = Held::new(|options| options.refill(true).punch(false));
    held.store.delete("k0").unwrap();
    held.store.checkpoint().unwrap();
    let write = held.io.hold_next(Call::Write, Machine::disk(0));
    std::thread::scope(|scope| {
        let put = scope.spawn(|| held.store.put("refilled", value(20, 20_000)));
        write.wait();
        held.backup();
        write.let_go();
        put.join().unwrap().unwrap();
    });
    assert_eq!(held.store.stats().unwrap().total().free_bytes, 0, "nothing was refilled");
    assert!(held.backup().kept_bytes > 0);
    let copy = held.options_of_backup().open(DIR).unwrap();
    assert!(contents(&copy) == contents(&held.store));
    assert_sound(&copy);
}

/// Writes, overwrites and deletes values of all sizes.
fn churn(store: &Store, seed: u64) {
    for i in 0..30 {
        let key = format!("k{}", (i * 7 + seed) % 20);
        store.put(format!("kept/{seed}/{i}"), value(i, 200)).unwrap();
        store.put(&key, value(seed * 100 + i, [300, 20_000, 45_000][(i % 3) as usize])).unwrap();
        if i % 4 == 0 {
            store.delete(format!("k{}", (i * 3 + seed) % 20)).unwrap();
        }
    }
    store.checkpoint().unwrap();
}

/// Enforced in src/store/reclaim.rs, `punch_track`: `if file.is_linked()?`; and in
/// src/store/refill.rs, `refill`: `track.is_linked()?`.
#[test]
fn what_is_hard_linked_is_changed_by_neither_side() {
    for refill in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let opened = || options(dir.path()).refill(refill).punch(!refill);
        let store = opened().open(home(dir.path())).unwrap();
        churn(&store, 1);
        let target = dir.path().join("backup");
        let report = backup(&store, &target, LinkMode::HardLink);
        assert!(report.linked_bytes > 0 && report.linked_bytes > report.copied_bytes);
        let (saved, saved_bytes) = (contents(&store), bytes(&target));
        for seed in 2..5 {
            churn(&store, seed);
        }
        assert!(bytes(&target) == saved_bytes, "the store has changed the backup");
        let theirs = contents(&store);
        let shared = |path: &PathBuf| {
            let twins = ["a", "b"].map(|disk| tracks(&dir.path().join(disk))).concat();
            twins.into_iter().any(|twin| twin.file_name() == path.file_name())
        };
        assert!(saved_bytes.iter().any(|(path, _)| shared(path)), "nothing is left to be changed");
        let theirs_bytes = [bytes(&dir.path().join("a")), bytes(&dir.path().join("b"))].concat();
        let copy = Options::new()
            .track_bytes(64 << 10)
            .refill(refill)
            .punch(!refill)
            .open(&target)
            .unwrap();
        assert!(contents(&copy) == saved);
        for seed in 5..8 {
            churn(&copy, seed);
        }
        assert_sound(&copy);
        copy.close().unwrap();
        let now = [bytes(&dir.path().join("a")), bytes(&dir.path().join("b"))].concat();
        assert!(now == theirs_bytes, "the backup has changed the store");
        assert!(contents(&store) == theirs);
        assert_sound(&store);
        store.close().unwrap();
        // Where the index is lost, too, no shared track is gone on with.
        let store = opened().rebuild(home(dir.path())).unwrap();
        assert!(contents(&store) == theirs);
    }
}

/// Enforced in src/recovery/tails.rs, `end_track`: `&& !track.is_linked()?`.
///
/// The last track of each disk is sealed and shared; a rebuild would go on with it after a clean
/// close.
#[test]
fn a_rebuilt_store_does_not_go_on_with_a_track_that_its_backup_shares() {
    let (dir, store) = place();
    store.put("old", value(1, 9000)).unwrap();
    let crashed = dir.path().join("crashed");
    for part in ["home", "a", "b"] {
        copy_tree(&dir.path().join(part), &crashed.join(part));
    }
    drop(store);
    // Opening after the crash seals all tracks.
    let store = sample::open(&crashed).unwrap();
    assert!(!store.recovery().clean);
    let target = dir.path().join("backup");
    let report = backup(&store, &target, LinkMode::HardLink);
    assert_eq!(report.linked_bytes, report.total_bytes);
    store.close().unwrap();
    let saved = bytes(&target);
    let store = options(&crashed).rebuild(home(&crashed)).unwrap();
    store.put("new", value(2, 9000)).unwrap();
    store.close().unwrap();
    assert!(bytes(&target) == saved);
    open_backup(&target).close().unwrap();
    let copy = Store::rebuild(&target).unwrap();
    copy.put("other", value(3, 9000)).unwrap();
    copy.close().unwrap();
    let store = options(&crashed).rebuild(home(&crashed)).unwrap();
    assert_eq!(keys(&store), ["new", "old"].map(String::from).into());
    assert_sound(&store);
}

/// Enforced in src/recovery/replay.rs, `cut_off`: `if track.is_linked()?`.
#[test]
fn the_end_of_a_shared_track_is_not_cut_off() {
    let (dir, store) = place();
    for i in 0..4 {
        store.put(format!("k{i}"), value(i, 9000)).unwrap();
    }
    let crashed = dir.path().join("crashed");
    for part in ["home", "a", "b"] {
        copy_tree(&dir.path().join(part), &crashed.join(part));
    }
    drop(store);
    let store = sample::open(&crashed).unwrap();
    let target = dir.path().join("backup");
    backup(&store, &target, LinkMode::HardLink);
    store.close().unwrap();
    // Nobody is left to say how far the tracks were synced, and one is rotten.
    fs::remove_dir_all(home(&crashed)).unwrap();
    for path in tracks(&crashed) {
        let mut rotten = fs::read(&path).unwrap();
        let last_chunk = rotten.len() - 4096;
        rotten[last_chunk + 100] ^= 1;
        fs::write(&path, rotten).unwrap();
    }
    let before = bytes(&target);
    let error = options(&crashed).rebuild(home(&crashed)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(bytes(&target) == before);
}

#[test]
fn room_in_linked_tracks_comes_back_when_the_backup_is_gone() {
    let (dir, store) = place();
    for i in 0..10 {
        store.put(format!("k{i}"), value(i, 20_000)).unwrap();
    }
    let target = dir.path().join("backup");
    backup(&store, &target, LinkMode::HardLink);
    // One of the values in each track, on both disks.
    for i in [0, 1, 4, 5, 8, 9] {
        store.delete(format!("k{i}")).unwrap();
    }
    store.checkpoint().unwrap();
    let held = store.stats().unwrap().total();
    assert!(held.free_bytes > 0);
    fs::remove_dir_all(&target).unwrap();
    store.put("k1", "a change").unwrap();
    store.checkpoint().unwrap();
    let freed = store.stats().unwrap().total();
    assert!(freed.free_bytes == 0 && freed.punched_bytes >= held.free_bytes, "{freed:?}");
    assert_sound(&store);
}

#[test]
fn the_next_backup_copies_what_has_changed_only() {
    for link_mode in [LinkMode::Copy, LinkMode::HardLink] {
        let (dir, store) = place();
        let target = dir.path().join("backup");
        for i in 0..20 {
            store.put(format!("k{i}"), value(i, 20_000)).unwrap();
        }
        let first = backup(&store, &target, link_mode);
        assert_eq!((first.kept_bytes, first.removed_tracks), (0, 0));
        assert_eq!(first.copied_bytes + first.linked_bytes, first.total_bytes);
        let again = backup(&store, &target, link_mode);
        assert_eq!((again.kept_bytes, again.total_bytes), (first.total_bytes, first.total_bytes));
        assert_eq!(again.copied_bytes + again.linked_bytes, 0);
        // Whoever only looks at it changes nothing that counts.
        open_backup(&target).verify(&VerifyOptions::default()).unwrap();
        // Deletes are appended; the chunks that they free stay in the backup for now, and a track
        // that is dead goes.
        for i in 0..8 {
            store.delete(format!("k{i}")).unwrap();
        }
        store.put("new", value(99, 20_000)).unwrap();
        let third = backup(&store, &target, link_mode);
        assert!(third.removed_tracks > 0, "{third:?}");
        assert!(third.kept_bytes > 0, "{third:?}");
        let changed = third.copied_bytes + third.linked_bytes;
        assert!(changed > 0 && changed <= 4 * (64 << 10), "{third:?}");
        assert_eq!(changed + third.kept_bytes, third.total_bytes);
        let copy = open_backup(&target);
        assert!(contents(&copy) == contents(&store));
        assert_sound(&copy);
        copy.close().unwrap();
        let copy = Store::rebuild(&target).unwrap();
        assert!(contents(&copy) == contents(&store));
        drop(copy);
        let names: Vec<_> =
            fs::read_dir(&target).unwrap().flatten().map(|e| e.file_name()).collect();
        let generations = names.iter().filter(|name| name.to_string_lossy().starts_with("tracks-"));
        assert_eq!(generations.count(), 1, "{names:?}");
    }
}

/// Enforced in src/store/backup.rs, `plan`: `!refilled.contains(&id)`.
#[test]
fn a_track_that_was_refilled_is_copied_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().compaction(false).refill(true).punch(false).track_bytes(64 << 10);
    let store = options.open(home(dir.path())).unwrap();
    for i in 0..20 {
        store.put(format!("k{i}"), value(i, 20_000)).unwrap();
    }
    let target = dir.path().join("backup");
    backup(&store, &target, LinkMode::Copy);
    for i in (0..20).step_by(3) {
        store.delete(format!("k{i}")).unwrap();
    }
    store.checkpoint().unwrap();
    let free = store.stats().unwrap().total().free_bytes;
    for i in 100..108 {
        store.put(format!("k{i}"), value(i, 20_000)).unwrap();
    }
    assert!(store.stats().unwrap().total().free_bytes < free, "nothing was refilled");
    backup(&store, &target, LinkMode::Copy);
    let copy = open_backup(&target);
    assert_sound(&copy);
    assert!(contents(&copy) == contents(&store));
}

/// Enforced in src/store/backup/marks.rs, `of_own_past`.
///
/// A store is taken back to an older state, and goes on with the same numbers for tracks of the same
/// lengths and other contents; then it is backed up into a directory that has seen its first future.
#[test]
fn a_store_that_was_taken_back_does_not_build_on_backups_of_its_lost_future() {
    let (dir, store) = place();
    let fill = |store: &Store, seed: u64| {
        for i in 0..20 {
            store.put(format!("k{i}"), value(seed + i, 20_000)).unwrap();
        }
    };
    fill(&store, 0);
    let first = dir.path().join("first");
    backup(&store, &first, LinkMode::Copy);
    store.close().unwrap();
    for part in ["home", "a", "b"] {
        copy_tree(&dir.path().join(part), &dir.path().join("older").join(part));
    }
    let store = sample::open(dir.path()).unwrap();
    fill(&store, 100);
    let second = dir.path().join("second");
    backup(&store, &second, LinkMode::Copy);
    store.close().unwrap();
    for part in ["home", "a", "b"] {
        fs::remove_dir_all(dir.path().join(part)).unwrap();
        copy_tree(&dir.path().join("older").join(part), &dir.path().join(part));
    }
    let store = sample::open(dir.path()).unwrap();
    fill(&store, 200);
    assert_eq!(backup(&store, &second, LinkMode::Copy).kept_bytes, 0);
    let copy = open_backup(&second);
    assert!(contents(&copy) == contents(&store));
    assert_sound(&copy);
    // The first one is of this past, too.
    store.put("late", "value").unwrap();
    drop(copy);
    assert!(backup(&store, &second, LinkMode::Copy).kept_bytes > 0);
    backup(&store, &first, LinkMode::Copy);
    assert!(contents(&open_backup(&first)) == contents(&store));
}

/// Enforced in src/store/backup.rs, `is_wanted`.
#[test]
fn copies_take_the_place_of_links_where_they_are_asked_for() {
    let (dir, store) = place();
    (0..10).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    let target = dir.path().join("backup");
    let linked = backup(&store, &target, LinkMode::HardLink).linked_bytes;
    let report = backup(&store, &target, LinkMode::Copy);
    assert!(linked > 0 && report.copied_bytes >= linked, "{report:?}");
    for path in tracks(&target) {
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1, "{}", path.display());
    }
}

#[test]
fn holes_stay_holes() {
    let (dir, store) = place();
    for i in 0..20 {
        store.put(format!("k{i}"), value(i, 50_000)).unwrap();
        store.put(format!("small{i}"), value(i, 500)).unwrap();
    }
    (0..20).for_each(|i| _ = store.delete(format!("k{i}")).unwrap());
    store.checkpoint().unwrap();
    let target = dir.path().join("backup");
    let report = backup(&store, &target, LinkMode::Copy);
    assert!(report.copied_bytes * 2 < report.total_bytes, "{report:?}");
    let blocks: u64 = tracks(&target).iter().map(|path| fs::metadata(path).unwrap().blocks()).sum();
    assert!(blocks * 512 < report.total_bytes / 2, "{blocks} blocks for {report:?}");
    let copy = open_backup(&target);
    assert!(contents(&copy) == contents(&store));
    assert_sound(&copy);
}

#[test]
fn a_dry_run_does_nothing() {
    let (dir, store) = place();
    (0..10).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    let target = dir.path().join("backup");
    let dry = BackupOptions { dry_run: true, ..mode(LinkMode::Copy) };
    let planned = store.backup(&target, &dry).unwrap();
    assert!(!target.exists());
    let done = backup(&store, &target, LinkMode::Copy);
    assert_eq!((planned.tracks, planned.total_bytes), (done.tracks, done.total_bytes));
    let before = sample::files(&target);
    store.put("more", value(1, 9000)).unwrap();
    let planned = store.backup(&target, &dry).unwrap();
    assert!(planned.kept_bytes > 0 && planned.kept_bytes < planned.total_bytes);
    assert_eq!(sample::files(&target), before);
    assert_eq!(
        store.backup(home(dir.path()), &dry).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn progress_goes_from_nothing_to_all_bytes() {
    let (dir, store) = place();
    (0..10).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let there = seen.clone();
    let watched = BackupOptions {
        on_progress: Some(Box::new(move |now| {
            there.lock().unwrap().push(*now);
            true
        })),
        ..mode(LinkMode::Copy)
    };
    let report = store.backup(dir.path().join("backup"), &watched).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted_by_key(|now| now.done_bytes));
    let last = seen.last().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (report.total_bytes, report.total_bytes));
}

#[test]
fn a_backup_that_is_called_off_leaves_the_earlier_one_and_can_be_made_again() {
    let (dir, store) = place();
    let (fresh, target) = (dir.path().join("fresh"), dir.path().join("backup"));
    (0..10).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    backup(&store, &target, LinkMode::Copy);
    let before = contents(&store);
    (10..20).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    let stop = BackupOptions { on_progress: Some(Box::new(|_| false)), ..mode(LinkMode::Copy) };
    for dir in [&target, &fresh] {
        assert_eq!(store.backup(dir, &stop).unwrap_err().kind(), ErrorKind::Cancelled);
    }
    assert_eq!(contents(&open_backup(&target)), before);
    assert!(Options::new().create(Create::Never).open(&fresh).is_err());
    for dir in [&target, &fresh] {
        backup(&store, dir, LinkMode::Copy);
        assert_eq!(contents(&open_backup(dir)), contents(&store));
    }
    let stop = VerifyOptions { on_progress: Some(Box::new(|_| false)), ..VerifyOptions::default() };
    assert_eq!(store.verify(&stop).unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_wrong_directory_is_refused_and_left_alone() {
    let (dir, store) = place();
    store.put("key", "value").unwrap();
    let root = dir.path();
    let files = |target: &Path| {
        let mut files = if target.is_dir() { sample::files(target) } else { vec![] };
        // An open index tidies up by itself.
        let is_steady =
            |path: &PathBuf| !path.ends_with("LOCK") && !path.parent().unwrap().ends_with("index");
        files.retain(is_steady);
        files
    };
    let refused = |target: &Path, kind: ErrorKind| {
        let before = files(target);
        let error = store.backup(target, &BackupOptions::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{}: {error}", target.display());
        assert_eq!(files(target), before);
    };
    // The store's own directories, and what is in them or around them.
    for own in ["home", "home/backup", "a", "b/backup", "."] {
        refused(&root.join(own), ErrorKind::InvalidArgument);
    }
    let strangers = root.join("photos");
    fs::create_dir(&strangers).unwrap();
    fs::write(strangers.join("holiday.jpg"), b"not ours").unwrap();
    refused(&strangers, ErrorKind::Exists);
    // Another store, a backup of it, and a copy of this store that no backup made.
    let other = Store::open(root.join("other")).unwrap();
    other.put("key", "of the other").unwrap();
    refused(&root.join("other"), ErrorKind::Locked);
    other.backup(root.join("others"), &BackupOptions::default()).unwrap();
    other.close().unwrap();
    refused(&root.join("other"), ErrorKind::Exists);
    refused(&root.join("others"), ErrorKind::Exists);
    let copy = root.join("copied");
    copy_tree(&home(root), &copy);
    refused(&copy, ErrorKind::Exists);
    // A backup that is open, or was written to.
    let target = root.join("backup");
    backup(&store, &target, LinkMode::Auto);
    let opened = open_backup(&target);
    refused(&target, ErrorKind::Locked);
    opened.put("fork", "value").unwrap();
    opened.close().unwrap();
    refused(&target, ErrorKind::Exists);
    let forked = open_backup(&target);
    assert_eq!(forked.get("fork").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn hard_links_to_another_file_system_are_refused_and_otherwise_copied() {
    let machine = Machine::new(1, 1);
    machine.io.set_capacity("/backups", 1 << 30);
    let store = machine.open();
    (0..20).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
    let index = tempfile::tempdir().unwrap();
    let to = |link_mode| BackupOptions {
        index_dir: Some(index.path().join("index")),
        ..mode(link_mode)
    };
    for link_mode in [LinkMode::HardLink, LinkMode::Reflink] {
        let error = store.backup("/backups/one", &to(link_mode)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    }
    let report = store.backup("/backups/one", &to(LinkMode::Auto)).unwrap();
    assert_eq!(report.copied_bytes, report.total_bytes);
    machine.io.let_files_be_reflinked();
    let report = store.backup(
        "/home/two",
        &BackupOptions { index_dir: Some(index.path().join("two")), ..mode(LinkMode::Auto) },
    );
    let report = report.unwrap();
    assert_eq!(report.reflinked_bytes, report.total_bytes);
    let copy = machine.options_of_backup(&index.path().join("two")).open("/home/two").unwrap();
    assert!(contents(&copy) == contents(&store));
}

/// Cuts the power at every call of a backup, the first one and the next, and keeps of what was not
/// synced nothing, something or everything, in turn.
fn cut_at_every_call(second: bool) -> [usize; 3] {
    let (mut call, mut outcomes) = (0, [0; 3]);
    while let Some(outcome) = cut_at(call, second) {
        outcomes[outcome] += 1;
        call += 1;
    }
    assert!(call > 50, "{call} calls");
    outcomes
}

#[test]
fn a_first_backup_that_is_cut_off_is_whole_or_no_store() {
    let [none, old, new] = cut_at_every_call(false);
    assert!(none > 0 && old == 0 && new > 0, "{none} none, {old} old, {new} new");
}

#[test]
fn a_later_backup_that_is_cut_off_is_the_old_one_or_the_new_one() {
    let [none, old, new] = cut_at_every_call(true);
    assert!(none == 0 && old > 0 && new > 0, "{none} none, {old} old, {new} new");
}

/// What a cut at a call leaves: nothing (0), the old backup (1), or the new one (2); `None` where
/// the backup comes to its end before.
fn cut_at(call: u64, second: bool) -> Option<usize> {
    let dir = "/backups/one";
    let machine = Machine::new(call, 2);
    let index = tempfile::tempdir().unwrap();
    let options =
        || BackupOptions { index_dir: Some(index.path().join("index")), ..mode(LinkMode::Auto) };
    let store = machine.open();
    for i in 0..12 {
        store.put(format!("k{i}"), value(i, 20_000)).unwrap();
    }
    let old = contents(&store);
    if second {
        store.backup(dir, &options()).unwrap();
    }
    for i in 6..18 {
        store.put(format!("k{i}"), value(100 + i, 20_000)).unwrap();
    }
    let new = contents(&store);
    machine.io.power_off_at_call(machine.io.calls() + call);
    if store.backup(dir, &options()).is_ok() {
        return None;
    }
    machine.io.power_off();
    let keep = [Keep::Nothing, Keep::Random(call), Keep::Everything][(call % 3) as usize];
    let after = Machine::of(machine.io.crash(keep), 2);
    let open = || after.options_of_backup(&index.path().join("index")).open(dir);
    let outcome = match open() {
        Ok(copy) => {
            let found = contents(&copy);
            assert_sound(&copy);
            assert!(found == new || second && found == old, "call {call}, {keep:?}");
            if found == new { 2 } else { 1 }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "call {call}, {keep:?}: {error}");
            0
        }
    };
    // Run again, it comes to its end.
    let store = after.options().open(HOME).unwrap();
    store.backup(dir, &options()).unwrap_or_else(|e| panic!("call {call}, {keep:?}: {e}"));
    store.close().unwrap();
    assert!(contents(&open().unwrap()) == new, "call {call}, {keep:?}");
    Some(outcome)
}

/// Fails every call of a backup in turn: the store goes on, and so does the next backup.
#[test]
fn a_failing_call_fails_the_backup_and_nothing_else() {
    let index = tempfile::tempdir().unwrap();
    for call in 0.. {
        let machine = Machine::new(call, 2);
        let store = machine.open();
        (0..8).for_each(|i| _ = store.put(format!("k{i}"), value(i, 20_000)).unwrap());
        store.checkpoint().unwrap();
        let options = || BackupOptions {
            index_dir: Some(index.path().join(call.to_string())),
            ..mode(LinkMode::Auto)
        };
        let from = machine.io.calls();
        machine.io.fail_call(from + call, kogia::io::sim::Fail::Enospc);
        let outcome = store.backup("/backups/one", &options());
        if outcome.is_ok() && machine.io.calls() < from + call {
            break;
        }
        machine.io.heal();
        store.put("later", "value").unwrap();
        assert_value(&store, "later", b"value");
        store.backup("/backups/one", &options()).unwrap_or_else(|e| panic!("call {call}: {e}"));
        let index_dir = index.path().join(call.to_string());
        let copy = machine.options_of_backup(&index_dir).open("/backups/one").unwrap();
        assert!(contents(&copy) == contents(&store), "call {call}");
    }
}
