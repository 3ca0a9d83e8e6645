//! Gates on keys: what was checked of a key still holds when the write is applied (I6).

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::record::Space;

/// Keys share this many gates: enough that threads seldom meet at one by chance.
const GATES: usize = 1 << GATE_BITS;
const GATE_BITS: u32 = 12;
/// A word of a set of gates has this many.
const WORD_GATES: usize = u64::BITS as usize;

/// How a write passes its key's gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// It asks nothing of the key's state: any number at once.
    Shared,
    /// What it found the key to be has to hold until it is applied: alone.
    Alone,
}

/// The gates of a store.
#[derive(Debug)]
pub(crate) struct Gates(Vec<RwLock<()>>);

/// A bit for each gate.
struct GateSet([u64; GATES / WORD_GATES]);

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
        Gates(std::iter::repeat_with(RwLock::default).take(GATES).collect())
    }

    /// Waits for the gates of the keys, and holds them.
    pub(crate) fn pass<'k>(
        &self,
        keys: impl IntoIterator<Item = (Space, &'k [u8], Pass)>,
    ) -> Passed<'_> {
        // Of several passes of one gate that alone counts.
        let (mut wanted, mut alone) = (GateSet::new(), GateSet::new());
        for (space, key, pass) in keys {
            let gate = gate_of(space, key);
            wanted.insert(gate);
            if pass == Pass::Alone {
                alone.insert(gate);
            }
        }
        let hold = |gate: usize| {
            let lock = &self.0[gate];
            if alone.contains(gate) {
                Guard::Alone(lock.write().expect("no panic holds it"))
            } else {
                Guard::Shared(lock.read().expect("no panic holds it"))
            }
        };
        // In the order of the gates, each once, so that no two callers wait for each other.
        let mut passed = Vec::with_capacity(wanted.len());
        passed.extend(wanted.iter().map(hold));
        Passed(passed)
    }
}

impl GateSet {
    fn new() -> Self {
        GateSet([0; GATES / WORD_GATES])
    }

    fn insert(&mut self, gate: usize) {
        self.0[gate / WORD_GATES] |= 1 << (gate % WORD_GATES);
    }

    fn contains(&self, gate: usize) -> bool {
        self.0[gate / WORD_GATES] & 1 << (gate % WORD_GATES) != 0
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The gates, ascending.
    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| {
            let gates = (0..WORD_GATES).filter(move |gate| word & 1 << gate != 0);
            gates.map(move |gate| at * WORD_GATES + gate)
        })
    }
}

/// The gate of a key: the highest bits of a hash by rotation and multiplication, of eight bytes at
/// a time.
fn gate_of(space: Space, key: &[u8]) -> usize {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = key.as_chunks::<8>();
    let hash = words.iter().fold(space as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(rest.len() as u64, |rest, byte| rest << 8 | u64::from(*byte));
    (mix(hash, rest) >> (u64::BITS - GATE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_passed_both_ways_is_passed_alone() {
        let gates = Gates::new();
        let (key, other) = (&b"key"[..], &b"other"[..]);
        let gate = |key| &gates.0[gate_of(Space::Object, key)];
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

    #[test]
    fn keys_that_count_up_are_spread_over_the_gates() {
        let keys = (0..GATES).map(|at| format!("camera-{:02}/2026-11-20/{:08}", at % 64, at / 64));
        let mut gates = GateSet::new();
        keys.for_each(|key| gates.insert(gate_of(Space::Object, key.as_bytes())));
        // By chance alone it would be 63 in a hundred.
        assert!(gates.len() > GATES / 2, "{}", gates.len());
        assert!(gates.iter().is_sorted() && gates.iter().count() == gates.len());
        assert!(gates.iter().all(|gate| gates.contains(gate)));
    }
}
