//! Every I/O call of a workload fails, once and from then on.
//!
//! A failing call changes the run behind it, so that each is a run of its own: the workload goes on
//! as well as it can, reopening what does not answer any more. Then the power is cut.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use kogia::io::sim::{CallKind, Fail, Fault, Keep};

use super::life::{Rules, guarded};
use super::machine::Machine;
use super::recording::{Recorder, Step};
use super::{Coverage, Task, Watch, World};
use crate::engine::{Capability, Engine, Failure, Promises, Setup};
use crate::history::{History, Moment};
use crate::operation::Operation;
use crate::oracle::{Break, Loss, LossKind, Oracle};
use crate::session::{Outcome, Session};
use crate::shrink::shrink;

/// What a short read or write moves.
const SHORT_BYTES: usize = 1000;
/// A store that fails so many operations one after the other is opened anew.
const FAILURES_IN_A_ROW: usize = 2;

/// Runs until a failing call is given up that lost something in another one.
const MOST_RUNS: usize = 10;

const MODES: [Mode; 7] = [
    Mode { name: "eio", fail: Fail::Eio, lasts: false },
    Mode { name: "enospc", fail: Fail::Enospc, lasts: false },
    Mode { name: "eintr", fail: Fail::Eintr, lasts: false },
    Mode { name: "short", fail: Fail::Short(SHORT_BYTES), lasts: false },
    Mode { name: "eio-for-ever", fail: Fail::Eio, lasts: true },
    Mode { name: "enospc-for-ever", fail: Fail::Enospc, lasts: true },
    // Nobody is interrupted for ever.
    Mode { name: "short-for-ever", fail: Fail::Short(SHORT_BYTES), lasts: true },
];

pub struct Errors;

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mode {
    name: &'static str,
    fail: Fail,
    lasts: bool,
}

/// Which call fails, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Case {
    call: u64,
    mode: Mode,
}

/// A run in which something failed, and what was lost.
#[derive(Clone)]
struct Found {
    case: Case,
    /// The place of the operation during which it failed; before the first of them the store was opened.
    during: Option<usize>,
    losses: Vec<Loss>,
    history: History,
}

impl World for Errors {
    fn name(&self) -> &'static str {
        "errors"
    }

    fn about(&self) -> &'static str {
        "every I/O call fails once and for ever: EIO, ENOSPC, EINTR, short"
    }

    fn suits(&self, engine: &dyn Engine) -> bool {
        engine.has(Capability::Simulated)
    }

    fn check_state(&self, state: &str) -> Result<(), String> {
        state.parse::<Case>().map(drop)
    }

    fn run(&self, task: &Task<'_>, watch: &Watch) -> Result<Coverage, String> {
        let (setup, operations) = task.operations();
        let rules = rules(task.engine, setup);
        let report = |kept: &[usize], found: Found| {
            let state = found.case.to_string();
            watch.fail(task.failing(self.name(), kept, &state, found.losses, found.history));
        };
        let all = task.chosen(operations.len());
        if let Some(state) = task.state {
            // Not each run makes the same calls in the same order.
            let case = state.parse()?;
            let mut runs = (0..MOST_RUNS).filter_map(|_| attempt(&rules, &operations, case));
            if let Some(found) = runs.next() {
                report(&all, found);
            }
            return Ok(Coverage::default());
        }
        let calls = undisturbed(&rules, &operations).calls;
        let all_cases = calls.iter().map(|kind| Mode::of(*kind).count() as u64).sum();
        let cases = plan(&calls, task.states, task.seed);
        let coverage = task.share.whole(all_cases, cases.len() as u64);
        for case in cases.into_iter().enumerate().filter(|(n, _)| task.share.has(*n)) {
            if watch.is_over() {
                break;
            }
            match attempt(&rules, &operations, case.1) {
                None => watch.judged(),
                Some(found) => {
                    let (kept, found) = smallest(task, &rules, &operations, found);
                    let kept: Vec<usize> = kept.into_iter().map(|at| all[at]).collect();
                    report(&kept, found);
                    break;
                }
            }
        }
        Ok(coverage)
    }
}

/// A failed sync may lose something of before a write that was durable later: elsewhere.
fn rules(engine: &dyn Engine, setup: Setup) -> Rules<'_> {
    let promises = Promises { loses_suffixes: false, ..engine.promises() };
    Rules { engine, setup, promises }
}

impl Mode {
    /// The ways in which calls of a kind fail. What moves no bytes is never short, and one that is
    /// short for ever is so from the first that moves some.
    fn of(kind: CallKind) -> impl Iterator<Item = Mode> {
        let moves_bytes = matches!(kind, CallKind::Read | CallKind::Write);
        let is_short = |mode: &Mode| matches!(mode.fail, Fail::Short(_));
        MODES.into_iter().filter(move |mode| moves_bytes || !is_short(mode))
    }
}

/// Each call in as many ways as there are states for, or as many calls as there are states.
fn plan(calls: &[CallKind], wanted: u64, seed: u64) -> Vec<Case> {
    let case = |call: u64, round: usize| {
        let modes: Vec<Mode> = Mode::of(calls[call as usize]).collect();
        let first = (call + seed) % modes.len() as u64;
        let mode = |round| modes[(first as usize + round) % modes.len()];
        (round < modes.len()).then(|| Case { call, mode: mode(round) })
    };
    let count = calls.len() as u64;
    if wanted < count {
        return (0..wanted).filter_map(|n| case(n * count / wanted, 0)).collect();
    }
    let rounds = (0..MODES.len()).flat_map(|round| (0..count).map(move |call| (call, round)));
    rounds.filter_map(|(call, round)| case(call, round)).take(wanted as usize).collect()
}

/// Runs a workload of which one call fails; gives what was lost.
fn attempt(rules: &Rules<'_>, operations: &[Operation], case: Case) -> Option<Found> {
    let machine = Machine::new(1, &rules.setup);
    let fault = Fault::call(case.call, case.mode.fail);
    machine.io.fail(if case.mode.lasts { fault.lasting() } else { fault });
    let mut recorder = Recorder::unwitnessed();
    let losses = guarded(|| go_on(rules, &machine, &mut recorder, operations, case)).err()?;
    let moment = Moment { call: case.call, words: case.mode.name.replace('-', " ") };
    let steps = recorder.into_steps();
    let history = History::of(&steps, machine.io.calls(), moment);
    let during = steps.iter().take_while(|step| step.begin <= case.call).last();
    Some(Found { case, during: during.map(|step| step.place), losses, history })
}

/// A run of which nothing fails.
struct Undisturbed {
    steps: Vec<Step>,
    calls: Vec<CallKind>,
}

fn undisturbed(rules: &Rules<'_>, operations: &[Operation]) -> Undisturbed {
    let machine = Machine::new(1, &rules.setup);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    machine.io.witness(move |moment| seen.lock().expect("no panic holds it").push(moment.kind));
    let mut session = Session::new(rules.engine, machine.place(), rules.setup);
    let mut recorder = Recorder::unwitnessed();
    for operation in operations {
        recorder.carry_out(&mut session, &machine, operation, None);
    }
    machine.io.dismiss_witness();
    machine.io.power_off();
    session.abandon();
    let calls = std::mem::take(&mut *calls.lock().expect("no panic held it"));
    Undisturbed { steps: recorder.into_steps(), calls }
}

fn go_on(
    rules: &Rules<'_>,
    machine: &Machine,
    recorder: &mut Recorder,
    operations: &[Operation],
    case: Case,
) -> Result<(), Vec<Loss>> {
    let mut session = Session::new(rules.engine, machine.place(), rules.setup);
    let mut oracle = rules.oracle();
    let mut failed_in_a_row = 0;
    for operation in operations {
        if !session.is_open() && reopen(&mut session, &mut oracle, machine, case)?.is_err() {
            continue;
        }
        let outcomes = recorder.carry_out(&mut session, machine, operation, Some(&mut oracle));
        for outcome in outcomes {
            failed_in_a_row = match outcome {
                Outcome::Failed(Failure::Failed(_) | Failure::Damaged(_)) => failed_in_a_row + 1,
                _ => 0,
            };
            if failed_in_a_row == FAILURES_IN_A_ROW {
                session.abandon();
                failed_in_a_row = 0;
            }
        }
    }
    machine.io.heal();
    if !session.is_open()
        && let Err(failure) = reopen(&mut session, &mut oracle, machine, case)?
    {
        let words = format!("it does not open again when nothing fails any more: {failure}");
        return Err(vec![Loss::new(LossKind::Unusable, words)]);
    }
    // Everything that was acknowledged is seen, by the store that lived through it and after a cut.
    let broken = machine.image();
    machine.io.power_off();
    session.abandon();
    rules.judge(&broken.cut(keep(case)), oracle, Break::Power, case.call)
}

/// Opens a store again that has failed; gives why it does not open. What is found decides what became
/// of operations that failed.
fn reopen(
    session: &mut Session<'_>,
    oracle: &mut Oracle,
    machine: &Machine,
    case: Case,
) -> Result<Result<(), Failure>, Vec<Loss>> {
    let begin = machine.io.calls();
    let mut seen = session.observe();
    if seen.is_ok() && !case.mode.lasts && (begin..machine.io.calls()).contains(&case.call) {
        // What could not be read once is no damage.
        seen = session.observe();
    }
    match seen {
        Ok(seen) => oracle.recover(Break::Power, &seen, machine.clock.now_ms()).map(Ok),
        Err(failure) => {
            session.abandon();
            Ok(Err(failure))
        }
    }
}

fn keep(case: Case) -> Keep {
    match case.call % 3 {
        0 => Keep::Nothing,
        1 => Keep::Everything,
        _ => Keep::Random(case.call),
    }
}

/// Leaves operations out as long as a failing call in the same one loses something.
fn smallest(
    task: &Task<'_>,
    rules: &Rules<'_>,
    operations: &[Operation],
    found: Found,
) -> (Vec<usize>, Found) {
    let all: Vec<usize> = (0..operations.len()).collect();
    if task.first {
        return (all, found);
    }
    let fails = |kept: &[usize]| {
        let fewer: Vec<Operation> = kept.iter().map(|&at| operations[at].clone()).collect();
        let Some(during) = found.during else { return attempt(rules, &fewer, found.case) };
        let place = kept.iter().position(|at| *at == during)?;
        let steps = undisturbed(rules, &fewer).steps;
        let members = || steps.iter().filter(|step| step.place == place);
        let begin = members().map(|step| step.begin).min()?;
        let end = members().map(|step| step.end).max()?;
        let mut cases = (begin..end).map(|call| Case { call, ..found.case });
        cases.find_map(|case| attempt(rules, &fewer, case))
    };
    shrink(all, found.clone(), fails)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.call, self.mode.name)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let case = text.split_once(':').and_then(|(call, name)| {
            let mode = *MODES.iter().find(|mode| mode.name == name)?;
            Some(Case { call: call.parse().ok()?, mode })
        });
        case.ok_or_else(|| format!("`{text}` is no failing call; one is `17:eio-for-ever`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_fails_in_every_way_that_it_can_where_there_are_states_for_it() {
        let calls = [CallKind::Write, CallKind::Sync, CallKind::Read, CallKind::Open];
        let cases = plan(&calls, 1000, 3);
        assert_eq!(cases.len(), 7 + 5 + 7 + 5);
        for (call, kind) in (0..).zip(calls) {
            for mode in Mode::of(kind) {
                assert!(cases.contains(&Case { call, mode }), "{call} {}", mode.name);
            }
        }
        let each_once = plan(&calls, 4, 1);
        assert_eq!(each_once.iter().map(|case| case.call).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(plan(&calls, 2, 1).iter().map(|case| case.call).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn a_case_is_read_as_it_is_written() {
        for mode in MODES {
            let case = Case { call: 12, mode };
            assert_eq!(case.to_string().parse::<Case>(), Ok(case));
        }
        assert!("12:on-fire".parse::<Case>().is_err());
    }
}
