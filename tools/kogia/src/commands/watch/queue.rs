//! Files that wait for their time, each once.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::folders::Found;

/// Files by the time at which each is due.
#[derive(Default)]
pub struct Queue {
    due: BTreeSet<(Instant, PathBuf)>,
    waiting: HashMap<PathBuf, (Instant, bool)>,
}

impl Queue {
    /// Adds a file, or sets its time anew.
    pub fn push(&mut self, Found { path, is_complete }: Found, due: Instant) {
        let mut path = path;
        if let Some((before, _)) = self.waiting.insert(path.clone(), (due, is_complete)) {
            let old = (before, path);
            self.due.remove(&old);
            path = old.1;
        }
        self.due.insert((due, path));
    }

    /// Takes the first file that is due; of one time, in the order of the paths.
    pub fn pop(&mut self, now: Instant) -> Option<Found> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, path) = self.due.pop_first()?;
        let (_, is_complete) = self.waiting.remove(&path)?;
        Some(Found { path, is_complete })
    }

    /// How long it is until the next file is due; `None` where there is none.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.first().map(|(due, _)| due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_once_at_the_time_that_was_set_last() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let found = |path: &str, is_complete| Found { path: path.into(), is_complete };
        queue.push(found("b", false), at(10));
        queue.push(found("a", true), at(10));
        queue.push(found("c", false), at(5));
        queue.push(found("c", true), at(20));
        assert_eq!(queue.wait(start), Some(Duration::from_millis(10)));
        assert_eq!(queue.pop(at(9)), None);
        assert_eq!(queue.pop(at(10)), Some(found("a", true)));
        assert_eq!(queue.pop(at(19)), Some(found("b", false)));
        assert_eq!(queue.pop(at(19)), None);
        assert_eq!(queue.pop(at(20)), Some(found("c", true)));
        assert_eq!((queue.pop(at(99)), queue.wait(start)), (None, None));
    }
}
