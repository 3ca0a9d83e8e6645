//! RocksDB, with its write-ahead log: `WriteOptions::sync` for what is to be durable, the log in the
//! operating system's hands for what is not. All else is the default, but for the sizes of the workload.

use ::rocksdb::{DB, Error, ErrorKind, IteratorMode, Options, WriteBatch, WriteOptions};
use kogia_crash::engine::{Capability, Engine, Failure, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, home, text};

pub struct RocksDb;

struct Open(DB);

impl Engine for RocksDb {
    fn name(&self) -> &'static str {
        "rocksdb"
    }

    fn about(&self) -> &'static str {
        "RocksDB with its log, synced where a write is to be durable"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint, Compact};
        matches!(capability, Batch | Checkpoint | Compact)
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(setup.file_bytes as usize);
        options.set_target_file_size_base(setup.file_bytes);
        Ok(Box::new(Open(DB::open(&options, home(place)?).map_err(failure)?)))
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        self.0.put_opt(key, value, &write_options(how.durability)).map_err(failure)
    }

    fn delete(&self, key: &str, durability: Durability) -> Result<bool> {
        if self.0.get_pinned(key).map_err(failure)?.is_none() {
            return Ok(false);
        }
        self.0.delete_opt(key, &write_options(durability)).map_err(failure)?;
        Ok(true)
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in steps {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.0.write_opt(batch, &write_options(durability)).map_err(failure)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(key).map_err(failure)
    }

    fn keys(&self) -> Result<Vec<String>> {
        let all = self.0.iterator(IteratorMode::Start);
        all.map(|entry| Ok(text(&entry.map_err(failure)?.0))).collect()
    }

    fn sync(&self) -> Result<()> {
        self.0.flush_wal(true).map_err(failure)
    }

    fn checkpoint(&self) -> Result<()> {
        self.0.flush().map_err(failure)
    }

    /// It does not say whether it went well: what is acknowledged here is that all is durable.
    fn compact(&self) -> Result<()> {
        self.0.compact_range::<&[u8], &[u8]>(None, None);
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn write_options(durability: Durability) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(durability == Durability::Sync);
    options
}

fn failure(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::Corruption => Failure::Damaged(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}
