//! Plain files: an object is a file of its key's name, in a directory for what is before the slash.
//!
//! A put writes a file beside and renames it. What is to be durable is synced before, and its directory
//! after; what is not is synced by `syncfs`. Nothing is verified when it is read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Engine, Promise, See};
use crate::Result;
use crate::data::Key;

pub const SETTINGS: [&str; 3] = [
    "a file an object, written beside and renamed; a directory a camera; no checksums, no batches",
    "`fsync`, rename, `fsync` of the directory: the machine's death",
    "renamed and not synced: the process's death, the machine's after `syncfs`",
];

struct Open {
    dir: PathBuf,
    promise: Promise,
    /// Directories that are there.
    made: Mutex<HashSet<PathBuf>>,
    /// Of files written beside, of which two may be of the same key.
    written: AtomicU64,
}

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    fs::create_dir_all(dir)?;
    Ok(Box::new(Open {
        dir: dir.to_owned(),
        promise,
        made: Mutex::default(),
        written: AtomicU64::new(0),
    }))
}

impl Open {
    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(&key.name)
    }

    fn make_dir(&self, dir: &Path) -> Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.contains(dir) {
            fs::create_dir_all(dir)?;
            if self.promise == Promise::Durable {
                File::open(&self.dir)?.sync_all()?;
            }
            made.insert(dir.to_owned());
        }
        Ok(())
    }
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.upload(key, &[body])
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        puts.iter().try_for_each(|(key, body)| self.put(key, body))
    }

    fn upload(&self, key: &Key, pieces: &[&[u8]]) -> Result<()> {
        let path = self.path(key);
        let dir = path.parent().ok_or("a key without a directory")?;
        self.make_dir(dir)?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{number}.new"));
        let mut file = File::create(&beside)?;
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        if self.promise == Promise::Durable {
            file.sync_all()?;
        }
        fs::rename(&beside, &path)?;
        if self.promise == Promise::Durable {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        let mut file = match File::open(self.path(key)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        buffer.clear();
        file.read_to_end(buffer)?;
        see(buffer);
        Ok(true)
    }

    fn get_range(
        &self,
        key: &Key,
        range: Range<usize>,
        buffer: &mut Vec<u8>,
        see: &mut See<'_>,
    ) -> Result<bool> {
        buffer.resize(range.len(), 0);
        File::open(self.path(key))?.read_exact_at(buffer, range.start as u64)?;
        see(buffer);
        Ok(true)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut dirs = HashSet::new();
        for key in keys {
            let path = self.path(key);
            fs::remove_file(&path)?;
            dirs.extend(path.parent().map(Path::to_owned));
        }
        if self.promise == Promise::Durable {
            dirs.iter().try_for_each(|dir| File::open(dir)?.sync_all())?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.dir)?)?)
    }

    fn tidy(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
