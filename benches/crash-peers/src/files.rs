//! Plain files: an object is a file of its key's name.
//!
//! A put writes a temporary file, syncs it, renames it over the key's name and syncs the directory; a
//! delete unlinks and syncs the directory. Every write is synced, whatever is asked for: a rename over
//! a file that was not may leave an empty one. There are no batches, and there is no checksum.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use kogia_crash::engine::{Capability, Engine, Place, Promises, Result, Setup, Store};
use kogia_crash::{Durability, How};

use crate::place::{NO_MORE, failed, home, sync_dir};

/// No key begins like this.
const TEMPORARY: &str = ".new-";

pub struct PlainFiles;

struct Open {
    dir: PathBuf,
}

impl Engine for PlainFiles {
    fn name(&self) -> &'static str {
        "files"
    }

    fn about(&self) -> &'static str {
        "plain files: written beside, synced, renamed, and the directory synced"
    }

    fn promises(&self) -> Promises {
        NO_MORE
    }

    fn has(&self, capability: Capability) -> bool {
        matches!(capability, Capability::Checkpoint)
    }

    fn open(&self, place: &Place, _setup: &Setup) -> Result<Box<dyn Store>> {
        let open = Open { dir: home(place)? };
        open.remove_temporaries().map_err(failed)?;
        Ok(Box::new(open))
    }
}

impl Open {
    fn names(&self) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.dir)?.map(name).collect()
    }

    fn remove_temporaries(&self) -> io::Result<()> {
        let names = self.names()?;
        let mut left = names.iter().filter(|name| name.starts_with(TEMPORARY));
        left.try_for_each(|name| fs::remove_file(self.dir.join(name)))
    }

    fn write(&self, key: &str, value: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join(format!("{TEMPORARY}{key}"));
        let mut file = File::create(&temporary)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(key))?;
        sync_dir(&self.dir)
    }

    fn remove(&self, key: &str) -> io::Result<bool> {
        match fs::remove_file(self.dir.join(key)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            removed => removed?,
        }
        sync_dir(&self.dir)?;
        Ok(true)
    }
}

impl Store for Open {
    fn put(&self, key: &str, value: &[u8], _how: &How) -> Result<()> {
        self.write(key, value).map_err(failed)
    }

    fn delete(&self, key: &str, _durability: Durability) -> Result<bool> {
        self.remove(key).map_err(failed)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.dir.join(key)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(failed),
        }
    }

    fn keys(&self) -> Result<Vec<String>> {
        let mut names = self.names().map_err(failed)?;
        names.retain(|name| !name.starts_with(TEMPORARY));
        names.sort_unstable();
        Ok(names)
    }

    /// Everything is durable already.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
