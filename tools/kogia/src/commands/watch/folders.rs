//! A folder and all below it, and what is put into them: inotify.
//!
//! A folder is watched before it is listed, so what is put into it is either listed or told. When
//! the kernel could not keep up, all are listed again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::failure::Failure;

const BUFFER_BYTES: usize = 64 << 10;

/// The watched folders.
pub struct Folders {
    root: PathBuf,
    takes_hidden: bool,
    inotify: OwnedFd,
    /// By the kernel's number of the watch.
    dirs: HashMap<i32, PathBuf>,
    /// Folders that could not be watched or listed.
    problems: Vec<Failure>,
}

/// A file that may be complete.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Whether it was told that it is complete: closed by its writer, or moved into place.
    pub is_complete: bool,
}

/// What an event was about.
enum Told {
    File(Found),
    Folder(PathBuf),
    Lost,
    Gone(i32),
}

impl Folders {
    /// Watches `root` and all below it; gives the files that are there.
    pub fn watch(root: &Path, takes_hidden: bool) -> Result<(Self, Vec<Found>), Failure> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify = inotify.map_err(|e| Failure::file(root)(e.into()))?;
        let root = root.to_path_buf();
        let (dirs, problems) = (HashMap::new(), Vec::new());
        let mut folders = Folders { root, takes_hidden, inotify, dirs, problems };
        let found = folders.list_all()?;
        Ok((folders, found))
    }

    /// What was put into the folders since this was called last. Does not wait.
    pub fn news(&mut self) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        for told in self.read()? {
            match told {
                Told::File(file) => found.push(file),
                Told::Folder(dir) => self.enter(dir, &mut found)?,
                Told::Lost => found.extend(self.list_all()?),
                Told::Gone(number) => {
                    if self.dirs.remove(&number).is_some_and(|dir| dir == self.root) {
                        return Err(Failure::file(&self.root)(io::ErrorKind::NotFound.into()));
                    }
                }
            }
        }
        Ok(found)
    }

    /// What went wrong with folders since this was called last. Their files are not watched.
    pub fn problems(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.problems)
    }

    /// Waits until there is something to read, a signal comes, or the time is over.
    pub fn wait(&self, timeout: Duration) -> Result<(), Failure> {
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Failure::file(&self.root)(error.into())),
        }
    }

    fn list_all(&mut self) -> Result<Vec<Found>, Failure> {
        let mut found = Vec::new();
        let root = self.root.clone();
        if !root.metadata().map_err(Failure::file(&root))?.is_dir() {
            return Err(Failure::Usage(format!("{}: not a directory", root.display())));
        }
        self.enter(root, &mut found)?;
        Ok(found)
    }

    /// Watches a folder and those below it, and finds their files.
    fn enter(&mut self, dir: PathBuf, found: &mut Vec<Found>) -> Result<(), Failure> {
        let mut folders = vec![dir];
        while let Some(dir) = folders.pop() {
            match self.watch_one(&dir).and_then(|()| fs::read_dir(&dir)) {
                Ok(entries) => {
                    for entry in entries.flatten() {
                        let kind = entry.file_type();
                        if !self.takes(&entry.file_name()) {
                            continue;
                        }
                        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                            folders.push(entry.path());
                        } else if kind.is_ok_and(|kind| kind.is_file()) {
                            found.push(Found { path: entry.path(), is_complete: false });
                        }
                    }
                }
                // It went as it had come.
                Err(error) if error.kind() == io::ErrorKind::NotFound && dir != self.root => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    return Err(Failure::Usage(format!(
                        "{}: more folders than one user may watch; raise fs.inotify.max_user_watches",
                        dir.display()
                    )));
                }
                Err(error) if dir == self.root => return Err(Failure::file(&dir)(error)),
                Err(error) => self.problems.push(Failure::file(&dir)(error)),
            }
        }
        Ok(())
    }

    fn watch_one(&mut self, dir: &Path) -> io::Result<()> {
        // Links are not followed, as with import; the root may be one.
        let links = if dir == self.root { WatchFlags::empty() } else { WatchFlags::DONT_FOLLOW };
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        let flags = what | WatchFlags::ONLYDIR | links;
        let number = inotify::add_watch(&self.inotify, dir, flags)?;
        self.dirs.insert(number, dir.to_path_buf());
        Ok(())
    }

    fn read(&self) -> Result<Vec<Told>, Failure> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut told = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(told),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Failure::file(&self.root)(error.into())),
            };
            let (number, what) = (event.wd(), event.events());
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            told.extend(self.tell(number, what, name));
        }
    }

    fn tell(&self, number: i32, what: ReadFlags, name: Option<&OsStr>) -> Option<Told> {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(Told::Lost);
        }
        if what.contains(ReadFlags::IGNORED) {
            return Some(Told::Gone(number));
        }
        let name = name.filter(|name| self.takes(name))?;
        let path = self.dirs.get(&number)?.join(name);
        if what.contains(ReadFlags::ISDIR) {
            return Some(Told::Folder(path));
        }
        // One that was created is told of again when it is closed; but it may be linked into place.
        let is_complete = what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO);
        Some(Told::File(Found { path, is_complete }))
    }

    /// Whether files and folders of this name are meant.
    fn takes(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        let is_hidden = name.starts_with(b".");
        let is_unfinished = name.ends_with(b".tmp") || name.ends_with(b".part");
        self.takes_hidden || !is_hidden && !is_unfinished
    }
}
