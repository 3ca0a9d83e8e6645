//! sled, flushed behind every write: what is not flushed is in the process's own buffers, and is lost
//! with it. All else is the default.

use ::sled::{Batch, Config, Db, Error};
use kogia_crash::engine::{Capability, Engine, Failure, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, home, text};

pub struct Sled;

struct Open(Db);

impl Engine for Sled {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn about(&self) -> &'static str {
        "sled, flushed behind every write"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint};
        matches!(capability, Batch | Checkpoint)
    }

    fn open(&self, place: &Place, _setup: &Setup) -> Result<Box<dyn Store>> {
        let opened = Config::default().path(home(place)?).open();
        Ok(Box::new(Open(opened.map_err(failure)?)))
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], _how: &How) -> Result<()> {
        self.0.insert(key, value).map_err(failure)?;
        self.sync()
    }

    fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
        let before = self.0.remove(key).map_err(failure)?;
        self.sync()?;
        Ok(before.is_some())
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], _durability: Durability) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in steps {
            match value {
                Some(value) => batch.insert(key.as_str(), value.as_slice()),
                None => batch.remove(key.as_str()),
            }
        }
        self.0.apply_batch(batch).map_err(failure)?;
        self.sync()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key).map_err(failure)?.map(|value| value.to_vec()))
    }

    fn keys(&self) -> Result<Vec<String>> {
        self.0.iter().keys().map(|key| Ok(text(&key.map_err(failure)?))).collect()
    }

    fn sync(&self) -> Result<()> {
        self.0.flush().map(drop).map_err(failure)
    }

    fn checkpoint(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Corruption { .. } => Failure::Damaged(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}
