//! Carries a case out: each operation on the store and on the map, comparing what they say.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kogia::{
    Batch, DeleteOptions, Durability, ErrorKind, Info, PartId, PutOptions, Reader, Result, Seq,
    Snapshot, Store, VerifyOptions, Writer,
};
use proptest::sample::Index;

use super::contents::{Contents, History, Name, Object, Part};
use super::look::{follow, look_at};
use super::machine::{Machine, Media};
use super::operation::{Case, End, How, Key, Operation, Step, Tuning, Value};
use crate::machine::everything;

pub fn run(media: Media, case: &Case) {
    let mut machine = Machine::new(media, case.disks);
    let mut history = History::new(case.disks);
    let mut tuning = case.tuning;
    let mut store = machine.open(tuning);
    for part in case.operations.split_inclusive(|o| matches!(o, Operation::Reopen { .. })) {
        let (durability, clock) = (tuning.durability, machine.clock());
        let mut session = Session::new(&store, &mut history, durability, clock);
        part.iter().for_each(|operation| session.carry_out(operation));
        let Some(Operation::Reopen { end, tuning: next }) = part.last() else { break };
        tuning = *next;
        // Death comes while streams are open.
        match end {
            End::Close | End::CloseAndRebuild => {}
            End::KillProcess | End::KillProcessAndRebuild => machine.kill(),
            End::CutPower(keep) | End::CutPowerAndRebuild(keep) => machine.cut_power(*keep),
        }
        drop(session);
        store = reopen(store, &machine, &mut history, *end, tuning);
    }
    for end in [End::Close, End::CloseAndRebuild] {
        verify(&store, &history);
        store = reopen(store, &machine, &mut history, end, tuning);
    }
    verify(&store, &history);
}

fn reopen(
    store: Store,
    machine: &Machine,
    history: &mut History,
    end: End,
    tuning: Tuning,
) -> Store {
    let was_closed = matches!(end, End::Close | End::CloseAndRebuild);
    if was_closed {
        store.close().unwrap();
    } else {
        drop(store);
    }
    let rebuilds = matches!(
        end,
        End::CloseAndRebuild | End::KillProcessAndRebuild | End::CutPowerAndRebuild(_)
    );
    let store = if rebuilds { machine.rebuild(tuning) } else { machine.open(tuning) };
    if !matches!(end, End::CutPower(_) | End::CutPowerAndRebuild(_)) {
        history.settle();
    }
    let read = |item: Result<(Key, Info)>| {
        let (key, info) = item.unwrap();
        let value = Arc::new(store.get(&key).unwrap().expect("what was listed is there"));
        (key, Object { value, info })
    };
    history.recovered(store.iter(..).map(read).collect(), store.parts().unwrap());
    let recovery = store.recovery();
    assert_eq!(recovery.clean, was_closed, "{recovery:?}");
    assert!(rebuilds || !recovery.rebuilt, "{recovery:?}");
    assert!(recovery.damage.is_empty(), "{recovery:?}");
    store
}

fn verify(store: &Store, history: &History) {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    let (found, contents) = (report.objects as usize, history.now());
    let expected = contents.objects.len() + contents.parts.len();
    assert!(found == expected || history.has_leftovers && found > expected, "{found}, {expected}");
}

/// One opening of the store.
struct Session<'s> {
    store: &'s Store,
    history: &'s mut History,
    durability: Durability,
    clock: Arc<AtomicU64>,
    streams: Vec<Stream<'s>>,
    snapshots: Vec<(Snapshot<'s>, Contents)>,
    readers: Vec<(Reader<'s>, Cursor<Vec<u8>>)>,
}

struct Stream<'s> {
    writer: Writer<'s>,
    key: Key,
    options: PutOptions,
    value: Vec<u8>,
}

impl<'s> Session<'s> {
    fn new(
        store: &'s Store,
        history: &'s mut History,
        durability: Durability,
        clock: Arc<AtomicU64>,
    ) -> Self {
        let (streams, snapshots, readers) = (Vec::new(), Vec::new(), Vec::new());
        Session { store, history, durability, clock, streams, snapshots, readers }
    }

    fn carry_out(&mut self, operation: &Operation) {
        match operation {
            Operation::Put { key, value, how } => self.put(key, *value, *how),
            Operation::Delete { key, when, durability } => {
                let condition = self.now().condition(key, *when);
                self.delete(key, DeleteOptions { condition, durability: *durability });
            }
            Operation::Batch { steps, durability } => self.batch(steps, *durability),
            Operation::OpenStream { key, how } => self.open_stream(key, *how),
            Operation::WriteStream { stream, value, pieces } => {
                self.write_stream(*stream, *value, *pieces);
            }
            Operation::EndStream { stream, commits } => self.end_stream(*stream, *commits),
            Operation::Part { value, finishes } => self.part(*value, *finishes),
            Operation::Assemble { key, parts, how } => self.assemble(key, parts, *how),
            Operation::Discard { part } => self.discard(*part),
            Operation::Look(look) => look_at(self.store, self.now(), look),
            Operation::TakeSnapshot => {
                self.snapshots.push((self.store.snapshot().unwrap(), self.now().clone()));
            }
            Operation::LookBack { snapshot, look } => {
                if let Some((snapshot, contents)) = pick(*snapshot, &self.snapshots) {
                    look_at(snapshot, contents, look);
                }
            }
            Operation::DropSnapshot { snapshot } => drop(take(*snapshot, &mut self.snapshots)),
            Operation::OpenReader { key } => self.open_reader(key),
            Operation::ReadOn { reader, moves } => {
                if let Some(at) = position(*reader, &self.readers) {
                    let (reader, expected) = &mut self.readers[at];
                    moves.iter().for_each(|step| follow(reader, expected, *step));
                }
            }
            Operation::DropReader { reader } => drop(take(*reader, &mut self.readers)),
            Operation::Sync => {
                self.store.sync().unwrap();
                self.history.settle();
            }
            Operation::Checkpoint => {
                self.store.checkpoint().unwrap();
                self.history.settle();
            }
            Operation::Compact => {
                self.store.compact(&everything()).unwrap();
                self.history.settle();
            }
            Operation::Verify => verify(self.store, self.history),
            Operation::Wait { ms } => {
                let now_ms = self.clock.fetch_add(*ms, Ordering::Relaxed) + ms;
                self.history.expire(now_ms);
            }
            Operation::Expire => self.expire(),
            Operation::Reopen { .. } => {}
        }
        self.check_counters();
    }

    fn now(&self) -> &Contents {
        self.history.now()
    }

    fn check_counters(&self) {
        let (stats, contents) = (self.store.stats().unwrap(), self.now());
        let bytes = contents.objects.values().map(|object| object.value.len() as u64).sum::<u64>();
        let expected = (contents.objects.len() as u64, bytes, contents.parts.len() as u64);
        let found = (stats.objects, stats.object_bytes, stats.parts);
        let more = found.0 >= expected.0 && found.1 >= expected.1 && found.2 == expected.2;
        assert!(found == expected || self.history.has_leftovers && more, "{found:?}, {expected:?}");
    }

    fn put(&mut self, key: &Key, value: Value, how: How) {
        let (value, options) = (value.bytes(), self.put_options(key, how));
        let outcome = self.store.put_with(key, &value, &options);
        if let Some(seq) = met(self.now().meets(key, options.condition), outcome) {
            self.was_put(key, value, &options, seq, Vec::new());
        }
    }

    fn put_options(&self, key: &[u8], how: How) -> PutOptions {
        PutOptions {
            attributes: how.attributes.bytes(),
            modified_ms: how.modified_ms,
            expires_ms: how.expires_in_ms.map(|ms| self.now_ms() + ms),
            created_ms: None,
            condition: self.now().condition(key, how.when),
            durability: how.durability,
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Deletes what has expired, which is nothing where all of that was deleted.
    fn expire(&mut self) {
        let had_leftovers = self.history.take_leftovers();
        let report = self.store.expire().unwrap();
        assert!(had_leftovers || report.objects == 0, "{report:?}");
        assert_eq!(self.store.expire().unwrap().examined, 0);
    }

    fn is_durable(&self, durability: Option<Durability>) -> bool {
        durability.unwrap_or(self.durability) == Durability::Sync
    }

    /// A put was acknowledged, which consumed `parts`.
    fn was_put(
        &mut self,
        key: &Key,
        value: Vec<u8>,
        options: &PutOptions,
        seq: Seq,
        parts: Vec<PartId>,
    ) {
        self.history.gave_seq(seq);
        let object = self.expect_object(key, value, options, seq);
        self.history.has_leftovers |= object.is_none();
        let mut names = vec![Name::Object(key.clone())];
        names.extend(parts.iter().copied().map(Name::Part));
        self.history.change(names, self.is_durable(options.durability), |contents| {
            contents.set(key.clone(), object);
            contents.parts.retain(|id, _| !parts.contains(id));
        });
    }

    /// Checks that the store has just what was put, if that has not expired already.
    fn expect_object(
        &self,
        key: &Key,
        value: Vec<u8>,
        options: &PutOptions,
        seq: Seq,
    ) -> Option<Object> {
        let mut found = Vec::new();
        let info = self.store.get_into(key, &mut found).unwrap();
        let lives = options.expires_ms.is_none_or(|expires_ms| self.now_ms() < expires_ms);
        assert_eq!(info.is_some(), lives);
        let info = info?;
        assert!(found == value, "{} bytes were put, and others are found", value.len());
        let expected = Info {
            seq,
            len: value.len() as u64,
            crc32c: crc32c::crc32c(&value),
            created_ms: info.created_ms,
            modified_ms: options.modified_ms.unwrap_or(info.created_ms),
            expires_ms: options.expires_ms,
            attributes: options.attributes.clone(),
        };
        assert_eq!(info, expected);
        Some(Object { value: Arc::new(value), info })
    }

    fn delete(&mut self, key: &Key, options: DeleteOptions) {
        let meets = self.now().meets(key, options.condition);
        let was_there = self.now().objects.contains_key(key);
        let outcome = met(meets, self.store.delete_with(key, &options));
        if let Some(deleted) = outcome {
            assert_eq!(deleted, was_there);
            let durable = deleted && self.is_durable(options.durability);
            self.history.change(vec![Name::Object(key.clone())], durable, |contents| {
                contents.objects.remove(key);
            });
        }
    }

    fn batch(&mut self, steps: &[Step], durability: Option<Durability>) {
        let (mut batch, mut meets) = (Batch::new(), true);
        let mut effects = Vec::new();
        for Step { key, value, how } in steps {
            let options = self.put_options(key, *how);
            meets &= self.now().meets(key, options.condition);
            let value = value.map(Value::bytes);
            match &value {
                Some(value) => batch.put_with(key, value, &options),
                None => batch.delete_with(key, options.condition),
            };
            effects.push((key, value, options));
        }
        let outcome = match durability {
            Some(durability) => self.store.write_with(batch, durability),
            None => self.store.write(batch),
        };
        let Some(seqs) = met(meets, outcome) else { return };
        assert_eq!(seqs.len(), steps.len());
        seqs.iter().for_each(|seq| self.history.gave_seq(*seq));
        // Of two steps on one key the later one counts.
        let last: BTreeMap<_, _> = effects
            .into_iter()
            .zip(seqs)
            .map(|((k, v, o), seq)| (k.clone(), (v, o, seq)))
            .collect();
        let after: BTreeMap<_, _> = last
            .into_iter()
            .map(|(key, (value, options, seq))| {
                let was_put = value.is_some();
                let object = value.and_then(|value| self.expect_object(&key, value, &options, seq));
                self.history.has_leftovers |= was_put && object.is_none();
                (key, object)
            })
            .collect();
        let names = after.keys().cloned().map(Name::Object).collect();
        let durable = self.is_durable(durability) && !steps.is_empty();
        self.history.change(names, durable, |contents| {
            after.into_iter().for_each(|(key, object)| contents.set(key, object));
        });
    }

    fn open_stream(&mut self, key: &Key, how: How) {
        let options = self.put_options(key, how);
        let writer = self.store.writer_with(key, options.clone()).unwrap();
        self.streams.push(Stream { writer, key: key.clone(), options, value: Vec::new() });
    }

    fn write_stream(&mut self, stream: Index, value: Value, pieces: usize) {
        let Some(at) = position(stream, &self.streams) else { return };
        let (stream, value) = (&mut self.streams[at], value.bytes());
        for piece in value.chunks(value.len() / pieces + 1) {
            stream.writer.write_all(piece).unwrap();
        }
        stream.value.extend(value);
    }

    fn end_stream(&mut self, stream: Index, commits: bool) {
        let Some(Stream { writer, key, options, value }) = take(stream, &mut self.streams) else {
            return;
        };
        if !commits {
            return drop(writer);
        }
        let meets = self.now().meets(&key, options.condition);
        if let Some(info) = met(meets, writer.commit()) {
            let lives = options.expires_ms.is_none_or(|expires_ms| self.now_ms() < expires_ms);
            assert_eq!(self.store.head(&key).unwrap().as_ref(), lives.then_some(&info));
            self.was_put(&key, value, &options, info.seq, Vec::new());
        }
    }

    fn part(&mut self, value: Value, finishes: bool) {
        let value = value.bytes();
        let mut writer = self.store.part().unwrap();
        writer.write_all(&value).unwrap();
        if !finishes {
            return;
        }
        let info = writer.finish().unwrap();
        assert_eq!((info.len, info.crc32c), (value.len() as u64, crc32c::crc32c(&value)));
        let part = Part { value: Arc::new(value), info };
        self.history.change(vec![Name::Part(info.id)], true, |contents| {
            contents.parts.insert(info.id, part);
        });
    }

    fn assemble(&mut self, key: &Key, parts: &[Index], how: How) {
        let there: Vec<_> = self.now().parts.keys().copied().collect();
        let mut ids: Vec<PartId> = Vec::new();
        for id in parts.iter().filter_map(|part| pick(*part, &there)) {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        let options = self.put_options(key, how);
        let value: Vec<u8> =
            ids.iter().flat_map(|id| self.now().parts[id].value.iter().copied()).collect();
        let outcome = self.store.assemble(key, &ids, &options);
        if let Some(seq) = met(self.now().meets(key, options.condition), outcome) {
            self.was_put(key, value, &options, seq, ids);
        }
    }

    fn discard(&mut self, part: Index) {
        let there: Vec<_> = self.now().parts.keys().copied().collect();
        let Some(&id) = pick(part, &there) else {
            return assert!(!self.store.discard_part(PartId(1)).unwrap());
        };
        assert!(self.store.discard_part(id).unwrap());
        let durable = self.is_durable(None);
        self.history.change(vec![Name::Part(id)], durable, |contents| {
            contents.parts.remove(&id);
        });
    }

    fn open_reader(&mut self, key: &Key) {
        let reader = self.store.reader(key).unwrap();
        let object = self.now().objects.get(key);
        assert_eq!(reader.as_ref().map(Reader::info), object.map(|object| &object.info));
        if let (Some(reader), Some(object)) = (reader, object) {
            let expected = Cursor::new(object.value.to_vec());
            self.readers.push((reader, expected));
        }
    }
}

/// The value of an outcome, which has to be `Ok` just if its conditions were met.
fn met<T>(meets: bool, outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => {
            assert!(meets, "a condition that does not hold was passed over");
            Some(value)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Condition, "{error}");
            assert!(!meets, "{error}");
            None
        }
    }
}

fn position<T>(index: Index, of: &[T]) -> Option<usize> {
    (!of.is_empty()).then(|| index.index(of.len()))
}

fn pick<T>(index: Index, of: &[T]) -> Option<&T> {
    position(index, of).map(|at| &of[at])
}

fn take<T>(index: Index, of: &mut Vec<T>) -> Option<T> {
    position(index, of).map(|at| of.swap_remove(at))
}
