//! A file that appears whole or not at all, for what leaves the store.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Written beside its place and renamed into it, so that an error leaves what was there. What
/// is no regular file (a device, a pipe) is written directly. Dropped before, it goes; a signal
/// that ends the process would leave it, so it has to be remembered meanwhile.
pub struct FreshFile {
    path: PathBuf,
    target: Target,
}

enum Target {
    Renamed(NamedTempFile),
    Direct(File),
}

impl FreshFile {
    /// Begins the file at `path`.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let target = if is_written_directly(path) {
            File::options().write(true).open(path).map(Target::Direct)
        } else {
            tempfile::Builder::new()
                .prefix(".kogia-")
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(parent(path))
                .map(Target::Renamed)
        };
        Ok(FreshFile { path: path.into(), target: target.map_err(Failure::file(path))? })
    }

    /// Puts the file in its place, with the given modification time.
    pub fn finish(self, modified_ms: u64) -> Result<(), Failure> {
        let placed = match self.target {
            Target::Renamed(file) => place(file, &self.path, modified_ms),
            Target::Direct(mut file) => file.flush(),
        };
        placed.map_err(Failure::file(&self.path))
    }
}

impl Write for FreshFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.target {
            Target::Renamed(file) => file.write(bytes),
            Target::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether what is at `path` is written as bytes come, and nothing is left of it to clear away.
pub fn is_written_directly(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file())
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn place(file: NamedTempFile, path: &Path, modified_ms: u64) -> io::Result<()> {
    if let Some(time) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(modified_ms)) {
        // A time that the filesystem cannot hold is no reason to withhold the bytes.
        let _ = file.as_file().set_modified(time);
    }
    file.persist(path)?;
    Ok(())
}
