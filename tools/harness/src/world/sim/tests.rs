//! Lives of a killed process's store, and what is judged of them by which oracle.

use super::*;
use crate::engine::kogia_queue::KogiaQueue;
use crate::engine::{Level, Setup};
use crate::operation::Value;
use crate::queue::Task as OfQueue;

/// Symptom: an item that was lost with the process that had it in memory, and was not there when the
/// queue was opened again, had to be there after a power cut, because of a `sync` behind that opening.
/// Cause: a cut at the first call behind the opening was judged by what had been known before it, in which
/// the item was waiting to be synced, and to that what the next process did was added.
/// Rule: an opening says what there is, and from its last call on that is all that counts.
#[test]
fn what_an_opening_found_is_all_that_a_sync_behind_it_makes_durable() {
    let task = OfQueue::Append { item: Value { tag: 1, len: 100 }, level: Level::Later };
    let (setup, watch) = (Setup::default(), Watch::default());
    let rules = Rules { engine: &KogiaQueue, setup, promises: KogiaQueue.promises() };
    let recording = Recording::of(&KogiaQueue, setup, &[Operation::Queue(task)], false);
    let before = rules.oracle();
    let scene = Scene::first(rules, &watch, &recording, &before);
    let last = recording.cuts.last().expect("it has an end");
    let mut synced = 0;
    for seed in 0..64 {
        let (image, broke) = (Left::Killed.of(&last.image), Left::Killed.broke());
        let life = rules.record(&image, scene.oracle(last), broke, seed).expect("nothing is lost");
        let (_, opened) = life.unrecovered.as_ref().expect("it was killed");
        let behind = life.recording.cuts.iter().position(|cut| cut.call >= *opened);
        let behind = behind.expect("it has an end");
        let (cut, first) = (&life.recording.cuts[behind], &life.recording.steps[0]);
        synced += usize::from(first.operation == Operation::Sync && first.end <= cut.call);
        let scene = scene.behind(&life, Trail::default());
        let judged = scene.judge(behind, Left::Cut(Keep::Nothing), false);
        assert!(judged.is_ok(), "seed {seed}: {:?}", judged.map_err(|found| found.losses));
    }
    assert!(synced > 0, "no life began with a sync");
}
