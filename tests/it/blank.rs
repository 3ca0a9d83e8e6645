//! Where a little is synced at a time, over and over, a track's file grows by blank chunks ahead of what
//! is appended. No opening takes them for damage or for a torn end, and none outlasts its track's sealing.

use std::collections::BTreeSet;
use std::ops::Range;

use kogia::io::sim::{CallKind, Fail, Fault, Keep};
use kogia::{CompactOptions, ErrorKind, Store, TrackId};

use crate::machine::{HOME, Machine, assert_sound, assert_value, refused, value};

const CHUNK_BYTES: usize = 4096;

fn open(machine: &Machine) -> Store {
    machine.options().open(HOME).unwrap()
}

/// Durable puts, each a chain of one chunk.
fn put_little(store: &Store, numbers: Range<u64>) {
    for number in numbers {
        store.put(format!("k{number}"), value(number, 100)).unwrap();
    }
}

#[track_caller]
fn assert_there(store: &Store, numbers: Range<u64>) {
    numbers.for_each(|number| assert_value(store, &format!("k{number}"), &value(number, 100)));
    assert!(store.recovery().torn.is_empty(), "{:?}", store.recovery());
    assert_sound(store);
}

/// Chunks in the file of a track.
fn chunks(machine: &Machine, track: usize) -> usize {
    machine.io.read_file(&machine.tracks()[track]).unwrap().len() / CHUNK_BYTES
}

#[test]
fn the_file_grows_ahead_of_little_that_is_synced_and_not_of_more() {
    let machine = Machine::new(1, 1);
    let store = open(&machine);
    let lens = |bytes: usize, numbers: Range<u64>| {
        let put = |number| {
            store.put(format!("{bytes}/{number}"), value(number, bytes)).unwrap();
            chunks(&machine, 0)
        };
        numbers.map(put).collect::<BTreeSet<_>>().len()
    };
    // Five until it is known what comes, and behind them one for all.
    assert_eq!(lens(100, 0..40), 5);
    assert_eq!(chunks(&machine, 0), 64);
    assert_eq!((lens(30_000, 0..2), chunks(&machine, 0)), (1, 64));
    drop(store);
    let machine = Machine::new(2, 1);
    let store = open(&machine);
    for number in 0..10 {
        store.put(format!("{number}"), value(number, 20_000)).unwrap();
        assert_eq!(chunks(&machine, 0), 1 + (number as usize + 1) * 6);
    }
}

#[test]
fn a_close_takes_the_rest_off_and_the_next_opening_goes_on() {
    let machine = Machine::new(3, 1);
    let store = open(&machine);
    put_little(&store, 0..10);
    assert_eq!(chunks(&machine, 0), 64);
    store.close().unwrap();
    assert_eq!(chunks(&machine, 0), 11);
    let store = open(&machine);
    assert!(store.recovery().clean);
    put_little(&store, 10..15);
    assert_eq!((machine.tracks().len(), chunks(&machine, 0)), (1, 64));
    assert_there(&store, 0..15);
    // That it did so is known whatever the disk kept.
    store.close().unwrap();
    for keep in [Keep::Nothing, Keep::Everything] {
        let machine = machine.fork(keep);
        assert_eq!(chunks(&machine, 0), 16);
        machine.lose_index();
        assert_there(&machine.rebuild(), 0..15);
    }
}

#[test]
fn after_a_crash_it_is_neither_torn_nor_damage() {
    for seed in 0..12 {
        let machine = Machine::new(seed, 1);
        let store = open(&machine);
        put_little(&store, 0..4 + seed);
        let machine = match seed % 3 {
            0 => machine.kill(store),
            1 => machine.cut(store, Keep::Nothing),
            _ => machine.cut(store, Keep::Everything),
        };
        if seed % 2 == 0 {
            machine.lose_index();
        }
        let store = open(&machine);
        assert_there(&store, 0..4 + seed);
        assert_eq!(chunks(&machine, 0), 5 + seed as usize);
    }
}

/// A track behind which another one came is taken to be synced to its end, where nothing says how far.
#[test]
fn none_is_left_in_a_track_behind_which_another_comes() {
    let machine = Machine::new(4, 1);
    let store = open(&machine);
    put_little(&store, 0..10);
    assert_eq!(chunks(&machine, 0), 64);
    for key in ["here", "elsewhere"] {
        store.put(key, value(1, 120_000)).unwrap();
    }
    assert_eq!((machine.tracks().len(), chunks(&machine, 0)), (2, 11 + 31));
    store.delete("elsewhere").unwrap();
    let second = CompactOptions { tracks: Some(vec![TrackId(2)]), ..CompactOptions::default() };
    store.compact(&second).unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    machine.lose_index();
    assert_there(&machine.rebuild(), 0..10);
}

/// A killed process may have cut the file and not synced that: its length is not durable where it is found.
#[test]
fn none_comes_back_behind_a_track_that_was_sealed_since_a_process_was_killed() {
    for call in 0.. {
        let machine = Machine::new(5, 1);
        let store = open(&machine);
        put_little(&store, 0..10);
        store.checkpoint().unwrap();
        machine.io.power_off_at_call(machine.io.calls() + call);
        let is_closed = store.close().is_ok();
        let mut machine = machine.halt(None);
        machine.io = machine.io.kill();
        let store = open(&machine);
        put_little(&store, 10..11);
        store.checkpoint().unwrap();
        let machine = machine.cut(store, Keep::Nothing);
        if call % 2 == 0 {
            assert_there(&open(&machine), 0..11);
        }
        // Closed as far as anybody will ever know, it was gone on with.
        assert!([11, 12].contains(&chunks(&machine, 0)), "call {call}");
        machine.lose_index();
        assert_there(&machine.rebuild(), 0..11);
        if is_closed {
            return;
        }
    }
}

#[test]
fn a_track_that_is_longer_than_its_chains_is_not_gone_on_with() {
    let machine = Machine::new(6, 1);
    let store = open(&machine);
    put_little(&store, 0..10);
    store.close().unwrap();
    let track = machine.tracks().remove(0);
    let mut bytes = machine.io.read_file(&track).unwrap();
    bytes.resize(20 * CHUNK_BYTES, 0);
    machine.io.write_file(&track, &bytes).unwrap();
    let store = open(&machine);
    put_little(&store, 10..11);
    assert_eq!((machine.tracks().len(), chunks(&machine, 0)), (2, 11));
    assert_there(&store, 0..11);
}

/// A cut that `META` may have, or not, could hide what was acknowledged behind it.
#[test]
fn where_neither_the_file_nor_meta_can_be_cut_the_store_takes_no_more() {
    let machine = Machine::new(7, 1);
    let store = open(&machine);
    put_little(&store, 0..10);
    machine.io.fail(Fault::next(CallKind::SetLen, Fail::Eio).lasting());
    machine.io.fail(Fault::next(CallKind::Rename, Fail::Eio).lasting());
    assert!(store.put("a", value(1, 120_000)).is_ok());
    assert!(store.put("b", value(1, 120_000)).is_err());
    machine.io.heal();
    assert_eq!(refused(store.put("k10", value(10, 100))), ErrorKind::Poisoned);
    drop(store);
    let store = open(&machine);
    assert_there(&store, 0..10);
    assert_value(&store, "a", &value(1, 120_000));
}
