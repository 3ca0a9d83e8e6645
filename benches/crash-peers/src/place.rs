//! What is the same for all of these engines.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kogia_crash::engine::{Failure, Place, Promises};

/// Only what goes for every engine: an acknowledged write is kept, each is there whole or not at all.
pub const NO_MORE: Promises =
    Promises { loses_suffixes: false, failed_is_gone: false, survives_errors: false };

/// The directory of an engine, there and durable: not every engine makes its own durable.
pub fn home(place: &Place) -> Result<PathBuf, Failure> {
    let make = || {
        fs::create_dir_all(&place.home)?;
        sync_dir(&place.home)?;
        place.home.parent().map_or(Ok(()), sync_dir)
    };
    make().map_err(failed)?;
    Ok(place.home.clone())
}

pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// An error that says no more than that.
pub fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// Keys of workloads are text.
pub fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
