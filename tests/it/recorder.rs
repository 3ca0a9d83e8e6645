//! What a recorder does: cameras write day and night, and what is too much or too old goes. Its space
//! comes back without being copied around.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kogia::{Options, PutOptions, RetentionRule, Store};

use crate::machine::{HOME, Machine, assert_sound, assert_value, value};

const CAMERAS: u64 = 8;
const TRACK_BYTES: u64 = 8 << 20;
const LIMIT_BYTES: u64 = 64 << 20;

/// Bytes that the tracks below `dir` take of the file system: holes are not counted.
fn used_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let used = entries.map(|entry| {
        let path = entry.unwrap().path();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => used_bytes(&path),
            Ok(found) if path.extension().is_some_and(|ext| ext == "track") => found.blocks() * 512,
            // Another file, or a track that was unlinked since it was listed.
            _ => 0,
        }
    });
    used.sum()
}

fn copied_bytes(store: &Store) -> u64 {
    store.compaction().disks.values().map(|disk| disk.copied_bytes).sum()
}

/// Ten times as much as the rule keeps is written, at the pace of cameras, and the disks are looked at
/// after each write.
fn record_a_week(disks: usize) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        (0..disks).map(|disk| dir.path().join(format!("disk-{disk}"))).collect();
    let options = Options::new()
        .track_bytes(TRACK_BYTES)
        .memory_bytes(16 << 20)
        .segment_bytes(256 << 10)
        .sync_interval(Duration::from_millis(20))
        .retention(RetentionRule::new("camera-").max_bytes(LIMIT_BYTES));
    let options = paths.iter().fold(options, |options, disk| options.disk(disk));
    let store = options.open(dir.path().join("home")).unwrap();
    let punches = store.stats().unwrap().disks.iter().all(|disk| disk.punches);
    let (mut written, mut most_used, mut clips) = (0, 0, 0_u64);
    while written < 10 * LIMIT_BYTES {
        // Clips of the size that a camera's seconds have: no two are alike.
        let len = 400_000 + clips * 7919 % 250_000;
        let key = format!("camera-{}/{clips:06}", clips % CAMERAS);
        store.put(key, value(clips, len as usize)).unwrap();
        written += len;
        clips += 1;
        most_used = most_used.max(paths.iter().map(|disk| used_bytes(disk)).sum());
        std::thread::sleep(Duration::from_millis(5));
    }
    let bound = LIMIT_BYTES + disks as u64 * TRACK_BYTES;
    assert!(!punches || most_used <= bound, "{most_used} bytes were used of {bound}");
    let copied = copied_bytes(&store);
    assert!(copied * 100 < written, "{copied} bytes of {written} were copied");
    let stats = store.stats().unwrap();
    assert!(stats.object_bytes > LIMIT_BYTES / 10 * 9, "{stats:?}");
    assert_value(
        &store,
        &format!("camera-{}/{:06}", (clips - 1) % CAMERAS, clips - 1),
        &value(clips - 1, (400_000 + (clips - 1) * 7919 % 250_000) as usize),
    );
    assert_sound(&store);
}

#[test]
fn a_recorders_disk_stays_within_its_rule_and_a_track_and_hardly_a_byte_is_copied() {
    record_a_week(1);
}

#[test]
fn a_recorders_disks_stay_within_its_rule_and_a_track_each_and_hardly_a_byte_is_copied() {
    record_a_week(2);
}

#[test]
fn a_track_of_which_all_has_expired_is_unlinked_without_a_byte_copied() {
    let machine = Machine::new(1, 1);
    let time = Arc::new(AtomicU64::new(1_000_000));
    let told = time.clone();
    let options = machine.options().compaction(true).clock(move || told.load(Ordering::Relaxed));
    let store = options.open(HOME).unwrap();
    let until = PutOptions { expires_ms: Some(2_000_000), ..PutOptions::default() };
    let mut clip = 0;
    while machine.tracks().len() < 5 {
        // Values that own chunks, that share them, and that lie in segments.
        let len = [20_000, 600, 150_000][clip % 3];
        store.put_with(format!("clip-{clip}"), value(clip as u64, len), &until).unwrap();
        clip += 1;
    }
    let active = machine.tracks().pop().unwrap();
    store.put("kept", value(1, 9_000)).unwrap();
    time.store(2_000_000, Ordering::Relaxed);
    assert_eq!(store.expire().unwrap().objects, clip as u64);
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    // The active one stays, with the tombstones of the others.
    let left = machine.tracks();
    assert!(left.iter().all(|track| *track >= active), "{left:?}");
    assert_eq!(copied_bytes(&store), 0);
    assert_value(&store, "kept", &value(1, 9_000));
    assert_sound(&store);
}
