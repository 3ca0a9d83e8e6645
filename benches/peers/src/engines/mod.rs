//! The engines, behind one small interface. Each module says how its engine is set up and why.

mod files;
mod fjall;
mod kogia;
mod marble;
mod paging;
mod redb;
mod rocksdb;
mod sled;

use std::ops::Range;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::Key;
pub use paging::Page;

/// When what was put outlives the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// When the put has returned.
    Durable,
    /// When the next `sync` has returned.
    AtSync,
}

/// What each engine that has a cache of its own gets for it: four times what Kogia may use for everything.
const CACHE_BYTES: usize = 256 << 20;

/// Is shown the bytes of an object.
pub type See<'a> = dyn FnMut(&[u8]) + 'a;

/// An open store of any engine. Methods may be called from several threads at once.
pub trait Engine: Sync {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()>;

    /// All at once, in the order of their keys if that helps.
    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()>;

    /// Puts a long body that comes in pieces; one after the other, where an engine has no streams.
    fn upload(&self, key: &Key, pieces: &[&[u8]]) -> Result<()> {
        self.put(key, &pieces.concat())
    }

    /// Reads an object into memory that is the caller's alone: `buffer`, or what the engine allocated
    /// for it.
    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool>;

    /// Reads an object without a copy of the caller's, where the engine lends its bytes, perhaps piece by
    /// piece; `false` also if it can't.
    fn borrow(&self, _key: &Key, _see: &mut See<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Copies a part of an object: all of it is read first, where an engine knows no ranges.
    fn get_range(
        &self,
        key: &Key,
        range: Range<usize>,
        buffer: &mut Vec<u8>,
        see: &mut See<'_>,
    ) -> Result<bool> {
        let lent = self.borrow(key, &mut |all| {
            buffer.clear();
            buffer.extend_from_slice(&all[range.clone()]);
            see(buffer);
        })?;
        Ok(lent || self.get(key, buffer, &mut |all| see(&all[range.clone()]))?)
    }

    /// Deletes these, together if the engine can.
    fn delete(&self, keys: &[Key]) -> Result<()>;

    /// Keys behind `after`, at most `limit` of them; common prefixes that end with `/` count as one.
    fn list(&self, _after: Option<&[u8]>, _delimited: bool, _limit: usize) -> Result<Page> {
        Err("keys have no order".into())
    }

    /// Makes all that was put durable.
    fn sync(&self) -> Result<()>;

    /// Brings what is still to be done in order now: what waits in memory to its final place, and room
    /// back, as the engine does it by itself in time or as its documentation says to.
    fn tidy(&self) -> Result<()>;

    /// Gives back all the room that can be, by the means that the documentation has for that.
    fn reclaim(&self) -> Result<()> {
        self.tidy()
    }

    /// What the documentation says a thread should do all the time; `false` if there is nothing.
    fn upkeep(&self) -> Result<bool> {
        Ok(false)
    }

    fn close(self: Box<Self>) -> Result<()>;
}

/// All engines.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Kind {
    Kogia,
    RocksDb,
    BlobDb,
    Marble,
    Fjall,
    Redb,
    Sled,
    Files,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Kogia,
        Kind::RocksDb,
        Kind::BlobDb,
        Kind::Marble,
        Kind::Fjall,
        Kind::Redb,
        Kind::Sled,
        Kind::Files,
    ];

    /// As on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kogia => "kogia",
            Kind::RocksDb => "rocksdb",
            Kind::BlobDb => "blobdb",
            Kind::Marble => "marble",
            Kind::Fjall => "fjall",
            Kind::Redb => "redb",
            Kind::Sled => "sled",
            Kind::Files => "files",
        }
    }

    /// As in tables.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Kogia => "Kogia",
            Kind::RocksDb => "RocksDB",
            Kind::BlobDb => "BlobDB",
            Kind::Marble => "Marble",
            Kind::Files => "files",
            _ => self.name(),
        }
    }

    /// The crate that it is.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Kind::BlobDb => Some("rocksdb"),
            Kind::Files => None,
            _ => Some(self.name()),
        }
    }

    /// Whether its keys have an order, so that it can list.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Kind::Marble | Kind::Files)
    }

    /// Whether what it calls durable outlives the power as the others mean it.
    pub fn syncs(self) -> bool {
        self != Kind::Sled
    }

    /// Whether several puts can be one.
    pub fn has_batches(self) -> bool {
        self != Kind::Files
    }

    /// Whether it lends the bytes of an object instead of copying them.
    pub fn lends(self) -> bool {
        !matches!(self, Kind::Marble | Kind::Files)
    }

    /// Bytes that should be put together where nothing is promised before the next sync, since each
    /// put by itself is dear.
    pub fn bulk_bytes(self) -> usize {
        match self {
            Kind::Marble => marble::BULK_BYTES,
            Kind::Redb => redb::BULK_BYTES,
            _ => 0,
        }
    }

    /// How it is set up, and what a put that returned survives, with either promise.
    pub fn settings(self) -> [&'static str; 3] {
        match self {
            Kind::Kogia => kogia::SETTINGS,
            Kind::RocksDb => rocksdb::SETTINGS,
            Kind::BlobDb => rocksdb::BLOB_SETTINGS,
            Kind::Marble => marble::SETTINGS,
            Kind::Fjall => fjall::SETTINGS,
            Kind::Redb => redb::SETTINGS,
            Kind::Sled => sled::SETTINGS,
            Kind::Files => files::SETTINGS,
        }
    }

    /// Opens it for objects that are overwritten all the time.
    pub fn open_for_churn(self, dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
        match self {
            Kind::Kogia => kogia::open_refilling(dir, promise),
            _ => self.open(dir, promise),
        }
    }

    pub fn open(self, dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
        match self {
            Kind::Kogia => kogia::open(dir, promise),
            Kind::RocksDb => rocksdb::open(dir, promise, rocksdb::Values::InTables),
            Kind::BlobDb => rocksdb::open(dir, promise, rocksdb::Values::InBlobs),
            Kind::Marble => marble::open(dir, promise),
            Kind::Fjall => fjall::open(dir, promise),
            Kind::Redb => redb::open(dir, promise),
            Kind::Sled => sled::open(dir, promise),
            Kind::Files => files::open(dir, promise),
        }
    }
}

/// Throws Kogia's index away and makes it anew from the tracks.
pub fn rebuild_kogia(dir: &Path) -> Result<()> {
    kogia::rebuild(dir)
}
