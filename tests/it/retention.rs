//! Objects that are kept for a time, by a clock that the tests set.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kogia::io::sim::{CallKind, Fail, Fault, Keep};
use kogia::{
    Batch, Condition, DeleteOptions, ErrorKind, ExpireOptions, ExpireReport, Item, ListOptions,
    Options, PutOptions, RetentionRule, Store,
};

use crate::machine::{CHUNK, HOME, Machine, assert_sound, assert_value, refused, value};

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

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
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

fn counts(report: ExpireReport) -> (u64, u64) {
    (report.objects, report.bytes)
}

#[test]
fn a_copy_is_as_old_as_what_it_is_a_copy_of_however_it_is_put() {
    let (machine, clock) = (Machine::new(1, 2), Clock::new());
    let rule = RetentionRule::new("a/").max_age(ms(1000));
    let store = clock.options(&machine).retention(rule).open(HOME).unwrap();
    let old = PutOptions { created_ms: Some(999_500), ..PutOptions::default() };
    store.put_with("a/put", "value", &old).unwrap();
    store.put("a/new", "value").unwrap();
    let mut batch = Batch::new();
    batch.put_with("a/batched", "value", &old);
    store.write(batch).unwrap();
    let mut stream = store.writer_with("a/streamed", old.clone()).unwrap();
    stream.write_all(&value(2, 200_000)).unwrap();
    let info = stream.commit().unwrap();
    assert_eq!((info.created_ms, info.modified_ms), (999_500, 999_500));
    clock.set(1_000_499);
    assert_eq!(keys(&store), ["a/batched", "a/new", "a/put", "a/streamed"]);
    clock.set(1_000_500);
    assert_eq!(keys(&store), ["a/new"]);
    // The pass that finds them knew of no put of that age before.
    assert_eq!(store.expire().unwrap().objects, 3);
    assert_sound(&store);
}

#[test]
fn rules_of_one_call_go_beside_those_in_force_and_bind_nobody_else() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let rule = RetentionRule::new("a").max_age(ms(100));
    let store = clock.options(&machine).retention(rule).open(HOME).unwrap();
    for key in ["a", "b", "c"] {
        store.put(key, "value").unwrap();
    }
    let expire = |rule: RetentionRule| {
        let options = ExpireOptions { rules: vec![rule], ..ExpireOptions::default() };
        store.expire_with(&options)
    };
    clock.set(1_000_099);
    assert!(is_there(&store, "b"));
    let by_age = RetentionRule::new("b").max_age(ms(50));
    assert_eq!(counts(expire(by_age).unwrap()), (1, 5));
    assert_eq!(keys(&store), ["a", "c"]);
    clock.set(1_000_100);
    let by_bytes = RetentionRule::new("c").max_bytes(4);
    assert_eq!(counts(expire(by_bytes).unwrap()), (2, 10));
    assert_eq!(store.retention().len(), 1);
    assert_eq!(refused(expire(RetentionRule::new(""))), ErrorKind::InvalidArgument);
}

fn dry_run(store: &Store) -> (u64, u64) {
    let options = ExpireOptions { dry_run: true, ..ExpireOptions::default() };
    counts(store.expire_with(&options).unwrap())
}

/// Waits for what the housekeeper is to do by itself.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let given_up = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < given_up, "{what}: waited a minute");
        std::thread::sleep(ms(2));
    }
}

#[test]
fn a_rule_gives_the_objects_under_its_prefix_an_age_and_the_first_limit_counts() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let options = clock.options(&machine);
    let options = options.retention(RetentionRule::new("cam/").max_age(ms(1000)));
    let options = options.retention(RetentionRule::new("cam/short/").max_age(ms(100)));
    let store = options.open(HOME).unwrap();
    store.put_with("cam/own", "", &until(1_000_500)).unwrap();
    store.put_with("cam/far", "", &until(9_000_000)).unwrap();
    let old = PutOptions { modified_ms: Some(3), ..PutOptions::default() };
    store.put_with("cam/short/file", "", &old).unwrap();
    store.put("camera", "").unwrap();
    let all = ["cam/far", "cam/own", "cam/short/file", "camera"];
    for (now_ms, left) in [
        (1_000_099, &all[..]),
        (1_000_100, &["cam/far", "cam/own", "camera"]),
        (1_000_499, &["cam/far", "cam/own", "camera"]),
        (1_000_500, &["cam/far", "camera"]),
        (1_000_999, &["cam/far", "camera"]),
        (1_001_000, &["camera"]),
    ] {
        clock.set(now_ms);
        all.iter().for_each(|key| assert_eq!(is_there(&store, key), left.contains(key), "{key}"));
    }
    assert_eq!(counts(store.expire().unwrap()), (3, 0));
    assert_eq!((keys(&store), store.stats().unwrap().objects), (vec!["camera".into()], 1));
}

#[test]
fn rules_that_change_apply_at_once_and_a_snapshot_keeps_those_it_was_taken_under() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let rule = RetentionRule::new("a").max_age(ms(50));
    // With the rule from the start the housekeeper is not woken, who would delete what has expired.
    let store = clock.options(&machine).retention(rule.clone()).open(HOME).unwrap();
    store.put("a", "value").unwrap();
    assert_eq!(store.retention(), [rule]);
    assert!(is_there(&store, "a"));
    clock.set(1_000_050);
    assert!(!is_there(&store, "a"));
    let under_rules = store.snapshot().unwrap();
    store.set_retention(&[]).unwrap();
    assert!(is_there(&store, "a"));
    assert!(!under_rules.exists("a").unwrap());
    let before = store.snapshot().unwrap();
    store.set_retention(&[RetentionRule::new("").max_age(ms(50))]).unwrap();
    assert!(!is_there(&store, "a") && before.exists("a").unwrap());
}

#[test]
fn a_rule_without_a_limit_is_refused_and_named() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let rule = RetentionRule::new;
    for wrong in [rule("a/"), rule("a/").max_age(ms(0)), rule("a/").max_age(ms(1)).max_bytes(0)] {
        let opened = clock.options(&machine).retention(wrong.clone()).open(HOME);
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("`a/`"), "{error}");
        let store = clock.open(&machine);
        let good = [rule("b/").max_age(ms(1))];
        store.set_retention(&good).unwrap();
        assert_eq!(
            refused(store.set_retention(&[good[0].clone(), wrong])),
            ErrorKind::InvalidArgument
        );
        assert_eq!(store.retention(), good);
    }
}

#[test]
fn nothing_is_looked_at_where_nothing_can_have_expired() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let options = clock.options(&machine);
    let rule = RetentionRule::new("b/").max_bytes(1000);
    let store = options.retention(rule).open(HOME).unwrap();
    let examined = |expected: u64| assert_eq!(store.expire().unwrap().examined, expected);
    for at in 0..5 {
        store.put(format!("a/{at}"), "value").unwrap();
    }
    // The first time nothing is known.
    examined(5);
    examined(0);
    store.put("a/5", "value").unwrap();
    store.put_with("a/6", "value", &until(1_000_070)).unwrap();
    store.put_with("a/7", "value", &until(1_000_090)).unwrap();
    clock.set(1_000_069);
    examined(0);
    clock.set(1_000_070);
    examined(8);
    clock.set(1_000_089);
    examined(0);
    clock.set(1_000_090);
    examined(7);
    clock.set(u64::MAX - 1);
    examined(0);
    for at in 0..10 {
        store.put(format!("b/{at}"), vec![1; 100]).unwrap();
        examined(0);
    }
    assert_eq!(store.stats().unwrap().objects, 16);
}

/// Overwrites and deletes among puts, with passes whenever the housekeeper gets to them: what is
/// left are the newest of what was there, and between 98 % and 100 % of the limit.
#[test]
fn the_oldest_go_first_when_a_prefix_has_too_many_bytes_also_across_reopening() {
    const LIMIT: u64 = 200_000;
    const LARGEST: u64 = 9000;
    let (machine, clock) = (Machine::new(1, 2), Clock::new());
    let options = || {
        let rule = RetentionRule::new("cam/").max_bytes(LIMIT);
        clock.options(&machine).retention(rule)
    };
    let mut store = options().open(HOME).unwrap();
    store.put("other", vec![7; LIMIT as usize * 2]).unwrap();
    // By age: what would be there without the rule.
    let mut all: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    let mut random = 1_u64;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for round in 0..900_u64 {
        clock.set(1_000_000 + round);
        let key = format!("cam/{:03}", draw(300));
        all.retain(|_, (there, _)| *there != key);
        if draw(5) == 0 {
            store.delete(&key).unwrap();
        } else {
            let len = draw(LARGEST);
            store.put(&key, value(round, len as usize)).unwrap();
            all.insert(round, (key, len));
        }
        if round % 300 == 299 {
            store.close().unwrap();
            store = options().open(HOME).unwrap();
        }
        if round % 50 == 49 {
            store.expire().unwrap();
            let left = keys(&store);
            let total: u64 =
                all.values().filter(|(k, _)| left.contains(k)).map(|(_, len)| len).sum();
            let newest = all.values().rev().take(left.len() - 1).map(|(key, _)| key);
            assert!(newest.into_iter().all(|key| left.contains(key)), "{left:?}");
            let all_bytes: u64 = all.values().map(|(_, len)| len).sum();
            assert!(total <= LIMIT, "{total}");
            assert!(total == all_bytes || total + LARGEST > LIMIT / 50 * 49, "{total}");
        }
    }
    assert!(store.exists("other").unwrap());
    assert_sound(&store);
}

/// The memory for the oldest of a walk is bounded: long keys fill it.
#[test]
fn more_than_fits_in_memory_goes_as_well_and_a_dry_run_counts_it_right() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    for at in 0..300_u64 {
        clock.set(1_000_000 + at);
        // Of which the oldest have the last keys.
        let key = format!("{:03}{}", 999 - at, "k".repeat(60_000));
        store.put(key, value(at, 1000)).unwrap();
    }
    store.close().unwrap();
    let rule = RetentionRule::new("").max_bytes(100_000);
    let store = clock.options(&machine).retention(rule).open(HOME).unwrap();
    assert_eq!(dry_run(&store), (202, 202_000));
    assert_eq!(counts(store.expire().unwrap()), (202, 202_000));
    let left = keys(&store);
    assert!(left.len() == 98 && left.last().unwrap().starts_with("797"), "{}", left.len());
}

#[test]
fn a_dry_run_says_what_would_go_by_all_rules_and_deletes_nothing() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let store = clock.open(&machine);
    for at in 0..40_u64 {
        clock.set(1_000_000 + at);
        let key = format!("{}/{at:02}", ["a", "b"][at as usize % 2]);
        let options = if at % 4 == 0 { until(1_000_050) } else { PutOptions::default() };
        store.put_with(key, vec![1; 100], &options).unwrap();
    }
    clock.set(1_000_050);
    store.close().unwrap();
    let options = clock.options(&machine).retention(RetentionRule::new("a/").max_bytes(500));
    let options = options.retention(RetentionRule::new("").max_age(ms(45)));
    let options = options.retention(RetentionRule::new("").max_bytes(1500));
    let store = options.open(HOME).unwrap();
    let counted = dry_run(&store);
    assert_eq!((keys(&store).len(), store.stats().unwrap().objects), (26, 40));
    assert_eq!(counted, (26, 2600));
    assert_eq!(counts(store.expire().unwrap()), counted);
    let left = keys(&store);
    assert_eq!(left.len(), 14, "{left:?}");
    assert_eq!(left.iter().filter(|key| key.starts_with("a/")).count(), 4, "{left:?}");
}

/// A store of ten objects of 100 bytes, opened again with a limit of 500; a pass over it, with
/// something done between its look at the rows and its first delete.
fn expire_around(
    machine: &Machine,
    clock: &Clock,
    between: impl Fn(&Store) + Send + Sync + 'static,
) -> (Arc<Store>, ExpireReport) {
    let store = clock.open(machine);
    for at in 0..10 {
        clock.set(1_000_000 + at);
        store.put(format!("{at}"), vec![1; 100]).unwrap();
    }
    store.close().unwrap();
    let rule = RetentionRule::new("").max_bytes(500);
    let store = Arc::new(clock.options(machine).retention(rule).open(HOME).unwrap());
    let (same, done) = (Arc::downgrade(&store), AtomicBool::new(false));
    let on_progress = move |progress: &kogia::Progress| {
        // All rows were seen for either area, and nothing was deleted yet.
        if progress.records == 20 && !done.swap(true, Ordering::Relaxed) {
            let store = same.upgrade().unwrap();
            assert_eq!(store.stats().unwrap().objects, 10);
            between(&store);
        }
    };
    let on_progress = Some(Box::new(on_progress) as Box<_>);
    let report = store.expire_with(&ExpireOptions { on_progress, ..ExpireOptions::default() });
    (store, report.unwrap())
}

#[test]
fn a_key_that_is_written_between_the_look_and_the_delete_is_left_alone() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let (store, report) = expire_around(&machine, &clock, |store| {
        store.put("2", "new").unwrap();
        assert!(store.delete("3").unwrap());
    });
    // The oldest six were to go; one of them was put again, and one is gone already.
    assert_eq!(counts(report), (4, 400));
    assert_eq!(keys(&store), ["2", "6", "7", "8", "9"]);
    assert_value(&store, "2", b"new");
}

#[test]
fn rules_that_change_between_the_look_and_the_delete_spare_what_they_no_longer_want_gone() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let (store, report) = expire_around(&machine, &clock, |store| {
        store.set_retention(&[RetentionRule::new("").max_bytes(800)]).unwrap();
    });
    // The housekeeper may have been before us.
    assert!(report.objects <= 3, "{report:?}");
    wait_until("the new limit", || store.stats().unwrap().objects == 7);
}

#[test]
fn expiry_survives_kills_power_cuts_and_rebuilds_and_brings_nothing_older_back() {
    let mut machine = Machine::new(1, 2);
    let clock = Clock::new();
    let mut store = clock.open(&machine);
    for at in 0..40_u64 {
        store.put(format!("{at:02}"), value(at, 100)).unwrap();
        store.put_with(format!("{at:02}"), value(at, 20_000), &until(2_000_000 + at)).unwrap();
    }
    clock.set(2_000_020);
    // Not synced by a checkpoint: what the deletes were acknowledged with has to be enough.
    assert_eq!(counts(store.expire().unwrap()), (21, 21 * 20_000));
    let left: Vec<_> = (21..40).map(|at| format!("{at:02}")).collect();
    for step in 0..6 {
        machine = match step {
            0 => machine.kill(store),
            1 => machine.cut(store, Keep::Nothing),
            2 => machine.cut(store, Keep::Random(7)),
            _ => {
                store.close().unwrap();
                machine
            }
        };
        let options = clock.options(&machine);
        store = if step == 3 { options.rebuild(HOME) } else { options.open(HOME) }.unwrap();
        assert_eq!(keys(&store), left, "step {step}");
        assert_eq!(store.head("30").unwrap().unwrap().expires_ms, Some(2_000_030));
        // What was deleted is not back even where the clock goes back.
        clock.set(1_000_000);
        assert_eq!(keys(&store), left, "step {step}");
        clock.set(2_000_020);
        assert_sound(&store);
        if step == 4 {
            store.checkpoint().unwrap();
        }
    }
    clock.set(2_000_039);
    assert_eq!(counts(store.expire().unwrap()), (19, 19 * 20_000));
    assert_eq!(keys(&store), [""; 0]);
}

#[test]
fn a_track_of_which_all_has_expired_is_unlinked_and_nothing_of_it_is_copied() {
    for len in [20_000, 1000] {
        let (machine, clock) = (Machine::new(1, 1), Clock::new());
        let store = clock.open(&machine);
        let mut at = 0;
        while machine.tracks().len() < 4 {
            clock.set(1_000_000 + at);
            store.put_with(format!("{at:05}"), value(at, len), &until(2_000_000 + at)).unwrap();
            at += 1;
        }
        store.put("kept", "value").unwrap();
        store.checkpoint().unwrap();
        let tracks = machine.tracks();
        clock.set(3_000_000);
        machine.io.reset_counters();
        assert_eq!(store.expire().unwrap().objects, at);
        store.checkpoint().unwrap();
        assert_eq!(machine.tracks(), tracks[3..], "values of {len} bytes");
        // Tombstones, and a few states of META: far from a track.
        let written = machine.io.counters().bytes_written;
        assert!(written < 64 << 10, "values of {len} bytes: {written} bytes were written");
        assert_value(&store, "kept", b"value");
        assert_sound(&store);
        store.close().unwrap();
        let store = clock.options(&machine).rebuild(HOME).unwrap();
        assert_eq!(keys(&store), ["kept"]);
        assert_sound(&store);
    }
}

/// A recorder that writes twenty times what it may keep, on a file system that punches nothing: the
/// limit, and a track a disk.
#[test]
fn a_recorder_takes_no_more_room_than_its_limit_and_a_track_a_disk() {
    const LIMIT: u64 = 4_000_000;
    const LEN: u64 = 100_000;
    // A value has 25 chunks, its record one, its tombstone another.
    const ROOM: u64 = LIMIT / LEN * 27 * CHUNK as u64 + 2 * (256 << 10);
    let (machine, clock) = (Machine::new(1, 2), Clock::new());
    let rule = RetentionRule::new("cam/").max_bytes(LIMIT);
    let options = clock.options(&machine).retention(rule).punch(false);
    let store = options.open(HOME).unwrap();
    for at in 0..20 * LIMIT / LEN {
        clock.set(1_000_000 + at);
        store.put(format!("cam/{at:06}"), value(at, LEN as usize)).unwrap();
        // A recorder gives its housekeeper time.
        wait_until("the limit", || store.stats().unwrap().object_bytes <= LIMIT);
        wait_until("the room", || store.stats().unwrap().total().file_bytes <= ROOM);
    }
    assert!(store.stats().unwrap().object_bytes >= LIMIT / 50 * 49 - LEN);
    assert_sound(&store);
}

#[test]
fn the_housekeeper_deletes_what_has_expired_without_being_asked() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let options = clock.options(&machine).sync_interval(ms(5)).checkpoint_interval(ms(5));
    let store = options.open(HOME).unwrap();
    for at in 0..3000_u64 {
        store.put_with(format!("{at}"), value(at, 100), &until(2_000_000 + at % 3)).unwrap();
    }
    for (now_ms, left) in [(2_000_000, 2000), (2_000_001, 1000), (2_000_002, 0)] {
        clock.set(now_ms);
        wait_until("the housekeeper", || store.stats().unwrap().objects == left);
    }
    assert_sound(&store);
}

/// What a pass could not delete is gone for readers all the same, and found by the next pass.
#[test]
fn a_pass_that_fails_is_made_up_for_by_the_next() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let rule = RetentionRule::new("b").max_bytes(1000);
    let store = clock.options(&machine).retention(rule).open(HOME).unwrap();
    for at in 0..600 {
        store.put_with(format!("a{at:03}"), value(at, 50), &until(2_000_000)).unwrap();
    }
    store.put("kept", "").unwrap();
    store.expire().unwrap();
    clock.set(2_000_000);
    let mut left = Vec::new();
    for nth in 0.. {
        machine.io.fail(Fault::nth(CallKind::Sync, nth, Fail::Eio));
        let outcome = store.expire();
        machine.io.heal();
        assert_eq!(keys(&store), ["kept"]);
        left.push(store.stats().unwrap().objects - 1);
        if outcome.is_ok() {
            break;
        }
        assert_eq!(refused(outcome), ErrorKind::Io);
    }
    // Some failed before anything was deleted, and some between.
    assert!(left[0] == 600 && left.iter().any(|left| (1..600).contains(left)), "{left:?}");
    assert_eq!(left.last(), Some(&0));
    assert_eq!(store.expire().unwrap().examined, 0);
    assert_sound(&store);
}

/// An interval that never ends is one that people write.
#[test]
fn a_store_without_checkpoint_interval_expires_when_it_is_asked() {
    let (machine, clock) = (Machine::new(1, 1), Clock::new());
    let options = clock.options(&machine).checkpoint_interval(Duration::MAX);
    let store = options.open(HOME).unwrap();
    store.put_with("key", "value", &until(5)).unwrap();
    assert_eq!(counts(store.expire().unwrap()), (1, 5));
    store.close().unwrap();
}

/// Writers that overwrite and delete, readers, passes of the housekeeper and of others, all at once.
#[test]
fn writers_and_passes_at_once_leave_a_sound_store_within_its_limits() {
    const LIMIT: u64 = 300_000;
    let (machine, clock) = (Machine::new(1, 2), Clock::new());
    let rules = || {
        let bytes = RetentionRule::new("w").max_bytes(LIMIT);
        clock.options(&machine).retention(bytes).sync_interval(ms(1)).checkpoint_interval(ms(5))
    };
    let store = rules().retention(RetentionRule::new("aged/").max_age(ms(40))).open(HOME).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let (store, clock) = (&store, &clock);
            scope.spawn(move || {
                for round in 0..400_u64 {
                    let now_ms = 1_000_000 + round;
                    clock.0.fetch_max(now_ms, Ordering::Relaxed);
                    let (len, key) = ((round * 37 % 20_000) as usize, round * 7 % 60);
                    store.put(format!("w{writer}/{key}"), value(round, len)).unwrap();
                    let options = until(now_ms + round % 20);
                    store
                        .put_with(format!("own/{writer}/{key}"), value(round, 50), &options)
                        .unwrap();
                    store.put(format!("aged/{writer}/{key}"), value(round, 60)).unwrap();
                    match round % 40 {
                        10 => drop(store.delete(format!("w{writer}/{key}")).unwrap()),
                        20 => drop(store.expire().unwrap()),
                        30 => store.checkpoint().unwrap(),
                        _ => {}
                    }
                    // Each reads what it has put last, or finds it gone.
                    let own = store.get(format!("w{writer}/{key}")).unwrap();
                    assert!(own.is_none_or(|found| found == value(round, len)));
                }
            });
        }
    });
    store.expire().unwrap();
    let total = |store: &Store| -> u64 {
        store.iter(b"w".to_vec()..).map(|item| item.unwrap().1.len).sum()
    };
    assert!((LIMIT / 50 * 49 - 20_000..=LIMIT).contains(&total(&store)), "{}", total(&store));
    let now_ms = clock.0.load(Ordering::Relaxed);
    for item in store.iter(..) {
        let (key, info) = item.unwrap();
        let is_aged = key.starts_with(b"aged/") && info.created_ms + 40 <= now_ms;
        assert!(!is_aged && info.expires_ms.is_none_or(|at| at > now_ms), "{info:?}");
    }
    assert_sound(&store);
    let left = keys(&store);
    store.close().unwrap();
    assert_eq!(keys(&rules().rebuild(HOME).unwrap()), left);
}
