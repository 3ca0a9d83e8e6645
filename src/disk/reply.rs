//! The answer to one request. It is given once, and one caller waits for it.
//!
//! Who waits for a channel looks again and again and yields, before it sleeps; where tens of callers wait for
//! one sync, that took a third of all processor time. And to wake a caller takes about as long as to put a small
//! value, so that those who are answered together wake each other.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Where the answer is given. Who drops it without one has died.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Slot<T>>);

/// Where the answer comes.
#[derive(Debug)]
pub(crate) struct Outcome<T>(Arc<Slot<T>>);

/// Whoever wakes others wakes so many, and each of them as many of the rest. It is the first thing that a thread
/// does that was woken; one that seldom has a processor, though, holds up those whom it wakes.
const WOKEN_BY_ONE: usize = 4;

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

#[derive(Debug)]
struct State<T> {
    answer: Answer<T>,
    /// Whether somebody sleeps until it is given.
    is_waited_for: bool,
    /// Whom to wake then: they were answered already.
    others: Vec<Reply<T>>,
}

#[derive(Debug)]
enum Answer<T> {
    Awaited,
    Given(Result<T>),
    /// Nobody gives one any more: it was taken, or never came.
    Gone,
}

pub(crate) fn reply<T>() -> (Reply<T>, Outcome<T>) {
    let state = State { answer: Answer::Awaited, is_waited_for: false, others: Vec::new() };
    let slot = Arc::new(Slot { state: Mutex::new(state), came: Condvar::new() });
    (Reply(slot.clone()), Outcome(slot))
}

/// Gives all of them their answers.
pub(crate) fn give_all<T>(answers: impl IntoIterator<Item = (Reply<T>, Result<T>)>) {
    let mut sleeping = Vec::new();
    for (reply, answer) in answers {
        // Who does not wait yet may be long in coming, and wakes nobody.
        if reply.0.give(answer) {
            sleeping.push(reply);
        }
    }
    wake(sleeping);
}

/// Wakes those who were answered: some at once, who wake the others.
fn wake<T>(sleeping: Vec<Reply<T>>) {
    let each = sleeping.len().div_ceil(WOKEN_BY_ONE);
    let mut sleeping = sleeping.into_iter();
    while let Some(first) = sleeping.next() {
        let others = sleeping.by_ref().take(each - 1).collect();
        first.0.lock().is_to_wake(others);
    }
}

impl<T> Reply<T> {
    /// Wakes who waits.
    pub(crate) fn give(self, answer: Result<T>) {
        self.0.give(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(state.answer, Answer::Awaited) {
            state.answer = Answer::Gone;
        }
        let is_waited_for = state.is_waited_for;
        drop(state);
        if is_waited_for {
            self.0.came.notify_one();
        }
    }
}

impl<T> Outcome<T> {
    /// Waits for the answer.
    pub(crate) fn wait(self) -> Result<T> {
        let mut state = self.0.lock();
        state.is_waited_for = true;
        let is_awaited = |state: &mut State<T>| matches!(state.answer, Answer::Awaited);
        let came = self.0.came.wait_while(state, is_awaited);
        let mut state = came.unwrap_or_else(PoisonError::into_inner);
        let answer = std::mem::replace(&mut state.answer, Answer::Gone);
        let others = std::mem::take(&mut state.others);
        drop(state);
        wake(others);
        match answer {
            Answer::Given(answer) => answer,
            _ => Err(Error::new(ErrorKind::Poisoned, "the disk's writer thread has died")),
        }
    }

    /// Whether it was given already.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self.0.lock().answer, Answer::Given(_))
    }
}

impl<T> Slot<T> {
    /// Whether somebody sleeps who is to be woken.
    fn give(&self, answer: Result<T>) -> bool {
        let mut state = self.lock();
        state.answer = Answer::Given(answer);
        state.is_waited_for
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Whoever waits wakes these; where he has gone already they are woken at once, as they are dropped.
    fn is_to_wake(&mut self, others: Vec<Reply<T>>) {
        if matches!(self.answer, Answer::Given(_)) {
            self.others = others;
        }
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
    fn all_are_woken_whether_they_wait_or_not_and_whoever_has_gone() {
        let (mut replies, mut threads) = (Vec::new(), Vec::new());
        for number in 0..100 {
            let (reply, outcome) = reply();
            replies.push((reply, Ok(number)));
            match number % 5 {
                0 => drop(outcome),
                // Comes later.
                1 => threads.push(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    outcome.wait()
                })),
                _ => threads.push(std::thread::spawn(move || outcome.wait())),
            }
        }
        std::thread::sleep(Duration::from_millis(10));
        give_all(replies);
        let answers: Vec<_> =
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
        let expected: Vec<_> = (0..100).filter(|number| number % 5 != 0).collect();
        assert_eq!(answers, expected);
    }

    #[test]
    fn who_does_not_wait_yet_has_nobody_to_wake() {
        let (later, comes_later) = reply();
        let (waited, waits) = reply();
        let thread = std::thread::spawn(move || waits.wait());
        while !waited.0.lock().is_waited_for {
            std::thread::yield_now();
        }
        give_all([(later, Ok(1)), (waited, Ok(2))]);
        assert_eq!(thread.join().unwrap().unwrap(), 2);
        assert_eq!(comes_later.wait().unwrap(), 1);
    }

    #[test]
    fn those_of_one_who_has_gone_are_woken() {
        let ((first, gone), (second, waits)) = (reply(), reply());
        let thread = std::thread::spawn(move || waits.wait());
        first.0.give(Ok(1));
        second.0.give(Ok(2));
        gone.wait().unwrap();
        wake(vec![first, second]);
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
