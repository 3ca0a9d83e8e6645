//! What a child has said, and what the oracle makes of it.

use std::sync::Arc;

use super::recording::Step;
use crate::child::{self, Look, Said};
use crate::engine::Failure;
use crate::history::{History, Moment};
use crate::operation::Operation;
use crate::oracle::{Break, Known, Loss, LossKind, Oracle};
use crate::session::Outcome;

/// Operations, what each changes, and the time when it begins, worked out once.
#[derive(Clone, Debug)]
pub struct Script {
    operations: Arc<[(Operation, Known)]>,
    /// One more than there are operations.
    times: Arc<[u64]>,
}

/// Follows what children say of one store, one behind the other, and judges what they see. A copy
/// costs little.
#[derive(Clone)]
pub struct Judge {
    script: Script,
    oracle: Oracle,
    steps: Vec<Step>,
    /// The oracle's number of the operation under way.
    asked: Option<usize>,
    /// The next operation.
    next: usize,
    /// What broke since somebody has looked.
    broke: Option<Break>,
}

impl Script {
    pub fn new(operations: &[Operation]) -> Self {
        let count = operations.len();
        let times: Arc<[u64]> = (0..=count).map(|at| child::time_before(operations, at)).collect();
        let known = |(operation, now_ms): (&Operation, &u64)| {
            (operation.clone(), Known::of(operation, *now_ms))
        };
        Script { operations: operations.iter().zip(times.iter()).map(known).collect(), times }
    }
}

impl Judge {
    pub fn new(script: &Script, oracle: Oracle) -> Self {
        let (script, steps) = (script.clone(), Vec::new());
        Judge { script, oracle, steps, asked: None, next: 0, broke: None }
    }

    /// The number of the next operation.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Whether all operations were begun.
    pub fn is_at_end(&self) -> bool {
        self.next >= self.script.operations.len()
    }

    /// Whether an operation has come to its end.
    pub fn has_steps(&self) -> bool {
        self.steps.iter().any(|step| step.end < u64::MAX)
    }

    /// The time when the next operation begins.
    pub fn now_ms(&self) -> u64 {
        self.script.times[self.next]
    }

    /// Something breaks: what was under way stays open.
    pub fn breaks(&mut self, broke: Break) {
        self.asked = None;
        // After a power cut a process that dies makes no difference any more.
        if self.broke != Some(Break::Power) {
            self.broke = Some(broke);
        }
    }

    /// Takes account of what was said, and when.
    pub fn hear(&mut self, at: u64, said: &Said) -> Result<(), Vec<Loss>> {
        match said {
            Said::Begin(number) => {
                self.begin(at, *number);
                Ok(())
            }
            Said::End(number, outcome) => {
                self.end(at, *number, outcome);
                Ok(())
            }
            Said::Seen(look) => self.look(look),
            Said::Failed(failure) => Err(unusable(failure)),
            Said::Opening | Said::Opened | Said::Counted(_) => Ok(()),
        }
    }

    fn begin(&mut self, at: u64, number: usize) {
        let (operation, known) = &self.script.operations[number];
        self.asked = Some(self.oracle.begin_known(operation, known));
        self.next = number + 1;
        self.steps.push(Step {
            operation: operation.clone(),
            known: known.clone(),
            begin: at,
            end: u64::MAX,
            outcome: Outcome::Failed(Failure::Failed("no answer".to_owned())),
            disk: None,
        });
    }

    fn end(&mut self, at: u64, number: usize, outcome: &Outcome) {
        let Some(asked) = self.asked.take() else { return };
        self.oracle.end(asked, &self.script.operations[number].0, outcome, None);
        if let Some(step) = self.steps.last_mut() {
            step.end = at;
            step.outcome = outcome.clone();
        }
    }

    /// Judges what is seen: after a break by what may be left, else by what has to be there.
    pub fn look(&mut self, look: &Look) -> Result<(), Vec<Loss>> {
        let now_ms = self.now_ms();
        self.oracle.judge_backup(look.backup.as_ref(), now_ms)?;
        match self.broke.take() {
            Some(broke) => self.oracle.recover(broke, &look.store, now_ms),
            None => self.oracle.look(&look.store, now_ms),
        }
    }

    /// The run so far; `at` is when it broke, and `words` say how.
    pub fn history(&self, at: u64, words: &str) -> History {
        History::of(&self.steps, at, Moment { call: at, words: words.to_owned() })
    }
}

/// A failure of what has to work.
pub fn unusable(failure: &Failure) -> Vec<Loss> {
    vec![Loss::new(LossKind::Unusable, failure.to_string())]
}
