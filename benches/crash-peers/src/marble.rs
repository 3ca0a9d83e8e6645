//! Marble, with `fsync_each_batch`: each write is a batch, and durable when it returns.
//!
//! Its objects have small numbers instead of keys, and are not listed in the order of any key. So an
//! object holds its key, too, and which number has which key is gathered when it is opened.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use ::marble::Config;
use kogia_crash::engine::{Capability, Engine, Failure, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, failed, home, text};

/// Behind it the value begins; no key has it.
const END_OF_KEY: u8 = 0;

pub struct Marble;

/// Marble can be cloned for other threads, and not be shared with them.
struct Open(Mutex<Heap>);

struct Heap {
    marble: ::marble::Marble,
    /// The number of each key that is there.
    numbers: BTreeMap<String, u64>,
}

impl Engine for Marble {
    fn name(&self) -> &'static str {
        "marble"
    }

    fn about(&self) -> &'static str {
        "Marble, each batch synced; the keys are in the objects"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        use Capability::{Batch, Checkpoint, Compact};
        matches!(capability, Batch | Checkpoint | Compact)
    }

    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let config = Config {
            path: home(place)?,
            fsync_each_batch: true,
            target_file_size: setup.file_bytes as usize,
            ..Config::default()
        };
        let marble = config.open().map_err(failed)?;
        let numbers = gather(&marble)?;
        Ok(Box::new(Open(Mutex::new(Heap { marble, numbers }))))
    }
}

fn gather(marble: &::marble::Marble) -> Result<BTreeMap<String, u64>> {
    let key = |number: u64| match marble.read(number).map_err(failed) {
        Ok(Some(object)) => Some(split(&object).map(|(key, _)| (key, number))),
        // What was deleted is listed, too, behind an opening.
        Ok(None) => None,
        Err(failure) => Some(Err(failure)),
    };
    marble.allocated_object_ids().filter_map(key).collect()
}

/// An object's key and value.
fn split(object: &[u8]) -> Result<(String, &[u8])> {
    let mut halves = object.splitn(2, |byte| *byte == END_OF_KEY);
    let (Some(key), Some(value)) = (halves.next(), halves.next()) else {
        return Err(Failure::Damaged("an object without a key".to_owned()));
    };
    Ok((text(key), value))
}

fn join(key: &str, value: &[u8]) -> Vec<u8> {
    [key.as_bytes(), &[END_OF_KEY], value].concat()
}

impl Heap {
    /// Carries steps out in one batch; gives whether there was anything to do.
    fn write(&mut self, steps: &[(&str, Option<&[u8]>)]) -> Result<bool> {
        let mut after = self.numbers.clone();
        let mut objects: BTreeMap<u64, Option<Vec<u8>>> = BTreeMap::new();
        let mut next = after.values().max().map_or(0, |last| last + 1);
        for (key, value) in steps {
            match value {
                Some(value) => {
                    let number = *after.entry((*key).to_owned()).or_insert(next);
                    next = next.max(number + 1);
                    objects.insert(number, Some(join(key, value)));
                }
                None => {
                    if let Some(number) = after.remove(*key) {
                        objects.insert(number, None);
                    }
                }
            }
        }
        if objects.is_empty() {
            return Ok(false);
        }
        self.marble.write_batch(objects).map_err(failed)?;
        self.numbers = after;
        Ok(true)
    }
}

impl Open {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.0.lock().expect("no panic holds it")
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], _how: &How) -> Result<()> {
        self.heap().write(&[(key, Some(value))]).map(drop)
    }

    fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
        self.heap().write(&[(key, None)])
    }

    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], _durability: Durability) -> Result<()> {
        let steps: Vec<_> =
            steps.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        self.heap().write(&steps).map(drop)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let heap = self.heap();
        let Some(number) = heap.numbers.get(key) else { return Ok(None) };
        let object = heap.marble.read(*number).map_err(failed)?;
        object.map(|object| Ok(split(&object)?.1.to_vec())).transpose()
    }

    fn keys(&self) -> Result<Vec<String>> {
        Ok(self.heap().numbers.keys().cloned().collect())
    }

    fn sync(&self) -> Result<()> {
        self.heap().marble.sync_all().map_err(failed)
    }

    fn checkpoint(&self) -> Result<()> {
        self.sync()
    }

    fn compact(&self) -> Result<()> {
        self.heap().marble.maintenance().map(drop).map_err(failed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
