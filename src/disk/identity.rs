//! Which disk a directory is: the file `DISK`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::format::DiskId;
use crate::format::meta::DiskMeta;
use crate::io::Io;

/// The file that names a disk.
pub(crate) const DISK_FILE: &str = "DISK";
const MAX_BYTES: usize = 4096;

/// The disk that `dir` is, or `None` where there is no `DISK`.
pub(crate) fn read_identity(io: &dyn Io, dir: &Path) -> Result<Option<DiskId>> {
    let path = dir.join(DISK_FILE);
    match io.read_small(&path, MAX_BYTES) {
        Ok(bytes) => {
            DiskMeta::decode(&bytes).map(|meta| Some(meta.id)).map_err(|f| Error::fault(&path, f))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read the disk's identity", &path, e)),
    }
}

/// Held while a directory becomes a disk: stores that share it may be opened at once.
static PREPARING: Mutex<()> = Mutex::new(());

/// Makes `dir` a disk, if it is not one already; it has to be empty then.
pub(crate) fn prepare(io: &dyn Io, dir: &Path) -> Result<DiskId> {
    let _alone = PREPARING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(id) = read_identity(io, dir)? {
        settle(io, dir)?;
        return Ok(id);
    }
    let fail = |e| Error::io("prepare the disk", dir, e);
    io.create_dir_all(dir).map_err(fail)?;
    let names = io.list(dir).map_err(fail)?;
    // What a mount or a crash while preparing leaves is no reason to refuse.
    if names.iter().any(|name| name != "lost+found" && !name.starts_with(".replace-")) {
        let what = "is neither empty nor a disk of a store; give an empty directory";
        return Err(Error::new(ErrorKind::Disk, what).with_path(dir));
    }
    let id = DiskId(io.random_id().map_err(fail)?);
    write_identity(io, dir, id)?;
    Ok(id)
}

/// Makes a `DISK` durable that was found in `dir`: whoever left it there may have failed before the
/// sync, and a store is not to name a disk that the next power cut takes away.
pub(crate) fn settle(io: &dyn Io, dir: &Path) -> Result<()> {
    let settled = io.create_dir_all(dir).and_then(|()| io.sync_dir(dir));
    settled.map_err(|e| Error::io("prepare the disk", dir, e))
}

/// Makes it durable that `dir` is the disk `id`.
pub(crate) fn write_identity(io: &dyn Io, dir: &Path, id: DiskId) -> Result<()> {
    let path = dir.join(DISK_FILE);
    io.replace(&path, &DiskMeta { id }.encode()).map_err(|e| Error::io("replace", &path, e))
}
