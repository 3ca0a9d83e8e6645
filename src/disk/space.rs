//! How much room a disk has left, without asking the system at every append.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::io::Io;

/// The system is asked again after so long.
const MAX_AGE: Duration = Duration::from_millis(200);
/// It is made to count again after so long, where puts go on to be refused.
const SETTLED_AGE: Duration = Duration::from_secs(1);

/// A recent answer of the file system, less what was written since.
#[derive(Debug, Default)]
pub(super) struct Space {
    asked: Option<Instant>,
    available: u64,
    /// When the file system was last made to count everything.
    settled: Option<Instant>,
}

impl Space {
    /// Refuses to write `bytes` where less than `keep` would be left.
    pub(super) fn check(&mut self, io: &dyn Io, dir: &Path, bytes: u64, keep: u64) -> Result<()> {
        let tight = self.available < (keep + bytes).saturating_mul(2);
        if tight || self.asked.is_none_or(|at| at.elapsed() > MAX_AGE) {
            self.ask(io, dir)?;
        }
        let refuses = self.available < keep + bytes;
        if refuses && self.settled.is_none_or(|at| at.elapsed() > SETTLED_AGE) {
            // What was freed may not be counted yet.
            io.settle_space(dir).map_err(|e| Error::io("sync the file system of", dir, e))?;
            self.settled = Some(Instant::now());
            self.ask(io, dir)?;
        }
        if self.available < keep + bytes {
            let what = format!(
                "the disk is full: {} bytes are left, of which {keep} are kept for deletes and \
                 checkpoints; delete objects, free room or add a disk",
                self.available
            );
            return Err(Error::new(ErrorKind::Full, what).with_path(dir));
        }
        Ok(())
    }

    /// Room came back: what is left has to be counted again.
    pub(super) fn came_back(&mut self) {
        self.settled = None;
    }

    fn ask(&mut self, io: &dyn Io, dir: &Path) -> Result<()> {
        let available = io.available_space(dir);
        self.available = available.map_err(|e| Error::io("ask for the room on", dir, e))?;
        self.asked = Some(Instant::now());
        Ok(())
    }

    /// Counts what is written; gives what is left.
    pub(super) fn spend(&mut self, bytes: u64) -> u64 {
        self.available = self.available.saturating_sub(bytes);
        self.available
    }
}
