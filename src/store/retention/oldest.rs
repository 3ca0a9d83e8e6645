//! The oldest of many objects, in bounded memory.

use std::collections::BinaryHeap;

use crate::format::Seq;
use crate::format::entry::Entry;

/// What of an object's memory is not its key.
const OVERHEAD_BYTES: usize = 64;

/// An object that may have to go. Ordered by age, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aged {
    pub(super) created_ms: u64,
    pub(super) seq: Seq,
    pub(super) len: u64,
    pub(super) key: Box<[u8]>,
}

impl Aged {
    pub(super) fn of(key: &[u8], entry: &Entry<'_>) -> Self {
        let (created_ms, len) = (entry.meta.created_ms, entry.meta.len);
        Aged { created_ms, seq: entry.seq, len, key: key.into() }
    }

    /// What orders objects by age.
    pub(super) fn age(&self) -> (u64, Seq) {
        (self.created_ms, self.seq)
    }
}

/// Keeps the oldest of the objects that it is given, as many as fit.
#[derive(Debug)]
pub(super) struct Oldest {
    /// The newest on top.
    heap: BinaryHeap<Aged>,
    bytes: usize,
    max_bytes: usize,
    /// Whether any was left out.
    overflowed: bool,
}

impl Oldest {
    pub(super) fn new(max_bytes: usize) -> Self {
        Oldest { heap: BinaryHeap::new(), bytes: 0, max_bytes, overflowed: false }
    }

    /// Takes an object, or leaves it out.
    pub(super) fn offer(&mut self, created_ms: u64, seq: Seq, len: u64, key: &[u8]) {
        let newest = self.heap.peek().map(Aged::age);
        if self.overflowed && newest < Some((created_ms, seq)) {
            return;
        }
        self.heap.push(Aged { created_ms, seq, len, key: key.into() });
        self.bytes += key.len() + OVERHEAD_BYTES;
        // One stays in any case, so that there is always one that can go.
        while self.bytes > self.max_bytes && self.heap.len() > 1 {
            self.bytes -= self.heap.pop().map_or(0, |left_out| left_out.key.len()) + OVERHEAD_BYTES;
            self.overflowed = true;
        }
    }

    /// The oldest that together have so many bytes, oldest first, and whether those are all that it
    /// takes: where some were left out, there may be more.
    pub(super) fn take(self, bytes: u64) -> (Vec<Aged>, bool) {
        let mut taken = 0;
        let mut oldest = self.heap.into_sorted_vec();
        let enough = oldest.iter().position(|object| {
            taken += object.len;
            taken >= bytes
        });
        oldest.truncate(enough.map_or(oldest.len(), |last| last + 1));
        (oldest, enough.is_some() || !self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(max_bytes: usize, ages: &[u64]) -> Oldest {
        let mut oldest = Oldest::new(max_bytes);
        for (at, age) in ages.iter().enumerate() {
            oldest.offer(*age, Seq(at as u64), 10, b"12345678");
        }
        oldest
    }

    fn ages(oldest: &[Aged]) -> Vec<u64> {
        oldest.iter().map(|object| object.created_ms).collect()
    }

    #[test]
    fn the_oldest_are_kept_whatever_the_order_and_the_room() {
        let all = [5, 3, 9, 1, 7, 2, 8, 6, 4, 0];
        for fit in 1..12 {
            let (oldest, complete) = offered(fit * 72, &all).take(u64::MAX);
            assert_eq!(ages(&oldest), (0..fit.min(10) as u64).collect::<Vec<_>>());
            assert_eq!(complete, fit >= 10);
        }
        let (oldest, complete) = offered(10, &all).take(u64::MAX);
        assert_eq!((ages(&oldest), complete), (vec![0], false));
    }

    #[test]
    fn no_more_are_taken_than_the_bytes_ask_for() {
        for (bytes, count) in [(1, 1), (10, 1), (11, 2), (30, 3), (31, 4), (100, 4)] {
            assert_eq!(offered(1000, &[4, 2, 3, 1]).take(bytes).0.len(), count, "{bytes}");
        }
        assert!(offered(72 * 3, &[4, 2, 3, 1]).take(30).1);
        assert!(!offered(72 * 3, &[4, 2, 3, 1]).take(31).1);
    }

    #[test]
    fn of_one_millisecond_the_one_put_first_is_the_oldest() {
        let (oldest, _) = offered(72 * 2, &[1, 1, 1]).take(u64::MAX);
        assert_eq!(oldest.iter().map(|object| object.seq.0).collect::<Vec<_>>(), [0, 1]);
    }
}
