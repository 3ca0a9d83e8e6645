//! Gates on keys: what was checked of a key still holds when the write is applied (I6).

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hasher, RandomState};
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
        let keys = keys.into_iter();
        let mut wanted: Vec<_> =
            keys.map(|(space, key, pass)| (self.of(space, key), pass)).collect();
        // Of several passes of one gate that alone is first, and stays.
        wanted.sort_unstable_by_key(|&(gate, pass)| (gate, Reverse(pass)));
        wanted.dedup_by_key(|(gate, _)| *gate);
        let hold = |(gate, pass): (usize, Pass)| match pass {
            Pass::Shared => Guard::Shared(self.gates[gate].read().expect("no panic holds it")),
            Pass::Alone => Guard::Alone(self.gates[gate].write().expect("no panic holds it")),
        };
        Passed(wanted.into_iter().map(hold).collect())
    }

    fn of(&self, space: Space, key: &[u8]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.write_u8(space as u8);
        hasher.finish() as usize % GATES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_passed_both_ways_is_passed_alone() {
        let gates = Gates::new();
        let (key, other) = (&b"key"[..], &b"other"[..]);
        let gate = |key| &gates.gates[gates.of(Space::Object, key)];
        for passes in [[Pass::Shared, Pass::Alone], [Pass::Alone, Pass::Shared]] {
            let keys = passes.map(|pass| (Space::Object, key, pass));
            let held = gates.pass(keys.into_iter().chain([(Space::Object, other, Pass::Shared)]));
            assert!(gate(key).try_read().is_err());
            assert!(gate(other).try_write().is_err());
            drop(held);
            assert!(gate(key).try_write().is_ok() && gate(other).try_write().is_ok());
        }
        let held = gates.pass([(Space::Object, key, Pass::Shared)]);
        assert!(gate(key).try_read().is_ok());
        drop(held);
    }
}
