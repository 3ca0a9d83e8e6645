//! One owner at a time, and none when nobody has the store open.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Fault};
use kogia::io::{Io, RealIo};
use kogia::{Durability, ErrorKind, Options, PutOptions, Store};

use crate::held::{Call, HeldIo};
use crate::machine::{HOME, Machine};

/// Symptom: a store that was closed did not open again ("the store is open elsewhere"), now and then,
/// in a program that starts processes in other threads. Cause: the lock ended with the last
/// descriptor of its file, and a process has all of its parent's until it runs its own program.
/// Rule: letting go of a lock releases it, whoever has the file open.
#[test]
fn a_lock_that_was_let_go_can_be_taken_while_processes_are_started() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut process = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
                process.wait().unwrap();
            }
        });
        let refused = (0..100_000).find_map(|_| RealIo.lock(&path).err());
        done.store(true, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

/// Symptom: a store that was dropped after a failed sync did not open again ("the store is open
/// elsewhere"). Cause: the sync gave up at the first disk that failed, and the thread of another, which
/// was still syncing, held the store. Rule: a sync ends when it has ended on every disk.
#[test]
fn a_store_whose_sync_failed_on_one_disk_opens_again_once_it_is_dropped() {
    for failing in 0..2 {
        let machine = Machine::new(1, 2);
        let held = HeldIo::new(&machine.io);
        let options = || machine.options().io(Arc::new(held.clone()));
        let store = options().open(HOME).unwrap();
        let unsynced = PutOptions { durability: Some(Durability::Os), ..PutOptions::default() };
        for key in 0..8 {
            store.put_with(key.to_string(), [0; 10_000], &unsynced).unwrap();
        }

        machine.io.fail(Fault::next(CallKind::Sync, Fail::Eio).under(Machine::disk(failing)));
        let other = held.hold_next(Call::Sync, Machine::disk(1 - failing));
        let reopened = std::thread::scope(|scope| {
            let reopened = scope.spawn(|| {
                store.sync().unwrap_err();
                drop(store);
                options().open(HOME)
            });
            other.wait();
            // Time to go on too early.
            std::thread::sleep(Duration::from_millis(100));
            other.let_go();
            reopened.join().unwrap()
        });
        assert!(reopened.is_ok(), "{reopened:?}");
    }
}

/// Symptom: beside a running server, `kogia` opened the directory above its stores, made a store of their
/// tracks, and compacted tracks away that the server had. Cause: what was locked was a store's home, and
/// not its tracks. Rule: I8, whoever writes to tracks has locked them, by whatever home.
#[test]
fn a_store_has_one_owner_also_by_another_home() {
    let dir = tempfile::tempdir().unwrap();
    let (home, other) = (dir.path().join("a/home"), dir.path().join("other"));
    // The disk that `other` has where it is given none, which is empty when it becomes one.
    let disk = other.join("tracks");
    fs::create_dir_all(&disk).unwrap();
    let store = Options::new().disk(&disk).open(&home).unwrap();
    store.put("key", "value").unwrap();
    for refused in
        [Options::new().open(&other), Options::new().rebuild(&other), Store::open(&other)]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.path().is_some_and(|path| path.starts_with(&disk)), "{error}");
    }
    store.put("later", "value").unwrap();
    // A disk that was drained is the store's again.
    let further = dir.path().join("further");
    let first = store.stats().unwrap().disks[0].id;
    store.add_disk(&further).unwrap();
    store.drain_disk(first, &Default::default()).unwrap();
    store.add_disk(&disk).unwrap();
    store.close().unwrap();
    let store = Store::open(&home).unwrap();
    assert_eq!(store.get("later").unwrap().unwrap(), b"value");
}
