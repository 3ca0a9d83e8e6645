//! fjall with key-value separation, which its documentation recommends for large values.
//!
//! Blobs are not compressed, since bodies can't be. All else is the default.

use std::path::Path;
use std::time::Duration;

use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    PersistMode,
};

use super::paging::{Ranges, page};
use super::{CACHE_BYTES, Engine, Page, Promise, See};
use crate::Result;
use crate::data::Key;

pub const SETTINGS: [&str; 3] = [
    "key-value separation (from 1 KiB on, its default) without compression of blobs, a cache of 256 MiB",
    "`PersistMode::SyncAll` behind each write: the machine's death",
    "`PersistMode::Buffer`: the process's death, the machine's after `persist(SyncAll)`",
];

struct Open {
    objects: Keyspace,
    database: Database,
    promise: Promise,
}

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    let database = Database::builder(dir).cache_size(CACHE_BYTES as u64).open()?;
    let separation = KvSeparationOptions::default().compression(CompressionType::None);
    let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(separation.clone()));
    let objects = database.keyspace("objects", options)?;
    Ok(Box::new(Open { objects, database, promise }))
}

impl Open {
    fn mode(&self) -> PersistMode {
        match self.promise {
            Promise::Durable => PersistMode::SyncAll,
            Promise::AtSync => PersistMode::Buffer,
        }
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.objects.insert(key.bytes(), body)?;
        if self.promise == Promise::Durable {
            self.sync()?;
        }
        Ok(())
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(self.mode()));
        for (key, body) in puts {
            batch.insert(&self.objects, key.bytes(), *body);
        }
        Ok(batch.commit()?)
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
        let body = self.objects.get(key.bytes())?;
        body.as_deref().map(see);
        Ok(body.is_some())
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(self.mode()));
        keys.iter().for_each(|key| batch.remove(&self.objects, key.bytes()));
        Ok(batch.commit()?)
    }

    fn list(&self, after: Option<&[u8]>, delimited: bool, limit: usize) -> Result<Page> {
        let range = |from: &[u8]| {
            let key = |guard: Guard| Ok(guard.key()?.to_vec());
            Ok(self.objects.range(from.to_vec()..).map(key))
        };
        page(&mut Ranges::new(range), after, delimited, limit)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn tidy(&self) -> Result<()> {
        self.objects.rotate_memtable_and_wait()?;
        // Compactions begin a little later.
        loop {
            std::thread::sleep(Duration::from_millis(100));
            if self.database.outstanding_flushes() + self.database.active_compactions() == 0 {
                return Ok(());
            }
        }
    }

    fn reclaim(&self) -> Result<()> {
        self.objects.rotate_memtable_and_wait()?;
        self.objects.major_compact()?;
        self.tidy()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
