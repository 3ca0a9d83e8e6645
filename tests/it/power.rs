//! The power cut at every call of a fixed workload, and every call failing once.
//!
//! A model follows the workload and knows every state that a cut may leave: all that was
//! acknowledged as durable, any of what was acknowledged under [`Durability::Os`] since the last
//! sync, and each change that was under way whole or not at all.
//!
//! By default a sample of the calls is tried; with `KOGIA_TEST_EVERY_CALL` set, all are.

use std::collections::BTreeMap;
use std::io::Write;

use kogia::format::checksum::crc32c;
use kogia::io::sim::{Fail, Keep};
use kogia::{
    Batch, DeleteOptions, Durability, Error, ListOptions, Options, PartId, PutOptions, Result,
    Store,
};

use crate::machine::{HOME, Machine, assert_sound, everything, value};

use Durability::{Os, Sync};

/// Objects by key, and parts by `part:` and their checksum: length and checksum of each.
type State = BTreeMap<String, (u64, u32)>;
/// What one operation does, all or nothing.
type Change = Vec<(String, Option<(u64, u32)>)>;

enum Step {
    Put(&'static str, usize, Durability),
    Delete(&'static str, Durability),
    /// Puts of so many bytes, and deletes.
    Batch(&'static [(&'static str, Option<usize>)]),
    Stream(&'static str, usize, Durability),
    /// A stream that is dropped.
    Abandon(usize),
    /// A part, by the name that `Assemble` calls it.
    Part(u64, usize),
    Assemble(&'static str, &'static [(u64, usize)]),
    Sync,
    Checkpoint,
    /// A compaction of everything.
    Compact,
    Reopen,
}

/// Everything that a store does, on two disks with tracks of 16 chunks: packed, owned and
/// segmented values, tracks that roll, holes that are punched, tracks that die and are unlinked, and
/// compaction.
const WORKLOAD: &[Step] = &[
    Step::Put("a", 100, Sync),
    Step::Put("b", 20_000, Sync),
    Step::Put("c", 5_000, Sync),
    Step::Batch(&[("a", Some(300)), ("d", Some(17_000)), ("b", None)]),
    Step::Put("e", 40_000, Os),
    Step::Stream("s", 150_000, Sync),
    Step::Delete("a", Sync),
    Step::Put("c", 9_000, Os),
    Step::Sync,
    Step::Checkpoint,
    Step::Abandon(100_000),
    Step::Part(1, 40_000),
    Step::Part(2, 70_000),
    Step::Put("a", 50_000, Sync),
    Step::Assemble("m", &[(1, 40_000), (2, 70_000)]),
    Step::Stream("s", 90_000, Os),
    Step::Delete("d", Os),
    Step::Checkpoint,
    Step::Compact,
    Step::Delete("m", Sync),
    Step::Delete("s", Os),
    Step::Put("j", 17_000, Sync),
    Step::Reopen,
    Step::Put("f", 30_000, Sync),
    Step::Part(3, 10_000),
    Step::Batch(&[("f", None), ("g", Some(10)), ("h", Some(20_000)), ("c", None)]),
    Step::Delete("e", Sync),
    Step::Checkpoint,
    Step::Put("a", 60_000, Sync),
    Step::Part(4, 60_000),
    Step::Compact,
    Step::Put("i", 12, Os),
    Step::Checkpoint,
    Step::Reopen,
];

/// What the store holds, and what it may hold after a power cut.
#[derive(Clone)]
struct Model {
    live: State,
    after_cut: Vec<State>,
    /// Changes that failed, and may have been carried out all the same.
    in_doubt: Vec<Change>,
}

impl Model {
    fn new() -> Self {
        Model { live: State::new(), after_cut: vec![State::new()], in_doubt: Vec::new() }
    }

    /// A success shows that the store takes writes: then what failed before never comes back.
    fn acknowledge(&mut self, change: &Change, durability: Durability) {
        self.in_doubt.clear();
        apply(&mut self.live, change);
        if durability == Os {
            self.fork(change);
        } else {
            self.after_cut.iter_mut().for_each(|state| apply(state, change));
        }
    }

    fn sync(&mut self) {
        self.after_cut = vec![self.live.clone()];
    }

    fn fork(&mut self, change: &Change) {
        for mut with in self.after_cut.clone() {
            apply(&mut with, change);
            if !self.after_cut.contains(&with) {
                self.after_cut.push(with);
            }
        }
    }

    /// Takes what a reopened store holds for the truth, if that may be.
    #[track_caller]
    fn recover(&mut self, found: State) {
        for change in std::mem::take(&mut self.in_doubt) {
            self.fork(&change);
        }
        assert!(
            self.after_cut.contains(&found),
            "found {found:#?}\nwhere one of these was allowed: {:#?}",
            self.after_cut
        );
        self.live = found;
        self.sync();
    }
}

fn apply(state: &mut State, change: &Change) {
    for (key, value) in change {
        match value {
            Some(value) => state.insert(key.clone(), *value),
            None => state.remove(key),
        };
    }
}

fn print(bytes: &[u8]) -> (u64, u32) {
    (bytes.len() as u64, crc32c(bytes))
}

fn part_key(crc: u32) -> String {
    format!("part:{crc:08x}")
}

/// What a store holds: listing, iterating and reading agree on it.
fn read(store: &Store) -> Result<State> {
    let mut state = State::new();
    for item in store.iter(..) {
        let (key, info) = item?;
        let bytes = store.get(&key)?.expect("it was listed");
        assert_eq!(print(&bytes), (info.len, info.crc32c));
        state.insert(String::from_utf8(key).unwrap(), print(&bytes));
    }
    let page = store.list(&ListOptions::default())?;
    assert_eq!(page.items.len(), state.len());
    assert_eq!(store.stats()?.objects, state.len() as u64);
    for part in store.parts()? {
        state.insert(part_key(part.crc32c), (part.len, part.crc32c));
    }
    Ok(state)
}

/// The workload on its way.
struct Run<'a> {
    machine: &'a Machine,
    options: Options,
    store: Option<Store>,
    model: Model,
}

impl<'a> Run<'a> {
    /// Every other one refills freed chunks instead of punching them.
    fn new(machine: &'a Machine, number: u64) -> Self {
        let refill = number % 2 == 1;
        let options = machine.options().track_bytes(64 << 10).refill(refill).punch(!refill);
        Run { machine, options, store: None, model: Model::new() }
    }

    /// Opens the store and checks what it holds.
    fn open(&mut self) -> Result<()> {
        let store = self.options.clone().open(HOME)?;
        // The call that fails may be one of these.
        match read(&store).or_else(|_| read(&store)) {
            Err(_) if self.machine.io.is_off() => {}
            found => self.model.recover(found.expect("one call fails, once")),
        }
        self.store = Some(store);
        Ok(())
    }

    /// Goes through the workload while there is power; steps that fail are passed over.
    fn run(&mut self) {
        for (number, step) in (1..).zip(WORKLOAD) {
            if self.store.is_none() && self.open().is_err() && !self.machine.io.is_off() {
                self.open().expect("one call fails, once");
            }
            if self.machine.io.is_off() {
                return;
            }
            self.step(number, step);
        }
    }

    fn step(&mut self, number: u64, step: &Step) {
        let Some(store) = &self.store else { return };
        let made = |len: usize| value(number, len);
        match step {
            Step::Put(key, len, durability) => {
                let options = put_options(*durability);
                let outcome = store.put_with(key, made(*len), &options);
                let change = vec![((*key).into(), Some(print(&made(*len))))];
                self.settle(change, *durability, outcome.map(drop));
            }
            Step::Delete(key, durability) => {
                let options = DeleteOptions { durability: Some(*durability), ..Default::default() };
                let outcome = store.delete_with(key, &options);
                if let Ok(was_there) = outcome {
                    assert_eq!(was_there, self.model.live.contains_key(*key), "{key}");
                }
                if !matches!(outcome, Ok(false)) {
                    self.settle(vec![((*key).into(), None)], *durability, outcome.map(drop));
                }
            }
            Step::Batch(operations) => {
                let (batch, change) = batch(operations, made);
                let outcome = store.write(batch);
                self.settle(change, Sync, outcome.map(drop));
            }
            Step::Stream(key, len, durability) => {
                let outcome = stream(store, key, &made(*len), *durability);
                let change = vec![((*key).into(), Some(print(&made(*len))))];
                self.settle(change, *durability, outcome);
            }
            Step::Abandon(len) => {
                // Dropped with or without an error: nothing is left either way.
                if let Ok(mut writer) = store.writer("abandoned") {
                    let _ = writer.write_all(&made(*len));
                }
            }
            Step::Part(name, len) => {
                let bytes = value(100 + name, *len);
                let change = vec![(part_key(crc32c(&bytes)), Some(print(&bytes)))];
                let outcome = part(store, &bytes);
                self.settle(change, Sync, outcome.map(drop));
            }
            Step::Assemble(key, parts) => self.assemble(key, parts),
            Step::Sync => {
                if store.sync().is_ok() {
                    self.model.sync();
                }
            }
            Step::Checkpoint => {
                if store.checkpoint().is_ok() {
                    self.model.sync();
                }
            }
            Step::Compact => {
                if store.compact(&everything()).is_ok() {
                    self.model.sync();
                }
            }
            Step::Reopen => self.reopen(),
        }
    }

    fn assemble(&mut self, key: &str, parts: &[(u64, usize)]) {
        let store = self.store.as_ref().expect("the step has it");
        let values: Vec<_> = parts.iter().map(|(name, len)| value(100 + name, *len)).collect();
        let there = store.parts().unwrap();
        let id = |bytes: &Vec<u8>| there.iter().find(|part| part.crc32c == crc32c(bytes));
        let ids: Option<Vec<PartId>> = values.iter().map(|v| id(v).map(|part| part.id)).collect();
        // One is missing where its own step failed.
        let Some(ids) = ids else { return };
        let outcome = store.assemble(key, &ids, &put_options(Sync));
        let mut change: Change = vec![(key.into(), Some(print(&values.concat())))];
        change.extend(values.iter().map(|bytes| (part_key(crc32c(bytes)), None)));
        self.settle(change, Sync, outcome.map(drop));
    }

    fn settle(&mut self, change: Change, durability: Durability, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.model.acknowledge(&change, durability),
            Err(_) => self.model.in_doubt.push(change),
        }
    }

    fn reopen(&mut self) {
        if let Some(store) = self.store.take()
            && store.close().is_ok()
        {
            self.model.in_doubt.clear();
            self.model.sync();
        }
        if self.machine.io.is_off() {
            return;
        }
        if self.open().is_err() && !self.machine.io.is_off() {
            self.open().expect("one call fails, once");
        }
    }
}

fn put_options(durability: Durability) -> PutOptions {
    PutOptions { durability: Some(durability), ..PutOptions::default() }
}

fn batch(operations: &[(&str, Option<usize>)], made: impl Fn(usize) -> Vec<u8>) -> (Batch, Change) {
    let (mut batch, mut change) = (Batch::new(), Change::new());
    for (key, len) in operations {
        match len {
            Some(len) => batch.put(key, made(*len)),
            None => batch.delete(key),
        };
        change.push(((*key).into(), len.map(|len| print(&made(len)))));
    }
    (batch, change)
}

fn stream(store: &Store, key: &str, bytes: &[u8], durability: Durability) -> Result<()> {
    let mut writer = store.writer_with(key, put_options(durability))?;
    writer.write_all(bytes).map_err(of_io)?;
    writer.commit().map(drop)
}

fn part(store: &Store, bytes: &[u8]) -> Result<PartId> {
    let mut writer = store.part()?;
    writer.write_all(bytes).map_err(of_io)?;
    writer.finish().map(|info| info.id)
}

fn of_io(error: std::io::Error) -> Error {
    error.downcast().expect("the store's errors are carried whole")
}

/// Calls that the workload makes where nothing goes wrong.
fn calls() -> u64 {
    let machine = Machine::new(1, 2);
    let mut run = Run::new(&machine, 0);
    run.run();
    assert!(run.model.in_doubt.is_empty());
    drop(run.store.take());
    machine.io.calls()
}

/// The calls that are tried: every one, or every `stride`-th.
fn chosen(calls: u64, first: u64, stride: usize) -> impl Iterator<Item = u64> {
    let all = std::env::var_os("KOGIA_TEST_EVERY_CALL").is_some();
    let (first, stride) = if all { (0, 1) } else { (first, stride) };
    (first..calls).step_by(stride)
}

/// Opens what a cut has left, twice, does some more work, and lets the index be made anew.
fn check_after_cut(machine: &Machine, model: &mut Model) {
    {
        let store = machine.open();
        assert!(store.recovery().damage.is_empty());
        model.recover(read(&store).unwrap());
        assert_sound(&store);
        store.put("more", "work").unwrap();
        if let Some((key, _)) = model.live.first_key_value()
            && !key.starts_with("part:")
        {
            assert!(store.delete(key).unwrap());
            model.live.pop_first();
        }
        store.checkpoint().unwrap();
        model.live.insert("more".into(), print(b"work"));
        assert_eq!(read(&store).unwrap(), model.live);
        assert_sound(&store);
    }
    let store = machine.rebuild();
    assert_eq!(store.recovery().torn, []);
    assert_eq!(read(&store).unwrap(), model.live);
    assert_sound(&store);
}

/// Runs the workload up to a power cut at call `number`.
fn cut_at(number: u64) -> (Machine, Model) {
    let machine = Machine::new(1, 2);
    machine.io.power_off_at_call(number);
    let mut run = Run::new(&machine, number);
    run.run();
    let Run { store, model, .. } = run;
    (machine.halt(store), model)
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    for number in chosen(calls(), 3, 41) {
        let (machine, model) = cut_at(number);
        let random = (0..3).map(|seed| Keep::Random(number * 3 + seed));
        for keep in [Keep::Nothing, Keep::Everything].into_iter().chain(random) {
            println!("cut at call {number}, {keep:?}");
            check_after_cut(&machine.fork(keep), &mut model.clone());
        }
    }
}

#[test]
fn a_power_cut_during_recovery_changes_nothing_of_what_is_recovered() {
    for number in chosen(calls(), 11, 149) {
        let (machine, _) = cut_at(number);
        let keep = Keep::Random(number);
        let whole = machine.fork(keep);
        let recovered = read(&whole.open()).unwrap();
        let calls = whole.io.calls();
        for second in chosen(calls, number % 7, 13) {
            println!("cut at call {number}, and at call {second} of recovery");
            let machine = machine.fork(keep);
            machine.io.power_off_at_call(second);
            let store = machine.options().open(HOME).ok();
            let machine = machine.halt(store).fork(Keep::Random(second));
            let store = machine.open();
            assert_eq!(read(&store).unwrap(), recovered);
            assert_sound(&store);
        }
    }
}

#[test]
fn a_call_that_fails_once_loses_nothing_acknowledged() {
    let calls = calls();
    let fails = [Fail::Eio, Fail::Enospc, Fail::Eintr, Fail::Short(1000)];
    for (offset, fail) in (0..).zip(fails) {
        for number in chosen(calls, offset * 13, 53) {
            println!("call {number} fails with {fail:?}");
            let machine = Machine::new(1, 2);
            machine.io.fail_call(number, fail);
            let mut run = Run::new(&machine, number);
            run.run();
            let Run { store, mut model, .. } = run;
            let store = store.expect("the last step opens it");
            machine.io.heal();
            assert_eq!(read(&store).unwrap(), model.live);
            assert_sound(&store);
            let machine = machine.halt(Some(store));
            check_after_cut(&machine.fork(Keep::Random(number)), &mut model);
        }
    }
}

#[test]
fn a_call_that_fails_once_during_recovery_is_an_error_or_nothing_and_the_next_open_succeeds() {
    for number in chosen(calls(), 29, 211) {
        let (machine, _) = cut_at(number);
        let keep = Keep::Random(number);
        let whole = machine.fork(keep);
        let recovered = read(&whole.open()).unwrap();
        let calls = whole.io.calls();
        for (offset, fail) in (0..).zip([Fail::Eio, Fail::Eintr]) {
            for failing in chosen(calls, offset * 5, 11) {
                println!("cut at call {number}; call {failing} of recovery fails with {fail:?}");
                let machine = machine.fork(keep);
                machine.io.fail_call(failing, fail);
                drop(machine.options().open(HOME));
                machine.io.heal();
                let store = machine.open();
                assert_eq!(read(&store).unwrap(), recovered);
                assert_sound(&store);
            }
        }
    }
}
