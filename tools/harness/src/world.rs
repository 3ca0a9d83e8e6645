//! The worlds that are broken, and what each has to say in the end.

mod bitrot;
mod disk;
mod errors;
mod judge;
mod kill;
mod life;
mod machine;
pub mod recording;
mod sim;
#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::engine::{Engine, Setup};
use crate::history::History;
use crate::operation::Operation;
use crate::oracle::Loss;
use crate::workload::Workload;
use disk::FileSystem;
use disk::errors::DiskErrors;

/// Failures after which a run ends: they are most likely one and the same.
const MOST_FAILING: usize = 20;

/// All worlds.
pub static ALL: &[&dyn World] = &[
    &sim::Sim,
    &errors::Errors,
    &bitrot::Bitrot,
    &KILL,
    &DISKS[0],
    &DISKS[1],
    &DISKS[2],
    &FAILING_DISKS[0],
    &FAILING_DISKS[1],
    &FAILING_DISKS[2],
];

static KILL: kill::Kill = kill::Kill::new();
static DISKS: [disk::Disk; 3] = [
    disk::Disk::new("disk", FileSystem::Ext4),
    disk::Disk::new("disk-xfs", FileSystem::Xfs),
    disk::Disk::new("disk-btrfs", FileSystem::Btrfs),
];
static FAILING_DISKS: [DiskErrors; 3] = [
    DiskErrors::new("disk-errors", FileSystem::Ext4),
    DiskErrors::new("disk-errors-xfs", FileSystem::Xfs),
    DiskErrors::new("disk-errors-btrfs", FileSystem::Btrfs),
];

/// A world: it runs a workload, breaks, and lets the oracle judge.
pub trait World: Sync {
    fn name(&self) -> &'static str;

    /// What breaks in it, in a line.
    fn about(&self) -> &'static str;

    /// Whether an engine can be put into it.
    fn suits(&self, engine: &dyn Engine) -> bool {
        let _ = engine;
        true
    }

    /// Whether this can be the name of a state; what is wrong with it, if not.
    fn check_state(&self, state: &str) -> Result<(), String>;

    /// Breaks one workload of one seed in about as many ways as asked for. What fails goes to the
    /// watch; an error is of the harness itself, or of the machine it runs on.
    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String>;

    /// What there is to say in the end, beside states and losses, of all runs of this process.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a world is to do.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub engine: &'a dyn Engine,
    pub workload: &'a Workload,
    pub seed: u64,
    /// Broken states that are wanted, of all shares together.
    pub states: u64,
    pub share: Share,
    /// The operations of the workload that are carried out; all without.
    pub operations: Option<&'a [usize]>,
    /// The one state that is wanted, by the name that the world gave it.
    pub state: Option<&'a str>,
    /// Whether what fails is reported as it is, and not made smaller.
    pub first: bool,
    /// The disks say that they have written what they have not.
    pub lying: bool,
}

/// A part of a task that is dealt over threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    pub number: usize,
    pub of: usize,
}

/// How much of what can break was broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    /// Points at which this could break: calls, bytes, writes, named points.
    pub points: u64,
    /// Of these, those at which it was broken.
    pub points_hit: u64,
}

/// A break that lost something.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    pub world: &'static str,
    pub workload: &'static str,
    pub seed: u64,
    /// The world's name for the state.
    pub state: String,
    pub losses: Vec<Loss>,
    /// The command that does it again.
    pub command: String,
    /// The operations that are needed, and no others, with what became of each.
    pub history: History,
}

/// Counts states from any number of threads, and collects what failed.
#[derive(Default)]
pub struct Watch {
    states: AtomicU64,
    failing: Mutex<Vec<Failing>>,
    progress: Option<ProgressBar>,
    /// Whether one failure is enough.
    first: bool,
}

impl Share {
    pub const ALL: Share = Share { number: 0, of: 1 };

    /// Whether number so and so of a list is of this share.
    pub fn has(self, number: usize) -> bool {
        number % self.of == self.number
    }

    /// What all shares cover together, said by the first of them.
    pub fn whole(self, points: u64, points_hit: u64) -> Coverage {
        if self.number == 0 { Coverage { points, points_hit } } else { Coverage::default() }
    }
}

impl Task<'_> {
    /// What is set up, and the operations that are carried out.
    pub fn operations(&self) -> (Setup, Vec<Operation>) {
        operations(self.workload, self.seed, self.operations)
    }

    /// The places in the workload of the first `count` operations that are carried out.
    pub fn chosen(&self, count: usize) -> Vec<usize> {
        let all: Vec<usize> = (0..count).collect();
        self.operations.map_or(all, |chosen| chosen.iter().copied().take(count).collect())
    }

    /// A failure, of the operations at the given places of the workload.
    pub fn failing(
        &self,
        world: &'static str,
        kept: &[usize],
        state: &str,
        losses: Vec<Loss>,
        history: History,
    ) -> Failing {
        let places: Vec<String> = kept.iter().map(ToString::to_string).collect();
        let (engine, workload, seed) = (self.engine.name(), self.workload.name, self.seed);
        let program = crate::program();
        let lying = if self.lying { " --lying-disk" } else { "" };
        let command = format!(
            "{program} run --world {world} --engine {engine} --workload {workload} \
             --seed {seed}{lying} --operations {} --state {state}",
            places.join(",")
        );
        let state = state.to_owned();
        Failing { world, workload, seed, state, losses, command, history }
    }
}

/// What a workload of a seed sets up, and those of its operations that are chosen; all without.
pub fn operations(
    workload: &Workload,
    seed: u64,
    chosen: Option<&[usize]>,
) -> (Setup, Vec<Operation>) {
    let run = workload.run(seed);
    let Some(chosen) = chosen else { return (run.setup, run.operations) };
    let operations = chosen.iter().filter_map(|&at| run.operations.get(at).cloned());
    (run.setup, operations.collect())
}

impl Coverage {
    pub fn add(&mut self, other: Coverage) {
        self.points += other.points;
        self.points_hit += other.points_hit;
    }
}

impl Watch {
    /// A watch that shows how far it has come, over after the `first` failure or after many.
    pub fn with(progress: ProgressBar, first: bool) -> Self {
        Watch { progress: Some(progress), first, ..Watch::default() }
    }

    /// One more state was broken and judged.
    pub fn judged(&self) {
        self.states.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            progress.inc(1);
        }
    }

    pub fn states(&self) -> u64 {
        self.states.load(Ordering::Relaxed)
    }

    pub fn fail(&self, failing: Failing) {
        self.judged();
        self.failing.lock().expect("no panic holds it").push(failing);
    }

    pub fn failing(&self) -> Vec<Failing> {
        self.failing.lock().expect("no panic holds it").clone()
    }

    /// Whether enough has failed.
    pub fn is_over(&self) -> bool {
        let enough = if self.first { 1 } else { MOST_FAILING };
        self.failing.lock().expect("no panic holds it").len() >= enough
    }
}
