//! The files of a directory.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crossbeam_channel::Sender;
use walkdir::{DirEntry, WalkDir};

use crate::failure::Failure;

/// A regular file below the directory that is imported.
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length when it was found.
    pub len: u64,
    /// When it was last written to; nothing if the filesystem does not know.
    pub modified_ms: Option<u64>,
    relative_at: usize,
}

impl SourceFile {
    /// The bytes of its path below the directory, which are its key.
    pub fn relative_path(&self) -> &[u8] {
        &self.path.as_os_str().as_bytes()[self.relative_at..]
    }
}

/// The bytes in the files of a directory, so that progress knows its end.
pub fn measure(dir: &Path) -> Result<u64, Failure> {
    if !dir.metadata().map_err(Failure::file(dir))?.is_dir() {
        return Err(Failure::Usage(format!("{}: not a directory", dir.display())));
    }
    Ok(files(dir).filter_map(Result::ok).map(|file| file.len).sum())
}

/// Sends every file, and every failure to read a directory, until nobody receives any more.
pub fn send_files(dir: &Path, sender: &Sender<Result<SourceFile, Failure>>) {
    let _ = files(dir).try_for_each(|found| sender.send(found));
}

fn files(dir: &Path) -> impl Iterator<Item = Result<SourceFile, Failure>> {
    let walk = WalkDir::new(dir).min_depth(1).sort_by_file_name();
    walk.into_iter().filter_map(move |entry| match entry {
        Ok(entry) if entry.file_type().is_file() => Some(source_file(dir, entry)),
        Ok(_) => None,
        Err(error) => Some(Err(walk_failure(error))),
    })
}

fn source_file(dir: &Path, entry: DirEntry) -> Result<SourceFile, Failure> {
    let metadata = entry.metadata().map_err(walk_failure)?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let path = entry.into_path();
    let relative = path.strip_prefix(dir).expect("a walk stays below its root");
    let relative_at = path.as_os_str().len() - relative.as_os_str().len();
    Ok(SourceFile {
        len: metadata.len(),
        modified_ms: modified.and_then(|age| u64::try_from(age.as_millis()).ok()),
        relative_at,
        path,
    })
}

fn walk_failure(error: walkdir::Error) -> Failure {
    let path = error.path().unwrap_or(Path::new("")).to_path_buf();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of links"));
    Failure::file(path)(source)
}
