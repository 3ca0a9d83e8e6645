//! What a store takes in memory.

use kogia::Options;

/// Memory of this process that no file is behind, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("it has it");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number");
    kib << 10
}

/// Symptom: a store that was allowed 64 GiB took five of them when it was opened, on a machine that
/// did not have them. Cause: the filter of each memtable and the table of the cache, shares of what
/// is allowed, are written when they are made. Rule: what is taken at once is bounded.
#[test]
fn what_may_be_taken_is_not_taken_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let before = anonymous_bytes();
    let store = Options::new().memory_bytes(64 << 30).open(home.path()).expect("it opens");
    store.put("key", "value").expect("it puts");
    store.checkpoint().expect("it checkpoints");
    assert_eq!(store.get("key").expect("it reads").as_deref(), Some(&b"value"[..]));
    let taken = anonymous_bytes().saturating_sub(before);
    // Other tests run beside this one.
    assert!(taken < 1 << 30, "{taken}");
}
