//! A bound on the bytes that are on their way to the disks.

use std::sync::{Condvar, Mutex};

/// Bytes that may be taken at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// Bytes taken from a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Budget { limit, taken: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Takes `bytes` if that can be done at once. More than the whole counts as the whole.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<Share<'_>> {
        let bytes = bytes.min(self.limit);
        let mut taken = self.taken.lock().expect("no panic holds it");
        (*taken + bytes <= self.limit).then(|| {
            *taken += bytes;
            Share { budget: self, bytes }
        })
    }

    /// Waits until `bytes` can be taken. More than the whole counts as the whole.
    pub(crate) fn take(&self, bytes: usize) -> Share<'_> {
        let bytes = bytes.min(self.limit);
        let taken = self.taken.lock().expect("no panic holds it");
        let wait = |taken: &mut usize| *taken + bytes > self.limit;
        let mut taken = self.given_back.wait_while(taken, wait).expect("no panic holds it");
        *taken += bytes;
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.taken.lock().expect("no panic holds it") -= self.bytes;
        self.budget.given_back.notify_all();
    }
}
