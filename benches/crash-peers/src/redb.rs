//! redb, a transaction a write, with `Durability::Immediate`, its default, for all of them: what it
//! offers below that is lost when the process dies. One-phase commits, its default, too.

use std::sync::{RwLock, RwLockReadGuard};

use ::redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};
use kogia_crash::engine::{Capability, Engine, Failure, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, failed, home};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");

pub struct Redb;

struct Open(RwLock<Database>);

impl Engine for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn about(&self) -> &'static str {
        "redb, a transaction a write, each of them durable at once"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint, Compact};
        matches!(capability, Batch | Checkpoint | Compact)
    }

    fn open(&self, place: &Place, _setup: &Setup) -> Result<Box<dyn Store>> {
        let opened = Database::create(home(place)?.join("objects.redb"));
        let database = opened.map_err(|error| match error {
            DatabaseError::Storage(StorageError::Corrupted(what)) => Failure::Damaged(what),
            error => failed(error),
        })?;
        Ok(Box::new(Open(RwLock::new(database))))
    }
}

impl Open {
    fn database(&self) -> RwLockReadGuard<'_, Database> {
        self.0.read().expect("no panic holds it")
    }

    /// Carries steps out in one transaction; gives whether any of them changed something.
    fn write(&self, steps: &[(&str, Option<&[u8]>)]) -> Result<bool> {
        let transaction = self.database().begin_write().map_err(failed)?;
        let mut changed = false;
        {
            let mut table = transaction.open_table(OBJECTS).map_err(failed)?;
            for (key, value) in steps {
                let before = match value {
                    Some(value) => table.insert(key, value),
                    None => table.remove(key),
                };
                changed |= before.map_err(failure)?.is_some() || value.is_some();
            }
        }
        transaction.commit().map_err(failed)?;
        Ok(changed)
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], _how: &How) -> Result<()> {
        self.write(&[(key, Some(value))]).map(drop)
    }

    fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
        self.write(&[(key, None)])
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], _durability: Durability) -> Result<()> {
        let steps: Vec<_> =
            steps.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        self.write(&steps).map(drop)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let transaction = self.database().begin_read().map_err(failed)?;
        match transaction.open_table(OBJECTS) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            table => {
                let value = table.map_err(failed)?.get(key).map_err(failure)?;
                Ok(value.map(|value| value.value().to_vec()))
            }
        }
    }

    fn keys(&self) -> Result<Vec<String>> {
        let transaction = self.database().begin_read().map_err(failed)?;
        match transaction.open_table(OBJECTS) {
            Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
            table => {
                let table = table.map_err(failed)?;
                let all = table.iter().map_err(failure)?;
                all.map(|entry| Ok(entry.map_err(failure)?.0.value().to_owned())).collect()
            }
        }
    }

    /// Everything is durable already.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        self.sync()
    }

    fn compact(&self) -> Result<()> {
        self.0.write().expect("no panic holds it").compact().map(drop).map_err(failed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn failure(error: StorageError) -> Failure {
    match error {
        StorageError::Corrupted(what) => Failure::Damaged(what),
        error => failed(error),
    }
}
