//! Kogia's queue, through its public interface.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::kogia::ErrorKind;
use ::kogia::io::{Io, RealIo};
use ::kogia::queue::{self, Id, QueueOptions, QueueReader, Rewrite, Stream};

use super::kogia::{NEVER, level as durability};
use super::{
    Capability, Consumed, Decision, Engine, Entry, Failure, Level, Place, Promises, Queue, Result,
    Setup, Store, View,
};
use crate::operation::{Durability, How};

/// What waits to be written, at least: a file's worth, but for the smallest.
const LEAST_BUFFER_BYTES: usize = 32 << 10;

/// Kogia's queue, in the settings of [`Setup`].
pub struct KogiaQueue;

/// A queue that is open.
struct Open {
    queue: queue::Queue,
    io: Arc<dyn Io>,
}

impl Engine for KogiaQueue {
    fn name(&self) -> &'static str {
        "kogia-queue"
    }

    fn about(&self) -> &'static str {
        "this project's own queue"
    }

    fn promises(&self) -> Promises {
        Promises { loses_suffixes: true, failed_is_gone: false, survives_errors: true }
    }

    fn has(&self, capability: Capability) -> bool {
        matches!(capability, Capability::Queue | Capability::Simulated)
    }

    fn has_keys(&self) -> bool {
        false
    }

    fn glimpse(&self, place: &Place) -> Result<Option<Vec<Entry>>> {
        match reader(&io(place), &place.home) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            reader => read(reader?.stream(None)?).map(Some),
        }
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        open(place, setup, false)
    }

    fn open_damaged(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        open(place, setup, true)
    }
}

/// Nothing happens by the clock: a recorded run is to be the same when it is run again.
fn open(place: &Place, setup: &Setup, accept_loss: bool) -> Result<Box<dyn Store>> {
    let io = io(place);
    let clock = place.clock.clone();
    let file_bytes = u32::try_from(setup.file_bytes).unwrap_or(u32::MAX);
    let queue = QueueOptions::new()
        .io(io.clone())
        .clock(move || clock.now_ms())
        .track_bytes(file_bytes)
        .buffer_bytes(LEAST_BUFFER_BYTES.max(file_bytes as usize))
        .sync_interval(NEVER)
        .max_age(setup.retention.max_age_ms.map(Duration::from_millis))
        .max_bytes(setup.retention.max_bytes)
        .accept_loss(accept_loss)
        .open(&place.home)?;
    Ok(Box::new(Open { queue, io }))
}

fn io(place: &Place) -> Arc<dyn Io> {
    place.io.clone().unwrap_or_else(|| Arc::new(RealIo))
}

fn reader(io: &Arc<dyn Io>, dir: &Path) -> ::kogia::Result<QueueReader> {
    QueueReader::open_on(io.clone(), dir)
}

fn read(mut stream: Stream) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some(entry) = stream.next()? {
        entries.push(owned(entry));
    }
    Ok(entries)
}

fn owned(entry: queue::Entry<'_>) -> Entry {
    match entry {
        queue::Entry::Item(id, item) => Entry::Item(id.0, item.to_vec()),
        queue::Entry::Cut(id) => Entry::Cut(id.0),
        queue::Entry::Lost(from, to) => Entry::Lost(from.0, to.0),
    }
}

impl Store for Open {
    fn put(&self, _key: &str, _value: &[u8], _how: &How) -> Result<()> {
        Err(Failure::Unsupported)
    }

    fn delete(&self, _key: &str, _durability: Durability) -> Result<bool> {
        Err(Failure::Unsupported)
    }

    fn get(&self, _key: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn keys(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.queue.sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.queue.close()?)
    }

    fn queue(&self) -> Option<&dyn Queue> {
        Some(self)
    }

    fn verify(&self) -> Result<Vec<String>> {
        let before = self.queue.stats()?;
        let report = self.queue.verify()?;
        let after = self.queue.stats()?;
        let mut problems = report.problems;
        // Old items may go meanwhile.
        if before == after && report.items != after.items {
            let (read, counted) = (report.items, after.items);
            problems.push(format!("{read} items are read, and {counted} are counted"));
        }
        Ok(problems)
    }
}

impl Queue for Open {
    fn append(&self, item: &[u8], level: Level) -> Result<u64> {
        let id = match level {
            Level::Sync => self.queue.append_with(item, durability(Durability::Sync))?,
            Level::Os => self.queue.append_with(item, durability(Durability::Os))?,
            Level::Later => self.queue.append_later(item)?,
        };
        Ok(id.0)
    }

    fn append_batch(&self, items: &[Vec<u8>]) -> Result<Vec<u64>> {
        Ok(self.queue.append_batch(items)?.into_iter().map(|id| id.0).collect())
    }

    fn read(&self, view: View) -> Result<Vec<Entry>> {
        let all = || self.queue.stream(None);
        read(match view {
            View::Owner => all()?,
            View::Ahead => all()?.read_uncommitted(true),
            View::Salvaged => all()?.accept_loss(true),
            View::Beside => reader(&self.io, self.queue.dir())?.stream(None)?,
        })
    }

    fn truncate(&self, items: usize) -> Result<u64> {
        let mut stream = self.queue.stream(None)?;
        let mut passed = 0;
        let before = loop {
            match stream.next()? {
                Some(queue::Entry::Item(id, _)) if passed == items => break id,
                Some(queue::Entry::Item(..)) => passed += 1,
                Some(_) => {}
                None => break self.queue.durable_end(),
            }
        };
        self.queue.truncate_before(before)?;
        Ok(before.0)
    }

    fn truncate_all(&self) -> Result<u64> {
        let before = Id(u64::MAX);
        self.queue.truncate_before(before)?;
        Ok(before.0)
    }

    fn consume(&self, name: &str, items: usize) -> Result<Consumed> {
        let mut consumer = self.queue.consumer(name)?;
        let before = consumer.committed().map(|id| id.0);
        let (mut read, mut last) = (Vec::new(), None);
        while read.len() < items {
            match consumer.next()? {
                Some(queue::Entry::Item(id, item)) => {
                    read.push(Entry::Item(id.0, item.to_vec()));
                    last = Some(id);
                }
                Some(_) => {}
                None => break,
            }
        }
        if let Some(last) = last {
            consumer.commit(last)?;
        }
        Ok(Consumed { before, read, committed: last.map(|id| id.0) })
    }

    fn rewrite(
        &self,
        skip: usize,
        items: usize,
        decide: &mut dyn FnMut(u64, &[u8]) -> Decision,
    ) -> Result<()> {
        self.queue.sync()?;
        let ids = self.queue.stream(None)?.items().map(|item| Ok(item?.0));
        let ids = ids.skip(skip).take(items).collect::<::kogia::Result<Vec<Id>>>()?;
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
        self.queue.rewrite(*first..=*last, |id, item| match decide(id.0, item) {
            Decision::Keep => Rewrite::Keep,
            Decision::Drop => Rewrite::Drop,
            Decision::Replace(bytes) => Rewrite::Replace(bytes),
        })?;
        Ok(())
    }

    fn consumers(&self) -> Result<Vec<(String, u64)>> {
        let consumers = self.queue.consumers()?;
        Ok(consumers.into_iter().map(|(name, id)| (name, id.0)).collect())
    }
}
