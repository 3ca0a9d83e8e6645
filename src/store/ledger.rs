//! `META` in memory and on disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::format::meta::{self, StoreMeta};
use crate::io::Io;

/// The file's name in a store's home.
pub(crate) const META_FILE: &str = "META";

/// The store's `META`. Each change is durable before anything depends on it.
#[derive(Debug)]
pub(crate) struct Ledger {
    io: Arc<dyn Io>,
    path: PathBuf,
    /// Lock: taken last; held while the file is replaced.
    meta: Mutex<StoreMeta>,
}

impl Ledger {
    /// Reads the file; `None` where there is none.
    pub(crate) fn read(io: &dyn Io, home: &Path) -> Result<Option<StoreMeta>> {
        let path = home.join(META_FILE);
        match io.read_small(&path, meta::MAX_BYTES) {
            Ok(bytes) => StoreMeta::decode(&bytes).map(Some).map_err(|f| Error::fault(&path, f)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read the store's META", &path, e)),
        }
    }

    /// Makes `meta` durable.
    pub(crate) fn create(io: Arc<dyn Io>, home: &Path, meta: StoreMeta) -> Result<Self> {
        let ledger = Ledger { io, path: home.join(META_FILE), meta: Mutex::new(meta) };
        ledger.update(|_| ())?;
        Ok(ledger)
    }

    /// Changes the file. After an error it has its old or its new contents; memory has the new.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StoreMeta)) -> Result<()> {
        let mut meta = self.meta.lock().expect("no panic holds it");
        change(&mut meta);
        let bytes = meta.encode();
        self.io.replace(&self.path, &bytes).map_err(|e| Error::io("replace", &self.path, e))
    }

    pub(crate) fn get(&self) -> StoreMeta {
        self.meta.lock().expect("no panic holds it").clone()
    }
}
