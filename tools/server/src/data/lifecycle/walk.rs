//! Walks through a bucket, and what is deleted by the way.

use std::sync::Arc;

use kogia::{Condition, ErrorKind, Info};

use crate::data::attributes::Version;
use crate::data::blocking;
use crate::data::buckets::Bucket;
use crate::data::keys::{self, BucketId, VersionId};
use crate::data::rows;
use crate::data::scan::Scan;
use crate::data::settings::{DAY_MS, LifecycleRule, Settings, Versioning};
use crate::data::uploads::{self, UploadRow};
use crate::data::versions::{Hidden, Key, Place};
use crate::error::{Error, Result};

/// Rows that are passed over while a bucket is entered, and things that are deleted meanwhile, at most:
/// whoever changes its settings waits for that long.
const ROWS_AT_ONCE: usize = 128;
const GONE_AT_ONCE: u64 = 16;

/// Deletes what is due in a bucket, but for what its store deletes. Gives how much.
pub async fn apply(bucket: &Bucket, now_ms: u64) -> Result<u64> {
    apply_rules(bucket, &bucket.settings(), now_ms).await
}

/// The same by these settings, for as long as the bucket has them.
pub(super) async fn apply_rules(
    bucket: &Bucket,
    settings: &Arc<Settings>,
    now_ms: u64,
) -> Result<u64> {
    let (versioning, mut gone) = (settings.versioning, 0);
    for rule in settings.lifecycle.iter().filter(|rule| rule.enabled) {
        if let Some(days) = rule.upload_days {
            let begun = Uploads { prefix: rule.prefix.clone(), before_ms: before(now_ms, days) };
            gone += pass_over(bucket, Some(settings), begun).await?;
        }
        let has_versions = versioning != Versioning::Never;
        let expires = rule.days.is_some() || rule.date_ms.is_some();
        if expires && (has_versions || rule.is_walked()) {
            let objects = Objects { rule: rule.clone(), now_ms, versioning };
            gone += pass_over(bucket, Some(settings), objects).await?;
        }
        if has_versions && (rule.noncurrent.is_some() || rule.lone_markers || expires) {
            let versions = Versions { rule: rule.clone(), now_ms, seen: Before::default() };
            gone += pass_over(bucket, Some(settings), versions).await?;
        }
    }
    Ok(gone)
}

/// The moment before which something is so many days old.
fn before(now_ms: u64, days: u32) -> u64 {
    now_ms.saturating_sub(u64::from(days).saturating_mul(DAY_MS))
}

/// Ends the uploads that were begun before a time. Gives how many.
pub async fn end_uploads(bucket: &Bucket, before_ms: u64) -> Result<u64> {
    pass_over(bucket, None, Uploads { prefix: String::new(), before_ms }).await
}

/// What is shown the rows of a bucket one after the other, and deletes what is due. Its calls block.
trait Pass: Send + 'static {
    /// What the rows begin with.
    fn prefix(&self, bucket: BucketId) -> Vec<u8>;

    /// Gives how much was deleted.
    fn row(&mut self, bucket: &Bucket, row: &[u8], info: Info) -> Result<u64>;

    /// The same behind the last row.
    fn end(&mut self, _bucket: &Bucket) -> Result<u64> {
        Ok(0)
    }
}

/// Passes over a bucket until the end, or until it has other settings than these. Gives how much was
/// deleted.
///
/// The bucket is entered for some rows at a time, and never by a thread that may block: whoever it would
/// wait for may need that thread.
async fn pass_over(
    bucket: &Bucket,
    settings: Option<&Arc<Settings>>,
    mut pass: impl Pass,
) -> Result<u64> {
    let (mut gone, mut behind) = (0, None);
    loop {
        let entered = bucket.enter().await?;
        // They stay what they are until it is left.
        if settings.is_some_and(|settings| !Arc::ptr_eq(settings, &bucket.settings())) {
            return Ok(gone);
        }
        let inside = bucket.clone();
        let passed = blocking(move || {
            let passed = pass_some(&inside, &mut pass, behind);
            drop(entered);
            passed.map(|(gone, last)| (pass, gone, last))
        });
        let deleted;
        (pass, deleted, behind) = passed.await?;
        gone += deleted;
        if behind.is_none() {
            return Ok(gone);
        }
    }
}

/// Passes over some rows behind one. Gives how much was deleted, and the last of the rows; none at the
/// end.
fn pass_some(
    bucket: &Bucket,
    pass: &mut impl Pass,
    behind: Option<Vec<u8>>,
) -> Result<(u64, Option<Vec<u8>>)> {
    let (mut gone, mut last) = (0, None);
    let rows = Scan::new(&bucket.store, pass.prefix(bucket.id)).behind(behind);
    for row in rows.take(ROWS_AT_ONCE) {
        let (row, info) = row?;
        gone += pass.row(bucket, &row, info)?;
        last = Some(row);
        if gone >= GONE_AT_ONCE {
            break;
        }
    }
    if last.is_none() {
        gone += pass.end(bucket)?;
    }
    Ok((gone, last))
}

/// Ends uploads that were begun before a time.
struct Uploads {
    prefix: String,
    before_ms: u64,
}

impl Pass for Uploads {
    fn prefix(&self, bucket: BucketId) -> Vec<u8> {
        [&keys::uploads(bucket)[..], self.prefix.as_bytes()].concat()
    }

    fn row(&mut self, bucket: &Bucket, name: &[u8], _: Info) -> Result<u64> {
        let Some((id, key, upload)) = keys::parse_upload(name) else { return Ok(0) };
        let Some(row) = bucket.store.get(name)? else { return Ok(0) };
        if rows::decode::<UploadRow>(&row)?.created_ms > self.before_ms {
            return Ok(0);
        }
        Ok(u64::from(uploads::end(&bucket.store, id, key, upload, &Default::default())?))
    }
}

/// Deletes objects by a rule.
struct Objects {
    rule: LifecycleRule,
    now_ms: u64,
    versioning: Versioning,
}

impl Pass for Objects {
    fn prefix(&self, bucket: BucketId) -> Vec<u8> {
        keys::object(bucket, &self.rule.prefix)
    }

    fn row(&mut self, bucket: &Bucket, row: &[u8], info: Info) -> Result<u64> {
        let name = keys::object_text(row)?;
        let seq = info.seq;
        let place = Place::of(bucket.id, name, info)?;
        if !self.rule.is_over(place.info.created_ms, self.now_ms) {
            return Ok(0);
        }
        let key = bucket.key(name);
        // Tags are not set meanwhile: other ones would leave the object the same by its seq.
        let _alone = key.lock();
        if !self.rule.fits(bucket, &place)? {
            return Ok(0);
        }
        Ok(u64::from(delete_object(key, Condition::IfSeq(seq), self.versioning)?))
    }
}

/// Deletes an object unless another one is there by now; whether it did. The caller holds the key's lock.
fn delete_object(key: Key<'_>, condition: Condition, versioning: Versioning) -> Result<bool> {
    let deleted = match versioning {
        Versioning::Never => key.delete_plain(condition),
        Versioning::Enabled => key.delete_alone(condition, true).map(drop),
        Versioning::Suspended => key.delete_alone(condition, false).map(drop),
    };
    match deleted {
        Ok(()) => Ok(true),
        Err(Error::S3(_)) => Ok(false),
        Err(Error::Store(error)) if error.kind() == ErrorKind::Condition => Ok(false),
        Err(error) => Err(error),
    }
}

/// The versions of a key that come before the one that is looked at.
#[derive(Default)]
struct Before {
    key: String,
    /// When the newer one came.
    newer_ms: Option<u64>,
    noncurrent: u32,
    /// The key's only version so far, where that is a deletion, and when it came.
    lone_marker: Option<(VersionId, u64)>,
}

/// Deletes versions by a rule.
struct Versions {
    rule: LifecycleRule,
    now_ms: u64,
    seen: Before,
}

impl Pass for Versions {
    fn prefix(&self, bucket: BucketId) -> Vec<u8> {
        [&keys::all_versions(bucket)[..], self.rule.prefix.as_bytes()].concat()
    }

    fn row(&mut self, bucket: &Bucket, row: &[u8], info: Info) -> Result<u64> {
        let Some((name, _)) = keys::parse_version(row) else { return Ok(0) };
        let place = Place::of(bucket.id, name, info)?;
        let Some(version) = &place.attributes.version else { return Ok(0) };
        let (key, came_ms) = (bucket.key(name), came_ms(version));
        let mut deleted = 0;
        if self.seen.key == name {
            self.seen.lone_marker = None;
        } else {
            deleted += self.end(bucket)?;
            // What has its bytes in the object's own row is newer than all versions.
            let plain = key.current()?.filter(Place::is_plain);
            self.seen = Before {
                key: name.to_owned(),
                newer_ms: plain.map(|plain| plain.info.created_ms),
                lone_marker: place.is_marker().then_some((version.id, came_ms)),
                ..Before::default()
            };
        }
        let newer_ms = self.seen.newer_ms.replace(came_ms);
        let (Some(newer_ms), Some(rules)) = (newer_ms, self.rule.noncurrent) else {
            return Ok(deleted);
        };
        self.seen.noncurrent += 1;
        let is_due =
            self.seen.noncurrent > rules.keep && newer_ms <= before(self.now_ms, rules.days);
        if is_due {
            // As with objects.
            let _alone = key.lock();
            let goes = self.rule.fits(bucket, &place)?;
            deleted += u64::from(goes && key.delete_if(version.id, Hidden::ByNewer)?);
        }
        Ok(deleted)
    }

    /// Has a deletion go that hides nothing any more. It has neither tags nor a size.
    fn end(&mut self, bucket: &Bucket) -> Result<u64> {
        let Some((id, since)) = self.seen.lone_marker.take() else { return Ok(0) };
        let rule = &self.rule;
        let is_due = rule.lone_markers || rule.is_of_all() && rule.is_over(since, self.now_ms);
        if !is_due {
            return Ok(0);
        }
        let key = bucket.key(&self.seen.key);
        let _alone = key.lock();
        Ok(u64::from(key.delete_if(id, Hidden::Nothing)?))
    }
}

/// When a version came, as far as is known. The clock may have been back then, as that of a machine that
/// has lost its power, and what it took the place of would be gone at once; of a key's versions none has a
/// lesser id than one before it.
fn came_ms(version: &Version) -> u64 {
    version.created_ms.max(version.id.ms())
}
