//! An engine at a place, told to carry operations out, and looked at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::engine::{Capability, Engine, Failure, Place, Result, Setup, Store};
use crate::operation::{
    Durability, How, NULL, Operation, Print, Value, marker_name, null_name, part_name, version_name,
};
use crate::points::Delays;
use crate::queue;

/// Keys, and what is put under them.
type Files = [(String, Value)];

/// How many go on at once, of operations that are made of several.
const AT_ONCE: usize = 8;

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Acknowledged.
    Done,
    /// Acknowledged, and there was nothing to do: nothing has changed.
    Nothing,
    /// Acknowledged, and left a version of this name behind, which says so.
    Marked(String),
    /// Acknowledged by a queue, with what it has answered.
    Queue(queue::Answer),
    /// Acknowledged, and what was shown meanwhile was wrong.
    Wrong(String),
    /// It may have been carried out or not, unless the failure says that nothing was done.
    Failed(Failure),
}

/// What happens to a member of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is about to be asked for.
    Begins,
    Ended(Outcome),
}

/// Hears of each member by its number, in the thread that carries it out.
pub type Tell<'a> = &'a (dyn Fn(usize, Progress) + Sync);

/// What an engine shows when it is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Observation {
    /// Objects and parts by name.
    pub found: BTreeMap<String, Print>,
    /// What a queue shows.
    pub queue: Option<queue::Seen>,
    /// What contradicts itself, can't be read, or is wrong by the engine's own account.
    pub problems: Vec<String>,
}

impl Observation {
    /// The same with what a queue shows among the objects, each under a name that says what it is.
    pub fn named(mut self) -> Self {
        self.found.extend(self.queue.take().iter().flat_map(queue::Seen::named));
        self
    }
}

/// An engine with the store that it has open, if any.
pub struct Session<'a> {
    engine: &'a dyn Engine,
    place: Place,
    setup: Setup,
    store: Option<Box<dyn Store>>,
}

impl<'a> Session<'a> {
    /// Nothing is opened yet.
    pub fn new(engine: &'a dyn Engine, place: Place, setup: Setup) -> Self {
        Session { engine, place, setup, store: None }
    }

    /// The store, where it is open.
    pub fn store(&self) -> Option<&dyn Store> {
        self.store.as_deref()
    }

    #[cfg(test)]
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// Opens the store, unless it is open.
    pub fn open(&mut self) -> Result<&dyn Store> {
        if self.store.is_none() {
            self.store = Some(self.engine.open(&self.place, &self.setup)?);
        }
        Ok(self.store.as_deref().expect("it was just opened"))
    }

    /// Opens the store with everything made anew that can be derived.
    pub fn rebuild(&mut self) -> Result<&dyn Store> {
        self.close()?;
        self.store = Some(self.engine.rebuild(&self.place, &self.setup)?);
        self.open()
    }

    pub fn close(&mut self) -> Result<()> {
        self.store.take().map_or(Ok(()), Store::close)
    }

    /// Drops the store, whatever comes of it.
    pub fn abandon(&mut self) {
        self.store = None;
    }

    /// Looks at the store, opening it first where it is not open.
    pub fn observe(&mut self) -> Result<Observation> {
        let glimpse = if self.is_open() { None } else { self.engine.glimpse(&self.place)? };
        let store = self.open()?;
        let mut observation = observe(store)?;
        observation.problems.extend(store.damage());
        if let (Some(before), Some(seen)) = (glimpse, &observation.queue) {
            observation.problems.extend(queue::gone(before, seen));
        }
        Ok(observation)
    }

    /// Looks at the backup; nothing where there is none.
    pub fn observe_backup(&self) -> Result<Option<Observation>> {
        if !self.engine.has(Capability::Backup) {
            return Ok(None);
        }
        let backup = self.engine.open_backup(&self.place, &self.setup)?;
        backup.map(|store| observe(&*store)).transpose()
    }

    /// Carries out all [members](Operation::members) of an operation, and says of each when it begins and
    /// how it has ended.
    pub fn carry_out_each(&mut self, operation: &Operation, tell: Tell<'_>) {
        if let Operation::AtOnce { threads } = operation
            && let Ok(store) = self.open()
        {
            return carry_out_at_once(store, threads, tell);
        }
        let members = operation.members().len();
        (0..members).for_each(|member| tell(member, Progress::Begins));
        let mut put = |files: &Files, only_missing| {
            self.open().and_then(|store| put_at_once(store, files, only_missing, tell))
        };
        let carried_out = match operation {
            Operation::AtOnce { .. } => self.open().map(drop),
            Operation::PutAll { files } => put(files, false),
            Operation::PutMissing { files } => put(files, true),
            Operation::PutMoving { files } => {
                self.open().and_then(|store| put_and_move(store, files, tell))
            }
            _ => return tell(0, Progress::Ended(self.carry_out(operation))),
        };
        if let Err(failure) = carried_out {
            let failed = || Progress::Ended(Outcome::Failed(failure.clone()));
            (0..members).for_each(|member| tell(member, failed()));
        }
    }

    /// Carries an operation of one member out, opening the store first where it is not open.
    pub fn carry_out(&mut self, operation: &Operation) -> Outcome {
        let outcome = match operation {
            Operation::Wait { ms } => {
                self.place.clock.pass(*ms);
                Ok(Outcome::Done)
            }
            Operation::Close => self.close().map(|()| Outcome::Done),
            Operation::Reopen => self.close().and_then(|()| self.open().map(|_| Outcome::Done)),
            Operation::Rebuild => self.rebuild().map(|_| Outcome::Done),
            Operation::Delete { key, .. } if self.setup.versions => {
                let deleted = self.open().and_then(|store| store.delete_kept(key));
                deleted.map(|id| id.map_or(Outcome::Nothing, Outcome::Marked))
            }
            _ => self.open().and_then(|store| carry_out(store, operation)),
        };
        outcome.unwrap_or_else(Outcome::Failed)
    }
}

fn carry_out(store: &dyn Store, operation: &Operation) -> Result<Outcome> {
    match operation {
        Operation::Put { key, value, how } => store.put(key, &value.bytes(), how)?,
        Operation::Delete { key, durability } => {
            let was_there = store.delete(key, *durability)?;
            return Ok(if was_there { Outcome::Done } else { Outcome::Nothing });
        }
        Operation::Batch { steps, durability } => {
            let bytes =
                |(key, value): &(String, Option<Value>)| (key.clone(), value.map(Value::bytes));
            store.batch(&steps.iter().map(bytes).collect::<Vec<_>>(), *durability)?;
        }
        Operation::Stream { key, value, how } => store.stream(key, &value.bytes(), how)?,
        Operation::Abandon { key, value } => store.abandon(key, &value.bytes())?,
        Operation::Part { upload, value } => store.put_part(upload, &value.bytes())?,
        Operation::Assemble { upload, parts, durability } => {
            store.assemble(upload, &crcs(parts), *durability)?;
        }
        Operation::Extend { upload, before, parts, durability } => {
            store.extend(upload, Value::print_of_all(before), &crcs(parts), *durability)?;
        }
        Operation::Append { key, before, value } => {
            store.append(key, Value::print_of_all(before), &value.bytes())?;
        }
        Operation::Copy { key, before, to } => {
            store.copy(key, Value::print_of_all(before), to)?;
        }
        Operation::Abort { upload, .. } if store.abort(upload)? => {}
        Operation::Abort { .. } => return Ok(Outcome::Nothing),
        Operation::PutNull { key, value } => store.put_null(key, &value.bytes())?,
        Operation::DeleteNull { key } if store.delete_null(key)? => {}
        Operation::DeleteNull { .. } => return Ok(Outcome::Nothing),
        Operation::Move => store.move_all()?,
        Operation::AtOnce { .. }
        | Operation::PutAll { .. }
        | Operation::PutMissing { .. }
        | Operation::PutMoving { .. } => return Err(Failure::Unsupported),
        Operation::Sync => store.sync()?,
        Operation::Checkpoint => store.checkpoint()?,
        Operation::Compact => store.compact()?,
        Operation::Overtake { key, value } => store.compact_under(&mut || match value {
            Some(value) => store.put(key, &value.bytes(), &How::SYNC),
            None => store.delete(key, Durability::Sync).map(drop),
        })?,
        Operation::PutUnderReader { key, value } => {
            let [before, behind] = store.put_under_reader(key, &value.bytes())?;
            return Ok(under_reader(key, before, behind));
        }
        Operation::CompactNewest => store.compact_newest()?,
        Operation::CompactSlice => store.compact_slice()?,
        Operation::Drain if store.drain()? => {}
        Operation::AddDisks if store.add_disks()? => {}
        Operation::Rebalance if store.rebalance()? => {}
        Operation::Drain | Operation::AddDisks | Operation::Rebalance => {
            return Ok(Outcome::Nothing);
        }
        Operation::Expire => store.expire()?,
        Operation::Backup => store.backup()?,
        Operation::Queue(task) => {
            let queue = store.queue().ok_or(Failure::Unsupported)?;
            return queue::carry_out(queue, task).map(Outcome::Queue);
        }
        Operation::Wait { .. } | Operation::Close | Operation::Reopen | Operation::Rebuild => {
            unreachable!("a session carries these out itself")
        }
    }
    Ok(Outcome::Done)
}

/// What an engine knows parts by.
fn crcs(parts: &[Value]) -> Vec<u32> {
    parts.iter().map(|part| part.crc32c()).collect()
}

/// Has each thread carry out what it is to; one or two are late, so that they come in each other's way at every step.
fn carry_out_at_once(store: &dyn Store, threads: &[Vec<Operation>], tell: Tell<'_>) {
    let (delays, mut first) = (Delays::of(threads.len()), 0);
    std::thread::scope(|scope| {
        for (number, thread) in threads.iter().enumerate() {
            let members = first..first + thread.len();
            first = members.end;
            let work = move || {
                for (member, operation) in members.zip(thread) {
                    tell(member, Progress::Begins);
                    let outcome = carry_out(store, operation).unwrap_or_else(Outcome::Failed);
                    tell(member, Progress::Ended(outcome));
                }
            };
            let delays = &delays;
            scope.spawn(move || delays.within(number, work));
        }
    });
}

/// Puts files, several at once; of those that are listed already, where they are to be missing, says that
/// a condition does not hold. Fails where nothing was put.
fn put_at_once(store: &dyn Store, files: &Files, only_missing: bool, tell: Tell<'_>) -> Result<()> {
    let listed = if only_missing { store.keys()? } else { Vec::new() };
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((member, (key, value))) = nth(files, next.fetch_add(1, Ordering::Relaxed)) {
            let put = match listed.contains(key) {
                true => Err(Failure::Refused),
                false => store.put(key, &value.bytes(), &How::SYNC),
            };
            tell(member, Progress::Ended(put.map_or_else(Outcome::Failed, |()| Outcome::Done)));
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    Ok(())
}

/// Puts files, several at once, and moves everything meanwhile: the last member.
fn put_and_move(store: &dyn Store, files: &Files, tell: Tell<'_>) -> Result<()> {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let moved = store.move_all().map_or_else(Outcome::Failed, |()| Outcome::Done);
            tell(files.len(), Progress::Ended(moved));
        });
        put_at_once(store, files, false, tell)
    })
}

fn nth<T>(of: &[T], number: usize) -> Option<(usize, &T)> {
    Some((number, of.get(number)?))
}

/// What becomes of a put under a reader, by what the reader found of the key before and behind it.
fn under_reader(
    key: &str,
    before: Result<Option<Vec<u8>>>,
    behind: Result<Option<Vec<u8>>>,
) -> Outcome {
    match (before, behind) {
        (Ok(before), Ok(behind)) if before != behind => {
            Outcome::Wrong(format!("{key} has changed under a reader"))
        }
        (Err(Failure::Damaged(what)), _) | (_, Err(Failure::Damaged(what))) => {
            Outcome::Wrong(format!("{key}, under a reader: {what}"))
        }
        // What can't be read just now says nothing.
        _ => Outcome::Done,
    }
}

/// Reads everything that is listed, and lets the engine check itself. An error that says which
/// bytes are damaged is a problem of that object, and the others are looked at all the same.
fn observe(store: &dyn Store) -> Result<Observation> {
    let mut seen = Observation::default();
    let keys = store.keys()?;
    if !keys.is_sorted_by(|a, b| a < b) {
        seen.problems.push(format!("the listing is out of order: {keys:?}"));
    }
    for key in keys {
        match store.get(&key) {
            Ok(Some(bytes)) => drop(seen.found.insert(key, Print::of(&bytes))),
            Ok(None) => {
                seen.problems.push(format!("{key} is listed, and reading does not find it"))
            }
            Err(Failure::Damaged(what)) => seen.problems.push(format!("{key}: {what}")),
            Err(failure) => return Err(failure),
        }
    }
    for (len, crc32c) in store.parts()? {
        seen.found.insert(part_name(crc32c), Print::of_part(len, crc32c));
    }
    for version in store.versions()? {
        let name = match &version.value {
            Some(_) if version.id == NULL => null_name(&version.key),
            Some(bytes) => version_name(&version.key, Print::of(bytes)),
            None => marker_name(&version.key, &version.id),
        };
        let print = Print::of(&version.value.unwrap_or_default());
        if seen.found.insert(name, print).is_some() {
            seen.problems.push(format!("version {} of {} is there twice", version.id, version.key));
        }
    }
    if let Some(queue) = store.queue() {
        seen.queue = Some(queue::observe(queue, &mut seen.problems)?);
    }
    seen.problems.extend(store.verify()?);
    Ok(seen)
}
