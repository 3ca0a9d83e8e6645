//! Compaction: nothing is lost, nothing comes back, and space does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kogia::{CompactOptions, CompactReport, PutOptions, Store};

use crate::machine::{
    HOME, Machine, assert_sound, assert_value, compact, everything, put_os, value,
};

type Map = BTreeMap<String, Vec<u8>>;

/// Values of every kind of place: empty, packed, owned, and in segments.
const LENGTHS: [usize; 6] = [0, 12, 900, 5_000, 20_000, 150_000];

/// Writes a round of puts, so that every track gets some of each kind, and some deletes.
fn churn(store: &Store, map: &mut Map, round: u64) {
    for i in 0..30_u64 {
        let key = format!("k{}", (i * 7 + round * 3) % 40);
        let len = LENGTHS[((i + round) % 6) as usize];
        let bytes = value(round * 1000 + i, len);
        store.put(&key, &bytes).unwrap();
        map.insert(key, bytes);
    }
    for i in (round % 5..40).step_by(5) {
        store.delete(format!("k{i}")).unwrap();
        map.remove(&format!("k{i}"));
    }
}

#[track_caller]
fn assert_holds(store: &Store, map: &Map) {
    let found: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
    let expected: Vec<_> = map.keys().map(|key| key.as_bytes().to_vec()).collect();
    assert_eq!(found, expected);
    map.iter().for_each(|(key, bytes)| assert_value(store, key, bytes));
    assert_sound(store);
}

fn used(store: &Store) -> u64 {
    let space = store.stats().unwrap().total();
    space.file_bytes - space.punched_bytes
}

/// See `a_track_that_would_be_as_large_again_is_left_alone` of the policy.
#[test]
fn a_small_store_comes_to_rest() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    for round in 0..3 {
        for key in 0..3 {
            store.put(format!("k{key}"), value(round, 100)).unwrap();
        }
    }
    store.delete("k0").unwrap();
    let usual = CompactOptions::default();
    compact(&store);
    assert_eq!(store.plan_compaction(&usual).unwrap(), []);
    assert_eq!(store.compact(&usual).unwrap().tracks, 0);
    assert_value(&store, "k1", &value(2, 100));
}

/// Symptom: tombstones were kept for ever. Cause: a store that had been empty once thought that it had
/// looked at all that there would ever be. Rule: where there is no track, nothing is learned.
#[test]
fn tombstones_are_forgotten_also_where_a_store_was_empty_once() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.maintain().unwrap();
    for key in ["a", "b", "c"] {
        store.put(key, value(1, 30_000)).unwrap();
    }
    store.delete("a").unwrap();
    for _ in 0..3 {
        compact(&store);
        store.maintain().unwrap();
    }
    let tombstones: u64 = store.tracks().unwrap().iter().map(|track| track.tombstones).sum();
    assert_eq!(tombstones, 0);
}

#[test]
fn what_lives_is_the_same_after_compaction_reopening_and_a_rebuild_and_takes_less_room() {
    let machine = Machine::new(1, 2);
    let (store, mut map) = (machine.open(), Map::new());
    (0..6).for_each(|round| churn(&store, &mut map, round));
    store.checkpoint().unwrap();
    let before = used(&store);
    let report = compact(&store);
    assert!(report.tracks > 3 && report.copied_records > 10, "{report:?}");
    assert!(used(&store) < before * 4 / 5, "{before} before, {} after", used(&store));
    assert_holds(&store, &map);
    (6..9).for_each(|round| churn(&store, &mut map, round));
    compact(&store);
    assert_holds(&store, &map);
    store.close().unwrap();
    let store = machine.open();
    assert!(store.recovery().clean);
    assert_holds(&store, &map);
    let live = store.stats().unwrap();
    store.close().unwrap();
    let store = machine.rebuild();
    assert_holds(&store, &map);
    let rebuilt = store.stats().unwrap();
    assert_eq!(live.total().live_bytes, rebuilt.total().live_bytes);
    assert_eq!(live.object_bytes, rebuilt.object_bytes);
}

/// Everything that the index knows of objects and tracks, as far as a rebuild has to find it.
#[derive(Debug, PartialEq)]
struct State {
    objects: Vec<(Vec<u8>, kogia::Info)>,
    /// Track, bytes of its file, live records, bytes that are free or punched, cost.
    tracks: Vec<(u32, u64, u64, u64, u64)>,
}

fn state(store: &Store) -> State {
    let tracks = store.tracks().unwrap().into_iter().map(|track| {
        let free = track.free_bytes + track.punched_bytes;
        (track.track.0, track.file_bytes, track.live_records, free, track.cost_bytes)
    });
    State { objects: store.iter(..).map(Result::unwrap).collect(), tracks: tracks.collect() }
}

#[test]
fn a_rebuild_after_heavy_churn_gives_exactly_the_state_of_the_live_index() {
    for seed in 0..4 {
        let machine = Machine::new(20 + seed, 2);
        let (store, mut map) = (machine.open(), Map::new());
        for round in 0..20 {
            churn(&store, &mut map, seed * 100 + round);
            if round % 3 == seed % 3 {
                compact(&store);
            }
        }
        compact(&store);
        assert!(store.stats().unwrap().tombstones < 30, "{:?}", store.stats());
        store.close().unwrap();
        let store = machine.open();
        let live = state(&store);
        store.close().unwrap();
        let store = machine.rebuild();
        assert_holds(&store, &map);
        assert_eq!(live, state(&store));
    }
}

#[test]
fn a_store_of_nothing_but_deletes_shrinks_to_nearly_nothing() {
    let machine = Machine::new(2, 1);
    let store = machine.open();
    for i in 0..2000 {
        store.put(format!("k{i}"), value(i, 700)).unwrap();
    }
    for i in 0..2000 {
        store.delete(format!("k{i}")).unwrap();
    }
    compact(&store);
    let stats = store.stats().unwrap();
    assert!(used(&store) <= 16 * 4096, "{stats:?}");
    assert_eq!((stats.objects, stats.tombstones), (0, 0));
    assert_sound(&store);
}

#[test]
fn parts_and_streams_under_way_survive_the_compaction_of_their_tracks() {
    let machine = Machine::new(3, 1);
    let store = machine.open();
    let mut part = store.part().unwrap();
    part.write_all(&value(1, 100_000)).unwrap();
    let part = part.finish().unwrap().id;
    let mut stream = store.writer("stream").unwrap();
    stream.write_all(&value(2, 200_000)).unwrap();
    for i in 0..100 {
        store.put(format!("k{}", i % 3), value(i, 9_000)).unwrap();
    }
    assert!(compact(&store).copied_records > 0);
    stream.write_all(&value(3, 10_000)).unwrap();
    stream.commit().unwrap();
    store.assemble("object", &[part], &PutOptions::default()).unwrap();
    compact(&store);
    assert_value(&store, "stream", &[value(2, 200_000), value(3, 10_000)].concat());
    assert_value(&store, "object", &value(1, 100_000));
    assert_sound(&store);
    store.close().unwrap();
    let store = machine.rebuild();
    assert_value(&store, "stream", &[value(2, 200_000), value(3, 10_000)].concat());
    assert_value(&store, "object", &value(1, 100_000));
    assert_sound(&store);
}

/// Symptom: after a rebuild an assembled object's segment was lost. Cause: compaction had moved the
/// object behind the tombstone of its part, and what killed the part freed the segment that the
/// object names. Rule: a rebuild frees segments only when all puts are known.
#[test]
fn an_object_that_moved_behind_the_tombstone_of_its_part_is_whole_after_a_rebuild() {
    let machine = Machine::new(6, 1);
    let options = || machine.options().shard(|_, _, _| 1);
    let store = options().open(HOME).unwrap();
    let mut part = store.part().unwrap();
    part.write_all(&value(1, 100_000)).unwrap();
    let part = part.finish().unwrap().id;
    // The part's track is full, and stays as it is.
    put_os(&store, "another", &value(2, 200_000));
    store.assemble("object", &[part], &PutOptions::default()).unwrap();
    store.close().unwrap();
    let store = options().open(HOME).unwrap();
    let track = store.tracks().unwrap().iter().map(|stats| stats.track).max();
    let tracks = Some(Vec::from_iter(track));
    let report = store.compact(&CompactOptions { tracks, ..CompactOptions::default() }).unwrap();
    assert!(report.tracks == 1 && report.copied_records >= 2, "{report:?}");
    store.close().unwrap();
    let store = options().rebuild(HOME).unwrap();
    assert_value(&store, "object", &value(1, 100_000));
    assert_eq!(store.parts().unwrap(), []);
    assert_sound(&store);
}

#[test]
fn refilled_values_move_with_the_track_they_lie_in() {
    let machine = Machine::new(4, 1);
    let options = || machine.options().refill(true).punch(false);
    let store = options().open(HOME).unwrap();
    for i in 0..60 {
        store.put(format!("k{i}"), value(i, 20_000)).unwrap();
    }
    for i in (0..60).step_by(2) {
        store.delete(format!("k{i}")).unwrap();
    }
    store.checkpoint().unwrap();
    for i in 100..120 {
        store.put(format!("k{i}"), value(i, 19_000)).unwrap();
    }
    for i in (1..60).step_by(4) {
        store.delete(format!("k{i}")).unwrap();
    }
    compact(&store);
    let check = |store: &Store| {
        for i in (3..60).step_by(4) {
            assert_value(store, &format!("k{i}"), &value(i, 20_000));
        }
        for i in 100..120 {
            assert_value(store, &format!("k{i}"), &value(i, 19_000));
        }
        assert_sound(store);
    };
    check(&store);
    store.close().unwrap();
    check(&options().rebuild(HOME).unwrap());
}

#[test]
fn snapshots_and_readers_keep_what_they_see_while_it_moves() {
    let machine = Machine::new(5, 1);
    let (store, mut map) = (machine.open(), Map::new());
    (0..4).for_each(|round| churn(&store, &mut map, round));
    let snapshot = store.snapshot().unwrap();
    let (key, bytes) = map.iter().find(|(_, bytes)| bytes.len() == 150_000).unwrap();
    let mut reader = store.reader(key).unwrap().unwrap();
    let mut now = map.clone();
    (4..8).for_each(|round| churn(&store, &mut now, round));
    compact(&store);
    compact(&store);
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == *bytes);
    for (key, bytes) in &map {
        assert!(snapshot.get(key).unwrap().as_ref() == Some(bytes), "{key}");
    }
    drop(reader);
    drop(snapshot);
    compact(&store);
    assert_holds(&store, &now);
}

#[test]
fn compaction_stops_when_it_is_told_to_and_goes_on_where_it_was() {
    let machine = Machine::new(6, 1);
    let (store, mut map) = (machine.open(), Map::new());
    (0..6).for_each(|round| churn(&store, &mut map, round));
    let stop = CompactOptions { on_progress: Some(Box::new(|now| now.tracks < 1)), ..everything() };
    let report = store.compact(&stop).unwrap();
    assert!(report.stopped && report.tracks <= 1, "{report:?}");
    assert_holds(&store, &map);
    let report = compact(&store);
    assert!(!report.stopped);
    assert_holds(&store, &map);
}

#[test]
fn a_track_that_cannot_be_read_stays_and_is_named() {
    let machine = Machine::new(7, 1);
    let store = machine.open();
    for i in 0..100 {
        store.put(format!("k{i}"), value(i, 1_500)).unwrap();
    }
    for i in (0..100).step_by(2) {
        store.delete(format!("k{i}")).unwrap();
    }
    store.close().unwrap();
    let first = machine.tracks()[0].clone();
    machine.flip(&first, 10 * 4096 + 1000, 3);
    let store = machine.open();
    let named = kogia::TrackId(1);
    let report = store
        .compact(&CompactOptions { tracks: Some(vec![named]), ..CompactOptions::default() })
        .unwrap();
    assert_eq!(report.blocked, [named]);
    assert!(machine.tracks().contains(&first));
    store.get("k9").unwrap_err();
    for i in (1..100).step_by(2).filter(|i| *i != 9) {
        assert_value(&store, &format!("k{i}"), &value(i, 1_500));
    }
}

#[test]
fn copies_are_grouped_by_the_partition_function() {
    let machine = Machine::new(8, 1);
    let options = machine.options().shard(|key, _, _| key[0] - b'a');
    let store = options.open(HOME).unwrap();
    for i in 0..200 {
        let key = format!("{}{}", ['a', 'b', 'c'][i as usize % 3], i % 60);
        store.put(key, value(i, 2_000)).unwrap();
    }
    compact(&store);
    let shards: Vec<u8> =
        store.tracks().unwrap().iter().filter(|t| t.compacted).map(|t| t.shard).collect();
    assert_eq!(shards, [0, 1, 2]);
    assert_sound(&store);
}

#[test]
fn a_snapshot_that_is_held_for_long_neither_fills_the_disk_with_copies_nor_stops_writers() {
    let machine = Machine::new(9, 1);
    let options = machine.options().track_bytes(1 << 20).max_space_amplification(1.1);
    let store = options.compaction(true).compaction_rate(None).open(HOME).unwrap();
    for i in 0..6000 {
        store.put(format!("k{}", i % 3000), value(i, 3_500)).unwrap();
    }
    let snapshot = store.snapshot().unwrap();
    let started = std::time::Instant::now();
    for i in 0..12_000 {
        put_os(&store, &format!("k{}", (i * 7) % 3000), &value(i, 3_500));
    }
    store.checkpoint().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let copied: u64 = store.compaction().disks.values().map(|disk| disk.copied_bytes).sum();
    // Everything that was written, and what was copied before it was noticed.
    let used = used(&store);
    assert!(used < 18_000 * 4_200 + (16 << 20), "{used} bytes used, {copied} copied");
    assert!(!store.compaction().slows_writers);
    println!("{:?}, {copied} copied", started.elapsed());
    drop(snapshot);
    for _ in 0..2 {
        compact(&store);
    }
    assert!(self::used(&store) < 3000 * 4_200 * 12 / 10 + (1 << 20));
    assert_sound(&store);
}

#[test]
fn a_plan_names_the_tracks_that_are_then_compacted_and_changes_nothing() {
    let machine = Machine::new(17, 2);
    let (store, mut map) = (machine.open(), Map::new());
    (0..6).for_each(|round| churn(&store, &mut map, round));
    store.checkpoint().unwrap();
    let before = store.tracks().unwrap();
    let plan = store.plan_compaction(&everything()).unwrap();
    assert!(plan.iter().any(|track| before.iter().any(|t| t.track == track.track && !t.sealed)));
    assert_eq!(store.tracks().unwrap(), before);
    let disk = store.stats().unwrap().disks[1].id;
    let one_disk = CompactOptions { disks: Some(vec![disk]), ..everything() };
    let of_disk = plan.iter().filter(|track| track.disk == disk).cloned().collect::<Vec<_>>();
    assert_eq!(store.plan_compaction(&one_disk).unwrap(), of_disk);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let on_progress = move |report: &CompactReport| {
        told.lock().unwrap().push((report.track, report.tracks_left));
        true
    };
    let options = CompactOptions { on_progress: Some(Box::new(on_progress)), ..everything() };
    let report = store.compact(&options).unwrap();
    assert_eq!((report.tracks, report.tracks_left), (plan.len() as u64, 0));
    assert_eq!((report.track, report.after_bytes), (None, used(&store)));
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.dedup();
    let planned = plan.iter().zip((1..=plan.len() as u64).rev());
    assert_eq!(seen, planned.map(|(track, left)| (Some(track.track), left)).collect::<Vec<_>>());
}

#[test]
fn writers_do_not_wait_for_room_that_a_snapshot_holds() {
    let machine = Machine::new(32, 1);
    let store = machine.options().compaction(true).open(HOME).unwrap();
    for i in 0..60 {
        store.put(format!("k{i}"), value(i, 40_000)).unwrap();
    }
    let snapshot = store.snapshot().unwrap();
    for i in 0..60 {
        store.delete(format!("k{i}")).unwrap();
    }
    store.checkpoint().unwrap();
    let started = Instant::now();
    for i in 0..5 {
        store.put(format!("new{i}"), value(i, 40_000)).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(snapshot.get("k1").unwrap().is_some());
}
