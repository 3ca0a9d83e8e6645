//! The store's file `BACKUPS`: which backups are of its own past.

use super::target::Earlier;
use crate::error::{Error, Result};
use crate::format::meta::{self, BackupMarks};
use crate::store::Shared;

const MARKS_FILE: &str = "BACKUPS";
/// Marks that are kept: a backup of which so many others were made since is made anew.
const MAX_MARKS: usize = 1000;

impl Shared {
    /// The earlier backup, if it is of this store's past.
    pub(super) fn of_own_past<'a>(
        &self,
        earlier: Option<&'a Earlier>,
    ) -> Result<Option<&'a Earlier>> {
        let Some(earlier) = earlier else { return Ok(None) };
        let is_own = self.read_marks()?.marks.contains(&earlier.backup.mark);
        if !is_own {
            tracing::warn!("the earlier backup is of another past of this store, and is made anew");
        }
        Ok(is_own.then_some(earlier))
    }

    /// Gives a new mark, which the store has from now on: a checkpoint has made the moment of the
    /// backup durable.
    pub(super) fn leave_mark(&self) -> Result<[u8; 16]> {
        let path = self.home.join(MARKS_FILE);
        let io = &*self.options.io;
        let mark = io.random_id().map_err(|e| Error::io("draw a mark for", &path, e))?;
        let BackupMarks { mut marks } = self.read_marks()?;
        marks.push(mark);
        let marks = marks.split_off(marks.len().saturating_sub(MAX_MARKS));
        let bytes = BackupMarks { marks }.encode();
        io.replace(&path, &bytes).map_err(|e| Error::io("replace", &path, e))?;
        Ok(mark)
    }

    /// The marks; none where the file is lost or damaged, which costs no more than copying.
    fn read_marks(&self) -> Result<BackupMarks> {
        let path = self.home.join(MARKS_FILE);
        match self.options.io.read_small(&path, meta::MAX_BYTES) {
            Ok(bytes) => Ok(BackupMarks::decode(&bytes).unwrap_or_else(|fault| {
                tracing::warn!(path = %path.display(), %fault, "no earlier backup is known");
                BackupMarks::default()
            })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BackupMarks::default()),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }
}
