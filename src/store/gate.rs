//! Gates on keys: what was checked of a key still holds when the write is applied (I6).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::record::Space;

/// Keys share this many gates: enough that threads seldom meet at one by chance.
const GATES: usize = 4096;

/// How a write passes its key's gate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Pass {
    /// It asks nothing of the key's state: any number at once.
    Shared,
    /// What it found the key to be has to hold until it is applied: alone.
    Alone,
}

/// The gates of a store.
#[derive(Debug)]
pub(crate) struct Gates {
    hasher: RandomState,
    gates: Vec<RwLock<()>>,
}

/// Gates that are held; dropped when the write has been applied.
#[expect(dead_code, reason = "the guards are held for what their drop does")]
pub(crate) struct Passed<'a>(Vec<Guard<'a>>);

#[expect(dead_code, reason = "the guards are held for what their drop does")]
enum Guard<'a> {
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Gates {
    pub(crate) fn new() -> Self {
        let gates = std::iter::repeat_with(RwLock::default).take(GATES).collect();
        Gates { hasher: RandomState::new(), gates }
    }

    /// Waits for the gates of the keys, and holds them.
    pub(crate) fn pass<'k>(
        &self,
        keys: impl IntoIterator<Item = (Space, &'k [u8], Pass)>,
    ) -> Passed<'_> {
        // In the order of the gates, each once, so that no two callers wait for each other.
        let mut wanted = BTreeMap::new();
        for (space, key, pass) in keys {
            let gate = self.hasher.hash_one((space, key)) as usize % GATES;
            let held = wanted.entry(gate).or_insert(pass);
            *held = pass.max(*held);
        }
        let hold = |(gate, pass): (usize, Pass)| match pass {
            Pass::Shared => Guard::Shared(self.gates[gate].read().expect("no panic holds it")),
            Pass::Alone => Guard::Alone(self.gates[gate].write().expect("no panic holds it")),
        };
        Passed(wanted.into_iter().map(hold).collect())
    }
}
