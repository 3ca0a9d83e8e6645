//! Bodies whose lengths and chunks lie.

use super::{assert_refused, assert_untouched, filled};
use crate::client::{Call, amz_date};
use crate::objects::bytes;
use crate::running::{dir, start_with};
use crate::streams::{http_chunks, signed_chunks};

#[test]
fn lengths_that_lie_put_nothing() {
    let dir = dir();
    let running = start_with(
        dir.path(),
        "[limits]\nidle_timeout = \"1s\"\nput_bytes = \"1MiB\"\npart_bytes = \"1MiB\"",
    );
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
