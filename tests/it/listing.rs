//! Listings by `/`, whose common prefixes come from counts: whatever is put, deleted, expired or
//! recovered, they are what the keys say.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kogia::io::sim::Keep;
use kogia::{
    Batch, ErrorKind, Item, ListOptions, Options, PutOptions, RetentionRule, Snapshot, Store,
};

use crate::machine::{HOME, Machine, assert_sound, compact};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn of(&mut self, range: Range<usize>) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ (mixed >> 31)) as usize % range.len()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.of(0..many) == 0
    }

    fn some<T: Clone + Default>(&mut self, of: &[T]) -> T {
        if of.is_empty() { T::default() } else { of[self.of(0..of.len())].clone() }
    }
}

/// A clock that stands until it is set.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn options(&self, machine: &Machine) -> Options {
        let time = self.0.clone();
        machine.options().clock(move || time.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has to be in a page, by the keys that are there.
fn expected(keys: &[Vec<u8>], options: &ListOptions) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for key in keys {
        let Some(rest) = key.strip_prefix(&options.prefix[..]) else { continue };
        let end = rest.iter().position(|byte| *byte == b'/');
        let name = end.map_or(&key[..], |end| &key[..=options.prefix.len() + end]);
        let after = options.start_after.as_deref();
        let is_over = after.is_some_and(|after| &key[..] <= after || name == after);
        if !is_over && names.last().is_none_or(|last| last != name) {
            names.push(name.to_vec());
        }
    }
    names.truncate(options.max_keys);
    names
}

/// Lists below some prefixes, from some keys on; `keys` are there.
fn assert_listed(snapshot: &Snapshot<'_>, keys: &[Vec<u8>], random: &mut Random) {
    for _ in 0..20 {
        let (mut prefix, mut after) = (random.some(keys), random.some(keys));
        prefix.truncate(random.of(0..prefix.len().min(9) + 1));
        after.truncate(random.of(0..after.len() + 1));
        let options = ListOptions {
            prefix,
            start_after: random.one_in(2).then_some(after),
            delimiter: Some(b"/".to_vec()),
            max_keys: random.of(1..12),
        };
        let page = snapshot.list(&options).unwrap();
        let names = page.items.into_iter().map(|item| match item {
            Item::Object { key, .. } | Item::Prefix(key) => key,
        });
        assert_eq!(names.collect::<Vec<_>>(), expected(keys, &options), "{options:?}");
    }
}

fn keys(snapshot: &Snapshot<'_>) -> Vec<Vec<u8>> {
    snapshot.iter(..).map(|object| object.unwrap().0).collect()
}

/// One of few, so that prefixes come and go; some are deeper than prefixes are counted.
fn key(random: &mut Random) -> Vec<u8> {
    if random.one_in(20) {
        return format!("{}{}", "/".repeat(random.of(30..36)), random.of(0..3)).into_bytes();
    }
    let names = ["a", "b", "", "a.", "\u{fffd}"].map(str::to_owned);
    let mut key: Vec<_> = (0..random.of(0..4)).map(|_| random.some(&names)).collect();
    key.push(random.of(0..3).to_string());
    key.join("/").into_bytes()
}

fn change(store: &Store, clock: &Clock, random: &mut Random) {
    let mut batch = Batch::new();
    for _ in 0..random.of(1..6) {
        let expires_ms = random.one_in(3).then(|| clock.now() + random.of(1..400) as u64);
        if random.one_in(2) {
            batch.delete(key(random));
        } else {
            let options = PutOptions { expires_ms, ..PutOptions::default() };
            batch.put_with(key(random), "value", &options);
        }
    }
    store.write(batch).unwrap();
}

fn session(store: &Store, clock: &Clock, random: &mut Random) {
    for _ in 0..25 {
        change(store, clock, random);
        clock.0.fetch_add(random.of(0..60) as u64, Ordering::Relaxed);
        let snapshot = store.snapshot().unwrap();
        let there = keys(&snapshot);
        assert_listed(&snapshot, &there, random);
        match random.of(0..8) {
            0 => store.checkpoint().unwrap(),
            1 => drop(store.expire().unwrap()),
            2 => change(store, clock, random),
            3 => drop(compact(store)),
            _ => {}
        }
        // It lists what it saw, whatever has changed.
        assert_listed(&snapshot, &there, random);
    }
    assert_sound(store);
}

// Symptom: a prefix without objects is listed, or one with some is not. Cause: a put, a delete or
// an expiry that is not counted, is counted twice by a replay, or is told to a snapshot that is
// older. Rule: a row of a prefix says truly, at every moment, which of its counts are 0.
#[test]
fn a_listing_is_what_the_keys_say_whatever_happens_to_them() {
    let rule = RetentionRule::new("a/").max_age(Duration::from_millis(700));
    for seed in 0..12 {
        let (mut random, clock) = (Random(seed), Clock::default());
        let mut machine = Machine::new(seed, 2);
        for opening in 0..6 {
            let rules = if seed % 3 == 0 { vec![rule.clone()] } else { Vec::new() };
            let options = rules.into_iter().fold(clock.options(&machine), Options::retention);
            let store = options.open(HOME).unwrap();
            assert_sound(&store);
            session(&store, &clock, &mut random);
            match opening % 3 {
                0 => machine = machine.cut(store, Keep::Everything),
                1 => machine = machine.kill(store),
                _ => {
                    drop(store);
                    machine.lose_index();
                }
            }
        }
    }
}

#[test]
fn keys_below_more_prefixes_than_are_counted_are_listed_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for depth in 30..35 {
        store.put(format!("{}key", "a/".repeat(depth)), "").unwrap();
    }
    for depth in 0..36 {
        let prefix = "a/".repeat(depth).into_bytes();
        let delimiter = Some(b"/".to_vec());
        let page = store.list(&ListOptions { prefix, delimiter, ..Default::default() }).unwrap();
        let entries = usize::from((30..35).contains(&depth)) + usize::from(depth < 34);
        assert_eq!(page.items.len(), entries, "{depth}: {page:?}");
    }
    // The store's default listing is not touched by it.
    assert_eq!(store.list(&ListOptions::default()).unwrap().items.len(), 5);
    assert_sound(&store);
}

/// Whether a listing by the delimiter does without waiting; then it is what one that waits gives.
fn is_listed_at_once(store: &Store, prefix: &str) -> bool {
    let (prefix, delimiter) = (prefix.into(), Some(b"/".to_vec()));
    let options = ListOptions { prefix, delimiter, ..ListOptions::default() };
    match store.try_list(&options) {
        Ok(page) => {
            assert_eq!(page, store.list(&options).unwrap());
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

#[test]
fn what_may_not_wait_lists_what_is_in_memory_and_says_when_that_is_not_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(is_listed_at_once(&store, ""));
    for number in 0..2000 {
        store.put(format!("{number}/key"), "").unwrap();
    }
    assert!(is_listed_at_once(&store, ""));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(!is_listed_at_once(&store, ""));
    store.list(&ListOptions { delimiter: Some(b"/".to_vec()), ..Default::default() }).unwrap();
    assert!(is_listed_at_once(&store, ""));
}

#[test]
fn what_may_not_wait_goes_over_no_more_than_a_little_that_has_expired() {
    const LATER: u64 = 1_000_000;
    let (clock, machine) = (Clock::default(), Machine::new(1, 1));
    let store = clock.options(&machine).open(HOME).unwrap();
    let options = PutOptions { expires_ms: Some(clock.now() + LATER), ..PutOptions::default() };
    let mut batch = Batch::new();
    for (prefix, count) in [("many/1", 600), ("many/2", 600), ("some", 900)] {
        for number in 0..count {
            batch.put_with(format!("{prefix}/{number}"), "", &options);
        }
    }
    store.write(batch).unwrap();
    // Nothing wakes whoever would delete them.
    clock.0.fetch_add(LATER, Ordering::Relaxed);
    assert!(is_listed_at_once(&store, "some/"));
    assert!(!is_listed_at_once(&store, "many/"));
    assert!(!is_listed_at_once(&store, ""));
}
