//! A lock for each key, of whatever bucket: whoever copies a huge object under one holds up nobody else.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::data::keys::BucketId;

static HELD: Mutex<BTreeSet<(BucketId, String)>> = Mutex::new(BTreeSet::new());
static FREED: Condvar = Condvar::new();

/// Held by whoever changes the rows of a key in a bucket with versions, or tags in any.
pub struct KeyLock((BucketId, String));

impl KeyLock {
    /// Waits until nobody else holds the key. Blocks.
    pub fn take(bucket: BucketId, name: &str) -> Self {
        let key = (bucket, name.to_owned());
        // Who panicked has left the rows as a crash would.
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = FREED
            .wait_while(held, |held| held.contains(&key))
            .unwrap_or_else(PoisonError::into_inner);
        held.insert(key.clone());
        KeyLock(key)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_holds_a_key_and_others_hold_others() {
        let bucket = BucketId(u32::MAX);
        let _held: Vec<_> = (0..1000).map(|i| KeyLock::take(bucket, &i.to_string())).collect();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _lock = KeyLock::take(bucket, "key");
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
    }
}
