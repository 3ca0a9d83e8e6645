//! A simulated machine whose power is cut at every call of a recorded run.
//!
//! The workload runs once. Before each call that changes something the machine is forked; each fork
//! is cut in as many ways as the budget allows, opened and judged. Some of the machines that come
//! up are recorded in turn, recovery and a little work, and cut again; some of those a third time.

mod plan;
#[cfg(test)]
mod tests;
mod trail;

use kogia::io::sim::{CallKind, Keep};

use super::life::{FORGETTING, Recorded, Rules};
use super::recording::{Cut, Recording, Step};
use super::{Coverage, Failing, Task, Watch, World};
use crate::engine::{Capability, Engine};
use crate::history::{History, Moment};
use crate::operation::Operation;
use crate::oracle::{Loss, Oracle};
use crate::shrink::shrink;
use plan::plan;
use trail::{Left, Trail, Turn};

/// How deep cuts go, the first one included.
const MOST_TURNS: usize = 3;
/// Of so many states of each depth one is recorded and cut again.
const RECORDED: usize = 7;
/// In so many states, on the second turn and on the third.
const STATES_AGAIN: [u64; 2] = [3, 2];
/// Runs until a state is given up that was wrong in another one.
const MOST_RUNS: usize = 10;
/// States that are tried of each cut when a failing history is made smaller.
const STATES_SHRINKING: u64 = 6;

pub struct Sim;

/// A run that is cut, and where the oracle begins.
struct Scene<'a> {
    rules: Rules<'a>,
    watch: &'a Watch,
    recording: &'a Recording,
    before: &'a Oracle,
    /// The same before this call.
    unrecovered: Option<&'a (Oracle, u64)>,
    trail: Trail,
}

/// A state that is not as it may be.
struct Found {
    trail: Trail,
    losses: Vec<Loss>,
    history: History,
}

impl World for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn about(&self) -> &'static str {
        "a simulated machine loses power at every I/O call, also in recovery"
    }

    fn suits(&self, engine: &dyn Engine) -> bool {
        engine.has(Capability::Simulated)
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        state.parse::<Trail>().map(drop)
    }

    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let (setup, operations) = task.operations();
        let rules = Rules { engine: task.engine, setup, promises: task.engine.promises() };
        if let Some(state) = task.state {
            return again(task, rules, &state.parse()?, watch).map(|()| Coverage::default());
        }
        let recording = Recording::of(task.engine, setup, &operations, task.lying);
        let before = rules.oracle();
        let scene = Scene::first(rules, watch, &recording, &before);
        let (coverage, found) = scene.explore(task);
        if let Some(found) = found {
            let needed = scene.needed(&found.trail);
            // Making it smaller takes its time, and who waits may lose patience.
            let (workload, seed) = (task.workload.name, task.seed);
            let first = found.losses.first().map_or(String::new(), ToString::to_string);
            eprintln!("sim, {workload}, seed {seed}, state {}: {first}", found.trail);
            let (kept, found) = smallest(task, rules, needed, found);
            watch.fail(failing(task, &kept, found));
        }
        Ok(coverage)
    }
}

impl<'a> Scene<'a> {
    fn first(
        rules: Rules<'a>,
        watch: &'a Watch,
        recording: &'a Recording,
        before: &'a Oracle,
    ) -> Self {
        Scene { rules, watch, recording, before, unrecovered: None, trail: Trail::default() }
    }

    /// What the oracle knows at a cut.
    fn oracle(&self, cut: &Cut) -> Oracle {
        let unrecovered = self.unrecovered.filter(|(_, opened)| cut.call < *opened);
        let before = unrecovered.map_or(self.before, |(oracle, _)| oracle);
        self.recording.follow(before.clone(), cut)
    }

    /// Cuts in about as many ways as the task wants; ends with the first state that is wrong.
    fn explore(&self, task: &Task<'_>) -> (Coverage, Option<Found>) {
        let again: u64 =
            STATES_AGAIN[0] + STATES_AGAIN[0].div_ceil(RECORDED as u64) * STATES_AGAIN[1];
        let wanted = task.states * RECORDED as u64 / (RECORDED as u64 + again);
        let planned = self.plan(wanted.max(1), task.seed);
        let mut hit: Vec<u64> = planned.iter().map(|(cut, _)| self.cut(*cut).call).collect();
        hit.sort_unstable();
        hit.dedup();
        let coverage = task.share.whole(self.points(), hit.len() as u64);
        for (number, (cut, keep)) in planned.into_iter().enumerate() {
            if task.share.has(number) && !self.watch.is_over() {
                let number = number / task.share.of;
                let is_recorded = number.is_multiple_of(RECORDED);
                let is_killed = number.is_multiple_of(2 * RECORDED);
                let (cut, left) = match is_killed {
                    true => (self.next_sync(cut), Left::Killed),
                    false => (cut, Left::Cut(keep)),
                };
                if let Err(found) = self.judge(cut, left, is_recorded) {
                    return (coverage, Some(*found));
                }
            }
        }
        (coverage, None)
    }

    /// Calls that change something: before each of the others the machine is as before the next.
    fn points(&self) -> u64 {
        let mut calls: Vec<u64> = self.recording.cuts.iter().map(|cut| cut.call).collect();
        calls.dedup();
        calls.len() as u64
    }

    /// The next cut before a sync: there most is not durable that a killed process leaves.
    fn next_sync(&self, cut: usize) -> usize {
        let is_sync = |cut: &Cut| {
            let kind = cut.before.as_ref().map(|(kind, _)| *kind);
            matches!(kind, Some(CallKind::Sync | CallKind::SyncDir))
        };
        let behind = self.recording.cuts[cut..].iter().position(is_sync);
        behind.map_or(cut, |behind| cut + behind)
    }

    fn plan(&self, wanted: u64, seed: u64) -> Vec<plan::Planned> {
        let states: Vec<u128> =
            self.recording.cuts.iter().map(|cut| cut.image.io.crash_states()).collect();
        plan(&states, wanted, seed)
    }

    fn cut(&self, cut: usize) -> &Cut {
        &self.recording.cuts[cut]
    }

    /// One state, and those behind it.
    fn judge(&self, cut: usize, left: Left, is_recorded: bool) -> Result<(), Box<Found>> {
        let cut = self.cut(cut);
        let turn = Turn { change: cut.change, is_before_flush: cut.is_before_flush, left };
        let trail = self.trail.then(turn);
        let (image, oracle) = (left.of(&cut.image), self.oracle(cut));
        let found = |losses| {
            Box::new(Found { trail: trail.clone(), losses, history: self.history(cut, left) })
        };
        let (seed, broke) = (trail.seed(), left.broke());
        if !is_recorded || trail.0.len() == MOST_TURNS {
            self.rules.judge(&image, oracle, broke, seed).map_err(found)?;
            self.watch.judged();
            return Ok(());
        }
        let life = self.rules.record(&image, oracle, broke, seed).map_err(found)?;
        self.watch.judged();
        self.judge_behind(&life, trail)
    }

    /// The states behind a life that was recorded.
    fn judge_behind(&self, life: &Recorded, trail: Trail) -> Result<(), Box<Found>> {
        let seed = trail.seed();
        let wanted = STATES_AGAIN[trail.0.len() - 1];
        let scene = self.behind(life, trail);
        let mut planned = scene.plan(wanted, seed);
        if life.unrecovered.is_some() {
            // What the killed process has not synced is to go, by what was forgotten as well.
            let forgotten = life.recording.steps[FORGETTING - 1].end;
            let cuts = &life.recording.cuts;
            planned.push((cuts.partition_point(|cut| cut.call < forgotten), Keep::Nothing));
            planned.iter_mut().for_each(|(_, keep)| *keep = Keep::Nothing);
        }
        for (number, (cut, keep)) in planned.into_iter().enumerate() {
            scene.judge(cut, Left::Cut(keep), number == 0)?;
        }
        Ok(())
    }

    fn behind<'b>(&'b self, life: &'b Recorded, trail: Trail) -> Scene<'b> {
        Scene {
            rules: self.rules,
            watch: self.watch,
            recording: &life.recording,
            before: &life.recovered,
            unrecovered: life.unrecovered.as_ref(),
            trail,
        }
    }

    /// Goes one trail again.
    fn follow(&self, trail: &Trail) -> Result<Option<Found>, String> {
        let depth = self.trail.0.len();
        let turn = trail.0[depth];
        let is_it =
            |cut: &Cut| (cut.change, cut.is_before_flush) == (turn.change, turn.is_before_flush);
        let at = self.recording.cuts.iter().position(is_it);
        let at =
            at.ok_or_else(|| format!("there is no change number {} in this run", turn.change))?;
        let is_last = depth + 1 == trail.0.len();
        if is_last && let Err(found) = self.judge(at, turn.left, false) {
            return Ok(Some(*found));
        }
        let cut = self.cut(at);
        let here = self.trail.then(turn);
        let oracle = self.oracle(cut);
        let (image, broke) = (turn.left.of(&cut.image), turn.left.broke());
        match self.rules.record(&image, oracle, broke, here.seed()) {
            Ok(_) if is_last => Ok(None),
            Ok(life) => self.behind(&life, here).follow(trail),
            Err(losses) => {
                let history = self.history(cut, turn.left);
                Ok(Some(Found { trail: here, losses, history }))
            }
        }
    }

    /// How many operations lead to the first cut of a trail: those behind it have nothing to do with
    /// what it leaves.
    fn needed(&self, trail: &Trail) -> usize {
        let first = self.recording.cuts.iter().find(|cut| cut.change == trail.0[0].change);
        let call = first.map_or(u64::MAX, |cut| cut.call);
        let begun = self.recording.steps.iter().take_while(|step| step.begin <= call);
        begun.last().map_or(0, |step| step.place + 1)
    }

    fn history(&self, cut: &Cut, left: Left) -> History {
        let what = match left {
            Left::Killed => "the process is killed",
            Left::Cut(_) => "the power is cut",
        };
        let moment = Moment { call: cut.call, words: format!("{what} {}", cut.place()) };
        History::of(&self.recording.steps, self.recording.calls, moment)
    }
}

/// Goes one trail again. Where several disks are written to at once the calls don't come in the same
/// order each time, so that it may take some runs until they do.
fn again(task: &Task<'_>, rules: Rules<'_>, trail: &Trail, watch: &Watch) -> Result<(), String> {
    let (setup, operations) = task.operations();
    let before = rules.oracle();
    let mut followed = Ok(None);
    for _ in 0..MOST_RUNS {
        let recording = Recording::of(task.engine, setup, &operations, task.lying);
        let scene = Scene::first(rules, watch, &recording, &before);
        followed = scene.follow(trail);
        if let Ok(Some(found)) = followed {
            watch.fail(failing(task, &task.chosen(operations.len()), found));
            return Ok(());
        }
    }
    followed.map(drop)
}

/// Leaves operations out as long as a cut in the same one loses something. A cut of a recovery is
/// left as it is: what led there would be another with any operation less.
fn smallest(task: &Task<'_>, rules: Rules<'_>, needed: usize, found: Found) -> (Vec<usize>, Found) {
    let all = task.chosen(needed);
    if task.first || found.trail.0.len() > 1 {
        return (all, found);
    }
    let (_, operations) = task.operations();
    let fails = |kept: &[usize]| {
        let fewer: Vec<Operation> = kept.iter().map(|&at| operations[at].clone()).collect();
        search(task, rules, &fewer)
    };
    let (kept, found) = shrink((0..needed).collect(), found, fails);
    (kept.into_iter().map(|at| all[at]).collect(), found)
}

/// Looks for a wrong state in the last operations of a run.
fn search(task: &Task<'_>, rules: Rules<'_>, operations: &[Operation]) -> Option<Found> {
    let recording = Recording::of(task.engine, rules.setup, operations, task.lying);
    let (before, watch) = (rules.oracle(), Watch::default());
    let scene = Scene::first(rules, &watch, &recording, &before);
    let is_last = |step: &&Step| step.place + 1 == operations.len();
    let from = recording.steps.iter().find(is_last).map_or(0, |step| step.begin);
    let first = recording.cuts.partition_point(|cut| cut.call < from);
    let states: Vec<u128> =
        recording.cuts[first..].iter().map(|cut| cut.image.io.crash_states()).collect();
    let planned = plan(&states, states.len() as u64 * STATES_SHRINKING, task.seed);
    planned.into_iter().find_map(|(cut, keep)| {
        scene.judge(first + cut, Left::Cut(keep), false).err().map(|found| *found)
    })
}

fn failing(task: &Task<'_>, kept: &[usize], found: Found) -> Failing {
    task.failing(Sim.name(), kept, &found.trail.to_string(), found.losses, found.history)
}
