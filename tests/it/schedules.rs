//! The schedules that broke earlier drafts of the design, each with its symptom, its cause and the
//! rule that came of it.
//!
//! What compaction does in schedules 4, 10 and 11 is not here: copies that are swapped in, moved
//! segments, and outputs that are open beside the active track come with it. Of schedule 4 there
//! is what deletes do by themselves, of 11 that each track has its own `applied`.

use std::io::Write;

use kogia::io::sim::{CallKind, Fail, Fault, Keep};
use kogia::{Batch, Condition, Durability, ErrorKind, PutOptions, Store};

use crate::held::{Call, HeldIo};
use crate::machine::{
    CHUNK, HOME, Machine, assert_sound, assert_value, compact, put_os, refused, value,
};

const LARGE: usize = 20_000;
/// What [`Machine::options`] keep for deletes.
const RESERVE: u64 = 64 << 10;

#[track_caller]
fn put_if(store: &Store, condition: Condition) -> kogia::Result<kogia::Seq> {
    let options = PutOptions { condition, ..PutOptions::default() };
    store.put_with("k", "conditional", &options)
}

/// Schedule 1: Symptom: `b` and the second `a`, both acknowledged, are gone after a crash. Cause: the first
/// `a` was punched when it was overwritten; replay met the hole and took it for the torn end.
/// Rule: I4, freed chunks are reused only after a checkpoint that contains the kill.
#[test]
fn schedule_1_an_overwritten_value_is_not_punched_before_a_checkpoint() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("a", value(1, LARGE)).unwrap();
    store.put("b", value(2, LARGE)).unwrap();
    store.put("a", value(3, LARGE)).unwrap();
    assert_eq!(machine.io.counters().of(CallKind::Punch), 1, "only the one that tries it");
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert_eq!(store.recovery().replayed_chains, 3);
    assert_eq!(store.recovery().torn, []);
    assert_value(&store, "a", &value(3, LARGE));
    assert_value(&store, "b", &value(2, LARGE));
    assert_sound(&store);
}

/// Schedule 2: Symptom: a put-if-absent that was refused wins after a crash. Cause: two disks each logged
/// one for the same key; one was applied and acknowledged, the other refused when it was applied.
/// Rule: I6, a condition is checked behind a gate that is held until the write is applied, so that
/// a refused write is never logged.
#[test]
fn schedule_2_a_refused_put_is_not_in_any_track() {
    let machine = Machine::new(1, 2);
    let held = HeldIo::new(&machine.io);
    let store = machine.options().io(std::sync::Arc::new(held.clone())).open(HOME).unwrap();
    store.put("1", value(1, 8192)).unwrap();
    store.put("2", value(1, 8192)).unwrap();
    let sync = held.hold_next(Call::Sync, "/mnt");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| put_if(&store, Condition::IfAbsent));
        sync.wait();
        let second = scope.spawn(|| put_if(&store, Condition::IfAbsent));
        // Time for the second to be logged, were it not for the gate.
        std::thread::sleep(std::time::Duration::from_millis(100));
        sync.let_go();
        first.join().unwrap().unwrap();
        assert_eq!(refused(second.join().unwrap()), ErrorKind::Condition);
    });
    let seq = store.head("k").unwrap().unwrap().seq;
    let machine = machine.cut(store, Keep::Everything);
    let store = machine.open();
    assert_eq!(store.recovery().replayed_records, 3);
    assert_eq!(store.head("k").unwrap().unwrap().seq, seq);
}

/// Schedule 3: Symptom: an extent is in the free list twice, and two values are written into it. Cause: two
/// disks read the same old entry and each freed what it referred to. Rule: I6, compare and write
/// are one step under the apply lock.
#[test]
fn schedule_3_overwrites_on_two_disks_free_each_value_once() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..30 {
                    put_os(store, "k", &value(thread * 100 + round, LARGE));
                }
            });
        }
    });
    assert_sound(&store);
    let live = store.stats().unwrap().total();
    assert_eq!(live.live_bytes, LARGE as u64);
    assert_eq!(live.free_bytes + live.punched_bytes, 119 * 5 * CHUNK as u64);
    let last = store.get("k").unwrap();
    store.sync().unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    assert_eq!(machine.open().get("k").unwrap(), last);
}

/// 4, without compaction. Symptom: a deleted object is back. Cause: after the delete there was
/// nothing in the index that an older record of the key, which came late, could have lost against.
/// Rule: I9 and I6, tombstones are rows that records are compared with. (Before there is compaction
/// no record comes late: gates keep puts and deletes of a key apart, and replay goes by seq.)
#[test]
fn schedule_4_a_delete_is_still_known_when_the_index_is_made_anew() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    store.put("k", value(1, 8192)).unwrap();
    assert!(store.delete("k").unwrap());
    store.checkpoint().unwrap();
    assert_eq!(store.stats().unwrap().tombstones, 1);
    let machine = machine.cut(store, Keep::Nothing);
    // The index of a moment before it all: both records are replayed onto it.
    machine.lose_index();
    let store = machine.open();
    assert!(!store.exists("k").unwrap());
    assert_eq!(store.stats().unwrap().tombstones, 1);
    assert_sound(&store);
}

/// Schedule 5: Symptom: chunks of a live value are in the free list after a rebuild. Cause: they had been
/// another value's, which is seen to die a second time. Rule: what a rebuild frees is what nothing
/// live refers to when all is known.
#[test]
fn schedule_5_a_rebuild_does_not_free_refilled_chunks() {
    let machine = Machine::new(1, 1);
    let options = machine.options().track_bytes(64 << 10).refill(true).punch(false);
    let store = options.open(HOME).unwrap();
    for key in ["k", "kept", "rolls"] {
        store.put(key, value(1, LARGE)).unwrap();
    }
    store.put("k", "later").unwrap();
    store.checkpoint().unwrap();
    let before = store.stats().unwrap().total();
    store.put("x", value(2, LARGE)).unwrap();
    let after = store.stats().unwrap().total();
    assert!(after.free_bytes < before.free_bytes, "x lies where k was");
    store.put("k", "last").unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.rebuild();
    assert_value(&store, "x", &value(2, LARGE));
    assert_value(&store, "kept", &value(1, LARGE));
    assert_value(&store, "k", b"last");
    assert_sound(&store);
}

/// 5 again. Symptom: "two values claim these chunks". Cause: the value that had them before was a
/// stream's that was dropped, of which no record says that it died. Rule: a rebuild forgets dead
/// streams before live values claim their chunks.
#[test]
fn schedule_5_a_rebuild_does_not_keep_chunks_for_a_dead_stream_that_were_refilled() {
    let machine = Machine::new(1, 1);
    let options = machine.options().track_bytes(64 << 10).refill(true).punch(false);
    let store = options.open(HOME).unwrap();
    store.put("kept", value(1, 100)).unwrap();
    let mut writer = store.writer("dropped").unwrap();
    writer.write_all(&value(2, 40_000)).unwrap();
    drop(writer);
    store.put("rolls", value(1, LARGE)).unwrap();
    store.checkpoint().unwrap();
    let before = store.stats().unwrap().total();
    store.put("x", value(3, LARGE)).unwrap();
    let after = store.stats().unwrap().total();
    assert!(after.free_bytes < before.free_bytes, "x lies where the stream was");
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.rebuild();
    assert_value(&store, "x", &value(3, LARGE));
    assert_value(&store, "kept", &value(1, 100));
    assert_sound(&store);
}

/// Schedule 6: Symptom: one flipped bit in `a` costs `b` and `c` too. Cause: the bad chunk was taken for the
/// torn end, and cut off with all behind it. Rule: I10, a bad chunk that was synced is no torn end.
#[test]
fn schedule_6_a_rotten_chunk_does_not_cost_the_chains_behind_it() {
    for (len, chunk) in [(100, 1), (LARGE, 3)] {
        let machine = Machine::new(1, 1);
        let store = machine.open();
        for key in ["a", "b", "c"] {
            store.put(key, value(1, len)).unwrap();
        }
        let machine = machine.cut(store, Keep::Nothing);
        machine.flip(&machine.tracks()[0], chunk * CHUNK + 100, 0);
        // A rotten directory may hide anything; a rotten value hides nothing.
        let options = machine.options().accept_loss(chunk == 1);
        let store = options.open(HOME).unwrap();
        assert_eq!(store.recovery().torn, []);
        match store.get("a") {
            Ok(found) => assert_eq!(found, None),
            Err(error) => assert_eq!(error.track().unwrap().1, chunk as u32),
        }
        assert_value(&store, "b", &value(1, len));
        assert_value(&store, "c", &value(1, len));
    }
}

/// Schedule 7: Symptom: the index points at bytes that the device never got. Cause: chains were applied
/// under `Os`, their sync failed, and a checkpoint flushed the index all the same. Rule: I2, such a
/// store takes no more writes and its index is not flushed; opening recovers what was synced.
#[test]
fn schedule_7_no_checkpoint_after_the_sync_of_applied_chains_failed() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("k", "synced").unwrap();
    put_os(&store, "k", b"applied, and lost");
    machine.io.fail_next(CallKind::Sync, Fail::Eio);
    assert_eq!(refused(store.checkpoint()), ErrorKind::Io);
    assert!(store.checkpoint().is_err());
    assert_eq!(refused(store.put("k", "more")), ErrorKind::Poisoned);
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert!(!store.recovery().rebuilt);
    assert_value(&store, "k", b"synced");
    assert_sound(&store);
}

/// Schedule 8: Symptom: a deleted object is back. Cause: its track was unlinked, its tombstone forgotten, and
/// the power cut before the directory was synced: the track was there again. Rule: I9, unlink,
/// sync the directory, then forget.
///
/// src/store/reclaim.rs, `unlink`: `io.sync_dir(&volume.dir)`
#[test]
fn schedule_8_an_unlinked_track_does_not_come_back_without_the_tombstones_that_hid_it() {
    let machine = Machine::new(1, 1);
    let store = machine.options().track_bytes(64 << 10).open(HOME).unwrap();
    for key in ["a", "b", "x", "y", "z"] {
        if key == "y" {
            assert!(store.delete("a").unwrap() && store.delete("b").unwrap());
        }
        store.put(key, value(1, LARGE)).unwrap();
    }
    assert!(store.delete("x").unwrap() && store.delete("y").unwrap());
    for _ in 0..3 {
        store.checkpoint().unwrap();
    }
    assert_eq!(machine.tracks().len(), 1);
    let machine = machine.halt(Some(store));
    for keep in (0..12).map(Keep::Random) {
        let machine = machine.fork(keep);
        let keys = |store: &Store| store.iter(..).map(|item| item.unwrap().0).collect::<Vec<_>>();
        assert_eq!(keys(&machine.open()), [b"z"]);
        assert_eq!(keys(&machine.rebuild()), [b"z"]);
    }
}

/// Symptom: deleted objects are back after a power cut. Cause: the process was killed when it had
/// unlinked their track and not yet synced the directory; the next one found no track, and forgot
/// the tombstones. Rule: I9, a track is gone when its directory was synced, whoever unlinked it.
#[test]
fn a_track_that_a_killed_process_has_unlinked_does_not_come_back_without_its_tombstones() {
    let machine = Machine::new(1, 1);
    let small_tracks = |machine: &Machine| machine.options().track_bytes(64 << 10);
    let store = small_tracks(&machine).open(HOME).unwrap();
    for key in ["a", "b", "x", "y", "z"] {
        store.put(key, value(1, LARGE)).unwrap();
    }
    // Before anything dies, so that the housekeeper's own checkpoints fail as well.
    machine.io.fail(Fault::next(CallKind::SyncDir, Fail::Eio).under(Machine::disk(0)).lasting());
    assert!(store.delete("a").unwrap() && store.delete("b").unwrap());
    store.checkpoint().expect_err("the directory's sync fails");
    machine.io.heal();
    let machine = machine.kill(store);
    let store = small_tracks(&machine).open(HOME).unwrap();
    for _ in 0..3 {
        store.checkpoint().unwrap();
    }
    assert_eq!(store.stats().unwrap().tombstones, 0);
    let machine = machine.halt(Some(store));
    for keep in [Keep::Nothing, Keep::Everything] {
        let machine = machine.fork(keep);
        let store = machine.open();
        assert!(!store.exists("a").unwrap());
        assert_sound(&store);
    }
}

/// Symptom: the chunks of a moved segment are neither live nor free after recovery. Cause: the file
/// of its first place, which the index had forgotten, was there again; what is older than what the
/// index knows was passed over. Rule: what loses is free.
#[test]
fn the_segments_of_a_track_that_came_back_are_free() {
    let machine = Machine::new(1, 1);
    let store = machine.options().track_bytes(64 << 10).open(HOME).unwrap();
    let mut part = store.part().unwrap();
    part.write_all(&value(1, LARGE)).unwrap();
    part.finish().unwrap();
    for tag in [2, 3] {
        store.put("live", value(tag, LARGE)).unwrap();
    }
    let first = machine.tracks().remove(0);
    let bytes = machine.io.read_file(&first).unwrap();
    compact(&store);
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    assert!(!machine.tracks().contains(&first));
    machine.io.write_file(&first, &bytes).unwrap();
    let machine = machine.kill(store);
    let store = machine.open();
    assert_eq!(store.recovery().damage, []);
    assert_value(&store, "live", &value(3, LARGE));
    assert_sound(&store);
    for _ in 0..2 {
        store.checkpoint().unwrap();
    }
    assert!(!machine.tracks().contains(&first));
}

/// Schedule 9: Symptom: a streamed object is there after a crash, a segment of it is not, and neither is its
/// predecessor. Cause: under `Os` its commit reached the one disk and the segment did not reach the
/// other. Rule: I3, segments are synced before the commit is appended; I4.
#[test]
fn schedule_9_a_stream_under_os_replaces_its_predecessor_whole_or_not_at_all() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    store.put("k", value(1, 150_000)).unwrap();
    let options = PutOptions { durability: Some(Durability::Os), ..PutOptions::default() };
    let mut writer = store.writer_with("k", options).unwrap();
    writer.write_all(&value(2, 160_000)).unwrap();
    writer.commit().unwrap();
    let machine = machine.halt(Some(store));
    let mut seen = [false; 2];
    for keep in (0..20).map(Keep::Random) {
        let machine = machine.fork(keep);
        let store = machine.open();
        let found = store.get("k").unwrap().unwrap();
        let is_new = found == value(2, 160_000);
        assert!(is_new || found == value(1, 150_000));
        seen[usize::from(is_new)] = true;
        assert_sound(&store);
    }
    assert_eq!(seen, [true; 2]);
}

/// 10, without compaction. Symptom: of two changes of what an object refers to, one is lost.
/// Cause: its record named places. Rule: records name segments by seq, and the index knows where
/// each is: an object takes parts over without a byte or a place being written again.
#[test]
fn schedule_10_parts_are_taken_over_by_name() {
    let machine = Machine::new(1, 2);
    let store = machine.open();
    let mut ids = Vec::new();
    for tag in 0..3 {
        let mut part = store.part().unwrap();
        part.write_all(&value(tag, 70_000)).unwrap();
        ids.push(part.finish().unwrap().id);
    }
    store.checkpoint().unwrap();
    machine.io.reset_counters();
    store.assemble("whole", &ids, &PutOptions::default()).unwrap();
    assert!(machine.io.counters().bytes_written <= CHUNK as u64);
    let machine = machine.cut(store, Keep::Nothing);
    let expected = [value(0, 70_000), value(1, 70_000), value(2, 70_000)].concat();
    for rebuild in [false, true] {
        let store = if rebuild { machine.rebuild() } else { machine.open() };
        assert_value(&store, "whole", &expected);
        assert_eq!(store.parts().unwrap(), []);
        assert_sound(&store);
    }
}

/// 11, without compaction. Symptom: chains are skipped by replay. Cause: one watermark a disk, past
/// the chains of another track. Rule: each track has its own `applied`.
#[test]
fn schedule_11_every_track_is_replayed_from_where_it_was_left() {
    let machine = Machine::new(1, 2);
    let store = machine.options().track_bytes(64 << 10).open(HOME).unwrap();
    for tag in 0..12 {
        store.put(tag.to_string(), value(tag, LARGE)).unwrap();
        if tag == 4 {
            store.checkpoint().unwrap();
        }
    }
    assert!(machine.tracks().len() >= 6);
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert_eq!(store.recovery().replayed_chains, 7);
    for tag in 0..12 {
        assert_value(&store, &tag.to_string(), &value(tag, LARGE));
    }
}

/// Schedule 12: Symptom: "only if the seq is N" passes on an object that was overwritten. Cause: two puts of
/// the key shared a commit group, and the group's seq was theirs. Rule: each record has a seq.
///
/// src/disk/proposal.rs, `set_seqs`: `for (seq, &end) in (first.0..).zip(&self.ends) {`
#[test]
fn schedule_12_puts_of_one_group_have_seqs_of_their_own() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    let mut batch = Batch::new();
    batch.put("k", "first").put("k", "second");
    let seqs = store.write(batch).unwrap();
    assert!(seqs[0] < seqs[1]);
    assert_eq!(store.head("k").unwrap().unwrap().seq, seqs[1]);
    assert_eq!(refused(put_if(&store, Condition::IfSeq(seqs[0]))), ErrorKind::Condition);
    assert_value(&store, "k", b"second");
    assert!(put_if(&store, Condition::IfSeq(seqs[1])).unwrap() > seqs[1]);
}

/// Schedule 13: Symptom: nothing can be deleted any more, and so room never comes back. Cause: a delete and
/// the checkpoint that follows it take room, too. Rule: puts are refused while there still is some.
///
/// src/disk/commit.rs, `append`: `group = self.refuse_puts(group, &full);`
#[test]
fn schedule_13_a_full_disk_refuses_puts_and_takes_deletes_until_there_is_room() {
    /// So many bytes that one put too many would use the reserve.
    const HUGE: usize = 100_000;
    let machine = Machine::new(1, 1);
    machine.io.set_capacity(Machine::disk(0), 992 << 10);
    let store = machine.open();
    let mut stored = 0;
    let full = loop {
        match store.put(format!("{stored}"), value(stored, HUGE)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::Full);
    assert!(full.to_string().contains("disk-0"), "{full}");
    let left = store.stats().unwrap().disks[0].available_bytes;
    assert!(left >= RESERVE, "{left}");
    assert_eq!(stored, 8);
    for key in 0..stored {
        assert_value(&store, &key.to_string(), &value(key, HUGE));
    }
    for key in 0..stored / 2 {
        assert!(store.delete(key.to_string()).unwrap());
    }
    store.checkpoint().unwrap();
    store.put("again", value(1, HUGE)).unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    let store = machine.open();
    assert_eq!(store.stats().unwrap().objects, stored - stored / 2 + 1);
    assert_sound(&store);
}

/// Schedule 14: Symptom: acknowledged chains are lost in a crash. Cause: a short append had left garbage in
/// front of them, where replay ended. Rule: what a failed append wrote is overwritten by the next.
///
/// src/track/appender.rs, `append`: `self.end += chunks as u32;` only behind the error's return.
#[test]
fn schedule_14_no_garbage_lies_in_front_of_acknowledged_chains() {
    let machine = Machine::new(1, 1);
    let store = machine.open();
    store.put("before", value(1, LARGE)).unwrap();
    machine.io.fail_next(CallKind::Write, Fail::Short(9000));
    machine.io.fail(Fault::nth(CallKind::Write, 1, Fail::Eio));
    machine.io.fail_next(CallKind::SetLen, Fail::Eio);
    assert_eq!(refused(store.put("failed", value(2, LARGE))), ErrorKind::Io);
    store.put("after", "small").unwrap();
    store.put("and after", value(3, LARGE)).unwrap();
    let machine = machine.cut(store, Keep::Nothing);
    for rebuild in [false, true] {
        let store = if rebuild { machine.rebuild() } else { machine.open() };
        assert_value(&store, "before", &value(1, LARGE));
        assert!(!store.exists("failed").unwrap());
        assert_value(&store, "after", b"small");
        assert_value(&store, "and after", &value(3, LARGE));
        assert_sound(&store);
    }
}

/// Schedule 15: Symptom: reading an object that is overwritten meanwhile says that it is corrupt. Cause: it
/// was looked up, then pinned, and punched in between. Rule: I4, pin first, then look up.
///
/// Here by chance; `a_value_is_not_punched_while_it_is_read` holds the reader at the one moment.
#[test]
fn schedule_15_reading_beside_overwrites_and_checkpoints_never_finds_a_hole() {
    let machine = Machine::new(1, 1);
    let store = machine.options().track_bytes(4 << 20).open(HOME).unwrap();
    store.put("k", value(0, LARGE)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..60 {
                put_os(&store, "k", &value(round, LARGE));
                store.checkpoint().unwrap();
            }
        });
        let mut reads = 0;
        while !writer.is_finished() || reads < 100 {
            let found = store.get("k").unwrap().unwrap();
            assert!((0..60).any(|round| found[..8] == value(round, 8)));
            assert_eq!(found.len(), LARGE);
            reads += 1;
        }
    });
    assert!(store.stats().unwrap().total().punched_bytes > 0);
}
