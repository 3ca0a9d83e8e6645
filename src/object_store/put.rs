//! Putting an object whose bytes are in memory.

use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload, PutResult, Result, UpdateVersion};

use super::error::{already_exists, generic, precondition};
use super::{attributes, object};
use crate::error::ErrorKind;
use crate::format::Seq;
use crate::options::Condition;
use crate::store::Store;

pub(super) fn put(
    store: &Store,
    location: &Path,
    payload: &PutPayload,
    options: &PutOptions,
) -> Result<PutResult> {
    let condition = match &options.mode {
        PutMode::Overwrite => Condition::Always,
        PutMode::Create => Condition::IfAbsent,
        PutMode::Update(version) => Condition::IfSeq(expected(location, version)?),
    };
    let carried = crate::PutOptions {
        attributes: attributes::encode(&options.attributes, &options.tags)?,
        condition,
        ..crate::PutOptions::default()
    };
    match write(store, location, payload, &carried) {
        Ok(seq) => Ok(object::put_result(seq)),
        Err(error) if error.kind() == ErrorKind::Condition => Err(match condition {
            Condition::IfAbsent => already_exists(location, error),
            _ => precondition(location, error),
        }),
        Err(error) => Err(generic(error)),
    }
}

fn write(
    store: &Store,
    location: &Path,
    payload: &PutPayload,
    options: &crate::PutOptions,
) -> crate::Result<Seq> {
    match payload.as_ref() {
        [] => store.put_with(object::key(location), [], options),
        [whole] => store.put_with(object::key(location), whole, options),
        pieces => {
            let mut writer = store.writer_with(object::key(location), options.clone())?;
            pieces.iter().try_for_each(|piece| writer.push(piece))?;
            Ok(writer.commit()?.seq)
        }
    }
}

/// The put that an update is to replace. A version is another store's: there are none here.
fn expected(location: &Path, version: &UpdateVersion) -> Result<Seq> {
    let Some(e_tag) = &version.e_tag else {
        return Err(generic("an update has to name the e-tag that it replaces"));
    };
    let seq = object::seq(e_tag).filter(|_| version.version.is_none());
    seq.ok_or_else(|| precondition(location, format!("{version:?} is of no object of this store")))
}
