//! Pins: what a reader may still look at is not freed under it.
//!
//! Invariant I4: freed chunks are punched, refilled or unlinked only when the batch that freed
//! them is in a checkpoint, and no pin is older than it. Readers pin first and look up then: a
//! reader that pinned batch `n` sees at least all of `n`, so what batch `n` or an earlier one has
//! freed is out of its reach, and what a later one frees waits for the pin.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Readers spread over this many tables, so that they seldom wait for each other.
const SHARDS: usize = 16;

/// The last batch that readers can see, and the pins on earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    visible: AtomicU64,
    next_shard: AtomicUsize,
    shards: [Mutex<BTreeMap<u64, usize>>; SHARDS],
}

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
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut pins = self.shards[shard].lock().expect("no panic holds it");
        let batch = batch();
        *pins.entry(batch).or_default() += 1;
        Pin { pins: self, shard, batch }
    }

    /// What was freed by this batch or an earlier one is out of every reader's reach.
    pub(crate) fn oldest(&self) -> u64 {
        // Before the shards: a reader that pins behind this has a batch at least as great.
        let visible = self.visible();
        let oldest = self.shards.iter().filter_map(|shard| {
            let pins = shard.lock().expect("no panic holds it");
            pins.first_key_value().map(|(batch, _)| *batch)
        });
        oldest.min().unwrap_or(visible).min(visible)
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.pins.shards[self.shard].lock().expect("no panic holds it");
        if let Some(count) = pins.get_mut(&self.batch) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.batch);
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
}
