//! Errors: what kind, where, and what came before.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::format::{Fault, TrackId};

/// What Kogia's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller does next depends on this, never on a message's text.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::{ErrorKind, Store};
///
/// # let home = dir.path();
/// let store = Store::open(home)?;
/// match Store::open(home) {
///     Err(error) if error.kind() == ErrorKind::Locked => println!("later, then: {error}"),
///     other => panic!("opened twice: {other:?}"),
/// }
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named is not there (a store, a part). A missing object is `None`, not an error.
    NotFound,
    /// The call cannot be carried out as given; nothing was done.
    InvalidArgument,
    /// The condition of a put or delete does not hold; nothing was done.
    Condition,
    /// Bytes are not what was written. Only what the error names is affected.
    Corruption,
    /// Acknowledged data is damaged, found while opening. Passed with `Options::accept_loss`.
    Damaged,
    /// The operating system failed a call.
    Io,
    /// No room for new values; deletes and reads go on, and puts resume when room is back.
    Full,
    /// Another process, or another `Store` of this one, has the store open.
    Locked,
    /// A sync failed behind acknowledged writes, or the index could not be changed: this `Store`
    /// takes no more writes; reopen it, which recovers it from the tracks.
    Poisoned,
    /// Written by a format that this build does not know.
    Version,
    /// A disk is missing, swapped, or belongs to another store.
    Disk,
    /// The store is there already.
    Exists,
    /// The caller has called it off; nothing was done.
    Cancelled,
    /// It takes more than what is in memory, or more than a moment, and the call was not to wait.
    WouldBlock,
}

/// An error of a store.
///
/// ```
/// let missing = kogia::Options::new().create(kogia::Create::Never).open("/no/such/store");
/// assert_eq!(missing.unwrap_err().kind(), kogia::ErrorKind::NotFound);
/// ```
#[derive(Clone)]
pub struct Error(std::sync::Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    what: Cow<'static, str>,
    path: Option<PathBuf>,
    track: Option<(TrackId, u32)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

fn kind_of(fault: &Fault) -> ErrorKind {
    match fault {
        Fault::Version { .. } => ErrorKind::Version,
        _ => ErrorKind::Corruption,
    }
}

impl Error {
    /// What a caller does next depends on this.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file or directory that is affected, where there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The track and the chunk in it that are affected, where there are any.
    #[must_use]
    pub fn track(&self) -> Option<(TrackId, u32)> {
        self.0.track
    }

    pub(crate) fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        let what = what.into();
        Error(Inner { kind, what, path: None, track: None, source: None }.into())
    }

    pub(crate) fn invalid(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, what)
    }

    /// A failed system call on `path`; `doing` completes "could not".
    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        let what = format!("could not {doing}").into();
        let path = Some(path.to_owned());
        Error(Inner { kind, what, path, track: None, source: Some(source.into()) }.into())
    }

    /// Whether the process lacks what the call needed, as memory or file descriptors: that says nothing
    /// of the disk.
    pub(crate) fn is_shortage(&self) -> bool {
        let source = self.0.source.as_ref().and_then(|source| source.downcast_ref());
        let code = source.and_then(Errno::from_io_error);
        code.is_some_and(|code| [Errno::NOMEM, Errno::NFILE, Errno::MFILE].contains(&code))
    }

    /// A lock on `path` that could not be had; `held` says of `what` it is for that somebody else has it.
    pub(crate) fn lock(
        doing: &'static str,
        path: &Path,
        source: std::io::Error,
        what: &Path,
        held: &'static str,
    ) -> Self {
        match source.kind() {
            std::io::ErrorKind::WouldBlock => Error::new(ErrorKind::Locked, held).with_path(what),
            _ => Error::io(doing, path, source),
        }
    }

    /// Bytes of a file that do not decode.
    pub(crate) fn fault(path: &Path, fault: Fault) -> Self {
        let kind = kind_of(&fault);
        let what = "cannot be understood".into();
        let path = Some(path.to_owned());
        Error(Inner { kind, what, path, track: None, source: Some(fault.into()) }.into())
    }

    /// A chunk that does not hold what the index says.
    pub(crate) fn chunk(path: &Path, track: TrackId, chunk: u32, fault: Fault) -> Self {
        let kind = kind_of(&fault);
        let (path, track) = (Some(path.to_owned()), Some((track, chunk)));
        let what = "bytes are not what was written".into();
        Error(Inner { kind, what, path, track, source: Some(fault.into()) }.into())
    }

    pub(crate) fn with_path(self, path: &Path) -> Self {
        self.edit(|inner| inner.path = Some(path.to_owned()))
    }

    pub(crate) fn with_track(self, track: TrackId) -> Self {
        self.with_place(track, 0)
    }

    pub(crate) fn with_place(self, track: TrackId, chunk: u32) -> Self {
        self.edit(|inner| inner.track = Some((track, chunk)))
    }

    pub(crate) fn with_source(
        self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.edit(|inner| inner.source = Some(source.into()))
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = std::sync::Arc::get_mut(&mut self.0).expect("an error under construction");
        change(inner);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some((track, chunk)) = self.0.track {
            write!(f, "track {track}, chunk {chunk}: ")?;
        }
        write!(f, "{}", self.0.what)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => std::io::ErrorKind::NotFound,
            ErrorKind::InvalidArgument => std::io::ErrorKind::InvalidInput,
            ErrorKind::Corruption | ErrorKind::Damaged => std::io::ErrorKind::InvalidData,
            ErrorKind::Full => std::io::ErrorKind::StorageFull,
            ErrorKind::Locked => std::io::ErrorKind::WouldBlock,
            ErrorKind::Exists => std::io::ErrorKind::AlreadyExists,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_lacks_is_no_fault_of_the_disk() {
        let failed = |code| {
            let error = std::io::Error::from_raw_os_error(code);
            Error::io("read", Path::new("/mnt/a"), error)
        };
        let too_many_files = 24;
        assert!(failed(too_many_files).is_shortage());
        let input_output = 5;
        assert!(!failed(input_output).is_shortage());
    }
}
