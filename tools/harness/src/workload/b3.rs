//! All short sequences: of the bugs that were found in file systems by crashing them, nearly all
//! show with three operations or fewer (B3, "Finding crash-consistency bugs with bounded black-box
//! crash testing", OSDI 2018).
//!
//! A sequence has one to three operations of [`KINDS`], with or without a sync behind each. They
//! are numbered: those of one operation first, then those of two, then those of three.

use super::values::two_disks;
use super::{Script, Workload};
use crate::operation::{Durability, How, Operation};

pub(super) const B3: Workload = Workload {
    name: "b3",
    about: "every sequence of up to three operations, with every placement of syncs",
    setup: two_disks,
    operations: sequence,
    variants: Some(SEQUENCES),
};

/// A step of a sequence: an operation, and whether a sync follows.
const STEPS: u64 = KINDS.len() as u64 * 2;
const SEQUENCES: u64 = STEPS + STEPS * STEPS + STEPS * STEPS * STEPS;

const KINDS: &[fn(&mut Script)] = &[
    |script| script.put("a", 100, How::OS),
    |script| script.put("a", 20_000, How::OS),
    |script| script.put("b", 5_000, How::OS),
    |script| script.delete("a", Durability::Os),
    |script| script.stream("a", 140_000, How::OS),
    batch,
    |script| script.then(Operation::Checkpoint),
    |script| script.then(Operation::Compact),
    |script| script.then(Operation::Reopen),
];

fn batch(script: &mut Script) {
    let steps = vec![("a".to_owned(), None), ("b".to_owned(), Some(script.value(300)))];
    script.then(Operation::Batch { steps, durability: Durability::Os });
}

fn sequence(script: &mut Script) {
    let mut rest = script.seed % SEQUENCES;
    let mut count = 1;
    let mut there_are = STEPS;
    while rest >= there_are {
        rest -= there_are;
        there_are *= STEPS;
        count += 1;
    }
    for _ in 0..count {
        let step = rest % STEPS;
        rest /= STEPS;
        KINDS[(step / 2) as usize](script);
        if step % 2 == 1 {
            script.then(Operation::Sync);
        }
    }
}
