//! One run on a simulated machine, from which a power cut at any of its calls can be had.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kogia::io::sim::CallKind;

use super::machine::{Files, Image, Machine, Print, disk_dir};
use crate::engine::{Engine, Failure, Setup};
use crate::operation::Operation;
use crate::oracle::{Known, Oracle};
use crate::session::{Outcome, Progress, Session};

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

/// An operation of a run, or a member of one, and the calls that were made meanwhile: from `begin` up to `end`.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place among the operations, which it shares with the other members.
    pub place: usize,
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
    /// In the order in which they were begun.
    pub steps: Vec<Step>,
    events: Vec<Event>,
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

/// What happens to a step, by its number. Whoever has ended when another begins comes before it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Begins(usize),
    Ends(usize),
}

/// What threads that are at work at once note of their steps, and in which order.
#[derive(Default)]
struct Log {
    steps: Vec<Step>,
    events: Vec<Event>,
    /// The steps that members of the operation under way are.
    members: BTreeMap<usize, usize>,
}

/// A run while it is recorded.
pub struct Recorder {
    notes: Arc<Mutex<Notes>>,
    log: Mutex<Log>,
    /// Operations that were carried out.
    operations: usize,
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
        Recorder { notes, log: Mutex::default(), operations: 0 }
    }

    /// Only notes what operations come to.
    pub fn unwitnessed() -> Self {
        let (print, indexes) = (Print::default(), Arc::default());
        let notes = Notes { cuts: Vec::new(), print, indexes, last_disk: None, changes: 0 };
        Recorder { notes: Arc::new(Mutex::new(notes)), log: Mutex::default(), operations: 0 }
    }

    pub fn into_steps(self) -> Vec<Step> {
        lock(&self.log).steps.split_off(0)
    }

    /// Carries an operation out, and has an oracle hear of it; gives how its members have ended, in the order in
    /// which they began.
    pub fn carry_out(
        &mut self,
        session: &mut Session<'_>,
        machine: &Machine,
        operation: &Operation,
        oracle: Option<&mut Oracle>,
    ) -> Vec<Outcome> {
        lock(&self.notes).last_disk = None;
        let members = operation.members();
        // What was written last is a copy, and may be elsewhere than what overtook it; or it is another member's.
        let is_mixed = matches!(operation, Operation::Overtake { .. }) || members.len() != 1;
        let known = |member: Operation| (Known::of(&member, machine.clock.now_ms()), member);
        let members: Vec<(Known, Operation)> = members.into_iter().map(known).collect();
        let (first_step, first_event) = {
            let log = lock(&self.log);
            (log.steps.len(), log.events.len())
        };
        session.carry_out_each(operation, &|member, progress| {
            let mut log = lock(&self.log);
            // The log is held: no event has a call behind that of the next one.
            let call = machine.io.calls();
            match progress {
                Progress::Begins => {
                    let (known, operation) = &members[member];
                    log.begin(member, Step::begun(self.operations, operation, known, call));
                }
                Progress::Ended(outcome) => {
                    let disk = lock(&self.notes).last_disk.filter(|_| !is_mixed);
                    log.end(member, call, outcome, disk);
                }
            }
        });
        self.operations += 1;
        let log = lock(&self.log);
        if let Some(oracle) = oracle {
            tell(oracle, &log.steps, &log.events[first_event..], |_| true);
        }
        log.steps[first_step..].iter().map(|step| step.outcome.clone()).collect()
    }

    /// The last cut is the machine as it is now.
    pub fn finish(self, machine: &Machine) -> Recording {
        machine.io.dismiss_witness();
        let (calls, image) = machine.image_at();
        let mut notes = lock(&self.notes);
        let (change, mut cuts) = (notes.changes, std::mem::take(&mut notes.cuts));
        drop(notes);
        cuts.push(Cut { call: calls, change, is_before_flush: false, before: None, image });
        let Log { steps, events, .. } = std::mem::take(&mut *lock(&self.log));
        Recording { cuts, steps, events, calls }
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
            recorder.carry_out(&mut session, &machine, operation, None);
        }
        recorder.finish(&machine)
    }

    /// What an oracle that followed the run up to a cut knows; `oracle` is what it knew before.
    pub fn follow(&self, mut oracle: Oracle, cut: &Cut) -> Oracle {
        tell(&mut oracle, &self.steps, &self.events, |event| match event {
            Event::Begins(at) => self.steps[at].begin <= cut.call,
            // An index that is older than the flush is from before whatever ended since.
            Event::Ends(at) => {
                let end = self.steps[at].end;
                end < cut.call || end == cut.call && !cut.is_before_flush
            }
        });
        oracle
    }
}

impl Step {
    /// One that has no outcome yet.
    pub fn begun(place: usize, operation: &Operation, known: &Known, begin: u64) -> Self {
        Step {
            place,
            operation: operation.clone(),
            known: known.clone(),
            begin,
            end: u64::MAX,
            outcome: Outcome::Failed(Failure::Failed("no answer".to_owned())),
            disk: None,
        }
    }
}

impl Log {
    fn begin(&mut self, member: usize, step: Step) {
        let at = self.steps.len();
        self.members.insert(member, at);
        self.events.push(Event::Begins(at));
        self.steps.push(step);
    }

    fn end(&mut self, member: usize, end: u64, outcome: Outcome, disk: Option<usize>) {
        let at = self.members.remove(&member).expect("it has begun");
        self.events.push(Event::Ends(at));
        let step = &mut self.steps[at];
        (step.end, step.outcome, step.disk) = (end, outcome, disk);
    }
}

/// Has an oracle hear of steps what it may.
fn tell(oracle: &mut Oracle, steps: &[Step], events: &[Event], hears: impl Fn(Event) -> bool) {
    let mut numbers = BTreeMap::new();
    for event in events.iter().copied().filter(|event| hears(*event)) {
        match event {
            Event::Begins(at) => {
                let step = &steps[at];
                numbers.insert(at, oracle.begin_known(&step.operation, &step.known));
            }
            Event::Ends(at) => {
                let step = &steps[at];
                oracle.end(numbers[&at], &step.operation, &step.outcome, step.disk);
            }
        }
    }
}

fn lock<T>(notes: &Mutex<T>) -> MutexGuard<'_, T> {
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
