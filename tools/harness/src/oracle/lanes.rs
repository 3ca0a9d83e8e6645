//! Looks for a choice of what was kept that explains what is found.

use std::collections::{BTreeMap, BTreeSet};

use super::{Break, Oracle, Pending, Standing, State};
use crate::operation::{Change, Print};

/// Choices that are tried before a state counts as explained: only where many operations of unknown
/// disks wipe each other out are there more, and what speaks against each of them alone was found
/// before.
const MOST_CHOICES: u64 = 200_000;

/// Operations of which a prefix is kept: their places among the pending ones.
#[derive(Default, Debug)]
struct Lane {
    operations: Vec<usize>,
    /// How many are kept at least, by what is found.
    least: usize,
    /// How many are kept at most.
    most: usize,
}

/// What is found, and what may have led there.
pub(super) struct Puzzle<'a> {
    oracle: &'a Oracle,
    broke: Break,
    found: &'a BTreeMap<String, Print>,
    now_ms: u64,
}

impl<'a> Puzzle<'a> {
    pub(super) fn new(
        oracle: &'a Oracle,
        broke: Break,
        found: &'a BTreeMap<String, Print>,
        now_ms: u64,
    ) -> Self {
        Puzzle { oracle, broke, found, now_ms }
    }

    /// Whether some choice leads to what is found.
    pub(super) fn is_solvable(&self) -> bool {
        let names = self.changed_names();
        let untouched = |name: &&String| !names.contains(name.as_str());
        let base = self.oracle.base.keys().filter(untouched);
        if base.chain(self.found.keys().filter(untouched)).any(|name| !self.is_as_in_base(name)) {
            return false;
        }
        let mut lanes = self.lanes();
        if lanes.iter().any(|lane| lane.least > lane.most) {
            return false;
        }
        let mut kept: Vec<bool> =
            self.oracle.pending.iter().map(|pending| self.is_kept_for_sure(pending)).collect();
        let mut left = MOST_CHOICES;
        // Those with a choice last, so that the others are set once.
        lanes.sort_by_key(|lane| lane.most - lane.least);
        self.try_lanes(&lanes, &mut kept, &names, &mut left)
    }

    pub(super) fn is_kept_for_sure(&self, pending: &Pending) -> bool {
        match pending.standing {
            Standing::Durable => true,
            Standing::Acknowledged => self.broke == Break::Process,
            Standing::UnderWay | Standing::InDoubt => false,
        }
    }

    /// What readers see of a change now.
    pub(super) fn seen(&self, change: &Change) -> Option<Print> {
        let is_over = change.expires_ms.is_some_and(|expires_ms| expires_ms <= self.now_ms);
        change.print.filter(|_| !is_over)
    }

    pub(super) fn seen_in_base(&self, name: &str) -> Option<Print> {
        let held = self.oracle.base.get(name)?;
        let is_over = held.expires_ms.is_some_and(|expires_ms| expires_ms <= self.now_ms);
        (!is_over).then_some(held.print)
    }

    fn is_as_in_base(&self, name: &str) -> bool {
        self.found.get(name).copied() == self.seen_in_base(name)
    }

    fn changed_names(&self) -> BTreeSet<&'a str> {
        let changes = self.oracle.pending.iter().flat_map(|pending| pending.changes.iter());
        changes.map(|change| change.name.as_str()).collect()
    }

    fn lanes(&self) -> Vec<Lane> {
        let mut of_disks: BTreeMap<usize, Lane> = BTreeMap::new();
        let mut alone = Vec::new();
        for (at, pending) in self.oracle.pending.iter().enumerate() {
            if self.is_kept_for_sure(pending) {
                continue;
            }
            let in_order = self.oracle.promises.loses_suffixes
                && !pending.overlaps
                && pending.standing != Standing::InDoubt;
            match pending.disk.filter(|_| in_order) {
                Some(disk) => of_disks.entry(disk).or_default().operations.push(at),
                None => alone.push(Lane { operations: vec![at], ..Lane::default() }),
            }
        }
        let mut lanes: Vec<Lane> = of_disks.into_values().chain(alone).collect();
        let found: Vec<usize> =
            (0..self.oracle.pending.len()).filter(|&at| self.is_there(at)).collect();
        lanes.iter_mut().for_each(|lane| self.bound(lane, &found));
        lanes
    }

    /// Narrows down how many are kept, by what each has left or would have left, and by those that were `found`.
    fn bound(&self, lane: &mut Lane, found: &[usize]) {
        let is_proven = |at: &usize| {
            found.contains(at) || found.iter().any(|&found| self.is_before(*at, found))
        };
        let is_refuted = |&at: &usize| self.cannot_be_there(at);
        lane.least = lane.operations.iter().rposition(is_proven).map_or(0, |last| last + 1);
        let first_gone = lane.operations.iter().position(is_refuted);
        lane.most = first_gone.unwrap_or(lane.operations.len());
    }

    /// Whether the first operation is there if the second one is: it was acknowledged when that was begun, on the
    /// same disk.
    fn is_before(&self, first: usize, second: usize) -> bool {
        let [first, second] = [first, second].map(|at| &self.oracle.pending[at]);
        self.oracle.promises.loses_suffixes
            && first.standing == Standing::Acknowledged
            && second.standing != Standing::InDoubt
            && first.precedes(second)
            && first.disk.is_some()
            && first.disk == second.disk
    }

    /// Whether something is found that this operation alone can have left.
    pub(super) fn is_there(&self, at: usize) -> bool {
        let pending = &self.oracle.pending;
        pending[at].changes.iter().any(|change| {
            let Some(print) = self.seen(change) else { return false };
            let made_by = |p: &Pending| {
                p.changes.iter().any(|c| c.name == change.name && c.print == Some(print))
            };
            self.found.get(&change.name) == Some(&print)
                && self.seen_in_base(&change.name) != Some(print)
                && pending.iter().filter(|p| made_by(p)).count() == 1
        })
    }

    /// Whether this operation would show, and does not.
    pub(super) fn cannot_be_there(&self, at: usize) -> bool {
        let pending = &self.oracle.pending;
        let (changes, later) = (&pending[at].changes, &pending[at + 1..]);
        changes.iter().enumerate().any(|(place, change)| {
            let same = |other: &Change| other.name == change.name;
            let is_overtaken = changes[place + 1..].iter().any(same)
                || later.iter().any(|p| p.changes.iter().any(same));
            !is_overtaken && self.found.get(&change.name).copied() != self.seen(change)
        })
    }

    fn try_lanes(
        &self,
        lanes: &[Lane],
        kept: &mut [bool],
        names: &BTreeSet<&str>,
        left: &mut u64,
    ) -> bool {
        let Some((lane, rest)) = lanes.split_first() else {
            *left = left.saturating_sub(1);
            return *left == 0 || self.explains(kept, names);
        };
        (lane.least..=lane.most).any(|count| {
            for (place, &at) in lane.operations.iter().enumerate() {
                kept[at] = place < count;
            }
            self.try_lanes(rest, kept, names, left)
        })
    }

    fn explains(&self, kept: &[bool], names: &BTreeSet<&str>) -> bool {
        let mut shown: BTreeMap<&str, Option<Print>> =
            names.iter().map(|name| (*name, self.seen_in_base(name))).collect();
        for (pending, _) in self.oracle.pending.iter().zip(kept).filter(|(_, kept)| **kept) {
            for change in pending.changes.iter() {
                shown.insert(&change.name, self.seen(change));
            }
        }
        shown.iter().all(|(name, print)| self.found.get(*name) == print.as_ref())
    }
}

pub(super) fn apply(state: &mut State, changes: &[Change]) {
    for change in changes {
        match change.print {
            Some(print) => {
                let held = super::Held { print, expires_ms: change.expires_ms };
                state.insert(change.name.clone(), held);
            }
            None => drop(state.remove(&change.name)),
        }
    }
}
