//! What no client of good will sends. Each case has an answer that is an error, or a connection that
//! ends; none leaves anything behind, and none makes the server panic ([`Running::stop`] looks).
//!
//! [`Running::stop`]: crate::running::Running::stop

mod bodies;
mod forms;
mod headers;
mod presigned;
mod signatures;
mod slow;
mod xml;

use std::io::Write;

use crate::client::{Call, Client, amz_date, path, read_reply};
use crate::running::{Running, dir, start};

/// Fails where anything but an error came.
#[track_caller]
fn assert_refused(s3: &Client, request: &[u8], what: &str) {
    if let Some(reply) = s3.try_exchange(request) {
        assert!((400..600).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
        assert_ne!(reply.status, 500, "{what}: {}", reply.text());
        reply.assert_told();
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
            reply.assert_told();
        }
    }
    // A change that is no part of what was signed may have put it, whole.
    let new = s3.get("/bucket/new");
    assert!(new.status == 404 || new.text() == "0123456789");
    s3.call("DELETE", "/bucket/new").expect(204);
    running.stop();
}
