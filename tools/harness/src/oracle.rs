//! What may be left of what was asked, by definition.
//!
//! An oracle is told of each operation when it begins and when its outcome arrives, and of each
//! break. It knows nothing of the engine but its promises. From that it says which states a
//! reopened engine may show:
//!
//! - what was acknowledged as durable is there, or was overtaken by a later operation;
//! - what was acknowledged short of that is there, or lost; where the engine promises it, what is
//!   lost is a suffix of what each disk was given, never a hole;
//! - what was under way or failed is there whole, or not at all.
//!
//! Operations that are not durable form *lanes*. Of a lane a prefix is kept. The operations of one
//! disk are one lane; an operation of which nobody knows the disk is a lane of its own, so that
//! nothing is called wrong that may be right. A state is allowed if some choice of prefixes leads
//! to it.

mod lanes;
mod outcome;
mod verdict;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{Failure, Promises, Setup};
use crate::operation::{Change, Durability, Operation, Print, is_part, key_of_marker, marker_name};
use crate::queue::{Ledger, Moment};
use crate::session::{Observation, Outcome};

pub use verdict::{Loss, LossKind};

/// What broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Break {
    /// The machine: what was acknowledged short of durable may be lost.
    Power,
    /// The process: what was acknowledged is kept.
    Process,
}

/// What an object or a part is at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    print: Print,
    expires_ms: Option<u64>,
}

pub(crate) type State = BTreeMap<String, Held>;

/// An operation whose effect may be lost, or whose outcome is not known.
#[derive(Clone, Debug)]
struct Pending {
    /// Its place among all operations.
    number: usize,
    changes: Arc<[Change]>,
    standing: Standing,
    /// Where it lies, if that is known.
    disk: Option<usize>,
    /// Another one was under way at the same time: nobody knows which of them came first.
    overlaps: bool,
    /// Operations of this number and later ones were begun when it had ended.
    until: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// No outcome yet.
    UnderWay,
    /// It failed in a way that leaves open whether it was carried out.
    InDoubt,
    /// Acknowledged, not durable for all we know.
    Acknowledged,
    /// Acknowledged as durable.
    Durable,
}

/// Follows a history and judges what is found after a break.
#[derive(Clone, Debug)]
pub struct Oracle {
    promises: Promises,
    disks: usize,
    /// Whether what is overwritten or deleted stays as an older version.
    keeps_versions: bool,
    /// What is durable for sure, or was found last.
    base: State,
    /// What came after that, in order.
    pending: Vec<Pending>,
    /// All that was ever asked.
    asked: Vec<Known>,
    backups: Vec<Backup>,
    /// What was asked of a queue.
    queue: Ledger,
    /// What outcomes said that can't be.
    wrong: Vec<Loss>,
}

/// What a backup may hold: what the store held when it began.
#[derive(Clone, Debug)]
struct Backup {
    number: usize,
    is_done: bool,
    then: Box<Oracle>,
}

impl Pending {
    /// It has left a version, too, which says that its key was deleted.
    fn leaves(&mut self, name: &str) {
        self.changes = self.changes.iter().cloned().chain([Change::marker(name)]).collect();
    }

    /// The key of a delete that nobody has heard the end of.
    fn deletes_without_marker(&self) -> Option<&str> {
        let has_outcome = !matches!(self.standing, Standing::UnderWay | Standing::InDoubt);
        match &*self.changes {
            [only] if only.print.is_none() && !is_part(&only.name) && !has_outcome => {
                Some(&only.name)
            }
            _ => None,
        }
    }

    /// Whether it had ended when the other one was begun.
    fn precedes(&self, other: &Pending) -> bool {
        self.until <= other.number
    }

    fn changes_name(&self, name: &str) -> bool {
        self.changes.iter().any(|change| change.name == *name)
    }
}

impl Oracle {
    /// Of a store that is empty.
    pub fn new(promises: Promises, disks: usize) -> Self {
        Oracle {
            promises,
            disks,
            keeps_versions: false,
            base: State::new(),
            pending: Vec::new(),
            asked: Vec::new(),
            backups: Vec::new(),
            queue: Ledger::default(),
            wrong: Vec::new(),
        }
    }

    /// Of a store, or a queue, that is set up so and empty.
    pub fn of(promises: Promises, setup: &Setup) -> Self {
        Oracle {
            queue: Ledger::new(setup),
            keeps_versions: setup.versions,
            ..Oracle::new(promises, setup.disks)
        }
    }

    /// An operation is asked for at `now_ms`; gives the number by which to [`end`](Self::end) it.
    #[cfg(test)]
    pub fn begin(&mut self, operation: &Operation, now_ms: u64) -> usize {
        self.begin_known(operation, &Known::of(operation, now_ms))
    }

    /// The same, with what the operation changes worked out already.
    pub(crate) fn begin_known(&mut self, operation: &Operation, known: &Known) -> usize {
        let number = self.asked.len();
        if *operation == Operation::Backup {
            let then = Box::new(Oracle { backups: Vec::new(), ..self.clone() });
            self.backups.push(Backup { number, is_done: false, then });
        }
        let known = if self.keeps_versions { known.with_versions() } else { known.clone() };
        self.asked.push(known.clone());
        if let Operation::Queue(task) = operation {
            let prints: Vec<Print> = known.changes.iter().filter_map(|c| c.print).collect();
            self.queue.begin(number, task, &prints, known.now_ms);
            return number;
        }
        let mut overlaps = false;
        for other in self.pending.iter_mut().filter(|p| p.standing == Standing::UnderWay) {
            (other.overlaps, overlaps) = (true, true);
        }
        self.pending.push(Pending {
            number,
            changes: known.changes,
            standing: Standing::UnderWay,
            disk: self.only_disk(),
            overlaps,
            until: usize::MAX,
        });
        number
    }

    fn only_disk(&self) -> Option<usize> {
        (self.disks == 1).then_some(0)
    }

    /// The outcome of an operation has arrived. `disk` is the one that it was written to, by
    /// whoever can tell.
    pub fn end(
        &mut self,
        number: usize,
        operation: &Operation,
        outcome: &Outcome,
        disk: Option<usize>,
    ) {
        if let Operation::Queue(task) = operation {
            return self.queue.end(number, task, outcome, self.asked[number].now_ms);
        }
        let Some(at) = self.pending.iter().position(|pending| pending.number == number) else {
            return;
        };
        self.wrong.extend(self.contradiction(at, operation, outcome));
        if let (Outcome::Marked(id), Operation::Delete { key, .. }) = (outcome, operation) {
            self.pending[at].leaves(&marker_name(key, id));
        }
        self.pending[at].until = self.asked.len();
        let is_known = |_: &usize| !self.pending[at].overlaps;
        self.pending[at].disk = disk.filter(is_known).or(self.only_disk());
        match outcome {
            Outcome::Nothing | Outcome::Failed(Failure::Unsupported | Failure::Refused) => {
                self.pending.remove(at);
                self.backups.retain(|backup| backup.number != number);
            }
            Outcome::Done if operation.settles() => self.settle(number, operation),
            _ if self.pending[at].changes.is_empty() => {
                self.pending.remove(at);
            }
            Outcome::Failed(_) => self.pending[at].standing = Standing::InDoubt,
            Outcome::Done | Outcome::Marked(_) | Outcome::Wrong(_) | Outcome::Queue(_) => {
                self.pending[at].standing = match operation.durability() {
                    Durability::Sync => Standing::Durable,
                    Durability::Os => Standing::Acknowledged,
                };
                self.acknowledged(at);
            }
        }
        self.advance();
    }

    /// A success says something of what failed before, and of what lies before it on its disk.
    fn acknowledged(&mut self, at: usize) {
        let this = self.pending[at].clone();
        let (is_durable, disk) = (this.standing == Standing::Durable, this.disk);
        if self.promises.failed_is_gone {
            self.pending.retain(|p| p.standing != Standing::InDoubt || !p.precedes(&this));
        }
        if self.promises.loses_suffixes && is_durable && disk.is_some() {
            for earlier in self.pending.iter_mut().filter(|p| p.disk == disk && p.precedes(&this)) {
                if earlier.standing == Standing::Acknowledged {
                    earlier.standing = Standing::Durable;
                }
            }
        }
    }

    /// Everything is durable that was acknowledged when the operation of this number was begun, it says.
    fn settle(&mut self, number: usize, operation: &Operation) {
        self.queue.settle();
        self.pending.retain(|pending| pending.number != number);
        for backup in self.backups.iter_mut().filter(|backup| backup.number == number) {
            backup.is_done = true;
        }
        if let Some(last) = self.backups.iter().rposition(|backup| backup.is_done) {
            self.backups.drain(..last);
        }
        // The others may have had nothing to do, and have written nothing that would say so.
        let ends = matches!(operation, Operation::Close | Operation::Reopen | Operation::Rebuild);
        if self.promises.failed_is_gone && ends {
            self.pending.retain(|pending| pending.standing != Standing::InDoubt);
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.until <= number) {
            if pending.standing == Standing::Acknowledged {
                pending.standing = Standing::Durable;
            }
        }
    }

    /// Moves to the base what nothing uncertain stands before.
    fn advance(&mut self) {
        let durable = self.pending.iter().take_while(|p| p.standing == Standing::Durable).count();
        for pending in self.pending.drain(..durable) {
            lanes::apply(&mut self.base, &pending.changes);
        }
    }

    /// Judges what is found after a break, and takes it for the truth from then on.
    pub fn recover(
        &mut self,
        broke: Break,
        seen: &Observation,
        now_ms: u64,
    ) -> Result<(), Vec<Loss>> {
        self.attribute(seen);
        let mut judged = self.judge(broke, seen, now_ms);
        if let Some(seen) = &seen.queue {
            judged = judged.and(self.queue.recover(seen, Moment::After(broke), now_ms));
        }
        self.base = self.believe(seen);
        self.pending.clear();
        judged
    }

    /// Nobody has heard what a version is called that says that a key was deleted, where the delete has
    /// no outcome. What is found and not known is of such a delete, one each; another one that was carried
    /// out lacks its version.
    fn attribute(&mut self, seen: &Observation) {
        if !self.keeps_versions {
            return;
        }
        let is_known = |name: &str| {
            self.base.contains_key(name) || self.pending.iter().any(|p| p.changes_name(name))
        };
        let markers = seen.found.keys().filter(|name| key_of_marker(name).is_some());
        let mut unknown: Vec<&String> = markers.filter(|name| !is_known(name)).collect();
        for pending in &mut self.pending {
            let Some(key) = pending.deletes_without_marker() else { continue };
            let found = unknown.iter().position(|name| key_of_marker(name) == Some(key));
            let name = match found {
                Some(at) => unknown.remove(at).clone(),
                None => marker_name(key, ""),
            };
            pending.leaves(&name);
        }
    }

    /// Judges what is found in a store that went on: all that was acknowledged is there.
    pub fn look(&self, seen: &Observation, now_ms: u64) -> Result<(), Vec<Loss>> {
        self.judge(Break::Process, seen, now_ms)?;
        let queue = seen.queue.as_ref();
        queue.map_or(Ok(()), |seen| self.queue.judge(seen, Moment::Live, now_ms))
    }

    /// Whether a backup was ever begun.
    pub(crate) fn has_backups(&self) -> bool {
        !self.backups.is_empty()
    }

    /// Judges what is found in the backup, or that there is none.
    pub fn judge_backup(&self, seen: Option<&Observation>, now_ms: u64) -> Result<(), Vec<Loss>> {
        let Some(seen) = seen else {
            let is_lost = self.backups.iter().any(|backup| backup.is_done);
            return if is_lost { Err(vec![Loss::of_backup()]) } else { Ok(()) };
        };
        let judged = self.backups.iter().map(|backup| backup.then.look(seen, now_ms));
        judged.reduce(|a, b| a.or(b)).unwrap_or(Ok(()))
    }

    /// What was asked says when things that were found expire.
    fn believe(&self, seen: &Observation) -> State {
        let expires_ms = |name: &str, print: Print| {
            let mut changes = self.asked.iter().rev().flat_map(|known| known.changes.iter());
            changes.find(|change| change.name == *name && change.print == Some(print))?.expires_ms
        };
        let held = |(name, print): (&String, &Print)| {
            let expires_ms = expires_ms(name, *print);
            (name.clone(), Held { print: *print, expires_ms })
        };
        seen.found.iter().map(held).collect()
    }
}

/// An operation with what it changes worked out: values are made once, not at every break.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) now_ms: u64,
    pub(crate) words: Arc<str>,
    pub(crate) changes: Arc<[Change]>,
}

impl Known {
    pub(crate) fn of(operation: &Operation, now_ms: u64) -> Self {
        let (words, changes) = (operation.to_string().into(), operation.changes(now_ms).into());
        Known { now_ms, words, changes }
    }

    /// The same where versions are kept: what is put is there as one of them, too, unless the operation
    /// names its version itself.
    fn with_versions(&self) -> Self {
        if self.changes.iter().any(Change::is_of_null) {
            return self.clone();
        }
        let versions = self.changes.iter().filter_map(Change::version);
        let changes = self.changes.iter().cloned().chain(versions).collect();
        Known { changes, ..self.clone() }
    }
}
