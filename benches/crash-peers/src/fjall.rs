//! fjall: `PersistMode::SyncAll` behind what is to be durable, its default, the operating system's
//! buffers, for what is not. All else is the default, but for the sizes of the workload.

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use kogia_crash::engine::{Capability, Engine, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, failed, home, text};

pub struct Fjall;

struct Open {
    objects: Keyspace,
    database: Database,
}

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn about(&self) -> &'static str {
        "fjall, its journal synced where a write is to be durable"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint};
        matches!(capability, Batch | Checkpoint)
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let database = Database::builder(home(place)?).open().map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(setup.file_bytes);
        let objects = database.keyspace("objects", options).map_err(failed)?;
        Ok(Box::new(Open { objects, database }))
    }
}

impl Open {
    fn persist(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Sync => self.sync(),
            Durability::Os => Ok(()),
        }
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        self.objects.insert(key, value).map_err(failed)?;
        self.persist(how.durability)
    }

    fn delete(&self, key: &str, durability: Durability) -> Result<bool> {
        if !self.objects.contains_key(key).map_err(failed)? {
            return Ok(false);
        }
        self.objects.remove(key).map_err(failed)?;
        self.persist(durability)?;
        Ok(true)
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Result<()> {
        let mode = match durability {
            Durability::Sync => PersistMode::SyncAll,
            Durability::Os => PersistMode::Buffer,
        };
        let mut batch = self.database.batch().durability(Some(mode));
        for (key, value) in steps {
            match value {
                Some(value) => batch.insert(&self.objects, key.as_str(), value.as_slice()),
                None => batch.remove(&self.objects, key.as_str()),
            }
        }
        batch.commit().map_err(failed)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.objects.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    fn keys(&self) -> Result<Vec<String>> {
        let all = self.objects.iter();
        all.map(|entry| Ok(text(&entry.key().map_err(failed)?))).collect()
    }

    fn sync(&self) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(failed)
    }

    /// Memtables go to tables by themselves when they are full, and tables are compacted.
    fn checkpoint(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
