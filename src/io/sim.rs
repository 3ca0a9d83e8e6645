//! A machine in memory, whose power can be cut and whose calls can be made to fail.
//!
//! [`SimIo`] keeps what is durable apart from what is not. Bytes and lengths become durable with
//! [`File::sync_data`], names with [`Io::sync_dir`], and not a call earlier; [`SimIo::crash`]
//! gives the machine as it may be after a power cut, in any of the states that this leaves open.
//! Nothing depends on the clock or on chance: the same calls on the same seed give the same
//! answers.
//!
//! | to explore | use |
//! | --- | --- |
//! | a power cut at every call | [`power_off_at_call`](SimIo::power_off_at_call) with 0, 1, 2, ..., then [`crash`](SimIo::crash) |
//! | every state that a cut may leave | [`crash_states`](SimIo::crash_states) and [`Keep::Nth`], or [`Keep::Random`] where there are too many |
//! | the same from one recorded run | [`witness`](SimIo::witness) |
//! | a killed process on a machine that goes on | [`kill`](SimIo::kill) |
//! | a failing call, each call failing in turn | [`fail`](SimIo::fail), [`fail_call`](SimIo::fail_call) |
//! | a full disk | [`set_capacity`](SimIo::set_capacity) |
//! | rot | [`read_file`](SimIo::read_file), [`write_file`](SimIo::write_file) |
//!
//! A failed sync behaves as on ext4 and xfs: the pages that it was to write count as clean from
//! then on. Readers still see them, the next sync succeeds without them, and a power cut or
//! [`File::drop_cache`] shows that they never arrived.
//!
//! ```
//! use kogia::io::{Io, OpenMode, write_all_at};
//! use kogia::io::sim::{Keep, SimIo};
//! use std::{io::IoSlice, path::Path};
//!
//! let (io, path) = (SimIo::new(1), Path::new("/file"));
//! let file = io.open(path, OpenMode::CreateNew)?;
//! io.sync_dir(Path::new("/"))?;
//! write_all_at(&*file, &mut [IoSlice::new(b"synced")], 0)?;
//! file.sync_data()?;
//! write_all_at(&*file, &mut [IoSlice::new(b", not synced")], 6)?;
//!
//! assert_eq!(io.crash(Keep::Nothing).read_file(path)?, b"synced");
//! assert_eq!(io.crash(Keep::Everything).read_file(path)?, b"synced, not synced");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! All methods may be called from any number of threads; each call is atomic.

mod content;
mod crash;
mod faults;
mod inode;
mod machine;
#[cfg(test)]
mod tests;
mod witness;

use std::fmt;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{File, Io, Map, OpenMode, Page, write_all_at};
use content::Content;
use machine::{Machine, NodeId, absolute};
use witness::Witness;

pub use crash::Keep;
pub use faults::{CallKind, Counters, Fail, Fault};
pub use witness::Moment;

/// A simulated machine. Clones share it.
///
/// ```
/// use kogia::io::{Io, sim::{Keep, SimIo}};
/// use std::path::Path;
///
/// // Whatever a power cut leaves of a replaced file, it is the old or the new one, whole.
/// let path = Path::new("/file");
/// let before = SimIo::new(1);
/// before.replace(path, b"old")?;
/// for call in 0.. {
///     let io = before.kill();
///     io.power_off_at_call(call);
///     let replaced = io.replace(path, b"new").is_ok();
///     for state in 0..io.crash_states() {
///         let left = io.crash(Keep::Nth(state)).read_file(path)?;
///         assert!(left == b"new" || !replaced && left == b"old");
///     }
///     if replaced {
///         break;
///     }
/// }
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimIo(Arc<Mutex<Machine>>);

struct SimFile {
    io: SimIo,
    node: NodeId,
    path: PathBuf,
    is_writable: bool,
}

/// Holds a lock until it is dropped.
struct SimLock {
    io: SimIo,
    node: NodeId,
}

impl SimIo {
    /// A machine with nothing but an empty root directory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Machine::new(seed))
    }

    fn of(machine: Machine) -> Self {
        SimIo(Arc::new(Mutex::new(machine)))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call pass the gate; gives the machine, and how many bytes the call may move.
    fn call(&self, kind: CallKind, path: &Path) -> Result<(MutexGuard<'_, Machine>, usize)> {
        let mut machine = self.machine();
        let limit = machine.pass(kind, path)?;
        Ok((machine, limit))
    }

    // Power.

    /// Stops the machine: from now on every call on it and its open files fails.
    pub fn power_off(&self) {
        self.machine().gate.is_off = true;
    }

    /// Stops the machine at call number `number`, counted from 0 since it started: that call
    /// does nothing but fail, like all later ones.
    pub fn power_off_at_call(&self, number: u64) {
        self.machine().gate.power_off_at = Some(number);
    }

    /// Whether the machine has been stopped.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.machine().gate.is_off
    }

    /// The machine after a power cut at this moment: a new one, with nothing open, no locks, no
    /// faults and no calls counted. This one goes on as it was.
    #[must_use]
    pub fn crash(&self, keep: Keep) -> SimIo {
        Self::of(self.machine().cut(&mut keep.into()))
    }

    /// The machine after its process was killed at this moment: what was written is there to be
    /// read, and is as little durable as before. A new one, like [`crash`](Self::crash)'s.
    #[must_use]
    pub fn kill(&self) -> SimIo {
        Self::of(self.machine().restarted())
    }

    /// How many states a power cut at this moment may leave; some may look the same. At most
    /// `u128::MAX`.
    #[must_use]
    pub fn crash_states(&self) -> u128 {
        self.machine().crash_states()
    }

    /// Sectors that were written and not synced, each counted once a write.
    #[must_use]
    pub fn pending_sectors(&self) -> u64 {
        self.machine().pending_sectors()
    }

    // Faults.

    /// Makes calls fail. Where several faults hit a call, the one that was given first counts.
    pub fn fail(&self, fault: Fault) {
        self.machine().gate.faults.push(fault);
    }

    /// Makes call number `number` fail, counted from 0 since the machine started.
    pub fn fail_call(&self, number: u64, fail: Fail) {
        self.fail(Fault::call(number, fail));
    }

    /// Makes the next call of a kind fail.
    pub fn fail_next(&self, kind: CallKind, fail: Fail) {
        self.fail(Fault::next(kind, fail));
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.machine().gate.faults.clear();
    }

    /// From now on a failed sync makes some of its writes durable, whole or torn, drawn from the
    /// machine's seed. Without this it makes none durable.
    pub fn let_failed_syncs_keep_some(&self) {
        self.machine().failed_syncs_keep_some = true;
    }

    /// From now on files can be reflinked. Without this they can't, as on ext4.
    pub fn let_files_be_reflinked(&self) {
        self.machine().reflinks = true;
    }

    /// Makes `dir` and all below it a disk of its own, with room for so many bytes. Blocks of
    /// 4,096 bytes count, holes and directories don't; 1 TiB where nothing is set.
    pub fn set_capacity(&self, dir: impl AsRef<Path>, bytes: u64) {
        self.machine().set_capacity(dir.as_ref(), bytes);
    }

    /// Shows the machine to `witness` before each call, whether the call will fail or not. There is
    /// one witness at most, and what was forked from the machine has none. The witness must not
    /// call the machine: it stands still.
    pub fn witness(&self, witness: impl FnMut(&Moment<'_>) + Send + 'static) {
        self.machine().witness = Some(Witness::new(witness));
    }

    /// Lets nobody look on any more.
    pub fn dismiss_witness(&self) {
        self.machine().witness = None;
    }

    /// From now on syncs succeed and make nothing durable, as on a device that says it has written
    /// what is in its cache. What was durable before stays so.
    pub fn let_syncs_lie(&self) {
        self.machine().syncs_lie = true;
    }

    // Counters.

    /// Calls since the machine started: the number of the next one.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.machine().gate.calls
    }

    /// Calls and bytes since the machine started, or since
    /// [`reset_counters`](Self::reset_counters).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.machine().gate.counters
    }

    /// Counts from zero again. The numbers of calls go on.
    pub fn reset_counters(&self) {
        self.machine().gate.counters = Counters::default();
    }

    // Files, from outside: not counted, never failing by a fault, also without power.

    /// The paths of all files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.machine().files()
    }

    /// A file's bytes as readers see them.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let machine = self.machine();
        let node = machine.find_file(path.as_ref())?;
        Ok(machine.file(node).cache.to_vec())
    }

    /// Replaces a file's bytes, durably, in place; creates it and the directories above it if
    /// need be.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        self.machine().plant(path.as_ref(), Content::of_bytes(bytes))
    }

    /// Removes a file, durably.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.machine().uproot(path.as_ref())
    }

    // Steps of calls.

    fn open_node(&self, machine: &mut Machine, node: NodeId, writable: bool) -> SimFile {
        let file = machine.file_mut(node);
        file.handles += 1;
        let path = file.path.clone();
        SimFile { io: self.clone(), node, path, is_writable: writable }
    }

    fn write_new(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let file = self.open(path, OpenMode::CreateNew)?;
        if !contents.is_empty() {
            write_all_at(&*file, &mut [IoSlice::new(contents)], 0)?;
        }
        file.sync_data()
    }
}

impl fmt::Debug for SimIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine();
        f.debug_struct("SimIo")
            .field("calls", &machine.gate.calls)
            .field("is_off", &machine.gate.is_off)
            .finish_non_exhaustive()
    }
}

impl Io for SimIo {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let kind = if mode == OpenMode::CreateNew { CallKind::Create } else { CallKind::Open };
        let (mut machine, _) = self.call(kind, path)?;
        let node = match mode {
            OpenMode::CreateNew => machine.create_file(path)?,
            OpenMode::Read | OpenMode::ReadWrite => machine.find_file(path)?,
        };
        Ok(Arc::new(self.open_node(&mut machine, node, mode != OpenMode::Read)))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        let path = absolute(path);
        let missing: Vec<&Path> =
            path.ancestors().take_while(|dir| !self.machine().is_dir(dir)).collect();
        // As on the operating system: see `RealIo`.
        if let Some(last) = path.ancestors().nth(missing.len()) {
            self.sync_dir(last.parent().unwrap_or(last))?;
        }
        for dir in missing.iter().rev() {
            match self.call(CallKind::CreateDir, dir)?.0.create_dir(dir) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists && **dir != *path => {
                    return Err(Errno::NOTDIR.into());
                }
                made => made?,
            }
            self.sync_dir(dir.parent().unwrap_or(dir))?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.call(CallKind::List, path)?.0.list(path)
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.call(CallKind::Exists, path)?.0.exists(path)
    }

    fn read_small(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        let (mut machine, _) = self.call(CallKind::ReadSmall, path)?;
        let node = machine.find_file(path)?;
        let content = &machine.file(node).cache;
        if content.len() > limit as u64 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let bytes = content.to_vec();
        machine.gate.counters.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let name = format!(".replace-{:016x}", self.machine().random.next());
        let new = dir.join(name);
        let renamed = self
            .write_new(&new, contents)
            .and_then(|()| self.call(CallKind::Rename, path)?.0.rename(&new, path));
        if renamed.is_err() {
            // The first error is the one to report; a crash may leave the file anyway.
            let _ = self.remove(&new);
            return renamed;
        }
        self.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.call(CallKind::Remove, path)?.0.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.call(CallKind::RemoveDir, path)?.0.remove_dir(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.call(CallKind::HardLink, to)?.0.hard_link(from, to)
    }

    fn reflink(&self, from: &Path, to: &Path) -> Result<()> {
        self.call(CallKind::Reflink, to)?.0.reflink(from, to)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.call(CallKind::SyncDir, path)?.0.sync_dir(path)
    }

    fn available_space(&self, path: &Path) -> Result<u64> {
        let (machine, _) = self.call(CallKind::AvailableSpace, path)?;
        if !machine.exists(path)? {
            return Err(Errno::NOENT.into());
        }
        Ok(machine.available(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>> {
        let mut machine = self.machine();
        if !machine.exists(path)? {
            machine.pass(CallKind::Create, path)?;
            machine.create_file(path)?;
        }
        machine.pass(CallKind::Lock, path)?;
        let node = machine.find(path)?;
        machine.lock(node)?;
        Ok(Box::new(SimLock { io: self.clone(), node }))
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        let (machine, _) = self.call(CallKind::Canonicalize, path)?;
        if machine.exists(path)? { Ok(absolute(path)) } else { Err(Errno::NOENT.into()) }
    }

    /// The machine's address: whoever has a clone of this keeps it from being used again.
    fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn page(&self, path: &Path, writable: bool) -> Result<Page> {
        self.call(CallKind::Page, path)?.0.page(path, writable)
    }

    fn boot_id(&self) -> Result<[u8; 16]> {
        Ok(u128::from(self.machine().starts).to_le_bytes())
    }

    fn random_id(&self) -> Result<[u8; 16]> {
        let (mut machine, _) = self.call(CallKind::RandomId, Path::new(""))?;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&machine.random.next().to_le_bytes());
        id[8..].copy_from_slice(&machine.random.next().to_le_bytes());
        Ok(id)
    }
}

impl SimFile {
    fn call(&self, kind: CallKind) -> Result<(MutexGuard<'_, Machine>, usize)> {
        self.io.call(kind, &self.path)
    }

    /// Like [`call`](Self::call), for a handle that must have been opened for writing.
    fn changing_call(&self, kind: CallKind) -> Result<(MutexGuard<'_, Machine>, usize)> {
        let passed = self.call(kind)?;
        if self.is_writable { Ok(passed) } else { Err(Errno::BADF.into()) }
    }
}

impl File for SimFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let (mut machine, limit) = self.changing_call(CallKind::Write)?;
        let all = buffers.iter().flat_map(|buffer| buffer.iter().copied());
        let bytes: Vec<u8> = all.take(limit).collect();
        let count = machine.write(self.node, offset, &bytes)?;
        machine.gate.counters.bytes_written += count as u64;
        Ok(count)
    }

    fn read_vectored_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let (mut machine, mut limit) = self.call(CallKind::Read)?;
        let mut count = 0;
        for buffer in buffers {
            let wanted = buffer.len().min(limit);
            let content = &machine.file(self.node).cache;
            let got = content.read(offset + count as u64, &mut buffer[..wanted]);
            count += got;
            limit -= got;
            if got < buffer.len() {
                break;
            }
        }
        machine.gate.counters.bytes_read += count as u64;
        Ok(count)
    }

    fn sync_data(&self) -> Result<()> {
        let mut machine = self.io.machine();
        let passed = machine.pass(CallKind::Sync, &self.path);
        match &passed {
            Ok(_) => machine.sync(self.node),
            Err(e) if machine.gate.is_off || e.kind() == ErrorKind::Interrupted => {}
            Err(_) => machine.fail_sync(self.node),
        }
        passed.map(drop)
    }

    fn len(&self) -> Result<u64> {
        let (machine, _) = self.call(CallKind::Len)?;
        Ok(machine.file(self.node).cache.len())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.changing_call(CallKind::SetLen)?.0.set_len(self.node, len)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        self.changing_call(CallKind::Allocate)?.0.allocate(self.node, len)
    }

    fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.changing_call(CallKind::Punch)?.0.punch(self.node, offset, len)
    }

    fn link_count(&self) -> Result<u64> {
        let (machine, _) = self.call(CallKind::LinkCount)?;
        Ok(machine.link_count(self.node))
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let (machine, _) = self.call(CallKind::NextData)?;
        Ok(machine.file(self.node).cache.next_data(offset))
    }

    fn will_need(&self, _offset: u64, _len: u64) {}

    fn drop_cache(&self) -> Result<()> {
        self.call(CallKind::DropCache)?.0.file_mut(self.node).drop_cache();
        Ok(())
    }

    fn map(&self, len: u64) -> Result<Option<Map>> {
        let (machine, _) = self.call(CallKind::Map)?;
        let content = &machine.file(self.node).cache;
        if len > content.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len as usize];
        content.read(0, &mut bytes);
        Ok(Some(Map::of_bytes(bytes)))
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut machine = self.io.machine();
        machine.file_mut(self.node).handles -= 1;
        machine.collect();
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.io.machine().unlock(self.node);
    }
}
