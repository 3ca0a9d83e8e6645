//! The operating system's files.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs2::FileExt;
use rustix::fs::{Advice, FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::page::PAGE_BYTES;
use super::{File, Io, Map, OpenMode, Page};

/// System calls take at most this many buffers (`IOV_MAX` on Linux).
const MAX_BUFFERS: usize = 1024;

/// The operating system's file system.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::io::{Io, RealIo};
///
/// # let path = dir.path().join("file");
/// RealIo.replace(&path, b"old")?;
/// RealIo.replace(&path, b"new")?;
/// assert_eq!(RealIo.read_small(&path, 3)?, b"new");
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct RealIo;

#[derive(Debug)]
struct RealFile(fs::File);

/// A file that is locked until this is dropped.
#[derive(Debug)]
struct Locked(fs::File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is just starting has the file open,
        // too, until it runs its program.
        let _ = FileExt::unlock(&self.0);
    }
}

impl Io for RealIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create_new(mode == OpenMode::CreateNew)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let missing: Vec<_> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        // Each is durable before there is anything in it. So of those that are there only the last
        // may have been made by an attempt that died before the sync.
        if let Some(last) = path.ancestors().nth(missing.len()) {
            match self.sync_dir(parent(last)) {
                // Who may not read it has made nothing in it.
                Err(e) if e.kind() == ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        for dir in missing.iter().rev() {
            fs::create_dir_all(dir)?;
            self.sync_dir(parent(dir))?;
        }
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        path.try_exists()
    }

    fn read_small(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let dir = parent(path);
        let readable = Permissions::from_mode(0o666);
        let mut file =
            tempfile::Builder::new().prefix(".replace-").permissions(readable).tempfile_in(dir)?;
        file.write_all(contents)?;
        step!("replace.written");
        // Sync before the rename, or a crash leaves the name with no contents behind it.
        file.as_file().sync_all()?;
        step!("replace.synced");
        file.persist(path)?;
        step!("replace.renamed");
        self.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        fs::remove_dir(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to).map_err(|e| match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM | Errno::MLINK) => ErrorKind::Unsupported.into(),
            _ => e,
        })
    }

    fn reflink(&self, from: &Path, to: &Path) -> Result<()> {
        let from = fs::File::open(from)?;
        let new = OpenOptions::new().write(true).create_new(true).open(to)?;
        rustix::fs::ioctl_ficlone(&new, &from).map_err(|errno| {
            // The first error is the one to report.
            let _ = fs::remove_file(to);
            match errno {
                // What the file systems say that can't, or not between these two.
                Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS => {
                    ErrorKind::Unsupported.into()
                }
                other => other.into(),
            }
        })
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn available_space(&self, path: &Path) -> Result<u64> {
        fs2::available_space(path)
    }

    fn settle_space(&self, path: &Path) -> Result<()> {
        let dir = fs::File::open(path)?;
        if is_btrfs(&dir)? {
            rustix::fs::syncfs(&dir)?;
        }
        Ok(())
    }

    fn holes_are_room(&self, path: &Path) -> Result<bool> {
        Ok(!is_btrfs(&fs::File::open(path)?)?)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let file = match path.is_dir() {
            true => fs::File::open(path)?,
            false => OpenOptions::new().create(true).truncate(false).write(true).open(path)?,
        };
        FileExt::try_lock_exclusive(&file)?;
        Ok(Box::new(Locked(file)))
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        path.canonicalize()
    }

    fn page(&self, path: &Path, writable: bool) -> Result<Page> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable).create(writable);
        let file = options.open(path)?;
        if writable && file.metadata()?.len() < PAGE_BYTES {
            // With room on the disk: a full one would be a signal at the first write.
            let allocated = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, PAGE_BYTES);
            match allocated {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    rustix::fs::ftruncate(&file, PAGE_BYTES)?;
                }
                allocated => allocated?,
            }
        }
        Page::of_file(&file, writable)
    }

    fn boot_id(&self) -> Result<[u8; 16]> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let id = crate::format::StoreId::parse(&digits).ok_or(ErrorKind::InvalidData)?;
        Ok(id.0)
    }

    fn random_id(&self) -> Result<[u8; 16]> {
        let mut id = [0; 16];
        let filled = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        debug_assert_eq!(filled, id.len(), "requests of up to 256 bytes are never cut short");
        Ok(id)
    }
}

fn is_btrfs(dir: &fs::File) -> Result<bool> {
    const BTRFS_MAGIC: u32 = 0x9123_683e;
    Ok(rustix::fs::fstatfs(dir)?.f_type as u32 == BTRFS_MAGIC)
}

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl File for RealFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let buffers = &buffers[..buffers.len().min(MAX_BUFFERS)];
        Ok(rustix::io::pwritev(&self.0, buffers, offset)?)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let count = buffers.len().min(MAX_BUFFERS);
        Ok(rustix::io::preadv(&self.0, &mut buffers[..count], offset)?)
    }

    fn sync_data(&self) -> Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        // fs2's own loses the error: `posix_fallocate` returns it and leaves errno alone.
        Ok(rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len)?)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, flags, offset, len)?)
    }

    fn link_count(&self) -> Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let len = self.len()?;
        let start = match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            // Nothing but a hole from here to the end.
            Err(Errno::NXIO) => return Ok(None),
            // A file system that does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                return Ok((offset < len).then_some(offset..len));
            }
            start => start?,
        };
        let end = rustix::fs::seek(&self.0, SeekFrom::Hole(start))?;
        Ok((start < end).then_some(start..end))
    }

    fn will_need(&self, offset: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(&self.0, offset, len, Advice::WillNeed);
    }

    fn start_write_back(&self, range: Range<u64>) {
        super::write_back::start(&self.0, range);
    }

    fn drop_cache(&self) -> Result<()> {
        Ok(rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }

    fn map(&self, len: u64) -> Result<Option<Map>> {
        Map::of_file(&self.0, len).map(Some)
    }
}
