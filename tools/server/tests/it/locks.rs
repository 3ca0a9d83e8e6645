//! Object lock: versions that nobody deletes before their time.

use std::time::Duration;

use serde_json::json;

use crate::admin::{self, done};
use crate::client::{Call, Client, Reply, amz_date};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};
use crate::uploads::{SMALL_PARTS, complete, part};

const FAR: &str = "2500-01-01T00:00:00.000Z";
const FARTHER: &str = "2501-01-01T00:00:00.000Z";
const NEARER: &str = "2499-01-01T00:00:00.000Z";
/// May write, and not configure.
const WRITER: &str = r#"
[[key]]
access_key = "CAMERA"
secret_key = "another-secret"
rule = [{ bucket = "*", access = "write" }]
"#;

fn make(s3: &Client, bucket: &str) {
    let call = Call::new("PUT", bucket).header("x-amz-bucket-object-lock-enabled", "true");
    s3.send(&call).expect(200);
}

fn put(s3: &Client, target: &str, headers: &[(&str, &str)]) -> Reply {
    let call = Call::new("PUT", target).body(bytes(300));
    s3.send(&headers.iter().fold(call, |call, (name, value)| call.header(name, value)))
}

/// Puts a version with a retention, and gives its name.
fn kept(s3: &Client, target: &str, mode: &str, until: &str) -> String {
    let headers =
        [("x-amz-object-lock-mode", mode), ("x-amz-object-lock-retain-until-date", until)];
    version(&put(s3, target, &headers).expect(200))
}

fn version(reply: &Reply) -> String {
    reply.header("x-amz-version-id").expect("a version").to_owned()
}

fn delete(s3: &Client, target: &str, version: &str, bypasses: bool) -> Reply {
    let target = format!("{target}?versionId={version}");
    let call = Call::new("DELETE", &target);
    s3.send(&if bypasses { call.header("x-amz-bypass-governance-retention", "true") } else { call })
}

fn retain(s3: &Client, target: &str, rest: &str, bypasses: bool) -> Reply {
    let body = format!("<Retention>{rest}</Retention>");
    let call = Call::new("PUT", target).body(body);
    s3.send(&if bypasses { call.header("x-amz-bypass-governance-retention", "true") } else { call })
}

fn until(mode: &str, date: &str) -> String {
    format!("<Mode>{mode}</Mode><RetainUntilDate>{date}</RetainUntilDate>")
}

fn hold(s3: &Client, target: &str, status: &str) -> Reply {
    s3.put(target, format!("<LegalHold><Status>{status}</Status></LegalHold>"))
}

#[test]
fn a_version_is_kept_until_its_time_and_by_some_who_may_not_even_then() {
    let dir = dir();
    let running = start_with(dir.path(), WRITER);
    let s3 = &running.client;
    let camera =
        &Client { access_key: "CAMERA".into(), secret_key: "another-secret".into(), ..s3.clone() };
    make(s3, "/bucket");
    let governed = kept(s3, "/bucket/a", "GOVERNANCE", FAR);
    let strict = kept(s3, "/bucket/b", "COMPLIANCE", FAR);
    let free = version(&put(s3, "/bucket/c", &[]).expect(200));
    for target in ["/bucket/a", "/bucket/b"] {
        // That it is hidden harms it not.
        s3.call("DELETE", target).expect(204);
    }
    delete(s3, "/bucket/c", &free, false).expect(204);
    let locked = |s3: &Client, target: &str, version: &str, bypasses| {
        delete(s3, target, version, bypasses).refused(403, "AccessDenied");
        s3.get(&format!("{target}?versionId={version}")).expect(200);
    };
    locked(s3, "/bucket/a", &governed, false);
    locked(s3, "/bucket/b", &strict, false);
    locked(s3, "/bucket/b", &strict, true);
    // To say that it is meant is not enough.
    locked(camera, "/bucket/a", &governed, true);
    let held = version(&put(camera, "/bucket/e", &[]).expect(200));
    hold(camera, "/bucket/e?legal-hold", "ON").expect(200);
    hold(camera, "/bucket/e?legal-hold", "OFF").refused(403, "AccessDenied");
    locked(camera, "/bucket/e", &held, false);
    let objects = format!(
        "<Delete><Object><Key>b</Key><VersionId>{strict}</VersionId></Object>\
         <Object><Key>a</Key><VersionId>{governed}</VersionId></Object></Delete>"
    );
    let told = s3.send(&Call::new("POST", "/bucket?delete").body(objects)).expect(200);
    assert_eq!(told.all_xml("Code"), ["AccessDenied", "AccessDenied"]);

    for (target, version, mode) in
        [("/bucket/a", &governed, "GOVERNANCE"), ("/bucket/b", &strict, "COMPLIANCE")]
    {
        let target = format!("{target}?versionId={version}");
        for method in ["GET", "HEAD"] {
            let told = s3.call(method, &target).expect(200);
            assert_eq!(told.header("x-amz-object-lock-mode"), Some(mode), "{method}");
            assert_eq!(told.header("x-amz-object-lock-retain-until-date"), Some(FAR), "{method}");
        }
        let told = s3.get(&format!("{target}&retention")).expect(200);
        assert_eq!(told.xml("Mode").as_deref(), Some(mode));
        assert_eq!(told.xml("RetainUntilDate").as_deref(), Some(FAR));
    }
    running.kill();

    let running = start_with(dir.path(), WRITER);
    let s3 = &running.client;
    locked(s3, "/bucket/b", &strict, true);
    delete(s3, "/bucket/a", &governed, true).expect(204);
    s3.get(&format!("/bucket/a?versionId={governed}")).refused(404, "NoSuchVersion");
    // One that is over keeps nothing.
    let over = time::OffsetDateTime::now_utc() + Duration::from_secs(6);
    let soon = over.format(&time::format_description::well_known::Rfc3339).unwrap();
    let short = kept(s3, "/bucket/d", "COMPLIANCE", &soon);
    locked(s3, "/bucket/d", &short, true);
    let left = over + Duration::from_millis(50) - time::OffsetDateTime::now_utc();
    std::thread::sleep(left.try_into().unwrap_or_default());
    delete(s3, "/bucket/d", &short, false).expect(204);
    running.stop();
}

#[test]
fn what_is_asked_of_locks_is_signed() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    make(s3, "/bucket");
    let governed = kept(s3, "/bucket/a", "GOVERNANCE", FAR);
    let bypass = ("x-amz-bypass-governance-retention", "true");
    type Headers<'h> = &'h [(&'h str, &'h str)];
    let by_url = |method: &'static str, target: &str, headers: Headers<'_>, body: &str| {
        let url = s3.presigned(method, target, 60, &amz_date(0));
        let call = Call::new(method, &url).body(body);
        s3.send_unsigned(&headers.iter().fold(call, |call, (name, value)| call.header(name, value)))
    };
    let target = format!("/bucket/a?versionId={governed}");
    by_url("DELETE", &target, &[bypass], "").refused(403, "AccessDenied");
    by_url("PUT", "/bucket/b", &[("x-amz-object-lock-legal-hold", "ON")], "x")
        .refused(403, "AccessDenied");
    by_url("PUT", "/bucket/b", &[], "x").expect(200);
    // What a signature of version 2 does not cover, whoever has the URL may have added.
    for added in ["legal-hold", "retention"] {
        let old = format!("/bucket/b?AWSAccessKeyId={}&Expires=9999999999", s3.access_key);
        let hold = "<LegalHold><Status>ON</Status></LegalHold>";
        let call = |target: &str| s3.send_unsigned(&Call::new("PUT", target).body(hold));
        call(&format!("{old}&Signature=x")).refused(403, "SignatureDoesNotMatch");
        call(&format!("{old}&Signature=x&{added}")).refused(403, "AccessDenied");
    }
    s3.get("/bucket/b?legal-hold").refused(404, "NoSuchObjectLockConfiguration");
    s3.get(&target).expect(200);
    running.stop();
}

#[test]
fn a_retention_becomes_longer_and_a_hold_is_taken_back() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    make(s3, "/bucket");
    let strict = kept(s3, "/bucket/a", "COMPLIANCE", FAR);
    // As if the elements had another spelling.
    retain(s3, "/bucket/a?retention", "", false).refused(400, "MalformedXML");
    for rest in [until("COMPLIANCE", NEARER), until("GOVERNANCE", FARTHER), String::new()] {
        retain(s3, "/bucket/a?retention", &rest, true).refused(403, "AccessDenied");
    }
    retain(s3, "/bucket/a?retention", &until("COMPLIANCE", FARTHER), false).expect(200);
    let told = s3.get(&format!("/bucket/a?retention&versionId={strict}")).expect(200);
    assert_eq!(told.xml("RetainUntilDate").as_deref(), Some(FARTHER));

    let governed = kept(s3, "/bucket/b", "GOVERNANCE", FAR);
    retain(s3, "/bucket/b?retention", &until("GOVERNANCE", NEARER), false)
        .refused(403, "AccessDenied");
    retain(s3, "/bucket/b?retention", &until("GOVERNANCE", NEARER), true).expect(200);
    retain(s3, "/bucket/b?retention", "", true).expect(200);
    s3.get("/bucket/b?retention").refused(404, "NoSuchObjectLockConfiguration");

    s3.get("/bucket/b?legal-hold").refused(404, "NoSuchObjectLockConfiguration");
    hold(s3, "/bucket/b?legal-hold", "ON").expect(200);
    delete(s3, "/bucket/b", &governed, true).refused(403, "AccessDenied");
    let head = s3.call("HEAD", "/bucket/b").expect(200);
    assert_eq!(head.header("x-amz-object-lock-legal-hold"), Some("ON"));
    hold(s3, "/bucket/b?legal-hold", "OFF").expect(200);
    let told = s3.get("/bucket/b?legal-hold").expect(200);
    assert_eq!(told.xml("Status").as_deref(), Some("OFF"));
    delete(s3, "/bucket/b", &governed, false).expect(204);
    let held = put(s3, "/bucket/c", &[("x-amz-object-lock-legal-hold", "ON")]).expect(200);
    delete(s3, "/bucket/c", &version(&held), true).refused(403, "AccessDenied");
    running.stop();
}

#[test]
fn a_bucket_keeps_what_is_put_into_it_as_it_is_set_to() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let (s3, admin) = (&running.client, &running.admin);
    s3.put("/bucket", "").expect(200);
    let set = |rest: &str| {
        let body = format!("<ObjectLockConfiguration>{rest}</ObjectLockConfiguration>");
        s3.put("/bucket?object-lock", body)
    };
    let rule = |rest: &str| {
        format!(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled>\
             <Rule><DefaultRetention>{rest}</DefaultRetention></Rule>"
        )
    };
    let days = rule("<Mode>GOVERNANCE</Mode><Days>3</Days>");
    // Where no versions are kept, there is nothing to lock.
    set(&days).refused(409, "InvalidBucketState");
    let versioning = |status: &str| {
        let body =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        s3.put("/bucket?versioning", body)
    };
    versioning("Enabled").expect(200);
    set(&days).expect(200);
    versioning("Suspended").refused(409, "InvalidBucketState");
    let told = s3.get("/bucket?object-lock").expect(200);
    let told: Vec<_> = ["ObjectLockEnabled", "Mode", "Days"].map(|name| told.xml(name)).into();
    assert_eq!(told, ["Enabled", "GOVERNANCE", "3"].map(|text| Some(text.to_owned())));

    let mut versions = Vec::new();
    let mut check = |target: &str, reply: Reply, mode: &str| {
        let head = s3.call("HEAD", target).expect(200);
        assert_eq!(head.header("x-amz-object-lock-mode"), Some(mode), "{target}");
        let version = version(&reply);
        delete(s3, target, &version, false).refused(403, "AccessDenied");
        versions.push((target.to_owned(), version));
    };
    check("/bucket/small", put(s3, "/bucket/small", &[]).expect(200), "GOVERNANCE");
    let large = s3.put("/bucket/large", bytes(400_000)).expect(200);
    check("/bucket/large", large, "GOVERNANCE");
    let copy = Call::new("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/small");
    check("/bucket/copy", s3.send(&copy).expect(200), "GOVERNANCE");
    let own = Call::new("POST", "/bucket/own?uploads")
        .header("x-amz-object-lock-mode", "COMPLIANCE")
        .header("x-amz-object-lock-retain-until-date", FAR);
    for (target, mode, begin) in [
        ("/bucket/own", "COMPLIANCE", own),
        ("/bucket/parts", "GOVERNANCE", Call::new("POST", "/bucket/parts?uploads")),
    ] {
        let upload = s3.send(&begin).expect(200).xml("UploadId").unwrap();
        let first = part(s3, target, &upload, 1, bytes(2_000));
        check(target, complete(s3, target, &upload, &[(1, first)]).expect(200), mode);
    }
    // An upload that is given up leaves nothing of it.
    let upload = s3.send(
        &Call::new("POST", "/bucket/no?uploads").header("x-amz-object-lock-legal-hold", "ON"),
    );
    let upload = upload.expect(200).xml("UploadId").unwrap();
    s3.call("DELETE", &format!("/bucket/no?uploadId={upload}")).expect(204);

    // Locks go with their versions to another partition.
    let moved = done(admin, "move-bucket", &json!({ "bucket": "bucket", "partition": 1 }));
    assert_eq!(moved["state"], "done", "{moved}");
    for (target, version) in &versions {
        delete(s3, target, version, false).refused(403, "AccessDenied");
        let gone = if target == "/bucket/own" { 403 } else { 204 };
        assert_eq!(delete(s3, target, version, true).status, gone, "{target}");
    }
    let told = admin::get(admin, "/api/stats");
    let rows = |partition: usize| told["partitions"][partition]["objects"].as_u64().unwrap();
    // The bucket, its settings, and the next number; the object that stays, its version, and its lock.
    assert_eq!([rows(0), rows(1)], [3, 3], "{told}");
    running.stop();
}

#[test]
fn what_makes_no_sense_locks_nothing() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/plain", "").expect(200);
    s3.put("/plain/key", "x").expect(200);
    make(s3, "/bucket");
    let hold_header = [("x-amz-object-lock-legal-hold", "ON")];
    put(s3, "/plain/key", &hold_header).refused(400, "InvalidRequest");
    hold(s3, "/plain/key?legal-hold", "ON").refused(400, "InvalidRequest");
    s3.get("/plain/key?retention").refused(400, "InvalidRequest");
    let mode = ("x-amz-object-lock-mode", "GOVERNANCE");
    let date = |text| ("x-amz-object-lock-retain-until-date", text);
    for headers in [
        &[mode][..],
        &[date(FAR)],
        &[mode, date("2001-01-01T00:00:00Z")],
        &[("x-amz-object-lock-mode", "FOREVER"), date(FAR)],
        &[("x-amz-object-lock-legal-hold", "MAYBE")],
    ] {
        put(s3, "/bucket/key", headers).refused(400, "InvalidArgument");
    }
    put(s3, "/bucket/key", &[]).expect(200);
    for (rest, code) in [
        (until("FOREVER", FAR), "MalformedXML"),
        ("<Mode>GOVERNANCE</Mode>".to_owned(), "MalformedXML"),
        (until("GOVERNANCE", "2001-01-01T00:00:00Z"), "InvalidArgument"),
    ] {
        retain(s3, "/bucket/key?retention", &rest, false).refused(400, code);
    }
    hold(s3, "/bucket/key?legal-hold", "MAYBE").refused(400, "MalformedXML");
    hold(s3, "/bucket/absent?legal-hold", "ON").refused(404, "NoSuchKey");
    for (rest, code) in [
        ("<ObjectLockEnabled>No</ObjectLockEnabled>", "MalformedXML"),
        (
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule>",
            "MalformedXML",
        ),
        (
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>0</Days></DefaultRetention></Rule>",
            "InvalidRetentionPeriod",
        ),
    ] {
        let body = format!("<ObjectLockConfiguration>{rest}</ObjectLockConfiguration>");
        s3.put("/bucket?object-lock", body).refused(400, code);
    }
    let told = s3.get("/bucket?object-lock").expect(200);
    assert_eq!(
        (told.xml("ObjectLockEnabled").as_deref(), told.xml("Rule")),
        (Some("Enabled"), None)
    );
    let key = s3.call("HEAD", "/bucket/key").expect(200);
    assert!(key.header("x-amz-object-lock-mode").is_none());
    running.stop();
}
