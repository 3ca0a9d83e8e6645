//! Tags that were set after their object was put.
//!
//! An object's attributes can't be changed without writing its bytes again, so later tags have a row
//! of their own. It names the seq of the object that they were set for, and counts for no other: an
//! overwrite has its own tags at once, and what is left of the old ones means nothing. Of a version,
//! whose bytes are never others, it names the id.

use kogia::{Batch, Store};
use serde::{Deserialize, Serialize};

use super::versions::Place;
use super::{keys, rows};
use crate::error::Result;

/// Names and values.
pub type Tags = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TagsRow {
    /// The object's, or the version's id.
    pub seq: u64,
    pub tags: Tags,
}

/// The tags of an object that was found.
pub fn of(store: &Store, place: &Place) -> Result<Tags> {
    if let Some(row) = store.get(keys::tags(&place.row))? {
        let row: TagsRow = rows::decode(&row)?;
        if row.seq == place.mark() {
            return Ok(row.tags);
        }
    }
    Ok(place.attributes.tags.clone())
}

/// Sets the tags of an object that was found.
pub fn set(store: &Store, place: &Place, tags: Tags) -> Result<()> {
    let row = TagsRow { seq: place.mark(), tags };
    store.put(keys::tags(&place.row), rows::encode(&row))?;
    Ok(())
}

/// Whether a row is left that has to go with the object, or the version, of this row.
pub fn has_row(store: &Store, of: &[u8]) -> Result<bool> {
    Ok(store.exists(keys::tags(of))?)
}

/// Has the row of tags go of an object, or a version, if there is one.
pub fn delete(store: &Store, batch: &mut Batch, of: &[u8]) -> Result<()> {
    if has_row(store, of)? {
        batch.delete(keys::tags(of));
    }
    Ok(())
}

/// Has an object, or a version, go with its tags. What is not there needs no tombstone.
pub fn delete_with(store: &Store, batch: &mut Batch, row: &[u8]) -> Result<()> {
    delete(store, batch, row)?;
    if store.exists(row)? {
        batch.delete(row);
    }
    Ok(())
}
