//! Many threads at once. What a key holds is told by the key and a version, and versions are
//! announced before they are written and after they are acknowledged: so every thread can tell
//! whether what it reads was there at some moment while it read.
//!
//! `KOGIA_TEST_ROUNDS` makes each thread do so many times as much.

pub mod race;
mod value;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kogia::{
    Condition, DeleteOptions, Durability, ErrorKind, Options, PutOptions, Store, VerifyOptions,
};
use tempfile::TempDir;

use race::Race;
use value::value;

fn rounds() -> u64 {
    std::env::var("KOGIA_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Two disks, small tracks, and checkpoints on its own every now and then.
fn options(dir: &Path) -> Options {
    Options::new()
        .disk(dir.join("a"))
        .disk(dir.join("b"))
        .memory_bytes(16 << 20)
        .segment_bytes(32 << 10)
        .track_bytes(256 << 10)
        .reserve_bytes(64 << 10)
        .durability(Durability::Os)
        .sync_interval(Duration::from_millis(50))
        .checkpoint_interval(Duration::from_millis(20))
}

fn verify(store: &Store) {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

fn race_on_real_disks(refill: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (home, options) = (dir.path().join("home"), options(dir.path()).refill(refill));
    let race = Race::new(150 * rounds());
    let store = options.clone().open(&home).unwrap();
    race.run(&store);
    race.check_end(&store);
    verify(&store);
    store.close().unwrap();
    let store = options.clone().open(&home).unwrap();
    race.check_end(&store);
    verify(&store);
    store.close().unwrap();
    let store = options.rebuild(&home).unwrap();
    race.check_end(&store);
    verify(&store);
}

#[test]
fn every_read_among_writers_gives_what_was_acknowledged_or_in_flight() {
    race_on_real_disks(false);
}

#[test]
fn every_read_among_writers_that_refill_gives_what_was_acknowledged_or_in_flight() {
    race_on_real_disks(true);
}

/// Eight threads count with "only if the seq is still N".
#[test]
fn compare_and_swap_loses_no_increment() {
    const COUNTERS: u64 = 2;
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).open(dir.path().join("home")).unwrap();
    let key = |counter: u64| format!("counter-{counter}");
    let increments = AtomicU64::new(0);
    let created = AtomicU64::new(0);
    let put_if = |counter, number: u64, condition| {
        let options = PutOptions { condition, ..PutOptions::default() };
        match store.put_with(key(counter), number.to_le_bytes(), &options) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::Condition => false,
            Err(error) => panic!("{error}"),
        }
    };
    thread::scope(|scope| {
        for thread in 0..8 {
            let (put_if, increments, created, store) = (&put_if, &increments, &created, &store);
            scope.spawn(move || {
                for attempt in 0..200 * rounds() {
                    let counter = (attempt + thread) % COUNTERS;
                    let mut bytes = Vec::new();
                    match store.get_into(key(counter), &mut bytes).unwrap() {
                        None => {
                            let done = put_if(counter, 0, Condition::IfAbsent);
                            created.fetch_add(done.into(), Ordering::Relaxed);
                        }
                        Some(info) => {
                            let number = u64::from_le_bytes(bytes.try_into().unwrap()) + 1;
                            let done = put_if(counter, number, Condition::IfSeq(info.seq));
                            increments.fetch_add(done.into(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let count = |counter| {
        let bytes = store.get(key(counter)).unwrap().unwrap();
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    assert_eq!((0..COUNTERS).map(count).sum::<u64>(), increments.into_inner());
    assert_eq!(created.into_inner(), COUNTERS);
}

#[test]
fn of_many_deletes_of_a_key_one_finds_it_and_of_many_puts_if_absent_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).open(dir.path().join("home")).unwrap();
    let (puts, deletes) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (store, puts, deletes) = (&store, &puts, &deletes);
            scope.spawn(move || {
                for round in 0..100 * rounds() {
                    if (round + thread) % 2 == 0 {
                        let condition = Condition::IfAbsent;
                        let options = PutOptions { condition, ..PutOptions::default() };
                        let outcome = store.put_with("key", vec![1; 20_000], &options);
                        puts.fetch_add(outcome.is_ok().into(), Ordering::Relaxed);
                    } else {
                        let found = store.delete_with("key", &DeleteOptions::default()).unwrap();
                        deletes.fetch_add(found.into(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let left = u64::from(store.exists("key").unwrap());
    assert_eq!(puts.into_inner(), deletes.into_inner() + left);
    verify(&store);
}

/// Invariant I4, for readers and snapshots that outlive many checkpoints.
#[test]
fn readers_and_snapshots_keep_their_bytes_while_all_is_deleted_and_punched() {
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).refill(true).open(dir.path().join("home")).unwrap();
    let lens = [100, 5000, 20_000, 100_000, 300_000];
    let key = |at: usize| format!("key-{at}");
    for (at, len) in lens.iter().enumerate() {
        store.put(key(at), value(at as u64, 0, *len)).unwrap();
    }
    thread::scope(|scope| {
        let (start, started) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..2 {
            let (store, start) = (&store, start.clone());
            scope.spawn(move || {
                let snapshot = store.snapshot().unwrap();
                let mut readers: Vec<_> =
                    (0..lens.len()).map(|at| store.reader(key(at)).unwrap().unwrap()).collect();
                start.send(()).unwrap();
                for round in 0..20 * rounds() {
                    for (at, reader) in readers.iter_mut().enumerate() {
                        let skip = round * 997 % lens[at] as u64;
                        reader.seek(SeekFrom::Start(skip)).unwrap();
                        let mut read = Vec::new();
                        reader.read_to_end(&mut read).unwrap();
                        let expected = value(at as u64, 0, lens[at]);
                        assert!(read == expected[skip as usize..], "{}", key(at));
                        assert!(snapshot.get(key(at)).unwrap() == Some(expected), "{}", key(at));
                    }
                }
            });
        }
        (0..2).for_each(|_| started.recv().unwrap());
        for round in 1..=20 * rounds() {
            for (at, len) in lens.iter().enumerate() {
                store.delete(key(at)).unwrap();
                store.put(key(at), value(at as u64, round, *len)).unwrap();
            }
            store.checkpoint().unwrap();
        }
    });
    store.checkpoint().unwrap();
    verify(&store);
    assert!(store.stats().unwrap().total().live_bytes < 1 << 20);
}

#[test]
fn two_stores_on_the_same_disks_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for (store, others) in [("one", 0), ("two", 3)] {
            let dir: &TempDir = &dir;
            scope.spawn(move || {
                let home = dir.path().join(store);
                let race = Race::new(40 * rounds());
                // Opened and closed while the other one writes.
                for _ in 0..=others {
                    let store = options(dir.path()).open(&home).unwrap();
                    race.check_end(&store);
                    race.run(&store);
                    store.close().unwrap();
                }
                let store = options(dir.path()).rebuild(&home).unwrap();
                race.check_end(&store);
                verify(&store);
            });
        }
    });
}

/// Invariant I8.
#[test]
fn a_store_that_is_open_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = options(dir.path()).open(dir.path().join("home")).unwrap();
    store.put("key", "value").unwrap();
    for _ in 0..2 {
        let again = options(dir.path()).open(dir.path().join("home"));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Locked);
        let again = options(dir.path()).rebuild(dir.path().join("home"));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Locked);
    }
    store.put("other", "value").unwrap();
    drop(store);
    let store = options(dir.path()).open(dir.path().join("home")).unwrap();
    assert!(store.recovery().clean);
    assert_eq!(store.get("other").unwrap().as_deref(), Some(&b"value"[..]));
}
