//! The answer to one request. It is given once, and one caller waits for it.
//!
//! Who waits for a channel looks again and again and yields, before it sleeps; where tens of callers wait for
//! one sync, that took a third of all processor time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Where the answer is given. Who drops it without one has died.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Slot<T>>);

/// Where the answer comes.
#[derive(Debug)]
pub(crate) struct Outcome<T>(Arc<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    answer: Mutex<Answer<T>>,
    came: Condvar,
}

#[derive(Debug)]
enum Answer<T> {
    Awaited,
    Given(Result<T>),
    /// Nobody gives one any more: it was taken, or never came.
    Gone,
}

pub(crate) fn reply<T>() -> (Reply<T>, Outcome<T>) {
    let slot = Arc::new(Slot { answer: Mutex::new(Answer::Awaited), came: Condvar::new() });
    (Reply(slot.clone()), Outcome(slot))
}

impl<T> Reply<T> {
    /// Wakes who waits.
    pub(crate) fn give(self, answer: Result<T>) {
        *self.0.lock() = Answer::Given(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut answer = self.0.lock();
        if matches!(*answer, Answer::Awaited) {
            *answer = Answer::Gone;
        }
        drop(answer);
        self.0.came.notify_one();
    }
}

impl<T> Outcome<T> {
    /// Waits for the answer.
    pub(crate) fn wait(self) -> Result<T> {
        let is_awaited = |answer: &mut Answer<T>| matches!(answer, Answer::Awaited);
        let came = self.0.came.wait_while(self.0.lock(), is_awaited);
        let mut answer = came.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *answer, Answer::Gone) {
            Answer::Given(answer) => answer,
            _ => Err(Error::new(ErrorKind::Poisoned, "the disk's writer thread has died")),
        }
    }

    /// Whether it was given already.
    pub(crate) fn is_given(&self) -> bool {
        matches!(*self.0.lock(), Answer::Given(_))
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Answer<T>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for all of them, those behind a failure too: with a sync still under way, a store that is
/// dropped after it would be held open by the disk's thread.
pub(crate) fn wait_for_all(outcomes: Vec<Outcome<()>>) -> Result<()> {
    let mut all = Ok(());
    for outcome in outcomes {
        all = all.and(outcome.wait());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_comes_before_or_while_it_is_waited_for() {
        let (given, outcome) = reply();
        given.give(Ok(1));
        assert!(outcome.is_given());
        assert_eq!(outcome.wait().unwrap(), 1);
        let (given, outcome) = reply();
        let thread = std::thread::spawn(move || outcome.wait());
        std::thread::sleep(Duration::from_millis(5));
        given.give(Ok(2));
        assert_eq!(thread.join().unwrap().unwrap(), 2);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_died() {
        let (given, outcome) = reply::<()>();
        let thread = std::thread::spawn(move || outcome.wait());
        std::thread::sleep(Duration::from_millis(5));
        drop(given);
        assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Poisoned);
    }

    #[test]
    fn a_failure_does_not_keep_anybody_from_waiting_for_the_others() {
        let (replies, outcomes): (Vec<_>, Vec<_>) = (0..3).map(|_| reply()).unzip();
        let thread = std::thread::spawn(move || wait_for_all(outcomes));
        let mut replies = replies.into_iter();
        drop(replies.next());
        std::thread::sleep(Duration::from_millis(5));
        assert!(!thread.is_finished());
        replies.for_each(|reply| reply.give(Ok(())));
        assert!(thread.join().unwrap().is_err());
    }
}
