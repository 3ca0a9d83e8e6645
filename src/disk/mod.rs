//! One data directory with its writer thread, shared by all stores of the process that lie on it.
//!
//! A disk knows tracks and chains, but neither keys nor the index: what it has appended it hands
//! to the store, through [`Owner`].
//!
//! - [`Proposal`]: the records of one call, framed by the caller's thread.
//! - [`Volume`]: a store's place on a disk: its active track, its group commit.
//! - [`Disk`]: the queue and the thread that takes from it.

mod bell;
mod commit;
mod groups;
mod identity;
mod lane;
mod output;
mod proposal;
mod reply;
mod space;
mod volume;
mod writer;

pub(crate) use identity::{DISK_FILE, prepare, read_identity, settle, write_identity};
pub(crate) use output::{CopiedChain, Output};
pub(crate) use proposal::{Ack, Proposal, Request};
pub(crate) use reply::{Outcome, wait_for_all};
pub(crate) use volume::{Appended, Holes, Owner, Volume, slice_bytes};
pub(crate) use writer::Disk;
