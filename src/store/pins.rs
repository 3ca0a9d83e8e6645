//! Pins: what a reader may still look at is not freed under it.
//!
//! Invariant I4: freed chunks are punched, refilled or unlinked only when the batch that freed
//! them is in a checkpoint, and no pin is older than it. Readers pin first and look up then: a
//! reader that pinned batch `n` sees at least all of `n`, so what batch `n` or an earlier one has
//! freed is out of its reach, and what a later one frees waits for the pin.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Readers spread over this many tables, so that they seldom wait for each other.
const SHARDS: usize = 16;

thread_local! {
    /// The table that a thread's pins are in: two processors that take turns with one wait for it to
    /// come from the other.
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

/// The last batch that readers can see, and the pins on earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    visible: AtomicU64,
    shards: [Shard; SHARDS],
}

/// How many pins there are on which batches, in the batches' order: most come and go at the end, and
/// take no memory of their own. Aligned, lest a table shares a line of the processor's cache with
/// another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<(u64, usize)>>);

/// A reader's hold on all that was there when it was taken.
#[derive(Debug)]
pub(crate) struct Pin<'a> {
    pins: &'a Pins,
    shard: usize,
    batch: u64,
}

impl Pins {
    /// Says that readers see batch `number` from now on.
    pub(crate) fn publish(&self, number: u64) {
        self.visible.store(number, Ordering::Release);
    }

    /// The last batch that readers see.
    pub(crate) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    /// Holds what is there now.
    pub(crate) fn pin(&self) -> Pin<'_> {
        // Under the shard's lock: whoever computes the oldest pin sees either this one, or a
        // look-up that has not begun and will find what is there then.
        self.pin_batch(|| self.visible())
    }

    /// Holds all that there is, what was freed long ago, too: no freed chunk is reused and no track
    /// unlinked while this lives, but for what is under way already.
    pub(crate) fn hold_all(&self) -> Pin<'_> {
        self.pin_batch(|| 0)
    }

    fn pin_batch(&self, batch: impl FnOnce() -> u64) -> Pin<'_> {
        let shard = SHARD.with(|shard| *shard);
        let mut pins = self.shards[shard].0.lock().expect("no panic holds it");
        let batch = batch();
        match pins.binary_search_by_key(&batch, |(batch, _)| *batch) {
            Ok(at) => pins[at].1 += 1,
            Err(at) => pins.insert(at, (batch, 1)),
        }
        Pin { pins: self, shard, batch }
    }

    /// What was freed by this batch or an earlier one is out of every reader's reach.
    pub(crate) fn oldest(&self) -> u64 {
        // Before the shards: a reader that pins behind this has a batch at least as great.
        let visible = self.visible();
        let oldest = self.shards.iter().filter_map(|shard| {
            let pins = shard.0.lock().expect("no panic holds it");
            pins.first().map(|(batch, _)| *batch)
        });
        oldest.min().unwrap_or(visible).min(visible)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.pins.shards[self.shard].0.lock().expect("no panic holds it");
        if let Ok(at) = pins.binary_search_by_key(&self.batch, |(batch, _)| *batch) {
            pins[at].1 -= 1;
            if pins[at].1 == 0 {
                pins.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pin_holds_until_it_is_dropped() {
        let pins = Pins::default();
        pins.publish(3);
        let old = pins.pin();
        pins.publish(8);
        let new = pins.pin();
        assert_eq!(pins.oldest(), 3);
        drop(old);
        assert_eq!(pins.oldest(), 8);
        pins.publish(9);
        assert_eq!(pins.oldest(), 8);
        drop(new);
        assert_eq!(pins.oldest(), 9);
    }

    #[test]
    fn pins_of_several_threads_hold_one_by_one_in_whatever_order_they_end() {
        let pins = Pins::default();
        pins.publish(1);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..2 * SHARDS).map(|_| scope.spawn(|| [pins.pin(), pins.pin()])).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        pins.publish(2);
        let (second, all) = (pins.pin(), pins.hold_all());
        assert_eq!(pins.oldest(), 0, "behind pins on later batches");
        drop(all);
        for pin in taken {
            assert_eq!(pins.oldest(), 1);
            drop(pin);
        }
        pins.publish(3);
        assert_eq!(pins.oldest(), 2);
        drop(second);
        assert_eq!(pins.oldest(), 3);
    }
}
