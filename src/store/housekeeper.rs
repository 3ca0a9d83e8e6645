//! The store's own thread: interval syncs, checkpoints, what becomes free after them, and what has
//! expired.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Shared;
use super::retention::Pass;
use crate::error::{Error, ErrorKind, Result};

/// The thread that keeps a store tidy.
#[derive(Debug)]
pub(crate) struct Housekeeper(Option<JoinHandle<()>>);

impl Housekeeper {
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self> {
        let shared_there = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kogia-house".into())
            .spawn(move || run(&shared_there))
            .map_err(|e| Error::io("start a thread for", &shared.home, e))?;
        Ok(Housekeeper(Some(thread)))
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self, shared: &Shared) {
        shared.checkpoints.stop();
        if let Some(thread) = self.0.take() {
            // It does not panic; if it did, the store is closed all the same.
            let _ = thread.join();
        }
    }
}

/// A checkpoint is due when passes have deleted this part of a track's bytes: a limit is one of room
/// on disks, and checkpoints give room back.
const DELETED_PART: u64 = 4;

fn run(shared: &Shared) {
    let (sync_interval, interval) =
        (shared.options.sync_interval, shared.options.checkpoint_interval);
    let tick = sync_interval.min(interval).max(Duration::from_millis(1));
    let mut checkpointed = Instant::now();
    let (mut pass, mut deleted_bytes) = (None, 0);
    loop {
        // A pass goes on between all else, a step at a time.
        let signals = shared.checkpoints.sleep(if pass.is_some() { Duration::ZERO } else { tick });
        if signals.stop {
            return;
        }
        shared.sync_if_due();
        pass = pass.or_else(|| Pass::if_due(shared)).and_then(|pass| {
            let (pass, bytes) = step(pass, shared);
            deleted_bytes += bytes;
            pass
        });
        let has_deleted = deleted_bytes >= shared.options.track_bytes / DELETED_PART;
        // Where there is a pool, what has expired is for those who come next.
        let wants_room = signals.checkpoint || has_deleted && !shared.options.refill;
        if wants_room || has_deleted || signals.flush || checkpointed.elapsed() >= interval {
            // Where room is wanted writers wait for it, or they would take as much meanwhile.
            match if wants_room { shared.tidy_before_writes() } else { shared.tidy_by_the_way() } {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Full => {
                    tracing::warn!(%error, "no checkpoint for want of room");
                }
                Err(error) => tracing::error!(%error, "the checkpoint failed"),
            }
            (checkpointed, deleted_bytes) = (Instant::now(), 0);
        }
    }
}

/// A step of a pass; gives the pass if it is to go on, and the bytes that were deleted.
fn step(mut pass: Pass, shared: &Shared) -> (Option<Pass>, u64) {
    let before = pass.deleted_bytes();
    let outcome = pass.step(shared);
    let bytes = pass.deleted_bytes() - before;
    let next = match outcome {
        Ok(true) => Some(pass),
        // What was put while it came to its end may have made another one due.
        Ok(false) => Pass::if_due(shared),
        Err(error) => {
            tracing::warn!(%error, "what has expired could not be deleted");
            None
        }
    };
    (next, bytes)
}
