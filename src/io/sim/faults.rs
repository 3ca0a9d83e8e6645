//! Calls, numbered and counted, and those that are made to fail.

use std::io::Error;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What a call asks for. [`Io::replace`](crate::io::Io::replace) is five of them: `Create`,
/// `Write`, `Sync`, `Rename`, `SyncDir`. Hints are not calls.
///
/// ```
/// use kogia::io::{Io, sim::{CallKind, SimIo}};
/// use std::path::Path;
///
/// let io = SimIo::new(1);
/// io.replace(Path::new("/file"), b"media")?;
/// let counters = io.counters();
/// assert_eq!((counters.of(CallKind::Sync), counters.of(CallKind::Rename)), (1, 1));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CallKind {
    /// Opening a file that is there.
    Open,
    /// Creating a file, a lock's too.
    Create,
    /// Creating one directory.
    CreateDir,
    /// Listing a directory.
    List,
    /// Asking whether a name is there.
    Exists,
    /// Reading a small file whole.
    ReadSmall,
    /// Removing a name.
    Remove,
    /// Renaming a file over another.
    Rename,
    /// Syncing a directory.
    SyncDir,
    /// Asking for free space.
    AvailableSpace,
    /// Locking a file.
    Lock,
    /// Resolving a path.
    Canonicalize,
    /// Drawing random bytes.
    RandomId,
    /// Writing bytes.
    Write,
    /// Reading bytes.
    Read,
    /// Syncing a file.
    Sync,
    /// Asking for a file's length.
    Len,
    /// Setting it.
    SetLen,
    /// Reserving room.
    Allocate,
    /// Punching a hole.
    Punch,
    /// Dropping clean pages.
    DropCache,
    /// Mapping a file.
    Map,
    /// Removing an empty directory.
    RemoveDir,
    /// Giving a file a further name.
    HardLink,
    /// Making a copy that shares its room.
    Reflink,
    /// Asking how many names a file has.
    LinkCount,
    /// Asking where a file's next bytes are.
    NextData,
    /// Opening a page that processes share.
    Page,
}

const KINDS: usize = CallKind::Page as usize + 1;

/// How a call fails.
///
/// ```
/// use kogia::io::sim::{CallKind, Fail, SimIo};
/// # use kogia::io::{Io, OpenMode, write_all_at};
/// # use std::{io::IoSlice, path::Path};
/// # let (io, path) = (SimIo::new(1), Path::new("/file"));
/// # let file = io.open(path, OpenMode::CreateNew)?;
///
/// io.fail_next(CallKind::Write, Fail::Short(2));
/// assert_eq!(file.write_vectored_at(&[IoSlice::new(b"media")], 0)?, 2);
/// io.fail_next(CallKind::Sync, Fail::Eio);
/// assert!(file.sync_data().is_err());
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// The device reports an error. A failed sync loses what it was to make durable.
    Eio,
    /// The disk is full. A sync that fails so loses as much as with `Eio`.
    Enospc,
    /// A signal came first; nothing was done.
    Eintr,
    /// The file system cannot do it.
    Unsupported,
    /// A read or a write stops after so many bytes; other calls succeed.
    Short(usize),
}

/// Which calls fail, and how. Made by [`Fault::call`], [`Fault::next`] or [`Fault::nth`]; fails
/// one call unless made [`lasting`](Fault::lasting).
///
/// ```
/// use kogia::io::sim::{CallKind, Fail, Fault, SimIo};
/// # use kogia::io::{Io, OpenMode, write_all_at};
/// # use std::{io::IoSlice, path::Path};
/// # let (io, path) = (SimIo::new(1), Path::new("/file"));
/// # let file = io.open(path, OpenMode::CreateNew)?;
///
/// // The disk below /mnt is full from its second write on.
/// io.fail(Fault::nth(CallKind::Write, 1, Fail::Enospc).under("/mnt").lasting());
/// write_all_at(&*file, &mut [IoSlice::new(b"media")], 0)?; // elsewhere
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    which: Which,
    fail: Fail,
    under: Option<PathBuf>,
    lasting: bool,
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Number(u64),
    /// The call of the kind before which so many others match.
    Kind(CallKind, u64),
}

impl Fault {
    /// Fails call number `number`, counted from 0 since the machine started.
    #[must_use]
    pub fn call(number: u64, fail: Fail) -> Self {
        Fault { which: Which::Number(number), fail, under: None, lasting: false }
    }

    /// Fails the next call of a kind.
    #[must_use]
    pub fn next(kind: CallKind, fail: Fail) -> Self {
        Self::nth(kind, 0, fail)
    }

    /// Fails a call of a kind, after letting `skipped` of them pass.
    #[must_use]
    pub fn nth(kind: CallKind, skipped: u64, fail: Fail) -> Self {
        Fault { which: Which::Kind(kind, skipped), fail, under: None, lasting: false }
    }

    /// Only for paths in `dir` and below.
    #[must_use]
    pub fn under(mut self, dir: impl Into<PathBuf>) -> Self {
        self.under = Some(dir.into());
        self
    }

    /// From the first call that it fails, fails all that match.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Whether the fault hits this call; a skipped one is counted.
    fn hits(&mut self, number: u64, kind: CallKind, path: &Path) -> bool {
        if self.under.as_ref().is_some_and(|dir| !path.starts_with(dir)) {
            return false;
        }
        match &mut self.which {
            Which::Number(first) => number == *first || self.lasting && number > *first,
            Which::Kind(wanted, _) if *wanted != kind => false,
            Which::Kind(_, 0) => true,
            Which::Kind(_, skipped) => {
                *skipped -= 1;
                false
            }
        }
    }
}

/// Calls and bytes since the machine started, or since
/// [`SimIo::reset_counters`](super::SimIo::reset_counters). Calls that failed count too.
///
/// ```
/// use kogia::io::sim::{CallKind, SimIo};
/// # use kogia::io::{Io, OpenMode, write_all_at};
/// # use std::{io::IoSlice, path::Path};
/// # let (io, path) = (SimIo::new(1), Path::new("/file"));
/// # let file = io.open(path, OpenMode::CreateNew)?;
///
/// io.reset_counters();
/// write_all_at(&*file, &mut [IoSlice::new(b"me"), IoSlice::new(b"dia")], 0)?;
/// let counters = io.counters();
/// assert_eq!((counters.of(CallKind::Write), counters.bytes_written), (1, 5));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    calls: [u64; KINDS],
    /// Bytes that writes have taken.
    pub bytes_written: u64,
    /// Bytes that reads have given.
    pub bytes_read: u64,
}

impl Counters {
    /// Calls of a kind.
    #[must_use]
    pub fn of(&self, kind: CallKind) -> u64 {
        self.calls[kind as usize]
    }

    /// Calls of all kinds.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.calls.iter().sum()
    }
}

/// What stands before every call.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    /// Calls so far.
    pub(super) calls: u64,
    pub(super) counters: Counters,
    pub(super) faults: Vec<Fault>,
    /// The call at which the power goes.
    pub(super) power_off_at: Option<u64>,
    pub(super) is_off: bool,
}

impl Gate {
    /// Lets a call pass; gives how many bytes it may move.
    pub(super) fn pass(&mut self, kind: CallKind, path: &Path) -> Result<usize, Error> {
        let number = self.calls;
        self.calls += 1;
        self.counters.calls[kind as usize] += 1;
        self.is_off |= self.power_off_at == Some(number);
        if self.is_off {
            return Err(Errno::IO.into());
        }
        let mut hit = None;
        self.faults.retain_mut(|fault| {
            let hits = fault.hits(number, kind, path);
            hit = hit.or(hits.then_some(fault.fail));
            fault.lasting || !hits
        });
        match hit {
            None => Ok(usize::MAX),
            Some(Fail::Short(bytes)) => Ok(bytes),
            Some(Fail::Eio) => Err(Errno::IO.into()),
            Some(Fail::Enospc) => Err(Errno::NOSPC.into()),
            Some(Fail::Eintr) => Err(Errno::INTR.into()),
            Some(Fail::Unsupported) => Err(Errno::OPNOTSUPP.into()),
        }
    }
}
