//! What queues are made to do.

use super::{Script, Workload};
use crate::engine::{Level, Retention, Setup};
use crate::operation::{Operation, Value};
use crate::queue::{Change, Task};
use crate::random::Random;

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "queue-append",
        about: "a queue: items from nothing to several chunks, at every level",
        setup: |_| large_tracks(),
        operations: |script| appends(script, 40),
        variants: None,
    },
    Workload {
        name: "queue-batch",
        about: "a queue: batches, of which a prefix may be left",
        setup: |_| large_tracks(),
        operations: batches,
        variants: None,
    },
    Workload {
        name: "queue-rolling",
        about: "a queue whose tracks are full all the time, and whose items may be larger",
        setup: |_| small_tracks(),
        operations: rolling,
        variants: None,
    },
    Workload {
        name: "queue-truncate",
        about: "a queue that is truncated from behind, also to the end and where it is not durable",
        setup: |_| small_tracks(),
        operations: truncations,
        variants: None,
    },
    Workload {
        name: "queue-consumers",
        about: "a queue with consumers that commit what they have read",
        setup: |_| small_tracks(),
        operations: consumers,
        variants: None,
    },
    Workload {
        name: "queue-retention",
        about: "a queue that drops what is too old and too much",
        setup: |random| Setup { retention: retention(random), ..small_tracks() },
        operations: retained,
        variants: None,
    },
    Workload {
        name: "queue-reopen",
        about: "a queue that is closed and opened all the time",
        setup: |_| large_tracks(),
        operations: reopened,
        variants: None,
    },
    Workload {
        name: "queue-rewrite",
        about: "a queue of which ranges are rewritten: items dropped, changed, and left, over several tracks",
        setup: |_| small_tracks(),
        operations: rewritten,
        variants: None,
    },
    Workload {
        name: "queue-mix",
        about: "a queue: everything, drawn at random",
        setup: any_setup,
        operations: |script| mix(script, 30),
        variants: None,
    },
    Workload {
        name: "queue-long-mix",
        about: "a queue: more of everything, drawn at random",
        setup: any_setup,
        operations: |script| mix(script, 90),
        variants: None,
    },
];

const TRACK_BYTES: u64 = 16 << 10;

fn large_tracks() -> Setup {
    Setup::default()
}

fn small_tracks() -> Setup {
    Setup { file_bytes: TRACK_BYTES, ..Setup::default() }
}

fn retention(random: &mut Random) -> Retention {
    let max_bytes = random.pick(&[None, Some(2 * TRACK_BYTES), Some(4 * TRACK_BYTES)]);
    let max_age_ms = if max_bytes.is_none() { Some(20) } else { random.pick(&[None, Some(20)]) };
    Retention { max_age_ms, max_bytes }
}

fn any_setup(random: &mut Random) -> Setup {
    Setup { file_bytes: random.pick(&[8 << 10, 16 << 10, 64 << 10]), ..Setup::default() }
}

fn then(script: &mut Script, task: Task) {
    script.then(Operation::Queue(task));
}

fn append(script: &mut Script, len: usize, level: Level) {
    let item = script.value(len);
    then(script, Task::Append { item, level });
}

/// A length around one of those at which items are written in another way: the last of a chunk, one
/// that goes over it, one whose length takes a byte more.
fn len(script: &mut Script) -> usize {
    let around = script.random.pick(&[0, 0, 30, 100, 700, 2000, 4030, 8080]);
    around + script.random.below(50) as usize
}

fn level(script: &mut Script) -> Level {
    script.random.pick(&[Level::Sync, Level::Sync, Level::Os, Level::Later])
}

fn drawn_append(script: &mut Script) {
    let (len, level) = (len(script), level(script));
    append(script, len, level);
}

fn batch(script: &mut Script) {
    let count = 1 + script.random.below(7);
    let items: Vec<Value> = (0..count)
        .map(|_| {
            let len = len(script);
            script.value(len)
        })
        .collect();
    then(script, Task::Batch { items });
}

fn appends(script: &mut Script, count: usize) {
    for _ in 0..count {
        drawn_append(script);
        match script.random.below(12) {
            0 => script.then(Operation::Sync),
            1 => then(script, Task::Read { ahead: false }),
            2 => then(script, Task::Read { ahead: true }),
            _ => {}
        }
    }
}

fn batches(script: &mut Script) {
    for _ in 0..14 {
        batch(script);
        if script.random.one_in(2) {
            append(script, 60, Level::Later);
        }
    }
}

fn rolling(script: &mut Script) {
    for _ in 0..24 {
        match script.random.below(8) {
            0 => append(script, 20_000, Level::Sync),
            1 => append(script, TRACK_BYTES as usize, Level::Later),
            _ => {
                let (len, level) = (1000 + len(script), level(script));
                append(script, len, level);
            }
        }
    }
}

fn truncations(script: &mut Script) {
    for _ in 0..20 {
        let (len, level) = (len(script) + 500, level(script));
        append(script, len, level);
        match script.random.below(8) {
            0..3 => truncate(script),
            3 => then(script, Task::TruncateAll),
            4 => script.then(Operation::Reopen),
            _ => {}
        }
    }
}

fn truncate(script: &mut Script) {
    let items = script.random.pick(&[0, 1, 2, 5, 100]);
    then(script, Task::Truncate { items });
}

fn consume(script: &mut Script) {
    let name = script.random.pick(&["ship", "index"]).to_owned();
    let items = 1 + script.random.below(5) as usize;
    then(script, Task::Consume { name, items });
}

fn consumers(script: &mut Script) {
    for _ in 0..16 {
        drawn_append(script);
        if !script.random.one_in(3) {
            consume(script);
        }
        match script.random.below(10) {
            0 => truncate(script),
            1 => script.then(Operation::Reopen),
            _ => {}
        }
    }
}

fn retained(script: &mut Script) {
    for _ in 0..24 {
        let (len, level) = (1000 + len(script), level(script));
        append(script, len, level);
        match script.random.below(8) {
            0..3 => {
                let ms = 1 + script.random.below(12);
                script.then(Operation::Wait { ms });
            }
            3 => consume(script),
            4 => script.then(Operation::Reopen),
            _ => {}
        }
    }
}

fn rewritten(script: &mut Script) {
    for _ in 0..18 {
        let (len, level) = (len(script) + 500, level(script));
        append(script, len, level);
        match script.random.below(10) {
            0..5 => rewrite(script),
            5 => truncate(script),
            6 => consume(script),
            7 => script.then(Operation::Reopen),
            8 => then(script, Task::Read { ahead: false }),
            _ => {}
        }
    }
}

fn rewrite(script: &mut Script) {
    let skip = script.random.pick(&[0, 0, 1, 3, 9]);
    let count = script.random.pick(&[1, 2, 5, 12]);
    let changes = (0..count).map(|_| change(script)).collect();
    then(script, Task::Rewrite { skip, changes });
}

fn change(script: &mut Script) -> Change {
    match script.random.below(4) {
        0 => Change::Drop,
        1 => {
            let len = len(script);
            Change::Replace(script.value(len))
        }
        _ => Change::Keep,
    }
}

fn reopened(script: &mut Script) {
    for _ in 0..16 {
        match script.random.below(6) {
            0..3 => drawn_append(script),
            3 => script.then(Operation::Close),
            _ => script.then(Operation::Reopen),
        }
    }
}

pub(super) fn mix(script: &mut Script, count: usize) {
    for _ in 0..count {
        match script.random.below(20) {
            0..9 => drawn_append(script),
            9 | 10 => batch(script),
            11 | 12 => consume(script),
            13 => truncate(script),
            14 if script.random.one_in(3) => then(script, Task::TruncateAll),
            14 => then(script, Task::Read { ahead: true }),
            15 if script.random.one_in(2) => rewrite(script),
            15 => then(script, Task::Read { ahead: false }),
            16 => append(script, 9_000, Level::Os),
            17 => script.then(Operation::Sync),
            _ => script.then(Operation::Reopen),
        }
    }
}
