//! What a store has to hold, by definition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use kogia::{Condition, Info, Item, ListOptions, PartId, PartInfo, Seq};

use super::operation::{Key, When};

#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    pub value: Arc<Vec<u8>>,
    pub info: Info,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    pub value: Arc<Vec<u8>>,
    pub info: PartInfo,
}

/// What a store holds at one moment.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    pub objects: BTreeMap<Key, Object>,
    pub parts: BTreeMap<PartId, Part>,
}

/// What an operation may change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    Object(Key),
    Part(PartId),
}

/// What a store holds, and what a power cut may take it back to.
pub struct History {
    /// From what is known to be durable as a whole to what is there now.
    states: Vec<Contents>,
    /// What each of the states has changed.
    changes: Vec<Vec<Name>>,
    /// The states from which on names are durable, where that is not the first.
    durable: BTreeMap<Name, usize>,
    /// One disk loses a suffix of the operations; each of several loses one of its own.
    disks: usize,
    /// Whether objects that have expired may not be deleted yet, or be back from a lost delete.
    pub has_leftovers: bool,
    has_expired: bool,
    last_seq: Seq,
}

impl Contents {
    pub fn condition(&self, key: &[u8], when: When) -> Condition {
        let seq = self.objects.get(key).map_or(Seq(1), |object| object.info.seq);
        match when {
            When::Always => Condition::Always,
            When::IfAbsent => Condition::IfAbsent,
            When::IfPresent => Condition::IfPresent,
            When::IfSeqIsRight => Condition::IfSeq(seq),
            When::IfSeqIsWrong => Condition::IfSeq(Seq(seq.0 + 1)),
        }
    }

    pub fn meets(&self, key: &[u8], condition: Condition) -> bool {
        let seq = self.objects.get(key).map(|object| object.info.seq);
        match condition {
            Condition::Always => true,
            Condition::IfAbsent => seq.is_none(),
            Condition::IfPresent => seq.is_some(),
            Condition::IfSeq(wanted) => seq == Some(wanted),
        }
    }

    /// Puts an object, or removes it.
    pub fn set(&mut self, key: Key, object: Option<Object>) {
        match object {
            Some(object) => drop(self.objects.insert(key, object)),
            None => drop(self.objects.remove(&key)),
        }
    }

    /// All entries of a listing, on however many pages.
    pub fn list(&self, options: &ListOptions) -> Vec<Item> {
        let mut items = Vec::new();
        let delimiter = options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        for (key, object) in &self.objects {
            let Some(rest) = key.strip_prefix(&options.prefix[..]) else { continue };
            if options.start_after.as_ref().is_some_and(|after| key <= after) {
                continue;
            }
            let common = delimiter.and_then(|delimiter| {
                let at = rest.windows(delimiter.len()).position(|part| part == delimiter)?;
                Some(key[..options.prefix.len() + at + delimiter.len()].to_vec())
            });
            match common {
                None => items.push(Item::Object { key: key.clone(), info: object.info.clone() }),
                Some(common) if Some(&common) == options.start_after.as_ref() => {}
                Some(common) => items.push(Item::Prefix(common)),
            }
        }
        items.dedup();
        items
    }

    pub fn range(&self, from: &Bound<Key>, to: &Bound<Key>) -> Vec<(Key, Info)> {
        let is_behind = |key: &Key| match from {
            Bound::Unbounded => true,
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
        };
        let is_before = |key: &Key| match to {
            Bound::Unbounded => true,
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
        };
        let within = self.objects.iter().filter(|(key, _)| is_behind(key) && is_before(key));
        within.map(|(key, object)| (key.clone(), object.info.clone())).collect()
    }

    fn get(&self, name: &Name) -> Option<Found<'_>> {
        match name {
            Name::Object(key) => self.objects.get(key).map(Found::Object),
            Name::Part(id) => self.parts.get(id).map(|part| Found::Part(&part.info)),
        }
    }

    fn names(&self) -> impl Iterator<Item = Name> {
        let objects = self.objects.keys().cloned().map(Name::Object);
        objects.chain(self.parts.keys().copied().map(Name::Part))
    }
}

impl Object {
    pub fn lives(&self, now_ms: u64) -> bool {
        self.info.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, put as {}", self.value.len(), self.info.seq)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.value.len())
    }
}

#[derive(PartialEq, Debug)]
enum Found<'a> {
    Object(&'a Object),
    Part(&'a PartInfo),
}

impl History {
    pub fn new(disks: usize) -> Self {
        History {
            states: vec![Contents::default()],
            changes: vec![Vec::new()],
            durable: BTreeMap::new(),
            disks,
            has_leftovers: false,
            has_expired: false,
            last_seq: Seq(0),
        }
    }

    pub fn now(&self) -> &Contents {
        self.states.last().expect("there is always a state")
    }

    /// An operation was acknowledged.
    pub fn change(&mut self, names: Vec<Name>, durable: bool, change: impl FnOnce(&mut Contents)) {
        let mut next = self.now().clone();
        change(&mut next);
        if durable {
            let state = self.states.len();
            self.durable.extend(names.iter().map(|name| (name.clone(), state)));
        }
        self.states.push(next);
        self.changes.push(names);
        if durable && self.disks == 1 {
            self.settle();
        }
    }

    /// Time has passed: what has expired is gone from every state that a power cut may lead to.
    pub fn expire(&mut self, now_ms: u64) {
        for state in &mut self.states {
            let before = state.objects.len();
            state.objects.retain(|_, object| object.lives(now_ms));
            self.has_leftovers |= state.objects.len() < before;
        }
    }

    /// Says that what has expired is deleted now; whether there may have been any.
    pub fn take_leftovers(&mut self) -> bool {
        self.has_expired |= self.has_leftovers;
        std::mem::take(&mut self.has_leftovers)
    }

    /// All that was acknowledged is durable now.
    pub fn settle(&mut self) {
        self.begin_with(self.now().clone());
    }

    fn begin_with(&mut self, contents: Contents) {
        self.states = vec![contents];
        self.changes = vec![Vec::new()];
        self.durable.clear();
    }

    /// Seqs only grow, whatever was lost (invariant I7).
    pub fn gave_seq(&mut self, seq: Seq) {
        assert!(seq > self.last_seq, "{seq} was given out behind {}", self.last_seq);
        self.last_seq = seq;
    }

    /// The power was cut, and `objects` and `parts` were found: they have to be what is known to
    /// be durable or something newer, and are all that there is from now on.
    pub fn recovered(&mut self, objects: BTreeMap<Key, Object>, parts: Vec<PartInfo>) {
        self.has_expired |= self.has_leftovers;
        self.has_leftovers = self.has_expired;
        let values: BTreeMap<_, _> = self.states.iter().flat_map(|state| &state.parts).collect();
        let part = |info: PartInfo| {
            let known = values.get(&info.id).expect("a part that was never there");
            (info.id, Part { value: known.value.clone(), info })
        };
        let found = Contents { objects, parts: parts.into_iter().map(part).collect() };
        if self.disks == 1 {
            let is_known = self.states.contains(&found);
            assert!(is_known, "{found:#?}\nis none of the states\n{:#?}", self.states);
        } else {
            let all = self.states.iter().chain([&found]);
            let names: BTreeSet<_> = all.flat_map(Contents::names).collect();
            for name in &names {
                self.check(name, &found, self.durable.get(name).copied().unwrap_or(0));
            }
            self.check_whole(&found);
        }
        self.begin_with(found);
    }

    /// Whether of `name` was found what it was at state number `first` or later.
    fn check(&self, name: &Name, found: &Contents, first: usize) {
        let allowed: Vec<_> = self.states[first..].iter().map(|state| state.get(name)).collect();
        let is_allowed = allowed.contains(&found.get(name));
        assert!(is_allowed, "{name:?} is {:?}, not of {allowed:?}", found.get(name));
    }

    /// What one operation has changed is there as a whole or not at all.
    fn check_whole(&self, found: &Contents) {
        for (at, names) in self.changes.iter().enumerate() {
            let is_there = |name: &Name| {
                let made = self.states[at].get(name);
                made.is_some() && made == found.get(name) && made != self.states[at - 1].get(name)
            };
            if names.iter().any(is_there) {
                names.iter().for_each(|name| self.check(name, found, at));
            }
        }
    }
}
