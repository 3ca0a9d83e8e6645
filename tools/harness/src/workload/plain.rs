//! What any engine that keeps keys and values has, so that engines can be compared: more of it than
//! elsewhere, so that files fill up.

use super::values::one_disk;
use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::Operation;
use crate::random::Random;

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "plain",
        about: "puts, overwrites, deletes and syncs, closed and opened now and then",
        setup: small_files,
        operations: |script| plain(script, 80, &[Operation::Sync, Operation::Reopen]),
        variants: None,
    },
    Workload {
        name: "plain-upkeep",
        about: "the same, with checkpoints and compaction asked for",
        setup: small_files,
        operations: |script| {
            plain(script, 80, &[Operation::Reopen, Operation::Checkpoint, Operation::Compact]);
        },
        variants: None,
    },
];

fn small_files(random: &mut Random) -> Setup {
    Setup { file_bytes: 64 << 10, ..one_disk(random) }
}

fn plain(script: &mut Script, count: usize, upkeep: &[Operation]) {
    for _ in 0..count {
        let (key, len, how) = (script.key(12), script.len(), script.how());
        match script.random.below(8) {
            0 | 1 => script.delete(key, how.durability),
            _ => script.put(key, len, how),
        }
        if script.random.one_in(12) {
            let operation = upkeep[script.random.below(upkeep.len() as u64) as usize].clone();
            script.then(operation);
        }
    }
}
