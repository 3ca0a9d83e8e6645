//! One owner at a time, and none when nobody has the store open.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use kogia::io::{Io, RealIo};

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
