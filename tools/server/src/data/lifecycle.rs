//! Objects, versions and uploads that go by themselves.
//!
//! Where a bucket keeps no versions, rules by prefix and age are rules of the store: an object is gone for
//! every reader at that moment, and its space follows. For all else the bucket is walked through now and
//! then: the deletion of an object leaves a version, and a store knows neither tags nor dates.

use kogia::{Condition, ErrorKind, RetentionRule};

use super::buckets::{Bucket, walk};
use super::keys::{self, BucketId, VersionId};
use super::rows;
use super::scan::Scan;
use super::settings::DAY_MS;
use super::settings::{LifecycleRule, Settings, Versioning};
use super::tags;
use super::uploads::{self, UploadRow};
use super::versions::{Hidden, Key, Place};
use crate::error::{Error, Result};

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

/// Deletes what is due in a bucket, but for what its store deletes. Gives how much. Blocks.
pub fn apply(bucket: &Bucket, now_ms: u64) -> Result<u64> {
    let settings = bucket.settings();
    let mut gone = 0;
    for rule in settings.lifecycle.iter().filter(|rule| rule.enabled) {
        if let Some(days) = rule.upload_days {
            gone += end_uploads(bucket, &rule.prefix, before(now_ms, days))?;
        }
        let has_versions = settings.versioning != Versioning::Never;
        let expires = rule.days.is_some() || rule.date_ms.is_some();
        if expires && (has_versions || rule.is_walked()) {
            gone += delete_objects(bucket, rule, now_ms, settings.versioning)?;
        }
        if has_versions && (rule.noncurrent.is_some() || rule.lone_markers || expires) {
            gone += delete_versions(bucket, rule, now_ms)?;
        }
    }
    Ok(gone)
}

/// The moment before which something is so many days old.
fn before(now_ms: u64, days: u32) -> u64 {
    now_ms.saturating_sub(u64::from(days).saturating_mul(DAY_MS))
}

/// Ends the uploads that were begun before a time. Gives how many. Blocks.
pub fn end_uploads(bucket: &Bucket, prefix: &str, before_ms: u64) -> Result<u64> {
    let (store, mut ended) = (&*bucket.store, 0);
    let rows = [&keys::uploads(bucket.id)[..], prefix.as_bytes()].concat();
    walk(store, &rows, |name| {
        let Some((id, key, upload)) = keys::parse_upload(&name) else { return Ok(()) };
        let Some(row) = store.get(&name)? else { return Ok(()) };
        if rows::decode::<UploadRow>(&row)?.created_ms <= before_ms {
            let _entered = bucket.enter_blocking()?;
            ended += u64::from(uploads::end(store, id, key, upload, &Default::default())?);
        }
        Ok(())
    })?;
    Ok(ended)
}

fn delete_objects(
    bucket: &Bucket,
    rule: &LifecycleRule,
    now_ms: u64,
    versioning: Versioning,
) -> Result<u64> {
    let mut deleted = 0;
    for row in Scan::new(&bucket.store, keys::object(bucket.id, &rule.prefix)) {
        let (row, info) = row?;
        let name = keys::object_text(&row)?;
        let seq = info.seq;
        let place = Place::of(bucket.id, name, info)?;
        if !rule.is_over(place.info.created_ms, now_ms) || !rule.fits(bucket, &place)? {
            continue;
        }
        let _entered = bucket.enter_blocking()?;
        if bucket.versioning() != versioning {
            return Ok(deleted);
        }
        deleted += u64::from(delete_object(bucket.key(name), Condition::IfSeq(seq), versioning)?);
    }
    Ok(deleted)
}

/// Deletes an object unless another one is there by now; whether it did.
fn delete_object(key: Key<'_>, condition: Condition, versioning: Versioning) -> Result<bool> {
    let deleted = match versioning {
        Versioning::Never => key.delete_plain(condition),
        Versioning::Enabled => key.delete(condition, true).map(drop),
        Versioning::Suspended => key.delete(condition, false).map(drop),
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

fn delete_versions(bucket: &Bucket, rule: &LifecycleRule, now_ms: u64) -> Result<u64> {
    let mut deleted = 0;
    let prefix = [&keys::all_versions(bucket.id)[..], rule.prefix.as_bytes()].concat();
    let mut seen = Before::default();
    let delete = |name: &str, id: VersionId, state: Hidden| {
        let _entered = bucket.enter_blocking()?;
        Ok::<_, Error>(u64::from(bucket.key(name).delete_if(id, state)?))
    };
    // A deletion that hides nothing any more. It has neither tags nor a size.
    let is_due = |since: u64| rule.lone_markers || rule.is_of_all() && rule.is_over(since, now_ms);
    let end = |seen: &Before| match seen.lone_marker {
        Some((id, since)) if is_due(since) => delete(&seen.key, id, Hidden::Nothing),
        _ => Ok(0),
    };
    for row in Scan::new(&bucket.store, prefix) {
        let (row, info) = row?;
        let Some((name, _)) = keys::parse_version(&row) else { continue };
        let place = Place::of(bucket.id, name, info)?;
        let Some(version) = &place.attributes.version else { continue };
        if seen.key != name {
            deleted += end(&seen)?;
            // What has its bytes in the object's own row is newer than all versions.
            let plain = bucket.key(name).current()?.filter(Place::is_plain);
            let marker = (version.id, version.created_ms);
            seen = Before {
                key: name.to_owned(),
                newer_ms: plain.map(|plain| plain.info.created_ms),
                lone_marker: place.is_marker().then_some(marker),
                ..Before::default()
            };
        } else {
            seen.lone_marker = None;
        }
        let newer_ms = seen.newer_ms.replace(version.created_ms);
        let (Some(newer_ms), Some(rules)) = (newer_ms, rule.noncurrent) else { continue };
        seen.noncurrent += 1;
        let is_due = seen.noncurrent > rules.keep && newer_ms <= before(now_ms, rules.days);
        if is_due && rule.fits(bucket, &place)? {
            deleted += delete(name, version.id, Hidden::ByNewer)?;
        }
    }
    Ok(deleted + end(&seen)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kogia::{Item, ListOptions, PutOptions};

    use super::*;
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
            assert_eq!(apply(&bucket, after(1)).unwrap(), 0);
            // The current one and one behind it stay.
            assert_eq!(apply(&bucket, after(2)).unwrap(), 2);
            assert_eq!((count(&bucket, "clips/a"), count(&bucket, "other")), (2, 4));
            assert!(is_there(&bucket, "clips/a"));
            // It is deleted, which leaves a version; what it hides is due later.
            assert_eq!(apply(&bucket, after(3)).unwrap(), 2);
            assert!(!is_there(&bucket, "clips/a") && is_there(&bucket, "other"));
            assert_eq!(count(&bucket, "clips/a"), 2);
            // One that stays may be hidden for ever: it is deleted by its name, and the deletion goes.
            let prefix = keys::versions(bucket.id, "clips/a");
            let page =
                bucket.store.list(&ListOptions { prefix, ..ListOptions::default() }).unwrap();
            let Some(Item::Object { key, .. }) = page.items.into_iter().nth(1) else { panic!() };
            let (_, id) = keys::parse_version(&key).unwrap();
            bucket.key("clips/a").delete_version(Which::Id(id), false).unwrap();
            assert_eq!(apply(&bucket, after(3)).unwrap(), 1);
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
            assert_eq!(apply(&bucket, now_ms() + 2 * DAY_MS).unwrap(), 3);
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
                assert_eq!(apply(&bucket, after(2))?, 0);
                assert_eq!(apply(&bucket, after(3))?, 2);
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
            assert_eq!(apply(&bucket, now_ms() + 20 * DAY_MS).unwrap(), 2);
            assert_eq!(all(), (3, 2));
            // Alone, the deletion is not what the filter is about either.
            let versions = keys::versions(bucket.id, "clips/gone");
            let page =
                bucket.store.list(&ListOptions { prefix: versions, ..ListOptions::default() });
            let Some(Item::Object { key: row, .. }) = page.unwrap().items.into_iter().nth(1) else {
                panic!()
            };
            key.delete_version(Which::Id(keys::parse_version(&row).unwrap().1), false).unwrap();
            assert_eq!((apply(&bucket, now_ms() + 20 * DAY_MS).unwrap(), all()), (0, (3, 1)));
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
            assert_eq!(apply(&bucket, date - 1).unwrap(), 0);
            assert_eq!(apply(&bucket, date).unwrap(), 1);
            assert!(!is_there(&bucket, "clips/a") && is_there(&bucket, "other"));
            let object = Traits { key: "clips/b", created_ms: date + 5, len: 1, tags: &[] };
            assert_eq!(expiry(&bucket.settings(), object), Some((date + 5, "rule")));
        })
        .await;
    }

    #[tokio::test]
    async fn uploads_that_are_due_are_aborted_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (_catalogue, bucket) = bucket(dir.path(), |settings| {
            settings.lifecycle = vec![LifecycleRule { upload_days: Some(2), ..rule() }];
        })
        .await;
        blocking(move || {
            let row = UploadRow {
                headers: Default::default(),
                tags: Vec::new(),
                checksum: None,
                created_ms: now_ms(),
            };
            for key in ["clips/a", "other"] {
                create(&bucket.store, bucket.id, key, &row, Lock::default()).unwrap();
            }
            assert_eq!(apply(&bucket, now_ms() + DAY_MS).unwrap(), 0);
            assert_eq!(apply(&bucket, now_ms() + 2 * DAY_MS).unwrap(), 1);
            assert_eq!(apply(&bucket, now_ms() + 9 * DAY_MS).unwrap(), 0);
        })
        .await;
    }
}
