//! A bound on the bytes that are on their way to the disks.

use std::sync::{Arc, Condvar, Mutex};

/// Bytes that may be taken at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// Bytes taken from a budget, given back on drop: it travels with the request, so that a stream
/// that nobody drives holds nothing back once its bytes are written.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Budget { limit, taken: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Waits until `bytes` can be taken. More than the whole counts as the whole.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        let bytes = bytes.min(self.limit);
        let taken = self.taken.lock().expect("no panic holds it");
        let wait = |taken: &mut usize| *taken + bytes > self.limit;
        let mut taken = self.given_back.wait_while(taken, wait).expect("no panic holds it");
        *taken += bytes;
        Share { budget: self.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.taken.lock().expect("no panic holds it") -= self.bytes;
        self.budget.given_back.notify_all();
    }
}
