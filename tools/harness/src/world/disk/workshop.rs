//! Where disks are mounted and worked on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::device::Device;
use super::fuse::Disks;
use super::image::Image;
use super::stack::{FileSystem, Loop, Mounted};
use crate::child::{self, Child, End, Order};
use crate::janitor::{Duty, Janitor, Thing};

/// What a child has said, and how many events the disk's log had by then.
///
/// The child waits while that is noted. So what it asks for, it asks for behind the events of its
/// beginning, and what was acknowledged, the events of its end had been answered for.
pub type Said = (u64, child::Said);

/// A directory with a FUSE file system of disks, and mount points. Dropping it takes all of it away.
pub struct Workshop {
    // In the order in which they are dropped.
    disks: Option<(Disks, Duty)>,
    dir: Option<(TempDir, Duty)>,
    janitor: Janitor,
    mounts: AtomicU64,
}

/// A mounted disk, and the place where it is.
pub struct Bench {
    mounted: Option<Mounted>,
    dir: PathBuf,
}

impl Workshop {
    /// Fails, and says what is missing, where this is not possible.
    pub fn open() -> Result<Self, String> {
        check_machine()?;
        let open = || -> io::Result<Self> {
            let janitor = Janitor::hire()?;
            let dir = tempfile::Builder::new().prefix("kogia-crash-").tempdir()?;
            let duty = janitor.charge(Thing::Dir(dir.path().to_owned()))?;
            let fuse = dir.path().join("disks");
            std::fs::create_dir(&fuse)?;
            let disks = Disks::mount(&fuse)?;
            let disks = Some((disks, janitor.charge(Thing::Mount(fuse))?));
            Ok(Workshop { disks, dir: Some((dir, duty)), janitor, mounts: AtomicU64::new(0) })
        };
        open().map_err(|e| {
            format!("no FUSE file system ({e}); it takes root, /dev/fuse and the package fuse3")
        })
    }

    /// A disk with an empty file system.
    pub fn make(&self, file_system: FileSystem) -> Result<Image, String> {
        let device = Arc::new(Device::new(Image::new(file_system.disk_bytes())));
        let made = Loop::attach(self.disks(), &device, &self.janitor)
            .and_then(|attached| file_system.make(&attached));
        made.map_err(|e| {
            let (name, package) = (file_system.name(), file_system.package());
            format!("no {name} ({e}); it takes root, loop devices and the package {package}")
        })?;
        // As it is found later: mounted once, and unmounted.
        self.mount(&device, file_system)
            .map_err(|e| format!("{} can't be mounted: {e}", file_system.name()))?;
        Ok(device.image())
    }

    /// Mounts a disk.
    pub fn mount(&self, device: &Arc<Device>, file_system: FileSystem) -> io::Result<Bench> {
        let number = self.mounts.fetch_add(1, Ordering::Relaxed);
        let dir = self.path().join(format!("mount-{number}"));
        std::fs::create_dir(&dir)?;
        let mounted = Loop::attach(self.disks(), device, &self.janitor)
            .and_then(|attached| file_system.mount(attached, &dir, &self.janitor));
        match mounted {
            Ok(mounted) => Ok(Bench { mounted: Some(mounted), dir }),
            Err(error) => {
                // Nothing was mounted there.
                let _ = std::fs::remove_dir(&dir);
                Err(error)
            }
        }
    }

    /// Has a child work, and notes what it says.
    pub fn work(&self, order: &Order, device: &Device) -> io::Result<(Vec<Said>, End)> {
        let mut child = Child::start(order, &self.janitor)?;
        let mut all = Vec::new();
        while let Some(said) = child.hear() {
            all.push((device.events() as u64, said));
            child.answer();
        }
        Ok((all, child.end()?))
    }

    fn disks(&self) -> &Disks {
        &self.disks.as_ref().expect("there until it is dropped").0
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().expect("there until it is dropped").0.path()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What fails here, the janitor tries again.
        if let Some((disks, duty)) = self.disks.take() {
            drop(disks);
            let _ = duty.forget();
        }
        if let Some((dir, duty)) = self.dir.take()
            && dir.close().is_ok()
        {
            let _ = duty.forget();
        }
    }
}

impl Bench {
    /// The mounted file system.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.mounted = None;
        let _ = std::fs::remove_dir(&self.dir);
    }
}

fn check_machine() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("disks are mounted here, which takes root".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return Err("no /dev/fuse; load the kernel's module fuse and install fuse3".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("no /dev/loop-control; load the kernel's module loop".to_owned());
    }
    Ok(())
}
