//! URLs that carry a signature: used late, elsewhere, changed, or made for longer than is allowed.

use super::{assert_refused, assert_untouched, filled};
use crate::client::{Call, Client, amz_date, raw};
use crate::running::{dir, start_with};

const KEYS: &str = r#"
[[key]]
access_key = "READER"
secret_key = "another-secret"
rule = [{ bucket = "shared", access = "read" }]
"#;

#[test]
fn signed_urls_are_good_for_what_they_say_and_nothing_else() {
    let dir = dir();
    let running = start_with(dir.path(), KEYS);
    let s3 = &running.client;
    filled(s3);
    s3.put("/shared", "").expect(200);
    s3.put("/shared/key", "shared").expect(200);
    let reader =
        Client { access_key: "READER".into(), secret_key: "another-secret".into(), ..s3.clone() };
    let now = amz_date(0);
    let get = s3.presigned("GET", "/bucket/key", 60, &now);
    let put = s3.presigned("PUT", "/bucket/new", 60, &now);
    let send = |method: &'static str, target: &str| {
        let call = Call::new(method, target);
        let call = if method == "PUT" { call.body("x") } else { call };
        raw(&call, &[("host".to_owned(), s3.address.to_string())])
    };
    assert_eq!(s3.exchange(&send("GET", &get)).expect(200).text(), "value");
    // Again, as long as it is good.
    assert_eq!(s3.exchange(&send("GET", &get)).expect(200).text(), "value");
    let changed = |from: &str, to: &str| {
        assert!(get.contains(from), "{from}");
        get.replacen(from, to, 1)
    };
    let date = format!("X-Amz-Date={now}");
    for (what, method, target) in [
        ("another method", "PUT", get.clone()),
        ("a deletion", "DELETE", get.clone()),
        ("a head", "HEAD", get.clone()),
        ("a put's for a get", "GET", put.clone()),
        ("another key", "GET", changed("/bucket/key", "/bucket/other")),
        ("another bucket", "GET", changed("/bucket/", "/shared/")),
        ("a key behind a path", "GET", changed("/bucket/key", "/shared/../bucket/key")),
        ("the list", "GET", changed("/bucket/key", "/bucket")),
        ("another query", "GET", format!("{get}&versionId=null")),
        ("another answer", "GET", format!("{get}&response-content-type=text/html")),
        ("tags", "GET", format!("{get}&tagging")),
        ("an ACL", "PUT", format!("{put}&acl")),
        ("a part", "PUT", format!("{put}&partNumber=1&uploadId=x")),
        ("more time", "GET", changed("X-Amz-Expires=60", "X-Amz-Expires=600")),
        ("time without end", "GET", changed("X-Amz-Expires=60", "X-Amz-Expires=")),
        ("negative time", "GET", changed("X-Amz-Expires=60", "X-Amz-Expires=-60")),
        ("time in words", "GET", changed("X-Amz-Expires=60", "X-Amz-Expires=long")),
        ("no time", "GET", changed("X-Amz-Expires=60&", "")),
        ("another date", "GET", changed(&date, &format!("X-Amz-Date={}", amz_date(-1)))),
        ("a date that is none", "GET", changed(&date, "X-Amz-Date=now")),
        ("no date", "GET", changed(&format!("{date}&"), "")),
        ("another algorithm", "GET", changed("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
        ("no algorithm", "GET", changed("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "")),
        ("another key's name", "GET", changed("Credential=TESTKEY", "Credential=READER")),
        ("nobody's name", "GET", changed("Credential=TESTKEY", "Credential=NOBODY")),
        ("another region", "GET", changed("us-east-1", "eu-west-1")),
        ("another service", "GET", changed("s3%2Faws4", "ec2%2Faws4")),
        ("no scope", "GET", changed("%2Faws4_request", "")),
        ("no signed headers", "GET", changed("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=")),
        (
            "headers that are not there",
            "GET",
            changed("SignedHeaders=host", "SignedHeaders=host%3Bx-a"),
        ),
        ("no signature", "GET", get.split("&X-Amz-Signature").next().unwrap().to_owned()),
        (
            "an empty signature",
            "GET",
            get.split_inclusive("X-Amz-Signature=").next().unwrap().to_owned(),
        ),
        ("half a signature", "GET", get[..get.len() - 32].to_owned()),
        ("a long signature", "GET", format!("{get}00")),
        ("two signatures", "GET", format!("{get}&X-Amz-Signature=00")),
        ("two dates", "GET", format!("{get}&{date}")),
        ("expired", "GET", s3.presigned("GET", "/bucket/key", 60, &amz_date(-61))),
        ("expired long ago", "GET", s3.presigned("GET", "/bucket/key", 60, "20200101T000000Z")),
        ("not yet", "GET", s3.presigned("GET", "/bucket/key", 60, &amz_date(3600))),
        ("longer than a week", "GET", s3.presigned("GET", "/bucket/key", 604_801, &now)),
        ("no time at all", "GET", s3.presigned("GET", "/bucket/key", 0, &amz_date(-1))),
        ("a reader's put", "PUT", reader.presigned("PUT", "/shared/new", 60, &now)),
        ("a reader's deletion", "DELETE", reader.presigned("DELETE", "/shared/key", 60, &now)),
        ("a reader elsewhere", "GET", reader.presigned("GET", "/bucket/key", 60, &now)),
        (
            "a reader's list of another",
            "GET",
            reader.presigned("GET", "/bucket?list-type=2", 60, &now),
        ),
    ] {
        assert_refused(s3, &send(method, &target), what);
    }
    // With a header's signature beside it.
    let (both, _) = s3.signed(&Call::new("GET", &get), &now);
    assert_refused(s3, &both, "two ways at once");
    // A secret that is known signs for no other host.
    let elsewhere = raw(&Call::new("GET", &get), &[("host".into(), "elsewhere".into())]);
    assert_refused(s3, &elsewhere, "another host");
    assert_untouched(&running);
    assert_eq!(s3.get("/shared?list-type=2").expect(200).all_xml("Key"), ["key"]);
    running.stop();
}

/// Signatures that were seen on the wire, sent again for something else.
#[test]
fn signatures_that_were_seen_put_nothing_else() {
    let dir = dir();
    let running = start_with(dir.path(), "");
    let s3 = &running.client;
    filled(s3);
    let date = amz_date(0);
    let (seen, _) = s3.signed(&Call::new("PUT", "/bucket/key").body("value"), &date);
    let seen = String::from_utf8(seen).unwrap();
    s3.exchange(seen.as_bytes()).expect(200);
    let signed = seen.find("\r\nauthorization").unwrap();
    for (what, request) in [
        ("another body", seen.replace("value", "other")),
        ("another body and its digest", {
            let old = crate::client::sha256(b"value");
            seen.replace("value", "other").replace(&old, &crate::client::sha256(b"other"))
        }),
        ("no digest of the body", {
            let old = crate::client::sha256(b"value");
            seen.replace("value", "other").replace(&old, "UNSIGNED-PAYLOAD")
        }),
        ("chunks", {
            let old = crate::client::sha256(b"value");
            seen.replace(&old, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        }),
        ("another key", seen.replace("/bucket/key", "/bucket/new")),
        ("another bucket", seen.replace("/bucket/key", "/other/key")),
        ("a deletion", seen.replace("PUT ", "DELETE ")),
        ("tags", seen.replace("/bucket/key", "/bucket/key?tagging")),
        (
            "later",
            seen.replace(&format!("x-amz-date: {date}"), &format!("x-amz-date: {}", amz_date(1))),
        ),
        ("another host", seen.replace(&format!("host: {}", s3.address), "host: elsewhere")),
        (
            "a copy",
            seen[..signed].to_owned() + "\r\nx-amz-copy-source: /bucket/key" + &seen[signed..],
        ),
    ] {
        let reply = s3.try_exchange(request.as_bytes());
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        // A header beside those that are signed is as good as S3 has it.
        assert!(
            (400..500).contains(&status) || status == 0 || what == "a copy",
            "{what}: {status}"
        );
    }
    assert_untouched(&running);
    running.stop();
}
