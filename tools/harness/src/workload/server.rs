//! What servers are made to do: by several clients at once, and with versions.

use super::values::{one_disk, two_disks};
use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::{Durability, How, Operation, Value};

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "uploads",
        about: "a directory, put by eight at once, changed, and put again as far as it is missing",
        setup: two_disks,
        operations: uploads,
        variants: None,
    },
    Workload {
        name: "appends",
        about: "objects that grow at their ends, as recorders write them, and are put anew now and then",
        setup: two_disks,
        operations: appends,
        variants: None,
    },
    Workload {
        name: "versions",
        about: "puts, streams, uploads and deletes, of which all versions are kept",
        setup: |random| Setup { versions: true, ..one_disk(random) },
        operations: versions,
        variants: None,
    },
    Workload {
        name: "suspended",
        about: "versions that are kept now and then, and what has no id is overwritten meanwhile",
        setup: |random| Setup { versions: true, ..one_disk(random) },
        operations: suspended,
        variants: None,
    },
    Workload {
        name: "aborts",
        about: "uploads of which some are given up, while others go on",
        setup: two_disks,
        operations: aborts,
        variants: None,
    },
    Workload {
        name: "locks",
        about: "the same, and each version is locked",
        setup: |random| Setup { versions: true, locks: true, ..one_disk(random) },
        operations: versions,
        variants: None,
    },
    Workload {
        name: "moves",
        about: "objects, uploads and copies, moved to and fro while more are put",
        setup: two_disks,
        operations: moves,
        variants: None,
    },
];

/// From rows that share a chunk to bodies that are streamed.
const LENS: [usize; 6] = [0, 100, 4_096, 60_000, 200_000, 400_000];

fn files(script: &mut Script, folder: &str, count: usize) -> Vec<(String, Value)> {
    let file = |number: usize| {
        let len = script.random.pick(&LENS) + script.random.below(60) as usize;
        (format!("{folder}/{number}"), script.value(len))
    };
    (0..count).map(file).collect()
}

fn uploads(script: &mut Script) {
    let mut tree = Vec::new();
    for round in 0..3 {
        let added = files(script, &format!("folder-{round}"), 8);
        script.then(Operation::PutAll { files: added.clone() });
        tree.extend(added);
        script.then(Operation::PutMissing { files: tree.clone() });
        // What the directory has in the same place by now.
        let changed = files(script, "folder-0", 4);
        tree.splice(..changed.len(), changed.iter().cloned());
        script.then(Operation::PutAll { files: changed });
        let any = script.random.below(tree.len() as u64 - 2) as usize;
        let steps = tree[any..any + 3].iter().map(|(key, _)| (key.clone(), None)).collect();
        script.then(Operation::Batch { steps, durability: Durability::Sync });
        match script.random.below(3) {
            0 => script.then(Operation::Compact),
            1 => script.then(Operation::Reopen),
            _ => {}
        }
        // Twice: the second has what the first was killed before.
        script.then(Operation::PutMissing { files: tree.clone() });
        script.then(Operation::PutMissing { files: tree.clone() });
    }
}

fn appends(script: &mut Script) {
    for round in 0..4 {
        let (key, len) = (script.key(2), script.len());
        // Some begin as they are small, some in segments.
        let first = script.random.pick(&[len, 300_000 + len]);
        let mut whole = vec![script.value(first)];
        script.then(Operation::Put { key: key.clone(), value: whole[0], how: How::SYNC });
        for _ in 0..4 {
            let len = script.random.pick(&LENS) + script.random.below(60) as usize;
            let value = script.value(len);
            let before = whole.clone();
            script.then(Operation::Append { key: key.clone(), before, value });
            whole.push(value);
            if script.random.one_in(8) {
                script.delete(key.clone(), Durability::Sync);
            }
        }
        let compacts = script.random.one_in(2);
        if round % 2 == 1 {
            script.then(if compacts { Operation::Compact } else { Operation::Reopen });
        }
    }
}

fn versions(script: &mut Script) {
    for round in 0..16 {
        let (key, len) = (script.key(3), script.len());
        match script.random.below(6) {
            0 | 1 => script.delete(key, Durability::Sync),
            2 => script.stream(key, 270_000 + len, How::SYNC),
            3 => upload(script, key),
            _ => script.put(key, len, How::SYNC),
        }
        if round % 6 == 5 {
            compact_or_reopen(script);
        }
    }
}

fn suspended(script: &mut Script) {
    for round in 0..24 {
        let (key, len) = (script.key(2), script.len());
        match script.random.below(8) {
            0 => script.delete(key, Durability::Sync),
            1 | 2 => script.then(Operation::DeleteNull { key }),
            drawn @ 3..=5 => {
                let more = if drawn == 5 { 270_000 } else { 0 };
                let value = script.value(more + len);
                script.then(Operation::PutNull { key, value });
            }
            6 => upload(script, key),
            _ => script.put(key, len, How::SYNC),
        }
        if round % 8 == 7 {
            compact_or_reopen(script);
        }
    }
}

fn aborts(script: &mut Script) {
    for round in 0..5 {
        let going_on = script.upload();
        let kept = [script.value(40_000), script.value(3_000)];
        script.part(going_on, kept[0]);
        let given_up = script.upload();
        let len = script.len();
        let mut parts: Vec<Value> = (0..3).map(|_| script.value(len)).collect();
        parts.push(script.value(300_000));
        parts.iter().for_each(|part| script.part(given_up, *part));
        // Perhaps of the key that the other one is for.
        let (key, other) = (script.key(2), script.key(2));
        script.abort(given_up, other, &parts);
        script.part(going_on, kept[1]);
        script.assemble(going_on, key, &kept, Durability::Sync);
        if round % 2 == 1 {
            compact_or_reopen(script);
        }
    }
}

fn moves(script: &mut Script) {
    for round in 0..4 {
        let kept = files(script, "kept", 4);
        script.then(Operation::PutAll { files: kept.clone() });
        upload(script, format!("upload-{}", round % 2));
        // One that nobody completes.
        let (begun, part) = (script.upload(), script.value(20_000));
        script.part(begun, part);
        let (key, value) = &kept[0];
        let copy = |to: &str| Operation::Copy {
            key: key.clone(),
            before: vec![*value],
            to: to.to_owned(),
        };
        script.then(copy("copy"));
        match round {
            0 | 2 => {
                let files = files(script, "meanwhile", 6);
                script.then(Operation::PutMoving { files });
            }
            _ => script.then(Operation::Move),
        }
        script.then(copy("another"));
        let key = script.random.pick(&["kept/1", "copy", "upload-0"]);
        script.delete(key, Durability::Sync);
        if script.random.one_in(3) {
            script.then(Operation::Reopen);
        }
    }
}

fn compact_or_reopen(script: &mut Script) {
    let compacts = script.random.one_in(2);
    script.then(if compacts { Operation::Compact } else { Operation::Reopen });
}

fn upload(script: &mut Script, key: String) {
    let upload = script.upload();
    let parts = [script.value(40_000), script.value(3_000)];
    parts.iter().for_each(|&value| script.part(upload, value));
    script.assemble(upload, key, &parts, Durability::Sync);
}
