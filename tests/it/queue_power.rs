//! The power cut at every call of a queue's workload, and every call failing once.
//!
//! A model knows what was appended, in order, and how much of it was acknowledged as durable. What
//! is found afterwards is that and a prefix of the rest, each item whole and under its own id.

use std::sync::Arc;
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Fault, Keep, SimIo};
use kogia::queue::{Entry, Id, Queue, QueueOptions, QueueReader};
use kogia::{Durability, ErrorKind, Result};

use crate::machine::value;

const DIR: &str = "/data/events";

enum Step {
    /// An item of so many bytes, durable when it is acknowledged.
    Append(usize),
    /// One that the system has when it is acknowledged.
    Os(usize),
    /// One that is in the buffer.
    Later(usize),
    Batch(&'static [usize]),
    Sync,
    /// Drops what was appended before the item of this number.
    Truncate(usize),
    /// A consumer has dealt with the item of this number.
    Commit(usize),
    Reopen,
}

use Step::{Append, Batch, Commit, Later, Os, Reopen, Sync, Truncate};

/// Tracks of 16 KiB: items that are packed, that go over chunks, and that are larger than a track.
const WORKLOAD: &[Step] = &[
    Append(50),
    Append(0),
    Batch(&[10, 5000, 3000, 4046]),
    Later(50),
    Later(60),
    Append(200),
    Commit(1),
    Os(7000),
    Os(10),
    Append(9000),
    Later(20_000),
    Sync,
    Truncate(4),
    Append(4100),
    Commit(6),
    Reopen,
    Append(5),
    Os(600),
    Later(1),
    Reopen,
    Truncate(11),
    Later(9),
    Append(12_000),
    Append(1000),
];

/// What was appended, and what of it must be there.
#[derive(Default, Clone)]
struct Model {
    items: Vec<(Id, Vec<u8>)>,
    /// So many are durable.
    durable: usize,
    /// Items before this number are truncated, or may be.
    truncated: usize,
    truncating: usize,
    committed: Option<Id>,
    committing: Option<Id>,
}

fn options(io: &SimIo) -> QueueOptions {
    QueueOptions::new()
        .io(Arc::new(io.clone()))
        .track_bytes(16 << 10)
        .buffer_bytes(16 << 10)
        .sync_interval(Duration::from_secs(24 * 3600))
}

fn item(number: usize, len: usize) -> Vec<u8> {
    value(number as u64 + 1, len)
}

struct Run {
    io: SimIo,
    queue: Option<Queue>,
    model: Model,
}

impl Run {
    fn new(io: &SimIo) -> Self {
        Run { io: io.clone(), queue: None, model: Model::default() }
    }

    fn open(&mut self) -> Result<()> {
        self.queue = None;
        self.queue = Some(options(&self.io).open(DIR)?);
        Ok(())
    }

    /// The whole workload, up to the first error.
    fn go(&mut self) -> Result<()> {
        self.open()?;
        WORKLOAD.iter().try_for_each(|step| self.step(step))
    }

    fn append(&mut self, len: usize, append: impl Fn(&Queue, &[u8]) -> Result<Id>) -> Result<()> {
        let queue = self.queue.as_ref().unwrap();
        let number = self.model.items.len();
        let bytes = item(number, len);
        // Whether it is there is open until it is acknowledged; so is its id.
        self.model.items.push((Id(0), bytes.clone()));
        self.model.items[number].0 = append(queue, &bytes)?;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match *step {
            Append(len) => {
                self.append(len, |queue, bytes| queue.append(bytes))?;
                self.model.durable = self.model.items.len();
            }
            Os(len) => {
                self.append(len, |queue, bytes| queue.append_with(bytes, Durability::Os))?;
            }
            Later(len) => self.append(len, |queue, bytes| queue.append_later(bytes))?,
            Batch(lens) => {
                let first = self.model.items.len();
                let numbered = lens.iter().enumerate();
                let items: Vec<_> = numbered.map(|(at, len)| item(first + at, *len)).collect();
                self.model.items.extend(items.iter().map(|item| (Id(0), item.clone())));
                let ids = self.queue.as_ref().unwrap().append_batch(&items)?;
                for (at, id) in ids.into_iter().enumerate() {
                    self.model.items[first + at].0 = id;
                }
                self.model.durable = self.model.items.len();
            }
            Sync => {
                self.queue.as_ref().unwrap().sync()?;
                self.model.durable = self.model.items.len();
            }
            Truncate(number) => {
                self.model.truncating = number;
                let id = self.model.items[number].0;
                self.queue.as_ref().unwrap().truncate_before(id)?;
                self.model.truncated = number;
            }
            Commit(number) => {
                let id = self.model.items[number].0;
                self.model.committing = Some(id);
                self.queue.as_ref().unwrap().consumer("shipper")?.commit(id)?;
                self.model.committed = Some(id);
            }
            Reopen => {
                self.queue.take().unwrap().close()?;
                self.model.durable = self.model.items.len();
                self.open()?;
                let stream = self.queue.as_ref().unwrap().stream(None)?;
                let found: Vec<_> = stream.items().collect::<Result<_>>()?;
                self.model.check(&found);
            }
        }
        Ok(())
    }
}

impl Model {
    /// Fails unless what was found is what may be left.
    #[track_caller]
    fn check(&self, found: &[(Id, Vec<u8>)]) {
        let starts = self.truncated..=self.truncating.max(self.truncated);
        let fits = |start: usize| {
            let left = &self.items[start.min(self.items.len())..];
            found.len() <= left.len()
                && found.len() >= self.durable.saturating_sub(start)
                && found.iter().zip(left).all(|(found, appended)| {
                    found.1 == appended.1 && (appended.0 == Id(0) || found.0 == appended.0)
                })
        };
        assert!(
            starts.clone().any(fits),
            "{} items found, {} were durable, {} appended, from {starts:?} on",
            found.len(),
            self.durable,
            self.items.len(),
        );
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    /// Takes what was found for the truth.
    fn adopt(&mut self, found: Vec<(Id, Vec<u8>)>) {
        self.durable = found.len();
        self.items = found;
        (self.truncated, self.truncating) = (0, 0);
    }
}

fn read(queue: &Queue) -> Vec<(Id, Vec<u8>)> {
    queue.stream(None).unwrap().items().collect::<Result<_>>().unwrap()
}

/// Opens what a cut has left, and goes on with it.
#[track_caller]
fn check_and_go_on(io: &SimIo, model: &Model) {
    let mut model = model.clone();
    let queue = options(io).open(DIR).unwrap();
    let found = read(&queue);
    model.check(&found);
    let consumer = queue.consumer("shipper").unwrap();
    assert!([model.committed, model.committing].contains(&consumer.committed()));
    model.adopt(found);
    let report = queue.verify().unwrap();
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.items as usize, model.items.len());
    assert_eq!(queue.stats().unwrap().items as usize, model.items.len());

    let last = model.items.last().map_or(Id(0), |(id, _)| *id);
    for len in [1, 5000] {
        let bytes = item(1000, len);
        let id = queue.append(&bytes).unwrap();
        assert!(id > last);
        model.items.push((id, bytes));
    }
    assert_eq!(read(&queue), model.items);
    queue.close().unwrap();
    // A reader that knows the files alone.
    let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
    let items: Result<Vec<_>> = reader.stream(None).unwrap().items().collect();
    assert_eq!(items.unwrap(), model.items);
    let queue = options(io).open(DIR).unwrap();
    assert_eq!(read(&queue), model.items);
}

fn calls_of_workload() -> u64 {
    let io = SimIo::new(1);
    let mut run = Run::new(&io);
    run.go().unwrap();
    drop(run);
    io.calls()
}

fn keeps(seed: u64) -> [Keep; 4] {
    [Keep::Nothing, Keep::Everything, Keep::Random(seed), Keep::Random(seed + 1_000_000)]
}

#[test]
fn after_a_power_cut_at_any_call_a_prefix_of_a_queue_is_left_with_all_that_was_acknowledged() {
    let calls = calls_of_workload();
    assert!(calls > 100);
    for call in 0..calls {
        let io = SimIo::new(1);
        io.power_off_at_call(call);
        let mut run = Run::new(&io);
        let _ = run.go();
        let Run { queue, model, .. } = run;
        drop(queue);
        for keep in keeps(call) {
            check_and_go_on(&io.crash(keep), &model);
        }
    }
}

#[test]
fn a_queue_whose_process_is_killed_before_the_power_is_cut_keeps_what_it_has_shown() {
    let calls = calls_of_workload();
    for call in (0..calls).step_by(3) {
        let io = SimIo::new(1);
        io.power_off_at_call(call);
        let mut run = Run::new(&io);
        let _ = run.go();
        let Run { queue, mut model, .. } = run;
        drop(queue);
        let killed = io.kill();
        check_and_go_on(&killed.kill(), &model);
        // What the next process shows is durable by then, wherever that is cut off.
        let queue = options(&killed).open(DIR).unwrap();
        let found = read(&queue);
        model.check(&found);
        model.adopt(found);
        killed.power_off();
        drop(queue);
        for keep in keeps(call) {
            check_and_go_on(&killed.crash(keep), &model);
        }
        for cut in 0..40 {
            let again = io.kill();
            again.power_off_at_call(cut);
            let outcome = options(&again).open(DIR).map(drop);
            let state = again.crash(Keep::Random(cut));
            let queue = options(&state).open(DIR).unwrap();
            drop(queue);
            if outcome.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_call_that_fails_once_costs_a_queue_nothing_that_was_acknowledged() {
    let calls = calls_of_workload();
    for call in 0..calls {
        for fail in [Fail::Eio, Fail::Enospc, Fail::Short(7)] {
            let io = SimIo::new(1);
            io.fail_call(call, fail);
            let mut run = Run::new(&io);
            let _ = run.go();
            let Run { queue, model, .. } = run;
            if let Some(queue) = &queue {
                // Readers go on, and are shown nothing that is not durable.
                let shown = queue.stream(None).unwrap().items().map_while(Result::ok).count();
                assert!(shown <= model.items.len());
            }
            drop(queue);
            io.heal();
            for machine in [io.kill(), io.crash(Keep::Nothing), io.crash(Keep::Random(call))] {
                check_and_go_on(&machine, &model);
            }
        }
    }
}

#[test]
fn a_failed_sync_poisons_a_queue_which_then_ends_where_it_was_durable() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let first = queue.append(b"durable").unwrap();
    io.fail_next(CallKind::Sync, Fail::Eio);
    assert_eq!(queue.append(b"lost").unwrap_err().kind(), ErrorKind::Poisoned);
    // The system would let a second sync succeed.
    assert_eq!(queue.append(b"refused").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(queue.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(read(&queue), [(first, b"durable".to_vec())]);
    drop(queue);
    let queue = options(&io).open(DIR).unwrap();
    assert_eq!(read(&queue), [(first, b"durable".to_vec())]);
    assert!(queue.append(b"again").unwrap() > first);
}

#[test]
fn a_full_disk_refuses_items_and_loses_none() {
    let io = SimIo::new(1);
    io.set_capacity("/data", 200 << 10);
    let queue = options(&io).open(DIR).unwrap();
    let mut items = Vec::new();
    let full = loop {
        let bytes = item(items.len(), 3000);
        match queue.append(&bytes) {
            Ok(id) => items.push((id, bytes)),
            Err(error) => break error,
        }
        assert!(items.len() < 1000);
    };
    assert_eq!(full.kind(), ErrorKind::Full);
    assert!(items.len() > 20);
    assert_eq!(read(&queue), items);
    // What it refuses it does not take, and a smaller one may fit.
    assert_eq!(queue.append(item(0, 100_000)).unwrap_err().kind(), ErrorKind::Full);
    queue.truncate_before(items[10].0).unwrap();
    items.drain(..10);
    let bytes = item(99, 3000);
    items.push((queue.append(&bytes).unwrap(), bytes));
    assert_eq!(read(&queue), items);
    queue.close().unwrap();
    let queue = options(&io).open(DIR).unwrap();
    assert_eq!(read(&queue), items);
}

#[test]
fn a_write_that_finds_no_room_is_made_good_when_there_is_some() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let first = queue.append(b"first").unwrap();
    // As on a file system that copies on write: room that was promised is not there.
    io.fail(Fault::next(CallKind::Write, Fail::Enospc).under(DIR).lasting());
    let taken = queue.append_later(b"taken").unwrap();
    let full = queue.sync().unwrap_err();
    assert!(
        full.kind() == ErrorKind::Full && full.to_string().contains("kept in memory"),
        "{full}"
    );
    let refused = queue.append(b"refused").unwrap_err();
    assert!(!refused.to_string().contains("kept in memory"), "{refused}");
    assert_eq!(queue.append_later(b"refused").unwrap_err().kind(), ErrorKind::Full);
    io.heal();
    let last = queue.append(b"last").unwrap();
    let expected = [(first, &b"first"[..]), (taken, b"taken"), (last, b"last")];
    assert_eq!(read(&queue), expected.map(|(id, item)| (id, item.to_vec())));
}

#[test]
fn a_reader_is_told_where_a_crash_cut_writing_off() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let first = queue.append(b"first").unwrap();
    queue.append_with(b"not durable", Durability::Os).unwrap();
    let mut ahead = queue.stream(None).unwrap().read_uncommitted(true);
    let items = [ahead.next().unwrap().is_some(), ahead.next().unwrap().is_some()];
    assert_eq!(items, [true, true]);
    io.power_off();
    drop((queue, ahead));
    let io = io.crash(Keep::Nothing);
    let queue = options(&io).open(DIR).unwrap();
    let mut stream = queue.stream(None).unwrap();
    assert_eq!(stream.next().unwrap(), Some(Entry::Item(first, b"first")));
    assert!(matches!(stream.next().unwrap(), Some(Entry::Cut(at)) if at > first));
    assert_eq!(stream.next().unwrap(), None);
    // The lost item's id is not given out again.
    let second = queue.append(b"second").unwrap();
    assert!(second.track() > first.track());
    assert_eq!(stream.next().unwrap(), Some(Entry::Item(second, b"second")));
}

/// Symptom: after a power cut an item was given the id of one that the cut had taken.
/// Cause: a track with nothing but a header was gone on with, and nothing durable said that ids in it
/// had been given out.
/// Rule: the first room in a track is durable before an id in it is given out.
#[test]
fn an_id_that_a_crash_has_taken_is_not_given_out_again() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let lost = queue.append_later(b"in the buffer").unwrap();
    io.power_off();
    drop(queue);
    let io = io.crash(Keep::Nothing);
    for _ in 0..2 {
        // Also where the next process dies before anything was appended.
        drop(options(&io.kill()).open(DIR).unwrap());
    }
    let queue = options(&io).open(DIR).unwrap();
    assert!(queue.append(b"another").unwrap() > lost);
}

/// Symptom: readers in other processes were shown an item whose sync had failed, and which was gone
/// when the queue was opened again.
/// Cause: closing synced once more, with success, and `TAIL` said that all was durable.
/// Rule: after a failed sync nothing is synced any more, nor told.
#[test]
fn closing_does_not_try_a_failed_sync_again() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let first = queue.append(b"durable").unwrap();
    io.fail_next(CallKind::Sync, Fail::Eio);
    queue.append(b"lost").unwrap_err();
    drop(queue);
    let reader = QueueReader::open_on(Arc::new(io.clone()), DIR).unwrap();
    let shown: Result<Vec<_>> = reader.stream(None).unwrap().items().collect();
    assert_eq!(shown.unwrap(), [(first, b"durable".to_vec())]);
}

/// Symptom: a queue opened, and its next item's track could not be read: its header was a hole.
/// Cause: the header's sync had failed, so that it was in memory only; it was looked at before the
/// cached pages were dropped.
/// Rule: a track that was not closed is synced and read anew before anything of it is believed.
#[test]
fn a_header_that_a_failed_sync_has_dropped_is_not_believed() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let first = queue.append(b"first").unwrap();
    io.power_off();
    drop(queue);
    let io = io.crash(Keep::Everything);
    // The track's own, the one behind cutting it off, and the next track's header.
    io.fail(Fault::nth(CallKind::Sync, 2, Fail::Eio));
    io.fail(Fault::next(CallKind::Remove, Fail::Eio).lasting());
    options(&io).open(DIR).unwrap_err();
    let io = io.kill();
    let queue = options(&io).open(DIR).unwrap();
    let second = queue.append(b"second").unwrap();
    let expected = [(first, b"first".to_vec()), (second, b"second".to_vec())];
    assert_eq!(read(&queue), expected);
    queue.close().unwrap();
    assert_eq!(read(&options(&io).open(DIR).unwrap()), expected);
}

/// Symptom: a consumer was told what it had committed, and a power cut took that back.
/// Cause: the process before was killed between renaming and syncing the directory; and committing
/// again what is committed already does nothing.
/// Rule: what a consumer is told is durable.
#[test]
fn what_a_consumer_has_committed_when_it_is_asked_is_durable() {
    let io = SimIo::new(1);
    let queue = options(&io).open(DIR).unwrap();
    let ids = queue.append_batch(["a", "b"]).unwrap();
    queue.consumer("shipper").unwrap().commit(ids[0]).unwrap();
    queue.close().unwrap();
    for call in 0.. {
        let killed = io.kill();
        let reader = QueueReader::open_on(Arc::new(killed.clone()), DIR).unwrap();
        let mut consumer = reader.consumer("shipper").unwrap();
        killed.power_off_at_call(killed.calls() + call);
        let committed = consumer.commit(ids[1]);
        let killed = killed.kill();
        let reader = QueueReader::open_on(Arc::new(killed.clone()), DIR).unwrap();
        let told = reader.consumer("shipper").unwrap().committed();
        let after = killed.crash(Keep::Nothing);
        let reader = QueueReader::open_on(Arc::new(after), DIR).unwrap();
        assert_eq!(reader.consumer("shipper").unwrap().committed(), told, "call {call}");
        if committed.is_ok() {
            break;
        }
    }
}

/// Symptom: retention by bytes dropped items that were within the limit.
/// Cause: what a crash leaves of the room that was taken ahead counted as if it were items.
/// Rule: recovery gives it back, durably.
#[test]
fn room_that_was_taken_ahead_comes_back_after_a_crash() {
    let io = SimIo::new(1);
    let open = |io: &SimIo| options(io).track_bytes(1 << 20).open(DIR).unwrap();
    let queue = open(&io);
    queue.append(b"an item").unwrap();
    assert!(queue.stats().unwrap().file_bytes >= 1 << 20);
    io.power_off();
    drop(queue);
    let io = io.crash(Keep::Everything);
    let queue = open(&io);
    assert!(queue.stats().unwrap().file_bytes <= 4 * 4096);
    io.power_off();
    drop(queue);
    let queue = open(&io.crash(Keep::Nothing));
    assert!(queue.stats().unwrap().file_bytes <= 4 * 4096);
}
