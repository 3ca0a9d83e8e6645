//! What lies on a disk: a loop device with direct I/O, and a file system on that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::device::Device;
use super::fuse::{DiskFile, Disks};
use super::image::SECTOR_BYTES;
use crate::janitor::{Duty, Janitor, Thing, output, run};

/// The file systems that a store is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

/// A loop device on a disk. Dropping it detaches it.
#[derive(Debug)]
pub struct Loop {
    path: PathBuf,
    duty: Option<Duty>,
    _file: DiskFile,
}

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct Mounted {
    duty: Option<Duty>,
    _device: Loop,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// What has to be installed for it.
    pub fn package(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "e2fsprogs",
            FileSystem::Xfs => "xfsprogs",
            FileSystem::Btrfs => "btrfs-progs",
        }
    }

    /// The smallest disk that it is comfortable on.
    pub fn disk_bytes(self) -> u64 {
        match self {
            FileSystem::Ext4 => 96 << 20,
            // mkfs.xfs refuses less.
            FileSystem::Xfs => 300 << 20,
            FileSystem::Btrfs => 160 << 20,
        }
    }

    /// What it takes a disk to write whole or not at all. btrfs puts its checksummed superblock into
    /// one of its sectors, which have 4 KiB: on a disk of smaller ones a torn superblock is the end.
    pub fn unit_bytes(self) -> usize {
        match self {
            FileSystem::Ext4 | FileSystem::Xfs => SECTOR_BYTES,
            FileSystem::Btrfs => 4096,
        }
    }

    fn mkfs_options(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &[
                "-q",
                "-F",
                "-b4096",
                "-m0",
                "-N2048",
                "-Jsize=4",
                "-Enodiscard,lazy_itable_init=0,lazy_journal_init=0",
            ],
            FileSystem::Xfs => &["-q", "-f", "-K"],
            FileSystem::Btrfs => &["-q", "-f", "-K"],
        }
    }

    fn mount_options(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "noinit_itable,nodiscard",
            // Several states of one file system are mounted at once.
            FileSystem::Xfs => "nouuid",
            FileSystem::Btrfs => "nodiscard",
        }
    }

    /// Makes the file system on an empty disk.
    pub fn make(self, device: &Loop) -> io::Result<()> {
        let program = format!("mkfs.{}", self.name());
        let mut arguments: Vec<&Path> = self.mkfs_options().iter().map(Path::new).collect();
        arguments.push(&device.path);
        run(&program, &arguments)
    }

    /// Mounts the device at `dir`, which is there and empty.
    pub fn mount(self, device: Loop, dir: &Path, janitor: &Janitor) -> io::Result<Mounted> {
        let options = ["-t", self.name(), "-o", self.mount_options()];
        let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
        arguments.extend([device.path.as_path(), dir]);
        run("mount", &arguments)?;
        let duty = Some(janitor.charge(Thing::Mount(dir.to_owned()))?);
        Ok(Mounted { duty, _device: device })
    }
}

impl Loop {
    /// Makes a disk a block device.
    pub fn attach(disks: &Disks, device: &Arc<Device>, janitor: &Janitor) -> io::Result<Self> {
        let file = disks.add(device.clone());
        let options = ["--find", "--show", "--direct-io=on"];
        let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
        arguments.push(file.path());
        let path = PathBuf::from(output("losetup", &arguments)?.trim());
        let duty = Some(janitor.charge(Thing::Loop(path.clone()))?);
        Ok(Loop { path, duty, _file: file })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Where it fails, the janitor tries again at the end, and says so.
        let _ = self.duty.take().map(Duty::fulfil);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.duty.take().map(Duty::fulfil);
    }
}
