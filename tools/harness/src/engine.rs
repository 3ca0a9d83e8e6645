//! What a storage engine has to offer to be broken here.
//!
//! An engine opens a directory and carries out operations. What it does not have, it does not
//! implement: those calls answer [`Failure::Unsupported`], and workloads that need them are not
//! run on it.

pub mod kogia;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::kogia::io::Io;
use serde::{Deserialize, Serialize};

use crate::operation::{Durability, How};

/// All engines.
pub static ALL: &[&dyn Engine] = &[&kogia::Kogia];

pub fn by_name(name: &str) -> Option<&'static dyn Engine> {
    ALL.iter().copied().find(|engine| engine.name() == name)
}

pub type Result<T> = std::result::Result<T, Failure>;

/// An engine, not open.
pub trait Engine: Send + Sync {
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn about(&self) -> &'static str;

    /// What it promises beyond what every engine does.
    fn promises(&self) -> Promises;

    fn has(&self, capability: Capability) -> bool;

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
    fn put(&self, key: &str, value: &[u8], how: &How) -> Result<()>;

    /// Gives whether it was there.
    fn delete(&self, key: &str, durability: Durability) -> Result<bool>;

    /// All or nothing; no value deletes.
    fn batch(&self, steps: &[(String, Option<Vec<u8>>)], durability: Durability) -> Result<()>;

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// All keys, in order, as listing shows them.
    fn keys(&self) -> Result<Vec<String>>;

    /// Makes whatever was acknowledged durable.
    fn sync(&self) -> Result<()>;

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

    fn put_part(&self, value: &[u8]) -> Result<()> {
        let _ = value;
        Err(Failure::Unsupported)
    }

    /// The parts that wait, by length and CRC-32C.
    fn parts(&self) -> Result<Vec<(u64, u32)>> {
        Ok(Vec::new())
    }

    /// Makes an object of parts, given by their CRC-32C.
    fn assemble(&self, key: &str, parts: &[u32], durability: Durability) -> Result<()> {
        let _ = (key, parts, durability);
        Err(Failure::Unsupported)
    }

    fn checkpoint(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    fn compact(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Moves everything off the first disk; unsupported where it is the only one.
    fn drain(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    fn expire(&self) -> Result<()> {
        Err(Failure::Unsupported)
    }

    /// Copies the store to where the place has its backups.
    fn backup(&self) -> Result<()> {
        Err(Failure::Unsupported)
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

/// What an engine may have or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    Batch,
    Stream,
    Parts,
    Conditions,
    Checkpoint,
    Compact,
    Drain,
    Expire,
    Backup,
    Rebuild,
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
}

/// What is set up for a workload. Engines take of it what they know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Setup {
    pub disks: usize,
    /// Where files of the engine are full, in bytes.
    pub file_bytes: u64,
    /// Whether freed room is given back to the file system.
    pub punch: bool,
    /// Whether freed room is written to.
    pub refill: bool,
    /// Room on each disk, in bytes, where worlds can say so.
    pub disk_bytes: Option<u64>,
}

/// Where an engine lies.
#[derive(Clone, Debug)]
pub struct Place {
    pub home: PathBuf,
    /// One directory for each disk of the setup; may be empty where there is one disk only.
    pub disks: Vec<PathBuf>,
    /// Where what is derived goes, if not in the home: an index.
    pub index: Option<PathBuf>,
    pub backup: PathBuf,
    /// Where the backup's index goes, if not in the backup.
    pub backup_index: Option<PathBuf>,
    /// The file system of home and disks; the operating system's without.
    pub io: Option<Arc<dyn Io>>,
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
        Setup { disks: 1, file_bytes: 256 << 10, punch: true, refill: false, disk_bytes: None }
    }
}

impl Clock {
    /// Milliseconds since 1970 at which every run begins.
    pub const START_MS: u64 = 1_700_000_000_000;

    pub fn at(now_ms: u64) -> Self {
        Clock(Arc::new(AtomicU64::new(now_ms)))
    }

    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

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
