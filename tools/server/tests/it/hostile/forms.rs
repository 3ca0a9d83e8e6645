//! Forms whose policies, signatures or bodies are not what they should be.

use serde_json::{Value, json};

use super::{assert_refused, assert_untouched, filled};
use crate::client::{Call, Client, amz_date, raw};
use crate::forms::Form;
use crate::objects::bytes;
use crate::running::{dir, start, start_with};

const LATER: &str = "2100-01-01T00:00:00Z";

fn named(bucket: &str, key: &str) -> Vec<Value> {
    vec![json!({ "bucket": bucket }), json!(["eq", "$key", key])]
}

#[test]
fn forms_that_their_policy_does_not_allow_put_nothing() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    s3.put("/other", "").expect(200);
    let form = || Form::new("bucket", "new", "0123456789");
    let with = |condition: Value| {
        let mut conditions = named("bucket", "new");
        conditions.push(condition);
        form().signed_for(s3, LATER, conditions)
    };
    let spoilt = |name: &str, value: &str| {
        let mut form = form().signed(s3, &[]);
        form.fields
            .iter_mut()
            .filter(|(known, _)| known == name)
            .for_each(|(_, old)| *old = value.into());
        form
    };
    let without = |name: &str| {
        let mut form = form().signed(s3, &[]);
        form.fields.retain(|(known, _)| known != name);
        form
    };
    let signed = |expires: &str| form().signed_for(s3, expires, named("bucket", "new"));
    let other = Client { secret_key: "another-secret".into(), ..s3.clone() };
    let nobody = Client { access_key: "NOBODY".into(), ..s3.clone() };
    let long = "x".repeat(300_000);
    for (what, form) in [
        ("another key", form().signed_for(s3, LATER, named("bucket", "old"))),
        ("another bucket", form().signed_for(s3, LATER, named("other", "new"))),
        ("a bucket field that differs", form().field("bucket", "other").signed(s3, &[])),
        ("another prefix", with(json!(["starts-with", "$key", "camera/"]))),
        ("too short", with(json!(["content-length-range", 11, 100]))),
        ("too long", with(json!(["content-length-range", 0, 9]))),
        ("a range turned round", with(json!(["content-length-range", 100, 0]))),
        ("a range of words", with(json!(["content-length-range", "0", "x"]))),
        ("a negative range", with(json!(["content-length-range", -1, 5]))),
        ("an operator that is none", with(json!(["ends-with", "$key", "w"]))),
        ("half a condition", with(json!(["eq", "$key"]))),
        ("a condition of numbers", with(json!([1, 2, 3]))),
        ("an empty condition", with(json!([]))),
        ("a condition that is none", with(json!("key"))),
        ("two in one", with(json!({ "key": "new", "bucket": "bucket" }))),
        ("a field that must be there", with(json!(["eq", "$x-amz-meta-a", "b"]))),
        ("a field that is not allowed", form().signed(s3, &[]).field("x-amz-meta-a", "b")),
        ("an ACL that is not allowed", form().signed(s3, &[]).field("acl", "public-read")),
        ("expired", signed("2020-01-01T00:00:00Z")),
        ("an expiry that is none", signed("tomorrow")),
        ("no expiry", signed("")),
        ("another's secret", form().signed(&other, &[])),
        ("nobody's key", form().signed(&nobody, &[])),
        ("another signature", spoilt("x-amz-signature", &"0".repeat(64))),
        ("a short signature", spoilt("x-amz-signature", "0")),
        ("another date", spoilt("x-amz-date", &amz_date(-60))),
        ("a date long ago", spoilt("x-amz-date", "20200101T000000Z")),
        ("a date that is none", spoilt("x-amz-date", "now")),
        ("another algorithm", spoilt("x-amz-algorithm", "AWS4-HMAC-MD5")),
        ("a scope that is none", spoilt("x-amz-credential", "TESTKEY")),
        ("a policy that is no base64", spoilt("policy", "%%%")),
        ("another policy", spoilt("policy", "e30=")),
        ("another key than signed", spoilt("key", "newer")),
        ("no policy", without("policy")),
        ("no signature", without("x-amz-signature")),
        ("no date", without("x-amz-date")),
        ("no credential", without("x-amz-credential")),
        ("no algorithm", without("x-amz-algorithm")),
        ("no key", without("key")),
        ("an empty key", Form::new("bucket", "", "x").signed(s3, &[])),
        ("a long key", Form::new("bucket", &"k".repeat(1025), "x").signed(s3, &[])),
        ("a key with the file's name", Form::new("bucket", "a/${filename}", "x").signed(s3, &[])),
        ("a bucket that is not there", Form::new("nowhere", "new", "x").signed(s3, &[])),
        ("a huge field", form().field("x-amz-meta-a", &long).signed(s3, &[])),
        (
            "an MD5 of something else",
            form().field("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").signed(s3, &[]),
        ),
        ("encryption", form().field("x-amz-server-side-encryption", "AES256").signed(s3, &[])),
        ("a redirection to nowhere", form().field("success_action_redirect", "::").signed(s3, &[])),
        (
            "version 2, wrong",
            form()
                .field("AWSAccessKeyId", "TESTKEY")
                .field("signature", "AAAA")
                .field("policy", "e30="),
        ),
    ] {
        assert_refused(s3, &raw(&form.call(), &headers(s3, &form)), what);
        if what == "a redirection to nowhere" {
            // S3 has put it by then, too.
            s3.call("DELETE", "/bucket/new").expect(204);
        }
    }
    assert_untouched(&running);
    assert!(s3.get("/other?list-type=2").expect(200).all_xml("Key").is_empty());
    running.stop();
}

fn headers(s3: &Client, form: &Form) -> Vec<(String, String)> {
    [vec![("host".to_owned(), s3.address.to_string())], form.call().headers].concat()
}

#[test]
fn forms_that_are_malformed_or_too_large_put_nothing() {
    let dir = dir();
    let settings = "anonymous = [{ bucket = \"bucket\", access = \"write\" }]\n\
                    [limits]\nform_bytes = \"64KiB\"\nidle_timeout = \"1s\"";
    let running = start_with(dir.path(), settings);
    let s3 = &running.client;
    filled(s3);
    let form = Form::new("bucket", "new", "0123456789");
    let whole = String::from_utf8(form.body()).unwrap();
    let file = whole.find("0123456789").unwrap();
    let many = "--B\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\ny\r\n".repeat(1100);
    for (what, kind, body) in [
        ("nothing", None, String::new()),
        ("rubbish", None, "rubbish".into()),
        ("cut in a field", None, whole[..60].into()),
        ("cut before the file", None, whole[..file].into()),
        ("cut in the file", None, whole[..file + 5].into()),
        ("cut before the last boundary", None, whole[..file + 10].into()),
        ("cut in the last boundary", None, whole[..file + 20].into()),
        ("another boundary", None, whole.replace("a-boundary", "b-boundary")),
        ("lines without returns", None, whole.replace("\r\n", "\n")),
        ("no file", None, whole.replace("name=\"file\"", "name=\"fill\"")),
        ("no name", None, whole.replace("name=\"key\"", "")),
        (
            "no disposition",
            None,
            whole.replace("content-disposition: form-data; name=\"key\"", "x-a: b"),
        ),
        ("a zero byte", None, whole.replace("name=\"key\"", "na\0me=\"key\"")),
        ("no boundary", Some("multipart/form-data"), whole.clone()),
        ("an empty boundary", Some("multipart/form-data; boundary="), whole.clone()),
        (
            "a long boundary",
            Some(&*format!("multipart/form-data; boundary={}", "b".repeat(7000))),
            whole.clone(),
        ),
        ("another kind", Some("multipart/mixed; boundary=----a-boundary"), whole.clone()),
        ("a kind that is none", Some("multipart/form-data; ;;=;"), whole.clone()),
        ("many fields", Some("multipart/form-data; boundary=B"), many),
    ] {
        let mut call = form.call().body(body);
        if let Some(kind) = kind {
            call.headers[0].1 = kind.into();
        }
        let reply = s3.send_unsigned(&call);
        let is_told = (400..500).contains(&reply.status) || reply.status == 501;
        assert!(is_told, "{what}: {} {}", reply.status, reply.text());
    }
    let send = |framing: (&str, &str), body: &[u8]| {
        let mut headers = headers(s3, &form);
        headers.push((framing.0.into(), framing.1.into()));
        let mut request = raw(&Call { body: Vec::new(), ..form.call() }, &headers);
        request.extend_from_slice(body);
        s3.exchange(&request)
    };
    send(("content-length", "65537"), b"").refused(400, "EntityTooLarge");
    send(("content-length", "18446744073709551615"), b"").expect(431);
    send(("content-length", "1000"), b"0123456789").refused(400, "RequestTimeout");
    send(("transfer-encoding", "chunked"), b"0\r\n\r\n").refused(411, "MissingContentLength");
    let large = Form::new("bucket", "new", bytes(64 << 10));
    large.send(s3).refused(400, "EntityTooLarge");
    s3.send_unsigned(&Call { path: "/bucket/key".into(), ..form.call() }).expect(405);
    s3.send_unsigned(&Call { path: "/".into(), ..form.call() }).expect(501);
    assert_untouched(&running);
    running.stop();
}

/// However many forms come at once, and whatever they announce: what comes later waits for room, and is
/// put.
#[test]
fn forms_that_do_not_come_hold_room_for_a_moment_only() {
    let dir = dir();
    let settings = "anonymous = [{ bucket = \"bucket\", access = \"write\" }]\n\
                    [limits]\nform_bytes = \"1MiB\"\nidle_timeout = \"1s\"";
    let running = start_with(dir.path(), settings);
    let s3 = &running.client;
    filled(s3);
    let form = Form::new("bucket", "new", "0123456789");
    let mut announced = headers(s3, &form);
    announced.push(("content-length".into(), (1 << 20).to_string()));
    let begun = raw(&Call { body: Vec::new(), ..form.call() }, &announced);
    let slow: Vec<_> = (0..5)
        .map(|_| {
            let mut stream = s3.connect();
            std::io::Write::write_all(&mut stream, &begun).unwrap();
            stream
        })
        .collect();
    // The first four have all the room, for a second at most.
    let sent = (0..3).map(|_| form.send(s3).status).find(|status| *status != 503);
    assert_eq!(sent, Some(204));
    drop(slow);
    s3.call("DELETE", "/bucket/new").expect(204);
    assert_untouched(&running);
    running.stop();
}
