//! Rewriting a part of a queue: what is left keeps its id, readers in the middle carry on, and a
//! crash or a failing call leaves all of it as it was or all as it is to be.

mod crashes;
mod damage;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Fault, Keep, SimIo};
use kogia::queue::{
    Entry, Id, Queue, QueueOptions, QueueReader, Rewrite, RewriteOptions, RewriteReport, Stream,
};
use kogia::{ErrorKind, Result};

use crate::machine::value;

/// Where a simulated queue lies.
const DIR: &str = "/data/events";

type Items = Vec<(Id, Vec<u8>)>;

fn items(stream: Stream) -> Items {
    stream.items().collect::<Result<_>>().unwrap()
}

fn read(queue: &Queue) -> Items {
    items(queue.stream(None).unwrap())
}

/// Tracks of 16 KiB, and no syncs but those that are asked for.
fn small_tracks() -> QueueOptions {
    QueueOptions::new()
        .track_bytes(16 << 10)
        .buffer_bytes(16 << 10)
        .sync_interval(Duration::from_secs(24 * 3600))
}

fn on(io: &SimIo) -> QueueOptions {
    small_tracks().io(Arc::new(io.clone()))
}

/// Appends items of these lengths; gives them with their ids.
fn append(queue: &Queue, tag: u64, lens: impl IntoIterator<Item = usize>) -> Items {
    let bytes: Vec<_> =
        lens.into_iter().enumerate().map(|(at, len)| value(tag + at as u64, len)).collect();
    queue.append_batch(&bytes).unwrap().into_iter().zip(bytes).collect()
}

/// Every third item goes, and every third but one becomes another, now longer and now shorter.
fn thirds(id: Id, item: &[u8]) -> Rewrite {
    match sum(item) % 3 {
        0 => Rewrite::Drop,
        1 => Rewrite::Replace(other(id, item)),
        _ => Rewrite::Keep,
    }
}

fn sum(item: &[u8]) -> u64 {
    item.iter().map(|byte| u64::from(*byte)).sum::<u64>() + item.len() as u64
}

fn other(id: Id, item: &[u8]) -> Vec<u8> {
    let len = if id.0.is_multiple_of(2) { item.len() * 2 + 1 } else { item.len() / 2 };
    // Of a sum that leaves it alone when it is rewritten again.
    let mut bytes = vec![7; len];
    while sum(&bytes) % 3 != 2 {
        bytes.push(9);
    }
    bytes
}

/// What a rewrite of these items leaves.
fn rewritten(items: &[(Id, Vec<u8>)], mut decide: impl FnMut(Id, &[u8]) -> Rewrite) -> Items {
    let left = items.iter().filter_map(|(id, item)| match decide(*id, item) {
        Rewrite::Keep => Some((*id, item.clone())),
        Rewrite::Replace(bytes) => Some((*id, bytes)),
        Rewrite::Drop => None,
        Rewrite::Cancel => panic!("the model does not call it off"),
    });
    left.collect()
}

fn track_files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".track")).collect();
    names.sort();
    names
}

/// Symptom: a stream that was kept when its queue was closed did not find a track that somebody else had
/// rewritten since. Cause: it went on asking the closed queue which file it was. Rule: whoever does not own
/// the queue any more asks `QUEUE`.
#[test]
fn a_stream_that_outlives_its_queue_finds_what_others_rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let all = append(&queue, 1, [1000; 60]);
    let stream = queue.stream(None).unwrap();
    queue.close().unwrap();
    let other = small_tracks().open(dir.path()).unwrap();
    let (first, last) = (all[20].0, all[40].0);
    other.rewrite(first..last, |_, _| Rewrite::Drop).unwrap();
    other.close().unwrap();
    let left: Items = all.into_iter().filter(|(id, _)| *id < first || *id >= last).collect();
    assert!(items(stream) == left);
}

#[test]
fn a_range_is_filtered_and_mapped_and_what_is_left_keeps_its_ids() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let lens = [0, 1, 50, 127, 128, 4069, 4072, 9000, 300, 20_000, 5, 70_000, 3, 3];
    let mut expected = append(&queue, 0, lens.into_iter().cycle().take(70));
    let (from, before) = (13, 48);
    let range = expected[from].0..expected[before].0;
    let mut asked = Vec::new();
    let report = queue.rewrite(range.clone(), |id, item| {
        asked.push((id, item.to_vec()));
        thirds(id, item)
    });
    let report = report.unwrap();
    assert_eq!(asked, expected[from..before]);
    let left = rewritten(&expected[from..before], thirds);
    assert_eq!((report.items, report.dropped), (35, 35 - left.len() as u64));
    assert!(report.replaced > 5 && report.tracks > 5 && report.lost.is_empty(), "{report:?}");
    let bytes = |items: &[(Id, Vec<u8>)]| items.iter().map(|(_, item)| item.len() as u64).sum();
    let old_bytes: u64 = bytes(&expected[from..before]);
    assert_eq!((report.old_bytes, report.new_bytes), (old_bytes, bytes(&left)));
    let old = expected.clone();
    expected.splice(from..before, left);

    let mut queue = queue;
    for round in 0..3 {
        assert_eq!(read(&queue), expected);
        assert_eq!(items(Queue::reader(dir.path()).unwrap().stream(None).unwrap()), expected);
        // From every id that there is, or was, and from between two.
        for (id, _) in &old {
            for from in [*id, id.after()] {
                let rest: Vec<_> = expected.iter().filter(|(id, _)| *id >= from).cloned().collect();
                assert_eq!(items(queue.stream(Some(from)).unwrap()), rest, "from {from}");
            }
        }
        let (stats, verified) = (queue.stats().unwrap(), queue.verify().unwrap());
        assert_eq!((stats.items, verified.items), (expected.len() as u64, expected.len() as u64));
        assert_eq!(stats.rewritten_tracks, report.tracks);
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        expected.extend(append(&queue, 1000 + round, [5, 6000]));
        queue.close().unwrap();
        queue = small_tracks().open(dir.path()).unwrap();
    }
}

#[test]
fn a_part_can_be_rewritten_again_and_again_and_each_file_is_the_only_one_of_its_track() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let mut expected = append(&queue, 0, (0..200).map(|number| number * 13 % 3000));
    for round in 0..6_usize {
        let (from, before) = (expected.len() / 7 * round, expected.len() / 7 * (round + 2));
        let range = expected[from].0..=expected[before - 1].0;
        let decide = |id: Id, item: &[u8]| match (id.0 as usize + round) % 4 {
            0 => Rewrite::Drop,
            1 => Rewrite::Replace([item, b"+"].concat()),
            _ => Rewrite::Keep,
        };
        queue.rewrite(range, decide).unwrap();
        let left = rewritten(&expected[from..before], decide);
        expected.splice(from..before, left);
        assert_eq!(read(&queue), expected, "round {round}");
        let files = track_files(dir.path());
        let mut tracks: Vec<_> = files.iter().map(|name| &name[..10]).collect();
        let all = tracks.len();
        tracks.dedup();
        assert_eq!(tracks.len(), all, "{files:?}");
    }
    queue.close().unwrap();
    assert_eq!(read(&small_tracks().open(dir.path()).unwrap()), expected);
}

#[test]
fn what_was_dropped_is_nowhere_on_the_disk() {
    const SECRET: &[u8] = b"correct horse battery staple";
    let dir = tempfile::tempdir().unwrap();
    // With room for a track in the buffer, so that it does not depend on the moment where a chunk
    // ends: a secret that lies across two is not found in one piece.
    let queue = small_tracks().buffer_bytes(1 << 20).open(dir.path()).unwrap();
    for number in 0..100 {
        queue.append_later(value(number, 900)).unwrap();
        if number % 40 == 5 {
            queue.append_later([b"password=", SECRET].concat()).unwrap();
        }
    }
    queue.sync().unwrap();
    let holds_secret = || {
        let names = track_files(dir.path());
        let files = names.iter().map(|name| std::fs::read(dir.path().join(name)).unwrap());
        files.filter(|file| file.windows(SECRET.len()).any(|bytes| bytes == SECRET)).count()
    };
    assert_eq!(holds_secret(), 3);
    let report = queue.rewrite(.., |_, item| match item.starts_with(b"password=") {
        true => Rewrite::Drop,
        false => Rewrite::Keep,
    });
    // Only the tracks that it was in are written anew.
    assert_eq!(report.unwrap().tracks, 3);
    assert_eq!(holds_secret(), 0);
    assert_eq!(queue.stats().unwrap().items, 100);
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let expected = append(&queue, 0, [3000; 30]);
    let files = track_files(dir.path());
    let report = queue.rewrite(.., |_, item| Rewrite::Replace(item.to_vec())).unwrap();
    assert_eq!((report.items, report.replaced, report.tracks), (30, 0, 0));
    let trial = RewriteOptions { dry_run: true, ..RewriteOptions::default() };
    let report = queue.rewrite_with(.., &trial, |_, _| Rewrite::Drop).unwrap();
    let tracks = files.len() as u64;
    assert_eq!((report.dropped, report.new_bytes, report.tracks), (30, 0, tracks));
    let nothing = queue.rewrite(expected[5].0..expected[5].0, |_, _| Rewrite::Drop).unwrap();
    assert_eq!(nothing, RewriteReport::default());
    assert_eq!(queue.rewrite(Id(u64::MAX).., |_, _| Rewrite::Drop).unwrap().items, 0);
    assert_eq!((track_files(dir.path()), read(&queue)), (files, expected));
    let empty = tempfile::tempdir().unwrap();
    let queue = Queue::open(empty.path()).unwrap();
    assert_eq!(queue.rewrite(.., |_, _| Rewrite::Drop).unwrap(), RewriteReport::default());
}

#[test]
fn the_last_track_ends_when_something_in_it_changes_and_a_range_before_it_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    append(&queue, 0, [3000; 10]);
    let last = queue.durable_end().track();
    queue.rewrite(..Id(u64::from(last.0) << 32), |_, _| Rewrite::Drop).unwrap();
    assert_eq!(queue.durable_end().track(), last);
    let unsynced = queue.append_later(b"not durable yet").unwrap();
    queue.rewrite(unsynced.., |_, _| Rewrite::Replace(b"durable".to_vec())).unwrap();
    assert_eq!(queue.durable_end().track().0, last.0 + 1);
    assert_eq!(read(&queue).last(), Some(&(unsynced, b"durable".to_vec())));
    assert!(queue.append(b"next").unwrap() > unsynced);
    // Not in what is new and empty.
    let end = queue.durable_end().track();
    queue.rewrite(unsynced..=unsynced, |_, _| Rewrite::Drop).unwrap();
    assert_eq!(queue.durable_end().track(), end);
}

#[test]
fn calling_it_off_or_panicking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let expected = append(&queue, 0, [3000; 30]);
    let files = track_files(dir.path());
    for last in [0, 1, 17, 29] {
        let mut asked = 0;
        let error = queue.rewrite(.., |_, _| {
            asked += 1;
            if asked > last { Rewrite::Cancel } else { Rewrite::Drop }
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(asked, last + 1);
        assert_eq!(read(&queue), expected);
        let panics = std::panic::AssertUnwindSafe(|| {
            let mut asked = 0;
            let _ = queue.rewrite(.., |_, _| {
                asked += 1;
                assert!(asked <= last);
                Rewrite::Drop
            });
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(read(&queue), expected);
        // The last track may have ended.
        assert_eq!(track_files(dir.path())[..files.len()], files);
    }
    assert_eq!(queue.rewrite(.., |_, _| Rewrite::Drop).unwrap().dropped, 30);
    assert_eq!(read(&queue), []);
}

#[test]
fn progress_is_told_up_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let queue = QueueOptions::new().track_bytes(2 << 20).open(dir.path()).unwrap();
    append(&queue, 0, [50_000; 200]);
    let (calls, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, last) = (calls.clone(), done.clone());
    let options = RewriteOptions {
        on_progress: Some(Box::new(move |now| {
            assert!(now.done_bytes <= now.total_bytes);
            assert!(last.swap(now.done_bytes, Ordering::Relaxed) < now.done_bytes);
            seen.fetch_add(1, Ordering::Relaxed);
            if now.done_bytes == now.total_bytes {
                assert_eq!(now.records, 200);
            }
        })),
        ..RewriteOptions::default()
    };
    queue.rewrite_with(.., &options, |_, _| Rewrite::Drop).unwrap();
    assert!(calls.load(Ordering::Relaxed) >= 8);
    assert!(done.load(Ordering::Relaxed) >= 10_000_000);
}

#[test]
fn a_stream_in_the_middle_carries_on_and_shows_nothing_twice_or_out_of_order() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let old = append(&queue, 0, [1000; 100]);
    let new = rewritten(&old, thirds);
    let reader = Queue::reader(dir.path()).unwrap();
    let mut streams = Vec::new();
    for seen in (0..100).step_by(7) {
        for mut stream in [queue.stream(None).unwrap(), reader.stream(None).unwrap()] {
            for (id, item) in &old[..seen] {
                assert_eq!(stream.next().unwrap(), Some(Entry::Item(*id, item)));
            }
            streams.push((seen, stream));
        }
    }
    queue.rewrite(.., thirds).unwrap();
    for (seen, stream) in streams {
        // The rest of the track that it is in as it was, and all behind as it is.
        let open = seen.checked_sub(1).map(|last| old[last].0.track());
        let rest = old[seen..].iter().filter(|(id, _)| Some(id.track()) == open);
        let behind = new.iter().filter(|(id, _)| seen == 0 || Some(id.track()) > open);
        let expected: Vec<_> = rest.chain(behind).cloned().collect();
        assert_eq!(items(stream), expected, "after {seen}");
    }
}

#[test]
fn consumers_go_on_where_they_were_also_where_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let old = append(&queue, 0, [1000; 60]);
    let new = rewritten(&old, thirds);
    for at in [0, 20, 21, 22, 59] {
        queue.consumer(&format!("after-{at}")).unwrap().commit(old[at].0).unwrap();
    }
    queue.rewrite(.., thirds).unwrap();
    for at in [0, 20, 21, 22, 59] {
        let mut consumer = queue.consumer(&format!("after-{at}")).unwrap();
        assert_eq!(consumer.committed(), Some(old[at].0));
        for (id, item) in new.iter().filter(|(id, _)| *id > old[at].0) {
            assert_eq!(consumer.next().unwrap(), Some(Entry::Item(*id, item)));
        }
        assert_eq!(consumer.next().unwrap(), None);
    }
}

#[test]
fn truncation_counts_what_is_left_of_a_rewritten_track() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = small_tracks().open(dir.path()).unwrap();
    let old = append(&queue, 0, [700; 90]);
    queue.rewrite(.., thirds).unwrap();
    let mut expected = rewritten(&old, thirds);
    for (at, (id, _)) in old.iter().enumerate() {
        queue.truncate_before(*id).unwrap();
        expected.retain(|(left, _)| left >= id);
        let stats = queue.stats().unwrap();
        assert_eq!((stats.items, stats.first_kept), (expected.len() as u64, *id));
        assert_eq!(read(&queue), expected);
        if at % 30 == 7 {
            // What was truncated is not written again.
            queue.rewrite(.., thirds).unwrap();
            assert_eq!(read(&queue), expected);
            queue.close().unwrap();
            queue = small_tracks().open(dir.path()).unwrap();
            assert_eq!(read(&queue), expected);
        }
    }
    let first = old.last().unwrap().0.track().0;
    let tracks = track_files(dir.path());
    assert!(tracks.iter().all(|name| name[..10].parse::<u32>().unwrap() >= first), "{tracks:?}");
}

#[test]
fn appending_reading_truncating_and_rewriting_go_on_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let queue = QueueOptions::new().track_bytes(32 << 10).open(dir.path()).unwrap();
    let reader = Queue::reader(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    let number = |item: &[u8]| u64::from_le_bytes(item[..8].try_into().unwrap());
    std::thread::scope(|scope| {
        let follow = |mut stream: Stream| {
            let done = &done;
            scope.spawn(move || {
                let (mut last, mut seen) = (None, 0_u64);
                loop {
                    let finished = done.load(Ordering::Acquire);
                    match stream.follow(Some(Duration::from_millis(5))).unwrap() {
                        Some(Entry::Item(id, item)) => {
                            assert!(last < Some((id, number(item))));
                            assert!(item[8..].iter().all(|byte| *byte == item[8]));
                            (last, seen) = (Some((id, number(item))), seen + 1);
                        }
                        Some(other) => panic!("{other:?}"),
                        None if finished => return (last, seen),
                        None => {}
                    }
                }
            })
        };
        let following = [queue.stream(None).unwrap(), reader.stream(None).unwrap()].map(follow);
        for threads in 0..2_u8 {
            let (queue, done) = (&queue, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let decide = |_: Id, item: &[u8]| match (number(item) + 1) % 5 {
                        // The last one stays, so that those who follow know where it ends.
                        0 if number(item) != 5999 => Rewrite::Drop,
                        1 => {
                            let mut bytes = item[..8].to_vec();
                            bytes.resize(item.len() % 900 + 50, threads);
                            Rewrite::Replace(bytes)
                        }
                        _ => Rewrite::Keep,
                    };
                    queue.rewrite(.., decide).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let end = queue.durable_end().track().0;
                queue.truncate_before(Id(u64::from(end.saturating_sub(12)) << 32)).unwrap();
                queue.stats().unwrap();
                // From the front, where the tracks go.
                let mut stream = reader.stream(None).unwrap();
                while stream.next().unwrap().is_some() {}
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for number in 0..6000_u64 {
            let mut item = number.to_le_bytes().to_vec();
            item.resize(700, 9);
            queue.append_later(&item).unwrap();
        }
        queue.sync().unwrap();
        done.store(true, Ordering::Release);
        for thread in following {
            let (last, seen) = thread.join().unwrap();
            assert_eq!(last.unwrap().1, 5999);
            assert!(seen > 100, "{seen}");
        }
    });
    let report = queue.verify().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    queue.close().unwrap();
    let queue = Queue::open(dir.path()).unwrap();
    assert!(
        read(&queue).iter().all(|(_, item)| (number(item) + 1) % 5 != 0 || number(item) == 5999)
    );
}

#[test]
fn a_replaced_item_may_be_too_long_and_then_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let queue = small_tracks().open(dir.path()).unwrap();
    let expected = append(&queue, 0, [100; 3]);
    let long = vec![0; (1 << 30) + 1];
    let error = queue.rewrite(.., |_, _| Rewrite::Replace(long.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(read(&queue), expected);
}
