//! The worlds that are broken, and what each has to say in the end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::engine::Engine;
use crate::oracle::Loss;
use crate::workload::Workload;

/// A world: it runs a workload, breaks, and lets the oracle judge.
pub trait World: Sync {
    fn name(&self) -> &'static str;

    /// What breaks in it, in a line.
    fn about(&self) -> &'static str;

    /// Breaks one workload of one seed in about as many ways as asked for. What fails goes to the
    /// watch; an error is of the harness itself, or of the machine it runs on.
    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String>;
}

/// What a world is to do.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub engine: &'a dyn Engine,
    pub workload: &'a Workload,
    pub seed: u64,
    /// Broken states that are wanted.
    pub states: u64,
    pub threads: usize,
    /// The disks say that they have written what they have not.
    pub lying: bool,
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
    pub workload: String,
    pub seed: u64,
    /// What broke, and where.
    pub broke: String,
    pub losses: Vec<Loss>,
    /// The command that does it again.
    pub command: String,
    /// The operations that are needed, and no others, with what became of each.
    pub history: Vec<String>,
}

/// Counts states from any number of threads, and collects what failed.
#[derive(Default)]
pub struct Watch {
    states: AtomicU64,
    failing: Mutex<Vec<Failing>>,
}

impl Watch {
    /// One more state was broken and judged.
    pub fn judged(&self) {
        self.states.fetch_add(1, Ordering::Relaxed);
    }

    pub fn states(&self) -> u64 {
        self.states.load(Ordering::Relaxed)
    }

    pub fn fail(&self, failing: Failing) {
        self.failing.lock().expect("no panic holds it").push(failing);
    }

    pub fn failing(&self) -> Vec<Failing> {
        self.failing.lock().expect("no panic holds it").clone()
    }
}
