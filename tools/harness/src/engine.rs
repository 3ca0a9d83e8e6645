//! What a storage engine has to offer to be broken here.
//!
//! An engine opens a directory and carries out operations. What it does not have, it does not
//! implement: those calls answer [`Failure::Unsupported`], and workloads that need them are not
//! run on it.
//!
//! # Examples
//!
//! An engine that keeps nothing, and would be found out:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Mutex;
//!
//! use kogia_crash::engine::{Capability, Engine, Place, Promises, Result, Setup, Store};
//! use kogia_crash::{Durability, How};
//!
//! struct Forgetful;
//!
//! #[derive(Default)]
//! struct Open(Mutex<BTreeMap<String, Vec<u8>>>);
//!
//! impl Engine for Forgetful {
//!     fn name(&self) -> &'static str {
//!         "forgetful"
//!     }
//!
//!     fn about(&self) -> &'static str {
//!         "a map in memory"
//!     }
//!
//!     fn promises(&self) -> Promises {
//!         Promises { loses_suffixes: false, failed_is_gone: false, survives_errors: false }
//!     }
//!
//!     fn has(&self, _capability: Capability) -> bool {
//!         false
//!     }
//!
//!     fn open(&self, _place: &Place, _setup: &Setup) -> Result<Box<dyn Store>> {
//!         Ok(Box::new(Open::default()))
//!     }
//! }
//!
//! impl Store for Open {
//!     fn put(&self, key: &str, value: &[u8], _how: &How) -> Result<()> {
//!         self.0.lock().unwrap().insert(key.to_owned(), value.to_owned());
//!         Ok(())
//!     }
//!
//!     fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
//!         Ok(self.0.lock().unwrap().remove(key).is_some())
//!     }
//!
//!     fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
//!         Ok(self.0.lock().unwrap().get(key).cloned())
//!     }
//!
//!     fn keys(&self) -> Result<Vec<String>> {
//!         Ok(self.0.lock().unwrap().keys().cloned().collect())
//!     }
//!
//!     fn sync(&self) -> Result<()> {
//!         Ok(())
//!     }
//!
//!     fn close(self: Box<Self>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! // A program of one's own: `kogia_crash::main(&[&Forgetful])`.
//! let place = Place::below(std::path::Path::new("/nowhere"), 1, 0);
//! let store = Forgetful.open(&place, &Setup::default())?;
//! store.put("a", b"b", &How::SYNC)?;
//! assert_eq!(store.get("a")?, Some(b"b".to_vec()));
//! # Ok::<(), kogia_crash::engine::Failure>(())
//! ```

pub mod kogia;
pub mod kogia_queue;
pub mod kogia_server;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::kogia::io::Io;
use serde::{Deserialize, Serialize};

use crate::operation::{Durability, How, Print, Upload};

/// The engine of a name.
pub(crate) fn by_name<'a>(engines: &[&'a dyn Engine], name: &str) -> Option<&'a dyn Engine> {
    engines.iter().copied().find(|engine| engine.name() == name)
}

/// What a call on an engine answers.
pub type Result<T> = std::result::Result<T, Failure>;

/// An engine, not open.
pub trait Engine: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn about(&self) -> &'static str;

    /// What it promises beyond what every engine does.
    fn promises(&self) -> Promises;

    /// Whether it has something that not every engine has.
    fn has(&self, capability: Capability) -> bool;

    /// Whether it stores objects by keys; where not, it is put into no workload that has them.
    fn has_keys(&self) -> bool {
        true
    }

    /// What somebody who does not own the queue at `place` reads in it before anybody opens it;
    /// nothing where there is none.
    fn glimpse(&self, place: &Place) -> Result<Option<Vec<Entry>>> {
        let _ = place;
        Ok(None)
    }

    /// Opens what is at `place`, or makes it.
    fn open(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>>;

    /// Opens it with everything made anew that can be derived.
    fn rebuild(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let _ = (place, setup);
        Err(Failure::Unsupported)
    }

    /// Opens it in spite of damage to what was acknowledged, without what is damaged.
    fn open_damaged(&self, place: &Place, setup: &Setup) -> Result<Box<dyn Store>> {
        let _ = (place, setup);
        Err(Failure::Unsupported)
    }

    /// Opens the last backup at `place`; `None` where there is none.
    fn open_backup(&self, place: &Place, setup: &Setup) -> Result<Option<Box<dyn Store>>> {
        let _ = (place, setup);
        Err(Failure::Unsupported)
    }
}

/// An engine that is open. Dropping it closes it.
pub trait Store: Send + Sync {
    /// Overwrites what is there.
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()>;

    /// Gives whether it was there.
    fn delete(&self, key: &str, durability: Durability) -> Result<bool>;

    /// All or nothing; no value deletes.
    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Result<()> {
        let _ = (steps, durability);
        Err(Failure::Unsupported)
    }

    /// The whole value; nothing where there is no such key.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// All keys, in order, as listing shows them.
    fn keys(&self) -> Result<Vec<String>>;

    /// Makes whatever was acknowledged durable.
    fn sync(&self) -> Result<()>;

    /// Closes it, and says whether that went well.
    fn close(self: Box<Self>) -> Result<()>;

    /// A put whose value comes in pieces.
    fn stream(&self, key: &str, value: &[u8], how: &How) -> Result<()> {
        let _ = (key, value, how);
        Err(Failure::Unsupported)
    }

    /// Writes the value to a stream and gives the stream up.
    fn abandon(&self, key: &str, value: &[u8]) -> Result<()> {
        let _ = (key, value);
        Err(Failure::Unsupported)
    }

    /// Writes bytes that wait to be assembled.
    fn put_part(&self, upload: &Upload, value: &[u8]) -> Result<()> {
        let _ = (upload, value);
        Err(Failure::Unsupported)
    }

    /// The parts that wait, by length and CRC-32C.
    fn parts(&self) -> Result<Vec<(u64, u32)>> {
        Ok(Vec::new())
    }

    /// Makes an object of all parts of an upload, given by their CRC-32C.
    fn assemble(&self, upload: &Upload, parts: &[u32], durability: Durability) -> Result<()> {
        let _ = (upload, parts, durability);
        Err(Failure::Unsupported)
    }

    /// Makes the object of an upload's key longer by all parts of that, given by their CRC-32C;
    /// [`Failure::Refused`] unless the object is `before`.
    fn extend(
        &self,
        upload: &Upload,
        before: Print,
        parts: &[u32],
        durability: Durability,
    ) -> Result<()> {
        let _ = (upload, before, parts, durability);
        Err(Failure::Unsupported)
    }

    /// Puts a value behind an object's bytes, and is durable; [`Failure::Refused`] unless the object is
    /// `before`.
    fn append(&self, key: &str, before: Print, value: &[u8]) -> Result<()> {
        let _ = (key, before, value);
        Err(Failure::Unsupported)
    }

    /// Copies an object to another key, and is durable; [`Failure::Refused`] unless the object is
    /// `before`.
    fn copy(&self, key: &str, before: Print, to: &str) -> Result<()> {
        let _ = (key, before, to);
        Err(Failure::Unsupported)
    }

    /// Moves all objects and parts to another place that the engine has for them, under whoever reads and
    /// writes.
    fn move_all(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Deletes, and leaves a version that says so; gives that one's name. Nothing where there was
    /// nothing to delete.
    fn delete_kept(&self, key: &str) -> Result<Option<String>> {
        let _ = key;
        Err(Failure::Unsupported)
    }

    /// Puts while no versions are kept, where they were, and is durable: in place of the version that has
    /// no id.
    fn put_null(&self, key: &str, value: &[u8]) -> Result<()> {
        let _ = (key, value);
        Err(Failure::Unsupported)
    }

    /// Deletes meanwhile, and is durable: what it leaves, which says so, is the version that has no id.
    /// Says whether there was anything to delete; nothing has changed where there was not.
    fn delete_null(&self, key: &str) -> Result<bool> {
        let _ = key;
        Err(Failure::Unsupported)
    }

    /// Gives an upload up, and is durable: all its parts are gone. Says whether it had any.
    fn abort(&self, upload: &Upload) -> Result<bool> {
        let _ = upload;
        Err(Failure::Unsupported)
    }

    /// All versions that are kept, the current ones too.
    fn versions(&self) -> Result<Vec<Version>> {
        Ok(Vec::new())
    }

    /// Makes durable whatever was acknowledged, and what is derived from it, too.
    fn checkpoint(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Gives back as much room as can be had.
    fn compact(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Compacts the newest file, and no other.
    fn compact_newest(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Compacts, and stops as soon as anything was copied.
    fn compact_slice(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Compacts; `write` overtakes what was read and is not yet copied.
    fn compact_under(&self, write: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let _ = write;
        Err(Failure::Unsupported)
    }

    /// A put, and what gives room back behind it; gives what a reader of the moment before finds
    /// under the key, before and behind.
    fn put_under_reader(&self, key: &str, value: &[u8]) -> Result<[Result<Option<Vec<u8>>>; 2]> {
        let _ = (key, value);
        Err(Failure::Unsupported)
    }

    /// Moves everything off the first disk; gives whether there are others.
    fn drain(&self) -> Result<bool> {
        Err(Failure::Unsupported)
    }

    /// Adds the disks again that were drained; gives whether there were any.
    fn add_disks(&self) -> Result<bool> {
        Err(Failure::Unsupported)
    }

    /// Evens the disks out; gives whether anything was moved.
    fn rebalance(&self) -> Result<bool> {
        Err(Failure::Unsupported)
    }

    /// Deletes what has expired.
    fn expire(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Copies the store to where the place has its backups.
    fn backup(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// The queue that it is, where it is one.
    fn queue(&self) -> Option<&dyn Queue> {
        None
    }

    /// Checks everything that the engine can check of itself; gives what is wrong.
    fn verify(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What opening found damaged, and passed over.
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A version of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    pub key: String,
    /// What the engine calls it.
    pub id: String,
    /// Nothing, where it says that the object was deleted.
    pub value: Option<Vec<u8>>,
}

/// An engine that is an ordered log of items. Ids increase, and are never given out twice.
pub trait Queue: Send + Sync {
    /// Appends an item; gives its id.
    fn append(&self, item: &[u8], level: Level) -> Result<u64>;

    /// Appends items in order, which are durable when it returns; gives their ids.
    fn append_batch(&self, items: &[Vec<u8>]) -> Result<Vec<u64>>;

    /// Reads all that such a reader is shown.
    fn read(&self, view: View) -> Result<Vec<Entry>>;

    /// Drops so many of the first items that are shown; gives the id before which all is dropped.
    fn truncate(&self, items: usize) -> Result<u64>;

    /// Drops everything that was appended; gives the id before which all is dropped.
    fn truncate_all(&self) -> Result<u64>;

    /// Has a consumer read so many items, or as many as there are, and commit the last of them.
    fn consume(&self, name: &str, items: usize) -> Result<Consumed>;

    /// Drops or changes so many items behind the first `skip` ones that there are, all or nothing, and
    /// keeps their ids.
    fn rewrite(
        &self,
        skip: usize,
        items: usize,
        decide: &mut dyn FnMut(u64, &[u8]) -> Decision,
    ) -> Result<()>;

    /// All consumers with what they have committed.
    fn consumers(&self) -> Result<Vec<(String, u64)>>;
}

/// When an append is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Level {
    /// When the device has it.
    Sync,
    /// When the operating system has it.
    Os,
    /// At once: it is lost with the process.
    Later,
}

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// The owner, who is shown what is durable.
    Owner,
    /// Somebody beside it, who is shown the same.
    Beside,
    /// Who is shown what was written as well.
    Ahead,
    /// Who passes over what is damaged.
    Salvaged,
}

/// What a reader comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// An item with its id.
    Item(u64, Vec<u8>),
    /// Where writing was cut off.
    Cut(u64),
    /// Ids whose items are lost, from the first to before the second.
    Lost(u64, u64),
}

/// What becomes of an item in a rewrite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It has other bytes from then on.
    Replace(Vec<u8>),
}

/// What a consumer has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumed {
    /// What it had committed before.
    pub before: Option<u64>,
    /// What it was shown.
    pub read: Vec<Entry>,
    /// What it has committed, where there was anything to commit.
    pub committed: Option<u64>,
}

/// What an engine may have or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// [`Store::batch`].
    Batch,
    /// [`Store::batch`], of deletes alone.
    BatchOfDeletes,
    /// [`Store::stream`] and [`Store::abandon`].
    Stream,
    /// [`Store::put_part`], [`Store::parts`] and [`Store::assemble`].
    Parts,
    /// [`Store::extend`], beside what parts need.
    Extend,
    /// [`Store::append`].
    Append,
    /// [`Store::copy`].
    Copy,
    /// [`Store::move_all`].
    Move,
    /// [`Store::delete_kept`] and [`Store::versions`]; it heeds [`Setup::versions`].
    Versions,
    /// [`Store::put_null`] and [`Store::delete_null`], beside what versions need.
    Suspend,
    /// [`Store::abort`], beside what parts need.
    Abort,
    /// It heeds [`Setup::locks`].
    Locks,
    /// Puts of several keys at once, by several clients.
    AtOnce,
    /// Whatever it does, for several threads at once.
    Threads,
    /// It heeds [`How::when`].
    Conditions,
    /// [`Store::checkpoint`].
    Checkpoint,
    /// [`Store::compact`].
    Compact,
    /// [`Store::drain`], [`Store::add_disks`] and [`Store::rebalance`].
    Disks,
    /// [`Store::expire`]; it heeds [`How::expires_in_ms`].
    Expire,
    /// [`Store::backup`] and [`Engine::open_backup`].
    Backup,
    /// [`Engine::rebuild`].
    Rebuild,
    /// Readers of one moment, and compaction that goes on under writes.
    Readers,
    /// [`Store::queue`].
    Queue,
    /// It reads and writes through [`Place::io`].
    Simulated,
}

/// What an engine promises beyond "acknowledged is kept, all or nothing".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promises {
    /// What is lost of the writes that were not durable is a suffix of what each disk was given.
    pub loses_suffixes: bool,
    /// An operation that failed does not come back once a later one has succeeded.
    pub failed_is_gone: bool,
    /// Where the disk fails a call, the caller gets an error: the process does not end.
    pub survives_errors: bool,
}

/// What is set up for a workload. Engines take of it what they know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Disks that it lies on.
    pub disks: usize,
    /// Where files of the engine are full, in bytes.
    pub file_bytes: u64,
    /// Whether freed room is given back to the file system.
    pub punch: bool,
    /// Whether freed room is written to.
    pub refill: bool,
    /// Whether what is copied is parted by key, so that it is in several files at once.
    pub shards: bool,
    /// Whether what is overwritten or deleted stays as an older version.
    pub versions: bool,
    /// Whether every version is locked from when it comes, which the engine says by [`Store::verify`].
    pub locks: bool,
    /// Room on each disk, in bytes, where worlds can say so.
    pub disk_bytes: Option<u64>,
    /// What a queue drops by itself.
    pub retention: Retention,
}

/// What a queue drops by itself: the oldest items, whole files of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Those that are older than so many milliseconds.
    pub max_age_ms: Option<u64>,
    /// Those beyond so many bytes.
    pub max_bytes: Option<u64>,
}

/// Where an engine lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its directory, which may not be there yet.
    pub home: PathBuf,
    /// One directory for each disk of the setup; may be empty where there is one disk only.
    pub disks: Vec<PathBuf>,
    /// Where what is derived goes, if not in the home: an index.
    pub index: Option<PathBuf>,
    /// Where its backup goes.
    pub backup: PathBuf,
    /// Where the backup's index goes, if not in the backup.
    pub backup_index: Option<PathBuf>,
    /// The file system of home and disks; the operating system's without.
    pub io: Option<Arc<dyn Io>>,
    /// The time, for what expires.
    pub clock: Clock,
}

/// The time that operations are told.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicU64>);

/// Why a call did nothing, or may not have done what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failure {
    /// The engine has no such thing; nothing was done.
    Unsupported,
    /// A condition does not hold, or a part is not there; nothing was done.
    Refused,
    /// There is no room.
    Full(String),
    /// Bytes are not what was written, and the error says where.
    Damaged(String),
    /// Whatever else: it may have been carried out or not.
    Failed(String),
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            disks: 1,
            file_bytes: 256 << 10,
            punch: true,
            refill: false,
            shards: false,
            versions: false,
            locks: false,
            disk_bytes: None,
            retention: Retention::default(),
        }
    }
}

impl Retention {
    /// Whether anything is ever dropped.
    pub fn drops(self) -> bool {
        self.max_age_ms.is_some() || self.max_bytes.is_some()
    }
}

impl Place {
    /// A place below a directory, in the operating system's file system.
    pub fn below(root: &Path, disks: usize, now_ms: u64) -> Self {
        Place {
            home: root.join("home"),
            disks: (0..disks).map(|disk| root.join(format!("disk-{disk}"))).collect(),
            index: None,
            backup: root.join("backup"),
            backup_index: None,
            io: None,
            clock: Clock::at(now_ms),
        }
    }
}

impl Clock {
    /// Milliseconds since 1970 at which every run begins.
    pub const START_MS: u64 = 1_700_000_000_000;

    /// A clock that stands still until it is told to [pass](Self::pass) time.
    pub fn at(now_ms: u64) -> Self {
        Clock(Arc::new(AtomicU64::new(now_ms)))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unsupported => f.write_str("unsupported"),
            Failure::Refused => f.write_str("refused"),
            Failure::Full(what) | Failure::Damaged(what) | Failure::Failed(what) => {
                f.write_str(what)
            }
        }
    }
}
