//! Tags that were set after their object was put.
//!
//! An object's attributes can't be changed without writing its bytes again, so later tags have a row
//! of their own. It names the seq of the object that they were set for, and counts for no other: an
//! overwrite has its own tags at once, and what is left of the old ones means nothing.

use kogia::{Info, Seq, Store};
use serde::{Deserialize, Serialize};

use super::keys::{self, BucketId};
use super::{Attributes, rows};
use crate::error::Result;

/// Names and values.
pub type Tags = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TagsRow {
    /// The object's.
    pub seq: u64,
    pub tags: Tags,
}

/// The tags of an object that was found.
pub fn of(store: &Store, bucket: BucketId, key: &str, info: &Info) -> Result<Tags> {
    if let Some(row) = row(store, bucket, key)?
        && Seq(row.seq) == info.seq
    {
        return Ok(row.tags);
    }
    Ok(Attributes::decode(&info.attributes)?.tags)
}

/// Sets the tags of an object that was found.
pub fn set(store: &Store, bucket: BucketId, key: &str, info: &Info, tags: Tags) -> Result<()> {
    let row = TagsRow { seq: info.seq.0, tags };
    store.put(keys::tags(bucket, key), rows::encode(&row))?;
    Ok(())
}

/// Whether a row is left that has to go with the object.
pub fn has_row(store: &Store, bucket: BucketId, key: &str) -> Result<bool> {
    Ok(store.exists(keys::tags(bucket, key))?)
}

fn row(store: &Store, bucket: BucketId, key: &str) -> Result<Option<TagsRow>> {
    Ok(store.get(keys::tags(bucket, key))?.map(|row| rows::decode(&row)).transpose()?)
}
