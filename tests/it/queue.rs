//! A queue: what is appended is read back in order, in this process and in others, whatever was
//! truncated, reopened or damaged in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kogia::io::sim::SimIo;
use kogia::queue::{Entry, Id, Queue, QueueOptions, QueueReader, Rewrite};
use kogia::{Create, ErrorKind, Result};
use proptest::prelude::*;

use crate::machine::value;

fn items(stream: kogia::queue::Stream) -> Vec<(Id, Vec<u8>)> {
    stream.items().collect::<Result<_>>().unwrap()
}

fn small_tracks() -> QueueOptions {
    QueueOptions::new().track_bytes(16 << 10)
}

#[test]
fn a_queue_gives_items_of_any_length_back_in_order_also_when_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3 {
        let queue = small_tracks().open(dir.path()).unwrap();
        let lens = [0, 1, 127, 128, 4069, 4070, 4071, 4072, 8140, 16_000, 100_000, 3];
        for (number, len) in lens.into_iter().enumerate() {
            let bytes = value(round * 100 + number as u64, len);
            expected.push((queue.append_later(&bytes).unwrap(), bytes));
        }
        queue.sync().unwrap();
        assert!(expected.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(items(queue.stream(None).unwrap()), expected);
        queue.close().unwrap();
    }
    let queue = small_tracks().open(dir.path()).unwrap();
    assert_eq!(items(queue.stream(None).unwrap()), expected);
    assert_eq!(queue.stats().unwrap().items as usize, expected.len());
    for (at, (id, _)) in expected.iter().enumerate() {
        assert_eq!(items(queue.stream(Some(*id)).unwrap()), expected[at..]);
        assert_eq!(items(queue.stream(Some(id.after())).unwrap()), expected[at + 1..]);
    }
}

#[test]
fn a_queue_that_was_closed_goes_on_in_the_same_track() {
    let dir = tempfile::tempdir().unwrap();
    let ids = [1, 2].map(|_| Queue::open(dir.path()).unwrap().append(b"item").unwrap());
    assert_eq!(ids[0].track(), ids[1].track());
    let mut stream = Queue::reader(dir.path()).unwrap().stream(None).unwrap();
    let mut entries = 0;
    while let Some(entry) = stream.next().unwrap() {
        assert!(matches!(entry, Entry::Item(..)), "{entry:?}");
        entries += 1;
    }
    assert_eq!(entries, 2);
}

#[test]
fn a_queue_has_one_owner_and_is_created_or_not_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    let never = QueueOptions::new().create(Create::Never);
    assert_eq!(never.open(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(Queue::reader(&path).unwrap_err().kind(), ErrorKind::NotFound);
    let queue = Queue::open(&path).unwrap();
    assert_eq!(Queue::open(&path).unwrap_err().kind(), ErrorKind::Locked);
    queue.close().unwrap();
    let always = QueueOptions::new().create(Create::Always);
    assert_eq!(always.open(&path).unwrap_err().kind(), ErrorKind::Exists);
}

#[test]
fn readers_see_what_is_not_durable_only_if_they_ask_to() {
    let dir = tempfile::tempdir().unwrap();
    let options = QueueOptions::new().sync_interval(Duration::from_secs(3600));
    let queue = options.open(dir.path()).unwrap();
    let id = queue.append_with(b"item", kogia::Durability::Os).unwrap();
    let reader = Queue::reader(dir.path()).unwrap();
    assert_eq!(reader.stream(None).unwrap().next().unwrap(), None);
    let mut ahead = reader.stream(None).unwrap().read_uncommitted(true);
    assert_eq!(ahead.next().unwrap(), Some(Entry::Item(id, b"item")));
    queue.sync().unwrap();
    assert_eq!(items(reader.stream(None).unwrap()), [(id, b"item".to_vec())]);
}

#[test]
fn what_is_appended_later_becomes_durable_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let options = QueueOptions::new().sync_interval(Duration::from_millis(20));
    let queue = options.open(dir.path()).unwrap();
    let mut stream = queue.stream(None).unwrap();
    for round in 0..3_u8 {
        let id = queue.append_later([round]).unwrap();
        let entry = stream.follow(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(entry, Some(Entry::Item(id, &[round])));
    }
}

#[test]
fn who_follows_is_woken_promptly_and_gives_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path()).unwrap();
    let mut stream = Queue::reader(dir.path()).unwrap().stream(None).unwrap();
    let start = Instant::now();
    assert_eq!(stream.follow(Some(Duration::from_millis(50))).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(50));
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut ids = Vec::new();
            while ids.len() < 20 {
                match stream.follow(None).unwrap() {
                    Some(Entry::Item(id, _)) => ids.push((id, Instant::now())),
                    other => panic!("{other:?}"),
                }
            }
            ids
        });
        let appended: Vec<_> = (0..20)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(10));
                (queue.append(b"item").unwrap(), Instant::now())
            })
            .collect();
        let read = reading.join().unwrap();
        let mut delays: Vec<_> = appended
            .iter()
            .zip(&read)
            .map(|(appended, read)| {
                assert_eq!(appended.0, read.0);
                read.1.saturating_duration_since(appended.1)
            })
            .collect();
        delays.sort();
        // Without being woken, it would never come.
        assert!(delays[10] < Duration::from_millis(50), "{delays:?}");
    });
}

#[test]
fn threads_append_side_by_side_and_readers_follow_them_over_tracks() {
    const EACH: u32 = 4000;
    let dir = tempfile::tempdir().unwrap();
    let queue = QueueOptions::new().track_bytes(64 << 10).open(dir.path()).unwrap();
    let reader = Queue::reader(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2_u32 {
            let queue = &queue;
            scope.spawn(move || {
                let mut last = Id(0);
                for number in 0..EACH {
                    let mut item = [thread.to_le_bytes(), number.to_le_bytes()].concat();
                    item.resize(8 + number as usize % 200, 7);
                    let id = match number % 500 {
                        0 => queue.append(&item).unwrap(),
                        _ => queue.append_later(&item).unwrap(),
                    };
                    assert!(id > last);
                    last = id;
                }
                queue.sync().unwrap();
            });
        }
        for stream in [queue.stream(None).unwrap(), reader.stream(None).unwrap()] {
            let mut stream = stream;
            scope.spawn(move || {
                let mut next = [0_u32; 2];
                let mut last = Id(0);
                while next != [EACH, EACH] {
                    let entry = stream.follow(Some(Duration::from_secs(60))).unwrap();
                    let Some(Entry::Item(id, item)) = entry else { panic!("{entry:?}") };
                    let word = |at: usize| u32::from_le_bytes(item[at..at + 4].try_into().unwrap());
                    assert_eq!(word(4), next[word(0) as usize]);
                    assert_eq!(item.len(), 8 + word(4) as usize % 200);
                    next[word(0) as usize] += 1;
                    assert!(id > last);
                    last = id;
                }
                assert_eq!(stream.next().unwrap(), None);
            });
        }
    });
    assert!(queue.stats().unwrap().tracks > 5);
}

#[test]
fn a_reader_in_front_of_truncation_goes_on_at_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let ids = queue.append_batch((0..50).map(|number| value(number, 1000))).unwrap();
    let mut streams: Vec<_> = (0..50).step_by(7).map(|_| queue.stream(None).unwrap()).collect();
    for (at, stream) in streams.iter_mut().enumerate() {
        for _ in 0..at * 7 {
            stream.next().unwrap().unwrap();
        }
    }
    queue.truncate_before(ids[30]).unwrap();
    let tracks = queue.stats().unwrap();
    assert_eq!((tracks.items, tracks.first_kept), (20, ids[30]));
    let left = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "track")
    });
    assert_eq!(left.count() as u64, tracks.tracks);
    for (at, stream) in streams.into_iter().enumerate() {
        // A reader may still show what it has read before it looks again, and skips nothing kept.
        let read: Vec<_> = items(stream).into_iter().map(|(id, _)| id).collect();
        assert!(read.ends_with(&ids[30.max(at * 7)..]), "from {at}: {read:?}");
        assert!(read.is_sorted() && read.iter().all(|id| *id >= ids[at * 7]));
    }
    assert_eq!(items(queue.stream(Some(ids[3])).unwrap())[0].0, ids[30]);
    queue.truncate_before(Id(u64::MAX)).unwrap();
    assert_eq!(queue.stats().unwrap().items, 0);
    assert_eq!(queue.stream(None).unwrap().next().unwrap(), None);
    let next = queue.append(b"next").unwrap();
    assert_eq!(items(queue.stream(None).unwrap()), [(next, b"next".to_vec())]);
}

#[test]
fn retention_by_bytes_and_by_age_drops_whole_tracks_and_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
    let clock = now.clone();
    let options = small_tracks().clock(move || clock.load(Ordering::Relaxed));
    let queue = options.clone().max_bytes(Some(64 << 10)).open(dir.path()).unwrap();
    for number in 0..200 {
        queue.append_later(value(number, 1000)).unwrap();
    }
    queue.sync().unwrap();
    queue.apply_retention().unwrap();
    let stats = queue.stats().unwrap();
    assert!(stats.file_bytes <= 64 << 10 && stats.tracks >= 3, "{stats:?}");
    let kept = items(queue.stream(None).unwrap());
    assert_eq!(kept.last().unwrap().1, value(199, 1000));
    queue.close().unwrap();

    let day = Duration::from_secs(24 * 3600);
    let queue = options.clone().max_age(Some(day)).open(dir.path()).unwrap();
    assert_eq!(queue.retention(), (Some(day), Some(64 << 10)));
    now.fetch_add(day.as_millis() as u64 / 2, Ordering::Relaxed);
    queue.append_batch((0..20).map(|number| value(number, 1000))).unwrap();
    let before = queue.stats().unwrap().tracks;
    now.fetch_add(day.as_millis() as u64 / 2 + 1, Ordering::Relaxed);
    queue.close().unwrap();
    let queue = options.open(dir.path()).unwrap();
    assert!(queue.stats().unwrap().tracks < before);
    let kept = items(queue.stream(None).unwrap());
    assert_eq!(kept.last().unwrap().1, value(19, 1000));
}

/// Symptom: items that were minutes old were dropped as too old. Cause: a machine without a battery had
/// begun the next track before it knew the time, and items are older than the track behind theirs. Rule: a
/// track that seems to be older than the one before it says nothing of that one's items.
#[test]
fn a_clock_that_was_back_makes_nothing_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let day_ms = 24 * 3_600_000;
    let today_ms = 20_000 * day_ms;
    let now = Arc::new(std::sync::atomic::AtomicU64::new(today_ms));
    let clock = now.clone();
    let week = Duration::from_millis(7 * day_ms);
    let options = small_tracks().clock(move || clock.load(Ordering::Relaxed)).max_age(Some(week));
    let queue = options.open(dir.path()).unwrap();
    let fill = || queue.append_batch((0..20).map(|number| value(number, 1000))).unwrap();
    fill();
    now.store(5, Ordering::Relaxed);
    fill();
    now.store(today_ms + 60_000, Ordering::Relaxed);
    let count = queue.stats().unwrap().items;
    queue.apply_retention().unwrap();
    assert_eq!(queue.stats().unwrap().items, count, "none is older than two minutes");
    fill();
    now.store(today_ms + 60_000 + 8 * day_ms, Ordering::Relaxed);
    queue.apply_retention().unwrap();
    assert!(queue.stats().unwrap().items <= 20, "but they are a week later");
}

/// Symptom: a track whose items were all right could not be read, nor passed over, and the queue not be
/// opened. Cause: the header of the next one, or its own, was damaged. Rule: a header that is damaged costs
/// no item where the loss is accepted.
#[test]
fn a_damaged_header_costs_no_item_where_that_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    queue.append_batch((0..60).map(|number| value(number, 1000))).unwrap();
    let all = items(queue.stream(None).unwrap());
    let tracks = queue.stats().unwrap().tracks;
    assert!(tracks > 3);
    queue.close().unwrap();
    for track in [2, tracks] {
        let path = dir.path().join(format!("{track:010}.track"));
        let was = std::fs::read(&path).unwrap();
        let mut damaged = was.clone();
        damaged[40] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let refused = Queue::open(dir.path()).and_then(|queue| {
            let stream = queue.stream(None)?;
            stream.items().collect::<Result<Vec<_>, _>>()
        });
        assert!(refused.is_err());
        let queue = QueueOptions::new().accept_loss(true).open(dir.path()).unwrap();
        let mut stream = queue.stream(None).unwrap().accept_loss(true);
        let mut found = Vec::new();
        while let Some(entry) = stream.next().unwrap() {
            if let Entry::Item(id, item) = entry {
                found.push((id, item.to_vec()));
            }
        }
        assert!(found == all, "track {track}: {} of {}", found.len(), all.len());
        queue.close().unwrap();
        let now = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&was[..4096], &now[4096..]].concat()).unwrap();
    }
}

/// Symptom: a consumer went on where another one was, and nobody complained. Cause: a consumer's file did
/// not say whose it is, and rot had put one in the place of another. Rule: it names its consumer.
#[test]
fn a_consumers_file_does_not_pass_for_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path()).unwrap();
    let id = queue.append("a").unwrap();
    queue.consumer("one").unwrap().commit(id).unwrap();
    let consumers = dir.path().join("consumers");
    std::fs::copy(consumers.join("one"), consumers.join("two")).unwrap();
    let error = queue.consumer("two").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("one") && error.path().unwrap().ends_with("two"), "{error}");
    assert!(queue.consumers().is_err());
    assert_eq!(queue.consumer("one").unwrap().committed(), Some(id));
}

#[test]
fn consumers_go_on_behind_what_they_have_committed() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path()).unwrap();
    let ids = queue.append_batch(["a", "b", "c"]).unwrap();
    let mut one = queue.consumer("one").unwrap();
    assert_eq!(one.next().unwrap(), Some(Entry::Item(ids[0], b"a")));
    one.commit(ids[0]).unwrap();
    assert_eq!(one.next().unwrap(), Some(Entry::Item(ids[1], b"b")));
    queue.close().unwrap();
    let reader = Queue::reader(dir.path()).unwrap();
    let mut one = reader.consumer("one").unwrap();
    assert_eq!(
        (one.committed(), reader.consumer("two").unwrap().committed()),
        (Some(ids[0]), None)
    );
    assert_eq!(one.next().unwrap(), Some(Entry::Item(ids[1], b"b")));
    one.commit(ids[2]).unwrap();
    one.commit(ids[1]).unwrap();
    assert_eq!(reader.consumers().unwrap(), [("one".to_owned(), ids[2])]);
    for name in ["", ".", "..", "a/b", "../x", ".hidden", "ä", &"x".repeat(201)] {
        assert_eq!(reader.consumer(name).unwrap_err().kind(), ErrorKind::InvalidArgument, "{name}");
    }
    let queue = Queue::open(dir.path()).unwrap();
    assert!(queue.forget_consumer("one").unwrap());
    assert!(!queue.forget_consumer("one").unwrap());
    assert_eq!(queue.consumers().unwrap(), []);
}

/// A queue of many chunks on a simulated machine, closed or not; gives its items.
fn written(io: &SimIo, close: bool) -> Vec<(Id, Vec<u8>)> {
    let options = QueueOptions::new().io(Arc::new(io.clone()));
    let queue = options.open("/q").unwrap();
    let items = (0..30).map(|number| {
        let bytes = value(number, 1500);
        (queue.append(&bytes).unwrap(), bytes)
    });
    let items = items.collect();
    if close {
        queue.close().unwrap();
    } else {
        io.power_off();
    }
    items
}

fn flip(io: &SimIo, byte: usize) {
    let path = "/q/0000000001.track";
    let mut bytes = io.read_file(path).unwrap();
    bytes[byte] ^= 4;
    io.write_file(path, &bytes).unwrap();
}

#[test]
fn damage_behind_which_a_queue_was_durable_is_named_and_passed_over_if_accepted() {
    let io = SimIo::new(1);
    let appended = written(&io, false);
    let io = io.kill();
    flip(&io, 10 * 4096 + 100);
    let options = QueueOptions::new().io(Arc::new(io.clone()));
    let error = options.clone().open("/q").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(error.track().map(|(track, chunk)| (track.0, chunk)), Some((1, 10)));
    let queue = options.accept_loss(true).open("/q").unwrap();
    let mut stream = queue.stream(None).unwrap();
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    while let Some(entry) = stream.next().unwrap() {
        match entry {
            Entry::Item(id, item) => found.push((id, item.to_vec())),
            Entry::Lost(from, to) => lost.push((from, to)),
            Entry::Cut(_) => {}
        }
    }
    // One chunk, and so one item.
    let expected: Vec<_> = appended.iter().filter(|(id, _)| id.position() / 4096 != 10).collect();
    assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    assert_eq!(lost.len(), 1);
    let gone = appended.iter().find(|(id, _)| id.position() / 4096 == 10).unwrap().0;
    assert!(lost[0].0 <= gone && gone < lost[0].1);
}

#[test]
fn damage_in_a_closed_queue_is_an_error_that_names_the_chunk_and_verifying_finds_it() {
    let io = SimIo::new(1);
    let appended = written(&io, true);
    flip(&io, 10 * 4096 + 100);
    let queue = QueueOptions::new().io(Arc::new(io.clone())).open("/q").unwrap();
    let mut stream = queue.stream(None).unwrap();
    for _ in 0..2 {
        let error = loop {
            match stream.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it read over the damage"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!(error.track().map(|(track, chunk)| (track.0, chunk)), Some((1, 10)));
    }
    let report = queue.verify().unwrap();
    assert_eq!((report.items as usize, report.problems.len()), (appended.len() - 1, 1));
    assert!(report.problems[0].contains("chunk 10"), "{}", report.problems[0]);
}

#[test]
fn a_track_that_is_missing_is_damage() {
    let io = SimIo::new(1);
    let options = small_tracks().io(Arc::new(io.clone()));
    let queue = options.clone().open("/q").unwrap();
    queue.append_batch((0..50).map(|number| value(number, 1000))).unwrap();
    queue.close().unwrap();
    io.remove_file("/q/0000000002.track").unwrap();
    let error = options.clone().open("/q").unwrap_err();
    assert_eq!((error.kind(), error.track().map(|at| at.0.0)), (ErrorKind::Damaged, Some(2)));
    let reader = QueueReader::open_on(Arc::new(io.clone()), "/q").unwrap();
    let failed = reader.stream(None).unwrap().items().find_map(Result::err);
    assert_eq!(failed.unwrap().kind(), ErrorKind::Corruption);
}

#[test]
fn one_thread_feeds_small_items_faster_than_the_buffer_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let queue = QueueOptions::new().buffer_bytes(8 << 10).open(dir.path()).unwrap();
    for number in 0..200_000_u64 {
        queue.append_later(value(number, 50)).unwrap();
    }
    queue.sync().unwrap();
    let mut stream = queue.stream(None).unwrap();
    for number in 0..200_000_u64 {
        let Some(Entry::Item(_, item)) = stream.next().unwrap() else { panic!("it ended") };
        assert_eq!(item, value(number, 50));
    }
    assert_eq!(stream.next().unwrap(), None);
}

/// One of the things that are done to a queue.
#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Later(usize),
    Batch(Vec<usize>),
    Sync,
    /// Drops so many of what is there.
    Truncate(usize),
    /// Reads some with a consumer, and commits.
    Consume(usize),
    Reopen,
    /// Reads from an item on, or from between two.
    Stream(usize, bool),
    /// Rewrites so many items from one on: of every four one goes, and one gets another length.
    Rewrite(usize, usize, usize),
}

fn operation() -> impl Strategy<Value = Op> {
    let len = prop_oneof![8 => 0..200_usize, 3 => 3900..4200_usize, 2 => 4000..30_000_usize];
    prop_oneof![
        4 => len.clone().prop_map(Op::Append),
        8 => len.clone().prop_map(Op::Later),
        3 => prop::collection::vec(len, 0..20).prop_map(Op::Batch),
        1 => Just(Op::Sync),
        1 => (0..20_usize).prop_map(Op::Truncate),
        2 => (0..10_usize).prop_map(Op::Consume),
        1 => Just(Op::Reopen),
        3 => (0..40_usize, any::<bool>()).prop_map(|(at, between)| Op::Stream(at, between)),
        3 => (0..40_usize, 0..40_usize, 0..3000_usize)
            .prop_map(|(at, count, len)| Op::Rewrite(at, count, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_does_as_a_deque_does(operations in prop::collection::vec(operation(), 1..60)) {
        let io = SimIo::new(3);
        let options = small_tracks().io(Arc::new(io)).buffer_bytes(8 << 10);
        let mut queue = options.clone().open("/q").unwrap();
        let mut model: VecDeque<(Id, Vec<u8>)> = VecDeque::new();
        let mut committed = None;
        let mut tag = 0;
        let mut next = |len: usize| { tag += 1; value(tag, len) };
        for operation in operations {
            match operation {
                Op::Append(len) => {
                    let bytes = next(len);
                    model.push_back((queue.append(&bytes).unwrap(), bytes));
                }
                Op::Later(len) => {
                    let bytes = next(len);
                    model.push_back((queue.append_later(&bytes).unwrap(), bytes));
                }
                Op::Batch(lens) => {
                    let bytes: Vec<_> = lens.into_iter().map(&mut next).collect();
                    let ids = queue.append_batch(&bytes).unwrap();
                    model.extend(ids.into_iter().zip(bytes));
                }
                Op::Sync => queue.sync().unwrap(),
                Op::Truncate(count) => {
                    let keep = model.get(count).map_or(Id(u64::MAX), |(id, _)| *id);
                    queue.truncate_before(keep).unwrap();
                    model.drain(..count.min(model.len()));
                }
                Op::Consume(count) => {
                    queue.sync().unwrap();
                    let mut consumer = queue.consumer("c").unwrap();
                    prop_assert_eq!(consumer.committed(), committed);
                    let before = committed;
                    let rest = model.iter().filter(|(id, _)| Some(*id) > before);
                    for (id, bytes) in rest.take(count) {
                        prop_assert_eq!(consumer.next().unwrap(), Some(Entry::Item(*id, bytes)));
                        committed = Some(*id);
                    }
                    if let Some(id) = committed {
                        consumer.commit(id).unwrap();
                    }
                }
                Op::Reopen => {
                    queue.close().unwrap();
                    queue = options.clone().open("/q").unwrap();
                }
                Op::Rewrite(at, count, len) => {
                    let from = model.get(at).map_or(Id(u64::MAX), |(id, _)| *id);
                    let before = model.get(at + count).map_or(Id(u64::MAX), |(id, _)| *id);
                    let mut decide = |id: Id, item: &[u8]| match (id.0 / 3 + item.len() as u64) % 4 {
                        0 => Rewrite::Drop,
                        1 => Rewrite::Replace(value(id.0, len)),
                        _ => Rewrite::Keep,
                    };
                    let report = queue.rewrite(from..before, &mut decide).unwrap();
                    prop_assert_eq!(report.items as usize, count.min(model.len().saturating_sub(at)));
                    model = model
                        .into_iter()
                        .filter_map(|(id, item)| match (from..before).contains(&id) {
                            true => match decide(id, &item) {
                                Rewrite::Drop => None,
                                Rewrite::Replace(bytes) => Some((id, bytes)),
                                _ => Some((id, item)),
                            },
                            false => Some((id, item)),
                        })
                        .collect();
                }
                Op::Stream(at, between) => {
                    queue.sync().unwrap();
                    let from = model.get(at).map(|(id, _)| if between { id.after() } else { *id });
                    let skipped = if from.is_none() { 0 } else { at + usize::from(between) };
                    let found: Vec<_> = items(queue.stream(from).unwrap());
                    let expected: Vec<_> = model.iter().skip(skipped).cloned().collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
        queue.sync().unwrap();
        prop_assert_eq!(items(queue.stream(None).unwrap()), model.iter().cloned().collect::<Vec<_>>());
        prop_assert_eq!(queue.stats().unwrap().items as usize, model.len());
        prop_assert!(queue.verify().unwrap().problems.is_empty());
    }
}

#[test]
fn a_queue_is_read_while_it_is_truncated_and_rolled() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().max_bytes(Some(96 << 10)).open(dir.path()).unwrap();
    let reader = Queue::reader(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut stream = reader.stream(None).unwrap();
            let mut last = None;
            loop {
                let finished = done.load(Ordering::Acquire);
                match stream.follow(Some(Duration::from_millis(5))).unwrap() {
                    Some(Entry::Item(_, item)) => {
                        let number = u64::from_le_bytes(item[..8].try_into().unwrap());
                        assert!(last < Some(number));
                        last = Some(number);
                    }
                    Some(other) => panic!("{other:?}"),
                    None if finished => return last,
                    None => {}
                }
            }
        });
        for number in 0..3000_u64 {
            let mut item = number.to_le_bytes().to_vec();
            item.resize(700, 1);
            queue.append_later(&item).unwrap();
        }
        queue.sync().unwrap();
        done.store(true, Ordering::Release);
        assert_eq!(reading.join().unwrap(), Some(2999));
    });
}
