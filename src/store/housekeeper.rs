//! The store's own thread: interval syncs, checkpoints, and what becomes free after them.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Shared;
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

fn run(shared: &Shared) {
    let (sync_interval, interval) =
        (shared.options.sync_interval, shared.options.checkpoint_interval);
    let tick = sync_interval.min(interval).max(Duration::from_millis(1));
    let (mut synced, mut checkpointed) = (Instant::now(), Instant::now());
    loop {
        let signals = shared.checkpoints.sleep(tick);
        if signals.stop {
            return;
        }
        if synced.elapsed() >= sync_interval {
            if shared.checkpoints.take_unsynced()
                && let Err(error) = shared.sync()
            {
                tracing::error!(%error, "the interval's sync failed");
            }
            synced = Instant::now();
        }
        if signals.checkpoint || checkpointed.elapsed() >= interval {
            match shared.tidy() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Full => {
                    tracing::warn!(%error, "no checkpoint for want of room");
                }
                Err(error) => tracing::error!(%error, "the checkpoint failed"),
            }
            checkpointed = Instant::now();
        }
    }
}
