//! A file system of which chosen calls wait until they are let go: two threads meet in exactly
//! the order that a test wants.

use std::io::{IoSlice, IoSliceMut, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use kogia::io::sim::SimIo;
use kogia::io::{File, Io, Map, OpenMode};

/// A call that can be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Read,
    Sync,
    Replace,
}

/// A simulated machine's file system, with calls held. Clones share it.
#[derive(Clone, Debug)]
pub struct HeldIo {
    io: SimIo,
    hold: Arc<Hold>,
}

#[derive(Debug, Default)]
struct Hold {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next call of this kind on a path below this one is held.
    wanted: Option<(Call, PathBuf)>,
    is_held: bool,
}

#[derive(Debug)]
struct HeldFile {
    file: Arc<dyn File>,
    path: PathBuf,
    hold: Arc<Hold>,
}

impl HeldIo {
    pub fn new(io: &SimIo) -> Self {
        HeldIo { io: io.clone(), hold: Arc::default() }
    }

    /// Holds the next such call on a path below `dir`, before it does anything.
    pub fn hold_next(&self, call: Call, dir: impl Into<PathBuf>) {
        self.hold.state.lock().unwrap().wanted = Some((call, dir.into()));
    }

    /// Waits until the call has come.
    pub fn wait_until_held(&self) {
        let state = self.hold.state.lock().unwrap();
        drop(self.hold.changed.wait_while(state, |state| !state.is_held).unwrap());
    }

    /// Lets the call go on.
    pub fn let_go(&self) {
        self.hold.state.lock().unwrap().is_held = false;
        self.hold.changed.notify_all();
    }
}

impl Hold {
    fn pass(&self, call: Call, path: &Path) {
        let mut state = self.state.lock().unwrap();
        let hits = |(wanted, dir): &mut (Call, PathBuf)| *wanted == call && path.starts_with(dir);
        if state.wanted.take_if(hits).is_some() {
            state.is_held = true;
            self.changed.notify_all();
            drop(self.changed.wait_while(state, |state| state.is_held).unwrap());
        }
    }
}

impl Io for HeldIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = self.io.open(path, mode)?;
        Ok(Arc::new(HeldFile { file, path: path.to_owned(), hold: self.hold.clone() }))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.hold.pass(Call::Replace, path);
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
        self.hold.pass(Call::Read, &self.path);
        self.file.read_vectored_at(buffers, offset)
    }

    fn sync_data(&self) -> Result<()> {
        self.hold.pass(Call::Sync, &self.path);
        self.file.sync_data()
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
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

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
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
