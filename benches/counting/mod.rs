//! The operating system's files, with every call on them counted.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::io::{IoSlice, IoSliceMut, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kogia::io::{File, Io, Map, OpenMode, RealIo};

/// Counts calls to a [`RealIo`]. What RocksDB does is not among them.
#[derive(Debug, Default)]
pub struct CountingIo {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    written_bytes: AtomicU64,
    syncs: AtomicU64,
    others: AtomicU64,
}

/// Calls so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// `pwritev`.
    pub writes: u64,
    /// Bytes that those wrote.
    pub written_bytes: u64,
    /// `fdatasync`, and `fsync` of a directory or a small file.
    pub syncs: u64,
    /// All others that change something: create, unlink, replace, allocate, cut, punch.
    pub others: u64,
}

#[derive(Debug)]
struct CountedFile {
    file: Arc<dyn File>,
    counters: Arc<Counters>,
}

impl CountingIo {
    pub fn calls(&self) -> Calls {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Calls {
            writes: load(&counters.writes),
            written_bytes: load(&counters.written_bytes),
            syncs: load(&counters.syncs),
            others: load(&counters.others),
        }
    }
}

impl Calls {
    pub fn since(self, before: Calls) -> Calls {
        Calls {
            writes: self.writes - before.writes,
            written_bytes: self.written_bytes - before.written_bytes,
            syncs: self.syncs - before.syncs,
            others: self.others - before.others,
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Io for CountingIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        if mode == OpenMode::CreateNew {
            count(&self.counters.others);
        }
        let file = RealIo.open(path, mode)?;
        Ok(Arc::new(CountedFile { file, counters: self.counters.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        count(&self.counters.others);
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
        // The file's sync and the directory's.
        count(&self.counters.syncs);
        count(&self.counters.syncs);
        count(&self.counters.others);
        RealIo.replace(path, contents)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        count(&self.counters.others);
        RealIo.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        count(&self.counters.syncs);
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
        // Its counters are its own, so no other store may lend it a disk's thread and files.
        Arc::as_ptr(&self.counters) as usize
    }

    fn random_id(&self) -> Result<[u8; 16]> {
        RealIo.random_id()
    }
}

impl File for CountedFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        count(&self.counters.writes);
        let written = self.file.write_vectored_at(buffers, offset)?;
        self.counters.written_bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.file.read_vectored_at(buffers, offset)
    }

    fn sync_data(&self) -> Result<()> {
        count(&self.counters.syncs);
        self.file.sync_data()
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        count(&self.counters.others);
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        count(&self.counters.others);
        self.file.allocate(len)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        count(&self.counters.others);
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
