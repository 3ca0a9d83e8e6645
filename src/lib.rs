//! Kogia is an embeddable, log-structured object store for append-heavy media ingest.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! let store = kogia::Store::open(dir.path().join("store"))?;
//! store.put("camera-1/0001.ts", b"media")?;
//! assert_eq!(store.get("camera-1/0001.ts")?.as_deref(), Some(&b"media"[..]));
//! store.close()?;
//! # Ok::<_, kogia::Error>(())
//! ```
//!
//! Values are appended as chains of checksummed 4 KiB chunks to *track* files, by one writer
//! thread a disk; RocksDB keeps where everything is. The tracks alone can rebuild that index.
//!
//! Where to look first:
//!
//! - [`Store`] and [`Options`]: what one does with a store, and every knob.
//! - [`mod@format`]: the one specification of every layout on disk.
//! - [`io`]: the seam to the operating system, and the simulated machine for crash tests.
//! - [`queue`]: an ordered, durable log of items, beside the store.
//! - [`dump`]: a track as text, to debug with.
//! - `object_store`, with the feature of this name: Apache's `object_store` on a store.
//!
//! Layers, each using only those above it in this list: `format`, `io`, `track`, `disk`, `index`,
//! `store` with `recovery` beside it; `queue` uses `format` and `io` alone; `dump` looks at tracks
//! alone; `object_store` uses `store`.

#![deny(unsafe_code, missing_docs)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "tracks are mapped whole, and bounds are counted in `usize`: a 64-bit processor is needed"
);

#[macro_use]
mod step;

mod compaction;
mod compression;
mod disk;
pub mod dump;
mod error;
pub mod format;
mod index;
pub mod io;
#[cfg(feature = "object_store")]
pub mod object_store;
mod options;
pub mod queue;
mod recovery;
pub mod shard;
mod store;
mod track;

pub use compaction::{
    CompactOptions, CompactReport, CompactionStatus, DiskProgress, OnCompaction, TrackStats,
};
pub use error::{Error, ErrorKind, Result};
pub use format::{DiskId, Seq, StoreId, TrackId};
pub use options::{Condition, Create, Durability, OnProgress, OnStep, Options, Phase, Progress};
pub use recovery::{Damage, Problem, RecoveryReport, Torn, VerifyOptions, VerifyReport};
pub use store::{
    BackupOptions, BackupReport, Batch, DeleteOptions, DiskStats, ExpireOptions, ExpireReport,
    Info, Item, Iter, LinkMode, ListOptions, Page, PartId, PartInfo, PartWriter, PutOptions,
    Reader, RetentionRule, Snapshot, SpaceStats, Stats, Store, Writer,
};

/// So that the README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
