//! Versions that come, and what they take the place of.

use std::collections::HashSet;

use kogia::{Batch, Condition, PutOptions, Store};

use super::{Key, Place, by_age};
use crate::conditions::precondition_failed;
use crate::data::attributes::{Version, VersionKind};
use crate::data::buckets::{now_ms, walk};
use crate::data::keys::{self, BucketId, UploadId, VersionId};
use crate::data::locks::{self, Lock};
use crate::data::{Attributes, streams, tags, uploads};
use crate::error::Result;

/// What is moved through memory whole.
const SMALL_BYTES: u64 = 256 << 10;

/// A version on its way into the store: what is known of it.
pub struct Adding<'a> {
    pub key: Key<'a>,
    pub id: VersionId,
    /// What has to hold of the current object.
    pub condition: Condition,
    pub lock: Lock,
}

impl Adding<'_> {
    /// Adds a version that is put whole. Gives its attributes.
    pub fn whole(&self, body: &[u8], attributes: Attributes) -> Result<Attributes> {
        let _alone = self.key.lock();
        let current = self.key.current_if(self.condition)?;
        let attributes = self.described(attributes, body.len() as u64);
        let mut batch = Batch::new();
        self.displace(&mut batch, current)?;
        locks::put(&mut batch, &self.key.version_row(self.id), self.lock);
        batch.put_with(self.key.version_row(self.id), body, &options_of(&attributes));
        self.make_current(&mut batch, &attributes)?;
        self.key.store.write(batch)?;
        Ok(attributes)
    }

    /// Adds a version whose row `put` puts, with the options that it is given. Gives its attributes.
    pub fn streamed(
        &self,
        len: u64,
        attributes: Attributes,
        put: impl FnOnce(&[u8], PutOptions) -> Result<()>,
    ) -> Result<Attributes> {
        let _alone = self.key.lock();
        let store = self.key.store;
        let current = self.key.current_if(self.condition)?;
        let attributes = self.described(attributes, len);
        let pending = self.key.pending_row(self.id);
        let mut batch = Batch::new();
        // First, since it may need room: `put` may use up parts, which are nowhere else.
        let displaced = self.displace(&mut batch, current)?;
        let row = self.key.version_row(self.id);
        let mut before = Batch::new();
        before.put(&pending, b"");
        locks::put(&mut before, &row, self.lock);
        store.write(before)?;
        let added = put(&row, options_of(&attributes)).and_then(|()| {
            batch.delete(&pending);
            self.make_current(&mut batch, &attributes)?;
            Ok(store.write(batch)?)
        });
        let Err(error) = added else { return Ok(attributes) };
        // Whatever stays is removed at the next start, or added: see there.
        let keeps = is_of_parts(&attributes) && store.exists(&row).unwrap_or(true);
        let ours = (!keeps).then_some(self.id);
        for id in displaced.into_iter().chain(ours) {
            if let Err(error) = self.key.take_back(id) {
                tracing::warn!(%error, "a version that was not added stays until the next start");
            }
        }
        Err(error)
    }

    fn displace(&self, batch: &mut Batch, current: Option<Place>) -> Result<Option<VersionId>> {
        current.map_or(Ok(None), |current| self.key.displace(batch, current, self.id))
    }

    fn described(&self, attributes: Attributes, len: u64) -> Attributes {
        let kind = VersionKind::Object;
        let version = Version { id: self.id, kind, len, created_ms: now_ms() };
        Attributes { version: Some(version), ..attributes }
    }

    /// Has the object's row name this version, unless a newer one is there.
    fn make_current(&self, batch: &mut Batch, attributes: &Attributes) -> Result<()> {
        if self.key.is_newest(self.id)? {
            batch.put_with(self.key.row(), b"", &options_of(attributes));
        }
        Ok(())
    }
}

pub(super) fn options_of(attributes: &Attributes) -> PutOptions {
    PutOptions { attributes: attributes.encode(), ..PutOptions::default() }
}

impl Key<'_> {
    fn pending_row(&self, id: VersionId) -> Vec<u8> {
        keys::pending(self.bucket, self.name, id)
    }

    /// Whether a version is on its way, or was left so by what failed: the next start may remove it.
    pub fn is_pending(&self, id: VersionId) -> Result<bool> {
        Ok(self.store.exists(self.pending_row(id))?)
    }

    /// Whether no version is newer.
    pub(super) fn is_newest(&self, id: VersionId) -> Result<bool> {
        Ok(self.newest_id()?.is_none_or(|newest| newest <= id))
    }

    /// The current object, if the condition holds of it.
    pub(super) fn current_if(&self, condition: Condition) -> Result<Option<Place>> {
        let current = self.current()?;
        let holds = match (condition, &current) {
            (Condition::Always, _) => true,
            (Condition::IfAbsent, current) => current.is_none(),
            (Condition::IfPresent, current) => current.is_some(),
            (Condition::IfSeq(seq), Some(place)) => place.info.seq == seq,
            (Condition::IfSeq(_), None) => false,
        };
        if holds { Ok(current) } else { Err(precondition_failed().into()) }
    }

    /// Makes room in the object's row: what has its bytes there becomes a version, older than `below`;
    /// in the batch or, where that is given back, pending until the batch is written.
    pub(super) fn displace(
        &self,
        batch: &mut Batch,
        place: Place,
        below: VersionId,
    ) -> Result<Option<VersionId>> {
        if !place.is_plain() {
            return Ok(None);
        }
        self.check()?;
        let store = self.store;
        // What was left of an earlier attempt.
        self.forget_null_in(batch)?;
        let Some(id) = self.id_below(&place, below)? else {
            return Err(s3s::s3_error!(
                OperationAborted,
                "A newer object was put while this request was under way. Try again."
            )
            .into());
        };
        let (len, created_ms) = (place.info.len, place.info.created_ms);
        let version = Version { id, kind: VersionKind::Null, len, created_ms };
        let tags = tags::of(store, &place)?;
        let attributes = Attributes { tags, version: Some(version), ..place.attributes };
        let options = options_of(&attributes);
        let is_small = len <= SMALL_BYTES;
        if is_small {
            let Some(bytes) = store.get(&place.row)? else { return Ok(None) };
            batch.put_with(self.version_row(id), bytes, &options);
        } else {
            let Some(mut bytes) = store.reader(&place.row)? else { return Ok(None) };
            let pending = self.pending_row(id);
            store.put(&pending, b"")?;
            let mut stream = store.writer(self.version_row(id))?;
            std::io::copy(&mut bytes, &mut stream).map_err(streams::of_io)?;
            stream.commit_with(options)?;
            batch.delete(pending);
        }
        tags::delete(store, batch, &place.row)?;
        Ok((!is_small).then_some(id))
    }

    /// What an object in its own row, which came behind all versions but perhaps `below`, is called where that
    /// takes its place; `None` where it came behind that, too.
    fn id_below(&self, place: &Place, below: VersionId) -> Result<Option<VersionId>> {
        let newest = self.newest_but(Some(below))?.and_then(|place| place.id());
        let behind = newest.map(|id| VersionId(id.0.saturating_add(1)));
        let id = by_age(place).max(behind.unwrap_or_default());
        Ok((id < below).then_some(id))
    }

    fn take_back(&self, id: VersionId) -> Result<()> {
        let mut batch = Batch::new();
        tags::delete_with(self.store, &mut batch, &self.version_row(id))?;
        locks::delete(self.store, &mut batch, &self.version_row(id))?;
        batch.delete(self.pending_row(id));
        self.store.write(batch)?;
        Ok(())
    }

    /// Does what was left to be done when a version's row was there.
    fn add_again(self, id: VersionId, attributes: &Attributes) -> Result<()> {
        let mut batch = Batch::new();
        let current = self.current()?;
        // One that was put since, after this version could not be added, stays in its own row.
        let stays = match current.as_ref().filter(|place| place.is_plain()) {
            Some(place) => self.id_below(place, id)?.is_none(),
            None => false,
        };
        if !stays {
            let (condition, lock) = (Condition::Always, Lock::default());
            let adding = Adding { key: self, id, condition, lock };
            adding.displace(&mut batch, current)?;
            adding.make_current(&mut batch, attributes)?;
        }
        if let Some((upload, _)) = &attributes.upload {
            // Its parts are used up, whichever object is current. A crash before the batch does it all again.
            uploads::end(self.store, self.bucket, self.name, UploadId(*upload), &HashSet::new())?;
        }
        batch.delete(self.pending_row(id));
        self.store.write(batch)?;
        Ok(())
    }
}

/// Removes the versions that a crash has left half added, before anybody uses the store. What was made
/// of parts is there whole, and they are used up: it is added.
pub fn sweep_start(store: &Store, buckets: &HashSet<BucketId>) -> Result<()> {
    walk(store, keys::PENDING, |row| match (keys::bucket_of(&row), keys::parse_version(&row)) {
        (Some(bucket), Some((name, id))) if buckets.contains(&bucket) => {
            let key = Key { store, bucket, name };
            match key.version(id)? {
                Some(place) if is_of_parts(&place.attributes) => {
                    key.add_again(id, &place.attributes).or_else(|error| {
                        // On a full disk, say, where only a server that has started can delete anything.
                        tracing::warn!(%error, "an object is not current before a later start");
                        Ok(())
                    })
                }
                _ => key.take_back(id),
            }
        }
        _ => Ok(store.delete(&row).map(drop)?),
    })
}

fn is_of_parts(attributes: &Attributes) -> bool {
    let is_object = |version: &Version| version.kind == VersionKind::Object;
    attributes.upload.is_some() && attributes.version.as_ref().is_some_and(is_object)
}
