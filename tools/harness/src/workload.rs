//! What engines are made to do before the world breaks.
//!
//! A workload is a pure function from a seed to a setup and a list of operations: its name and the
//! seed say everything. Each begins with an empty store.

mod b3;
mod callers;
mod drawn;
mod plain;
mod queue;
mod server;
mod space;
#[cfg(test)]
mod tests;
mod values;

use crate::engine::{Capability, Engine, Setup};
use crate::operation::{Durability, How, Operation, Upload, Value, When};
use crate::random::Random;

/// A named workload.
pub struct Workload {
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    setup: fn(&mut Random) -> Setup,
    operations: fn(&mut Script),
    /// How many there are: seeds beyond begin again. Without, as many as there are seeds.
    pub variants: Option<u64>,
}

/// A workload of one seed.
#[derive(Clone, Debug)]
pub struct Run {
    pub setup: Setup,
    pub operations: Vec<Operation>,
}

/// A list of operations in the making.
pub struct Script {
    pub random: Random,
    seed: u64,
    next_tag: u64,
    next_upload: u32,
    operations: Vec<Operation>,
}

/// All workloads, `b3` last.
pub fn all() -> impl Iterator<Item = &'static Workload> {
    let of_keys = values::ALL.iter().chain(plain::ALL).chain(space::ALL).chain(drawn::ALL);
    of_keys.chain(server::ALL).chain(queue::ALL).chain([&callers::CALLERS, &b3::B3])
}

pub fn by_name(name: &str) -> Option<&'static Workload> {
    all().find(|workload| workload.name == name)
}

/// What a store is made to do that has come up after a break: its tags are those of no workload.
pub fn following(engine: &dyn Engine, seed: u64, count: usize) -> Vec<Operation> {
    const NO_WORKLOADS_TAG: u64 = 1 << 40;
    let mut random = Random::of(seed, "following");
    let next_tag = NO_WORKLOADS_TAG + (random.below(1 << 20) << 16);
    let mut script = Script { next_tag, ..Script::new(random, seed) };
    if engine.has(Capability::Queue) {
        queue::mix(&mut script, count);
    } else {
        drawn::mix(&mut script, count);
    }
    script.operations
}

impl Workload {
    pub fn run(&self, seed: u64) -> Run {
        let mut random = Random::of(seed, self.name);
        let setup = (self.setup)(&mut random);
        let mut script = Script::new(random, seed);
        (self.operations)(&mut script);
        Run { setup, operations: script.operations }
    }
}

impl Run {
    /// Whether an engine has all that this needs.
    pub fn fits(&self, engine: &dyn Engine) -> bool {
        let of_queue = |operation: &Operation| matches!(operation, Operation::Queue(_));
        let has_kind = engine.has_keys() || self.operations.iter().any(of_queue);
        let versions = self.setup.versions.then_some(Capability::Versions);
        let locks = self.setup.locks.then_some(Capability::Locks);
        let mut needed = self.operations.iter().flat_map(needs).chain(versions).chain(locks);
        has_kind && needed.all(|needed| engine.has(needed))
    }
}

fn needs(operation: &Operation) -> Vec<Capability> {
    match operation {
        Operation::Put { how, .. } => of_how(how),
        Operation::Stream { how, .. } => [vec![Capability::Stream], of_how(how)].concat(),
        Operation::Batch { steps, .. } if steps.iter().all(|(_, value)| value.is_none()) => {
            vec![Capability::BatchOfDeletes]
        }
        Operation::Batch { .. } => vec![Capability::Batch],
        Operation::AtOnce { threads } => {
            threads.iter().flatten().flat_map(needs).chain([Capability::Threads]).collect()
        }
        Operation::PutAll { .. } | Operation::PutMissing { .. } => vec![Capability::AtOnce],
        Operation::Abandon { .. } => vec![Capability::Stream],
        Operation::Part { .. } | Operation::Assemble { .. } => vec![Capability::Parts],
        Operation::Extend { .. } => vec![Capability::Parts, Capability::Extend],
        Operation::Append { .. } => vec![Capability::Append],
        Operation::Copy { .. } => vec![Capability::Copy],
        Operation::Abort { .. } => vec![Capability::Parts, Capability::Abort],
        Operation::PutNull { .. } | Operation::DeleteNull { .. } => {
            vec![Capability::Versions, Capability::Suspend]
        }
        Operation::Move => vec![Capability::Move],
        Operation::PutMoving { .. } => vec![Capability::AtOnce, Capability::Move],
        Operation::Checkpoint => vec![Capability::Checkpoint],
        Operation::Compact | Operation::CompactNewest | Operation::CompactSlice => {
            vec![Capability::Compact]
        }
        Operation::Overtake { .. } => vec![Capability::Compact, Capability::Readers],
        Operation::PutUnderReader { .. } => vec![Capability::Checkpoint, Capability::Readers],
        Operation::Drain | Operation::AddDisks | Operation::Rebalance => vec![Capability::Disks],
        Operation::Expire => vec![Capability::Expire],
        Operation::Backup => vec![Capability::Backup],
        Operation::Rebuild => vec![Capability::Rebuild],
        Operation::Queue(_) => vec![Capability::Queue],
        Operation::Delete { .. }
        | Operation::Sync
        | Operation::Wait { .. }
        | Operation::Close
        | Operation::Reopen => Vec::new(),
    }
}

fn of_how(how: &How) -> Vec<Capability> {
    let conditions = (how.when != When::Always).then_some(Capability::Conditions);
    let expiry = how.expires_in_ms.map(|_| Capability::Expire);
    conditions.into_iter().chain(expiry).collect()
}

impl Script {
    fn new(random: Random, seed: u64) -> Self {
        Script { random, seed, next_tag: 1, next_upload: 0, operations: Vec::new() }
    }

    pub fn value(&mut self, len: usize) -> Value {
        let tag = self.next_tag;
        self.next_tag += 1;
        Value { tag, len }
    }

    pub fn then(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    pub fn put(&mut self, key: impl Into<String>, len: usize, how: How) {
        let (key, value) = (key.into(), self.value(len));
        self.then(Operation::Put { key, value, how });
    }

    pub fn stream(&mut self, key: impl Into<String>, len: usize, how: How) {
        let (key, value) = (key.into(), self.value(len));
        self.then(Operation::Stream { key, value, how });
    }

    pub fn delete(&mut self, key: impl Into<String>, durability: Durability) {
        self.then(Operation::Delete { key: key.into(), durability });
    }

    /// The number of a further upload.
    pub fn upload(&mut self) -> u32 {
        self.next_upload += 1;
        self.next_upload
    }

    /// A part of an upload that nobody may ever [assemble](Self::assemble).
    pub fn part(&mut self, number: u32, value: Value) {
        let upload = Upload { number, key: "never-assembled".to_owned() };
        self.then(Operation::Part { upload, value });
    }

    /// Makes an object of all parts of an upload, which are told the key by that.
    pub fn assemble(&mut self, number: u32, key: String, parts: &[Value], durability: Durability) {
        let upload = self.destine(number, key);
        self.then(Operation::Assemble { upload, parts: parts.to_vec(), durability });
    }

    /// Gives an upload up, whose parts are told by that which key they were for.
    pub fn abort(&mut self, number: u32, key: String, parts: &[Value]) {
        let upload = self.destine(number, key);
        self.then(Operation::Abort { upload, parts: parts.to_vec() });
    }

    /// Makes an object longer by parts, which are told the key by that.
    pub fn extend(
        &mut self,
        number: u32,
        key: String,
        [before, parts]: [&[Value]; 2],
        durability: Durability,
    ) {
        let upload = self.destine(number, key);
        let (before, parts) = (before.to_vec(), parts.to_vec());
        self.then(Operation::Extend { upload, before, parts, durability });
    }

    /// Says what the parts of an upload, that were not known to become anything, are for.
    fn destine(&mut self, number: u32, key: String) -> Upload {
        let destined = Upload { number, key };
        for operation in &mut self.operations {
            if let Operation::Part { upload, .. } = operation
                && upload.number == number
            {
                *upload = destined.clone();
            }
        }
        destined
    }

    /// A key of few enough that operations meet.
    pub fn key(&mut self, of: u64) -> String {
        format!("k{}", self.random.below(of))
    }

    pub fn durability(&mut self) -> Durability {
        self.random.pick(&[Durability::Sync, Durability::Os])
    }

    pub fn how(&mut self) -> How {
        How { durability: self.durability(), ..How::SYNC }
    }

    /// A length around one of those at which values are written in another way.
    pub fn len(&mut self) -> usize {
        let around = self.random.pick(&[0, 60, 300, 1500, 4072, 8100, 16_300, 20_000, 40_000]);
        around + self.random.below(60) as usize
    }
}
