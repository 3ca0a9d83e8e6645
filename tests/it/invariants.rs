//! For each invariant of `docs/design.md` the tests that fail without the line that enforces it.
//! Each test names that line.
//!
//! Values of 20,000 bytes own five chunks beside the one of their directory, so that a track of
//! 64 KiB, which has room for 15 beside its header, takes two of them.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Fault, Keep};
use kogia::{Batch, Condition, Durability, ErrorKind, Options, PutOptions, Store, TrackId};

use crate::held::{Call, HeldIo};
use crate::machine::{CHUNK, HOME, Machine, assert_sound, assert_value, put_os, refused, value};

const LARGE: usize = 20_000;

/// Options with tracks that take two large values.
fn small_tracks(machine: &Machine) -> Options {
    machine.options().track_bytes(64 << 10)
}

fn open_held(machine: &Machine) -> (Store, HeldIo) {
    let held = HeldIo::new(&machine.io);
    let store = small_tracks(machine).io(Arc::new(held.clone())).open(HOME).unwrap();
    (store, held)
}

/// I1, src/store/checkpoint.rs, `try_checkpoint`:
/// `ends.push((volume.disk.id, volume.sync_applied()?));`
///
/// A chain is appended while the checkpoint still syncs the other disk.
#[test]
fn what_a_checkpoint_flushes_of_the_index_is_synced_in_the_tracks() {
    let machine = Machine::new(1, 2);
    let (store, held) = open_held(&machine);
    put_os(&store, "first", &value(1, 8192));
    put_os(&store, "other", &value(2, 8192));
    let sync = held.hold_next(Call::Sync, Machine::disk(1));
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| store.checkpoint());
        sync.wait();
        put_os(&store, "later", &value(3, 8192));
        sync.let_go();
        checkpoint.join().unwrap().unwrap();
    });
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    for (tag, key) in (1..).zip(["first", "other", "later"]) {
        assert_value(&store, key, &value(tag, 8192));
    }
    assert!(!store.recovery().rebuilt);
}

/// I1, src/index/options.rs, `database`: `avoid_flush_during_shutdown=true;`
#[test]
fn closing_after_a_failed_sync_leaves_the_index_as_it_was_flushed_last() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("kept", "synced").unwrap();
    put_os(&store, "lost", b"applied, not synced");
    machine.io.fail_next(CallKind::Sync, Fail::Eio);
    assert_eq!(refused(store.sync()), ErrorKind::Io);
    assert!(store.close().is_err());
    let machine = machine.fork(Keep::Nothing);
    let store = machine.open();
    assert!(!store.recovery().rebuilt, "the index was ahead of the tracks");
    assert_value(&store, "kept", b"synced");
    assert!(!store.exists("lost").unwrap());
}

/// I2, src/disk/commit.rs, `settle_in_turn`: `if self.sync_expecting_more(&*owner).is_ok() {`
#[test]
fn what_was_acknowledged_under_sync_survives_a_power_cut() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    for tag in 0..20 {
        store.put(format!("{tag}"), value(tag, 3000)).unwrap();
    }
    assert!(store.delete("3").unwrap());
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    for tag in (0..20).filter(|tag| *tag != 3) {
        assert_value(&store, &tag.to_string(), &value(tag, 3000));
    }
    assert!(!store.exists("3").unwrap());
}

/// I2, src/disk/lane.rs, `fail_sync`: `let cut = owner.track_cut(track.id, synced);` before the
/// error is given, and `self.retire(synced);`.
///
/// The device gets some of what the failed sync was to make durable, and the file's new length is
/// lost with the power: only `META` knows that nothing behind the last good sync counts.
#[test]
fn a_write_whose_sync_failed_never_comes_back_and_the_next_goes_to_a_new_track() {
    for seed in 0..12 {
        let machine = Machine::new(seed, 1);
        let store = machine.open();
        store.put("before", "1").unwrap();
        machine.io.let_failed_syncs_keep_some();
        machine.io.fail_next(CallKind::Sync, Fail::Eio);
        assert_eq!(refused(store.put("failed", "2")), ErrorKind::Io);
        assert!(!store.exists("failed").unwrap());
        if seed % 2 == 0 {
            store.put("behind", "3").unwrap();
            assert_eq!(machine.tracks().len(), 2);
        }
        let machine = machine.cut(store, Keep::Nothing);
        let store = machine.open();
        assert_value(&store, "before", b"1");
        assert!(!store.exists("failed").unwrap(), "seed {seed}");
        assert_eq!(store.exists("behind").unwrap(), seed % 2 == 0);
        assert_sound(&store);
    }
}

/// I2, src/track/appender.rs, `end_sync`: `self.failed = true;`
#[test]
fn a_failed_sync_is_not_retried_into_a_success() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    put_os(&store, "lost", b"value");
    machine.io.fail_next(CallKind::Sync, Fail::Eio);
    assert_eq!(refused(store.sync()), ErrorKind::Io);
    assert!(store.sync().is_err(), "the device never got it");
}

/// I2, src/disk/lane.rs, `fail_sync`: `if are_lost || cut.is_err() {`, both halves.
#[test]
fn a_failed_sync_behind_applied_chains_or_without_meta_poisons_the_store() {
    for applied in [true, false] {
        let machine = Machine::new(1, 1);
        let store = machine.open();
        store.put("kept", "synced").unwrap();
        if applied {
            put_os(&store, "lost", b"not synced");
        } else {
            machine.io.fail(Fault::next(CallKind::Rename, Fail::Eio).under(HOME).lasting());
        }
        machine.io.fail_next(CallKind::Sync, Fail::Eio);
        assert_eq!(refused(store.put("failed", "value")), ErrorKind::Io);
        assert_eq!(refused(store.put("after", "value")), ErrorKind::Poisoned);
        assert!(store.checkpoint().is_err());
        machine.io.heal();
        let machine = machine.cut(store, Keep::Nothing);
        let store = machine.open();
        assert_value(&store, "kept", b"synced");
        let keys: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
        assert_eq!(keys, [b"kept"], "applied: {applied}");
        store.put("after", "value").unwrap();
    }
}

/// I2, src/recovery/tails.rs, `tail`: `.and_then(|()| track.file.drop_cache())`
///
/// The process dies and the machine does not: the page cache still shows what a failed sync never
/// brought to the device, and `META` could not say so.
#[test]
fn what_only_the_page_cache_shows_after_a_failed_sync_is_not_recovered() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("kept", "synced").unwrap();
    machine.io.fail(Fault::next(CallKind::Rename, Fail::Eio).under(HOME).lasting());
    machine.io.fail_next(CallKind::Sync, Fail::Eio);
    assert!(store.put("failed", "value").is_err());
    let machine = machine.kill(store);
    let store = machine.open();
    let found = store.get("failed").unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert_eq!(store.get("failed").unwrap(), found, "it was recovered, and then lost");
    assert_value(&store, "kept", b"synced");
}

/// I3, src/recovery/replay.rs, `pull`: `let unsynced = start >= self.mark;`, by which the values
/// of a chain that nothing vouches for are read too.
#[test]
fn a_batch_is_there_whole_or_not_at_all_wherever_it_is_cut_off() {
    let write = |machine: &Machine| {
        let store = machine.options().open(HOME)?;
        store.put("small", "old")?;
        let mut batch = Batch::new();
        batch.put("large", value(1, LARGE)).put("small", "new").put("larger", value(2, 60_000));
        store.write(batch).map(drop)
    };
    let calls = {
        let machine = Machine::new(1, 1);
        write(&machine).unwrap();
        machine.io.calls()
    };
    for number in calls.saturating_sub(20)..calls {
        let machine = Machine::new(1, 1);
        machine.io.power_off_at_call(number);
        let acknowledged = write(&machine).is_ok();
        let machine = machine.halt(None);
        // Many states where the batch itself may be torn, few elsewhere.
        let states = if machine.io.pending_sectors() > 100 { 40 } else { 1 };
        let random = (0..states).map(Keep::Random);
        for keep in [Keep::Nothing, Keep::Everything].into_iter().chain(random) {
            let machine = machine.fork(keep);
            let store = machine.open();
            let there = store.exists("large").unwrap();
            assert!(there || !acknowledged);
            if there {
                assert_value(&store, "large", &value(1, LARGE));
                assert_value(&store, "larger", &value(2, 60_000));
                assert_value(&store, "small", b"new");
            } else {
                assert!(!store.exists("larger").unwrap());
                assert_ne!(store.get("small").unwrap().as_deref(), Some(&b"new"[..]));
            }
        }
    }
}

/// I3, src/store/stream.rs, `seal`: `syncs.iter().try_for_each(wait)?;` and the syncs that it
/// waits for.
#[test]
fn a_streamed_object_is_there_whole_or_not_at_all_though_its_commit_is_not_synced() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    let options = PutOptions { durability: Some(Durability::Os), ..PutOptions::default() };
    let mut writer = store.writer_with("stream", options).unwrap();
    writer.write_all(&value(1, 200_000)).unwrap();
    writer.commit().unwrap();
    let machine = machine.halt(Some(store));
    let mut seen = [false; 2];
    for keep in [Keep::Nothing, Keep::Everything].into_iter().chain((0..20).map(Keep::Random)) {
        let machine = machine.fork(keep);
        let store = machine.open();
        let there = store.exists("stream").unwrap();
        seen[usize::from(there)] = true;
        if there {
            assert_value(&store, "stream", &value(1, 200_000));
        }
        assert_sound(&store);
    }
    assert_eq!(seen, [true; 2]);
}

/// I4, src/store/reclaim.rs, `reusable_batch`: `.min(self.pins.oldest())`
#[test]
fn a_reader_and_a_snapshot_read_what_was_overwritten_and_deleted_after_they_began() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("a", value(1, 100_000)).unwrap();
    store.put("b", value(2, LARGE)).unwrap();
    let mut reader = store.reader("a").unwrap().unwrap();
    let snapshot = store.snapshot().unwrap();
    store.put("a", value(3, 100_000)).unwrap();
    assert!(store.delete("b").unwrap());
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    assert_eq!(store.stats().unwrap().total().punched_bytes, 0);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == value(1, 100_000));
    assert!(snapshot.get("b").unwrap().unwrap() == value(2, LARGE));
    drop((reader, snapshot));
    store.checkpoint().unwrap();
    assert_eq!(store.stats().unwrap().total().punched_bytes, 30 * CHUNK as u64);
    assert_sound(&store);
}

/// I4, src/store/reclaim.rs, `reusable_batch`: `self.checkpoints.durable_batch()`
///
/// The old value is killed after the checkpoint has flushed the index and before it is done; the
/// power goes behind the punches that follow it.
#[test]
fn a_value_that_is_killed_during_a_checkpoint_is_punched_after_the_next_one() {
    let machine = Machine::new(1, 2);
    let (store, held) = open_held(&machine);
    store.put("k", value(1, LARGE)).unwrap();
    store.put("on disk 1", value(2, 8192)).unwrap();
    let replace = held.hold_next(Call::Replace, HOME);
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| store.checkpoint());
        replace.wait();
        put_os(&store, "k", b"new");
        replace.let_go();
        checkpoint.join().unwrap().unwrap();
    });
    let machine = machine.halt(Some(store));
    for keep in (0..16).map(Keep::Random) {
        let machine = machine.fork(keep);
        let found = machine.open().get("k").unwrap().unwrap();
        assert!(found == b"new" || found == value(1, LARGE));
    }
}

/// I4, src/store/mod.rs, `get_into`: `let _pin = self.shared.pins.pin();`
#[test]
fn a_value_is_not_punched_while_it_is_read() {
    let machine = Machine::new(1, 1);
    let (store, held) = open_held(&machine);
    store.put("k", value(1, LARGE)).unwrap();
    let read = held.hold_next(Call::Read, Machine::disk(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.get("k"));
        read.wait();
        store.put("k", "new").unwrap();
        store.checkpoint().unwrap();
        store.checkpoint().unwrap();
        read.let_go();
        assert!(reader.join().unwrap().unwrap().unwrap() == value(1, LARGE));
    });
    store.checkpoint().unwrap();
    assert_eq!(store.stats().unwrap().total().punched_bytes, 5 * CHUNK as u64);
}

/// I5, src/format/chunk.rs, `open_split`: `if stored != computed {`
#[test]
fn no_flipped_bit_is_ever_read_as_a_value() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    let values =
        [("packed", value(1, 100)), ("owned", value(2, LARGE)), ("long", value(3, 150_000))];
    for (key, bytes) in &values {
        store.put(key, bytes).unwrap();
    }
    let track = &machine.tracks()[0];
    let len = machine.io.read_file(track).unwrap().len();
    let mut errors = 0;
    for at in (CHUNK..len).step_by(1009) {
        machine.flip(track, at, (at % 8) as u8);
        for (key, bytes) in &values {
            let ranged = store.get_range(key, 10..bytes.len() as u64 / 2);
            let mut streamed = Vec::new();
            let mut reader = store.reader(key).unwrap().unwrap();
            let outcomes = [
                store.get(key).map(|found| found.unwrap() == *bytes),
                ranged.map(|found| found.unwrap() == bytes[10..bytes.len() / 2]),
                reader.read_to_end(&mut streamed).map_err(of_io).map(|_| streamed == *bytes),
            ];
            for outcome in outcomes {
                match outcome {
                    Ok(is_right) => assert!(is_right, "{key}, byte {at}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corruption);
                        assert_eq!(error.track(), Some((TrackId(1), (at / CHUNK) as u32)));
                        errors += 1;
                    }
                }
            }
        }
        machine.flip(track, at, (at % 8) as u8);
    }
    assert!(errors > 150, "{errors}");
}

fn of_io(error: std::io::Error) -> kogia::Error {
    error.downcast().expect("the store's errors are carried whole")
}

/// I6, src/index/join.rs, `put`: `let newest = old.as_ref().is_none_or(...)`
///
/// The put with the smaller seq is applied last.
#[test]
fn of_two_puts_the_one_with_the_greater_seq_wins_now_and_after_recovery() {
    let machine = Machine::new(1, 2);
    let (store, held) = open_held(&machine);
    store.put("1", value(1, 8192)).unwrap();
    store.put("2", value(1, 8192)).unwrap();
    let sync = held.hold_next(Call::Sync, "/mnt");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.put("k", value(2, 8192)));
        sync.wait();
        let second = store.put("k", "second").unwrap();
        sync.let_go();
        assert!(first.join().unwrap().unwrap() < second);
    });
    assert_value(&store, "k", b"second");
    assert_sound(&store);
    let machine = machine.cut(store, Keep::Nothing);
    assert_value(&machine.open(), "k", b"second");
    assert_value(&machine.rebuild(), "k", b"second");
}

/// I6, src/index/join.rs, `look_up`: `ahead.batch + 1 == self.number`
///
/// The caller of a batch looks its keys up while the batch is synced. One of them is put meanwhile,
/// and the batch, whose seqs are smaller, is applied last.
#[test]
fn what_a_batch_has_looked_up_ahead_is_forgotten_where_anything_was_put_since() {
    let machine = Machine::new(1, 2);
    let (store, held) = open_held(&machine);
    store.put("1", value(1, 8192)).unwrap();
    store.put("2", value(1, 8192)).unwrap();
    let sync = held.hold_next(Call::Sync, "/mnt");
    std::thread::scope(|scope| {
        let batch = scope.spawn(|| {
            let mut batch = Batch::new();
            for at in 0..200 {
                batch.put(format!("k{at}"), "in the batch");
            }
            store.write(batch)
        });
        sync.wait();
        // Nothing tells when it has looked up; a put that comes before that is no harm, and no test.
        std::thread::sleep(Duration::from_millis(200));
        let newer = store.put("k7", "newer").unwrap();
        sync.let_go();
        let seqs = batch.join().unwrap().unwrap();
        assert!(seqs[199] < newer);
    });
    for at in (0..200).filter(|at| *at != 7) {
        assert_value(&store, &format!("k{at}"), b"in the batch");
    }
    assert_value(&store, "k7", b"newer");
    assert_sound(&store);
    let machine = machine.cut(store, Keep::Nothing);
    assert_value(&machine.open(), "k7", b"newer");
}

/// I6, src/store/write.rs, `put`: `let _gate = self.gates.pass([(Space::Object, key, pass)]);`
#[test]
fn of_many_puts_if_absent_one_wins_also_after_a_crash() {
    const KEYS: u64 = 40;
    const THREADS: u64 = 6;
    let machine = Machine::new(1, 2);
    let store = machine.open();
    let start = Barrier::new(THREADS as usize);
    let once = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
    let race = |thread: u64| {
        let put = |key: u64| {
            start.wait();
            store.put_with(key.to_string(), value(thread, 5000), &once).is_ok()
        };
        (0..KEYS).map(put).collect::<Vec<_>>()
    };
    let won: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let race = &race;
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || race(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    for key in 0..KEYS {
        let winners: Vec<u64> =
            (0..THREADS).filter(|thread| won[*thread as usize][key as usize]).collect();
        assert_eq!(winners.len(), 1, "key {key}");
        assert_value(&store, &key.to_string(), &value(winners[0], 5000));
    }
}

/// I7, src/recovery/open.rs, `begin_opening`: `let openings = before.openings + 1;`, and where that
/// is missing `outrun_lost_openings`: `if newest < self.ledger.get().openings {`
#[test]
fn seqs_are_not_given_out_again_after_the_chains_that_had_them_were_torn() {
    let mut machine = Machine::new(1, 1);
    let mut last = None;
    for round in 0..4 {
        let store = machine.open();
        put_os(&store, "torn", b"value");
        let seq = store.head("torn").unwrap().unwrap().seq;
        assert!(last < Some(seq), "{last:?}, then {seq}");
        last = Some(seq);
        machine = machine.cut(store, Keep::Random(round));
    }
}

/// I7, src/recovery/open.rs, `invent_meta` and `outrun_lost_openings`: `+ LOST_META_SKIP`
#[test]
fn seqs_are_not_given_out_again_after_meta_and_index_were_lost() {
    let mut machine = Machine::new(1, 1);
    let mut last = None;
    for round in 0..5 {
        let is_lost = round > 0 && round % 2 == 0;
        let store = if is_lost { machine.rebuild() } else { machine.open() };
        let seq = store.put("k", format!("{round}")).unwrap();
        assert!(last < Some(seq), "{last:?}, then {seq}");
        assert_value(&store, "k", format!("{round}").as_bytes());
        last = Some(seq);
        machine = machine.cut(store, Keep::Nothing);
        if round % 2 == 1 {
            machine.lose_index();
            machine.io.remove_file(Path::new(HOME).join("META")).unwrap();
        }
    }
}

/// I8, src/recovery/open.rs, `open`: `let lock = take_lock(&*io, &home)?;`
#[test]
fn a_second_opener_is_refused_at_once_and_welcome_later() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    assert_eq!(refused(machine.options().open(HOME)), ErrorKind::Locked);
    store.put("k", "the first one goes on").unwrap();
    store.close().unwrap();
    machine.open();

    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(refused(Store::open(dir.path())), ErrorKind::Locked);
    drop(store);
    Store::open(dir.path()).unwrap();
}

/// I9, src/store/reclaim.rs, `unlink_dead_tracks`: `&& graves_can_go(&books.tracks, *id, row)`
///
/// The second track is dead, but holds the tombstone of what is still in the first one.
#[test]
fn a_tombstone_stays_while_a_track_holds_what_it_hides() {
    let machine = Machine::new(1, 1);
    let store = small_tracks(&machine).open(HOME).unwrap();
    for key in ["deleted", "kept", "x", "y", "z"] {
        if key == "y" {
            assert!(store.delete("deleted").unwrap());
        }
        store.put(key, value(1, LARGE)).unwrap();
    }
    assert!(store.delete("x").unwrap() && store.delete("y").unwrap());
    for _ in 0..3 {
        store.checkpoint().unwrap();
    }
    assert_eq!(machine.tracks().len(), 3);
    let machine = machine.cut(store, Keep::Everything);
    let store = machine.rebuild();
    assert!(!store.exists("deleted").unwrap());
    assert_value(&store, "kept", &value(1, LARGE));
    assert_sound(&store);
}

/// I9. Symptom: verifying finds tombstones of a track that is not there. Cause: it was unlinked, and
/// the power cut before a checkpoint that said so; opening forgot the track and not its
/// tombstones. Rule: they go with the track.
///
/// src/recovery/open.rs, `check_rows`: `join.drop_grave(&key, grave);`
#[test]
fn a_track_that_was_unlinked_after_the_last_checkpoint_leaves_no_tombstones() {
    let machine = Machine::new(1, 1);
    let store = small_tracks(&machine).open(HOME).unwrap();
    for key in ["a", "b", "x", "y", "z"] {
        if key == "y" {
            assert!(store.delete("a").unwrap() && store.delete("b").unwrap());
        }
        store.put(key, value(1, LARGE)).unwrap();
    }
    assert!(store.delete("x").unwrap() && store.delete("y").unwrap());
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    assert_eq!(machine.tracks().len(), 1);
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert_eq!(store.stats().unwrap().objects, 1);
    assert_sound(&store);
}

/// I9, src/store/reclaim.rs, `raise_floors`: `row.floor = now;`, and `maintain`, which calls it.
#[test]
fn a_tombstone_goes_when_no_track_holds_what_it_hides() {
    let machine = Machine::new(1, 1);
    let store = small_tracks(&machine).open(HOME).unwrap();
    for key in ["kept 1", "kept 2", "x", "y", "kept 3"] {
        store.put(key, value(1, LARGE)).unwrap();
    }
    assert!(store.delete("x").unwrap() && store.delete("y").unwrap());
    store.put("kept 4", value(1, LARGE)).unwrap();
    store.put("kept 5", value(1, LARGE)).unwrap();
    assert_eq!(store.stats().unwrap().tombstones, 2);
    for _ in 0..3 {
        store.checkpoint().unwrap();
    }
    assert_eq!(store.stats().unwrap().tombstones, 0);
    assert_eq!(machine.tracks().len(), 3);
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.rebuild();
    assert!(!store.exists("x").unwrap() && !store.exists("y").unwrap());
    assert_sound(&store);
}

/// I9. Symptom: a deleted object is back after a rebuild. Cause: a track's floor was raised to the
/// present seq while a delete with a smaller one was under way, so that its tombstone was
/// forgotten though the track held what it hides. Rule: a floor is a seq below which all is
/// applied.
///
/// src/store/reclaim.rs, `raise_floors`: `self.sync()?;` behind `let now = self.current_seq();`
#[test]
fn a_tombstone_stays_though_the_delete_was_under_way_during_a_checkpoint() {
    let machine = Machine::new(1, 1);
    let (store, held) = open_held(&machine);
    for key in ["k", "kept", "x", "y", "z"] {
        store.put(key, value(1, LARGE)).unwrap();
    }
    // A tombstone, so that floors matter; what it hides goes with the second track.
    assert!(store.delete("x").unwrap() && store.delete("y").unwrap());
    let replace = held.hold_next(Call::Replace, HOME);
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| store.checkpoint());
        replace.wait();
        let sync = held.hold_next(Call::Sync, Machine::disk(0));
        let delete = scope.spawn(|| store.delete("k"));
        sync.wait();
        replace.let_go();
        // Time for the checkpoint to do what it must not.
        std::thread::sleep(Duration::from_millis(200));
        sync.let_go();
        assert!(delete.join().unwrap().unwrap());
        checkpoint.join().unwrap().unwrap();
    });
    store.put("more", value(1, LARGE)).unwrap();
    store.put("and more", value(1, LARGE)).unwrap();
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    // The track with the deletes in it dies.
    assert!(store.delete("z").unwrap() && store.delete("more").unwrap());
    store.put("last 1", value(1, LARGE)).unwrap();
    store.put("last 2", value(1, LARGE)).unwrap();
    for _ in 0..4 {
        store.checkpoint().unwrap();
    }
    let machine = machine.cut(store, Keep::Everything);
    let store = machine.rebuild();
    assert!(!store.exists("k").unwrap());
    assert_value(&store, "kept", &value(1, LARGE));
}

/// I10, src/recovery/replay.rs, `was_synced`: `self.scanner.witness_beyond(from, chunk)?`
#[test]
fn rot_that_a_later_chain_vouches_for_is_damage_that_costs_only_its_keys() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    for key in ["a", "b", "c"] {
        store.put(key, value(1, 100)).unwrap();
    }
    let machine = machine.cut(store, Keep::Nothing);
    machine.flip(&machine.tracks()[0], 2 * CHUNK + 100, 3);
    let error = machine.options().open(HOME).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("track 0000000001, chunks 2 to 2"), "{error}");
    let store = machine.options().accept_loss(true).open(HOME).unwrap();
    assert_eq!(store.recovery().damage.len(), 1);
    assert_value(&store, "a", &value(1, 100));
    assert!(!store.exists("b").unwrap());
    assert_value(&store, "c", &value(1, 100));
}

/// I10, src/recovery/replay.rs, `was_synced`: `chunk < self.mark`, and src/recovery/marks.rs,
/// `Marks::of`, for each of its sources: `active` (`META`), `predecessors` (the next track's
/// header), `meta.cuts` (a failed sync).
#[test]
fn rot_in_the_last_chain_of_a_track_is_damage_where_meta_or_the_next_track_vouches_for_it() {
    for source in ["active", "predecessor", "cut"] {
        let machine = Machine::new(1, 1);
        let store = small_tracks(&machine).open(HOME).unwrap();
        store.put("a", value(1, 100)).unwrap();
        match source {
            "active" => store.checkpoint().unwrap(),
            "predecessor" => drop(store.put("b", value(2, 60_000)).unwrap()),
            _ => {
                machine.io.fail_next(CallKind::Sync, Fail::Eio);
                assert_eq!(refused(store.put("b", "failed")), ErrorKind::Io);
            }
        }
        let machine = machine.cut(store, Keep::Nothing);
        machine.flip(&machine.tracks()[0], CHUNK + 100, 3);
        assert_eq!(refused(machine.options().rebuild(HOME)), ErrorKind::Damaged, "{source}");
    }
}

/// I10, src/recovery/replay.rs, `pull`: `return self.tear(start, &bad);`, both of them.
#[test]
fn a_torn_end_is_sealed_without_a_word_and_all_before_it_is_kept() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("kept", value(1, LARGE)).unwrap();
    put_os(&store, "torn", &value(2, 40_000));
    put_os(&store, "torn, too", b"small");
    let machine = machine.halt(Some(store));
    let mut torn = 0;
    for keep in [Keep::Nothing, Keep::Everything].into_iter().chain((0..30).map(Keep::Random)) {
        let machine = machine.fork(keep);
        let store = machine.open();
        torn += store.recovery().torn.len();
        assert_value(&store, "kept", &value(1, LARGE));
        if store.exists("torn, too").unwrap() {
            assert_value(&store, "torn", &value(2, 40_000));
        }
        store.put("after", "value").unwrap();
        assert_sound(&store);
    }
    assert!(torn > 5, "{torn}");
}

/// I10 and I4. Symptom: live values lost in a rebuild, without a word. Cause: a value in a track's
/// last chain had been punched, and nothing vouched for that chain any more: the track had been
/// sealed by an opening that wrote nothing else to its disk. Rule: until a further track names it,
/// `META` names a disk's last one.
///
/// src/recovery/open.rs, `finish`: `volume.follow(*id, end);`
#[test]
fn a_hole_in_the_last_chain_of_a_track_is_no_torn_end_for_a_rebuild() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    store.put("on disk 0", value(1, 8192)).unwrap();
    let mut batch = Batch::new();
    batch.put("punched", value(1, LARGE)).put("kept", value(2, 100));
    store.write(batch).unwrap();
    // Seals the tracks, and one more opening passes. Its successor writes to disk 0 only.
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert!(store.delete("punched").unwrap());
    store.checkpoint().unwrap();
    assert!(store.stats().unwrap().total().punched_bytes > 0);
    let machine = machine.cut(store, Keep::Everything);
    let store = machine.rebuild();
    assert_value(&store, "kept", &value(2, 100));
    assert!(!store.exists("punched").unwrap());
    assert_sound(&store);
}

/// I10. Like the one above; here the track whose header vouched for the chain was unlinked. Rule:
/// a track that is not its disk's last was synced to its end.
///
/// src/recovery/tails.rs, `tail`: `if marks.whole.contains(&id) { end }`
#[test]
fn a_hole_is_no_torn_end_though_the_track_that_vouched_for_it_is_gone() {
    let machine = Machine::new(1, 1);
    let store = small_tracks(&machine).open(HOME).unwrap();
    let mut batch = Batch::new();
    batch.put("punched", value(1, 40_000)).put("kept", value(2, 100));
    store.write(batch).unwrap();
    for key in ["x", "y", "z"] {
        store.put(key, value(3, LARGE)).unwrap();
    }
    for key in ["punched", "x", "y"] {
        assert!(store.delete(key).unwrap());
    }
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    assert_eq!(machine.tracks().len(), 2);
    let machine = machine.cut(store, Keep::Everything);
    let store = machine.rebuild();
    assert_value(&store, "kept", &value(2, 100));
    assert_sound(&store);
}

/// Symptom: `kogia stat` and the files differed by a chunk. Cause: a sync failed, the track was sealed at
/// its last good end and its file cut there, which nobody synced; the checkpoint that knew it sealed was
/// durable before a power cut brought the file's length back, and sealed tracks are not looked at. Rule:
/// what `META` says was given up is cut off at each opening.
#[test]
fn what_a_failed_sync_has_left_is_cut_off_although_the_track_is_sealed() {
    let machine = Machine::new(40, 1);
    let store = machine.open();
    for i in 0..6 {
        store.put(format!("k{i}"), value(i, 9_000)).unwrap();
    }
    machine.io.fail(Fault::next(CallKind::Sync, Fail::Eio).under("/mnt"));
    assert_eq!(refused(store.put("k6", value(6, 9_000))), ErrorKind::Io);
    // With the next chain the index learns that the track is sealed.
    for i in 6..12 {
        store.put(format!("k{i}"), value(i, 9_000)).unwrap();
    }
    store.checkpoint().unwrap();
    let mut came_back = 0;
    for seed in 0..40 {
        let cut = machine.fork(Keep::Random(seed));
        let bytes = |machine: &Machine| -> u64 {
            let files = machine.tracks();
            files.iter().map(|path| machine.io.read_file(path).unwrap().len() as u64).sum()
        };
        let before = bytes(&cut);
        let store = cut.open();
        assert_eq!(bytes(&cut), store.stats().unwrap().total().file_bytes, "seed {seed}");
        came_back += u64::from(before > bytes(&cut));
        for i in 0..12 {
            assert_value(&store, &format!("k{i}"), &value(i, 9_000));
        }
        assert_sound(&store);
    }
    assert!(came_back > 0);
}
