//! Which directories are the store's disks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::disk::{DISK_FILE, prepare, read_identity, settle, write_identity};
use crate::error::{Error, ErrorKind, Result};
use crate::format::meta::{DiskState, StoreMeta};
use crate::format::{DiskId, StoreId, TrackId};
use crate::io::{Io, resolve};
use crate::options::Options;
use crate::track::TrackFile;

/// The directory of the only disk of a store that was given none.
const DEFAULT_DISK: &str = "tracks";

/// A disk of the store, found where it was expected, or missing there.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) state: DiskState,
    /// Absolute.
    pub(super) path: PathBuf,
    /// Why it is not there after all, where that is accepted.
    pub(super) missing: Option<Error>,
}

/// The file that says that a home has a disk of its own.
pub(super) fn default_marker() -> PathBuf {
    Path::new(DEFAULT_DISK).join(DISK_FILE)
}

/// Makes the directories that are given to a new store its disks.
pub(super) fn prepare_given(io: &dyn Io, given: &[PathBuf]) -> Result<()> {
    given.iter().try_for_each(|path| prepare(io, path).map(drop))
}

/// Fails where a directory is given for a disk of a store that has lost its `META`, and is none: a disk
/// that is not mounted would pass for a new one, and what others have of its objects would be freed.
pub(super) fn refuse_new(options: &Options, store: StoreId) -> Result<()> {
    let io = &*options.io;
    for path in &options.disks {
        if options.accept_loss {
            restore_identity(io, store, path)?;
        }
        if read_identity(io, path)?.is_none() {
            let what = format!(
                "holds no disk of the store {store}, whose META is lost; is it mounted? Give all disks \
                 that the store had, and no others"
            );
            return Err(Error::new(ErrorKind::Disk, what).with_path(path));
        }
    }
    Ok(())
}

/// Finds the store's disks: those of `meta`, where they were or among those given, and new ones among
/// these. One that is swapped or another store's is refused by name, and so is one that is missing,
/// unless that is accepted.
pub(super) fn find(
    options: &Options,
    home: &Path,
    store: StoreId,
    meta: Option<&StoreMeta>,
) -> Result<Vec<Found>> {
    let (io, given, accept_loss) = (&*options.io, &options.disks, options.accept_loss);
    let known = meta.map_or(&[][..], |meta| &meta.disks);
    let mut paths: Vec<PathBuf> = given.clone();
    if options.accept_missing {
        // Those that are missing come up below.
        paths.retain(|path| {
            let here = known.iter().find(|state| same_path(io, &home.join(&state.path), path));
            here.is_none_or(|state| missing(io, path, state).is_none())
        });
    }
    if paths.is_empty() && known.is_empty() {
        paths.push(home.join(DEFAULT_DISK));
    }
    let mut found: Vec<Found> = Vec::new();
    for path in &paths {
        let expected = known.iter().find(|state| same_path(io, &home.join(&state.path), path));
        if accept_loss {
            restore_identity(io, store, path)?;
        }
        let id = identify(io, store, known, expected, path, meta.is_some())?;
        push(io, home, &mut found, known, id, path)?;
    }
    for state in known {
        if found.iter().any(|disk| disk.state.id == state.id) {
            continue;
        }
        let path = home.join(&state.path);
        if options.accept_missing
            && let Some(error) = missing(io, &path, state)
        {
            found.push(Found { state: state.clone(), path, missing: Some(error) });
            continue;
        }
        if accept_loss {
            restore_identity(io, store, &path)?;
        }
        let id = identify(io, store, known, Some(state), &path, true)?;
        push(io, home, &mut found, known, id, &path)?;
    }
    if let Some(error) = found.iter().find_map(|disk| disk.missing.clone())
        && found.iter().all(|disk| disk.missing.is_some())
    {
        return Err(error);
    }
    // In the order in which they came to the store, new ones last.
    let rank = |id| known.iter().position(|state| state.id == id).unwrap_or(known.len());
    found.sort_by_key(|disk| rank(disk.state.id));
    Ok(found)
}

/// Why the disk is not at `path`, unless it is, or another one.
fn missing(io: &dyn Io, path: &Path, state: &DiskState) -> Option<Error> {
    let found = read_identity(io, path).and_then(|id| {
        // One of which not even the tracks can be listed is as good as missing.
        id.map(|_| io.list(path).map_err(|e| Error::io("list the disk", path, e))).transpose()
    });
    match found {
        Ok(Some(_)) => None,
        Ok(None) => {
            let what = format!("the store's disk {} is missing here", state.id);
            Some(Error::new(ErrorKind::Disk, what).with_path(path))
        }
        Err(error) if error.kind() == ErrorKind::Io => Some(error),
        Err(_) => None,
    }
}

/// The disk at `path`, which is made one if it is new to the store.
fn identify(
    io: &dyn Io,
    store: StoreId,
    known: &[DiskState],
    expected: Option<&DiskState>,
    path: &Path,
    store_exists: bool,
) -> Result<DiskId> {
    let refuse = |what: String| Err(Error::new(ErrorKind::Disk, what).with_path(path));
    match (read_identity(io, path)?, expected) {
        (Some(id), Some(expected)) if id != expected.id => refuse(format!(
            "holds disk {id}, where the store's disk {} is expected; were disks swapped?",
            expected.id
        )),
        (None, Some(expected)) => refuse(format!(
            "the store's disk {} is missing here; is it mounted? `accept_missing` (--accept-missing) opens without it",
            expected.id
        )),
        (Some(id), None) if !known.iter().any(|state| state.id == id) => {
            let folder = path.join(store.to_string());
            if store_exists && has_tracks(io, &folder)? {
                return refuse(format!(
                    "disk {id} is not one of this store's, and yet has tracks of it; a copy of \
                     another time?"
                ));
            }
            settle(io, path)?;
            Ok(id)
        }
        (Some(id), _) => Ok(id),
        (None, None) => prepare(io, path),
    }
}

/// Where the file `DISK` is gone or damaged, but there are tracks of the store: their headers say
/// which disk they are on.
fn restore_identity(io: &dyn Io, store: StoreId, path: &Path) -> Result<()> {
    let damage = match read_identity(io, path) {
        Ok(None) => format!("no {DISK_FILE}"),
        Err(e) if e.kind() == ErrorKind::Corruption => e.to_string(),
        known => return known.map(drop),
    };
    let folder = path.join(store.to_string());
    for track in track_ids(io, &folder)? {
        let header = TrackFile::open(io, &folder, store, track).and_then(|t| t.read_header());
        if let Ok(header) = header {
            tracing::error!(path = %path.display(), damage, "the disk is known by its tracks");
            return write_identity(io, path, header.disk);
        }
    }
    Ok(())
}

fn push(
    io: &dyn Io,
    home: &Path,
    found: &mut Vec<Found>,
    known: &[DiskState],
    id: DiskId,
    path: &Path,
) -> Result<()> {
    let absolute =
        io.canonicalize(path).map_err(|e| Error::io("resolve the disk's path", path, e))?;
    if let Some(twin) = found.iter().find(|disk| disk.state.id == id) {
        if twin.path == absolute {
            return Ok(());
        }
        let what = format!("has the same {DISK_FILE} as {}; a copied disk?", twin.path.display());
        return Err(Error::new(ErrorKind::Disk, what).with_path(path));
    }
    let inside = absolute.strip_prefix(home).unwrap_or(&absolute);
    let path_text = inside.to_str().ok_or_else(|| {
        Error::invalid("a disk's path has to be Unicode, to be remembered").with_path(path)
    })?;
    let path_text = path_text.to_owned();
    let state = match known.iter().find(|state| state.id == id) {
        Some(known) => DiskState { path: path_text, ..known.clone() },
        None => DiskState::new(id, path_text),
    };
    found.push(Found { state, path: absolute, missing: None });
    Ok(())
}

/// Makes `dir` a disk of a store that is open; its state, and its absolute path.
pub(crate) fn adopt(
    io: &dyn Io,
    home: &Path,
    meta: &StoreMeta,
    dir: &Path,
) -> Result<(DiskState, PathBuf)> {
    let refuse = |what: String| Err(Error::new(ErrorKind::Disk, what).with_path(dir));
    let id = identify(io, meta.store, &meta.disks, None, dir, true)?;
    if meta.disks.iter().any(|state| state.id == id) {
        return refuse(format!("disk {id} is one of this store's already"));
    }
    let mut found = Vec::new();
    push(io, home, &mut found, &meta.disks, id, dir)?;
    let disk: Found = found.pop().expect("it was pushed");
    Ok((disk.state, disk.path))
}

fn same_path(io: &dyn Io, known: &Path, given: &Path) -> bool {
    // Also where it is not there at the moment.
    known == given || resolve(io, known) == resolve(io, given)
}

fn has_tracks(io: &dyn Io, folder: &Path) -> Result<bool> {
    Ok(!track_ids(io, folder)?.is_empty())
}

/// The tracks in a store's folder on a disk.
pub(crate) fn track_ids(io: &dyn Io, folder: &Path) -> Result<Vec<TrackId>> {
    let fail = |e| Error::io("list the tracks in", folder, e);
    if !io.exists(folder).map_err(fail)? {
        return Ok(Vec::new());
    }
    let names = io.list(folder).map_err(fail)?;
    Ok(names.iter().filter_map(|name| TrackId::from_file_name(name)).collect())
}

/// Fails where a store that has lost its `META` is given no disks, and has no default one.
pub(super) fn check_given(io: &dyn Io, home: &Path, given: &[PathBuf]) -> Result<()> {
    if given.is_empty() && read_identity(io, &home.join(DEFAULT_DISK))?.is_none() {
        return Err(unknown(home));
    }
    Ok(())
}

/// `META` is lost, and nothing else tells where the disks are.
pub(super) fn unknown(home: &Path) -> Error {
    let what = "META is lost, and with it where the store's disks are; give all of them";
    Error::new(ErrorKind::Disk, what).with_path(home)
}

/// The same, and no store has ever been on the disks that are given.
pub(super) fn nowhere(home: &Path) -> Error {
    let what = "META is lost, and no disk that was given holds a store: either give those that do, or, \
                if its first opening was cut off, remove what is in this directory and begin anew";
    Error::new(ErrorKind::Disk, what).with_path(home)
}

/// There are tracks on the disks, and neither `META` nor index to say whose they are.
pub(super) fn unclaimed(home: &Path, store: StoreId) -> Error {
    let what = format!(
        "META and the index are lost; the disks hold store {store}, and a rebuild takes that for \
         the one that was here"
    );
    Error::new(ErrorKind::Disk, what).with_path(home)
}

/// The only store that has a folder on the disks; for when `META` and the index are lost.
pub(super) fn sole_store(io: &dyn Io, home: &Path, given: &[PathBuf]) -> Result<Option<StoreId>> {
    let default = [home.join(DEFAULT_DISK)];
    let mut stores = BTreeMap::new();
    for path in if given.is_empty() { &default[..] } else { given } {
        let names = match io.list(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|e| Error::io("look for stores on", path, e))?,
        };
        for name in names {
            if let Some(id) = StoreId::parse(&name) {
                stores.insert(id, path);
            }
        }
    }
    if stores.len() > 1 {
        let what = "META is lost, and tracks of several stores lie on the disks, so that it can't \
                    be told which are this store's";
        return Err(Error::new(ErrorKind::Corruption, what).with_path(home));
    }
    Ok(stores.into_keys().next())
}
