//! Bodies in chunks, signed and unsigned, with digests behind them, and URLs that are signed.

use std::io::Write;

use crate::client::{Call, Client, Reply, amz_date, hex, hmac, sha256};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};

/// A body in signed chunks.
pub fn signed_chunks(
    s3: &Client,
    target: &str,
    body: &[u8],
    chunk_bytes: usize,
    spoil: impl Fn(&mut Vec<u8>),
) -> Reply {
    let date = amz_date(0);
    let call = Call::new("PUT", target)
        .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &body.len().to_string())
        .header("transfer-encoding", "chunked");
    let (head, mut signature) = s3.signed(&call, &date);
    let mut framed = Vec::new();
    for chunk in body.chunks(chunk_bytes).chain([&[][..]]) {
        let rest = format!("{signature}\n{}\n{}", sha256(b""), sha256(chunk));
        signature = s3.sign(&date, "AWS4-HMAC-SHA256-PAYLOAD", &rest);
        framed.extend_from_slice(
            format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes(),
        );
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    spoil(&mut framed);
    s3.exchange(&[head, http_chunks(&framed)].concat())
}

/// A body in unsigned chunks, with a trailer.
pub fn unsigned_chunks(
    s3: &Client,
    target: &str,
    body: &[u8],
    announced: usize,
    trailer: &str,
) -> Reply {
    let call = Call::new("PUT", target)
        .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &announced.to_string())
        .header("x-amz-trailer", trailer.split(':').next().unwrap())
        .header("transfer-encoding", "chunked");
    let (head, _) = s3.signed(&call, &amz_date(0));
    let mut framed = Vec::new();
    for chunk in body.chunks(64 << 10) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    s3.exchange(&[head, http_chunks(&framed)].concat())
}

/// HTTP's own chunks, of another size than those within.
pub fn http_chunks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in bytes.chunks(10_007) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[test]
fn chunks_that_are_signed_are_put_and_others_are_not() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    for len in [0, 1, 100_000, 600_000] {
        let body = bytes(len);
        signed_chunks(s3, "/bucket/key", &body, 64 << 10, |_| {}).expect(200);
        let got = s3.get("/bucket/key").expect(200);
        assert!(got.body == body);
        assert_eq!(got.header("content-encoding"), None);
    }
    let body = bytes(600_000);
    let before = s3.get("/bucket/key").header("etag").unwrap().to_owned();
    let middle = 300_000;
    let spoilt = signed_chunks(s3, "/bucket/key", &body, 64 << 10, |framed| framed[middle] ^= 1);
    assert_eq!(spoilt.status, 400, "{}", spoilt.text());
    let cut = signed_chunks(s3, "/bucket/key", &body, 64 << 10, |framed| framed.truncate(middle));
    assert_eq!(cut.status, 400, "{}", cut.text());
    assert_eq!(s3.get("/bucket/key").header("etag"), Some(&*before));
    running.stop();
}

#[test]
fn a_digest_behind_the_body_counts() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let digits = b"123456789";
    let good = unsigned_chunks(s3, "/bucket/key", digits, 9, "x-amz-checksum-crc32:y/Q5Jg==");
    assert_eq!(good.expect(200).header("x-amz-checksum-crc32"), Some("y/Q5Jg=="));
    assert_eq!(s3.get("/bucket/key").text(), "123456789");
    unsigned_chunks(s3, "/bucket/bad", digits, 9, "x-amz-checksum-crc32:AAAAAA==")
        .refused(400, "BadDigest");
    unsigned_chunks(s3, "/bucket/bad", digits, 9, "x-amz-checksum-crc32:rubbish")
        .refused(400, "MalformedTrailerError");
    unsigned_chunks(s3, "/bucket/bad", digits, 8, "x-amz-checksum-crc32:y/Q5Jg==")
        .refused(400, "IncompleteBody");
    unsigned_chunks(s3, "/bucket/bad", digits, 10, "x-amz-checksum-crc32:y/Q5Jg==")
        .refused(400, "IncompleteBody");
    s3.get("/bucket/bad").refused(404, "NoSuchKey");
    running.stop();
}

#[test]
fn a_url_that_is_signed_is_good_for_what_and_while_it_says() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let put = s3.presigned("PUT", "/bucket/key", 60, &amz_date(0));
    s3.send_unsigned(&Call::new("PUT", &put).body("by url")).expect(200);
    let get = s3.presigned("GET", "/bucket/key", 60, &amz_date(0));
    assert_eq!(s3.send_unsigned(&Call::new("GET", &get)).expect(200).text(), "by url");
    // For another method, another key, too late, too early, spoilt.
    s3.send_unsigned(&Call::new("DELETE", &get)).refused(403, "SignatureDoesNotMatch");
    let other = get.replace("/key?", "/other?");
    s3.send_unsigned(&Call::new("GET", &other)).refused(403, "SignatureDoesNotMatch");
    let late = s3.presigned("GET", "/bucket/key", 60, &amz_date(-61));
    s3.send_unsigned(&Call::new("GET", &late)).refused(403, "AccessDenied");
    let early = s3.presigned("GET", "/bucket/key", 60, &amz_date(3600));
    s3.send_unsigned(&Call::new("GET", &early)).refused(403, "RequestTimeTooSkewed");
    let longer = get.replace("Expires=60", "Expires=600");
    s3.send_unsigned(&Call::new("GET", &longer)).refused(403, "SignatureDoesNotMatch");
    // An old kind of signature, and not a good one.
    let to_sign = "GET\n\n\n9999999999\n/bucket/key";
    let old = hex(&hmac(s3.secret_key.as_bytes(), to_sign.as_bytes()));
    let old =
        format!("/bucket/key?AWSAccessKeyId={}&Expires=9999999999&Signature={old}", s3.access_key);
    s3.send_unsigned(&Call::new("GET", &old)).refused(403, "SignatureDoesNotMatch");
    running.stop();
}

/// Symptom: what ffmpeg writes by PUT (a playlist, its segments) was not there, and the log said that it
/// was put. Cause: it hangs up when it has sent all, and the put was dropped with its connection. Rule: a
/// body that has come whole is carried out, whoever waits for the answer.
#[test]
fn who_hangs_up_when_all_is_sent_has_put_and_who_does_so_before_has_not() {
    let dir = dir();
    let settings = "anonymous = [{ bucket = \"bucket\", access = \"write\" }]";
    let running = start_with(dir.path(), settings);
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let body = bytes(300 << 10);
    for i in 0..20 {
        let mut stream = s3.connect();
        let head =
            format!("PUT /bucket/{i} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        // One in two is not whole.
        let end: &[u8] = if i % 2 == 0 { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        stream.write_all(end).unwrap();
    }
    for i in (0..20).step_by(2) {
        let there = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            s3.call("HEAD", &format!("/bucket/{i}")).status == 200
        });
        assert!(there && s3.get(&format!("/bucket/{i}")).expect(200).body == body, "{i}");
    }
    for i in (1..20).step_by(2) {
        s3.get(&format!("/bucket/{i}")).refused(404, "NoSuchKey");
    }
    running.stop();
}
