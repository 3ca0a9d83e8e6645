//! The apply lock: the index changes under it, one batch at a time, in the order in which the
//! changes came.
//!
//! It is a queue rather than a plain mutex, because compaction takes it again and again: with a
//! mutex it could take it many times while a put waits. Here a swap lines up like everyone else,
//! and only one at a time, so that nobody waits for more than one of them.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::index::Books;

/// The lock around the books.
#[derive(Debug)]
pub(crate) struct ApplyLock {
    queue: Mutex<Queue>,
    turn: Condvar,
    /// Held by whoever's turn it is, so never waited for.
    books: Mutex<Books>,
    /// Held by the one compaction that lines up.
    swap: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    serving: u64,
    /// Swaps whose turn has come so far.
    swaps: u64,
    is_swapping: bool,
    /// The most swaps that anybody else has waited for.
    most_waited: u64,
}

/// The books, while it is one's turn.
pub(crate) struct ApplyGuard<'a> {
    lock: &'a ApplyLock,
    books: Option<MutexGuard<'a, Books>>,
    _swap: Option<MutexGuard<'a, ()>>,
}

impl ApplyLock {
    pub(crate) fn new(books: Books) -> Self {
        ApplyLock {
            queue: Mutex::default(),
            turn: Condvar::new(),
            books: Mutex::new(books),
            swap: Mutex::default(),
        }
    }

    /// Waits for one's turn.
    pub(crate) fn lock(&self) -> ApplyGuard<'_> {
        let mut queue = self.queue();
        let before = queue.swaps - u64::from(queue.is_swapping);
        queue = self.wait(queue);
        queue.most_waited = queue.most_waited.max(queue.swaps - before);
        drop(queue);
        self.guard(None)
    }

    /// Waits for one's turn, for a swap of compaction.
    pub(crate) fn lock_to_swap(&self) -> ApplyGuard<'_> {
        let swap = self.swap.lock().expect("no panic holds it");
        let mut queue = self.wait(self.queue());
        queue.swaps += 1;
        queue.is_swapping = true;
        drop(queue);
        self.guard(Some(swap))
    }

    /// The most swaps of compaction that any other change has waited for.
    pub(crate) fn most_swaps_waited_for(&self) -> u64 {
        self.queue().most_waited
    }

    fn wait<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let ticket = queue.next;
        queue.next += 1;
        self.turn.wait_while(queue, |queue| queue.serving != ticket).expect("no panic holds it")
    }

    fn guard<'a>(&'a self, swap: Option<MutexGuard<'a, ()>>) -> ApplyGuard<'a> {
        let mut guard = ApplyGuard { lock: self, books: None, _swap: swap };
        // A panic under the lock may have left the books half changed: everyone after panics, too.
        // The guard is there already, so that each passes the turn on.
        guard.books = Some(self.books.lock().expect("no panic holds it"));
        guard
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no panic holds it")
    }
}

impl Drop for ApplyGuard<'_> {
    fn drop(&mut self) {
        self.books = None;
        let mut queue = self.lock.queue();
        queue.serving += 1;
        queue.is_swapping = false;
        drop(queue);
        self.lock.turn.notify_all();
    }
}

impl Deref for ApplyGuard<'_> {
    type Target = Books;

    fn deref(&self) -> &Books {
        self.books.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for ApplyGuard<'_> {
    fn deref_mut(&mut self) -> &mut Books {
        self.books.as_mut().expect("there until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::format::StoreId;

    #[test]
    fn after_a_panic_under_the_lock_everyone_panics_and_nobody_waits_for_ever() {
        let lock = ApplyLock::new(Books::new(StoreId([1; 16])));
        let panics =
            || std::thread::scope(|scope| scope.spawn(|| drop(lock.lock())).join().is_err());
        let first = std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                let _guard = lock.lock();
                panic!("under the lock");
            });
            first.join()
        });
        assert!(first.is_err());
        assert!(panics() && panics());
    }

    #[test]
    fn nobody_waits_for_more_than_one_swap_however_many_compactions_there_are() {
        let lock = ApplyLock::new(Books::new(StoreId([1; 16])));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        lock.lock_to_swap().state.objects += 1;
                    }
                });
            }
            // On a busy machine the others may come late.
            let mut rounds = 0;
            while rounds < 2000 || lock.most_swaps_waited_for() == 0 {
                lock.lock().state.objects += 1;
                rounds += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(lock.most_swaps_waited_for(), 1);
    }
}
