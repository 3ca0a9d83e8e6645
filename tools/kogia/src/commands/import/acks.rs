//! The list of acknowledged keys that `--acks` asks for.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::escaped;
use crate::failure::Failure;

/// A file to which keys are appended, each with one write call of a whole line, so that a reader
/// sees them at once and a kill leaves at most the last line without its end.
pub struct Acks {
    path: PathBuf,
    file: Mutex<File>,
}

impl Acks {
    /// Opens the file, or creates it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(Failure::file(path))?;
        Ok(Acks { path: path.into(), file: Mutex::new(file) })
    }

    /// Appends a key whose write has been acknowledged.
    pub fn append(&self, key: &[u8]) -> Result<(), Failure> {
        let line = format!("{}\n", escaped::text(key));
        let mut file = self.file.lock().expect("no thread panics while it appends");
        file.write_all(line.as_bytes()).map_err(Failure::file(&self.path))
    }
}
