//! A file system of which chosen calls wait until they are let go: two threads meet in exactly
//! the order that a test wants.

use std::io::{IoSlice, IoSliceMut, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kogia::io::sim::SimIo;
use kogia::io::{File, Io, Map, OpenMode};

use crate::gate::Gate;

/// A call that can be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Read,
    Write,
    Sync,
    Replace,
}

/// A simulated machine's file system, with calls held. Clones share it.
#[derive(Clone, Debug)]
pub struct HeldIo {
    io: SimIo,
    holds: Arc<Mutex<Vec<Hold>>>,
}

/// One call that is held, or will be. Clones share it.
#[derive(Clone, Debug)]
pub struct Hold {
    call: Call,
    dir: PathBuf,
    gate: Gate,
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    path: PathBuf,
    io: HeldIo,
}

impl HeldIo {
    pub fn new(io: &SimIo) -> Self {
        HeldIo { io: io.clone(), holds: Arc::default() }
    }

    /// Holds the next such call on a path below `dir`, before it does anything.
    pub fn hold_next(&self, call: Call, dir: impl Into<PathBuf>) -> Hold {
        let hold = Hold { call, dir: dir.into(), gate: Gate::new() };
        self.holds.lock().unwrap().push(hold.clone());
        hold
    }

    fn pass(&self, call: Call, path: &Path) {
        let hits = |hold: &Hold| hold.call == call && path.starts_with(&hold.dir);
        let hold = {
            let mut holds = self.holds.lock().unwrap();
            holds.iter().position(hits).map(|at| holds.remove(at))
        };
        if let Some(hold) = hold {
            hold.gate.stop();
        }
    }
}

impl Hold {
    /// Waits until the call has come.
    pub fn wait(&self) {
        self.gate.wait();
    }

    /// Lets the call go on.
    pub fn let_go(&self) {
        self.gate.let_go();
    }
}

impl Io for HeldIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.io.open(path, mode)?;
        Ok(Arc::new(HeldFile { file, path: path.to_owned(), io: self.clone() }))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.pass(Call::Replace, path);
        self.io.replace(path, contents)
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.io.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.io.list(path)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.io.exists(path)
    }

    fn read_small(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        self.io.read_small(path, limit)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.io.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.io.remove_dir(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.io.hard_link(from, to)
    }

    fn reflink(&self, from: &Path, to: &Path) -> Result<()> {
        self.io.reflink(from, to)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.io.sync_dir(path)
    }

    fn available_space(&self, path: &Path) -> Result<u64> {
        self.io.available_space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        self.io.lock(path)
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        self.io.canonicalize(path)
    }

    fn number(&self) -> usize {
        self.io.number()
    }

    fn random_id(&self) -> Result<[u8; 16]> {
        self.io.random_id()
    }
}

impl File for HeldFile {
    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.io.pass(Call::Read, &self.path);
        self.file.read_vectored_at(buffers, offset)
    }

    fn sync_data(&self) -> Result<()> {
        self.io.pass(Call::Sync, &self.path);
        self.file.sync_data()
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.io.pass(Call::Write, &self.path);
        self.file.write_vectored_at(buffers, offset)
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

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        self.file.next_data(offset)
    }

    fn will_need(&self, offset: u64, len: u64) {
        self.file.will_need(offset, len);
    }

    fn drop_cache(&self) -> Result<()> {
        self.file.drop_cache()
    }

    fn map(&self, len: u64) -> Result<Option<Map>> {
        self.file.map(len)
    }
}
