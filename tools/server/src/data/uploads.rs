//! Uploads in parts: what of them is durable, and in which order.
//!
//! A part's bytes are a part of the store, and its row names it. The upload's row, with that of its
//! object's lock if that has one, is the first to be there and the first to go, so that a part's row counts while its upload's row is there:
//!
//! - to add a part: finish the part, put its row, *then* look whether the upload is still there, and
//!   take both back if not;
//! - to end an upload: delete its row, *then* walk its parts' rows.
//!
//! Whichever comes first, one of the two sees the other's. A crash in between leaves parts that no row
//! names, or rows without an upload, which [`sweep_start`] removes. Completing is one record of the
//! store, which makes the object and uses the parts up; the object names its upload, so that whoever
//! did not hear of it may complete once more.

use std::collections::HashSet;

use kogia::{Batch, Condition, DeleteOptions, ErrorKind, PartId, PutOptions, Seq, Store};
use serde::{Deserialize, Serialize};

use super::attributes::Headers;
use super::buckets::walk;
use super::keys::{self, BucketId, UploadId};
use super::locks::{self, Lock};
use super::tags::Tags;
use super::{Attributes, rows};
use crate::digest::{Algorithm, Checksum};
use crate::error::{Error, Result};

/// An upload that was begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UploadRow {
    pub headers: Headers,
    pub tags: Tags,
    /// The checksum that its parts have, and whether the object's is of those or of the whole.
    pub checksum: Option<(Algorithm, Span)>,
    pub created_ms: u64,
}

/// What the checksum of an object that was uploaded in parts is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Span {
    Whole,
    Parts,
}

/// A part that was uploaded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartRow {
    /// Its name in the store.
    pub part: u64,
    pub len: u64,
    pub md5: [u8; 16],
    pub checksum: Option<Checksum>,
    pub modified_ms: u64,
}

/// Begins an upload; durable when this returns.
pub fn create(
    store: &Store,
    bucket: BucketId,
    key: &str,
    row: &UploadRow,
    lock: Lock,
) -> Result<UploadId> {
    let upload = UploadId::random();
    let name = keys::upload(bucket, key, upload);
    let once = PutOptions { condition: Condition::IfAbsent, ..PutOptions::default() };
    let mut batch = Batch::new();
    batch.put_with(&name, rows::encode(row), &once);
    locks::put(&mut batch, &name, lock);
    store.write(batch)?;
    Ok(upload)
}

pub fn find(store: &Store, bucket: BucketId, key: &str, upload: UploadId) -> Result<UploadRow> {
    match store.get(keys::upload(bucket, key, upload))? {
        Some(row) => Ok(rows::decode(&row)?),
        None => Err(Error::NoSuchUpload),
    }
}

/// Makes a finished part the one with this number, in place of one that was there. Where it fails the
/// part is discarded.
pub fn add_part(
    store: &Store,
    bucket: BucketId,
    key: &str,
    upload: UploadId,
    number: u16,
    row: &PartRow,
) -> Result<()> {
    let name = keys::part(bucket, upload, number);
    let added = replace(store, &name, row).and_then(|(seq, old)| {
        if let Some(old) = old {
            store.discard_part(PartId(old.part))?;
        }
        if store.exists(keys::upload(bucket, key, upload))? {
            return Ok(());
        }
        let ours = DeleteOptions { condition: Condition::IfSeq(seq), ..DeleteOptions::default() };
        match store.delete_with(&name, &ours) {
            Err(error) if error.kind() != ErrorKind::Condition => Err(error.into()),
            _ => Err(Error::NoSuchUpload),
        }
    });
    if added.is_err()
        && let Err(error) = store.discard_part(PartId(row.part))
    {
        tracing::warn!(%error, "a part stays until the next start");
    }
    added
}

/// Puts a part's row; gives the one that was there, so that just one caller discards its part.
fn replace(store: &Store, name: &[u8], row: &PartRow) -> Result<(Seq, Option<PartRow>)> {
    loop {
        let mut old = Vec::new();
        let found = store.get_into(name, &mut old)?;
        let condition = match &found {
            Some(info) => Condition::IfSeq(info.seq),
            None => Condition::IfAbsent,
        };
        let options = PutOptions { condition, ..PutOptions::default() };
        match store.put_with(name, rows::encode(row), &options) {
            Ok(seq) => {
                let old = found.map(|_| rows::decode(&old)).transpose()?;
                return Ok((seq, old));
            }
            Err(error) if error.kind() == ErrorKind::Condition => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The parts from a number on, by number: `limit` of them at most.
pub fn parts(
    store: &Store,
    bucket: BucketId,
    upload: UploadId,
    after: u16,
    limit: usize,
) -> Result<Vec<(u16, PartRow)>> {
    let options = kogia::ListOptions {
        prefix: keys::parts(bucket, upload),
        start_after: Some(keys::part(bucket, upload, after)),
        max_keys: limit,
        ..kogia::ListOptions::default()
    };
    let mut parts = Vec::new();
    for item in store.list(&options)?.items {
        let kogia::Item::Object { key, .. } = item else { continue };
        let Some((_, _, number)) = keys::parse_part(&key) else { continue };
        // One that is replaced or discarded meanwhile is gone, or new.
        if let Some(row) = store.get(&key)? {
            parts.push((number, rows::decode(&row)?));
        }
    }
    Ok(parts)
}

/// Ends an upload: its row goes, then its parts, without those that were used. Says whether it was
/// there.
pub fn end(
    store: &Store,
    bucket: BucketId,
    key: &str,
    upload: UploadId,
    used: &HashSet<u64>,
) -> Result<bool> {
    let name = keys::upload(bucket, key, upload);
    let was_there = if store.exists(keys::lock(&name))? {
        let mut batch = Batch::new();
        batch.delete(keys::lock(&name)).delete(&name);
        store.write(batch)?;
        true
    } else {
        store.delete(&name)?
    };
    discard_all(store, &keys::parts(bucket, upload), used)?;
    Ok(was_there)
}

/// Discards the parts that the rows below a prefix name, without those that were used, and the rows.
pub fn discard_all(store: &Store, prefix: &[u8], used: &HashSet<u64>) -> Result<()> {
    let options = kogia::ListOptions { prefix: prefix.to_vec(), ..kogia::ListOptions::default() };
    loop {
        let mut batch = Batch::new();
        for item in store.list(&options)?.items {
            let kogia::Item::Object { key, .. } = item else { continue };
            if let Some(row) = store.get(&key)? {
                let row: PartRow = rows::decode(&row)?;
                if !used.contains(&row.part) {
                    store.discard_part(PartId(row.part))?;
                }
            }
            batch.delete(key);
        }
        if batch.is_empty() {
            return Ok(());
        }
        store.write(batch)?;
    }
}

/// Removes what a crash has left: before anybody uses the store.
pub fn sweep_start(store: &Store, buckets: &HashSet<BucketId>) -> Result<()> {
    let mut there = HashSet::new();
    walk(store, keys::UPLOADS, |name| {
        let Some((bucket, key, upload)) = keys::parse_upload(&name) else { return Ok(()) };
        if buckets.contains(&bucket) && !is_complete(store, bucket, key, upload)? {
            there.insert(upload);
            return Ok(());
        }
        end(store, bucket, key, upload, &HashSet::new()).map(drop)
    })?;
    let mut named = HashSet::new();
    walk(store, keys::PARTS, |name| {
        let Some((_, upload, _)) = keys::parse_part(&name) else { return Ok(()) };
        if !there.contains(&upload) {
            return discard_all(store, &name, &HashSet::new());
        }
        if let Some(row) = store.get(&name)? {
            named.insert(rows::decode::<PartRow>(&row)?.part);
        }
        Ok(())
    })?;
    for part in store.parts()? {
        if !named.contains(&part.id.0) {
            store.discard_part(part.id)?;
        }
    }
    Ok(())
}

/// Whether the key's object is the one that this upload made.
pub fn is_complete(store: &Store, bucket: BucketId, key: &str, upload: UploadId) -> Result<bool> {
    let Some(info) = store.head(keys::object(bucket, key))? else { return Ok(false) };
    Ok(Attributes::decode(&info.attributes)?.is_of(upload))
}
