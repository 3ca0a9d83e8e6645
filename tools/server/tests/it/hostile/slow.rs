//! Clients that are slow, idle, or send much.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{assert_untouched, filled};
use crate::client::{Call, amz_date, read_reply};
use crate::objects::bytes;
use crate::running::{Running, dir, start, start_with};

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
