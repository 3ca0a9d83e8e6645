//! Space that comes back: holes, refills, compaction, drains, expiry, backups, full disks.

use super::values::{one_disk, two_disks};
use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::{Durability, How, Operation};
use crate::random::Random;

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "checkpoints",
        about: "a checkpoint behind every few writes: what the index reflects moves on",
        setup: one_disk,
        operations: |script| churn(script, 24, 3, &[]),
        variants: None,
    },
    Workload {
        name: "punching",
        about: "freed chunks are punched out of the files",
        setup: |_| Setup { disks: 2, punch: true, ..small_files() },
        operations: |script| churn(script, 24, 4, &[]),
        variants: None,
    },
    Workload {
        name: "refill",
        about: "freed chunks are written to again",
        setup: |_| Setup { disks: 2, punch: false, refill: true, ..small_files() },
        operations: |script| churn(script, 28, 4, &[]),
        variants: None,
    },
    Workload {
        name: "refilled-batches",
        about: "batches of large values in freed chunks of several files, all or nothing",
        setup: |random| Setup { disks: 2, punch: random.one_in(2), refill: true, ..small_files() },
        operations: refilled_batches,
        variants: None,
    },
    Workload {
        name: "neither",
        about: "freed chunks stay as they are until their whole file can go",
        setup: |_| Setup { punch: false, ..small_files() },
        operations: |script| churn(script, 24, 6, &[]),
        variants: None,
    },
    Workload {
        name: "rolling",
        about: "files that are full after a few writes, sealed and unlinked",
        setup: |_| Setup { disks: 2, ..small_files() },
        operations: rolling,
        variants: None,
    },
    Workload {
        name: "tombstones",
        about: "tombstones in other files than what they hide, which die before them or behind",
        setup: |_| Setup { disks: 2, ..small_files() },
        operations: tombstones,
        variants: None,
    },
    Workload {
        name: "compaction",
        about: "what lives is copied, under writes before and after",
        setup: |random| Setup { disks: 2, refill: random.one_in(2), ..small_files() },
        operations: |script| churn(script, 26, 8, &[Operation::Compact]),
        variants: None,
    },
    Workload {
        name: "compaction-refill",
        about: "compaction where freed chunks are written to and none are punched",
        setup: |_| Setup { punch: false, refill: true, ..small_files() },
        operations: |script| churn(script, 24, 8, &[Operation::Compact]),
        variants: None,
    },
    Workload {
        name: "slices",
        about: "compaction that is stopped in the middle of a file, and the index anew",
        setup: |_| Setup { file_bytes: 1 << 20, ..Setup::default() },
        operations: slices,
        variants: None,
    },
    Workload {
        name: "overtaken",
        about: "what compaction has read is overwritten or deleted before it is copied",
        setup: |_| Setup { disks: 2, ..small_files() },
        operations: overtaken,
        variants: None,
    },
    Workload {
        name: "readers",
        about: "objects are overwritten under readers, and their room comes back",
        setup: |random| Setup { refill: random.one_in(2), ..small_files() },
        operations: readers,
        variants: None,
    },
    Workload {
        name: "shards",
        about: "parts and what is made of them, copied to files of their own, and the index anew",
        setup: |_| Setup { shards: true, ..small_files() },
        operations: shards,
        variants: None,
    },
    Workload {
        name: "drain",
        about: "everything is moved off a disk, which comes back empty",
        setup: |_| Setup { disks: 3, ..small_files() },
        operations: |script| churn(script, 22, 11, &[Operation::Drain, Operation::Reopen]),
        variants: None,
    },
    Workload {
        name: "disks",
        about: "disks are drained, given again to the open store, and evened out",
        setup: |_| Setup { disks: 3, disk_bytes: Some(2 << 20), ..small_files() },
        operations: |script| churn(script, 24, 6, &DISKS),
        variants: None,
    },
    Workload {
        name: "expiry",
        about: "objects that are gone after a while, deleted or not yet",
        setup: two_disks,
        operations: expiry,
        variants: None,
    },
    Workload {
        name: "backup",
        about: "the store is copied, again and again, into the same directory",
        setup: |_| Setup { disks: 2, ..small_files() },
        operations: |script| churn(script, 18, 9, &[Operation::Backup]),
        variants: None,
    },
    Workload {
        name: "rebuild",
        about: "the index is made anew from the files",
        setup: |_| Setup { disks: 2, ..small_files() },
        operations: |script| churn(script, 20, 8, &[Operation::Rebuild]),
        variants: None,
    },
    Workload {
        name: "reopening",
        about: "closed and opened every few writes",
        setup: two_disks,
        operations: reopening,
        variants: None,
    },
    Workload {
        name: "full-disk",
        about: "two small disks are written full, emptied and written to again",
        setup: full_disks,
        operations: full_disk,
        variants: None,
    },
];

const DISKS: [Operation; 3] = [Operation::Drain, Operation::AddDisks, Operation::Rebalance];

pub(super) fn small_files() -> Setup {
    Setup { file_bytes: 64 << 10, ..Setup::default() }
}

/// Puts, overwrites and deletes, with a checkpoint every so often and now and then one of the
/// given operations.
pub(super) fn churn(script: &mut Script, count: usize, every: u64, upkeep: &[Operation]) {
    for _ in 0..count {
        let (key, len, how) = (script.key(7), script.len(), script.how());
        match script.random.below(8) {
            0 | 1 => script.delete(key, how.durability),
            2 => script.stream(key, 70_000 + len, how),
            _ => script.put(key, len, how),
        }
        if script.random.one_in(every) {
            script.then(Operation::Checkpoint);
        }
        if script.random.one_in(every) {
            upkeep.iter().for_each(|operation| script.then(operation.clone()));
        }
    }
    script.then(Operation::Checkpoint);
    upkeep.iter().for_each(|operation| script.then(operation.clone()));
    let (key, len) = (script.key(7), script.len());
    script.put(key, len, How::SYNC);
}

/// Large values are replaced by batches, each behind a checkpoint, so that there are chunks to refill.
fn refilled_batches(script: &mut Script) {
    for _ in 0..12 {
        let step = |script: &mut Script| {
            let len = script.random.pick(&[300, 17_000, 24_000, 33_000]);
            (script.key(6), (!script.random.one_in(4)).then(|| script.value(len)))
        };
        let steps = (0..3).map(|_| step(script)).collect();
        let durability = script.durability();
        script.then(Operation::Batch { steps, durability });
        if script.random.one_in(2) {
            script.then(Operation::Checkpoint);
        }
    }
}

/// Whole files die.
fn rolling(script: &mut Script) {
    for round in 0..8 {
        for number in 0..3 {
            let (len, how) = (script.random.pick(&[15_000, 33_000, 50_000]), script.how());
            script.put(format!("k{number}"), len, how);
        }
        if round % 3 == 2 {
            script.then(Operation::Checkpoint);
        }
    }
}

/// Large puts end files soon; of the small ones between them each is deleted in a later file.
fn tombstones(script: &mut Script) {
    for round in 0..10 {
        let (small, how) = (script.key(4), script.how());
        match round % 3 {
            2 => script.delete(small, how.durability),
            _ => script.put(small, 300, how),
        }
        let (len, how) = (script.random.pick(&[20_000, 45_000]), script.how());
        let large = format!("large{}", script.random.below(3));
        script.put(large, len, how);
        let key = script.key(4);
        script.delete(key, Durability::Sync);
        if script.random.one_in(2) {
            script.then(Operation::Checkpoint);
        }
        match script.random.below(6) {
            0 => script.then(Operation::Compact),
            1 | 2 => script.then(Operation::CompactNewest),
            _ => {}
        }
    }
    script.then(Operation::Checkpoint);
    script.then(Operation::Rebuild);
}

fn shards(script: &mut Script) {
    for round in 0..6 {
        let parts = [script.value(3_000), script.value(36_000)];
        let upload = script.upload();
        for value in parts {
            script.part(upload, value);
            let (key, len, how) = (script.key(5), script.len(), script.how());
            script.put(key, len, how);
        }
        if round % 3 == 1 {
            script.then(Operation::Compact);
        }
        let (key, len, how) = (script.key(5), script.len(), script.how());
        script.stream(key, 50_000 + len, how);
        // What is made of the parts, and their end, lie in another file than they do.
        let (key, durability) = (script.key(5), script.durability());
        script.assemble(upload, key, &parts, durability);
        script.then(Operation::CompactNewest);
        if round % 3 == 2 {
            let key = script.key(5);
            script.delete(key, Durability::Os);
            script.then(Operation::Checkpoint);
            script.then(Operation::Rebuild);
        }
    }
}

fn slices(script: &mut Script) {
    for round in 0..2 {
        for number in 0..16 {
            let how = script.how();
            script.put(format!("{round}/{number}"), 40_000, how);
        }
        let number = script.random.below(16);
        script.delete(format!("{round}/{number}"), Durability::Sync);
        script.then(Operation::Reopen);
        let (key, how) = (script.key(3), script.how());
        script.put(key, 300, how);
        script.then(Operation::CompactSlice);
        script.then(Operation::Checkpoint);
    }
    script.then(Operation::Rebuild);
    script.put("last", 300, How::SYNC);
    script.then(Operation::CompactSlice);
    script.then(Operation::Checkpoint);
}

/// Closing is cut behind its end as well, before anything is opened again.
fn reopening(script: &mut Script) {
    churn(script, 18, 5, &[Operation::Reopen]);
    for _ in 0..6 {
        let (key, len) = (script.key(7), script.len());
        script.put(key, len, How::OS);
        script.then(Operation::Close);
    }
}

fn overtaken(script: &mut Script) {
    for _ in 0..6 {
        for _ in 0..5 {
            let (key, len, how) = (script.key(5), script.len(), script.how());
            script.put(key, len, how);
        }
        let (key, len) = (script.key(5), script.len());
        let value = (!script.random.one_in(3)).then(|| script.value(len));
        script.then(Operation::Overtake { key, value });
        if script.random.one_in(2) {
            script.then(Operation::Checkpoint);
        }
    }
}

fn readers(script: &mut Script) {
    for _ in 0..18 {
        let (key, len) = (script.key(5), script.len());
        match script.random.below(4) {
            0 => script.delete(key, Durability::Sync),
            1 => script.put(key, len, How::OS),
            _ => {
                let value = script.value(len);
                script.then(Operation::PutUnderReader { key, value });
            }
        }
    }
}

fn expiry(script: &mut Script) {
    for _ in 0..18 {
        let (key, len) = (script.key(9), script.len());
        let expires_in_ms = script.random.pick(&[None, Some(10), Some(25), Some(60)]);
        let how = How { expires_in_ms, ..script.how() };
        script.put(key, len, how);
        if script.random.one_in(2) {
            let ms = 1 + script.random.below(15);
            script.then(Operation::Wait { ms });
        }
        match script.random.below(8) {
            0 | 1 => script.then(Operation::Expire),
            2 => script.then(Operation::Checkpoint),
            _ => {}
        }
    }
    script.then(Operation::Wait { ms: 30 });
    script.then(Operation::Expire);
    script.then(Operation::Checkpoint);
    script.put("last", 100, How::SYNC);
}

fn full_disks(_random: &mut Random) -> Setup {
    Setup { disks: 2, disk_bytes: Some(700 << 10), ..small_files() }
}

fn full_disk(script: &mut Script) {
    for _ in 0..2 {
        for number in 0..22 {
            let how = script.how();
            script.put(format!("k{number}"), 60_000, how);
        }
        for number in 0..22 {
            if script.random.one_in(2) {
                script.delete(format!("k{number}"), Durability::Sync);
            }
        }
        script.then(Operation::Checkpoint);
        script.then(Operation::Compact);
    }
}
