//! What outcomes say of the moment at which they arrived, where that can't be.

use super::{Loss, LossKind, Oracle, Standing};
use crate::engine::Failure;
use crate::operation::{Operation, When};
use crate::session::Outcome;

impl Oracle {
    /// What is wrong with the outcome of the pending operation at `at`, beyond what it leaves.
    pub(super) fn contradiction(
        &self,
        at: usize,
        operation: &Operation,
        outcome: &Outcome,
    ) -> Option<Loss> {
        let number = self.pending[at].number;
        let name = self.asked_name(number);
        if let Outcome::Wrong(words) = outcome {
            return Some(Loss::new(LossKind::Contradiction, format!("{name}: {words}")));
        }
        let (key, claims_it) = claim(operation, outcome)?;
        let is_there = self.is_there_before(at, key)?;
        (is_there != claims_it).then(|| {
            let [claimed, really] =
                [claims_it, is_there].map(|is| if is { "there" } else { "gone" });
            let words = format!("{name} ended as if {key} were {claimed}, and it was {really}");
            Loss::new(LossKind::Contradiction, words)
        })
    }

    /// Whether a key was there when the pending operation at `at` began, where that is known for
    /// sure.
    fn is_there_before(&self, at: usize, key: &str) -> Option<bool> {
        let now_ms = self.asked[self.pending[at].number].now_ms;
        let is_over = |expires_ms: Option<u64>| expires_ms.is_some_and(|over| over <= now_ms);
        let others = self.pending.iter().enumerate().rev();
        for (place, other) in others {
            let Some(change) = other.changes.iter().rev().find(|change| change.name == *key) else {
                continue;
            };
            let is_sure = matches!(other.standing, Standing::Acknowledged | Standing::Durable);
            if place > at || place < at && !(is_sure && other.precedes(&self.pending[at])) {
                return None;
            }
            if place < at {
                return Some(change.print.is_some() && !is_over(change.expires_ms));
            }
        }
        Some(self.base.get(key).is_some_and(|held| !is_over(held.expires_ms)))
    }
}

/// The key of which an outcome says whether it was there, and what it says.
fn claim<'o>(operation: &'o Operation, outcome: &Outcome) -> Option<(&'o str, bool)> {
    match operation {
        Operation::Put { key, how, .. } | Operation::Stream { key, how, .. } => {
            let wanted = match how.when {
                When::Always => return None,
                When::IfAbsent => false,
                When::IfPresent => true,
            };
            match outcome {
                Outcome::Done => Some((key, wanted)),
                Outcome::Failed(Failure::Refused) => Some((key, !wanted)),
                _ => None,
            }
        }
        Operation::Delete { key, .. } | Operation::DeleteNull { key } => match outcome {
            Outcome::Done | Outcome::Marked(_) => Some((key, true)),
            Outcome::Nothing => Some((key, false)),
            _ => None,
        },
        _ => None,
    }
}
