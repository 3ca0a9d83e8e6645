//! A queue whose `QUEUE` is of version 1, opened by every later build.
//!
//! `tests/fixtures/queue-v1` was written by the last build that wrote that version: some items in
//! tracks of 8 KiB, its process killed, some more, the first item named as the first that is kept, and
//! closed. A later format gets a directory and tests of its own; what is here stays as it is.

use std::path::Path;

use kogia::queue::{Entry, Id, Queue, Rewrite};
use tempfile::TempDir;

use crate::sample::copy_tree;

/// The items: the track of each, the seed of its bytes, and its length.
const ITEMS: [(u64, u32, usize); 8] = [
    (1, 1, 0),
    (2, 2, 50),
    (3, 3, 4069),
    (4, 4, 9000),
    (5, 5, 300),
    (6, 6, 700),
    (7, 7, 12_000),
    (8, 8, 1),
];

/// The bytes of a seed. Never to be changed: the fixture's items are these.
fn bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

fn expected() -> Vec<(Id, Vec<u8>)> {
    ITEMS.map(|(track, seed, len)| (Id((track << 32) + 4122), bytes(seed, len))).to_vec()
}

fn copy() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/queue-v1");
    copy_tree(&saved, dir.path());
    dir
}

fn items(stream: kogia::queue::Stream) -> Vec<(Id, Vec<u8>)> {
    stream.items().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_queue_of_version_1_is_read_by_who_does_not_own_it() {
    let dir = copy();
    let reader = Queue::reader(dir.path()).unwrap();
    assert_eq!(items(reader.stream(None).unwrap()), expected());
    assert_eq!(reader.consumers().unwrap(), [("shipper".to_owned(), expected()[1].0)]);
    assert_eq!(std::fs::read(dir.path().join("QUEUE")).unwrap()[8], 1, "it is as it was");
}

#[test]
fn a_queue_of_version_1_is_gone_on_with_and_can_be_rewritten() {
    let dir = copy();
    let queue = Queue::open(dir.path()).unwrap();
    assert_eq!(
        (queue.retention().1, items(queue.stream(None).unwrap())),
        (Some(1 << 30), expected())
    );
    let cuts = queue.verify().unwrap().cuts;
    assert_eq!(cuts.iter().map(|id| id.track().0).collect::<Vec<_>>(), [5]);
    let next = queue.append(b"next").unwrap();
    assert_eq!(next.track().0, 8, "it was closed");
    queue
        .rewrite(
            ..,
            |id, _| if id.track().0.is_multiple_of(2) { Rewrite::Drop } else { Rewrite::Keep },
        )
        .unwrap();
    queue.close().unwrap();
    let queue = Queue::open(dir.path()).unwrap();
    let mut left = expected();
    left.retain(|(id, _)| !id.track().0.is_multiple_of(2));
    assert_eq!(items(queue.stream(None).unwrap()), left);
    let mut shipper = queue.consumer("shipper").unwrap();
    assert_eq!(shipper.next().unwrap(), Some(Entry::Item(left[1].0, &left[1].1)));
}
