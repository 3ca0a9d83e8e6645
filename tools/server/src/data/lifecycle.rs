//! Objects, versions and uploads that go by themselves.
//!
//! Where a bucket keeps no versions, rules by prefix and age are rules of the store: an object is gone for
//! every reader at that moment, and its space follows. For all else the bucket is walked through now and
//! then: the deletion of an object leaves a version, and a store knows neither tags nor dates.

use std::sync::Arc;

use kogia::{Condition, ErrorKind, Info, RetentionRule};

use super::attributes::Version;
use super::blocking;
use super::buckets::Bucket;
use super::keys::{self, BucketId, VersionId};
use super::rows;
use super::scan::Scan;
use super::settings::DAY_MS;
use super::settings::{LifecycleRule, Settings, Versioning};
use super::tags;
use super::uploads::{self, UploadRow};
use super::versions::{Hidden, Key, Place};
use crate::error::{Error, Result};

/// Rows that are passed over while a bucket is entered, and things that are deleted meanwhile, at most:
/// whoever changes its settings waits for that long.
const ROWS_AT_ONCE: usize = 128;
const GONE_AT_ONCE: u64 = 16;

/// The store's rules for a bucket with these settings.
pub fn retention(bucket: BucketId, settings: &Settings) -> Vec<RetentionRule> {
    if settings.versioning != Versioning::Never {
        return Vec::new();
    }
    let rules = settings.lifecycle.iter().filter(|rule| rule.enabled && rule.is_of_all());
    rules
        .filter_map(|rule| {
            let age = std::time::Duration::from_millis(u64::from(rule.days?) * DAY_MS);
            let objects = keys::object(bucket, &rule.prefix);
            // Tags are set behind their object, and so do not go before it.
            let tags = keys::tags(&objects);
            Some([objects, tags].map(|prefix| RetentionRule::new(prefix).max_age(age)))
        })
        .flatten()
        .collect()
}

/// What rules ask of an object.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    pub key: &'a str,
    pub created_ms: u64,
    pub len: u64,
    pub tags: &'a [(String, String)],
}

/// When an object goes by a rule of its bucket, and by which.
#[must_use]
pub fn expiry<'r>(settings: &'r Settings, object: Traits<'_>) -> Option<(u64, &'r str)> {
    let rules = settings.lifecycle.iter().filter(|rule| {
        rule.enabled
            && object.key.starts_with(&rule.prefix)
            && rule.fits_len(object.len)
            && rule.fits_tags(object.tags)
    });
    rules.filter_map(|rule| Some((rule.end_ms(object.created_ms)?, &*rule.id))).min()
}

impl LifecycleRule {
    /// When an object goes that was created then, if it is one of those that the rule is about.
    fn end_ms(&self, created_ms: u64) -> Option<u64> {
        let by_age = |days| created_ms.saturating_add(u64::from(days).saturating_mul(DAY_MS));
        // What comes later than the date goes at once.
        self.days.map(by_age).or(self.date_ms.map(|date| date.max(created_ms)))
    }

    fn is_over(&self, created_ms: u64, now_ms: u64) -> bool {
        self.end_ms(created_ms).is_some_and(|end| end <= now_ms)
    }

    /// Whether objects of a bucket without versions go by it that their store does not delete.
    fn is_walked(&self) -> bool {
        self.date_ms.is_some() || self.days.is_some() && !self.is_of_all()
    }

    fn fits_len(&self, len: u64) -> bool {
        self.filter.larger_than.is_none_or(|least| len > least)
            && self.filter.smaller_than.is_none_or(|most| len < most)
    }

    fn fits_tags(&self, tags: &[(String, String)]) -> bool {
        self.filter.tags.iter().all(|tag| tags.contains(tag))
    }

    /// Whether it is about an object, or a version, that has its prefix.
    fn fits(&self, bucket: &Bucket, place: &Place) -> Result<bool> {
        Ok(self.fits_len(place.info.len)
            && (self.filter.tags.is_empty() || self.fits_tags(&tags::of(&bucket.store, place)?)))
    }
}

/// Deletes what is due in a bucket, but for what its store deletes. Gives how much.
pub async fn apply(bucket: &Bucket, now_ms: u64) -> Result<u64> {
    apply_rules(bucket, &bucket.settings(), now_ms).await
}

/// The same by these settings, for as long as the bucket has them.
async fn apply_rules(bucket: &Bucket, settings: &Arc<Settings>, now_ms: u64) -> Result<u64> {
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

#[cfg(test)]
mod tests {
    use kogia::{Batch, Item, ListOptions, PutOptions};

    use super::*;
    use crate::data::attributes::VersionKind;
    use crate::data::buckets::now_ms;
    use crate::data::locks::{Lock, Mode, Retention};
    use crate::data::partitions::PartitionOptions;
    use crate::data::settings::{Filter, Noncurrent};
    use crate::data::uploads::create;
    use crate::data::versions::{Adding, Sought, Which};
    use crate::data::{Attributes, Catalogue, Partitions, blocking};

    fn rule() -> LifecycleRule {
        LifecycleRule {
            id: "rule".into(),
            enabled: true,
            prefix: "clips/".into(),
            prefix_alone: false,
            days: None,
            lone_markers: false,
            noncurrent: None,
            upload_days: None,
            filter: Filter::default(),
            date_ms: None,
        }
    }

    fn open(dir: &std::path::Path) -> Arc<Catalogue> {
        let options = PartitionOptions {
            dir: dir.to_owned(),
            disks: Vec::new(),
            count: 1,
            memory_bytes: 64 << 20,
        };
        Arc::new(Catalogue::open(&Partitions::open(&options).unwrap()).unwrap())
    }

    async fn bucket(
        dir: &std::path::Path,
        set: impl FnOnce(&mut Settings),
    ) -> (Arc<Catalogue>, Bucket) {
        let catalogue = open(dir);
        let bucket = catalogue.create("bucket").await.unwrap();
        let change = |settings: &mut Settings| {
            set(settings);
            Ok(())
        };
        catalogue.change_settings(&bucket, change).await.unwrap();
        (catalogue, bucket)
    }

    fn add(bucket: &Bucket, key: &str, body: &str) {
        put(bucket, key, body, Vec::new());
    }

    fn put(bucket: &Bucket, key: &str, body: &str, tags: tags::Tags) {
        let attributes = Attributes { tags, ..Attributes::of_nothing() };
        let key = bucket.key(key);
        if bucket.versioning() == Versioning::Never {
            let options = PutOptions { attributes: attributes.encode(), ..PutOptions::default() };
            bucket.store.put_with(key.row(), body, &options).unwrap();
            return;
        }
        let (id, condition) = (key.begin().unwrap(), Condition::Always);
        let adding = Adding { key, id, condition, lock: Lock::default() };
        adding.whole(body.as_bytes(), attributes).unwrap();
    }

    /// Walks through the bucket, from a thread that may block. Gives how much went.
    fn walked(bucket: &Bucket, now_ms: u64) -> u64 {
        tokio::runtime::Handle::current().block_on(apply(bucket, now_ms)).unwrap()
    }

    fn count(bucket: &Bucket, key: &str) -> usize {
        let prefix = keys::versions(bucket.id, key);
        bucket.store.list(&ListOptions { prefix, ..ListOptions::default() }).unwrap().items.len()
    }

    fn is_there(bucket: &Bucket, key: &str) -> bool {
        matches!(bucket.key(key).find(Which::Current).unwrap(), Sought::Object(_))
    }

    #[tokio::test]
    async fn what_is_due_goes_and_leaves_a_deletion_which_goes_with_what_it_hides() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.versioning = Versioning::Enabled;
            let noncurrent = Some(Noncurrent { days: 2, keep: 1 });
            let kept = LifecycleRule { days: Some(3), noncurrent, ..rule() };
            settings.lifecycle = vec![kept, LifecycleRule { lone_markers: true, ..rule() }];
        })
        .await;
        blocking(move || {
            for key in ["clips/a", "other"] {
                (0..4).for_each(|i| add(&bucket, key, &i.to_string()));
            }
            let now = now_ms();
            let after = |days: u64| now + days * DAY_MS + 60_000;
            assert_eq!(walked(&bucket, after(1)), 0);
            // The current one and one behind it stay.
            assert_eq!(walked(&bucket, after(2)), 2);
            assert_eq!((count(&bucket, "clips/a"), count(&bucket, "other")), (2, 4));
            assert!(is_there(&bucket, "clips/a"));
            // It is deleted, which leaves a version; what it hides is due later.
            assert_eq!(walked(&bucket, after(3)), 2);
            assert!(!is_there(&bucket, "clips/a") && is_there(&bucket, "other"));
            assert_eq!(count(&bucket, "clips/a"), 2);
            // One that stays may be hidden for ever: it is deleted by its name, and the deletion goes.
            let prefix = keys::versions(bucket.id, "clips/a");
            let page =
                bucket.store.list(&ListOptions { prefix, ..ListOptions::default() }).unwrap();
            let Some(Item::Object { key, .. }) = page.items.into_iter().nth(1) else { panic!() };
            let (_, id) = keys::parse_version(&key).unwrap();
            bucket.key("clips/a").delete_version(Which::Id(id), false).unwrap();
            assert_eq!(walked(&bucket, after(3)), 1);
            assert_eq!((count(&bucket, "clips/a"), count(&bucket, "other")), (0, 4));
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_locked_stays_when_it_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.versioning = Versioning::Enabled;
            let noncurrent = Some(Noncurrent { days: 1, keep: 0 });
            settings.lifecycle = vec![LifecycleRule { noncurrent, ..rule() }];
        })
        .await;
        blocking(move || {
            let key = bucket.key("clips/a");
            let held = |legal_hold| Lock { legal_hold: Some(legal_hold), ..Lock::default() };
            let until = |until_ms| {
                let retention = Some(Retention { mode: Mode::Governance, until_ms });
                Lock { retention, ..Lock::default() }
            };
            let none = Lock::default();
            let mut ids = Vec::new();
            // The last one is current.
            for lock in [held(true), none, held(false), until(u64::MAX), until(1), none] {
                let (id, condition) = (key.begin().unwrap(), Condition::Always);
                let adding = Adding { key, id, condition, lock };
                adding.whole(b"x", Attributes::of_nothing()).unwrap();
                ids.push(id);
            }
            assert_eq!(walked(&bucket, now_ms() + 2 * DAY_MS), 3);
            let is_there =
                |id: &VersionId| matches!(key.find(Which::Id(*id)).unwrap(), Sought::Object(_));
            let there: Vec<bool> = ids.iter().map(is_there).collect();
            assert_eq!(there, [true, false, false, true, false, true]);
        })
        .await;
    }

    #[tokio::test]
    async fn without_versions_the_rules_are_the_stores_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let (catalogue, first) = bucket(dir.path(), |settings| {
            let off = LifecycleRule { enabled: false, days: Some(1), ..rule() };
            settings.lifecycle = vec![LifecycleRule { days: Some(3), ..rule() }, off];
        })
        .await;
        let age = std::time::Duration::from_millis(3 * DAY_MS);
        let rules = ["o/00000001/clips/", "t/00000001/clips/"]
            .map(|prefix| RetentionRule::new(prefix).max_age(age));
        assert_eq!(first.store.retention(), rules);
        let partitions = catalogue.partitions().clone();
        drop((catalogue, first));
        partitions.close().unwrap();
        let catalogue = open(dir.path());
        catalogue.keep_rules(0).unwrap();
        let bucket = catalogue.get("bucket").unwrap();
        assert_eq!(bucket.store.retention(), rules);
        // With versions an object leaves a deletion, which a store knows nothing of.
        let enable = |settings: &mut Settings| {
            settings.versioning = Versioning::Enabled;
            Ok(())
        };
        catalogue.change_settings(&bucket, enable).await.unwrap();
        assert_eq!(bucket.store.retention(), []);
    }

    #[tokio::test]
    async fn of_objects_with_the_prefix_those_go_that_the_filter_is_about() {
        let tag = |value: &str| vec![("keep".to_owned(), value.to_owned())];
        for versioning in [Versioning::Never, Versioning::Enabled] {
            let dir = tempfile::tempdir().unwrap();
            let filter = Filter { tags: tag("short"), larger_than: Some(2), smaller_than: Some(5) };
            let rules = vec![LifecycleRule { days: Some(3), filter, ..rule() }];
            let set = |settings: &mut Settings| {
                (settings.versioning, settings.lifecycle) = (versioning, rules.clone());
            };
            let (catalogue, first) = bucket(dir.path(), set).await;
            assert_eq!(first.store.retention(), []);
            let bucket = first.clone();
            let tags = tag("short");
            blocking(move || {
                let tagged = [
                    ("goes", "1234", "short"),
                    ("small", "12", "short"),
                    ("large", "12345", "short"),
                ];
                for (key, body, value) in [&tagged[..], &[("long", "1234", "long")]].concat() {
                    put(&bucket, &format!("clips/{key}"), body, tag(value));
                }
                // Tags that were set behind their object count as well.
                for (key, tags) in [("later", tags.clone()), ("no-more", Vec::new())] {
                    let name = format!("clips/{key}");
                    put(&bucket, &name, "1234", tag("short"));
                    let Sought::Object(place) = bucket.key(&name).find(Which::Current)? else {
                        panic!()
                    };
                    tags::set(&bucket.store, &place, tags)?;
                }
                let after = |days: u64| now_ms() + days * DAY_MS;
                assert_eq!(walked(&bucket, after(2)), 0);
                assert_eq!(walked(&bucket, after(3)), 2);
                let left = ["goes", "small", "large", "long", "later", "no-more"]
                    .map(|key| is_there(&bucket, &format!("clips/{key}")));
                assert_eq!(left, [false, true, true, true, false, true]);
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
            // All of the rule is there after a start.
            let partitions = catalogue.partitions().clone();
            drop((catalogue, first));
            partitions.close().unwrap();
            let catalogue = open(dir.path());
            assert_eq!(catalogue.get("bucket").unwrap().settings().lifecycle, rules);
        }
    }

    #[tokio::test]
    async fn of_versions_those_go_that_the_filter_is_about_and_a_deletion_has_no_size() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.versioning = Versioning::Enabled;
            let noncurrent = Some(Noncurrent { days: 1, keep: 0 });
            let filter = Filter { larger_than: Some(2), ..Filter::default() };
            settings.lifecycle =
                vec![LifecycleRule { noncurrent, filter, days: Some(9), ..rule() }];
        })
        .await;
        blocking(move || {
            for body in ["1", "123", "1", "1234", "1"] {
                add(&bucket, "clips/a", body);
            }
            add(&bucket, "clips/gone", "1");
            let key = bucket.key("clips/gone");
            key.delete(Condition::Always, true).unwrap();
            let all = || (count(&bucket, "clips/a"), count(&bucket, "clips/gone"));
            assert_eq!(walked(&bucket, now_ms() + 20 * DAY_MS), 2);
            assert_eq!(all(), (3, 2));
            // Alone, the deletion is not what the filter is about either.
            let versions = keys::versions(bucket.id, "clips/gone");
            let page =
                bucket.store.list(&ListOptions { prefix: versions, ..ListOptions::default() });
            let Some(Item::Object { key: row, .. }) = page.unwrap().items.into_iter().nth(1) else {
                panic!()
            };
            key.delete_version(Which::Id(keys::parse_version(&row).unwrap().1), false).unwrap();
            assert_eq!((walked(&bucket, now_ms() + 20 * DAY_MS), all()), (0, (3, 1)));
        })
        .await;
    }

    #[tokio::test]
    async fn from_a_date_on_objects_go_however_young_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let date = now_ms() + DAY_MS;
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.lifecycle = vec![LifecycleRule { date_ms: Some(date), ..rule() }];
        })
        .await;
        blocking(move || {
            for key in ["clips/a", "other"] {
                put(&bucket, key, "x", Vec::new());
            }
            assert_eq!(walked(&bucket, date - 1), 0);
            assert_eq!(walked(&bucket, date), 1);
            assert!(!is_there(&bucket, "clips/a") && is_there(&bucket, "other"));
            let object = Traits { key: "clips/b", created_ms: date + 5, len: 1, tags: &[] };
            assert_eq!(expiry(&bucket.settings(), object), Some((date + 5, "rule")));
        })
        .await;
    }

    /// A walk through a large bucket takes hours: one that had begun went on by rules that had been taken
    /// away meanwhile.
    #[tokio::test]
    async fn a_walk_ends_where_its_rules_are_not_the_buckets_any_more() {
        for versioning in [Versioning::Never, Versioning::Enabled] {
            let dir = tempfile::tempdir().unwrap();
            let (catalogue, bucket) = bucket(dir.path(), |settings| {
                let noncurrent = Some(Noncurrent { days: 1, keep: 0 });
                let rule = LifecycleRule { upload_days: Some(1), noncurrent, ..rule() };
                settings.versioning = versioning;
                settings.lifecycle = vec![LifecycleRule { date_ms: Some(1), ..rule }];
            })
            .await;
            add(&bucket, "clips/a", "old");
            add(&bucket, "clips/a", "new");
            begin(&bucket, "clips/b");
            let (before, later) = (bucket.settings(), now_ms() + 9 * DAY_MS);
            let take_away = |settings: &mut Settings| {
                settings.lifecycle.clear();
                Ok(())
            };
            catalogue.change_settings(&bucket, take_away).await.unwrap();
            assert_eq!(apply_rules(&bucket, &before, later).await.unwrap(), 0);
            assert!(is_there(&bucket, "clips/a"));
            let give_back = |settings: &mut Settings| {
                settings.lifecycle.clone_from(&before.lifecycle);
                Ok(())
            };
            catalogue.change_settings(&bucket, give_back).await.unwrap();
            assert!(apply(&bucket, later).await.unwrap() >= 2);
            assert!(!is_there(&bucket, "clips/a"));
        }
    }

    /// A machine without a clock of its own puts an object before it has the time: the version before was
    /// deleted as one that had been hidden since 1970.
    #[tokio::test]
    async fn a_version_stays_that_was_hidden_while_the_clock_was_back() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.versioning = Versioning::Enabled;
            let noncurrent = Some(Noncurrent { days: 1, keep: 0 });
            settings.lifecycle = vec![LifecycleRule { noncurrent, ..rule() }];
        })
        .await;
        add(&bucket, "clips/a", "old");
        let id = bucket.key("clips/a").begin().unwrap();
        let version = Version { id, kind: VersionKind::Object, len: 3, created_ms: 1000 };
        let attributes = Attributes { version: Some(version), ..Attributes::of_nothing() };
        let options = PutOptions { attributes: attributes.encode(), ..PutOptions::default() };
        let mut batch = Batch::new();
        batch.put_with(keys::version(bucket.id, "clips/a", id), "new", &options);
        batch.put_with(keys::object(bucket.id, "clips/a"), "", &options);
        bucket.store.write(batch).unwrap();
        assert_eq!(apply(&bucket, now_ms()).await.unwrap(), 0);
        assert_eq!(count(&bucket, "clips/a"), 2);
        assert_eq!(apply(&bucket, now_ms() + 2 * DAY_MS).await.unwrap(), 1);
    }

    /// The server stood still for ever: a walk waited for the bucket on the last of the threads that may
    /// block, and whoever was about to change its settings for that thread. Nobody waits for a bucket
    /// there.
    #[test]
    fn a_walk_and_changes_of_settings_come_to_their_end_on_one_thread() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (catalogue, bucket) = bucket(dir.path(), |settings| {
                settings.lifecycle = vec![LifecycleRule { upload_days: Some(1), ..rule() }];
            })
            .await;
            (0..100).for_each(|number| begin(&bucket, &format!("clips/{number}")));
            let later = now_ms() + 2 * DAY_MS;
            let change = async {
                for number in 0..30 {
                    let set = |settings: &mut Settings| {
                        settings.tags = vec![("number".to_owned(), number.to_string())];
                        Ok(())
                    };
                    catalogue.change_settings(&bucket, set).await.unwrap();
                }
            };
            let walk = async {
                let mut gone = 0;
                for _ in 0..30 {
                    gone += apply(&bucket, later).await.unwrap();
                }
                gone
            };
            let (gone, ()) = tokio::join!(walk, change);
            assert_eq!(gone + apply(&bucket, later).await.unwrap(), 100);
        });
    }

    fn begin(bucket: &Bucket, key: &str) {
        let row = UploadRow {
            headers: Default::default(),
            tags: Vec::new(),
            checksum: None,
            created_ms: now_ms(),
        };
        create(&bucket.store, bucket.id, key, &row, Lock::default()).unwrap();
    }

    #[tokio::test]
    async fn uploads_that_are_due_are_aborted_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.lifecycle = vec![LifecycleRule { upload_days: Some(2), ..rule() }];
        })
        .await;
        blocking(move || {
            begin(&bucket, "clips/a");
            begin(&bucket, "other");
            assert_eq!(walked(&bucket, now_ms() + DAY_MS), 0);
            assert_eq!(walked(&bucket, now_ms() + 2 * DAY_MS), 1);
            assert_eq!(walked(&bucket, now_ms() + 9 * DAY_MS), 0);
        })
        .await;
    }
}
