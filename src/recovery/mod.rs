//! Bringing the index up to the tracks: replay after a crash, rebuild from nothing, verify.
//!
//! Replay reads the chains that each track has beyond what the index reflects of it, in the order
//! of their seqs over all tracks, and joins their records; a rebuild is the same from the first
//! chunk on. Both may be cut off anywhere and run again.

mod disks;
mod marks;
mod missing;
mod open;
mod rebuild;
mod replay;
mod report;
mod tails;
mod verify;

pub(crate) use disks::{adopt, track_ids};
pub(crate) use open::{attach_volume, is_store, lock_folder};
pub(crate) use verify::verify;

pub use report::{Damage, RecoveryReport, Torn};
pub use verify::{Problem, VerifyOptions, VerifyReport};
