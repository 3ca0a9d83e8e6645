//! Large values, which callers append themselves, and the syncs that they share.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kogia::io::sim::{CallKind, Fail, Keep};
use kogia::{Batch, CompactOptions, Durability, ErrorKind, Options, PutOptions, Store, TrackId};

use crate::held::{Call, HeldIo};
use crate::machine::{CHUNK, HOME, Machine, assert_sound, assert_value, put_os, refused, value};
use crate::pause::Pause;

/// More than what goes through a disk's queue, and less than what is streamed.
const LARGE: usize = 100_000;
/// With the chunk of its record.
const LARGE_CHUNKS: usize = LARGE.div_ceil(4072) + 1;

fn options(machine: &Machine) -> Options {
    machine.options().memory_bytes(64 << 20).track_bytes(64 << 20)
}

fn open_held(machine: &Machine) -> (Store, HeldIo) {
    let held = HeldIo::new(&machine.io);
    let store = options(machine).io(Arc::new(held.clone())).open(HOME).unwrap();
    // Begins the track; so that no sync but those of puts follows.
    store.put("0", value(0, LARGE)).unwrap();
    (store, held)
}

/// Waits until so many large values were appended to the only track.
fn until_appended(machine: &Machine, count: usize) {
    let (end, began) = ((1 + count * LARGE_CHUNKS) * CHUNK, Instant::now());
    while machine.io.read_file(&machine.tracks()[0]).unwrap().len() < end {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody appends");
        thread::sleep(Duration::from_millis(1));
    }
}

fn put(store: &Store, tag: u64) -> kogia::Result<kogia::Seq> {
    store.put(tag.to_string(), value(tag, LARGE))
}

#[test]
fn while_one_is_synced_others_append_and_share_the_next_sync() {
    let machine = Machine::new(1, 1);
    let (store, held) = open_held(&machine);
    machine.io.reset_counters();
    let sync = held.hold_next(Call::Sync, Machine::disk(0));
    thread::scope(|scope| {
        let first = scope.spawn(|| put(&store, 1));
        sync.wait();
        let store = &store;
        let others: Vec<_> = (2..8).map(|tag| scope.spawn(move || put(store, tag))).collect();
        until_appended(&machine, 8);
        assert!(!store.exists("1").unwrap(), "seen before it is durable");
        sync.let_go();
        first.join().unwrap().unwrap();
        for other in others {
            other.join().unwrap().unwrap();
        }
    });
    assert_eq!(machine.io.counters().of(CallKind::Sync), 2);
    let machine = machine.cut(store, Keep::Nothing);
    let store = options(&machine).open(HOME).unwrap();
    (0..8).for_each(|tag| assert_value(&store, &tag.to_string(), &value(tag, LARGE)));
    assert_sound(&store);
}

/// src/disk/lane.rs, `fail_sync`: `commit::lose(&mut self.unapplied, track.id, synced, &error);`
#[test]
fn what_was_appended_behind_a_sync_that_fails_fails_with_it_and_never_comes_back() {
    let machine = Machine::new(1, 1);
    let (store, held) = open_held(&machine);
    let sync = held.hold_next(Call::Sync, Machine::disk(0));
    thread::scope(|scope| {
        let first = scope.spawn(|| put(&store, 1));
        sync.wait();
        let second = scope.spawn(|| put(&store, 2));
        until_appended(&machine, 3);
        machine.io.fail_next(CallKind::Sync, Fail::Eio);
        sync.let_go();
        assert_eq!(refused(first.join().unwrap()), ErrorKind::Io);
        assert_eq!(refused(second.join().unwrap()), ErrorKind::Io);
    });
    put(&store, 3).unwrap();
    assert_eq!(machine.tracks().len(), 2);
    let machine = machine.cut(store, Keep::Everything);
    let store = options(&machine).open(HOME).unwrap();
    let keys: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
    assert_eq!(keys, [b"0", b"3"]);
    assert_sound(&store);
}

/// A track is sealed by a sync, which must not be a second one beside another.
#[test]
fn a_track_that_is_full_is_sealed_behind_the_sync_under_way() {
    let machine = Machine::new(1, 1);
    let held = HeldIo::new(&machine.io);
    let track_bytes = ((1 + 2 * LARGE_CHUNKS) * CHUNK) as u64;
    let store = options(&machine).track_bytes(track_bytes).io(Arc::new(held.clone()));
    let store = store.open(HOME).unwrap();
    put(&store, 0).unwrap();
    let sync = held.hold_next(Call::Sync, Machine::disk(0));
    thread::scope(|scope| {
        let first = scope.spawn(|| put(&store, 1));
        sync.wait();
        let second = scope.spawn(|| put(&store, 2));
        thread::sleep(Duration::from_millis(50));
        assert_eq!(machine.tracks().len(), 1);
        sync.let_go();
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(machine.tracks().len(), 2);
    let machine = machine.cut(store, Keep::Nothing);
    let store = options(&machine).track_bytes(track_bytes).open(HOME).unwrap();
    (0..3).for_each(|tag| assert_value(&store, &tag.to_string(), &value(tag, LARGE)));
    assert_sound(&store);
}

/// Deletes and puts in one batch, by a caller who appends it himself and then stops, until `meanwhile` has gone
/// on for a while.
fn beside_a_batch_that_is_durable_and_not_applied(
    store: &Store,
    batch: Batch,
    meanwhile: impl FnOnce() + Send,
) {
    let pause = Pause::at("write.synced");
    thread::scope(|scope| {
        let written = scope.spawn(|| pause.within(|| store.write(batch)));
        pause.wait();
        let (over, is_over) = mpsc::channel();
        let meanwhile = scope.spawn(move || {
            meanwhile();
            over.send(()).unwrap();
        });
        // Whoever waits for the batch, as is right, waits until this is over.
        let _ = is_over.recv_timeout(Duration::from_secs(2));
        pause.go_on();
        meanwhile.join().unwrap();
        written.join().unwrap().unwrap();
    });
}

fn track_id(path: &Path) -> TrackId {
    TrackId(path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
}

fn compact_only(store: &Store, tracks: Vec<TrackId>) {
    let options =
        CompactOptions { tracks: Some(tracks), min_garbage: Some(0.0), ..Default::default() };
    store.compact(&options).unwrap();
}

/// src/disk/volume.rs, `seal_active`: `self.settle_and_hand_over();`, and for compactions that a caller wants, which begin
/// with a sync, src/disk/writer.rs, `commit`: `if volume.settle(|| ()) {`
///
/// Recovery passes over a track that the index knows to be sealed: chains of it that the index had not got
/// would be lost, acknowledged and durable as they were.
#[test]
fn a_track_is_known_to_be_sealed_when_the_index_has_all_that_is_in_it() {
    let machine = Machine::new(1, 1);
    let store = options(&machine).open(HOME).unwrap();
    put(&store, 0).unwrap();
    let active = track_id(&machine.tracks()[0]);
    let mut batch = Batch::new();
    batch.put("1", value(1, LARGE));
    beside_a_batch_that_is_durable_and_not_applied(&store, batch, || {
        compact_only(&store, vec![active]);
    });
    let machine = machine.cut(store, Keep::Everything);
    let store = options(&machine).open(HOME).unwrap();
    (0..2).for_each(|tag| assert_value(&store, &tag.to_string(), &value(tag, LARGE)));
    assert_sound(&store);
}

/// I9, src/disk/writer.rs, `commit`: `if volume.settle(|| ()) {`
///
/// A compaction that takes a delete under way for none copies what it deletes to a track whose floor is above
/// the tombstone.
#[test]
fn a_delete_that_was_appended_when_a_compaction_began_holds_in_a_rebuild() {
    let machine = Machine::new(1, 1);
    let options = || machine.options().memory_bytes(64 << 20);
    let store = options().open(HOME).unwrap();
    put_os(&store, "old", b"value");
    for tag in 0..3 {
        put(&store, tag).unwrap();
    }
    let (first, second) = (track_id(&machine.tracks()[0]), track_id(&machine.tracks()[1]));
    let mut batch = Batch::new();
    batch.delete("old").put("new", value(9, LARGE));
    beside_a_batch_that_is_durable_and_not_applied(&store, batch, || {
        compact_only(&store, vec![first]);
    });
    for tag in 3..5 {
        put(&store, tag).unwrap();
    }
    // Floors are raised, tombstones forgotten, and then the one's own track goes.
    compact_only(&store, vec![]);
    compact_only(&store, vec![second]);
    store.close().unwrap();
    let store = options().rebuild(HOME).unwrap();
    assert!(!store.exists("old").unwrap(), "a deleted object is back");
    assert_sound(&store);
}

/// src/store/checkpoint.rs, `freed`: `self.request_flush();`
#[test]
fn what_was_freed_comes_back_before_a_small_store_takes_several_times_what_it_has() {
    let machine = Machine::new(1, 1);
    let store = machine.options().memory_bytes(64 << 20).track_bytes(256 << 20).open(HOME).unwrap();
    let punches = || machine.io.counters().of(CallKind::Punch);
    (0..8).for_each(|tag| put_os(&store, &tag.to_string(), &value(tag, LARGE)));
    let (before, began) = (punches(), Instant::now());
    for tag in 0..800 {
        put_os(&store, &(tag % 8).to_string(), &value(tag, LARGE));
    }
    while punches() == before {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "80 MB were freed and nothing comes back"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// Four threads put large values and now and then a small one for which nobody waits, and the power is cut at
/// some call of theirs.
#[test]
fn whatever_call_the_power_is_cut_at_nothing_that_was_acknowledged_is_lost() {
    const PUTS: u64 = 6;
    const THREADS: u64 = 4;
    for seed in 0..40 {
        let machine = Machine::new(seed, 1);
        let store = options(&machine).track_bytes(512 << 10).open(HOME).unwrap();
        let acknowledged: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        machine.io.power_off_at_call(machine.io.calls() + 3 + seed * 2);
        let is_small = |tag: u64| tag % 3 == 2;
        let len = |tag: u64| if is_small(tag) { 5000 } else { LARGE };
        thread::scope(|scope| {
            for (thread, acknowledged) in (0..THREADS).zip(&acknowledged) {
                let store = &store;
                scope.spawn(move || {
                    for tag in (0..PUTS).map(|put| thread * PUTS + put) {
                        let durability =
                            Some(if is_small(tag) { Durability::Os } else { Durability::Sync });
                        let options = PutOptions { durability, ..PutOptions::default() };
                        if store.put_with(tag.to_string(), value(tag, len(tag)), &options).is_err()
                        {
                            return;
                        }
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let off = machine.halt(Some(store));
        for keep in [Keep::Nothing, Keep::Everything, Keep::Random(seed), Keep::Random(!seed)] {
            let machine = off.fork(keep);
            let store = options(&machine).track_bytes(512 << 10).open(HOME).unwrap();
            for (thread, acknowledged) in (0..THREADS).zip(&acknowledged) {
                let acknowledged = acknowledged.load(Ordering::Relaxed);
                for put in 0..PUTS {
                    let tag = thread * PUTS + put;
                    let found = store.get(tag.to_string()).unwrap();
                    let may_go = put >= acknowledged || is_small(tag);
                    assert!(may_go || found.is_some(), "seed {seed}: {tag} is lost");
                    assert!(found.is_none_or(|found| found == value(tag, len(tag))));
                }
            }
            assert_sound(&store);
        }
    }
}
