//! Headers, methods and queries that are broken or huge.

use super::{assert_refused, assert_untouched, filled};
use crate::client::{Call, amz_date};
use crate::running::{dir, start_with};

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
    ] {
        assert_refused(s3, &signed(name, value), &format!("{name}: {value}"));
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
