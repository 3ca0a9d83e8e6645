//! What a store takes in memory.

use kogia::{Batch, Durability, Options};

/// Memory of this process that no file is behind, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it has it");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number");
    kib << 10
}

/// Symptom: a store that was allowed 28 GiB took two of them when it was opened. Cause: the filter of
/// each memtable, a share of what is allowed, is written when it is made. Rule: what is taken at once is
/// bounded.
#[test]
fn what_may_be_taken_is_not_taken_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let before = anonymous_bytes();
    let store = Options::new().memory_bytes(28 << 30).open(home.path()).expect("it opens");
    store.put("key", "value").expect("it puts");
    store.checkpoint().expect("it checkpoints");
    assert_eq!(store.get("key").expect("it reads").as_deref(), Some(&b"value"[..]));
    let taken = anonymous_bytes().saturating_sub(before);
    // Other tests run beside this one.
    assert!(taken < 1 << 30, "{taken}");
}

/// Bytes that this thread has read from files.
fn read_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").expect("it is there");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("it has it");
    line.parse().expect("it is a number")
}

/// Symptom: with twenty million objects, and memory as by default, a look-up read 420 KB. Cause: files'
/// filters and indexes were one block each, and the cache had no room for all of them. Rule: once the
/// index is large, they are written in parts.
#[test]
fn a_look_up_in_a_large_index_reads_little() {
    const OBJECTS: u64 = 2_000_000;
    let key = |number: u64| format!("camera-{:02}/{:0>70}", number % 64, number / 64);
    let home = tempfile::tempdir().expect("a directory");
    let options = Options::new().durability(Durability::Os).memory_bytes(16 << 20);
    let store = options.open(home.path()).expect("it opens");
    for from in (0..OBJECTS).step_by(5000) {
        let mut batch = Batch::new();
        (from..from + 5000).for_each(|number| {
            batch.put(key(number), "");
        });
        store.write(batch).expect("it puts");
    }
    store.checkpoint().expect("it checkpoints");
    let (before, looked_up) = (read_bytes(), 2000);
    for nth in 0..looked_up {
        let number = nth * 7_919_999 % OBJECTS;
        assert!(store.head(key(number)).expect("it reads").is_some(), "{number}");
    }
    let each = (read_bytes() - before) / looked_up;
    assert!(each < 64 << 10, "{each}");
}
