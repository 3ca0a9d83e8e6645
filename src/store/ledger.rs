//! `META` in memory and on disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::format::TrackId;
use crate::format::meta::{self, DiskState, StoreMeta};
use crate::io::Io;

/// The file's name in a store's home.
pub(crate) const META_FILE: &str = "META";

/// The store's `META`. Each change is durable before anything depends on it.
#[derive(Debug)]
pub(crate) struct Ledger {
    io: Arc<dyn Io>,
    path: PathBuf,
    /// Lock: taken last; held while the file is replaced.
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Contents {
    meta: StoreMeta,
    /// Whether the last replacement failed: then the file may have what was there before.
    is_unsure: bool,
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
        let contents = Mutex::new(Contents { meta, is_unsure: true });
        let ledger = Ledger { io, path: home.join(META_FILE), contents };
        ledger.update(|_| ())?;
        Ok(ledger)
    }

    /// Changes the file. After an error it has its old or its new contents; memory has the new.
    pub(crate) fn update(&self, change: impl FnOnce(&mut StoreMeta)) -> Result<()> {
        let mut contents = self.contents.lock().expect("no panic holds it");
        change(&mut contents.meta);
        contents.is_unsure = true;
        let bytes = contents.meta.encode();
        self.io.replace(&self.path, &bytes).map_err(|e| Error::io("replace", &self.path, e))?;
        contents.is_unsure = false;
        Ok(())
    }

    /// Makes sure that `META` does not name the track; before its file goes, since a track that it
    /// names and that is not there is damage. Where it was its disk's last one, `before` takes its
    /// place: the track's header was the only one to say how far that was synced (invariant I10).
    pub(crate) fn forget_track(&self, id: TrackId, before: Option<(TrackId, u32)>) -> Result<()> {
        let names_it = |state: &DiskState| state.tracks().any(|(named, _)| named == id);
        {
            let contents = self.contents.lock().expect("no panic holds it");
            if !contents.is_unsure && !contents.meta.disks.iter().any(names_it) {
                return Ok(());
            }
        }
        self.update(|meta| {
            for state in &mut meta.disks {
                if state.active.is_some_and(|(named, _)| named == id) {
                    state.active = before;
                }
                state.outputs.retain(|(named, _)| *named != id);
            }
        })
    }

    pub(crate) fn get(&self) -> StoreMeta {
        self.contents.lock().expect("no panic holds it").meta.clone()
    }
}
