//! Keys behind all others below their prefix are new and are not looked up: whatever was put or deleted before,
//! nothing is taken to be new that is there. What were overwritten unseen would be counted twice, and its room
//! would never come back; verifying says so.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use kogia::io::sim::Keep;
use kogia::{Batch, DeleteOptions, Durability, Store};

use crate::machine::{Machine, assert_sound, assert_value, compact, put_os};

/// Where the keys below each prefix go on, and what there is.
struct Keys {
    random: u64,
    next: [u64; 4],
    there: BTreeMap<String, String>,
}

impl Keys {
    fn below(&mut self, most: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % most
    }

    /// Mostly the next one below its prefix, else one that may be there.
    fn key(&mut self) -> String {
        const PREFIXES: [&str; 4] = ["", "camera/", "camera/deep/", "other/"];
        let prefix = self.below(4) as usize;
        let next = self.next[prefix];
        let number = match self.below(8) {
            0 => self.below(next + 1),
            1 => next + self.below(20),
            _ => next + 1,
        };
        self.next[prefix] = number.max(next);
        format!("{}{number:05}", PREFIXES[prefix])
    }

    fn write_batch(&mut self, store: &Store, round: u64) {
        let mut batch = Batch::new();
        for number in 0..4 + self.below(120) {
            let key = self.key();
            if self.below(10) == 0 {
                batch.delete(&key);
                self.there.remove(&key);
            } else {
                let value = format!("{round} {number}");
                batch.put(&key, &value);
                self.there.insert(key, value);
            }
        }
        store.write(batch).unwrap();
    }

    fn put(&mut self, store: &Store, round: u64) {
        let (key, value) = (self.key(), format!("alone {round}"));
        put_os(store, &key, value.as_bytes());
        self.there.insert(key, value);
    }

    /// Deletes all below a prefix: more rows than one goes over for a bound.
    fn delete_all(&mut self, store: &Store, prefix: &str) {
        let keys: Vec<_> =
            self.there.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        for key in keys {
            assert!(store.delete(&key).unwrap());
            self.there.remove(&key);
        }
    }

    #[track_caller]
    fn check(&self, store: &Store) {
        assert_eq!(store.stats().unwrap().objects, self.there.len() as u64);
        for (key, value) in &self.there {
            assert_value(store, key, value.as_bytes());
        }
        assert_sound(store);
    }
}

#[test]
fn nothing_is_taken_to_be_new_that_is_there() {
    for seed in 0..12 {
        let mut machine = Machine::new(seed, 2);
        let mut store = machine.open();
        let mut keys = Keys { random: seed, next: [0; 4], there: BTreeMap::new() };
        for round in 0..60 {
            match keys.below(16) {
                0 => store.checkpoint().unwrap(),
                1 => drop(compact(&store)),
                2 if round > 30 => keys.delete_all(&store, "camera/"),
                3 => {
                    store.sync().unwrap();
                    machine = machine.cut(store, Keep::Nothing);
                    store = machine.open();
                }
                4..=8 => keys.put(&store, round),
                _ => keys.write_batch(&store, round),
            }
        }
        keys.check(&store);
        drop(store);
        machine.lose_index();
        keys.check(&machine.rebuild());
    }
}

#[test]
fn one_key_before_many_that_were_deleted_is_not_taken_to_be_new() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    // One by one: a batch would have its bound learnt.
    let keys: Vec<_> = (0..1500).map(|number| format!("camera/{number:05}")).collect();
    keys.iter().for_each(|key| put_os(&store, key, b"first"));
    for key in &keys[1..] {
        let os = DeleteOptions { durability: Some(Durability::Os), ..DeleteOptions::default() };
        assert!(store.delete_with(key, &os).unwrap());
    }
    let mut batch = Batch::new();
    for key in &keys[..10] {
        batch.put(key, "second");
    }
    store.write(batch).unwrap();
    assert_eq!(store.stats().unwrap().objects, 10);
    assert_sound(&store);
}

#[test]
fn several_threads_that_put_the_same_keys_take_none_of_them_to_be_new_twice() {
    const ROUNDS: u64 = 300;
    let machine = Machine::new(1, 1);
    let store = machine.open();
    let (together, running) = (Barrier::new(3), AtomicU64::new(3));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (store, together, running) = (&store, &together, &running);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // At first nobody knows how far the keys of a round reach.
                    together.wait();
                    for start in [0, 50, 100] {
                        let mut batch = Batch::new();
                        for number in start..start + 100 {
                            batch.put(format!("camera/{round}/{number:03}"), format!("{thread}"));
                        }
                        store.write(batch).unwrap();
                        put_os(store, &format!("camera/{round}/{:03}", start + 120), b"alone");
                    }
                }
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while running.load(Ordering::Relaxed) > 0 {
            store.checkpoint().unwrap();
            compact(&store);
        }
    });
    // From 0 to 199, and 220.
    assert_eq!(store.iter(..).map(Result::unwrap).count() as u64, ROUNDS * 201);
    assert_eq!(store.stats().unwrap().objects, ROUNDS * 201);
    assert_sound(&store);
}
