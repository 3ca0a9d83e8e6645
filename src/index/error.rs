//! RocksDB's errors, as ours.

use std::path::Path;

use crate::error::{Error, ErrorKind};

/// An error of the index at `path`.
pub(super) fn index(path: &Path, error: rocksdb::Error) -> Error {
    // RocksDB tells a full file system apart only in its text.
    let text = error.to_string();
    let full = text.contains("No space left on device");
    let missing = text.contains("No such file or directory");
    let (kind, what) = match error.kind() {
        _ if full => (ErrorKind::Full, "no room for the index"),
        rocksdb::ErrorKind::Corruption => (ErrorKind::Corruption, DAMAGED),
        rocksdb::ErrorKind::IOError if missing => (ErrorKind::Corruption, DAMAGED),
        rocksdb::ErrorKind::InvalidArgument => (ErrorKind::Corruption, DAMAGED),
        rocksdb::ErrorKind::NotSupported => (ErrorKind::Corruption, DAMAGED),
        // What views that do not wait ask for, alone, can be that.
        rocksdb::ErrorKind::Incomplete => (ErrorKind::WouldBlock, "not all of it is in memory"),
        _ => (ErrorKind::Io, "the index failed"),
    };
    Error::new(kind, what).with_path(path).with_source(error)
}

const DAMAGED: &str = "the index is damaged; a rebuild makes it anew from the tracks";
