//! Disks whose writes take as long as on a device of a given rate, for want of separate devices.
//!
//! Everything goes to the operating system's files; a write returns when the slow device would be done
//! with it and all before it. Reads and syncs are not slowed down.

use std::io::{IoSlice, IoSliceMut, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kogia::io::{File, Io, Map, OpenMode, RealIo};

/// A device of so many bytes a second.
#[derive(Debug)]
struct Device {
    dir: PathBuf,
    bytes_per_second: f64,
    /// When it is done with all that it was given.
    free: Mutex<Instant>,
}

impl Device {
    /// Gives it so much to write; when it is done with that.
    fn busy_until(&self, bytes: usize) -> Instant {
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + took;
        *free
    }
}

/// What is below these directories is slow.
#[derive(Debug)]
pub struct SlowDisks {
    devices: Vec<Arc<Device>>,
}

impl SlowDisks {
    pub fn new(dirs: &[PathBuf], bytes_per_second: f64) -> Self {
        let device = |dir: &PathBuf| {
            let free = Mutex::new(Instant::now());
            Arc::new(Device { dir: dir.clone(), bytes_per_second, free })
        };
        SlowDisks { devices: dirs.iter().map(device).collect() }
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    device: Option<Arc<Device>>,
}

impl Io for SlowDisks {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let device = self.devices.iter().find(|device| path.starts_with(&device.dir)).cloned();
        Ok(Arc::new(SlowFile { file: RealIo.open(path, mode)?, device }))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        RealIo.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        RealIo.list(path)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        RealIo.exists(path)
    }

    fn read_small(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        RealIo.read_small(path, limit)
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        RealIo.replace(path, contents)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        RealIo.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        RealIo.sync_dir(path)
    }

    fn available_space(&self, path: &Path) -> Result<u64> {
        RealIo.available_space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        RealIo.lock(path)
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        RealIo.canonicalize(path)
    }

    fn number(&self) -> usize {
        // Its devices are its own, so no other store may lend it a disk's thread and files.
        self.devices.first().map_or(0, |device| Arc::as_ptr(device) as usize)
    }

    fn random_id(&self) -> Result<[u8; 16]> {
        RealIo.random_id()
    }
}

impl File for SlowFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let bytes = buffers.iter().map(|buffer| buffer.len()).sum();
        let done = self.device.as_ref().map(|device| device.busy_until(bytes));
        let written = self.file.write_vectored_at(buffers, offset)?;
        if let Some(done) = done {
            std::thread::sleep(done.saturating_duration_since(Instant::now()));
        }
        Ok(written)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.file.read_vectored_at(buffers, offset)
    }

    fn sync_data(&self) -> Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.file.allocate(len)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.file.punch(offset, len)
    }

    fn link_count(&self) -> Result<u64> {
        self.file.link_count()
    }

    fn will_need(&self, offset: u64, len: u64) {
        self.file.will_need(offset, len);
    }

    fn start_write_back(&self, range: Range<u64>) {
        self.file.start_write_back(range);
    }

    fn drop_cache(&self) -> Result<()> {
        self.file.drop_cache()
    }

    fn map(&self, len: u64) -> Result<Option<Map>> {
        self.file.map(len)
    }
}
