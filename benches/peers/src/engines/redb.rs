//! redb, a transaction a write.
//!
//! Transactions are dear, so that what is to be durable only at the next sync is put 16 MiB at a time
//! where the workload lets it, and with `Durability::None`.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::paging::{Ranges, page};
use super::{CACHE_BYTES, Engine, Page, Promise, See};
use crate::Result;
use crate::data::Key;

pub const BULK_BYTES: usize = 16 << 20;
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");

pub const SETTINGS: [&str; 3] = [
    "a cache of 256 MiB; a transaction for each put or batch; 16 MiB together where a bulk is put",
    "`Durability::Immediate`: the machine's death",
    "`Durability::None`: nothing, either death after a commit with `Immediate`",
];

struct Open {
    database: Database,
    durability: Durability,
}

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(dir)?;
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("objects.redb"))?;
    let durability = match promise {
        Promise::Durable => Durability::Immediate,
        Promise::AtSync => Durability::None,
    };
    let open = Open { database, durability };
    // So that there is the table.
    open.commit(Durability::Immediate, std::iter::empty())?;
    Ok(Box::new(open))
}

impl Open {
    fn commit<'a>(
        &self,
        durability: Durability,
        steps: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for (key, body) in steps {
                match body {
                    Some(body) => table.insert(key, body)?,
                    None => table.remove(key)?,
                };
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.commit(self.durability, std::iter::once((key.bytes(), Some(body))))
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        self.commit(self.durability, puts.iter().map(|(key, body)| (key.bytes(), Some(*body))))
    }

    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        self.borrow(key, &mut |body| {
            buffer.clear();
            buffer.extend_from_slice(body);
            see(buffer);
        })
    }

    fn borrow(&self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let table = self.database.begin_read()?.open_table(OBJECTS)?;
        let Some(body) = table.get(key.bytes())? else { return Ok(false) };
        see(body.value());
        Ok(true)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        self.commit(self.durability, keys.iter().map(|key| (key.bytes(), None)))
    }

    fn list(&self, after: Option<&[u8]>, delimited: bool, limit: usize) -> Result<Page> {
        let table = self.database.begin_read()?.open_table(OBJECTS)?;
        let range = |from: &[u8]| {
            let entries = table.range(from..)?;
            Ok(entries.map(|entry| Ok(entry?.0.value().to_vec())))
        };
        page(&mut Ranges::new(range), after, delimited, limit)
    }

    fn sync(&self) -> Result<()> {
        self.commit(Durability::Immediate, std::iter::empty())
    }

    /// Freed pages are used again; its `compact` needs the database for itself alone.
    fn tidy(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
