//! Values in chunks that were freed.

use std::io::{Read, Write};

use kogia::{Options, Store, VerifyOptions};

const VALUE_BYTES: usize = 100_000;

fn value(tag: usize) -> Vec<u8> {
    (0..VALUE_BYTES).map(|i| (i * 31 + tag * 7 + i / 509) as u8).collect()
}

fn open(home: &std::path::Path) -> Store {
    Options::new().refill(true).punch(false).track_bytes(1 << 20).open(home).expect("it opens")
}

fn check(store: &Store, tags: impl Iterator<Item = (String, usize)>) {
    for (key, tag) in tags {
        let found = store.get(&key).expect("it reads").expect("it is there");
        assert!(found == value(tag), "{key}");
    }
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
}

#[test]
fn overwritten_chunks_are_refilled_and_survive_reopen_and_rebuild() {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(home.path());
    for i in 0..40 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    for i in (0..40).step_by(2) {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    let before = store.stats().expect("stats").total();
    for i in 100..110 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut stream = store.writer("k110").expect("a stream");
    stream.write_all(&value(110)).expect("it writes");
    stream.commit().expect("it commits");
    let after = store.stats().expect("stats").total();
    assert!(after.free_bytes + 10 * VALUE_BYTES as u64 <= before.free_bytes);
    let tags = || (1..40).step_by(2).chain(100..111).map(|i| (format!("k{i}"), i));
    check(&store, tags());
    drop(store);
    check(&open(home.path()), tags());
    let store = Options::new().refill(true).punch(false).rebuild(home.path()).expect("a rebuild");
    check(&store, tags());
    for i in 100..105 {
        store.delete(format!("k{i}")).expect("it deletes");
    }
    store.checkpoint().expect("a checkpoint");
    check(&store, tags().filter(|(_, i)| !(100..105).contains(i)));
}

#[test]
fn chunks_that_a_reader_still_reads_are_not_refilled() {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(home.path());
    for i in 0..20 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut reader = store.reader("k3").expect("it reads").expect("it is there");
    store.delete("k3").expect("it deletes");
    store.checkpoint().expect("a checkpoint");
    for i in 20..40 {
        store.put(format!("k{i}"), value(i)).expect("it puts");
    }
    let mut found = Vec::new();
    reader.read_to_end(&mut found).expect("it reads");
    assert!(found == value(3));
}
