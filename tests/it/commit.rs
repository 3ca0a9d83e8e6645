//! Large values, which callers append themselves, and the syncs that they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Keep};
use kogia::{ErrorKind, Options, Store};

use crate::held::{Call, HeldIo};
use crate::machine::{CHUNK, HOME, Machine, assert_sound, assert_value, refused, value};

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
    let end = (1 + count * LARGE_CHUNKS) * CHUNK;
    while machine.io.read_file(&machine.tracks()[0]).unwrap().len() < end {
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

/// Four threads put large values and small ones, and the power is cut at some call of theirs.
#[test]
fn whatever_call_the_power_is_cut_at_nothing_that_was_acknowledged_is_lost() {
    const PUTS: u64 = 6;
    const THREADS: u64 = 4;
    for seed in 0..40 {
        let machine = Machine::new(seed, 1);
        let store = options(&machine).track_bytes(512 << 10).open(HOME).unwrap();
        let acknowledged: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
        machine.io.power_off_at_call(machine.io.calls() + 3 + seed * 2);
        let len = |tag: u64| if tag % 3 == 2 { 5000 } else { LARGE };
        thread::scope(|scope| {
            for (thread, acknowledged) in (0..THREADS).zip(&acknowledged) {
                let store = &store;
                scope.spawn(move || {
                    for tag in (0..PUTS).map(|put| thread * PUTS + put) {
                        if store.put(tag.to_string(), value(tag, len(tag))).is_err() {
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
                    assert!(put >= acknowledged || found.is_some(), "seed {seed}: {tag} is lost");
                    assert!(found.is_none_or(|found| found == value(tag, len(tag))));
                }
            }
            assert_sound(&store);
        }
    }
}
