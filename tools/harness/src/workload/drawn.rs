//! Mixes of everything, drawn from the seed, setup and all.

use super::{Script, Workload};
use crate::engine::Setup;
use crate::operation::{How, Operation, When};
use crate::random::Random;

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "mix",
        about: "everything, drawn at random",
        setup: any_setup,
        operations: |script| mix(script, 30),
        variants: None,
    },
    Workload {
        name: "long-mix",
        about: "more of everything, drawn at random",
        setup: any_setup,
        operations: |script| mix(script, 90),
        variants: None,
    },
];

fn any_setup(random: &mut Random) -> Setup {
    Setup {
        disks: 1 + random.below(3) as usize,
        file_bytes: random.pick(&[64 << 10, 128 << 10, 256 << 10]),
        punch: !random.one_in(3),
        refill: random.one_in(2),
        shards: random.one_in(3),
        ..Setup::default()
    }
}

pub(super) fn mix(script: &mut Script, count: usize) {
    for _ in 0..count {
        match script.random.below(20) {
            0..10 => write(script),
            10 | 11 => batch(script),
            12 => parts(script),
            13 => {
                let value = script.value(80_000);
                script.then(Operation::Abandon { key: "given-up".into(), value });
            }
            14 => script.then(Operation::Sync),
            15 | 16 => script.then(Operation::Checkpoint),
            _ => upkeep(script),
        }
    }
}

fn write(script: &mut Script) {
    let (key, len, how) = (script.key(8), script.len(), script.how());
    let when = script.random.pick(&[When::Always, When::Always, When::IfAbsent, When::IfPresent]);
    let expires_in_ms = script.random.pick(&[None, None, None, Some(15)]);
    match script.random.below(6) {
        0 | 1 => script.delete(key, how.durability),
        2 => script.stream(key, 60_000 + len, How { when, ..how }),
        _ => script.put(key, len, How { when, expires_in_ms, ..how }),
    }
}

fn batch(script: &mut Script) {
    let step = |script: &mut Script| {
        let (key, len) = (script.key(8), script.len());
        (key, (!script.random.one_in(3)).then(|| script.value(len)))
    };
    let steps = (0..3).map(|_| step(script)).collect();
    let durability = script.durability();
    script.then(Operation::Batch { steps, durability });
}

fn parts(script: &mut Script) {
    let parts = [script.value(3_000), script.value(50_000)];
    let upload = script.upload();
    parts.iter().for_each(|&value| script.part(upload, value));
    let (key, durability) = (script.key(8), script.durability());
    if script.random.one_in(4) {
        return;
    }
    script.assemble(upload, key.clone(), &parts, durability);
    if script.random.one_in(2) {
        let (upload, more) = (script.upload(), [script.value(7_000)]);
        script.part(upload, more[0]);
        let durability = script.durability();
        script.extend(upload, key, [&parts, &more], durability);
    }
}

fn upkeep(script: &mut Script) {
    let operation = match script.random.below(7) {
        0 | 1 => Operation::Compact,
        2 => Operation::Wait { ms: 1 + script.random.below(12) },
        3 => Operation::Expire,
        4 => Operation::Backup,
        5 => Operation::Drain,
        _ => Operation::Reopen,
    };
    script.then(operation);
}
