//! The directory that a backup is made into.
//!
//! ```text
//! dir/
//!   META, LOCK, index/            as in every store
//!   tracks-3/                     the tracks of the third backup that was made here
//!     BACKUP                      what was written: `format::meta::BackupMeta`
//!     0/DISK, 0/<store id>/...    the store's first disk, and so on
//!   UNFINISHED                    the store's id, while a backup is made
//! ```
//!
//! `META` says which tracks count. The next backup puts its own beside them, sharing those that
//! have not changed, and an index, all synced; then it takes the old index away, replaces `META`,
//! and puts the new index into its place. Cut off anywhere, the directory is the old store or the
//! new one, perhaps without an index, which opening makes anew from the tracks. (In another order
//! an index could meet tracks of another time.) What is left over goes with the next backup.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::write_identity;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::meta::{self, BackupMeta, BackupTrack, StoreMeta};
use crate::format::{DiskId, StoreId, TrackId};
use crate::index::Index;
use crate::io::{Io, OpenMode};
use crate::store::Ledger;

const LOCK_FILE: &str = "LOCK";
const BACKUP_FILE: &str = "BACKUP";
/// Says that there may be things in the directory that `META` does not know.
pub(crate) const UNFINISHED_FILE: &str = "UNFINISHED";
const TRACKS_PREFIX: &str = "tracks-";

/// An earlier backup.
#[derive(Debug)]
pub(super) struct Earlier {
    generation: u32,
    pub(super) backup: BackupMeta,
    /// Where its tracks are.
    pub(super) tracks: HashMap<TrackId, (PathBuf, BackupTrack)>,
}

/// A directory while a backup is made into it.
pub(super) struct Target {
    io: Arc<dyn Io>,
    dir: PathBuf,
    index_dir: PathBuf,
    generation: u32,
    pub(super) earlier: Option<Earlier>,
    _lock: Box<dyn Send + Sync>,
}

impl Earlier {
    /// The earlier backup in `dir`, if there is one and nobody has written to it.
    pub(super) fn load(io: &dyn Io, dir: &Path, store: StoreId) -> Result<Option<Self>> {
        let Some(meta) = Ledger::read(io, dir)? else { return Ok(None) };
        let refuse = |what: String| Err(Error::new(ErrorKind::Exists, what).with_path(dir));
        if meta.store != store {
            return refuse(format!("holds another store, {}", meta.store));
        }
        let Some(generation) = generation_of(&meta) else {
            return refuse("holds a store that is no backup".into());
        };
        let root = dir.join(tracks_name(generation));
        let Some(backup) = read_backup(io, &root.join(BACKUP_FILE))? else {
            return refuse("holds a store that is no backup".into());
        };
        let written: HashMap<_, _> =
            backup.tracks.iter().map(|track| (track.track, *track)).collect();
        let mut tracks = HashMap::new();
        for at in 0..meta.disks.len() {
            let folder = folder(&root, at, store);
            let names =
                io.list(&folder).map_err(|e| Error::io("list the tracks in", &folder, e))?;
            for id in names.iter().filter_map(|name| TrackId::from_file_name(name)) {
                let path = folder.join(id.file_name());
                let bytes =
                    written.get(&id).map(|track| u64::from(track.chunks) * CHUNK_BYTES as u64);
                if bytes != Some(len(io, &path)?) {
                    return refuse(format!("was written to since it was made, to track {id}"));
                }
                tracks.insert(id, (path, written[&id]));
            }
        }
        if meta.next_track != backup.next_track {
            return refuse("was written to since it was made".into());
        }
        Ok(Some(Earlier { generation, backup, tracks }))
    }
}

impl Target {
    /// Takes `dir`, which is empty or holds an earlier backup, finished or not, of this store.
    pub(super) fn take(
        io: Arc<dyn Io>,
        dir: &Path,
        index_dir: Option<&Path>,
        store: StoreId,
    ) -> Result<Self> {
        // Before anything is made in what may be a stranger's.
        if Ledger::read(&*io, dir)?.is_none() {
            check_unclaimed(&*io, dir, store)?;
        }
        io.create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let dir = io.canonicalize(dir).map_err(|e| Error::io("resolve", dir, e))?;
        let lock = take_lock(&*io, &dir)?;
        let earlier = Earlier::load(&*io, &dir, store)?;
        if earlier.is_none() {
            check_unclaimed(&*io, &dir, store)?;
        }
        let unfinished = dir.join(UNFINISHED_FILE);
        // Before anything else: it says whose all that follows is.
        io.replace(&unfinished, store.to_string().as_bytes())
            .map_err(|e| Error::io("replace", &unfinished, e))?;
        let index_dir = index_dir.map_or_else(|| dir.join("index"), Path::to_owned);
        let generation = earlier.as_ref().map_or(0, |earlier| earlier.generation) + 1;
        let target = Target { io, dir, index_dir, generation, earlier, _lock: lock };
        target.clean()?;
        Ok(target)
    }

    /// Makes the folders of the new backup's tracks; gives those of the tracks of each disk.
    pub(super) fn prepare(&self, disks: &[DiskId], store: StoreId) -> Result<Vec<PathBuf>> {
        let root = self.dir.join(tracks_name(self.generation));
        let mut folders = Vec::new();
        for (at, id) in disks.iter().enumerate() {
            let folder = folder(&root, at, store);
            self.io.create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
            write_identity(&*self.io, &root.join(at.to_string()), *id)?;
            folders.push(folder);
        }
        Ok(folders)
    }

    /// Where disk number `at` of the new backup is, from its home.
    pub(super) fn disk_path(&self, at: usize) -> String {
        format!("{}/{at}", tracks_name(self.generation))
    }

    /// An empty directory for the new backup's index.
    pub(super) fn prepare_index(&self) -> Result<PathBuf> {
        Index::prepare_new(&self.index_dir)
    }

    /// Makes the new backup the one that counts; all its tracks and its index are durable.
    pub(super) fn switch(&self, meta: StoreMeta, backup: &BackupMeta) -> Result<()> {
        let root = self.dir.join(tracks_name(self.generation));
        let path = root.join(BACKUP_FILE);
        self.io
            .replace(&path, &backup.encode())
            .and_then(|()| self.io.sync_dir(&self.dir))
            .map_err(|e| Error::io("replace", &path, e))?;
        step!("backup.described");
        // The order is this module's first paragraphs'.
        Index::retire(&self.index_dir)?;
        step!("backup.index-retired");
        Ledger::create(self.io.clone(), &self.dir, meta)?;
        step!("backup.named");
        Index::install(&self.index_dir)
    }

    /// Removes what `META` does not name, and then the file that says there may be such things.
    pub(super) fn finish(&self) -> Result<()> {
        self.clean_but(self.generation)?;
        step!("backup.old-tracks-removed");
        let path = self.dir.join(UNFINISHED_FILE);
        self.io
            .remove(&path)
            .and_then(|()| self.io.sync_dir(&self.dir))
            .map_err(|e| Error::io("remove", &path, e))
    }

    /// Removes what does not belong to the earlier backup.
    pub(super) fn clean(&self) -> Result<()> {
        self.clean_but(self.generation - 1)
    }

    fn clean_but(&self, generation: u32) -> Result<()> {
        Index::forget_unfinished(&self.index_dir)?;
        let fail = |e| Error::io("clean up", &self.dir, e);
        for name in self.io.list(&self.dir).map_err(fail)? {
            if parse_tracks_name(&name).is_some_and(|found| found != generation) {
                remove_tree(&*self.io, &self.dir.join(name))?;
            }
        }
        self.io.sync_dir(&self.dir).map_err(fail)
    }
}

/// Fails where a first backup can't be made into `dir`.
pub(super) fn check_unclaimed(io: &dyn Io, dir: &Path, store: StoreId) -> Result<()> {
    let fail = |e| Error::io("look into", dir, e);
    let names = match io.list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(fail)?,
    };
    if names.iter().any(|name| name == UNFINISHED_FILE) {
        let owner = io.read_small(&dir.join(UNFINISHED_FILE), 64).map_err(fail)?;
        if owner == store.to_string().as_bytes() {
            return Ok(());
        }
        let what = "holds the unfinished backup of another store";
        return Err(Error::new(ErrorKind::Exists, what).with_path(dir));
    }
    let harmless =
        |name: &String| name == LOCK_FILE || name == "lost+found" || name.starts_with(".replace-");
    if names.iter().all(harmless) {
        return Ok(());
    }
    let what = "is neither empty nor a backup; give an empty directory";
    Err(Error::new(ErrorKind::Exists, what).with_path(dir))
}

fn take_lock(io: &dyn Io, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = dir.join(LOCK_FILE);
    let held = "is open, or another backup is being made into it";
    io.lock(&path).map_err(|e| Error::lock("lock", &path, e, dir, held))
}

fn tracks_name(generation: u32) -> String {
    format!("{TRACKS_PREFIX}{generation}")
}

fn parse_tracks_name(name: &str) -> Option<u32> {
    name.strip_prefix(TRACKS_PREFIX)?.parse().ok()
}

/// The folder of a store on disk number `at`.
fn folder(root: &Path, at: usize, store: StoreId) -> PathBuf {
    root.join(at.to_string()).join(store.to_string())
}

/// Which backup's tracks `META` names; `None` where it is no backup's.
fn generation_of(meta: &StoreMeta) -> Option<u32> {
    let generation = |(at, disk): (usize, &meta::DiskState)| {
        let (tracks, number) = disk.path.split_once('/')?;
        parse_tracks_name(tracks).filter(|_| number == at.to_string())
    };
    let mut generations = meta.disks.iter().enumerate().map(generation);
    let first = generations.next()??;
    generations.all(|other| other == Some(first)).then_some(first)
}

fn read_backup(io: &dyn Io, path: &Path) -> Result<Option<BackupMeta>> {
    match io.read_small(path, meta::MAX_BYTES) {
        Ok(bytes) => BackupMeta::decode(&bytes).map(Some).map_err(|f| Error::fault(path, f)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

fn len(io: &dyn Io, path: &Path) -> Result<u64> {
    let len = io.open(path, OpenMode::Read).and_then(|file| file.len());
    len.map_err(|e| Error::io("measure the track", path, e))
}

/// Removes a directory and all below it.
fn remove_tree(io: &dyn Io, path: &Path) -> Result<()> {
    let fail = |e| Error::io("remove", path, e);
    match io.list(path) {
        Ok(names) => {
            names.iter().try_for_each(|name| remove_tree(io, &path.join(name)))?;
            io.remove_dir(path).map_err(fail)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => io.remove(path).map_err(fail),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(fail(e)),
    }
}
