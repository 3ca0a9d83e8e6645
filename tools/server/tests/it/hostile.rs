//! What no client of good will sends. Each case has an answer that is an error, or a connection that
//! ends; none leaves anything behind, and none makes the server panic ([`Running::stop`] looks).
//!
//! [`Running::stop`]: crate::running::Running::stop

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::client::{Call, Client, amz_date, path, read_reply, sha256};
use crate::objects::bytes;
use crate::running::{Running, dir, start, start_with};
use crate::streams::{http_chunks, signed_chunks};

/// Fails where anything but an error came.
#[track_caller]
fn assert_refused(s3: &Client, request: &[u8], what: &str) {
    if let Some(reply) = s3.try_exchange(request) {
        assert!((400..600).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
        assert_ne!(reply.status, 500, "{what}: {}", reply.text());
    }
}

/// The server serves, and the bucket has what it had.
#[track_caller]
fn assert_untouched(running: &Running) {
    let listed = running.client.get("/bucket?list-type=2").expect(200);
    assert_eq!(listed.all_xml("Key"), ["key"]);
    assert_eq!(running.client.get("/bucket/key").expect(200).text(), "value");
}

fn filled(s3: &Client) {
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", "value").expect(200);
}

#[test]
fn signatures_that_are_wrong_give_no_access() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    let date = amz_date(0);
    let call = Call::new("PUT", "/bucket/new").body("x");
    let good = String::from_utf8(s3.signed(&call, &date).0).unwrap();
    let spoilt = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let cases = [
        ("another secret", {
            let other = Client { secret_key: "other".into(), ..s3.clone() };
            String::from_utf8(other.signed(&call, &date).0).unwrap()
        }),
        ("another key", spoilt("Credential=TESTKEY", "Credential=NOBODY")),
        ("another target", spoilt("/bucket/new", "/bucket/other")),
        ("another method", spoilt("PUT ", "POST ")),
        ("another body", good[..good.len() - 1].to_owned() + "y"),
        ("another region", spoilt("us-east-1/s3", "eu-west-1/s3")),
        ("another service", spoilt("us-east-1/s3/", "us-east-1/ec2/")),
        ("another date", spoilt(&date, &amz_date(-1))),
        ("another query", spoilt("/bucket/new", "/bucket/new?x=1")),
        ("no signature", spoilt("Signature=", "Nothing=")),
        (
            "an empty signature",
            good.split("Signature=").next().unwrap().to_owned()
                + "Signature=\r\ncontent-length: 1\r\n\r\nx",
        ),
        ("a short signature", spoilt("Signature=", "Signature=0")),
        ("no algorithm", spoilt("AWS4-HMAC-SHA256 ", "")),
        ("another algorithm", spoilt("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 ")),
        (
            "nothing signed",
            spoilt("SignedHeaders=host;x-amz-content-sha256;x-amz-date", "SignedHeaders="),
        ),
        ("host not signed", spoilt("SignedHeaders=host;", "SignedHeaders=")),
        ("an open scope", spoilt("/aws4_request", "/")),
        ("a long scope", spoilt("/aws4_request", "/aws4_request/x/y/z")),
        ("rubbish", spoilt("AWS4-HMAC-SHA256 Credential", "\u{7f}\u{7f}Credential")),
        (
            "only a scheme",
            spoilt("authorization: AWS4-HMAC-SHA256", "authorization: AWS4-HMAC-SHA256\r\nx-old:"),
        ),
        ("no authorization", spoilt("authorization:", "x-authorization:")),
        (
            "version 2",
            spoilt("AWS4-HMAC-SHA256 ", "AWS TESTKEY:AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nx-old: "),
        ),
        ("bearer", spoilt("AWS4-HMAC-SHA256 ", "Bearer TESTKEY\r\nx-old: ")),
        ("basic", spoilt("AWS4-HMAC-SHA256 ", "Basic VEVTVEtFWTpub3Q=\r\nx-old: ")),
        ("no digest", spoilt("x-amz-content-sha256: ", "x-other: ")),
        ("a digest that is none", spoilt(&sha256(b"x"), "zz")),
        ("a digest in capitals", spoilt(&sha256(b"x"), &sha256(b"x").to_uppercase())),
    ];
    for (what, request) in cases {
        assert_refused(s3, request.as_bytes(), what);
    }
    for skew in [-86_400, -3600, -901, 901, 3600, 86_400 * 365] {
        let late = s3.signed(&call, &amz_date(skew)).0;
        let reply = s3.exchange(&late);
        assert_eq!(reply.status, 403, "{skew}: {}", reply.text());
    }
    for other in [
        "",
        "20260101",
        "20260101T000000",
        "99999999T999999Z",
        "20261301T000000Z",
        "-0260101T000000Z",
        "2026-01-01T00:00:00Z",
    ] {
        let stamped = spoilt(&format!("x-amz-date: {date}"), &format!("x-amz-date: {other}"));
        assert_refused(s3, stamped.as_bytes(), other);
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn lengths_that_lie_put_nothing() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nidle_timeout = \"1s\"\nput_bytes = \"1MiB\"");
    let s3 = &running.client;
    filled(s3);
    let put = |headers: &[(&str, &str)], body: &[u8]| {
        let mut call = Call::new("PUT", "/bucket/new").payload("UNSIGNED-PAYLOAD");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let (mut request, _) = s3.signed(&call, &amz_date(0));
        request.extend_from_slice(body);
        request
    };
    for length in [
        "-1",
        "x",
        "",
        "1.5",
        "0x10",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "9223372036854775807",
        "1048577",
        "10, 10, 11",
    ] {
        assert_refused(s3, &put(&[("content-length", length)], b"0123456789"), length);
    }
    for (what, request) in [
        ("less than announced", put(&[("content-length", "100")], b"0123456789")),
        ("two lengths", put(&[("content-length", "10"), ("content-length", "5")], b"0123456789")),
        (
            "length and chunks",
            put(&[("content-length", "5"), ("transfer-encoding", "chunked")], b"zz\r\n"),
        ),
        ("chunks that are none", put(&[("transfer-encoding", "chunked")], b"zz\r\n0123456789")),
        (
            "a huge chunk",
            put(&[("transfer-encoding", "chunked")], b"ffffffffffffffff1\r\n0123456789"),
        ),
        (
            "a chunk without its end",
            put(&[("transfer-encoding", "chunked")], b"5\r\n0123456789\r\n"),
        ),
        ("an unknown coding", put(&[("transfer-encoding", "gzip")], b"0123456789")),
    ] {
        assert_refused(s3, &request, what);
    }
    // Too much, without having said so.
    let call = Call::new("PUT", "/bucket/new")
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("transfer-encoding", "chunked");
    for decoded in ["", "-1", "x", "99999999999999999999", "4294967296", "5"] {
        let call = call.clone().header("x-amz-decoded-content-length", decoded);
        let (head, _) = s3.signed(&call, &amz_date(0));
        let body = b"a\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:poTHxg==\r\n\r\n";
        assert_refused(s3, &[head, http_chunks(body)].concat(), decoded);
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn chunks_that_are_malformed_put_nothing() {
    let dir = dir();
    let running =
        start_with(dir.path(), "[limits]\nchunk_bytes = \"64KiB\"\nidle_timeout = \"1s\"");
    let s3 = &running.client;
    filled(s3);
    let unsigned = Call::new("PUT", "/bucket/new")
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("x-amz-decoded-content-length", "10")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("transfer-encoding", "chunked");
    let crc = "x-amz-checksum-crc32:poTHxg==";
    let long = "x".repeat(20_000);
    let many = "x-a:1\r\n".repeat(200);
    for body in [
        "".to_owned(),
        "\r\n".into(),
        "a".into(),
        "a\r\n".into(),
        "a\r\n0123".into(),
        "a\r\n0123456789".into(),
        "a\r\n0123456789XX0\r\n".into(),
        format!("a\r\n01234567890\r\n0\r\n{crc}\r\n\r\n"),
        "-a\r\n0123456789\r\n0\r\n\r\n".into(),
        "0xa\r\n0123456789\r\n0\r\n\r\n".into(),
        "g\r\n0123456789\r\n0\r\n\r\n".into(),
        "ffffffff\r\n0123456789\r\n0\r\n\r\n".into(),
        "ffffffffffffffffffffffff\r\n0123456789\r\n0\r\n\r\n".into(),
        format!("10001\r\n{}\r\n0\r\n{crc}\r\n\r\n", "x".repeat(65_537)),
        "a;chunk-signature=00\r\n0123456789\r\n0\r\n\r\n".into(),
        format!("a;{long}\r\n0123456789\r\n0\r\n{crc}\r\n\r\n"),
        "a\r\n0123456789\r\n0\r\n\r\n".into(),
        "a\r\n0123456789\r\n0\r\nx-amz-checksum-crc32\r\n\r\n".into(),
        "a\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:\r\n\r\n".into(),
        "a\r\n0123456789\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n".into(),
        format!("a\r\n0123456789\r\n0\r\n{many}{crc}\r\n\r\n"),
        format!("a\r\n0123456789\r\n0\r\nx:{long}\r\n{crc}\r\n\r\n"),
        "a\r\n0123456789\r\n0\r\nx\u{1}y:1\r\n\r\n".into(),
        format!("5\r\n01234\r\n0\r\n{crc}\r\n\r\n5\r\n56789\r\n0\r\n\r\n"),
    ] {
        let (head, _) = s3.signed(&unsigned, &amz_date(0));
        let what = &body[..body.len().min(60)];
        assert_refused(s3, &[head, http_chunks(body.as_bytes())].concat(), what);
    }
    let body = bytes(200_000);
    type Spoil = fn(&mut Vec<u8>);
    let spoils: [(&str, Spoil); 7] = [
        ("no last chunk", |framed| framed.truncate(framed.len() - 86)),
        ("a byte more", |framed| framed.push(b'x')),
        ("a byte less", |framed| framed.truncate(framed.len() - 1)),
        ("a signature spoilt", |framed| framed[30] ^= 1),
        ("data spoilt", |framed| framed[5000] ^= 1),
        ("a size spoilt", |framed| framed[0] = b'f'),
        ("chunks exchanged", |framed| framed.rotate_left(90)),
    ];
    for (what, spoil) in spoils {
        let reply = signed_chunks(s3, "/bucket/new", &body, 32 << 10, spoil);
        let known_good = what == "a byte more" || what == "a byte less";
        // What lies behind the last chunk's end is no part of the body.
        assert!((400..500).contains(&reply.status) || known_good, "{what}: {}", reply.status);
        s3.call("DELETE", "/bucket/new").expect(204);
    }
    for kind in [
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-",
        "STREAMING-NONE",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ] {
        let call = Call::new("PUT", "/bucket/new")
            .payload(kind)
            .header("x-amz-decoded-content-length", "10")
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body("a\r\n0123456789\r\n0\r\n\r\n");
        assert_refused(s3, &s3.signed(&call, &amz_date(0)).0, kind);
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn headers_that_are_broken_or_huge_are_refused() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nheader_timeout = \"1s\"");
    let s3 = &running.client;
    filled(s3);
    let long = "x".repeat(200_000);
    let many: String = (0..1000).map(|i| format!("x-{i}: y\r\n")).collect();
    for (what, request) in [
        ("nothing", String::new()),
        ("an empty line", "\r\n\r\n\r\n".into()),
        ("no HTTP", "hello\r\n\r\n".into()),
        ("a binary greeting", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".into()),
        ("another version", "GET / HTTP/9.9\r\nhost: x\r\n\r\n".into()),
        ("HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        ("no target", "GET HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("a long target", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("a long method", format!("{long} / HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("a long header", format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {long}\r\n\r\n")),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n")),
        ("no name", "GET / HTTP/1.1\r\nhost: x\r\n: y\r\n\r\n".into()),
        ("a folded header", "GET / HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\n\r\n".into()),
        ("a zero byte", "GET / HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\n\r\n".into()),
        ("no colon", "GET / HTTP/1.1\r\nhost\r\n\r\n".into()),
        ("no host", "GET / HTTP/1.1\r\n\r\n".into()),
        ("a host that is none", "GET / HTTP/1.1\r\nhost: a b/c\r\n\r\n".into()),
        ("TRACE", "TRACE / HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("CONNECT", "CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("a proxy's", "GET http://elsewhere/ HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("any other", "FROB /bucket HTTP/1.1\r\nhost: x\r\n\r\n".into()),
    ] {
        assert_refused(s3, request.as_bytes(), what);
    }
    let signed = |name: &str, value: &str| {
        let call = Call::new("PUT", "/bucket/new").header(name, value).body("x");
        s3.signed(&call, &amz_date(0)).0
    };
    let meta = "v".repeat(2049);
    for (name, value) in [
        ("x-amz-meta-a", &*meta),
        ("content-md5", "x"),
        ("content-md5", "AAAA"),
        ("expires", "soon"),
        ("if-match", "\"unclosed"),
        ("if-none-match", "\"0123\""),
        ("x-amz-tagging", "a=1&a=2"),
        ("x-amz-tagging", "=1"),
        ("x-amz-checksum-crc32", "x"),
        ("x-amz-sdk-checksum-algorithm", "MD4"),
        ("x-amz-acl", "public-read-write"),
        ("x-amz-storage-class", "?"),
        ("x-amz-copy-source", "?"),
        ("x-amz-copy-source", "/"),
        ("x-amz-copy-source", "/bucket"),
        ("x-amz-copy-source", "%ff%fe"),
        ("x-amz-copy-source", "/bucket/key?versionId=x"),
        ("x-amz-write-offset-bytes", "x"),
        ("x-amz-write-offset-bytes", "99999999999999999999"),
        ("content-type", "multipart/form-data; boundary=x"),
    ] {
        let method = if name == "content-type" { "POST" } else { "PUT" };
        let call = Call::new(method, if method == "POST" { "/bucket" } else { "/bucket/new" });
        let request = match method {
            "POST" => s3.signed(&call.header(name, value).body("--x--"), &amz_date(0)).0,
            _ => signed(name, value),
        };
        assert_refused(s3, &request, &format!("{name}: {value}"));
    }
    for (name, value) in [
        ("range", "bytes=5-1"),
        ("range", "bytes=99999999999999999999-"),
        ("range", "bytes=-0"),
        ("if-match", "\"0\""),
        ("if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ] {
        let call = Call::new("GET", "/bucket/key").header(name, value);
        assert_refused(s3, &s3.signed(&call, &amz_date(0)).0, &format!("{name}: {value}"));
    }
    for query in [
        "partNumber=0",
        "partNumber=-1",
        "partNumber=2",
        "partNumber=x",
        "partNumber=99999999999",
        "versionId=x",
        "uploadId=x",
        "uploadId=",
    ] {
        let status = s3.get(&format!("/bucket/key?{query}")).status;
        assert!((400..500).contains(&status) || query == "uploadId=", "{query}: {status}");
    }
    for query in [
        "max-keys=-1",
        "max-keys=x",
        "max-keys=99999999999",
        "list-type=2&max-keys=1.5",
        "list-type=2&continuation-token=%ff",
        "list-type=2&continuation-token=/",
        "encoding-type=x",
        "uploads&max-uploads=-1",
        "uploads&max-uploads=x",
        "uploads&key-marker=a&upload-id-marker=x",
    ] {
        let status = s3.get(&format!("/bucket?{query}")).status;
        assert!((400..500).contains(&status), "{query}: {status}");
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn xml_that_is_malformed_changes_nothing() {
    let dir = dir();
    let running = start_with(dir.path(), "[limits]\nxml_bytes = \"256KiB\"");
    let s3 = &running.client;
    filled(s3);
    let upload = crate::uploads::begin(s3, "/bucket/new");
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;\">]>";
    let deep = "<a>".repeat(50_000);
    let long = "x".repeat(300_000);
    for body in [
        String::new(),
        "rubbish".into(),
        "<".into(),
        "<Delete>".into(),
        "<Delete></Wrong>".into(),
        "<Delete/>".into(),
        "<Delete><Object/></Delete>".into(),
        "<Delete><Object><Key></Key></Object></Delete>".into(),
        "<Delete><Object><Key>key</Object></Delete>".into(),
        "<Other><Object><Key>key</Key></Object></Other>".into(),
        format!("{bomb}<Delete><Object><Key>&c;</Key></Object></Delete>"),
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&e;</Key></Object></Delete>".into(),
        "<Delete><Object><Key>&undefined;</Key></Object></Delete>".into(),
        deep.clone(),
        format!("<Delete><Object><Key>{long}</Key></Object></Delete>"),
        "<Delete><Object><Key>\u{0}</Key></Object>".into(),
        format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(1025)),
    ] {
        let what = &body[..body.len().min(60)].to_owned();
        let call = Call::new("POST", "/bucket?delete").body(body);
        let reply = s3.exchange(&s3.signed(&call, &amz_date(0)).0);
        let told = (400..500).contains(&reply.status) || !reply.all_xml("Error").is_empty();
        assert!(told, "{what}: {} {}", reply.status, reply.text());
    }
    let part = |number: &str, etag: &str| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let parts =
        |parts: String| format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    for body in [
        String::new(),
        "<CompleteMultipartUpload/>".into(),
        parts(part("", "\"x\"")),
        parts(part("x", "\"x\"")),
        parts(part("0", "\"x\"")),
        parts(part("-1", "\"x\"")),
        parts(part("1", "\"x\"")),
        parts(part("1", "")),
        parts(part("99999999999999999999", "\"x\"")),
        parts("<Part/>".into()),
        parts(part("1", "\"x\"").repeat(4000)),
        deep,
    ] {
        let what = &body[..body.len().min(60)].to_owned();
        let call = Call::new("POST", &format!("/bucket/new?uploadId={upload}")).body(body);
        let reply = s3.exchange(&s3.signed(&call, &amz_date(0)).0);
        assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    }
    for body in [
        "",
        "<Tagging>",
        "<Tagging/>",
        "<Tagging><TagSet><Tag/></TagSet></Tagging>",
        "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
    ] {
        let reply = s3.put("/bucket/key?tagging", body);
        assert!(matches!(reply.status, 200 | 400), "{body}: {}", reply.status);
    }
    assert_untouched(&running);
    running.stop();
}

#[test]
fn keys_are_names_and_never_paths() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    s3.put("/other", "").expect(200);
    s3.put("/other/key", "not yours").expect(200);
    let tricks = [
        "../other/key",
        "/../../other/key",
        "..",
        ".",
        "a/../../other/key",
        "//",
        "/etc/passwd",
        "\\..\\other\\key",
        "a\0b",
        "\0",
        "a\nb",
        "o/00000002/key",
        "../partitions/0/META",
        "%2e%2e",
        "ü\u{202e}",
        "\u{fffd}",
    ];
    for key in tricks {
        let target = format!("/bucket/{}", path(key));
        s3.put(&target, key).expect(200);
        assert_eq!(s3.get(&target).expect(200).text(), key);
    }
    assert_eq!(s3.get("/other/key").expect(200).text(), "not yours");
    let listed = s3.get("/bucket?list-type=2&encoding-type=url").expect(200);
    assert_eq!(listed.all_xml("Key").len(), tricks.len() + 1);
    for key in tricks {
        s3.call("DELETE", &format!("/bucket/{}", path(key))).expect(204);
    }
    for target in [
        "/bucket/%ff",
        "/bucket/%c0%af",
        "/bucket/a%ed%a0%80",
        "/%2e%2e/key",
        "/..%2fother/key",
        "/ab/key",
        "/UPPER/key",
        "/-a-/key",
        "/a..b/key",
        "/192.168.0.1/key",
    ] {
        let status = s3.put(target, "x").status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    let long = "k".repeat(1024);
    s3.put(&format!("/bucket/{long}"), "x").expect(200);
    s3.call("DELETE", &format!("/bucket/{long}")).expect(204);
    s3.put(&format!("/bucket/{long}k"), "x").refused(400, "KeyTooLongError");
    assert_untouched(&running);
    running.stop();
}

#[test]
fn who_is_slow_is_left_and_holds_up_nobody() {
    let dir = dir();
    let settings =
        "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"\nconnections = 64\nthreads = 4";
    let running = start_with(dir.path(), settings);
    let s3 = &running.client;
    filled(s3);
    s3.put("/bucket/large", bytes(32 << 20)).expect(200);
    let call = Call::new("PUT", "/bucket/new").payload("UNSIGNED-PAYLOAD");
    let (head, _) = s3.signed(&call.header("content-length", "10000000"), &amz_date(0));
    let (get, _) = s3.signed(&Call::new("GET", "/bucket/large"), &amz_date(0));
    // More than there are threads for: in the header, in a body, not reading.
    let mut slow = Vec::new();
    for _ in 0..10 {
        for begun in [&b"GET / HT"[..], &[&head[..], &[0; 300 << 10]].concat(), &get] {
            let mut stream = s3.connect();
            stream.write_all(begun).unwrap();
            slow.push(stream);
        }
    }
    let asked = Instant::now();
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "value");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // All are gone, without being asked to.
    let ends = Instant::now() + Duration::from_secs(20);
    for mut stream in slow {
        let mut buffer = [0; 64 << 10];
        std::thread::sleep(Duration::from_millis(100));
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
            assert!(Instant::now() < ends, "a slow one is served for ever");
        }
    }
    s3.get("/bucket/new").refused(404, "NoSuchKey");
    running.stop();
}

#[test]
fn idle_connections_are_many_at_no_cost() {
    let dir = dir();
    let settings = "[limits]\nheader_timeout = \"2s\"\nconnections = 4000";
    let running = start_with(dir.path(), settings);
    let s3 = &running.client;
    filled(s3);
    let before = resident_bytes(&running);
    let idle: Vec<_> =
        (0..800).filter_map(|_| std::net::TcpStream::connect(s3.address).ok()).collect();
    assert_eq!(idle.len(), 800);
    assert_eq!(s3.get("/bucket/key").expect(200).text(), "value");
    let each = resident_bytes(&running).saturating_sub(before) / 800;
    assert!(each < 64 << 10, "{each} bytes for each");
    let mut last = idle.into_iter().next_back().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(last.read(&mut [0]), Ok(0) | Err(_)));
    running.stop();
}

#[test]
fn a_body_of_any_length_takes_little_memory() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    let before = resident_bytes(&running);
    let len = 192 << 20;
    let call = Call::new("PUT", "/bucket/huge").payload("UNSIGNED-PAYLOAD");
    let (head, _) = s3.signed(&call.header("content-length", &len.to_string()), &amz_date(0));
    let mut stream = s3.connect();
    stream.write_all(&head).unwrap();
    let piece = vec![7; 1 << 20];
    for _ in 0..192 {
        stream.write_all(&piece).unwrap();
    }
    read_reply(&mut stream, true).unwrap().expect(200);
    let taken = resident_bytes(&running).saturating_sub(before);
    assert!(taken < 96 << 20, "{taken}");
    s3.call("DELETE", "/bucket/huge").expect(204);
    assert_untouched(&running);
    running.stop();
}

/// Memory of its own, without what is mapped of files.
fn resident_bytes(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn random_bytes_are_no_requests() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    filled(s3);
    let call = Call::new("PUT", "/bucket/new").header("x-amz-meta-a", "b").body("0123456789");
    let (good, _) = s3.signed(&call, &amz_date(0));
    let mut random = 1u64;
    let mut next = |below: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..300 {
        let mut request = good.clone();
        for _ in 0..1 + next(3) {
            let at = next(request.len());
            match next(3) {
                0 => request[at] = next(256) as u8,
                1 => drop(request.drain(at..(at + next(20)).min(request.len()))),
                _ => request.insert(at, next(256) as u8),
            }
        }
        // The connection is closed for writing: what is cut short does not wait.
        let mut stream = s3.connect();
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        if let Some(reply) = read_reply(&mut stream, true) {
            assert_ne!(reply.status, 500, "{}", String::from_utf8_lossy(&request));
        }
    }
    // A change that is no part of what was signed may have put it, whole.
    let new = s3.get("/bucket/new");
    assert!(new.status == 404 || new.text() == "0123456789");
    s3.call("DELETE", "/bucket/new").expect(204);
    running.stop();
}
