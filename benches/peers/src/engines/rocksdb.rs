//! RocksDB by its wiki's "Setup Options and Basic Tuning", with and without integrated BlobDB.
//!
//! The tuning page's settings, Bloom filters, its default memtables, and for
//! BlobDB garbage collection and blobs from 1 KiB on. There is no compression in this build: bodies
//! can't be compressed anyway.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBRawIterator, Options, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};

use super::paging::{Cursor, page};
use super::{CACHE_BYTES, Engine, Page, Promise, See};
use crate::Result;
use crate::data::Key;

const BLOB_BYTES: u64 = 1 << 10;

pub const SETTINGS: [&str; 3] = [
    "the wiki's basic tuning: blocks of 16 KiB, Bloom filters of 10 bits, index and filters cached, \
     `bytes_per_sync` of 1 MiB, `max_background_jobs` 6, a block cache of 256 MiB; log on",
    "`WriteOptions::sync`: the machine's death",
    "log not synced: the process's death, the machine's after `flush_wal(true)`",
];
pub const BLOB_SETTINGS: [&str; 3] = [
    "the same, with blob files from 1 KiB on and their garbage collection",
    SETTINGS[1],
    SETTINGS[2],
];

/// Where values lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Values {
    InTables,
    InBlobs,
}

struct Open {
    db: DB,
    write: Promise,
}

pub fn open(dir: &Path, promise: Promise, values: Values) -> Result<Box<dyn Engine>> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_block_size(16 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_max_background_jobs(6);
    options.set_bytes_per_sync(1 << 20);
    if values == Values::InBlobs {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_BYTES);
        options.set_enable_blob_gc(true);
    }
    Ok(Box::new(Open { db: DB::open(&options, dir)?, write: promise }))
}

impl Open {
    fn write_options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(self.write == Promise::Durable);
        options
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key.bytes(), body, &self.write_options())?)
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, body) in puts {
            batch.put(key.bytes(), body);
        }
        Ok(self.db.write_opt(batch, &self.write_options())?)
    }

    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        self.borrow(key, &mut |body| {
            buffer.clear();
            buffer.extend_from_slice(body);
            see(buffer);
        })
    }

    fn borrow(&self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let pinned = self.db.get_pinned(key.bytes())?;
        pinned.as_deref().map(see);
        Ok(pinned.is_some())
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = WriteBatch::default();
        keys.iter().for_each(|key| batch.delete(key.bytes()));
        Ok(self.db.write_opt(batch, &self.write_options())?)
    }

    fn list(&self, after: Option<&[u8]>, delimited: bool, limit: usize) -> Result<Page> {
        page(&mut self.db.raw_iterator(), after, delimited, limit)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn tidy(&self) -> Result<()> {
        self.db.flush()?;
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn reclaim(&self) -> Result<()> {
        self.db.flush()?;
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        self.tidy()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

impl Cursor for DBRawIterator<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        DBRawIterator::seek(self, key);
        Ok(self.status()?)
    }

    fn next(&mut self) -> Result<()> {
        DBRawIterator::next(self);
        Ok(self.status()?)
    }

    fn key(&self) -> Option<&[u8]> {
        DBRawIterator::key(self)
    }
}
