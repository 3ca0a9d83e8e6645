//! Values in chunks that were freed.

use std::io::{Read, Write};

use kogia::io::Io;
use kogia::io::sim::{CallKind, Fail, Fault};
use kogia::{Condition, ErrorKind, Options, PutOptions, Store, VerifyOptions};

use crate::machine::{HOME, Machine};

const VALUE_BYTES: usize = 100_000;

fn value(tag: usize) -> Vec<u8> {
    (0..VALUE_BYTES).map(|i| (i * 31 + tag * 7 + i / 509) as u8).collect()
}

fn open(home: &std::path::Path) -> Store {
    let options = Options::new().refill(true).punch(false).compaction(false);
    options.track_bytes(1 << 20).open(home).expect("it opens")
}

fn check(store: &Store, tags: impl Iterator<Item = (String, usize)>) {
    for (key, tag) in tags {
        let found = store.get(&key).expect("it reads").expect("it is there");
        assert!(found == value(tag), "{key}");
    }
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
}

#[test]
fn overwritten_chunks_are_refilled_and_survive_reopen_and_rebuild() {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(home.path());
    for i in 0..40 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    for i in (0..40).step_by(2) {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    let before = store.stats().expect("stats").total();
    for i in 100..110 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut stream = store.writer("k110").expect("a stream");
    stream.write_all(&value(110)).expect("it writes");
    stream.commit().expect("it commits");
    let after = store.stats().expect("stats").total();
    assert!(after.free_bytes + 10 * VALUE_BYTES as u64 <= before.free_bytes);
    let tags = || (1..40).step_by(2).chain(100..111).map(|i| (format!("k{i}"), i));
    check(&store, tags());
    drop(store);
    check(&open(home.path()), tags());
    let store = Options::new().refill(true).punch(false).rebuild(home.path()).expect("a rebuild");
    check(&store, tags());
    for i in 100..105 {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    check(&store, tags().filter(|(_, i)| !(100..105).contains(i)));
}

#[test]
fn chunks_that_a_reader_still_reads_are_not_refilled() {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(home.path());
    for i in 0..20 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut reader = store.reader("k3").expect("it reads").expect("it is there");
    store.delete("k3").expect("it deletes");
    store.checkpoint().expect("a checkpoint");
    for i in 20..40 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut found = Vec::new();
    reader.read_to_end(&mut found).expect("it reads");
    assert!(found == value(3));
}

/// Symptom: after one failed sync of a refilled value, large puts went on failing until the store
/// was reopened. Cause: the track remembered the failure, and its free chunks went on being chosen.
/// Rule: a track whose refilled chunks can't be synced is not refilled any more.
#[test]
fn a_failed_sync_of_a_refilled_value_fails_no_later_put() {
    let machine = Machine::new(1, 1);
    let store = machine.options().refill(true).punch(false).open(HOME).expect("it opens");
    let put = |key: String, tag| store.put(key, &value(tag)[..30_000]);
    for i in 0..40 {
        put(format!("k{i}"), i).expect("it puts");
    }
    for i in (0..30).step_by(2) {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    machine.io.fail_next(CallKind::Sync, Fail::Eio);
    let failed = put("k40".into(), 40).expect_err("its sync fails");
    assert!(failed.to_string().contains("could not sync refilled chunks"), "{failed}");
    for i in 41..60 {
        put(format!("k{i}"), i).expect("it puts");
    }
    for i in (1..30).step_by(2).chain(30..40).chain(41..60) {
        let found = store.get(format!("k{i}")).expect("it reads").expect("it is there");
        assert!(found == value(i)[..30_000], "k{i}");
    }
    assert_eq!(store.verify(&VerifyOptions::default()).expect("it verifies").problems, []);
}

/// Symptom: on a full disk, puts that were refused ate the room that is kept for deletes. Cause:
/// chunks that had been punched were refilled without asking for room. Rule: a hole is refilled
/// only where an append would be allowed.
#[test]
fn refilling_holes_leaves_the_room_that_is_kept_for_deletes() {
    const KEPT: u64 = 256 << 10;
    let machine = Machine::new(2, 1);
    machine.io.set_capacity(Machine::disk(0), 3 << 20);
    let store = machine.options().refill(true).reserve_bytes(KEPT).open(HOME).expect("it opens");
    let fill = |prefix: &str| {
        let puts = (0..200).map(|i| store.put(format!("{prefix}{i}"), &value(i)[..30_000]));
        let refused: Vec<_> = puts.filter_map(|put| put.err().map(|e| e.kind())).collect();
        assert!(refused.len() > 100 && refused.iter().all(|kind| *kind == ErrorKind::Full));
    };
    fill("first");
    for i in (0..50).step_by(2) {
        store.delete(format!("first{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    assert!(store.stats().expect("stats").total().punched_bytes > 0);
    fill("second");
    let left = machine.io.available_space(&Machine::disk(0)).expect("it tells");
    assert!(left > KEPT / 2, "{left} bytes are left");
}

/// Symptom: after a failing call the store opened no more, since a live value's track was gone.
/// Cause: a dead track was removed, its directory's sync failed, and its row, which stays until that
/// succeeds, offered its chunks to the next put. Rule: a dead track is not refilled.
#[test]
fn a_dead_track_whose_unlinking_failed_is_not_refilled() {
    let machine = Machine::new(3, 1);
    let store = machine.options().refill(true).punch(false).open(HOME).expect("it opens");
    let put = |key: String, tag| store.put(key, &value(tag)[..30_000]).expect("it puts");
    (0..10).for_each(|i| _ = put(format!("k{i}"), i));
    // Before anything dies, so that the housekeeper's own checkpoints fail as well.
    machine.io.fail(Fault::next(CallKind::SyncDir, Fail::Eio).under(Machine::disk(0)).lasting());
    for i in 0..8 {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect_err("the directory's sync fails");
    assert_eq!(machine.tracks().len(), 1);
    machine.io.heal();
    (10..14).for_each(|i| _ = put(format!("k{i}"), i));
    let machine = machine.kill(store);
    let store = machine.options().refill(true).punch(false).open(HOME).expect("it opens");
    for i in 8..14 {
        let found = store.get(format!("k{i}")).expect("it reads").expect("it is there");
        assert!(found == value(i)[..30_000], "k{i}");
    }
}

/// Symptom: after a crash the store did not open: a refilled value "lies in chunks that are not
/// free". Cause: the chunks were two rows of the free list in the last checkpoint, one of them
/// punched; since then both were, which made them one row, and the value went across. Rule: what
/// a record claims may lie in several rows.
#[test]
fn a_value_that_was_refilled_across_what_were_two_holes_at_the_checkpoint_survives_a_crash() {
    let machine = Machine::new(4, 1);
    let store = machine.options().refill(true).open(HOME).expect("it opens");
    let put = |key: &str, tag, len| store.put(key, &value(tag)[..len]).expect("it puts");
    for (tag, key) in (0..).zip(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]) {
        put(key, tag, 30_000);
    }
    let mut batch = kogia::Batch::new();
    batch.put("x", &value(20)[..30_000]).put("y", &value(21)[..30_000]);
    batch.put("z", &value(22)[..30_000]);
    store.write(batch).expect("it writes");
    for (tag, key) in (30..).zip(["k", "l", "m", "n", "o", "p", "q"]) {
        put(key, tag, 30_000);
    }
    store.delete("x").expect("it deletes");
    store.checkpoint().expect("a checkpoint");
    store.checkpoint().expect("and one that says that the first hole is punched");
    store.delete("y").expect("it deletes");
    store.checkpoint().expect("the second hole is punched, and no checkpoint says so");
    put("across", 40, 60_000);
    let machine = machine.kill(store);
    let store = machine.options().refill(true).open(HOME).expect("it opens");
    let found = store.get("across").expect("it reads").expect("it is there");
    assert!(found == value(40)[..60_000]);
    assert_eq!(store.verify(&VerifyOptions::default()).expect("it verifies").problems, []);
}

/// Options of a store in which the housekeeper alone gives room back, and soon.
fn kept_tidy() -> Options {
    Options::new().refill(true).compaction(false).track_bytes(16 << 20).checkpoint_interval(QUICK)
}

const QUICK: std::time::Duration = std::time::Duration::from_millis(50);

fn batch(keys: std::ops::Range<usize>, version: usize) -> kogia::Batch {
    let mut batch = kogia::Batch::new();
    for key in keys {
        batch.put(format!("k{key}"), value(key + version));
    }
    batch
}

/// Counts what a batch costs: what is refilled is synced once a track, not once a value.
#[test]
fn a_batch_refills_with_one_sync_a_track_and_appends_but_its_records() {
    let machine = Machine::new(5, 1);
    let options = |machine: &Machine| machine.options().refill(true).punch(false).compaction(false);
    let store = options(&machine).track_bytes(4 << 20).open(HOME).expect("it opens");
    for from in (0..100).step_by(10) {
        store.write(batch(from..from + 10, 0)).expect("it writes");
    }
    for key in (0..60).step_by(2) {
        store.delete(format!("k{key}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    let before = store.stats().expect("stats").total();
    let syncs = || machine.io.counters().of(CallKind::Sync);
    let synced = syncs();
    store.write(batch(200..210, 0)).expect("it writes");
    // The tracks that were refilled, and the one that the records were appended to.
    assert!((2..=3).contains(&(syncs() - synced)), "{} syncs", syncs() - synced);
    let after = store.stats().expect("stats").total();
    assert!(after.free_bytes + 10 * VALUE_BYTES as u64 <= before.free_bytes);
    assert!(after.file_bytes <= before.file_bytes + (16 << 10), "values were appended");
    let tags = || (0..60).filter(|key| key % 2 == 1).chain(60..100).chain(200..210);
    check(&store, tags().map(|key| (format!("k{key}"), key)));
    let machine = machine.kill(store);
    let store = options(&machine).open(HOME).expect("it opens");
    check(&store, tags().map(|key| (format!("k{key}"), key)));
}

#[test]
fn a_batch_whose_condition_fails_leaves_free_what_it_has_refilled() {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(home.path());
    store.write(batch(0..20, 0)).expect("it writes");
    for key in 0..10 {
        store.delete(format!("k{key}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    let before = store.stats().expect("stats").total();
    let mut refused = batch(0..4, 50);
    let absent = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
    refused.put_with("k15", value(0), &absent);
    let error = store.write(refused).expect_err("k15 is there");
    assert_eq!(error.kind(), ErrorKind::Condition);
    assert_eq!(store.stats().expect("stats").total().free_bytes, before.free_bytes);
    check(&store, (10..20).map(|key| (format!("k{key}"), key)));
    store.checkpoint().expect("another, which finds them again");
    store.write(batch(0..4, 50)).expect("it writes");
    assert!(store.stats().expect("stats").total().free_bytes < before.free_bytes);
    let tags = (0..4).map(|key| (key, key + 50)).chain((10..20).map(|key| (key, key)));
    check(&store, tags.map(|(key, tag)| (format!("k{key}"), tag)));
}

/// What is overwritten by and by stays for what comes next, instead of being punched out, and the active track is
/// ended for its sake.
#[test]
fn what_is_freed_by_and_by_is_refilled_and_not_punched() {
    let home = tempfile::tempdir().expect("a directory");
    let store = kept_tidy().open(home.path()).expect("it opens");
    for from in (0..800).step_by(100) {
        store.write(batch(from..from + 100, 0)).expect("it writes");
    }
    // Each version behind a checkpoint that frees what the one before it has replaced.
    for version in 1..=12 {
        store.write(batch(0..20, version)).expect("it writes");
        std::thread::sleep(4 * QUICK);
    }
    let total = store.stats().expect("stats").total();
    assert_eq!(total.punched_bytes, 0);
    let most = 900 * 104_000;
    assert!(total.file_bytes < most, "{} bytes for 800 objects", total.file_bytes);
    store.checkpoint().expect("one that is asked for");
    assert!(store.stats().expect("stats").total().free_bytes == 0, "all is punched then");
    let tags = (0..20).map(|key| (key, key + 12)).chain((20..800).map(|key| (key, key)));
    check(&store, tags.map(|(key, tag)| (format!("k{key}"), tag)));
}

/// Symptom: small puts were refused on a disk that others had filled, although much of what the store had was
/// free. Cause: it was kept for large values. Rule: where less is left than is kept, nothing is.
#[test]
fn what_is_kept_to_be_refilled_comes_back_when_others_fill_the_disk() {
    let machine = Machine::new(6, 1);
    machine.io.set_capacity(Machine::disk(0), 16 << 20);
    let options = machine.options().refill(true).compaction(false).reserve_bytes(256 << 10);
    let store = options.checkpoint_interval(QUICK).open(HOME).expect("it opens");
    let put = |key: String, tag| store.put(key, &value(tag)[..60_000]);
    for i in 0..160 {
        put(format!("k{i}"), i).expect("it puts");
    }
    for i in (0..30).step_by(2) {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    std::thread::sleep(8 * QUICK);
    let kept = store.stats().expect("stats").total();
    assert_eq!(kept.punched_bytes, 0, "an eighth of the store stays");
    assert!(kept.free_bytes > 15 * 60_000);
    // Somebody else takes all but a little.
    machine.io.set_capacity(Machine::disk(0), kept.file_bytes + (300 << 10));
    put("more".into(), 1).ok();
    std::thread::sleep(8 * QUICK);
    assert!(store.stats().expect("stats").total().punched_bytes > 0, "it is given back");
    for i in 200..204 {
        store.put(format!("k{i}"), &value(i)[..9_000]).expect("there is room for small values");
    }
}
