//! One run on a simulated machine, from which a power cut at any of its calls can be had.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kogia::io::sim::CallKind;

use super::machine::{Files, Image, Machine, Print, disk_dir};
use crate::engine::{Engine, Setup};
use crate::operation::Operation;
use crate::oracle::{Known, Oracle};
use crate::session::{Outcome, Session};

/// The machine just before a call that changes something.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The number of the call among all.
    pub call: u64,
    /// Its number among those that change something: who asks for free space now and then does not
    /// shift it.
    pub change: u64,
    /// Whether the index is the one before its last flush, which came between this call and the
    /// one before.
    pub is_before_flush: bool,
    /// What the call is; nothing at the end of a run.
    pub before: Option<(CallKind, PathBuf)>,
    pub image: Image,
}

/// An operation of a run, and the calls that it made: from `begin` up to `end`.
#[derive(Clone, Debug)]
pub struct Step {
    pub operation: Operation,
    pub known: Known,
    pub begin: u64,
    pub end: u64,
    pub outcome: Outcome,
    pub disk: Option<usize>,
}

/// A run that was recorded.
#[derive(Debug)]
pub struct Recording {
    pub cuts: Vec<Cut>,
    pub steps: Vec<Step>,
    /// Calls of the run, those that change nothing too.
    pub calls: u64,
}

/// What the witness of a run writes down.
struct Notes {
    cuts: Vec<Cut>,
    print: Print,
    indexes: Arc<Files>,
    last_disk: Option<usize>,
    changes: u64,
}

/// A run while it is recorded.
pub struct Recorder {
    notes: Arc<Mutex<Notes>>,
    steps: Vec<Step>,
}

impl Recorder {
    /// Records what happens on a machine from now on.
    pub fn start(machine: &Machine, disks: usize) -> Self {
        let root = machine.index_dir().to_owned();
        let notes = Notes {
            cuts: Vec::new(),
            print: Print::of(&root),
            indexes: Arc::new(Files::of(&root)),
            last_disk: None,
            changes: 0,
        };
        let notes = Arc::new(Mutex::new(notes));
        let (seen, clock) = (notes.clone(), machine.clock.clone());
        let dirs: Vec<_> = (0..disks).map(disk_dir).collect();
        machine.io.witness(move |moment| {
            if !changes(moment.kind) {
                return;
            }
            let mut notes = lock(&seen);
            let print = Print::of(&root);
            let image = |indexes: &Arc<Files>| Image {
                io: moment.fork(),
                indexes: indexes.clone(),
                now_ms: clock.now_ms(),
                disks,
            };
            let change = notes.changes;
            notes.changes += 1;
            let cut = |image, is_before_flush| Cut {
                call: moment.call,
                change,
                is_before_flush,
                before: Some((moment.kind, moment.path.to_owned())),
                image,
            };
            if print != notes.print {
                let before = cut(image(&notes.indexes), true);
                notes.cuts.push(before);
                (notes.print, notes.indexes) = (print, Arc::new(Files::of(&root)));
            }
            let now = cut(image(&notes.indexes), false);
            notes.cuts.push(now);
            if moment.kind == CallKind::Write {
                let on = |dir: &PathBuf| moment.path.starts_with(dir);
                notes.last_disk = dirs.iter().position(on).or(notes.last_disk);
            }
        });
        Recorder { notes, steps: Vec::new() }
    }

    /// Only notes what operations come to.
    pub fn unwitnessed() -> Self {
        let (print, indexes) = (Print::default(), Arc::default());
        let notes = Notes { cuts: Vec::new(), print, indexes, last_disk: None, changes: 0 };
        Recorder { notes: Arc::new(Mutex::new(notes)), steps: Vec::new() }
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub fn carry_out(
        &mut self,
        session: &mut Session<'_>,
        machine: &Machine,
        step: &Operation,
    ) -> &Step {
        lock(&self.notes).last_disk = None;
        let known = Known::of(step, machine.clock.now_ms());
        let begin = machine.io.calls();
        let outcome = session.carry_out(step);
        let end = machine.io.calls();
        // What was written last is a copy, and may be elsewhere than what overtook it.
        let is_mixed = matches!(step, Operation::Overtake { .. });
        let disk = lock(&self.notes).last_disk.filter(|_| !is_mixed);
        self.steps.push(Step { operation: step.clone(), known, begin, end, outcome, disk });
        self.steps.last().expect("it was just pushed")
    }

    /// The last cut is the machine as it is now.
    pub fn finish(self, machine: &Machine) -> Recording {
        machine.io.dismiss_witness();
        let (calls, image) = machine.image_at();
        let mut notes = lock(&self.notes);
        let (change, mut cuts) = (notes.changes, std::mem::take(&mut notes.cuts));
        drop(notes);
        cuts.push(Cut { call: calls, change, is_before_flush: false, before: None, image });
        Recording { cuts, steps: self.steps, calls }
    }
}

impl Cut {
    /// Where it comes, in words.
    pub fn place(&self) -> String {
        let behind = if self.is_before_flush { ", and before the index is flushed" } else { "" };
        match &self.before {
            Some((kind, path)) => format!("before {kind:?} {}{behind}", path.display()),
            None => "at the end".to_owned(),
        }
    }
}

impl Recording {
    /// Runs a workload on an empty machine. Disks that lie do so once the store is there.
    pub fn of(
        engine: &dyn Engine,
        setup: Setup,
        operations: &[Operation],
        lying: bool,
    ) -> Recording {
        let machine = Machine::new(1, &setup);
        let mut recorder = Recorder::start(&machine, setup.disks);
        let mut session = Session::new(engine, machine.place(), setup);
        if session.open().is_ok() && lying {
            machine.io.let_syncs_lie();
        }
        for operation in operations {
            recorder.carry_out(&mut session, &machine, operation);
        }
        recorder.finish(&machine)
    }

    /// What an oracle that followed the run up to a cut knows; `oracle` is what it knew before.
    pub fn follow(&self, mut oracle: Oracle, cut: &Cut) -> Oracle {
        for step in self.steps.iter().take_while(|step| step.begin <= cut.call) {
            let number = oracle.begin_known(&step.operation, &step.known);
            // An index that is older than the flush is from before whatever ended since.
            if step.end < cut.call || step.end == cut.call && !cut.is_before_flush {
                oracle.end(number, &step.operation, &step.outcome, step.disk);
            }
        }
        oracle
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a call leaves the machine other than it was.
fn changes(kind: CallKind) -> bool {
    use CallKind::{
        AvailableSpace, Canonicalize, DropCache, Exists, Len, LinkCount, List, Lock, Map, NextData,
        Open, RandomId, Read, ReadSmall,
    };
    !matches!(
        kind,
        Open | List
            | Exists
            | ReadSmall
            | AvailableSpace
            | Lock
            | Canonicalize
            | RandomId
            | Read
            | Len
            | DropCache
            | Map
            | LinkCount
            | NextData
    )
}
