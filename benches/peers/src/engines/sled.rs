//! sled in the mode for throughput, flushed where a write is to be durable.
//!
//! Its `flush` calls `sync_file_range`, which flushes neither the device's cache nor the file's length:
//! that is less than the others promise, so that it counts for no ratio where durable puts are compared.

use std::path::Path;

use sled::{Batch, Config, Db, Mode};

use super::paging::{Ranges, page};
use super::{CACHE_BYTES, Engine, Page, Promise, See};
use crate::Result;
use crate::data::Key;

pub const SETTINGS: [&str; 3] = [
    "`Mode::HighThroughput`, a cache of 256 MiB; else the defaults",
    "`flush` behind each write, which on Linux is a `sync_file_range`: the process's death, and the \
     machine's only where the device loses no cache and the file did not grow: **weaker than the others**",
    "nothing, the same after `flush`, which comes by itself every 500 ms",
];

struct Open {
    db: Db,
    promise: Promise,
}

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    let db = Config::default()
        .path(dir)
        .mode(Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES as u64)
        .open()?;
    Ok(Box::new(Open { db, promise }))
}

impl Open {
    fn keep(&self) -> Result<()> {
        if self.promise == Promise::Durable { self.sync() } else { Ok(()) }
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.db.insert(key.bytes(), body)?;
        self.keep()
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = Batch::default();
        puts.iter().for_each(|(key, body)| batch.insert(key.bytes(), *body));
        self.db.apply_batch(batch)?;
        self.keep()
    }

    /// What it gives it may share with its cache.
    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        self.borrow(key, &mut |body| {
            buffer.clear();
            buffer.extend_from_slice(body);
            see(buffer);
        })
    }

    fn borrow(&self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let body = self.db.get(key.bytes())?;
        body.as_deref().map(see);
        Ok(body.is_some())
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = Batch::default();
        keys.iter().for_each(|key| batch.remove(key.bytes()));
        self.db.apply_batch(batch)?;
        self.keep()
    }

    fn list(&self, after: Option<&[u8]>, delimited: bool, limit: usize) -> Result<Page> {
        let range = |from: &[u8]| {
            let entries = self.db.range(from.to_vec()..);
            Ok(entries.map(|entry| Ok(entry?.0.to_vec())))
        };
        page(&mut Ranges::new(range), after, delimited, limit)
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    fn tidy(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
