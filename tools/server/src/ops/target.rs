//! Where an object that is put comes to lie: in its own row, or as a version in one of that.

use kogia::{Condition, PutOptions};
use s3s::s3_error;

use super::told;
use crate::data::Attributes;
use crate::data::buckets::{Bucket, now_ms};
use crate::data::keys::{self, VersionId};
use crate::data::lifecycle::Traits;
use crate::data::locks::Lock;
use crate::data::settings::Versioning;
use crate::data::versions::{self, Adding, Key, KeyLock};
use crate::error::Result;

/// An object on its way.
pub struct Target {
    pub bucket: Bucket,
    key: String,
    versioning: Versioning,
    /// The version that it becomes.
    id: Option<VersionId>,
    /// What was asked of that one's lock.
    lock: Lock,
}

/// An object that is there.
pub struct Placed {
    pub attributes: Attributes,
    /// How its version is called, where it has a name.
    pub version: Option<String>,
    /// When it goes, and by which rule of its bucket, as `x-amz-expiration` says it.
    pub expiration: Option<String>,
}

impl Target {
    /// Blocks, where the bucket keeps versions.
    pub fn new(bucket: Bucket, key: String, lock: Lock) -> Result<Self> {
        let versioning = bucket.versioning();
        let id = match versioning {
            Versioning::Enabled => Some(bucket.key(&key).begin()?),
            Versioning::Never | Versioning::Suspended => None,
        };
        Ok(Target { bucket, key, versioning, id, lock })
    }

    /// The row that its bytes go to.
    pub fn row(&self) -> Vec<u8> {
        match self.id {
            Some(id) => keys::version(self.bucket.id, &self.key, id),
            None => self.key().row(),
        }
    }

    /// Puts an object whole. The bucket has been entered.
    pub fn put(self, body: &[u8], attributes: Attributes, condition: Condition) -> Result<Placed> {
        match self.adding(condition)? {
            Some(adding) => Ok(self.version(adding.whole(body, attributes)?, body.len() as u64)),
            None => {
                let _alone = self.alone()?;
                let created_ms = now_ms();
                let options = options(&attributes, condition, created_ms);
                self.bucket.store.put_with(self.row(), body, &options)?;
                self.plain(attributes, body.len() as u64, created_ms)
            }
        }
    }

    /// Makes an object of what was streamed: `put` does so, in the row that it is given. The bucket has
    /// been entered.
    pub fn commit(
        self,
        len: u64,
        attributes: Attributes,
        condition: Condition,
        put: impl FnOnce(&[u8], PutOptions) -> Result<()>,
    ) -> Result<Placed> {
        match self.adding(condition)? {
            Some(adding) => Ok(self.version(adding.streamed(len, attributes, put)?, len)),
            None => {
                let _alone = self.alone()?;
                let created_ms = now_ms();
                put(&self.row(), options(&attributes, condition, created_ms))?;
                self.plain(attributes, len, created_ms)
            }
        }
    }

    fn key(&self) -> Key<'_> {
        self.bucket.key(&self.key)
    }

    fn adding(&self, condition: Condition) -> Result<Option<Adding<'_>>> {
        if self.bucket.versioning() != self.versioning {
            return Err(s3_error!(
                OperationAborted,
                "The bucket began or ceased to keep versions meanwhile. Try again."
            )
            .into());
        }
        let lock = self.lock.or_default(&self.bucket.settings(), now_ms());
        Ok(self.id.map(|id| Adding { key: self.key(), id, condition, lock }))
    }

    /// Keeps others from the rows of the key, where there may be several.
    fn alone(&self) -> Result<Option<KeyLock>> {
        if self.versioning != Versioning::Suspended {
            return Ok(None);
        }
        self.key().check()?;
        Ok(Some(self.key().lock()))
    }

    /// What was put in its own row takes the place of a version without a name.
    /// S3 names no version then.
    fn plain(&self, attributes: Attributes, len: u64, created_ms: u64) -> Result<Placed> {
        if self.versioning == Versioning::Suspended {
            self.key().forget_null()?;
        }
        Ok(self.placed(attributes, None, len, created_ms))
    }

    fn version(&self, attributes: Attributes, len: u64) -> Placed {
        let version = Some(versions::name(attributes.version.as_ref()));
        let created_ms = attributes.version.as_ref().map_or(0, |version| version.created_ms);
        self.placed(attributes, version, len, created_ms)
    }

    fn placed(
        &self,
        attributes: Attributes,
        version: Option<String>,
        len: u64,
        created_ms: u64,
    ) -> Placed {
        let (key, tags) = (&*self.key, &*attributes.tags);
        let object = Traits { key, created_ms, len, tags };
        let expiration = told::expiration(&self.bucket, object);
        Placed { attributes, version, expiration }
    }
}

fn options(attributes: &Attributes, condition: Condition, created_ms: u64) -> PutOptions {
    let (attributes, created_ms) = (attributes.encode(), Some(created_ms));
    PutOptions { attributes, condition, created_ms, ..PutOptions::default() }
}
