//! Worlds find what is wrong with engines that are wrong, say it in words, and find it again.

use std::path::PathBuf;
use std::sync::Arc;

use kogia::io::Io;

use super::*;
use crate::engine::kogia::Kogia;
use crate::engine::{Capability, Failure, Place, Promises, Result as Answer, Store};
use crate::operation::{Durability, How, When};
use crate::oracle::LossKind;
use crate::session::Outcome;
use crate::workload;

/// Kogia with something taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    /// What was asked to be synced is acknowledged before.
    Syncs,
    Deletes,
    /// Every third object is not written.
    EveryThirdPut,
    /// Objects are read with a wrong last byte.
    LastBytes,
    /// Batches are carried out step by step.
    Batches,
    /// Reading an object panics.
    Calm,
}

struct Open {
    store: Box<dyn Store>,
    without: Without,
    puts: AtomicU64,
}

impl Engine for Without {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn about(&self) -> &'static str {
        "Kogia with something taken out"
    }

    fn promises(&self) -> Promises {
        Kogia.promises()
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint, Conditions, Simulated};
        matches!(capability, Batch | Checkpoint | Conditions | Simulated)
    }

    fn open(&self, place: &Place, setup: &Setup) -> Answer<Box<dyn Store>> {
        let store = Kogia.open(place, setup)?;
        Ok(Box::new(Open { store, without: *self, puts: AtomicU64::new(0) }))
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Answer<()> {
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        match self.without {
            Without::EveryThirdPut if number % 3 == 2 => Ok(()),
            Without::Syncs => {
                self.store.put(key, value, &How { durability: Durability::Os, ..*how })
            }
            _ => self.store.put(key, value, how),
        }
    }

    fn delete(&self, key: &str, durability: Durability) -> Answer<bool> {
        if self.without == Without::Deletes {
            return Ok(self.store.get(key)?.is_some());
        }
        self.store.delete(key, durability)
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Answer<()> {
        if self.without != Without::Batches {
            return self.store.batch(steps, durability);
        }
        steps.iter().try_for_each(|(key, value)| match value {
            Some(value) => self.store.put(key, value, &How { durability, ..How::SYNC }),
            None => self.store.delete(key, durability).map(drop),
        })
    }

    fn get(&self, key: &str) -> Answer<Option<Vec<u8>>> {
        assert!(self.without != Without::Calm, "an engine that panics");
        let mut value = self.store.get(key)?;
        if self.without == Without::LastBytes
            && let Some(last) = value.as_mut().and_then(|value| value.last_mut())
        {
            *last ^= 1;
        }
        Ok(value)
    }

    fn keys(&self) -> Answer<Vec<String>> {
        self.store.keys()
    }

    fn sync(&self) -> Answer<()> {
        self.store.sync()
    }

    fn close(self: Box<Self>) -> Answer<()> {
        self.store.close()
    }

    fn checkpoint(&self) -> Answer<()> {
        self.store.checkpoint()
    }
}

/// Each object is a file, replaced as a whole; nothing is checked.
struct Plain;

struct PlainFiles {
    io: Arc<dyn Io>,
    dir: PathBuf,
}

impl Engine for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn about(&self) -> &'static str {
        "a file for each object"
    }

    fn promises(&self) -> Promises {
        Promises { loses_suffixes: true, failed_is_gone: false, survives_errors: true }
    }

    fn has(&self, capability: Capability) -> bool {
        capability == Capability::Simulated
    }

    fn open(&self, place: &Place, _setup: &Setup) -> Answer<Box<dyn Store>> {
        let (io, dir) = (place.io.clone().expect("a simulated machine"), place.home.clone());
        // What a killed process has left is shown, and so has to stay.
        io.create_dir_all(&dir).and_then(|()| io.sync_dir(&dir)).map_err(failed)?;
        Ok(Box::new(PlainFiles { io, dir }))
    }

    fn rebuild(&self, place: &Place, setup: &Setup) -> Answer<Box<dyn Store>> {
        self.open(place, setup)
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::Failed(error.to_string())
}

impl Store for PlainFiles {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Answer<()> {
        if how.when != When::Always {
            return Err(Failure::Unsupported);
        }
        self.io.replace(&self.dir.join(key), value).map_err(failed)
    }

    fn delete(&self, key: &str, _durability: Durability) -> Answer<bool> {
        let path = self.dir.join(key);
        if !self.io.exists(&path).map_err(failed)? {
            return Ok(false);
        }
        self.io.remove(&path).and_then(|()| self.io.sync_dir(&self.dir)).map_err(failed)?;
        Ok(true)
    }

    fn batch(&self, _steps: &[(String, Option<Vec<u8>>)], _durability: Durability) -> Answer<()> {
        Err(Failure::Unsupported)
    }

    fn get(&self, key: &str) -> Answer<Option<Vec<u8>>> {
        self.io.read_small(&self.dir.join(key), 1 << 20).map(Some).map_err(failed)
    }

    fn keys(&self) -> Answer<Vec<String>> {
        let mut names = self.io.list(&self.dir).map_err(failed)?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    fn sync(&self) -> Answer<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }

    fn checkpoint(&self) -> Answer<()> {
        Ok(())
    }
}

fn task<'a>(engine: &'a dyn Engine, workload: &str, states: u64) -> Task<'a> {
    Task {
        engine,
        workload: workload::by_name(workload).unwrap(),
        seed: 1,
        states,
        share: Share::ALL,
        operations: None,
        state: None,
        first: false,
        lying: false,
    }
}

fn failing(world: &dyn World, task: &Task<'_>) -> Option<Failing> {
    let watch = Watch::default();
    world.run(task, &watch).unwrap();
    watch.failing().first().cloned()
}

/// The operations that the command names which is to do it again.
fn operations(found: &Failing) -> Vec<usize> {
    let named = found.command.split("--operations ").nth(1).and_then(|rest| rest.split(' ').next());
    let numbers = named.unwrap_or_default().split(',');
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[track_caller]
fn assert_found(task: &Task<'_>, kinds: &[LossKind]) {
    let found = failing(&sim::Sim, task).expect("the world finds it");
    assert!(found.losses.iter().any(|loss| kinds.contains(&loss.kind)), "{found}");
    // What is printed does it again.
    let operations = operations(&found);
    let again = Task { operations: Some(&operations), state: Some(&found.state), ..*task };
    let found_again = failing(&sim::Sim, &again).expect("the same state is as wrong as before");
    let kinds = |found: &Failing| found.losses.iter().map(|loss| loss.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&found_again), kinds(&found));
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    // Where what was lost is not what came last, the rest makes no history either.
    let kinds = [LossKind::Lost, LossKind::Hole];
    assert_found(&task(&Without::Syncs, "small-puts", 300), &kinds);
}

#[test]
fn a_delete_that_does_nothing_is_found() {
    assert_found(&task(&Without::Deletes, "deletes", 200), &[LossKind::Resurrected]);
}

#[test]
fn a_put_that_does_nothing_is_found() {
    assert_found(&task(&Without::EveryThirdPut, "small-puts", 200), &[LossKind::Lost]);
}

#[test]
fn an_unsynced_put_that_does_nothing_is_a_hole_between_others() {
    let found = failing(&sim::Sim, &task(&Without::EveryThirdPut, "overwrites", 600)).unwrap();
    let kinds = [LossKind::Lost, LossKind::Hole];
    assert!(found.losses.iter().any(|loss| kinds.contains(&loss.kind)), "{found}");
}

#[test]
fn a_wrong_byte_is_found() {
    assert_found(&task(&Without::LastBytes, "small-puts", 60), &[LossKind::WrongBytes]);
}

#[test]
fn a_batch_that_is_carried_out_step_by_step_is_found() {
    let found = failing(&sim::Sim, &task(&Without::Batches, "batches", 900)).unwrap();
    let kinds = [LossKind::Half, LossKind::Hole];
    assert!(found.losses.iter().any(|loss| kinds.contains(&loss.kind)), "{found}");
}

#[test]
fn a_panic_is_found() {
    assert_found(&task(&Without::Calm, "small-puts", 60), &[LossKind::Died]);
}

#[test]
fn a_lying_disk_is_found_under_a_sound_engine_and_the_history_is_made_smaller() {
    let task = Task { lying: true, ..task(&Kogia, "small-puts", 300) };
    let found = failing(&sim::Sim, &task).expect("something is lost");
    assert!(found.command.contains("--lying-disk"), "{found}");
    assert!(operations(&found).len() < 8, "{found}");
    assert!(failing(&sim::Sim, &Task { lying: false, ..task }).is_none());
}

#[test]
fn plain_files_lose_nothing_to_a_power_cut_and_are_read_wrong_when_they_rot() {
    for workload in ["small-puts", "deletes"] {
        let found = failing(&sim::Sim, &task(&Plain, workload, 300));
        assert!(found.is_none(), "{}", found.unwrap());
    }
    let rot = |engine, state| {
        failing(&bitrot::Bitrot, &Task { state: Some(state), ..task(engine, "small-puts", 1) })
    };
    let found = rot(&Plain, "flip,/home/store/k0,3,1").unwrap();
    assert_eq!(found.losses[0].kind, LossKind::WrongBytes, "{found}");
    let found = rot(&Plain, "remove,/home/store/k3").unwrap();
    assert_eq!(found.losses[0].kind, LossKind::Lost, "{found}");
    assert!(rot(&Kogia, "flip,/home/store/META,3,1").is_none());
}

#[test]
fn a_lost_acknowledgement_is_found_where_calls_fail() {
    let found = failing(&errors::Errors, &task(&Without::EveryThirdPut, "small-puts", 5)).unwrap();
    assert_eq!(found.losses[0].kind, LossKind::Lost, "{found}");
    assert!(operations(&found).len() < 8, "{found}");
}

#[test]
fn the_first_failure_is_reported_as_it_is_where_no_more_is_asked_for() {
    let task = Task { first: true, ..task(&Without::EveryThirdPut, "small-puts", 20) };
    let found = failing(&errors::Errors, &task).expect("a put is lost");
    assert_eq!(operations(&found).len(), task.operations().1.len(), "{found}");
}

#[test]
fn a_run_is_the_same_when_it_is_recorded_again() {
    // Without streams and on one disk: others are written to in no particular order.
    for name in ["small-puts", "overwrites"] {
        let run = workload::by_name(name).unwrap().run(2);
        let record = || recording::Recording::of(&Kogia, run.setup, &run.operations, false);
        let (one, other) = (record(), record());
        let changes = |recording: &recording::Recording| {
            // The index may be compacted, which nobody waits for.
            let cuts = recording.cuts.iter().filter(|cut| !cut.is_before_flush);
            cuts.map(|cut| (cut.change, cut.place())).collect::<Vec<_>>()
        };
        assert_eq!(changes(&one), changes(&other), "{name}");
    }
}

#[test]
fn the_workload_of_disks_drains_adds_and_evens_out() {
    let run = workload::by_name("disks").unwrap().run(1);
    let recording = recording::Recording::of(&Kogia, run.setup, &run.operations, false);
    for wanted in [Operation::Drain, Operation::AddDisks, Operation::Rebalance] {
        let mut steps = recording.steps.iter().filter(|step| step.operation == wanted);
        assert!(steps.any(|step| step.outcome == Outcome::Done), "{wanted}");
    }
}
