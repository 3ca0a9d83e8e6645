//! Objects of every kind, put, overwritten and deleted.

use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::{Durability, How, Operation, When};
use crate::random::Random;

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "small-puts",
        about: "small objects, each synced: packed together into chunks",
        setup: one_disk,
        operations: |script| puts(script, 24, &[20, 100, 700, 1500]),
        variants: None,
    },
    Workload {
        name: "large-puts",
        about: "objects that own their chunks, over two disks",
        setup: two_disks,
        operations: |script| puts(script, 12, &[9_000, 18_000, 40_000, 100_000]),
        variants: None,
    },
    Workload {
        name: "overwrites",
        about: "few keys, put again and again, synced or not",
        setup: one_disk,
        operations: overwrites,
        variants: None,
    },
    Workload {
        name: "deletes",
        about: "puts and deletes of few keys, synced or not, over two disks",
        setup: two_disks,
        operations: deletes,
        variants: None,
    },
    Workload {
        name: "unsynced",
        about: "writes that are acknowledged before they are durable, and a sync now and then",
        setup: two_disks,
        operations: unsynced,
        variants: None,
    },
    Workload {
        name: "batches",
        about: "batches of puts and deletes, all or nothing",
        setup: two_disks,
        operations: batches,
        variants: None,
    },
    Workload {
        name: "streams",
        about: "streamed objects, dealt over three disks in segments",
        setup: |_| Setup { disks: 3, ..Setup::default() },
        operations: streams,
        variants: None,
    },
    Workload {
        name: "abandoned",
        about: "streams that are given up: segments that nothing ever names",
        setup: two_disks,
        operations: abandoned,
        variants: None,
    },
    Workload {
        name: "parts",
        about: "parts, put together without a copy, or left lying",
        setup: two_disks,
        operations: parts,
        variants: None,
    },
    Workload {
        name: "extending",
        about: "objects that become longer by parts, without a copy, overwritten and compacted between",
        setup: two_disks,
        operations: extending,
        variants: None,
    },
    Workload {
        name: "conditions",
        about: "puts under conditions that hold, or don't",
        setup: two_disks,
        operations: conditions,
        variants: None,
    },
];

pub(super) fn one_disk(_random: &mut Random) -> Setup {
    Setup::default()
}

pub(super) fn two_disks(_random: &mut Random) -> Setup {
    Setup { disks: 2, ..Setup::default() }
}

fn puts(script: &mut Script, count: usize, lens: &[usize]) {
    for number in 0..count {
        let len = script.random.pick(lens) + script.random.below(100) as usize;
        script.put(format!("k{number}"), len, How::SYNC);
        if script.random.one_in(12) {
            script.then(Operation::Checkpoint);
        }
    }
}

fn overwrites(script: &mut Script) {
    for _ in 0..24 {
        let (key, len, how) = (script.key(4), script.len(), script.how());
        script.put(key, len, how);
        if script.random.one_in(8) {
            script.then(Operation::Checkpoint);
        }
    }
}

fn deletes(script: &mut Script) {
    for _ in 0..30 {
        let (key, how) = (script.key(5), script.how());
        if script.random.one_in(2) {
            script.delete(key, how.durability);
        } else {
            let len = script.len();
            script.put(key, len, how);
        }
        if script.random.one_in(10) {
            script.then(Operation::Checkpoint);
        }
    }
}

fn unsynced(script: &mut Script) {
    for _ in 0..24 {
        let (key, len) = (script.key(10), script.len());
        script.put(key, len, How::OS);
        if script.random.one_in(4) {
            let key = script.key(10);
            script.delete(key, Durability::Os);
        }
        if script.random.one_in(9) {
            script.then(Operation::Sync);
        }
    }
}

fn batches(script: &mut Script) {
    for _ in 0..12 {
        let steps = 2 + script.random.below(5);
        let step = |script: &mut Script| {
            let (key, len) = (script.key(9), script.len());
            (key, (!script.random.one_in(3)).then(|| script.value(len)))
        };
        let steps = (0..steps).map(|_| step(script)).collect();
        let durability = script.durability();
        script.then(Operation::Batch { steps, durability });
        if script.random.one_in(6) {
            script.then(Operation::Checkpoint);
        }
    }
}

fn streams(script: &mut Script) {
    for _ in 0..6 {
        let (key, how) = (script.key(3), script.how());
        let len = script.random.pick(&[70_000, 150_000, 260_000]);
        script.stream(key, len, how);
        if script.random.one_in(3) {
            let key = script.key(3);
            script.delete(key, Durability::Os);
        }
        let (key, len) = (script.key(3), script.len());
        script.put(key, len, How::OS);
    }
}

fn abandoned(script: &mut Script) {
    for _ in 0..5 {
        let (key, value) = (script.key(3), script.value(110_000));
        script.then(Operation::Abandon { key, value });
        let (key, len, how) = (script.key(3), script.len(), script.how());
        script.put(key, len, how);
        let key = script.key(3);
        script.stream(key, 90_000, How::SYNC);
    }
}

fn parts(script: &mut Script) {
    for round in 0..4 {
        let count = 1 + script.random.below(3);
        let lens = [4_000, 36_000, 70_000];
        let parts: Vec<_> = (0..count)
            .map(|_| {
                let len = script.random.pick(&lens);
                script.value(len)
            })
            .collect();
        let upload = script.upload();
        parts.iter().for_each(|&value| script.part(upload, value));
        if round != 2 {
            let (key, durability) = (script.key(2), script.durability());
            script.assemble(upload, key, &parts, durability);
        }
        let (key, len) = (script.key(2), script.len());
        script.put(key, len, How::OS);
    }
}

fn extending(script: &mut Script) {
    for _ in 0..3 {
        let (key, mut whole) = (script.key(2), Vec::new());
        for turn in 0..4 {
            let upload = script.upload();
            let len = script.random.pick(&[900, 5_000, 36_000]);
            let parts = [script.value(len)];
            script.part(upload, parts[0]);
            let durability = script.durability();
            match turn {
                0 => script.assemble(upload, key.clone(), &parts, durability),
                _ => script.extend(upload, key.clone(), [&whole, &parts], durability),
            }
            whole.extend(parts);
            match script.random.below(6) {
                // What the next turn wants to make longer may not be there any more.
                0 => script.put(key.clone(), 3_000, How::OS),
                1 => script.then(Operation::Compact),
                2 => script.then(Operation::Checkpoint),
                _ => {}
            }
        }
    }
}

fn conditions(script: &mut Script) {
    for _ in 0..24 {
        let when = script.random.pick(&[When::IfAbsent, When::IfPresent]);
        let (key, len) = (script.key(6), script.len());
        let how = How { when, ..script.how() };
        script.put(key, len, how);
        if script.random.one_in(4) {
            let (key, durability) = (script.key(6), script.durability());
            script.delete(key, durability);
        }
    }
}
