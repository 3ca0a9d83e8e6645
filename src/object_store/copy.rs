//! Copying and renaming. Both take attributes, tags and the time of expiry along.

use object_store::path::Path;
use object_store::{CopyMode, RenameTargetMode, Result};

use super::error::{already_exists, generic, not_found, of_reading};
use super::{get, object};
use crate::error::ErrorKind;
use crate::options::Condition;
use crate::store::{Batch, DeleteOptions, Info, PutOptions, Store};

/// What is not longer is renamed in one batch: it is at the one place or at the other.
const ATOMIC_BYTES: u64 = 1 << 20;

/// Copies the bytes, in bounded memory, of the object that is there when it begins.
pub(super) fn copy(store: &Store, from: &Path, to: &Path, mode: CopyMode) -> Result<()> {
    let condition = match mode {
        CopyMode::Overwrite => Condition::Always,
        CopyMode::Create => Condition::IfAbsent,
    };
    copy_under(store, from, to, condition).map(|_| ())
}

/// Moves the object to another path. A longer one than [`ATOMIC_BYTES`] is copied and then deleted, and
/// a crash between the two leaves it at both. If it is overwritten meanwhile, what it was is at the
/// new path, and what was put stays at the old one.
pub(super) fn rename(store: &Store, from: &Path, to: &Path, mode: RenameTargetMode) -> Result<()> {
    let condition = match mode {
        RenameTargetMode::Overwrite => Condition::Always,
        RenameTargetMode::Create => Condition::IfAbsent,
    };
    loop {
        let info = get::head(store, from)?;
        refuse_taken(store, to, condition)?;
        if from == to {
            return Ok(());
        }
        if info.len > ATOMIC_BYTES {
            let info = copy_under(store, from, to, condition)?;
            return delete(store, from, &info);
        }
        if rename_at_once(store, from, to, condition)? {
            return Ok(());
        }
    }
}

/// Gives what is known of the object that was copied.
fn copy_under(store: &Store, from: &Path, to: &Path, condition: Condition) -> Result<Info> {
    let found = store.reader(object::key(from)).map_err(|error| of_reading(error, from))?;
    let mut reader = found.ok_or_else(|| not_found(from, "no object has this key"))?;
    refuse_taken(store, to, condition)?;
    let info = reader.info().clone();
    let mut copy = || {
        let mut writer = store.writer_with(object::key(to), carried(&info, condition))?;
        while let Some(slice) = reader.next_slice()? {
            writer.push(slice)?;
        }
        writer.commit()
    };
    match copy() {
        Ok(_) => Ok(info),
        Err(error) if error.kind() == ErrorKind::Condition => Err(already_exists(to, error)),
        Err(error) => Err(generic(error)),
    }
}

/// Deletes the object that was copied, and none that was put meanwhile.
fn delete(store: &Store, from: &Path, info: &Info) -> Result<()> {
    let this = DeleteOptions { condition: Condition::IfSeq(info.seq), ..DeleteOptions::default() };
    match store.delete_with(object::key(from), &this) {
        Err(error) if error.kind() != ErrorKind::Condition => Err(generic(error)),
        _ => Ok(()),
    }
}

/// Whether it was there to be renamed, and the same to the end.
fn rename_at_once(store: &Store, from: &Path, to: &Path, condition: Condition) -> Result<bool> {
    let mut value = Vec::new();
    let found = store.get_into(object::key(from), &mut value).map_err(generic)?;
    let Some(info) = found.filter(|info| info.len <= ATOMIC_BYTES) else { return Ok(false) };
    let mut batch = Batch::new();
    batch.put_with(object::key(to), value, &carried(&info, condition));
    batch.delete_with(object::key(from), Condition::IfSeq(info.seq));
    match store.write(batch) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Condition => Ok(false),
        Err(error) => Err(generic(error)),
    }
}

/// Before anything is copied; what is put meanwhile, the condition finds.
fn refuse_taken(store: &Store, to: &Path, condition: Condition) -> Result<()> {
    if condition == Condition::IfAbsent && store.exists(object::key(to)).map_err(generic)? {
        return Err(already_exists(to, "an object has this key"));
    }
    Ok(())
}

fn carried(info: &Info, condition: Condition) -> PutOptions {
    PutOptions {
        attributes: info.attributes.clone(),
        expires_ms: info.expires_ms,
        condition,
        ..PutOptions::default()
    }
}
