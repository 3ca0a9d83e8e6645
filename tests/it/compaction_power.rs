//! The power cut, and the process killed, at calls all over compactions and drains: nothing lost,
//! nothing back from the dead, no track and no chunk leaked.
//!
//! Each round makes a store of its own from its number, compacts it or drains a disk, stops it at one
//! call of that, opens what is left, goes on with it, and makes its index anew. Some are stopped a
//! second time, in the recovery. `KOGIA_TEST_ROUNDS` tries so many times as many.

use std::collections::BTreeMap;

use kogia::io::sim::Keep;
use kogia::{CompactOptions, Options, Store};

use crate::machine::{HOME, Machine, assert_sound, everything, put_os, value};

type Map = BTreeMap<String, (u64, usize)>;

/// A store's contents by its number.
struct Round {
    number: u64,
    map: Map,
    state: u64,
}

impl Round {
    fn new(number: u64) -> Self {
        Round { number, map: Map::new(), state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % below
    }

    fn options(&self, machine: &Machine) -> Options {
        let refill = self.number % 3 == 1;
        let options = machine.options().track_bytes(64 << 10).refill(refill);
        options.punch(self.number % 4 != 1).compression((self.number % 5 == 2).then_some(1))
    }

    fn open(&self, machine: &Machine) -> Store {
        self.options(machine).open(HOME).unwrap()
    }

    /// Puts, overwrites, deletes, reopens: everything is acknowledged and durable.
    fn fill(&mut self, store: &Store, operations: usize) {
        const LENGTHS: [usize; 6] = [0, 40, 1_500, 9_000, 18_000, 140_000];
        for _ in 0..operations {
            let key = format!("k{}", self.random(24));
            if self.random(4) == 0 {
                assert_eq!(store.delete(&key).unwrap(), self.map.remove(&key).is_some());
                continue;
            }
            let (tag, len) = (self.random(1 << 40), LENGTHS[self.random(6) as usize]);
            if self.random(2) == 0 {
                put_os(store, &key, &value(tag, len));
            } else {
                store.put(&key, value(tag, len)).unwrap();
            }
            self.map.insert(key, (tag, len));
            if self.random(12) == 0 {
                store.checkpoint().unwrap();
            }
        }
        store.sync().unwrap();
    }

    #[track_caller]
    fn check(&self, store: &Store) {
        let found: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
        let expected: Vec<_> = self.map.keys().map(|key| key.as_bytes().to_vec()).collect();
        assert_eq!(found, expected, "round {}", self.number);
        for (key, &(tag, len)) in &self.map {
            let found = store.get(key).unwrap().unwrap();
            assert!(found == value(tag, len), "round {}, {key}", self.number);
        }
        assert_sound(store);
    }

    /// A compaction of everything, or a drain of the first disk.
    fn work(&self, store: &Store) {
        // Cut off, it fails; or it had come to its end.
        if self.number.is_multiple_of(2) {
            let _ = store.compact(&everything());
        } else {
            let first = store.stats().unwrap().disks[0].id;
            let _ = store.drain_disk(first, &CompactOptions::default());
        }
    }
}

fn keep(random: u64, number: u64) -> Keep {
    match random % 4 {
        0 => Keep::Nothing,
        1 => Keep::Everything,
        _ => Keep::Random(number),
    }
}

fn run(number: u64) {
    let mut round = Round::new(number);
    let machine = Machine::new(number, 2);
    let store = round.open(&machine);
    let operations = 20 + round.random(60) as usize;
    round.fill(&store, operations);
    if round.random(2) == 0 {
        round.work(&store);
        if store.stats().unwrap().disks.len() == 2 {
            round.fill(&store, 10);
        }
    }
    let before = machine.io.calls();
    let stop = before + round.random(260);
    machine.io.power_off_at_call(stop);
    round.work(&store);
    let machine = if machine.io.is_off() {
        let machine = machine.halt(Some(store));
        machine.fork(keep(round.random(4), number))
    } else {
        machine.kill(store)
    };
    let machine = cut_in_recovery(&mut round, machine);
    let store = round.open(&machine);
    assert!(store.recovery().damage.is_empty());
    round.check(&store);
    round.work(&store);
    round.check(&store);
    round.fill(&store, 10);
    round.check(&store);
    store.close().unwrap();
    let store = round.options(&machine).rebuild(HOME).unwrap();
    assert_eq!(store.recovery().torn, [], "round {number}");
    round.check(&store);
    store.checkpoint().unwrap();
    round.check(&store);
}

fn cut_in_recovery(round: &mut Round, machine: Machine) -> Machine {
    if round.random(3) > 0 {
        return machine;
    }
    machine.io.power_off_at_call(round.random(60));
    let store = round.options(&machine).open(HOME).ok();
    if !machine.io.is_off() {
        return machine.kill(store.unwrap());
    }
    let keep = keep(round.random(4), round.number);
    machine.halt(store).fork(keep)
}

#[test]
fn compactions_and_drains_that_are_cut_off_anywhere_lose_and_leak_nothing() {
    let rounds = std::env::var("KOGIA_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let first = std::env::var("KOGIA_TEST_SEED").map_or(0, |seed| seed.parse().unwrap());
    for number in first..first + 60 * rounds {
        println!("round {number}");
        run(number);
    }
}
