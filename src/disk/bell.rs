//! Wakes a disk's thread that waits for a crowd: once, when all of it is there. To be woken by each of tens of
//! callers takes the thread about as long as a sync.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Rung by whoever has sent a job.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// How many jobs are to be there when it rings; 0 where nobody listens.
    at: AtomicUsize,
    /// Whether a job has come that is not to wait for others.
    is_urgent: AtomicBool,
    /// Held between the last look and the sleep.
    looking: Mutex<()>,
    rings: Condvar,
}

impl Bell {
    /// Sleeps until there are so many jobs, one of them urgent, or it is `until`; `there` counts them.
    pub(super) fn wait(&self, jobs: usize, until: Instant, there: impl Fn() -> usize) {
        let mut looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Before it is counted, as the others send before they look here: one of both sees the other. And
            // again after each ring, which may be of somebody who was late for the wait before.
            self.at.store(jobs, Ordering::SeqCst);
            if there() >= jobs || self.is_urgent.swap(false, Ordering::SeqCst) {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.rings.wait_timeout(looking, left);
            looking = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.at.store(0, Ordering::SeqCst);
    }

    /// Says that a job was sent.
    pub(super) fn sent(&self, is_urgent: bool, there: impl Fn() -> usize) {
        if is_urgent {
            self.is_urgent.store(true, Ordering::SeqCst);
        }
        let at = self.at.load(Ordering::SeqCst);
        let rings = at > 0 && (is_urgent || there() >= at);
        if rings && self.at.swap(0, Ordering::SeqCst) > 0 {
            drop(self.looking.lock().unwrap_or_else(PoisonError::into_inner));
            self.rings.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A bell, and how many jobs were sent beside it.
    type Shared = Arc<(Bell, AtomicUsize)>;

    fn wait(shared: &Shared, jobs: usize, most: Duration) -> usize {
        let there = || shared.1.load(Ordering::SeqCst);
        shared.0.wait(jobs, Instant::now() + most, there);
        there()
    }

    fn send(shared: &Shared, is_urgent: bool) {
        let there = 1 + shared.1.fetch_add(1, Ordering::SeqCst);
        shared.0.sent(is_urgent, || there);
    }

    fn sleeper(shared: &Shared, jobs: usize) -> thread::JoinHandle<usize> {
        let beside = shared.clone();
        let thread = thread::spawn(move || wait(&beside, jobs, Duration::from_secs(3600)));
        while shared.0.at.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        thread
    }

    #[test]
    fn the_thread_sleeps_until_all_have_sent() {
        let shared = Shared::default();
        let sleeper = sleeper(&shared, 3);
        (0..3).for_each(|_| send(&shared, false));
        assert_eq!(sleeper.join().unwrap(), 3);
        // Who was there before is counted, too.
        assert_eq!(wait(&shared, 3, Duration::from_secs(3600)), 3);
    }

    #[test]
    fn what_is_urgent_waits_for_nobody_before_the_sleep_or_in_it() {
        let shared = Shared::default();
        let sleeper = sleeper(&shared, 3);
        send(&shared, false);
        send(&shared, true);
        assert_eq!(sleeper.join().unwrap(), 2);
        send(&shared, true);
        assert_eq!(wait(&shared, 9, Duration::from_secs(3600)), 3);
    }

    #[test]
    fn who_rings_late_for_another_wait_takes_nothing_from_this_one() {
        let shared = Shared::default();
        let sleeper = sleeper(&shared, 2);
        assert_eq!(shared.0.at.swap(0, Ordering::SeqCst), 2);
        drop(shared.0.looking.lock().unwrap());
        shared.0.rings.notify_one();
        while shared.0.at.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        (0..2).for_each(|_| send(&shared, false));
        assert_eq!(sleeper.join().unwrap(), 2);
    }

    #[test]
    fn nobody_is_waited_for_longer_than_that() {
        let shared = Shared::default();
        assert_eq!(wait(&shared, 1, Duration::from_millis(2)), 0);
        assert_eq!(shared.0.at.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn no_job_is_missed_that_comes_as_the_thread_falls_asleep() {
        const ROUNDS: usize = 10_000;
        let (shared, rounds) = (Shared::default(), Arc::new(AtomicUsize::new(0)));
        let (beside, begun) = (shared.clone(), rounds.clone());
        let sender = thread::spawn(move || {
            for round in 1..=ROUNDS {
                while begun.load(Ordering::SeqCst) < round {
                    std::hint::spin_loop();
                }
                send(&beside, false);
            }
        });
        for round in 1..=ROUNDS {
            rounds.store(round, Ordering::SeqCst);
            // If it were missed, this would not end: nothing comes behind it.
            assert_eq!(wait(&shared, round, Duration::from_secs(3600)), round);
        }
        sender.join().unwrap();
    }
}
