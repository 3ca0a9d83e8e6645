//! Compaction: what lives in tracks full of garbage is written anew, and the tracks go.
//!
//! - `policy`: which track is next; a pure function.
//! - `plan`: what would be done, for callers who want to know before.
//! - `pass`: one track, slice by slice: copy, sync, swap, pass over.
//! - `outputs`: the tracks that are written.
//! - `worker`: the disks' threads, and callers.
//! - `mover`: disks that come and go.
//! - `control`: pace, pause, stop, progress; how hard writers press.
//!
//! A crash at any point loses nothing and needs no undoing: copies are ordinary records with the
//! seq of their originals and a newer chain, and replay joins them like all others. Compaction knows
//! nothing of who writes meanwhile: a swap counts only where the index still points at what was
//! read (invariant I6).

mod control;
mod copies;
mod mover;
mod outputs;
mod pass;
mod plan;
mod policy;
mod worker;

pub(crate) use control::Control;
pub(crate) use worker::Compactors;

pub use control::{CompactionStatus, DiskProgress};
pub use plan::TrackStats;
pub use worker::{CompactOptions, CompactReport, OnCompaction};
