//! What a child has said, and what the oracle makes of it.

use std::sync::Arc;

use super::recording::Step;
use crate::child::{self, Look, Said};
use crate::engine::Failure;
use crate::history::{History, Moment};
use crate::operation::Operation;
use crate::oracle::{Break, Known, Loss, LossKind, Oracle};
use crate::session::Outcome;

/// Operations by their members, what each changes, and the time when it begins, worked out once.
#[derive(Clone, Debug)]
pub struct Script {
    operations: Arc<[Vec<(Operation, Known)>]>,
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
    /// What is under way of the last operation.
    asked: Vec<Asked>,
    /// The next operation.
    next: usize,
    /// What broke since somebody has looked.
    broke: Option<Break>,
}

/// A member that is under way: its numbers among those of its operation, with the oracle, and among all
/// steps.
#[derive(Clone, Copy, Debug)]
struct Asked {
    member: usize,
    number: usize,
    step: usize,
}

impl Script {
    pub fn new(operations: &[Operation]) -> Self {
        let count = operations.len();
        let times: Arc<[u64]> = (0..=count).map(|at| child::time_before(operations, at)).collect();
        let known = |(operation, now_ms): (&Operation, &u64)| {
            let members = operation.members().into_iter();
            members.map(|member| (member.clone(), Known::of(&member, *now_ms))).collect()
        };
        Script { operations: operations.iter().zip(times.iter()).map(known).collect(), times }
    }
}

impl Judge {
    pub fn new(script: &Script, oracle: Oracle) -> Self {
        let (script, steps) = (script.clone(), Vec::new());
        Judge { script, oracle, steps, asked: Vec::new(), next: 0, broke: None }
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
        self.asked.clear();
        // After a power cut a process that dies makes no difference any more.
        if self.broke != Some(Break::Power) {
            self.broke = Some(broke);
        }
    }

    /// Takes account of what was said, and when.
    pub fn hear(&mut self, at: u64, said: &Said) -> Result<(), Vec<Loss>> {
        match said {
            Said::Begin(number, member) => {
                self.begin(at, *number, *member);
                Ok(())
            }
            Said::End(number, member, outcome) => {
                self.end(at, *number, *member, outcome);
                Ok(())
            }
            Said::Seen(look) => self.look(look),
            Said::Failed(failure) => Err(unusable(failure)),
            Said::Opening | Said::Opened | Said::Counted(_) => Ok(()),
        }
    }

    fn begin(&mut self, at: u64, number: usize, member: usize) {
        if self.next != number + 1 {
            self.asked.clear();
            self.next = number + 1;
        }
        let (operation, known) = &self.script.operations[number][member];
        let asked = self.oracle.begin_known(operation, known);
        self.asked.push(Asked { member, number: asked, step: self.steps.len() });
        self.steps.push(Step::begun(number, operation, known, at));
    }

    fn end(&mut self, at: u64, number: usize, member: usize, outcome: &Outcome) {
        let Some(place) = self.asked.iter().position(|asked| asked.member == member) else {
            return;
        };
        let asked = self.asked.swap_remove(place);
        let operation = &self.script.operations[number][member].0;
        self.oracle.end(asked.number, operation, outcome, None);
        let step = &mut self.steps[asked.step];
        step.end = at;
        step.outcome = outcome.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Promises, Setup};
    use crate::operation::Value;
    use crate::session::Observation;

    #[test]
    fn the_members_of_an_operation_end_in_any_order_or_not_at_all() {
        let file = |tag| (format!("f{tag}"), Value { tag, len: 10 });
        let all = Operation::PutAll { files: (0..3).map(file).collect() };
        let promises =
            Promises { loses_suffixes: false, failed_is_gone: false, survives_errors: true };
        let oracle = Oracle::of(promises, &Setup::default());
        let mut judge = Judge::new(&Script::new(&[all]), oracle);
        let done = |member| Said::End(0, member, Outcome::Done);
        let begun = (0..3).map(|member| Said::Begin(0, member));
        for (at, said) in (1..).zip(begun.chain([done(2), done(0)])) {
            judge.hear(at, &said).unwrap();
        }
        judge.breaks(Break::Process);
        assert_eq!(judge.history(9, "killed").bars.iter().map(|bar| bar.end).max(), Some(u64::MAX));
        let looked = |tags: &[u64]| {
            let found = tags.iter().map(|&tag| (file(tag).0, file(tag).1.print())).collect();
            let store = Observation { found, ..Observation::default() };
            judge.clone().look(&Look { store, backup: None })
        };
        assert!(looked(&[0, 2]).is_ok());
        assert!(looked(&[0, 1, 2]).is_ok());
        assert!(looked(&[0, 1]).is_err());
        assert!(looked(&[1, 2]).is_err());
    }
}
