//! Looking up what a batch replaces before its turn comes to be applied.
//!
//! What the keys of a chain meant before has to be known when it is applied. The caller of a batch looks its
//! keys up itself, while the disk's thread or the device has the batch, and without the apply lock. What it finds
//! counts only if no other change was applied since, so that it is what would be found under the lock; where
//! several callers write at once none looks ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use super::Shared;
use crate::index::Ahead;

/// For fewer records it is not worth it.
const MIN_RECORDS: usize = 64;
/// Nor for larger ones: what is looked up is little beside what is written, and a caller who appends so much is
/// better at it.
const MAX_RECORD_BYTES: u64 = 4 << 10;

/// Whether it is worth it for a chain of so many records, with so many bytes.
pub(crate) fn is_worth_it(records: usize, bytes: u64) -> bool {
    may_be_looked_up(records) && bytes / records as u64 <= MAX_RECORD_BYTES
}

fn may_be_looked_up(records: usize) -> bool {
    records >= MIN_RECORDS
}

/// Where the caller leaves what it has found for the disk's thread.
#[derive(Default)]
pub(crate) struct LookAhead {
    /// Held while the caller looks up.
    found: Mutex<Option<Ahead>>,
    /// How many chains have asked.
    asked: AtomicU64,
}

/// The right to look ahead for one chain.
pub(crate) struct Turn(u64);

impl LookAhead {
    /// Before the chain is submitted.
    pub(crate) fn turn(&self) -> Turn {
        Turn(self.asked.load(Ordering::Acquire))
    }

    /// What was found for a chain of so many records; waits for a caller that is at it.
    pub(crate) fn take(&self, records: usize) -> Option<Ahead> {
        if !may_be_looked_up(records) {
            return None;
        }
        self.asked.fetch_add(1, Ordering::AcqRel);
        self.found.lock().expect("no panic holds it").take()
    }
}

impl Shared {
    /// Looks up objects' keys for the chain that was just submitted, unless that is applied already.
    pub(crate) fn look_ahead(&self, turn: &Turn, keys: &[&[u8]]) {
        let ahead = &self.look_ahead;
        let mut found = match ahead.found.try_lock() {
            Ok(found) => found,
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(error)) => panic!("{error}"),
        };
        if ahead.asked.load(Ordering::Acquire) != turn.0 {
            return;
        }
        // Before the look-up: if this is still the last batch afterwards, nothing came between.
        let batch = self.pins.visible();
        // What fails here, fails again when the chain is applied, and is told then.
        *found = self.index.look_ahead(batch, keys).ok();
    }
}
