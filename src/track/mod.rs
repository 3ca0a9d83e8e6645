//! One append-only file of chunks. A track knows nothing of keys.
//!
//! Life cycle: created with its header, appended to by one writer, sealed at a known end, and one
//! day unlinked. Only its writer appends; anybody may read below what was appended.

mod appender;
mod file;
mod files;
mod read;
mod scan;

pub(crate) use appender::{Appender, BegunSync, SyncFailure};
pub(crate) use file::TrackFile;
pub(crate) use files::TrackFiles;
pub(crate) use read::{Bytes, ValuePlace};
pub(crate) use scan::{Bad, Chain, ChainHead, Scanner};
