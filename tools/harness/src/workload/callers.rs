//! What several callers have a store do at once.
//!
//! Each has keys of its own, so that the oracle knows the order of what was asked of each of them. Between
//! themselves they come in no order that a seed could say: every few states are of another run, and one that is
//! to be shown again may take several.

use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::{Durability, How, Operation, Value};
use crate::random::Random;

pub(super) const CALLERS: Workload = Workload {
    name: "callers",
    about: "several threads put, delete, batch and stream at once, beside compaction and checkpoints",
    setup: small_files,
    operations: callers,
    variants: Some(RUNS),
};

const RUNS: u64 = 1 << 32;

/// A file takes two or three of the values that their callers append themselves.
fn small_files(random: &mut Random) -> Setup {
    Setup {
        disks: 1 + random.below(2) as usize,
        file_bytes: random.pick(&[128 << 10, 256 << 10, 256 << 10, 512 << 10]),
        punch: !random.one_in(3),
        refill: random.one_in(3),
        shards: random.one_in(4),
        ..Setup::default()
    }
}

fn callers(script: &mut Script) {
    let count = 2 + script.random.below(3);
    // All is overwritten soon; or next to nothing is, and there are files in which all lives.
    let fresh = script.random.pick(&[1, 4, 7]);
    let mut callers: Vec<_> = (0..count).map(|number| Caller { number, fresh, keys: 0 }).collect();
    for _ in 0..2 + script.random.below(3) {
        let mut threads: Vec<_> =
            callers.iter_mut().map(|caller| caller.requests(script)).collect();
        threads.push(several(script, &[Operation::Compact, Operation::CompactNewest]));
        if !script.random.one_in(3) {
            threads.push(several(script, &[Operation::Checkpoint, Operation::Sync]));
        }
        script.then(Operation::AtOnce { threads });
        if script.random.one_in(4) {
            script.then(Operation::Reopen);
        }
    }
    // Which raise floors, and forget what tombstones nothing seems to need.
    let upkeep = [Operation::CompactNewest, Operation::Checkpoint];
    several(script, &upkeep).into_iter().for_each(|operation| script.then(operation));
}

/// One to three times one of these.
fn several(script: &mut Script, of: &[Operation]) -> Vec<Operation> {
    let (count, which) = (1 + script.random.below(3), script.random.below(of.len() as u64));
    (0..count).map(|_| of[which as usize].clone()).collect()
}

/// One of those who call, with keys that no other one has.
struct Caller {
    number: u64,
    /// So many of eight keys that are put are new.
    fresh: u64,
    /// Keys that were put so far.
    keys: u64,
}

impl Caller {
    fn requests(&mut self, script: &mut Script) -> Vec<Operation> {
        let count = 2 + script.random.below(5);
        (0..count).map(|_| self.request(script)).collect()
    }

    fn request(&mut self, script: &mut Script) -> Operation {
        let durability = script.random.pick(&[Durability::Sync, Durability::Sync, Durability::Os]);
        let how = How { durability, ..How::SYNC };
        match script.random.below(12) {
            0..2 => Operation::Put { key: self.key(script), value: small(script), how },
            2..5 => Operation::Put { key: self.key(script), value: large(script), how },
            5 => Operation::Delete { key: self.old_key(script), durability },
            6..11 => self.batch(script, durability),
            _ if script.random.one_in(2) => Operation::Sync,
            _ => Operation::Stream { key: self.key(script), value: streamed(script), how },
        }
    }

    fn batch(&mut self, script: &mut Script, durability: Durability) -> Operation {
        let count = 2 + script.random.below(2);
        let mut step = |script: &mut Script| match script.random.below(3) {
            0 => (self.old_key(script), None),
            1 => (self.key(script), Some(large(script))),
            _ => (self.key(script), Some(small(script))),
        };
        let steps = (0..count).map(|_| step(script)).collect();
        Operation::Batch { steps, durability }
    }

    /// A key to be put.
    fn key(&mut self, script: &mut Script) -> String {
        if script.random.below(8) >= self.fresh {
            return self.old_key(script);
        }
        self.keys += 1;
        format!("c{}-{}", self.number, self.keys - 1)
    }

    /// A key that was put, if any was.
    fn old_key(&self, script: &mut Script) -> String {
        format!("c{}-{}", self.number, script.random.below(self.keys.max(1)))
    }
}

fn small(script: &mut Script) -> Value {
    let len = script.len();
    script.value(len)
}

/// More than what goes through a disk's queue, and less than what is streamed.
fn large(script: &mut Script) -> Value {
    let len = 66_000 + script.random.below(50_000) as usize;
    script.value(len)
}

fn streamed(script: &mut Script) -> Value {
    let len = 140_000 + script.random.below(60_000) as usize;
    script.value(len)
}
