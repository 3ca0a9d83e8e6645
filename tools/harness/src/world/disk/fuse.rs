//! Disks as files of a FUSE file system, for loop devices to lie on.
//!
//! Reads, writes and syncs of a file are reads, writes and flushes of the [`Device`] that it is.
//! Requests are answered from memory alone: a thread that serves them and waits for a file system
//! that lies on a disk of its own would wait for itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use super::device::Device;
use crate::janitor;

/// How long the kernel may remember names and sizes, which do not change.
const MEMORY: Duration = Duration::from_secs(3600);
const THREADS: usize = 2;

/// A mounted file system of disks. Dropping it unmounts it.
pub struct Disks {
    served: Served,
    dir: PathBuf,
    _session: BackgroundSession,
}

/// The disks that are there, by inode number.
#[derive(Debug, Clone, Default)]
struct Served(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    devices: BTreeMap<u64, Arc<Device>>,
    last: u64,
}

/// A disk's file. Dropping it takes the disk out of the file system.
#[derive(Debug)]
pub struct DiskFile {
    served: Served,
    number: u64,
    path: PathBuf,
}

impl Disks {
    /// Mounts at `dir`, which is there and empty.
    pub fn mount(dir: &Path) -> io::Result<Self> {
        let served = Served::default();
        let mut config = Config::default();
        config.n_threads = Some(THREADS);
        config.mount_options = vec![
            MountOption::FSName("kogia-crash".into()),
            MountOption::NoExec,
            MountOption::NoAtime,
        ];
        let session = fuser::spawn_mount(served.clone(), dir, &config)?;
        Ok(Disks { served, dir: dir.to_owned(), _session: session })
    }

    /// Makes a disk a file.
    pub fn add(&self, device: Arc<Device>) -> DiskFile {
        let mut table = self.served.table();
        // Never the number of a disk that is gone: the kernel may remember that one.
        table.last = table.last.max(INodeNo::ROOT.0) + 1;
        let number = table.last;
        table.devices.insert(number, device);
        DiskFile { served: self.served.clone(), number, path: self.dir.join(name(number)) }
    }
}

impl DiskFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // The session tries once, and a loop device that is gone may still hold its file.
        if let Err(error) = janitor::unmount(&self.dir) {
            eprintln!("{}: {error}", self.dir.display());
        }
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        self.served.table().devices.remove(&self.number);
    }
}

fn name(number: u64) -> String {
    format!("disk-{number}")
}

impl Served {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no panic holds it")
    }

    fn device(&self, inode: INodeNo) -> Result<Arc<Device>, Errno> {
        self.table().devices.get(&inode.0).cloned().ok_or(Errno::ENOENT)
    }

    fn attributes(&self, inode: INodeNo) -> Result<FileAttr, Errno> {
        if inode == INodeNo::ROOT {
            return Ok(attributes(inode, FileType::Directory, 0));
        }
        Ok(attributes(inode, FileType::RegularFile, self.device(inode)?.len()))
    }
}

fn attributes(ino: INodeNo, kind: FileType, size: u64) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o700,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 512,
    }
}

impl Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without, a loop device would have one request at a time.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, file: &OsStr, reply: ReplyEntry) {
        let number = file.to_str().and_then(|file| file.strip_prefix("disk-")?.parse().ok());
        let found = number.filter(|_| parent == INodeNo::ROOT).map(INodeNo).ok_or(Errno::ENOENT);
        match found.and_then(|inode| self.attributes(inode)) {
            Ok(attributes) => reply.entry(&MEMORY, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Ok(attributes) => reply.attr(&MEMORY, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.device(inode) {
            // Several writes of a loop device may be under way at once.
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |device: Arc<Device>| device.read(offset, size as usize).map_err(|_| Errno::EIO);
        match self.device(inode).and_then(read) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = |device: Arc<Device>| device.write(offset, bytes).map_err(|_| Errno::EIO);
        match self.device(inode).and_then(write) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    /// Closing a file is no flush of the disk.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        let flush = |device: Arc<Device>| device.flush().map_err(|_| Errno::EIO);
        match self.device(inode).and_then(flush) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    /// A disk without discard.
    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for number in self.table().devices.range(offset + 1..).map(|(number, _)| *number) {
            if reply.add(INodeNo(number), number, FileType::RegularFile, name(number)) {
                break;
            }
        }
        reply.ok();
    }
}
