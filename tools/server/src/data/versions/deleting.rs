//! Versions that go.

use kogia::{Batch, Condition, DeleteOptions};
use s3s::s3_error;

use super::adding::options_of;
use super::{Key, Place, Which, name};
use crate::data::attributes::{Version, VersionKind};
use crate::data::buckets::now_ms;
use crate::data::keys::VersionId;
use crate::data::{Attributes, keys, locks, tags};
use crate::error::{Error, Result};

/// What hides a version that is to be deleted by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hidden {
    /// Something newer.
    ByNewer,
    /// Nothing, and it hides nothing: it is a deletion, and the key's only version.
    Nothing,
}

impl Key<'_> {
    /// Deletes an object, and leaves a version that says so. Gives how that is called.
    ///
    /// With `named` it is a version of its own, and all others stay; else it takes the place of the one
    /// without a name.
    pub fn delete(&self, condition: Condition, named: bool) -> Result<String> {
        let _alone = self.lock();
        self.delete_alone(condition, named)
    }

    /// The same where the caller holds the key's lock.
    pub fn delete_alone(&self, condition: Condition, named: bool) -> Result<String> {
        // Newer than all that is there.
        let id = self.begin()?;
        let mut batch = Batch::new();
        if let Some(current) = self.current_if(condition)? {
            if named {
                self.displace(&mut batch, current, id)?;
            }
            tags::delete_with(self.store, &mut batch, &self.row())?;
        }
        if !named {
            self.forget_null_in(&mut batch)?;
        }
        let kind = if named { VersionKind::Marker } else { VersionKind::NullMarker };
        let version = Version { id, kind, len: 0, created_ms: now_ms() };
        let marker = Attributes { version: Some(version), ..Attributes::of_nothing() };
        batch.put_with(self.version_row(id), b"", &options_of(&marker));
        self.store.write(batch)?;
        Ok(name(marker.version.as_ref()))
    }

    /// Deletes an object where no versions are kept, and its row of tags with it. One that is not there
    /// is none to delete.
    pub fn delete_plain(&self, condition: Condition) -> Result<()> {
        let row = self.row();
        if tags::has_row(self.store, &row)? {
            let mut batch = Batch::new();
            batch.delete_with(&row, condition).delete(keys::tags(&row));
            self.store.write(batch)?;
            return Ok(());
        }
        self.store.delete_with(row, &DeleteOptions { condition, ..DeleteOptions::default() })?;
        Ok(())
    }

    /// Forgets the version without a name, whose place an object has taken that is in its own row. The
    /// caller holds the key's lock.
    pub fn forget_null(&self) -> Result<()> {
        let mut batch = Batch::new();
        self.forget_null_in(&mut batch)?;
        if !batch.is_empty() {
            self.store.write(batch)?;
        }
        Ok(())
    }

    /// The same as a part of a batch. Gives it.
    pub(super) fn forget_null_in(&self, batch: &mut Batch) -> Result<Option<VersionId>> {
        let Some(null) = self.null()? else { return Ok(None) };
        tags::delete_with(self.store, batch, &null.row)?;
        Ok(null.id())
    }

    /// Deletes one version for good. Says whether it was a deletion itself; `None` where it was not
    /// there. `bypasses` passes over locks that allow it.
    pub fn delete_version(&self, which: Which, bypasses: bool) -> Result<Option<bool>> {
        let _alone = self.lock();
        self.delete_version_alone(which, bypasses)
    }

    /// Deletes a version for good, if it still is what it was found to be; whether it did. The caller
    /// holds the key's lock.
    pub fn delete_if(&self, id: VersionId, state: Hidden) -> Result<bool> {
        let newest = self.newest_id()?;
        let holds = match (state, self.current()?) {
            (Hidden::ByNewer, Some(current)) => current.id() != Some(id),
            (Hidden::ByNewer, None) => newest > Some(id),
            (Hidden::Nothing, Some(_)) => false,
            (Hidden::Nothing, None) => newest == Some(id) && self.newest_but(newest)?.is_none(),
        };
        if !holds || locks::of(self.store, &self.version_row(id))?.holds(now_ms(), false) {
            return Ok(false);
        }
        Ok(self.delete_version_alone(Which::Id(id), false)?.is_some())
    }

    /// The caller holds the key's lock.
    fn delete_version_alone(&self, which: Which, bypasses: bool) -> Result<Option<bool>> {
        let current = self.current()?;
        let deleted = match which {
            Which::Current => None,
            Which::Id(id) => self.version(id)?,
            Which::Null => match current.clone().filter(Place::is_plain) {
                None => self.null()?,
                plain => plain,
            },
        };
        let Some(deleted) = deleted else { return Ok(None) };
        let mut batch = Batch::new();
        if let Some(lock) = locks::find(self.store, &deleted.row)? {
            if lock.holds(now_ms(), bypasses) {
                return Err(denied());
            }
            batch.delete(keys::lock(&deleted.row));
        }
        let (mut gone, was_current) = (deleted.id(), is_current(self, &deleted, current.as_ref())?);
        if deleted.is_plain() {
            // What a crash has left of one whose place was taken.
            gone = self.forget_null_in(&mut batch)?;
            tags::delete(self.store, &mut batch, &deleted.row)?;
        } else {
            tags::delete_with(self.store, &mut batch, &deleted.row)?;
        }
        if was_current {
            match self.newest_but(gone)?.filter(|next| !next.is_marker()) {
                Some(next) => {
                    batch.put_with(self.row(), b"", &options_of(&next.attributes));
                }
                None if current.is_some() => {
                    batch.delete(self.row());
                }
                None => {}
            }
        }
        self.store.write(batch)?;
        Ok(Some(deleted.is_marker()))
    }

    /// The newest version but for one.
    pub(super) fn newest_but(&self, without: Option<VersionId>) -> Result<Option<Place>> {
        for place in self.newest_of(2)? {
            let place = place?;
            if place.id() != without {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// What is answered of a version that is locked.
pub fn denied() -> Error {
    s3_error!(AccessDenied, "Access Denied because object protected by object lock.").into()
}

/// Whether a version is the one that a key has without saying which.
fn is_current(key: &Key<'_>, place: &Place, current: Option<&Place>) -> Result<bool> {
    match (place.id(), current) {
        (None, _) => Ok(true),
        (Some(id), Some(current)) => Ok(current.id() == Some(id)),
        (Some(id), None) => key.is_newest(id),
    }
}
