//! Many threads at once on a store that is compacted all the while, on tracks so small that each is
//! rewritten again and again.
//!
//! `KOGIA_TEST_ROUNDS` makes each thread do so many times as much.

use std::path::Path;
use std::time::Duration;

use kogia::{Durability, Options, Store};

use crate::concurrency::race::Race;
use crate::machine::assert_sound;

/// Two disks, tracks of a few values, compaction as fast as it goes, and checkpoints on its own.
fn options(dir: &Path) -> Options {
    Options::new()
        .disk(dir.join("a"))
        .disk(dir.join("b"))
        .memory_bytes(16 << 20)
        .segment_bytes(32 << 10)
        .track_bytes(128 << 10)
        .reserve_bytes(64 << 10)
        .durability(Durability::Os)
        .sync_interval(Duration::from_millis(50))
        .checkpoint_interval(Duration::from_millis(20))
        .compaction_rate(None)
        .max_space_amplification(2.0)
}

fn rounds() -> u64 {
    std::env::var("KOGIA_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

fn race_with_compaction(change: impl Fn(Options) -> Options) {
    let dir = tempfile::tempdir().unwrap();
    let (home, options) = (dir.path().join("home"), change(options(dir.path())));
    let race = Race::compacting(60 * rounds());
    let store = options.clone().open(&home).unwrap();
    race.run(&store);
    race.check_end(&store);
    assert_compacted(&store);
    assert_sound(&store);
    store.close().unwrap();
    let store = options.clone().open(&home).unwrap();
    race.check_end(&store);
    assert_sound(&store);
    store.close().unwrap();
    let store = options.rebuild(&home).unwrap();
    race.check_end(&store);
    assert_sound(&store);
    // What was rebuilt is as good as what was there: it can be written and compacted on.
    race.run(&store);
    race.check_end(&store);
    assert_compacted(&store);
    assert_sound(&store);
}

/// Fails unless the disks' threads have compacted, and made nobody wait for two of their batches.
fn assert_compacted(store: &Store) {
    let status = store.compaction();
    assert!(status.blocked.is_empty(), "{status:?}");
    assert!(status.most_swaps_waited_for <= 1, "{status:?}");
    assert!(status.disks.values().any(|disk| disk.copied_records > 0), "{status:?}");
}

#[test]
fn every_read_during_compaction_gives_what_was_acknowledged_or_in_flight() {
    race_with_compaction(|options| options);
}

#[test]
fn every_read_during_compaction_into_shards_gives_what_was_acknowledged_or_in_flight() {
    race_with_compaction(|options| {
        options.shard(|key, _, _| key.last().map_or(0, |byte| byte % 3))
    });
}

#[test]
fn every_read_during_compaction_among_refills_gives_what_was_acknowledged_or_in_flight() {
    race_with_compaction(|options| options.refill(true).punch(false));
}
