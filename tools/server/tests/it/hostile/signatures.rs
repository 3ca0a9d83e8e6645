//! Signatures: wrong, expired, for something else.

use super::{assert_refused, assert_untouched, filled};
use crate::client::{Call, Client, amz_date, sha256};
use crate::running::{dir, start};

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
