//! Objects that are kept for a time, by a clock that the tests set.

use std::io::{Read, Write};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kogia::{
    Batch, Condition, DeleteOptions, ErrorKind, Item, ListOptions, Options, PutOptions, Store,
};

use crate::machine::{HOME, Machine, assert_sound, assert_value, refused, value};

/// A clock that stands until it is set.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn new() -> Self {
        Clock(Arc::new(AtomicU64::new(1_000_000)))
    }

    fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    fn options(&self, machine: &Machine) -> Options {
        let time = self.0.clone();
        machine.options().clock(move || time.load(Ordering::Relaxed))
    }

    fn open(&self, machine: &Machine) -> Store {
        self.options(machine).open(HOME).unwrap()
    }
}

fn until(expires_ms: u64) -> PutOptions {
    PutOptions { expires_ms: Some(expires_ms), ..PutOptions::default() }
}

fn under(condition: Condition) -> PutOptions {
    PutOptions { condition, ..PutOptions::default() }
}

fn keys(store: &Store) -> Vec<String> {
    let key = |item: kogia::Result<(Vec<u8>, _)>| String::from_utf8(item.unwrap().0).unwrap();
    store.iter(..).map(key).collect()
}

fn listed(store: &Store, delimiter: Option<&str>, max_keys: usize) -> Vec<String> {
    let delimiter = delimiter.map(|delimiter| delimiter.as_bytes().to_vec());
    let mut options = ListOptions { delimiter, max_keys, ..ListOptions::default() };
    let mut names = Vec::new();
    loop {
        let page = store.list(&options).unwrap();
        assert!(page.next.is_none() || page.items.len() == max_keys, "{page:?}");
        names.extend(page.items.into_iter().map(|item| match item {
            Item::Object { key, .. } => String::from_utf8(key).unwrap(),
            Item::Prefix(prefix) => String::from_utf8(prefix).unwrap(),
        }));
        options.start_after = page.next;
        if options.start_after.is_none() {
            return names;
        }
    }
}

/// Whether every way to read an object finds it; fails unless all agree.
#[track_caller]
fn is_there(store: &Store, key: &str) -> bool {
    let found = store.get(key).unwrap().is_some();
    assert_eq!(store.get_into(key, &mut Vec::new()).unwrap().is_some(), found);
    assert_eq!(store.get_range(key, 0..1).unwrap().is_some(), found);
    assert_eq!(store.head(key).unwrap().is_some(), found);
    assert_eq!(store.exists(key).unwrap(), found);
    assert_eq!(store.reader(key).unwrap().is_some(), found);
    assert_eq!(keys(store).contains(&key.to_owned()), found);
    let mut back: Vec<_> = store.iter(..).rev().map(|item| item.unwrap().0).collect();
    back.reverse();
    assert_eq!(back, keys(store).into_iter().map(String::into_bytes).collect::<Vec<_>>());
    assert_eq!(listed(store, None, 3).contains(&key.to_owned()), found);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.exists(key).unwrap(), found);
    assert_eq!(snapshot.iter(..).any(|item| item.unwrap().0 == key.as_bytes()), found);
    found
}

#[test]
fn an_object_is_gone_for_every_reader_at_the_millisecond_at_which_it_expires() {
    let (machine, clock) = (Machine::new(1, 2), Clock::new());
    let store = clock.open(&machine);
    let expires_ms = 1_060_000;
    store.put_with("put", "value", &until(expires_ms)).unwrap();
    store.put_with("large", value(1, 300_000), &until(expires_ms)).unwrap();
    let mut batch = Batch::new();
    batch.put_with("batched", "value", &until(expires_ms)).put("kept", "value");
    store.write(batch).unwrap();
    let mut stream = store.writer_with("streamed", until(expires_ms)).unwrap();
    stream.write_all(&value(2, 200_000)).unwrap();
    assert_eq!(stream.commit().unwrap().expires_ms, Some(expires_ms));
    let mut part = store.part().unwrap();
    part.write_all(&value(3, 40_000)).unwrap();
    let part = part.finish().unwrap();
    store.assemble("assembled", &[part.id], &until(expires_ms)).unwrap();
    let all = ["assembled", "batched", "large", "put", "streamed"];
    assert_eq!(store.head("put").unwrap().unwrap().expires_ms, Some(expires_ms));
    assert_eq!(store.head("kept").unwrap().unwrap().expires_ms, None);
    clock.set(expires_ms - 1);
    all.iter().for_each(|key| assert!(is_there(&store, key), "{key}"));
    clock.set(expires_ms);
    all.iter().for_each(|key| assert!(!is_there(&store, key), "{key}"));
    assert!(is_there(&store, "kept"));
    assert_sound(&store);
}

#[test]
fn conditions_and_deletes_take_an_expired_object_for_absent() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    let seq = store.put_with("key", "old", &until(2_000_000)).unwrap();
    assert_eq!(
        refused(store.put_with("key", "", &under(Condition::IfAbsent))),
        ErrorKind::Condition
    );
    clock.set(2_000_000);
    for condition in [Condition::IfPresent, Condition::IfSeq(seq)] {
        let refusal = store.put_with("key", "new", &under(condition));
        assert_eq!(refused(refusal), ErrorKind::Condition);
        let options = DeleteOptions { condition, ..DeleteOptions::default() };
        assert_eq!(refused(store.delete_with("key", &options)), ErrorKind::Condition);
        let mut batch = Batch::new();
        batch.delete_with("key", condition);
        assert_eq!(refused(store.write(batch)), ErrorKind::Condition);
        let writer = store.writer_with("key", under(condition)).unwrap();
        assert_eq!(refused(writer.commit()), ErrorKind::Condition);
    }
    assert!(!store.delete("key").unwrap());
    store.put_with("key", "new", &under(Condition::IfAbsent)).unwrap();
    assert_value(&store, "key", b"new");
    assert!(store.delete("key").unwrap());
}

#[test]
fn a_put_that_has_expired_already_hides_what_was_there() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    store.put("key", "old").unwrap();
    store.put_with("key", "never seen", &until(5)).unwrap();
    assert!(!is_there(&store, "key"));
    assert_eq!(
        refused(store.put_with("key", "", &under(Condition::IfPresent))),
        ErrorKind::Condition
    );
}

#[test]
fn snapshots_readers_and_iterations_keep_what_was_there_when_they_began() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    for at in 0..600 {
        store.put_with(format!("{at:03}"), value(at, 100), &until(2_000_000)).unwrap();
    }
    store.put_with("large", value(9, 300_000), &until(2_000_000)).unwrap();
    let (snapshot, iter) = (store.snapshot().unwrap(), store.iter(..));
    let mut reader = store.reader("large").unwrap().unwrap();
    clock.set(2_000_000);
    assert_eq!((store.iter(..).count(), iter.count()), (0, 601));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == value(9, 300_000));
    assert!(snapshot.get("large").unwrap() == Some(value(9, 300_000)));
    assert!(snapshot.get_range("large", 7..9).unwrap().is_some());
    assert!(snapshot.reader("007").unwrap().is_some() && snapshot.exists("007").unwrap());
    assert_eq!(snapshot.iter(..).rev().count(), 601);
    assert_eq!(snapshot.list(&ListOptions::default()).unwrap().items.len(), 601);
    assert!(store.snapshot().unwrap().head("007").unwrap().is_none());
}

/// Pages, and the common prefixes on them, among many more rows that have expired.
#[test]
fn listings_pass_over_what_has_expired_without_an_empty_page_or_prefix() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    for folder in 0..6 {
        let mut batch = Batch::new();
        for at in 0..400 {
            let lives = folder % 2 == 0 && at % 199 == 1;
            let options = if lives { PutOptions::default() } else { until(2_000_000) };
            batch.put_with(format!("{folder}/{at:03}"), "", &options);
        }
        store.write(batch).unwrap();
    }
    clock.set(2_000_000);
    let left: Vec<_> =
        [0, 2, 4].iter().flat_map(|f| [1, 200, 399].map(|at| format!("{f}/{at:03}"))).collect();
    for max_keys in [1, 2, 3, 1000] {
        assert_eq!(listed(&store, None, max_keys), left);
        assert_eq!(listed(&store, Some("/"), max_keys), ["0/", "2/", "4/"]);
    }
    assert_eq!(keys(&store), left);
    let mut iter =
        store.iter((Bound::Excluded(b"0/200".to_vec()), Bound::Included(b"4/200".to_vec())));
    let mut next = |back: bool| {
        let item = if back { iter.next_back() } else { iter.next() };
        item.map(|item| String::from_utf8(item.unwrap().0).unwrap())
    };
    let found = [false, true, true, false, false, false, true, false].map(&mut next);
    let expected =
        ["0/399", "4/200", "4/001", "2/001", "2/200", "2/399"].map(|key| Some(key.into()));
    assert_eq!(found[..6], expected);
    assert_eq!(found[6..], [None, None]);
}
