//! A file that is stored, and what it was when it was opened.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kogia::Info;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folders::Found;
use super::mark::Mark;
use crate::failure::Failure;
use crate::{system, transfer};

/// An open file.
pub struct Source {
    pub path: PathBuf,
    pub file: File,
    pub mark: Mark,
    /// When it was opened, in milliseconds since 1970.
    pub read_ms: i64,
}

impl Source {
    /// Opens what is at `path`, if that is a regular file.
    pub fn open(path: &Path) -> Result<Option<Self>, Failure> {
        let read_ms = now_ms();
        // Whatever was put in its place, opening it neither follows nor waits.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match File::options().read(true).custom_flags(flags.bits() as i32).open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Ok(None);
            }
            opened => opened.map_err(Failure::file(path))?,
        };
        let found = file.metadata().map_err(Failure::file(path))?;
        let mark = Mark::of(&found);
        let source = Source { path: path.to_path_buf(), file, mark, read_ms };
        Ok(found.is_file().then_some(source))
    }

    /// How long it has been left alone; for ever, if its time is yet to come.
    pub fn age(&self) -> Duration {
        let age_ms = self.read_ms.saturating_sub(self.mark.modified_ms());
        u64::try_from(age_ms).map_or(Duration::MAX, Duration::from_millis)
    }

    /// Whether this is the file whose object has `info`. That something has happened to it is a
    /// reason not to believe the mark.
    pub fn is_stored(&self, info: &Info, found: &Found) -> bool {
        !found.is_complete && self.mark.is_in(&info.attributes)
            || transfer::is_same(&self.path, info)
    }

    /// Whether it was written to since it was opened, or is being written to.
    pub fn is_changed(&self) -> Result<bool, Failure> {
        let now = self.file.metadata().map_err(Failure::file(&self.path))?;
        Ok(Mark::of(&now) != self.mark || system::is_written_to(&self.file) == Some(true))
    }

    /// Removes the file if it is still there, and still the same.
    pub fn remove(&self) -> Result<(), Failure> {
        let there = fs::symlink_metadata(&self.path).map_err(Failure::file(&self.path))?;
        if Mark::of(&there) == self.mark && !self.is_changed()? {
            fs::remove_file(&self.path).map_err(Failure::file(&self.path))?;
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
