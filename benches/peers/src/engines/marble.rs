//! Marble, whose objects have numbers instead of keys: no key is stored, and nothing can be listed.
//!
//! Each batch is a file, so that what is to be durable only at the next sync is put 64 MiB at a time
//! where the workload lets it. Reclaiming is the caller's: `maintenance` again and again, in a thread.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use marble::{Config, Marble};

use super::{Engine, Promise, See};
use crate::Result;
use crate::data::Key;

pub const BULK_BYTES: usize = 64 << 20;

pub const SETTINGS: [&str; 3] = [
    "defaults; numbers for keys, a table in memory; a batch is a file: 64 MiB together where a bulk is put; \
     `maintenance` in a thread of its own",
    "`fsync_each_batch`: the machine's death",
    "the process's death, the machine's after `sync_all`",
];

/// Marble can be cloned for other threads, and not be shared with them: clones that nobody uses, and one
/// to clone.
struct Open {
    idle: Mutex<Vec<Marble>>,
}

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    let fsync_each_batch = promise == Promise::Durable;
    let config = Config { path: dir.to_owned(), fsync_each_batch, ..Config::default() };
    Ok(Box::new(Open { idle: Mutex::new(vec![config.open()?]) }))
}

impl Open {
    fn with<T>(&self, work: impl FnOnce(&Marble) -> std::io::Result<T>) -> Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let marble = {
            let mut idle = idle();
            // The first stays, for others to be cloned of.
            if idle.len() > 1 { idle.pop() } else { idle.first().cloned() }
        };
        let marble = marble.ok_or("no heap")?;
        let result = work(&marble);
        idle().push(marble);
        Ok(result?)
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.with(|marble| marble.write_batch([(key.number, Some(body))]))
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        let puts = puts.iter().map(|(key, body)| (key.number, Some(*body)));
        self.with(|marble| marble.write_batch(puts))
    }

    /// What it gives is a box of the caller's.
    fn get(&self, key: &Key, _buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        let body = self.with(|marble| marble.read(key.number))?;
        body.as_deref().map(see);
        Ok(body.is_some())
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let gone = keys.iter().map(|key| (key.number, None::<&[u8]>));
        self.with(|marble| marble.write_batch(gone))
    }

    fn sync(&self) -> Result<()> {
        self.with(Marble::sync_all)
    }

    fn tidy(&self) -> Result<()> {
        while self.upkeep()? {}
        Ok(())
    }

    /// Files of which nothing lives are found by one pass, and go with a later one.
    fn reclaim(&self) -> Result<()> {
        (0..3).try_for_each(|_| self.tidy())
    }

    fn upkeep(&self) -> Result<bool> {
        Ok(self.with(Marble::maintenance)? > 0)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
