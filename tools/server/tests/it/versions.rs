//! Versions: what is overwritten or deleted stays.

use std::collections::BTreeSet;
use std::path::Path;

use kogia_server::data::Attributes;
use kogia_server::data::attributes::{PartSizes, Version, VersionKind};
use kogia_server::data::keys::{self, BucketId, UploadId, VersionId};

use crate::client::{Call, Client, Reply};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};
use crate::uploads::{SMALL_PARTS, begin, complete, part};

fn set_versioning(s3: &Client, status: &str) {
    let body =
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    s3.put("/bucket?versioning", body).expect(200);
    let told = s3.get("/bucket?versioning").expect(200).xml("Status");
    assert_eq!(told.as_deref(), Some(status));
}

fn version(reply: &Reply) -> String {
    reply.header("x-amz-version-id").expect("a version").to_owned()
}

#[track_caller]
fn put(s3: &Client, target: &str, body: impl Into<Vec<u8>>) -> String {
    version(&s3.put(target, body).expect(200))
}

fn delete(s3: &Client, target: &str) -> Reply {
    s3.call("DELETE", target).expect(204)
}

/// An entry of a listing of versions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    key: String,
    version: String,
    is_latest: bool,
    is_marker: bool,
}

fn entries(listed: &Reply) -> Vec<Entry> {
    let of = |kind: &str, is_marker: bool| {
        let field = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).expect("the field is there");
            rest.split_once("</").unwrap().0.to_owned()
        };
        let entry = move |text: String| Entry {
            key: field(&text, "Key"),
            version: field(&text, "VersionId"),
            is_latest: field(&text, "IsLatest") == "true",
            is_marker,
        };
        listed.all_xml(kind).into_iter().map(entry)
    };
    of("Version", false).chain(of("DeleteMarker", true)).collect()
}

/// All entries of all pages; the pages have to go on exactly where the last one ended.
fn listed(s3: &Client, query: &str) -> Vec<Entry> {
    let mut all = None;
    for page_len in [1000, 1, 2, 3] {
        let (mut found, mut prefixes, mut next) = (Vec::new(), Vec::new(), String::new());
        loop {
            let target = format!("/bucket?versions&max-keys={page_len}{query}{next}");
            let page = s3.get(&target).expect(200);
            let mut here = entries(&page);
            here.sort_by_key(|entry| !entry.is_latest);
            prefixes.extend(page.all_xml("CommonPrefixes"));
            found.extend(here);
            if page.xml("IsTruncated").as_deref() != Some("true") {
                break;
            }
            next = format!(
                "&key-marker={}",
                crate::client::encode(&page.xml("NextKeyMarker").unwrap())
            );
            if let Some(version) = page.xml("NextVersionIdMarker") {
                next += &format!("&version-id-marker={version}");
            }
        }
        found.sort();
        let all = all.get_or_insert((found.clone(), prefixes.clone()));
        assert_eq!((&found, &prefixes), (&all.0, &all.1), "pages of {page_len}");
    }
    all.unwrap().0
}

fn versions_of(s3: &Client, key: &str) -> Vec<(String, bool, bool)> {
    let found = listed(s3, &format!("&prefix={key}"));
    found.into_iter().map(|entry| (entry.version, entry.is_latest, entry.is_marker)).collect()
}

#[test]
fn what_is_overwritten_or_deleted_stays_until_it_is_deleted_by_its_name() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    set_versioning(s3, "Enabled");
    let first = put(s3, "/bucket/key", "first");
    let second = put(s3, "/bucket/key", "second one");
    assert_ne!(first, second);
    let got = s3.get("/bucket/key").expect(200);
    assert_eq!((got.text(), version(&got)), ("second one".into(), second.clone()));
    let got = s3.get(&format!("/bucket/key?versionId={first}")).expect(200);
    assert_eq!((got.text(), version(&got)), ("first".into(), first.clone()));
    let head = s3.call("HEAD", &format!("/bucket/key?versionId={first}")).expect(200);
    assert_eq!(head.header("content-length"), Some("5"));
    let list = s3.get("/bucket?list-type=2").expect(200);
    assert_eq!(
        (list.xml("Size").as_deref(), list.xml("KeyCount").as_deref()),
        (Some("10"), Some("1"))
    );

    let deleted = delete(s3, "/bucket/key");
    let marker = version(&deleted);
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let gone = s3.get("/bucket/key").refused(404, "NoSuchKey");
    assert_eq!(gone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(version(&gone), marker);
    s3.get(&format!("/bucket/key?versionId={marker}")).refused(405, "MethodNotAllowed");
    assert_eq!(s3.get("/bucket?list-type=2").expect(200).xml("KeyCount").as_deref(), Some("0"));
    let mut expected = [
        (marker.clone(), true, true),
        (second.clone(), false, false),
        (first.clone(), false, false),
    ];
    expected.sort();
    assert_eq!(versions_of(s3, "key"), expected);
    s3.call("DELETE", "/bucket").refused(409, "BucketNotEmpty");
    running.stop();

    // It outlives the process, and a deletion that is deleted was none.
    let running = start(dir.path());
    let s3 = &running.client;
    let undone = delete(s3, &format!("/bucket/key?versionId={marker}"));
    assert_eq!(undone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "second one");
    delete(s3, &format!("/bucket/key?versionId={second}"));
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "first");
    s3.get(&format!("/bucket/key?versionId={second}")).refused(404, "NoSuchVersion");
    delete(s3, &format!("/bucket/key?versionId={first}"));
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    assert_eq!(versions_of(s3, "key"), []);
    // Nothing to delete is no error.
    delete(s3, &format!("/bucket/key?versionId={first}"));
    s3.call("DELETE", "/bucket").expect(204);
    running.stop();
}

#[test]
fn an_object_from_before_the_versions_is_the_one_without_a_name() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let bodies = [("small", bytes(1000)), ("large", bytes(1 << 20))];
    for (key, body) in &bodies {
        let call = Call::new("PUT", &format!("/bucket/{key}")).header("x-amz-meta-camera", "1");
        s3.send(&call.body(body.clone())).expect(200);
        let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
        s3.put(&format!("/bucket/{key}?tagging"), tags).expect(200);
    }
    set_versioning(s3, "Enabled");
    for (key, body) in &bodies {
        let modified =
            s3.get(&format!("/bucket/{key}")).header("last-modified").unwrap().to_owned();
        assert_eq!(version(&s3.get(&format!("/bucket/{key}")).expect(200)), "null");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let newer = put(s3, &format!("/bucket/{key}"), "newer");
        let old = s3.get(&format!("/bucket/{key}?versionId=null")).expect(200);
        assert!(old.body == *body, "{key}");
        assert_eq!(old.header("x-amz-meta-camera"), Some("1"));
        assert_eq!(old.header("x-amz-tagging-count"), Some("1"));
        assert_eq!(old.header("last-modified"), Some(&*modified));
        let mut expected = [(newer.clone(), true, false), ("null".into(), false, false)];
        expected.sort();
        assert_eq!(versions_of(s3, key), expected);
        delete(s3, &format!("/bucket/{key}?versionId={newer}"));
        assert!(s3.get(&format!("/bucket/{key}")).expect(200).body == *body);
        delete(s3, &format!("/bucket/{key}?versionId=null"));
        s3.get(&format!("/bucket/{key}")).refused(404, "NoSuchKey");
        assert_eq!(versions_of(s3, key), []);
    }
    running.stop();
}

#[test]
fn while_versions_are_suspended_the_one_without_a_name_is_replaced() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    set_versioning(s3, "Enabled");
    let named = put(s3, "/bucket/key", "named");
    set_versioning(s3, "Suspended");
    // A put names no version then; reading it does.
    let put_null = |body: &str| {
        let put = s3.put("/bucket/key", body).expect(200);
        assert_eq!(put.header("x-amz-version-id"), None);
    };
    for body in ["one", "two"] {
        put_null(body);
        let got = s3.get("/bucket/key").expect(200);
        assert_eq!((got.text(), version(&got)), (body.into(), "null".into()));
    }
    let mut expected = [("null".into(), true, false), (named.clone(), false, false)];
    expected.sort();
    assert_eq!(versions_of(s3, "key"), expected);
    // Its deletion takes its place.
    let deleted = delete(s3, "/bucket/key");
    assert_eq!(version(&deleted), "null");
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    let mut expected = [("null".into(), true, true), (named.clone(), false, false)];
    expected.sort();
    assert_eq!(versions_of(s3, "key"), expected);
    put_null("three");
    assert_eq!(versions_of(s3, "key").len(), 2);
    set_versioning(s3, "Enabled");
    let newest = put(s3, "/bucket/key", "newest");
    assert_eq!(s3.get("/bucket/key?versionId=null").expect(200).text(), "three");
    assert_eq!(s3.get(&format!("/bucket/key?versionId={named}")).expect(200).text(), "named");
    assert_eq!(version(&s3.get("/bucket/key").expect(200)), newest);
    assert_eq!(versions_of(s3, "key").len(), 3);
    running.stop();
}

#[test]
fn whatever_makes_an_object_makes_a_version() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    set_versioning(s3, "Enabled");
    let large = bytes(700 << 10);
    let streamed = put(s3, "/bucket/key", large.clone());
    let copy = Call::new("PUT", "/bucket/key")
        .header("x-amz-copy-source", &format!("/bucket/key?versionId={streamed}"))
        .header("x-amz-metadata-directive", "REPLACE");
    // Without other headers it is how an old version becomes the current one.
    let restore = Call::new("PUT", "/bucket/key")
        .header("x-amz-copy-source", &format!("/bucket/key?versionId={streamed}"));
    let restored = version(&s3.send(&restore).expect(200));
    delete(s3, &format!("/bucket/key?versionId={restored}"));
    let copied = s3.send(&copy).expect(200);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), Some(&*streamed));
    let copied = version(&copied);
    let upload = begin(s3, "/bucket/key");
    let tag = part(s3, "/bucket/key", &upload, 1, bytes(5000));
    let completed = complete(s3, "/bucket/key", &upload, &[(1, tag.clone())]).expect(200);
    let completed_version = version(&completed);
    // Who did not hear of it may ask again.
    let again = complete(s3, "/bucket/key", &upload, &[(1, tag)]).expect(200);
    assert_eq!(version(&again), completed_version);
    for (name, body) in [(&streamed, &large), (&copied, &large), (&completed_version, &bytes(5000))]
    {
        assert!(s3.get(&format!("/bucket/key?versionId={name}")).expect(200).body == *body);
    }
    assert_eq!(versions_of(s3, "key").len(), 3);
    // Conditions are on the current one.
    let etag =
        s3.get(&format!("/bucket/key?versionId={streamed}")).header("etag").unwrap().to_owned();
    let old = Call::new("PUT", "/bucket/key").header("if-match", &etag).body("x");
    s3.send(&old).refused(412, "PreconditionFailed");
    let absent = Call::new("PUT", "/bucket/key").header("if-none-match", "*").body("x");
    s3.send(&absent).refused(412, "PreconditionFailed");
    let current = s3.get("/bucket/key").header("etag").unwrap().to_owned();
    let new = Call::new("PUT", "/bucket/key").header("if-match", &current).body("x");
    s3.send(&new).expect(200);
    // A version has tags of its own, and none is ever longer than it was.
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    s3.put(&format!("/bucket/key?tagging&versionId={streamed}"), tags).expect(200);
    assert!(s3.get("/bucket/key?tagging").expect(200).xml("Tag").is_none());
    let tagged = s3.get(&format!("/bucket/key?tagging&versionId={streamed}")).expect(200);
    assert_eq!(tagged.xml("Value").as_deref(), Some("v"));
    let append = Call::new("PUT", "/bucket/key").header("x-amz-write-offset-bytes", "1").body("y");
    s3.send(&append).refused(400, "InvalidRequest");
    // Many at once.
    let names: String = [&streamed, &copied]
        .iter()
        .map(|name| format!("<Object><Key>key</Key><VersionId>{name}</VersionId></Object>"))
        .collect();
    let body = format!("<Delete>{names}<Object><Key>other</Key></Object></Delete>");
    let deleted = s3.send(&Call::new("POST", "/bucket?delete").body(body)).expect(200);
    assert_eq!(deleted.all_xml("Deleted").len(), 3, "{}", deleted.text());
    assert!(deleted.xml("DeleteMarkerVersionId").is_some());
    assert_eq!(versions_of(s3, "key").len(), 2);
    assert_eq!(versions_of(s3, "other").len(), 1);
    running.stop();
}

#[test]
fn versions_are_listed_by_key_and_by_age_and_prefixes_are_passed_over() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for key in ["a/1", "b", "plain"] {
        s3.put(&format!("/bucket/{key}"), "before").expect(200);
    }
    set_versioning(s3, "Enabled");
    for key in ["a/1", "a/1", "a/2", "a1", "b", "c/x/1", "c/x/2", "c/y", "d"] {
        put(s3, &format!("/bucket/{key}"), "x");
    }
    delete(s3, "/bucket/d");
    delete(s3, "/bucket/plain");
    let all = listed(s3, "");
    let keys: Vec<_> = all.iter().map(|entry| &*entry.key).collect();
    let expected = [
        "a/1", "a/1", "a/1", "a/2", "a1", "b", "b", "c/x/1", "c/x/2", "c/y", "d", "d", "plain",
        "plain",
    ];
    assert_eq!(keys, expected);
    let latest: BTreeSet<_> = all.iter().filter(|e| e.is_latest).map(|e| &*e.key).collect();
    assert_eq!(latest.len(), all.iter().filter(|entry| entry.is_latest).count());
    assert_eq!(latest, keys.iter().copied().collect());
    let flat = listed(s3, "&delimiter=%2F");
    let keys: Vec<_> = flat.iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["a1", "b", "b", "d", "d", "plain", "plain"]);
    let page = s3.get("/bucket?versions&delimiter=%2F").expect(200);
    let prefixes: Vec<_> = page.all_xml("CommonPrefixes");
    assert_eq!(prefixes, ["<Prefix>a/</Prefix>", "<Prefix>c/</Prefix>"]);
    // What only stands in a version's name is no delimiter.
    assert_eq!(listed(s3, "&delimiter=f&prefix=a").len(), 5);
    assert_eq!(listed(s3, "&prefix=c%2Fx").len(), 2);
    s3.get("/bucket?versions&version-id-marker=null").refused(400, "InvalidArgument");
    let none = s3.get("/bucket?versions&max-keys=0").expect(200);
    assert_eq!(none.xml("IsTruncated").as_deref(), Some("false"));
    running.stop();
}

#[test]
fn of_many_who_put_at_once_each_has_a_version_and_the_first_listed_is_current() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", bytes(300 << 10)).expect(200);
    set_versioning(s3, "Enabled");
    let names: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_usize)
            .map(|i| {
                let len = if i % 2 == 0 { 100 + i } else { (300 << 10) + i };
                scope.spawn(move || {
                    (0..5).map(|_| put(s3, "/bucket/key", bytes(len))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(names.len(), 40);
    let found = versions_of(s3, "key");
    assert_eq!(found.len(), 41);
    let latest: Vec<_> = found.iter().filter(|(_, is_latest, _)| *is_latest).collect();
    assert_eq!(latest.len(), 1);
    assert_eq!(version(&s3.get("/bucket/key").expect(200)), latest[0].0);
    running.stop();
}

#[test]
fn a_version_that_was_not_acknowledged_is_gone_after_a_crash() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    set_versioning(s3, "Enabled");
    let kept = put(s3, "/bucket/key", "kept");
    running.stop();
    // As a crash leaves it between the version's row and the object's.
    let store = kogia::Store::open(dir.path().join("data/partitions/0")).unwrap();
    let (bucket, id) = (BucketId(1), VersionId(u64::MAX / 2));
    let row = keys::version(bucket, "key", VersionId::parse(&kept).unwrap());
    let info = store.head(&row).unwrap().expect("the version is there");
    store.put(keys::pending(bucket, "key", id), "").unwrap();
    let options = kogia::PutOptions { attributes: info.attributes, ..Default::default() };
    store.put_with(keys::version(bucket, "key", id), "half", &options).unwrap();
    // What was made of parts is all that is left of them.
    let version = Version { id, kind: VersionKind::Object, len: 5, created_ms: 1 };
    let upload = Some(([1; 16], PartSizes::new([5])));
    let attributes = Attributes { version: Some(version), upload, ..Attributes::of_nothing() };
    let options = kogia::PutOptions { attributes: attributes.encode(), ..Default::default() };
    store.put(keys::pending(bucket, "parts", id), "").unwrap();
    store.put_with(keys::version(bucket, "parts", id), "whole", &options).unwrap();
    store.close().unwrap();
    let running = start(dir.path());
    let s3 = &running.client;
    assert_eq!(versions_of(s3, "key"), [(kept, true, false)]);
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "kept");
    assert_eq!(versions_of(s3, "parts"), [(id.to_string(), true, false)]);
    assert_eq!(s3.get("/bucket/parts").expect(200).text(), "whole");
    running.stop();
    let store = kogia::Store::open(dir.path().join("data/partitions/0")).unwrap();
    assert!(!store.exists(keys::pending(bucket, "key", id)).unwrap());
    assert!(!store.exists(keys::version(bucket, "key", id)).unwrap());
}

/// Symptom: an upload was listed with parts that were not there any more, and its object was a version that
/// was not current, after a crash while it was completed over an object without a version's name.
/// Cause: what was made of parts is added at the next start, but was not made current where another object
/// was in its own row; so the upload did not seem to be complete.
/// Rule: what is added at a start takes the place of what was there, as it would have without the crash.
#[test]
fn what_was_made_of_parts_takes_its_place_after_a_crash() {
    // One that came last, and one behind which another object came: that stays, and the upload is complete.
    for (id, current) in [(VersionId(u64::MAX / 2), "whole"), (VersionId(1), "plain")] {
        let dir = dir();
        leave_half_completed(dir.path(), id);
        let running = start(dir.path());
        let s3 = &running.client;
        assert_eq!(s3.get("/bucket/key").expect(200).text(), current);
        assert_eq!(s3.get("/bucket/key?versionId=null").expect(200).text(), "plain");
        assert_eq!(s3.get(&format!("/bucket/key?versionId={id}")).expect(200).text(), "whole");
        let is_current = current == "whole";
        let expected = [(id.to_string(), is_current, false), ("null".into(), !is_current, false)];
        assert_eq!(versions_of(s3, "key"), expected);
        assert!(s3.get("/bucket?uploads").expect(200).all_xml("UploadId").is_empty());
        running.stop();
    }
}

/// An object that can't be copied any more would else keep a server from starting, and all others with it.
#[test]
fn a_server_starts_though_what_a_crash_has_left_can_not_be_added() {
    let dir = dir();
    let id = VersionId(u64::MAX / 2);
    leave_half_completed(dir.path(), id);
    let inside = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let stores = inside(&dir.path().join("data/tracks")).filter(|store| store.is_dir());
    let mut damaged = 0;
    for track in stores.flat_map(|store| inside(&store)) {
        let mut bytes = std::fs::read(&track).unwrap();
        if let Some(at) = bytes.windows(5).position(|bytes| bytes == b"plain") {
            bytes[at] ^= 1;
            std::fs::write(&track, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    let running = start(dir.path());
    let s3 = &running.client;
    assert_eq!(s3.get(&format!("/bucket/key?versionId={id}")).expect(200).text(), "whole");
    assert_eq!(s3.get("/bucket/other").expect(200).text(), "other");
    s3.call("DELETE", "/bucket/key?versionId=null").expect(204);
    running.stop();
    // Nothing is in the way any more.
    let running = start(dir.path());
    assert_eq!(running.client.get("/bucket/key").expect(200).text(), "whole");
    running.stop();
}

/// A plain object, and an upload whose parts are used up by version `id`, as a crash leaves it between the
/// version's row and the object's.
fn leave_half_completed(dir: &Path, id: VersionId) {
    let running = start(dir);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "plain").expect(200);
    s3.put("/bucket/other", "other").expect(200);
    set_versioning(s3, "Enabled");
    let begun = s3.call("POST", "/bucket/key?uploads").expect(200).xml("UploadId").unwrap();
    s3.put(&format!("/bucket/key?partNumber=1&uploadId={begun}"), "whole").expect(200);
    running.stop();
    let store = kogia::Store::open(dir.join("data/partitions/0")).unwrap();
    let bucket = BucketId(1);
    let version = Version { id, kind: VersionKind::Object, len: 5, created_ms: 1 };
    let upload = Some((UploadId::parse(&begun).unwrap().0, PartSizes::new([5])));
    let attributes = Attributes { version: Some(version), upload, ..Attributes::of_nothing() };
    let options = kogia::PutOptions { attributes: attributes.encode(), ..Default::default() };
    store.put(keys::pending(bucket, "key", id), "").unwrap();
    let parts: Vec<_> = store.parts().unwrap().iter().map(|part| part.id).collect();
    store.assemble(keys::version(bucket, "key", id), &parts, &options).unwrap();
    store.close().unwrap();
}

/// Symptom (read, not met): an object came back that was overwritten, when the one that had taken its
/// place was deleted for good. Cause: a crash between the put and the removal of the version without a
/// name whose place it takes. Rule: of two without a name both go.
#[test]
fn what_was_replaced_before_a_crash_does_not_come_back() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    set_versioning(s3, "Suspended");
    s3.put("/bucket/key", "newer").expect(200);
    running.stop();
    let store = kogia::Store::open(dir.path().join("data/partitions/0")).unwrap();
    let id = VersionId(1 << 40);
    let version = Version { id, kind: VersionKind::Null, len: 5, created_ms: 1 };
    let attributes = Attributes { version: Some(version), ..Attributes::of_nothing() }.encode();
    let options = kogia::PutOptions { attributes, ..Default::default() };
    store.put_with(keys::version(BucketId(1), "key", id), "older", &options).unwrap();
    store.close().unwrap();
    let running = start(dir.path());
    let s3 = &running.client;
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "newer");
    // Nor is it listed beside it, on one page or on two.
    assert_eq!(versions_of(s3, "key"), [("null".into(), true, false)]);
    let behind = s3.get("/bucket?versions&key-marker=key&version-id-marker=null").expect(200);
    assert!(behind.all_xml("VersionId").is_empty(), "{}", behind.text());
    delete(s3, "/bucket/key?versionId=null");
    s3.get("/bucket/key").refused(404, "NoSuchKey");
    assert_eq!(versions_of(s3, "key"), []);
    running.stop();
}
