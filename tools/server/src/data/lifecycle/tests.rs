use std::sync::Arc;

use kogia::{Batch, Condition, Item, ListOptions, PutOptions};

use super::walk::apply_rules;
use super::*;
use crate::data::attributes::{Version, VersionKind};
use crate::data::buckets::now_ms;
use crate::data::keys::VersionId;
use crate::data::locks::{Lock, Mode, Retention};
use crate::data::partitions::PartitionOptions;
use crate::data::settings::{Filter, Noncurrent};
use crate::data::uploads::{UploadRow, create};
use crate::data::versions::{Adding, Sought, Which};
use crate::data::{Attributes, Catalogue, Partitions, blocking};
use crate::error::Error;

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

/// All versions are kept for a day after newer ones came.
fn hidden_go_after_a_day(settings: &mut Settings) {
    settings.versioning = Versioning::Enabled;
    let noncurrent = Some(Noncurrent { days: 1, keep: 0 });
    settings.lifecycle = vec![LifecycleRule { noncurrent, ..rule() }];
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
        let page = bucket.store.list(&ListOptions { prefix, ..ListOptions::default() }).unwrap();
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
    let (_catalogue, bucket) = bucket(dir.path(), hidden_go_after_a_day).await;
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
            let tagged =
                [("goes", "1234", "short"), ("small", "12", "short"), ("large", "12345", "short")];
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
        settings.lifecycle = vec![LifecycleRule { noncurrent, filter, days: Some(9), ..rule() }];
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
        let page = bucket.store.list(&ListOptions { prefix: versions, ..ListOptions::default() });
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
    let (_catalogue, bucket) = bucket(dir.path(), hidden_go_after_a_day).await;
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
