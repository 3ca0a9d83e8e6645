//! How a command may end: the failures, what to do about each, and the exit codes.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kogia::ErrorKind;

use crate::escaped;

/// What stopped a command.
#[derive(Debug)]
pub enum Failure {
    /// The store said no.
    Store(kogia::Error),
    /// The queue said no.
    Queue(kogia::Error),
    /// The store said no to what only one command does, and this is what to do about it.
    Advised { error: kogia::Error, advice: &'static str },
    /// A file that is not the store's could not be read or written.
    File { name: String, source: io::Error },
    /// Standard output was closed, or could not be written.
    Output(io::Error),
    /// There is no object under this key.
    NoSuchKey(Vec<u8>),
    /// A key that names no file below the directory of an export, and why.
    UnsafeKey(&'static str),
    /// The command went through, and this is what it found wrong.
    Problems(String),
    /// The command went through but for what is damaged.
    Damage(String),
    /// Ctrl-C or SIGTERM ended the command, and this is what is left to do.
    Interrupted(String),
    /// The store is open in a server, which can be asked.
    Served { error: kogia::Error, address: String, credentials: PathBuf },
    /// A server said no, or nothing.
    Server { exit: Exit, message: String },
    /// The arguments make no sense together.
    Usage(String),
}

/// The commands that go to a server as well.
pub const SERVED: &str =
    "'stat', 'verify', 'compact', 'backup', 'disks' and 'disk add|drain|keep|rebalance'";

/// The exit codes, one for each thing a caller may want to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    No = 1,
    Usage = 2,
    Damage = 3,
    Locked = 4,
    Full = 5,
    Condition = 6,
    NotThisStore = 7,
    Io = 8,
    /// As a shell has it for a command that Ctrl-C ended.
    Interrupted = 130,
}

impl Exit {
    const ALL: [Exit; 9] = [
        Exit::No,
        Exit::Usage,
        Exit::Damage,
        Exit::Locked,
        Exit::Full,
        Exit::Condition,
        Exit::NotThisStore,
        Exit::Io,
        Exit::Interrupted,
    ];

    /// The table of all codes, as `--help` and the man page show it.
    pub fn table() -> String {
        let mut table = "Exit codes:\n    0  done".to_string();
        for exit in Self::ALL {
            let _ = write!(table, "\n  {:>3}  {}", exit as u8, exit.meaning());
        }
        table
    }

    fn meaning(self) -> &'static str {
        match self {
            Exit::No => "no such key; or the command went through and found problems",
            Exit::Usage => "arguments that make no sense",
            Exit::Damage => "data or index damaged",
            Exit::Locked => "another process has the store open",
            Exit::Full => "a disk is full",
            Exit::Condition => "the condition (--if-absent, --if-seq) is not met",
            Exit::NotThisStore => {
                "no store there, or one already, or a disk or format that is not its own"
            }
            Exit::Io => "reading or writing failed",
            Exit::Interrupted => "interrupted; what was done stays done",
        }
    }

    fn of_store_error(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument => Exit::Usage,
            ErrorKind::Corruption | ErrorKind::Damaged => Exit::Damage,
            ErrorKind::Locked => Exit::Locked,
            ErrorKind::Full => Exit::Full,
            ErrorKind::Condition => Exit::Condition,
            ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Disk | ErrorKind::Version => {
                Exit::NotThisStore
            }
            _ => Exit::Io,
        }
    }
}

/// What to do next about an error of the store, where there is something to do.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => "'kogia init STORE' creates a store",
        ErrorKind::Locked => "wait for that process to end, or end it; the lock goes with it",
        ErrorKind::Full => {
            "free space on that disk, or delete objects: reading and deleting still work"
        }
        ErrorKind::Damaged => {
            "'kogia verify --accept-loss STORE' opens it in spite of that and shows what is gone"
        }
        ErrorKind::Corruption => {
            "'kogia verify STORE' finds everything affected. An index is repaired by 'kogia rebuild \
             STORE'; an object whose bytes are damaged can only be put again, or removed"
        }
        ErrorKind::Disk => {
            "connect the disk that is named, or give the place where it is now with --disk"
        }
        ErrorKind::Version => "use the release of kogia that made this store, or a later one",
        ErrorKind::Poisoned => "an earlier error closed the store to writes; run the command again",
        _ => return None,
    })
}

/// What to do next about an error of a queue, where there is something to do.
fn queue_advice(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NotFound => "'kogia queue append QUEUE' creates a queue",
        ErrorKind::Locked => "wait for that process to end, or end it; reading goes beside it",
        ErrorKind::Full => "free space on that disk, or drop items: 'kogia queue truncate QUEUE'",
        ErrorKind::Damaged => "with --accept-loss it goes on without what is gone",
        ErrorKind::Corruption => {
            "'kogia queue verify QUEUE' finds everything affected; 'kogia queue cat --pass-damage \
             QUEUE' prints the rest"
        }
        ErrorKind::Version => "use the release of kogia that made this queue, or a later one",
        _ => return None,
    })
}

impl Failure {
    /// A file, or a stream that stands for one, that could not be read or written.
    pub fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let name = path.as_ref().display().to_string();
        move |source| Failure::File { name, source }
    }

    /// An error of a store's reader or writer, which [`io`]'s traits have wrapped.
    pub fn stream(error: io::Error) -> Self {
        match error.downcast::<kogia::Error>() {
            Ok(error) => Failure::Store(error),
            Err(source) => Failure::File { name: "the store".into(), source },
        }
    }

    /// An error of the store with `advice` of its own where it is of `kind`.
    pub fn advised(kind: ErrorKind, advice: &'static str) -> impl Fn(kogia::Error) -> Self {
        move |error| match error.kind() == kind {
            true => Failure::Advised { error, advice },
            false => error.into(),
        }
    }

    /// Prints what happened and what to do about it, and gives the exit code. A closed pipe is
    /// how `kogia ls | head` ends: no news.
    pub fn report(&self) -> ExitCode {
        if matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "kogia: {self}");
        ExitCode::from(self.exit() as u8)
    }

    fn exit(&self) -> Exit {
        match self {
            Failure::Store(error)
            | Failure::Queue(error)
            | Failure::Advised { error, .. }
            | Failure::Served { error, .. } => Exit::of_store_error(error.kind()),
            Failure::Server { exit, .. } => *exit,
            Failure::File { source, .. } | Failure::Output(source) => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Full,
                _ => Exit::Io,
            },
            Failure::NoSuchKey(_) | Failure::UnsafeKey(_) | Failure::Problems(_) => Exit::No,
            Failure::Damage(_) => Exit::Damage,
            Failure::Interrupted(_) => Exit::Interrupted,
            Failure::Usage(_) => Exit::Usage,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Store(error) => write_advised(f, error, advice(error.kind())),
            Failure::Queue(error) => write_advised(f, error, queue_advice(error.kind())),
            Failure::Advised { error, advice } => write_advised(f, error, Some(advice)),
            Failure::Served { error, address, credentials } => write!(
                f,
                "{error}\n  a kogia-server has it open; {SERVED} take its address in place of the \
                 store:\n  {address}, with --credentials {}, or an access key and its secret in \
                 KOGIA_ACCESS_KEY and KOGIA_SECRET_KEY",
                credentials.display()
            ),
            Failure::File { name, source } => write!(f, "{name}: {source}"),
            Failure::Output(source) => write!(f, "standard output: {source}"),
            Failure::NoSuchKey(key) => write!(f, "no such key: {}", escaped::text(key)),
            Failure::UnsafeKey(why) => write!(f, "this key cannot become a path: {why}"),
            Failure::Problems(what)
            | Failure::Damage(what)
            | Failure::Interrupted(what)
            | Failure::Usage(what)
            | Failure::Server { message: what, .. } => f.write_str(what),
        }
    }
}

fn write_advised(
    f: &mut fmt::Formatter<'_>,
    error: &kogia::Error,
    advice: Option<&str>,
) -> fmt::Result {
    write!(f, "{error}")?;
    match advice {
        Some(advice) => write!(f, "\n  {advice}"),
        None => Ok(()),
    }
}

impl From<kogia::Error> for Failure {
    fn from(error: kogia::Error) -> Self {
        Failure::Store(error)
    }
}

/// A bare `?` is on standard output: everything else names its file.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}
