//! Bytes to types and back: the one specification of every layout on disk.
//!
//! The format does no I/O and knows nothing of files, threads or RocksDB. Each layout has one
//! file, which opens with its table and one worked example; sizes derive from each other and are
//! checked at compile time. Every decoder takes hostile bytes: it answers with a [`Fault`], never
//! panics, and never allocates by a length that the bytes claim.
//!
//! | file | layout |
//! | --- | --- |
//! | [`chunk`] | 4,096 bytes: checksum, flags, seq, next, payload |
//! | [`track_header`] | chunk 0 of a track |
//! | [`chain`] | an atomic append: its directory, then its values |
//! | [`record`] | one operation in a directory |
//! | [`entry`] | the rows of the index |
//! | [`meta`] | the files `META` and `DISK` |
//! | [`items`] | the items of a queue |
//! | [`queue`] | a queue's track header, its file `QUEUE`, and its consumers' positions |
//!
//! All integers are little-endian, except in the index's keys, which are big-endian so that they
//! sort.

pub mod chain;
pub mod checksum;
pub mod chunk;
mod codec;
pub mod entry;
mod ids;
pub mod items;
pub mod meta;
mod plain;
pub mod queue;
pub mod record;
pub mod track_header;

pub use ids::{DiskId, Seq, StoreId, TrackId};

use std::fmt;

/// Why bytes could not be understood. Says nothing of where they lie: the caller knows.
///
/// ```
/// use kogia::format::{Fault, meta::DiskMeta};
///
/// let fault = DiskMeta::decode(b"KOGIA").unwrap_err();
/// assert_eq!(fault, Fault::Short { what: "DISK", needed: 20, found: 5 });
/// assert_eq!(fault.to_string(), "DISK: 5 bytes where at least 20 are needed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Fewer bytes than the layout needs.
    Short {
        /// What was being decoded.
        what: &'static str,
        /// Bytes that the layout needs at least.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// All zero: never written, punched, or lost.
    Hole,
    /// The checksum does not match: rotten, torn, or belonging to another place.
    Checksum {
        /// What was being decoded.
        what: &'static str,
        /// The checksum that the bytes carry.
        stored: u32,
        /// The checksum that they have.
        computed: u32,
    },
    /// The magic is another's.
    Magic {
        /// What was being decoded.
        what: &'static str,
    },
    /// Written by a format that this build does not know.
    Version {
        /// What was being decoded.
        what: &'static str,
        /// The version that the bytes carry.
        found: u32,
        /// The version that this build writes.
        known: u32,
    },
    /// The checksum holds, and yet the contents break a rule of the layout.
    Invalid {
        /// What was being decoded.
        what: &'static str,
        /// The rule that is broken.
        why: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short { what, needed, found } => {
                write!(f, "{what}: {found} bytes where at least {needed} are needed")
            }
            Fault::Hole => write!(f, "a hole: all bytes are zero"),
            Fault::Checksum { what, stored, computed } => {
                write!(f, "{what}: checksum {stored:08x} expected, {computed:08x} found")
            }
            Fault::Magic { what } => write!(f, "not a {what}: the magic is another's"),
            Fault::Version { what, found, known } => {
                write!(f, "{what}: version {found}, but this build knows only version {known}")
            }
            Fault::Invalid { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads `N` bytes at `at`; the caller has checked that they are there.
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}
