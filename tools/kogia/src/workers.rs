//! A few threads that take work from one queue until it is empty or one of them fails.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::failure::Failure;

const QUEUED_PER_WORKER: usize = 16;

/// Lets `count` threads `work` on what `feed` sends. The first failure, of `feed` or a worker,
/// stops everything and is returned; to `feed` it shows as a send that fails.
pub fn share<T: Send>(
    count: NonZeroUsize,
    feed: impl FnOnce(&Sender<T>) -> Result<(), Failure>,
    work: impl Fn(T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let (sender, receiver) = bounded(count.get() * QUEUED_PER_WORKER);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let spawn = |_| {
            let receiver = receiver.clone();
            scope.spawn(|| work_off(receiver, &stop, &work))
        };
        let workers: Vec<_> = (0..count.get()).map(spawn).collect();
        drop(receiver);
        let result = feed(&sender);
        if result.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        drop(sender);
        workers.into_iter().fold(result, |result, worker| {
            result.and(worker.join().expect("a worker does not panic"))
        })
    })
}

/// Dropping the receiver on return is what tells `feed`, once the last worker has left.
fn work_off<T>(
    receiver: Receiver<T>,
    stop: &AtomicBool,
    work: impl Fn(T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for item in receiver {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Err(failure) = work(item) {
            stop.store(true, Ordering::Relaxed);
            return Err(failure);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const FOUR: NonZeroUsize = NonZeroUsize::new(4).unwrap();

    fn feed_all(sender: &Sender<u64>) -> Result<(), Failure> {
        (0..10_000).try_for_each(|item| sender.send(item)).ok();
        Ok(())
    }

    #[test]
    fn every_item_is_worked_on_once() {
        let sum = AtomicU64::new(0);
        let add = |item| {
            sum.fetch_add(item, Ordering::Relaxed);
            Ok(())
        };
        share(FOUR, feed_all, add).expect("nothing fails");
        assert_eq!(sum.into_inner(), 9_999 * 10_000 / 2);
    }

    #[test]
    fn the_first_failure_stops_the_feeder_and_is_returned() {
        let fail = |item| if item == 7 { Err(Failure::Usage("seven".into())) } else { Ok(()) };
        let failure = share(FOUR, feed_all, fail).expect_err("seven fails");
        assert_eq!(failure.to_string(), "seven");
    }
}
