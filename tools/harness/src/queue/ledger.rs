//! What was asked of a queue, what it has answered, and so what has to be there.
//!
//! A queue is one log: an item that is durable makes all before it so. What is left after a break is
//! a prefix of what was appended, with everything in it that was acknowledged as durable, or to who
//! outlives the break; items of which no answer has come may be missing anywhere.

use std::collections::BTreeMap;

use super::judge::{Matched, Moment};
use super::{Answer, Change, Seen, Shown, Task, items, name};
use crate::engine::{Failure, Level, Retention, Setup};
use crate::operation::Print;
use crate::oracle::{Loss, LossKind};
use crate::session::Outcome;

/// Follows what is asked of a queue.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(super) retention: Retention,
    /// Where a file is full: whole files are dropped.
    pub(super) file_bytes: u64,
    /// What was appended, in order, and was not found gone.
    pub(super) items: Vec<Item>,
    /// So many of the items are durable, so far as they were taken.
    pub(super) durable: usize,
    /// So many are in the system's hands.
    pub(super) written: usize,
    /// So many are truncated.
    pub(super) dropped: usize,
    pub(super) doubts: Vec<Doubt>,
    /// The last operation that has truncated anything.
    pub(super) truncated_by: usize,
    /// The rewrite of which no answer has come, where it is known what it was to change.
    pub(super) rewriting: Option<Rewriting>,
    /// The greatest id that was ever given out or shown.
    pub(super) highest: u64,
    /// Breaks so far.
    pub(super) life: u32,
    /// Of what each break took the least id.
    pub(super) lost: Vec<u64>,
    pub(super) consumers: BTreeMap<String, Position>,
    /// What answers said that can't be.
    wrong: Vec<Loss>,
}

/// An item that was to be appended.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The operation's number among all.
    pub(super) operation: usize,
    pub(super) print: Print,
    /// Once it is acknowledged, or was shown: until then it may not be there.
    pub(super) id: Option<u64>,
    pub(super) begun_ms: u64,
    pub(super) life: u32,
    /// Whether a rewrite has dropped it.
    pub(super) is_dropped: bool,
    /// What it may have become, or it may be gone: nobody knows what a rewrite has seen that has not
    /// answered.
    pub(super) unclear: Option<Vec<Print>>,
}

/// What a rewrite changes: places, and what is there then.
#[derive(Clone, Debug)]
pub(super) struct Rewriting {
    pub(super) operation: usize,
    changes: Vec<(usize, Option<Print>)>,
}

/// A truncation of which no answer has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    operation: usize,
    pub(super) reach: Reach,
}

/// How far a truncation goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    /// So many of all items are gone, or none.
    To(usize),
    /// So many of those that are there go, and which they are is not known.
    Items(usize),
}

/// How far a consumer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    pub(super) committed: Option<u64>,
    /// Operations of which no answer has come, each with the number of items that it may have got on.
    doubts: Vec<(usize, usize)>,
}

impl Item {
    /// Whether it was taken for sure.
    pub(super) fn is_sure(&self) -> bool {
        self.id.is_some() && !self.is_dropped && self.unclear.is_none()
    }

    /// Whether these can be its bytes.
    pub(super) fn may_be(&self, print: Print) -> bool {
        self.print == print || self.unclear.iter().flatten().any(|other| *other == print)
    }
}

impl Position {
    /// By how many items it may have got on.
    pub(super) fn may_be_ahead(&self) -> usize {
        self.doubts.iter().map(|(_, items)| items).sum()
    }
}

impl Ledger {
    /// Of a queue in which there is nothing.
    pub fn new(setup: &Setup) -> Self {
        Ledger { retention: setup.retention, file_bytes: setup.file_bytes, ..Ledger::default() }
    }

    /// Something is asked for; `prints` are of what it appends.
    pub fn begin(&mut self, operation: usize, task: &Task, prints: &[Print], now_ms: u64) {
        let life = self.life;
        let item = |print: &Print| Item {
            operation,
            print: *print,
            id: None,
            begun_ms: now_ms,
            life,
            is_dropped: false,
            unclear: None,
        };
        match task {
            Task::Append { .. } | Task::Batch { .. } => {
                self.items.extend(prints.iter().map(item));
            }
            Task::Read { .. } => {}
            Task::Truncate { items } => {
                let target = self.there().nth(*items).filter(|to| *to < self.durable);
                let reach =
                    target.filter(|_| self.is_clear()).map_or(Reach::Items(*items), Reach::To);
                self.doubts.push(Doubt { operation, reach });
            }
            Task::Rewrite { skip, changes } => {
                let there: Vec<usize> = self.there().skip(*skip).collect();
                if self.is_clear() {
                    let changes = changed(changes, prints);
                    let changes = there.into_iter().zip(changes);
                    let changes = changes.filter_map(|(at, change)| Some((at, change?))).collect();
                    self.rewriting = Some(Rewriting { operation, changes });
                } else {
                    for item in &mut self.items[self.dropped..] {
                        item.unclear.get_or_insert_default().extend(prints);
                    }
                }
            }
            Task::TruncateAll => {
                self.doubts.push(Doubt { operation, reach: Reach::To(self.items.len()) });
            }
            Task::Consume { name, items } => {
                let position = self.consumers.entry(name.clone()).or_default();
                position.doubts.push((operation, *items));
            }
        }
    }

    /// The outcome of what was asked for has arrived.
    pub fn end(&mut self, operation: usize, task: &Task, outcome: &Outcome, now_ms: u64) {
        match outcome {
            Outcome::Queue(answer) => self.answered(operation, task, answer, now_ms),
            Outcome::Failed(Failure::Refused | Failure::Unsupported) => {
                self.items.retain(|item| item.operation != operation);
                self.doubts.retain(|doubt| doubt.operation != operation);
                self.rewriting = self.rewriting.take().filter(|of| of.operation != operation);
                for position in self.consumers.values_mut() {
                    position.doubts.retain(|(of, _)| *of != operation);
                }
            }
            // It stays open whether it was carried out.
            _ => {}
        }
    }

    fn answered(&mut self, operation: usize, task: &Task, answer: &Answer, now_ms: u64) {
        match answer {
            Answer::Appended(ids) => self.appended(operation, task, ids),
            Answer::Read(shown) => {
                let ahead = matches!(task, Task::Read { ahead: true });
                self.read(shown, ahead, now_ms);
            }
            Answer::Truncated(id) => {
                let is_before = |item: &Item| item.id.is_some_and(|own| own < *id);
                let before = match task {
                    // What was in doubt was before it as well.
                    Task::TruncateAll => {
                        let doubt = self.doubts.iter().find(|doubt| doubt.operation == operation);
                        doubt.map_or(0, |doubt| match doubt.reach {
                            Reach::To(to) => to,
                            Reach::Items(_) => 0,
                        })
                    }
                    _ => self.items.iter().rposition(is_before).map_or(0, |last| last + 1),
                };
                self.doubts.clear();
                self.truncated_by = operation;
                self.dropped = self.dropped.max(before);
            }
            Answer::Rewritten(was) => {
                let Task::Rewrite { changes, .. } = task else { return };
                self.rewritten(operation, changes, was);
            }
            Answer::Consumed { before, read, committed } => {
                let Task::Consume { name, .. } = task else { return };
                self.consumed(operation, name, *before, read, *committed);
            }
        }
    }

    fn appended(&mut self, operation: usize, task: &Task, ids: &[u64]) {
        let own = self.items.iter().position(|item| item.operation == operation);
        let Some(first) = own.filter(|_| ids.len() == task.appends().len()) else {
            if !task.appends().is_empty() || !ids.is_empty() {
                let words = format!(
                    "{} items were appended, and have {} ids",
                    task.appends().len(),
                    ids.len()
                );
                self.contradiction(words);
            }
            return;
        };
        for (item, id) in self.items[first..].iter_mut().zip(ids) {
            item.id = Some(*id);
        }
        for id in ids {
            if *id <= self.highest {
                let (new, old) = (name(*id), name(self.highest));
                self.contradiction(format!(
                    "an item was given the id {new}, which is not behind {old}, the last one that \
                     was given out or shown"
                ));
            }
            self.highest = self.highest.max(*id);
        }
        let end = first + ids.len();
        match task {
            Task::Append { level: Level::Later, .. } => {}
            Task::Append { level: Level::Os, .. } => self.written = self.written.max(end),
            _ => self.is_durable(end),
        }
    }

    /// So many of the items are durable.
    fn is_durable(&mut self, count: usize) {
        self.durable = self.durable.max(count);
        self.written = self.written.max(count);
    }

    /// What is shown to a reader can't be taken back.
    fn read(&mut self, shown: &[Shown], ahead: bool, now_ms: u64) {
        let required = if ahead { self.written } else { self.durable };
        match self.either(|ledger| ledger.matches(shown, required, now_ms)) {
            Ok((_, matched)) => {
                self.believe(&matched);
                let end = matched.end();
                if ahead { self.written = self.written.max(end) } else { self.is_durable(end) }
            }
            Err(losses) => self.wrong.extend(losses),
        }
    }

    /// A rewrite has said what each item was; `changes` say what it is now.
    fn rewritten(&mut self, operation: usize, changes: &[Change], was: &[(u64, Print)]) {
        let changes = changed(changes, &prints_of(changes));
        let is_other = |of: &Rewriting| of.operation != operation;
        if let Some(earlier) = self.rewriting.take().filter(is_other) {
            match self.was_carried_out(&earlier, was) {
                Some(true) => self.apply(&earlier),
                Some(false) => {}
                None => self.rewriting = Some(earlier),
            }
        }
        for ((id, print), change) in was.iter().zip(changes) {
            let Some(at) = self.items.iter().position(|item| item.id == Some(*id)) else {
                continue;
            };
            if !self.items[at].may_be(*print) || self.items[at].is_dropped {
                let words = format!("a rewrite came to {}, with {print:?}", name(*id));
                self.contradiction(words);
            }
            let item = &mut self.items[at];
            item.unclear = None;
            item.print = *print;
            match change {
                None => {}
                Some(None) => item.is_dropped = true,
                Some(Some(print)) => item.print = print,
            }
        }
        // It has synced everything before.
        self.settle();
    }

    /// Whether a rewrite without an answer was carried out, by what a later one has come to; nothing,
    /// where that was none of what it changes.
    fn was_carried_out(&self, earlier: &Rewriting, was: &[(u64, Print)]) -> Option<bool> {
        let (first, last) = (was.first()?.0, was.last()?.0);
        earlier.changes.iter().find_map(|(at, change)| {
            let item = &self.items[*at];
            let id = item.id?;
            let found = was.iter().find(|of| of.0 == id).map(|of| of.1);
            match (found, change) {
                // As it was before and is then.
                (Some(_), Some(new)) if *new == item.print => None,
                (Some(print), Some(new)) => Some(print == *new),
                (Some(_), None) => Some(false),
                (None, None) if (first..last).contains(&id) => Some(true),
                (None, _) => None,
            }
        })
    }

    /// Makes a rewrite's changes.
    fn apply(&mut self, rewriting: &Rewriting) {
        for (at, change) in &rewriting.changes {
            match change {
                None => self.items[*at].is_dropped = true,
                Some(print) => self.items[*at].print = *print,
            }
        }
    }

    /// Judges by what there would be if a rewrite had not been carried out, and if it had; gives the
    /// ledger that it agrees with.
    fn either<T>(
        &self,
        judge: impl Fn(&Ledger) -> Result<T, Vec<Loss>>,
    ) -> Result<(Option<Ledger>, T), Vec<Loss>> {
        let before = judge(self);
        let Some(rewriting) = &self.rewriting else { return before.map(|judged| (None, judged)) };
        let mut other = self.clone();
        other.apply(rewriting);
        // Where both may be, an item is missing that was not durable and was to be dropped. Who takes
        // it for dropped asks for no cut where it was, and allows one.
        if let Ok(judged) = judge(&other) {
            return Ok((Some(other), judged));
        }
        before.map(|judged| (None, judged)).map_err(|losses| {
            let operation = rewriting.operation;
            let first = losses.first().map_or(String::new(), |loss| loss.words.clone());
            let words =
                format!("it is neither as before operation {operation} nor as after it: {first}");
            vec![Loss::new(LossKind::Half, words)]
        })
    }

    /// The places of the items that are there, so far as they were taken.
    fn there(&self) -> impl Iterator<Item = usize> {
        let is_there = |(at, item): &(usize, &Item)| *at >= self.dropped && !item.is_dropped;
        self.items.iter().enumerate().filter(is_there).map(|(at, _)| at)
    }

    /// Whether it is known of each item whether it is there, and which comes first.
    fn is_clear(&self) -> bool {
        let is_known = |item: &Item| item.is_dropped || item.is_sure();
        !self.retention.drops()
            && self.doubts.is_empty()
            && self.rewriting.is_none()
            && self.items[self.dropped..].iter().all(is_known)
    }

    fn consumed(
        &mut self,
        operation: usize,
        consumer: &str,
        before: Option<u64>,
        read: &[Shown],
        committed: Option<u64>,
    ) {
        let position = self.consumers.entry(consumer.to_owned()).or_default();
        position.doubts.retain(|(of, _)| *of != operation);
        if before != position.committed && position.doubts.is_empty() {
            let [found, known] = [before, position.committed].map(or_none);
            self.contradiction(format!("{consumer} had committed {known}, and is told {found}"));
        }
        let read: Vec<(u64, Print)> = items(read).collect();
        if self.is_clear() {
            let behind = |item: &&Item| item.id > before;
            let next = self.there().map(|at| &self.items[at]).filter(behind);
            let expected: Vec<(u64, Print)> =
                next.filter_map(|item| Some((item.id?, item.print))).take(read.len()).collect();
            if expected != read {
                let words =
                    format!("{consumer} is not shown what comes behind {}", or_none(before));
                self.contradiction(words);
            }
        }
        if let Some((last, _)) = read.last() {
            let end = self.items.iter().position(|item| item.id == Some(*last));
            self.is_durable(end.map_or(0, |at| at + 1));
        }
        let position = self.consumers.entry(consumer.to_owned()).or_default();
        if committed.is_some() {
            position.doubts.clear();
        }
        position.committed = committed.or(before);
    }

    /// Everything that was taken is durable.
    pub fn settle(&mut self) {
        self.is_durable(self.items.len());
    }

    fn contradiction(&mut self, words: String) {
        self.wrong.push(Loss::new(LossKind::Contradiction, words));
    }

    /// Judges what is seen.
    pub fn judge(&self, seen: &Seen, moment: Moment, now_ms: u64) -> Result<(), Vec<Loss>> {
        self.judged(seen, moment, now_ms).map(drop)
    }

    fn judged(
        &self,
        seen: &Seen,
        moment: Moment,
        now_ms: u64,
    ) -> Result<(Option<Ledger>, Matched), Vec<Loss>> {
        if !self.wrong.is_empty() {
            return Err(self.wrong.clone());
        }
        self.either(|ledger| ledger.compare(seen, moment, now_ms))
    }

    /// Judges what is seen after a break, and takes it for the truth from then on.
    pub fn recover(&mut self, seen: &Seen, moment: Moment, now_ms: u64) -> Result<(), Vec<Loss>> {
        self.life += 1;
        let judged = self.judged(seen, moment, now_ms);
        let (other, matched) = judged?;
        if let Some(other) = other {
            self.items = other.items;
        }
        self.rewriting = None;
        self.believe(&matched);
        let is_lost = |item: &&Item| item.is_sure() && !item.is_dropped;
        let lost = self.items[matched.end()..].iter().find(is_lost).and_then(|item| item.id);
        self.lost.extend(lost);
        let prints = seen.items().map(|(_, print)| print);
        let kept = matched.pairs.iter().zip(prints);
        let kept =
            kept.map(|((at, _), print)| Item { print, unclear: None, ..self.items[*at].clone() });
        self.items = kept.collect();
        (self.dropped, self.doubts) = (0, Vec::new());
        (self.durable, self.written) = (self.items.len(), self.items.len());
        let committed = |(name, id): &(String, u64)| {
            let position = Position { committed: Some(*id), doubts: Vec::new() };
            (name.clone(), position)
        };
        self.consumers = seen.consumers.iter().map(committed).collect();
        Ok(())
    }

    /// What was shown was taken.
    fn believe(&mut self, matched: &Matched) {
        for (at, id) in &matched.pairs {
            self.items[*at].id = Some(*id);
            self.highest = self.highest.max(*id);
        }
    }
}

pub(super) fn or_none(id: Option<u64>) -> String {
    id.map_or_else(|| "nothing".to_owned(), name)
}

/// What becomes of each item: nothing, or it goes, or it has other bytes, of which `prints` are.
fn changed(changes: &[Change], prints: &[Print]) -> Vec<Option<Option<Print>>> {
    let mut prints = prints.iter().copied();
    let change = |change: &Change| match change {
        Change::Keep => None,
        Change::Drop => Some(None),
        Change::Replace(_) => Some(prints.next()),
    };
    changes.iter().map(change).collect()
}

fn prints_of(changes: &[Change]) -> Vec<Print> {
    let print = |change: &Change| match change {
        Change::Replace(value) => Some(value.print()),
        Change::Keep | Change::Drop => None,
    };
    changes.iter().filter_map(print).collect()
}
