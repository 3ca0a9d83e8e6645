//! A bound on the bytes that are on their way to the disks.

use std::sync::{Arc, Condvar, Mutex};

/// Bytes that may be taken at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// Who waits is served in turn, or what is large would wait for ever behind ever more that is small.
#[derive(Debug, Default)]
struct State {
    taken: usize,
    next_ticket: u64,
    serving: u64,
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
        Budget { limit, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until `bytes` can be taken. More than the whole counts as the whole.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        let bytes = bytes.min(self.limit);
        let mut state = self.state.lock().expect("no panic holds it");
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let wait = |state: &mut State| state.serving != ticket || state.taken + bytes > self.limit;
        let mut state = self.changed.wait_while(state, wait).expect("no panic holds it");
        state.taken += bytes;
        state.serving += 1;
        if state.serving < state.next_ticket {
            self.changed.notify_all();
        }
        Share { budget: self.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.state.lock().expect("no panic holds it").taken -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_large_is_not_overtaken_by_what_is_small() {
        let budget = Arc::new(Budget::new(10));
        let held = [budget.take(5), budget.take(5)];
        let (tell, told) = channel();
        let wait = |bytes| {
            let (there, tell) = (budget.clone(), tell.clone());
            let tickets = || budget.state.lock().unwrap().next_ticket;
            let before = tickets();
            let thread = std::thread::spawn(move || {
                let share = there.take(bytes);
                tell.send(bytes).unwrap();
                share
            });
            while tickets() == before {
                std::thread::yield_now();
            }
            thread
        };
        let threads = [wait(10), wait(1), wait(1)];
        let [first, second] = held;
        drop(first);
        let overtaken = told.recv_timeout(Duration::from_millis(50));
        assert!(overtaken.is_err(), "there is room for what is small, but it is not its turn");
        drop(second);
        assert_eq!(told.recv(), Ok(10));
        let [large, small, smallest] = threads;
        drop(large.join());
        assert_eq!((told.recv(), told.recv()), (Ok(1), Ok(1)));
        drop((small.join(), smallest.join()));
        assert_eq!(budget.state.lock().unwrap().taken, 0);
    }
}
