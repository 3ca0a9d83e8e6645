//! What writers do while a checkpoint flushes the index.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kogia::io::sim::Keep;
use kogia::{Batch, Durability, Options, Store};

use crate::machine::{Machine, put_os};

/// Runs `checkpoint` once a writer has begun, and stops it when it has ended; gives what it
/// gives.
fn beside_a_writer<T>(write: impl Fn(usize) + Sync, checkpoint: impl FnOnce() -> T) -> T {
    let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0.. {
                write(at);
                begun.store(true, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        while !begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let outcome = checkpoint();
        stop.store(true, Ordering::SeqCst);
        outcome
    })
}

/// I1, src/store/checkpoint.rs, `cut`: `ends.push((volume.disk.id, volume.sync_applied()?));`
///
/// A chain that is applied behind a checkpoint's first sync, but not synced, would be in an index
/// that is ahead of its tracks when the power is cut. That the flush begins before the apply lock is
/// given back, the compiler checks: it takes the books that the lock guards.
#[test]
fn what_is_written_during_a_checkpoint_is_flushed_with_the_next_one_or_synced() {
    for seed in 0..5 {
        let machine = Machine::new(seed, 1);
        let store = machine.open();
        let written = AtomicUsize::new(0);
        let write = |at: usize| {
            put_os(&store, &at.to_string(), b"value");
            written.store(at, Ordering::SeqCst);
        };
        let kept = beside_a_writer(write, || {
            store.checkpoint().unwrap();
            let kept = written.load(Ordering::SeqCst);
            store.checkpoint().unwrap();
            kept
        });
        let machine = machine.cut(store, Keep::Nothing);
        let store = machine.open();
        assert!(!store.recovery().rebuilt, "the index was ahead of the tracks");
        for at in 0..=kept {
            assert!(store.exists(at.to_string()).unwrap(), "{at} of {kept}");
        }
    }
}

/// src/store/checkpoint.rs, `try_checkpoint`: `self.await_flush()?;` after the apply lock is given
/// back.
#[test]
fn no_put_waits_for_the_index_to_be_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Os).memory_bytes(512 << 20);
    let store = options.checkpoint_interval(Duration::from_secs(3600)).open(dir.path()).unwrap();
    let mut waits = Vec::new();
    // What else runs on the machine may hold up a put, too; but hardly each time.
    for round in 0..5 {
        fill(&store, round);
        waits.push(longest_wait_in_a_checkpoint(&store, round));
        let (longest, took) = waits[round];
        if longest < took / 2 {
            return;
        }
    }
    panic!("a put waited most of each checkpoint: {waits:?}");
}

/// Some 30 MiB of rows that are not flushed.
fn fill(store: &Store, round: usize) {
    for at in 0..200 {
        let mut batch = Batch::new();
        for number in 0..1000 {
            batch.put(format!("{round}/{number}/{at}"), "value");
        }
        store.write(batch).unwrap();
    }
}

fn longest_wait_in_a_checkpoint(store: &Store, round: usize) -> (Duration, Duration) {
    let waits = std::sync::Mutex::new(Duration::ZERO);
    let write = |at: usize| {
        let started = Instant::now();
        store.put(format!("{round}/{at}"), "value").unwrap();
        let mut longest = waits.lock().unwrap();
        *longest = started.elapsed().max(*longest);
    };
    let took = beside_a_writer(write, || {
        let started = Instant::now();
        store.checkpoint().unwrap();
        started.elapsed()
    });
    (waits.into_inner().unwrap(), took)
}
