//! The one seam to the operating system.
//!
//! Everything that Kogia itself reads and writes, RocksDB's files apart, goes through an [`Io`]:
//! [`RealIo`] in production, and [`sim::SimIo`] where power cuts and failing calls are explored.
//! The seam knows nothing of chunks or tracks. It promises no more than POSIX does: a write is
//! durable only after [`File::sync_data`], a name only after [`Io::sync_dir`].
//!
//! Files are read and written at explicit offsets from any number of threads.

mod map;
mod page;
mod real;
pub mod sim;
mod write_back;

use std::fmt::Debug;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Result};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use map::Map;
pub(crate) use map::prefetch;
pub use page::{PAGE_WORDS, Page};
pub use real::RealIo;
pub(crate) use write_back::WriteBack;

/// How [`Io::open`] opens a file.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::io::{Io, OpenMode, RealIo};
///
/// # let path = dir.path().join("file");
/// RealIo.open(&path, OpenMode::CreateNew)?;
/// let again = RealIo.open(&path, OpenMode::CreateNew).unwrap_err();
/// assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// The file must be there; it is only read.
    Read,
    /// The file must be there.
    ReadWrite,
    /// The file must not be there yet.
    CreateNew,
}

/// A file system, as far as Kogia needs one.
///
/// ```
/// use kogia::io::{Io, sim::SimIo};
/// use std::path::Path;
///
/// fn count(io: &dyn Io, path: &Path) -> std::io::Result<u8> {
///     let before = if io.exists(path)? { io.read_small(path, 1)?[0] } else { 0 };
///     io.replace(path, &[before + 1])?;
///     Ok(before + 1)
/// }
/// let (io, path) = (SimIo::new(1), Path::new("/count"));
/// assert_eq!((count(&io, path)?, count(&io, path)?), (1, 2));
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait Io: Send + Sync + Debug + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>>;

    /// Creates a directory and those above it; it may be there already. Its name is durable when
    /// this returns.
    fn create_dir_all(&self, path: &Path) -> Result<()>;

    /// The names in a directory, sorted; those that are not Unicode are left out.
    fn list(&self, path: &Path) -> Result<Vec<String>>;

    /// Whether anything is at `path`.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// Reads a small file whole; one of more than `limit` bytes is an error.
    fn read_small(&self, path: &Path, limit: usize) -> Result<Vec<u8>>;

    /// Replaces a small file, so that after a crash it has either its old or its new contents;
    /// durable when this returns.
    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()>;

    /// Removes a file. Durable only after [`sync_dir`](Self::sync_dir).
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes a directory that is empty. Durable only after [`sync_dir`](Self::sync_dir) of the
    /// one above it. An error of kind `Unsupported` where this is not offered.
    fn remove_dir(&self, path: &Path) -> Result<()> {
        let _ = path;
        Err(ErrorKind::Unsupported.into())
    }

    /// Gives the file `from` the further name `to`, which must not be there yet. Durable only after
    /// [`sync_dir`](Self::sync_dir). An error of kind `Unsupported` where the file system can't, and
    /// of kind `CrossesDevices` where the two are on different ones.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let _ = (from, to);
        Err(ErrorKind::Unsupported.into())
    }

    /// Creates the file `to` with the bytes of `from`, which share their room until either is
    /// changed. Durable only after [`File::sync_data`] and [`sync_dir`](Self::sync_dir). An error of
    /// kind `Unsupported`, and no file, where the file system can't.
    fn reflink(&self, from: &Path, to: &Path) -> Result<()> {
        let _ = (from, to);
        Err(ErrorKind::Unsupported.into())
    }

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// Bytes that can still be written on the file system of `path`.
    fn available_space(&self, path: &Path) -> Result<u64>;

    /// Whether the room of a hole that is punched into a file comes back at once. On btrfs it does
    /// when all that was written in one go with it is gone, too.
    fn holes_are_room(&self, path: &Path) -> Result<bool> {
        let _ = path;
        Ok(true)
    }

    /// Makes [`available_space`](Self::available_space) count all that was written and removed. Most
    /// file systems always do, and this does nothing there; btrfs says what it had left when it last
    /// committed, which may be half a minute ago.
    fn settle_space(&self, path: &Path) -> Result<()> {
        let _ = path;
        Ok(())
    }

    /// Takes the exclusive lock on a directory, or on a file, which is created if need be; an error of
    /// kind `WouldBlock` if another holder has it. Released when the guard is dropped.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>>;

    /// The absolute path of something that exists, without symbolic links.
    fn canonicalize(&self, path: &Path) -> Result<PathBuf>;

    /// Tells file systems apart: two of the same number see the same files.
    fn number(&self) -> usize {
        0
    }

    /// A page in the file at `path` that processes share, for one of them to write and the others to
    /// read. Where files can't be shared, the writer gets one of its own, and readers an error of
    /// kind `Unsupported`. Nothing of it is ever durable.
    fn page(&self, path: &Path, writable: bool) -> Result<Page> {
        let _ = path;
        if writable { Ok(Page::in_memory()) } else { Err(ErrorKind::Unsupported.into()) }
    }

    /// Tells the machine's starts apart.
    fn boot_id(&self) -> Result<[u8; 16]> {
        Err(ErrorKind::Unsupported.into())
    }

    /// 16 random bytes.
    fn random_id(&self) -> Result<[u8; 16]>;
}

/// An open file. Dropping it closes it.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::io::{Io, OpenMode, RealIo, read_exact_at, write_all_at};
/// use std::io::IoSlice;
///
/// # let path = dir.path().join("file");
/// let file = RealIo.open(&path, OpenMode::CreateNew)?;
/// write_all_at(&*file, &mut [IoSlice::new(b"kogia "), IoSlice::new(b"sima")], 0)?;
/// file.sync_data()?;
/// let mut word = [0; 4];
/// read_exact_at(&*file, &mut word, 6)?;
/// assert_eq!((&word, file.len()?), (b"sima", 10));
/// # Ok::<_, std::io::Error>(())
/// ```
pub trait File: Send + Sync + Debug {
    /// Writes some of the buffers' bytes at `offset`; gives how many, as `pwritev` does.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize>;

    /// Reads into the buffers from `offset` on; gives how many bytes, as `preadv` does. Zero
    /// means the end of the file.
    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize>;

    /// Makes the file's bytes and length durable. After an error nothing may be assumed of the
    /// bytes written since the last success, whatever reading them shows (invariant I2).
    fn sync_data(&self) -> Result<()>;

    /// The file's length in bytes.
    fn len(&self) -> Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file off, or extends it with a hole.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Makes sure that the first `len` bytes have room on the disk, extending the file.
    fn allocate(&self, len: u64) -> Result<()>;

    /// Gives the room of a range back; it reads as zeros afterwards. An error of kind
    /// `Unsupported` where the file system can't.
    fn punch(&self, offset: u64, len: u64) -> Result<()>;

    /// The names that the file has: more than one means that what is changed here is changed
    /// elsewhere, too.
    fn link_count(&self) -> Result<u64>;

    /// The first range at or behind `offset` that is not known to be a hole; `None` where there is
    /// none before the end.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((offset < len).then_some(offset..len))
    }

    /// Says that a range will be read soon; a hint.
    fn will_need(&self, offset: u64, len: u64);

    /// Has a range that was written go to the device from now on, so that the next sync finds less
    /// to do; a hint, which makes nothing durable.
    fn start_write_back(&self, _range: Range<u64>) {}

    /// Drops clean cached pages, so that the next read comes from the device.
    fn drop_cache(&self) -> Result<()>;

    /// Maps the first `len` bytes for reading; `None` where files can't be mapped.
    ///
    /// The caller promises that those bytes are not changed while the map lives, except by
    /// punching or refilling ranges that nobody reads any more, and that the file is not made
    /// shorter. A map that is a copy need not show what was refilled.
    fn map(&self, len: u64) -> Result<Option<Map>>;
}

/// Reads exactly `buffer.len()` bytes; fewer are an error of kind `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
    while !buffer.is_empty() {
        match file.read_vectored_at(&mut [IoSliceMut::new(buffer)], offset) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes all the buffers' bytes at `offset`, in as few calls as the system allows.
pub fn write_all_at(file: &dyn File, buffers: &mut [IoSlice<'_>], mut offset: u64) -> Result<()> {
    let mut left = buffers;
    // Empty buffers at the front would look like a write that gets nowhere.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored_at(left, offset) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut left, n);
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The absolute path without links and `..`, as far as there is anything at it.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::io::{RealIo, resolve};
///
/// let real = dir.path().canonicalize()?;
/// assert_eq!(resolve(&RealIo, &dir.path().join("new/../disk")), real.join("disk"));
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn resolve(io: &dyn Io, path: &Path) -> PathBuf {
    if let Ok(real) = io.canonicalize(path) {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        if part == Component::ParentDir {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        if let Ok(real) = io.canonicalize(&resolved) {
            resolved = real;
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_parents_are_followed_also_to_what_is_not_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir(real.join("a")).expect("a directory");
        std::os::unix::fs::symlink("a", real.join("link")).expect("a link");
        for (path, meant) in [
            ("a", "a"),
            ("link/new", "a/new"),
            ("link/../new", "new"),
            ("new/../a", "a"),
            ("new/../../a", "../a"),
        ] {
            let meant = meant
                .strip_prefix("../")
                .map_or(real.join(meant), |outside| real.parent().expect("a parent").join(outside));
            assert_eq!(resolve(&RealIo, &dir.path().join(path)), meant, "{path}");
        }
    }
}
