//! Says in words what was lost.

use std::fmt;

use serde::Serialize;

use super::lanes::Puzzle;
use super::{Break, Oracle, Standing};
use crate::operation::Print;
use crate::session::Observation;

/// Something that is not as it may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Loss {
    pub kind: LossKind,
    /// What was found, and what should have been.
    pub words: String,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum LossKind {
    /// Something acknowledged is gone, or an older state of it is back.
    Lost,
    /// Something is there that was deleted, refused or found lost before.
    Resurrected,
    /// Bytes that nobody wrote there.
    WrongBytes,
    /// An operation is there in part.
    Half,
    /// Something is lost, and something later of the same disk is not.
    Hole,
    /// The engine contradicts itself, or finds itself wrong.
    Contradiction,
    /// The store does not open, or can't be read.
    Unusable,
    /// It panicked or did not come to an end.
    Died,
}

impl Loss {
    pub fn new(kind: LossKind, words: impl Into<String>) -> Self {
        Loss { kind, words: words.into() }
    }

    pub(super) fn of_backup() -> Self {
        Loss::new(LossKind::Lost, "a backup was acknowledged, and there is none")
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LossKind::Lost => "lost",
            LossKind::Resurrected => "resurrected",
            LossKind::WrongBytes => "wrong bytes",
            LossKind::Half => "half an operation",
            LossKind::Hole => "hole",
            LossKind::Contradiction => "contradiction",
            LossKind::Unusable => "unusable",
            LossKind::Died => "died",
        };
        write!(f, "{kind}: {}", self.words)
    }
}

impl Oracle {
    pub(super) fn judge(
        &self,
        broke: Break,
        seen: &Observation,
        now_ms: u64,
    ) -> Result<(), Vec<Loss>> {
        let problem = |words: &String| Loss::new(LossKind::Contradiction, words);
        let problems = seen.problems.iter().map(problem);
        let mut losses: Vec<Loss> = self.wrong.iter().cloned().chain(problems).collect();
        let puzzle = Puzzle::new(self, broke, &seen.found, now_ms);
        if !puzzle.is_solvable() {
            losses.extend(self.explain(&puzzle, seen));
        }
        if losses.is_empty() { Ok(()) } else { Err(losses) }
    }

    /// What is wrong with a state that no choice leads to.
    fn explain(&self, puzzle: &Puzzle<'_>, seen: &Observation) -> Vec<Loss> {
        let mut names: Vec<&String> = self.base.keys().chain(seen.found.keys()).collect();
        let changes = self.pending.iter().flat_map(|pending| pending.changes.iter());
        names.extend(changes.map(|change| &change.name));
        names.sort_unstable();
        names.dedup();
        let wrong = |name: &&String| self.wrong_name(puzzle, name, seen.found.get(*name).copied());
        let losses: Vec<Loss> = names.iter().filter_map(wrong).collect();
        if !losses.is_empty() {
            return losses;
        }
        let half = (0..self.pending.len())
            .find(|&at| puzzle.is_there(at) && puzzle.cannot_be_there(at))
            .map(|at| {
                Loss::new(LossKind::Half, format!("only a part of {} is there", self.name(at)))
            });
        vec![half.or_else(|| self.hole(puzzle)).unwrap_or_else(|| {
            let words = "each object may be as it is, but not all of them together";
            Loss::new(LossKind::Hole, words)
        })]
    }

    /// What is wrong with one name, whatever the others are.
    fn wrong_name(&self, puzzle: &Puzzle<'_>, name: &str, found: Option<Print>) -> Option<Loss> {
        let last_sure = self.pending.iter().rposition(|pending| {
            puzzle.is_kept_for_sure(pending) && pending.changes.iter().any(|c| c.name == *name)
        });
        let of_operation = |at: usize| {
            let changes = self.pending[at].changes.iter().rev();
            changes.filter(|change| change.name == *name).map(|c| puzzle.seen(c)).next()
        };
        let sure = last_sure.map_or_else(|| puzzle.seen_in_base(name), |at| of_operation(at)?);
        let first = last_sure.map_or(0, |at| at + 1);
        let mut allowed = (first..self.pending.len()).filter_map(of_operation);
        if found == sure || allowed.any(|print| print == found) {
            return None;
        }
        let should = match last_sure {
            Some(at) => format!("after {}, which was acknowledged", self.name(at)),
            None => "by what was found or durable before".to_owned(),
        };
        let writer = found.map(|print| self.writer_of(name, print));
        let kind = match (writer, sure) {
            (Some(None), _) => LossKind::WrongBytes,
            // What it wrote in between, and nobody was to see.
            (Some(Some(number)), _) if self.pending[first..].iter().any(|p| p.number == number) => {
                LossKind::Half
            }
            (Some(Some(_)), None) => LossKind::Resurrected,
            _ => LossKind::Lost,
        };
        let expected = describe(sure);
        let found = match found.map(|print| (print, self.writer_of(name, print))) {
            None => "is not there".to_owned(),
            Some((print, None)) => format!("has bytes that nobody wrote there ({print:?})"),
            Some((_, Some(number))) => format!("has the bytes of {}", self.asked_name(number)),
        };
        Some(Loss::new(kind, format!("{name} {found}; {should}, it has to be {expected}")))
    }

    /// Two operations of one disk, of which the later one is there and the earlier one is not.
    fn hole(&self, puzzle: &Puzzle<'_>) -> Option<Loss> {
        let of_lane = |at: &usize| self.pending[*at].standing != Standing::InDoubt;
        let mut kept = (0..self.pending.len()).filter(|&at| puzzle.is_there(at));
        kept.find_map(|kept| {
            let lost = (0..kept).filter(of_lane).find(|&lost| {
                let (lost_one, kept_one) = (&self.pending[lost], &self.pending[kept]);
                puzzle.cannot_be_there(lost)
                    && lost_one.disk == kept_one.disk
                    && (lost_one.precedes(kept_one) || !lost_one.overlaps)
            })?;
            let (kept, lost) = (self.name(kept), self.name(lost));
            let words = format!("{kept} is there, and {lost}, before it on the same disk, is lost");
            Some(Loss::new(LossKind::Hole, words))
        })
    }

    fn name(&self, at: usize) -> String {
        self.asked_name(self.pending[at].number)
    }

    pub(super) fn asked_name(&self, number: usize) -> String {
        format!("operation {number} ({})", self.asked[number].words)
    }

    /// The operation that wrote these bytes under a name.
    fn writer_of(&self, name: &str, print: Print) -> Option<usize> {
        self.asked.iter().rposition(|known| {
            known.changes.iter().any(|c| c.name == *name && c.print == Some(print))
        })
    }
}

fn describe(print: Option<Print>) -> String {
    print.map_or_else(|| "gone".to_owned(), |print| format!("{} bytes", print.len))
}
