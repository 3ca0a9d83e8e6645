//! Starting, stopping, and what is told of it.

use std::io::Write;
use std::time::Duration;

use crate::client::{Call, Client, amz_date, read_reply};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};

fn ask(admin: &Client, path: &str) -> crate::client::Reply {
    admin.exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
}

#[test]
fn a_request_that_is_under_way_is_ended_well_when_the_server_stops() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = running.client.clone();
    s3.put("/bucket", "").expect(200);
    let body = bytes(1 << 20);
    let (request, _) = s3.signed(&Call::new("PUT", "/bucket/key").body(body.clone()), &amz_date(0));
    let mut stream = s3.connect();
    let half = request.len() / 2;
    stream.write_all(&request[..half]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let rest = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        stream.write_all(&request[half..]).unwrap();
        read_reply(&mut stream, true)
    });
    running.stop();
    rest.join().unwrap().expect("an answer").expect(200);
    let running = start(dir.path());
    assert!(running.client.get("/bucket/key").expect(200).body == body);
    running.stop();
}

#[test]
fn whoever_runs_it_can_see_how_it_does() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/key", bytes(1000)).expect(200);
    s3.get("/bucket/key").expect(200);
    s3.get("/bucket/absent").expect(404);
    assert_eq!(ask(&running.admin, "/health").expect(200).text(), "ok\n");
    assert_eq!(ask(&running.admin, "/ready").expect(200).text(), "ready\n");
    ask(&running.admin, "/bucket/key").expect(404);
    let metrics = ask(&running.admin, "/metrics").expect(200).text();
    for line in [
        "kogia_server_requests_total{operation=\"PutObject\",status=\"200\"} 1",
        "kogia_server_requests_total{operation=\"GetObject\",status=\"404\"} 1",
        "kogia_server_buckets 1",
        "kogia_server_received_bytes_total 1000",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    // Clients see nothing of it.
    assert_eq!(s3.send_unsigned(&Call::new("GET", "/metrics")).status, 403);
    running.stop();
}

#[test]
fn buckets_are_dealt_over_partitions_and_all_disks() {
    let dir = dir();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let settings = format!("disks = [{a:?}, {b:?}]\npartitions = 3");
    let running = start_with(dir.path(), &settings);
    let s3 = &running.client;
    for i in 0..6 {
        s3.put(&format!("/bucket-{i}"), "").expect(200);
        s3.put(&format!("/bucket-{i}/key"), bytes(100 * i)).expect(200);
    }
    running.stop();
    // Both disks have a folder for each partition, and all objects are there without being told of
    // the disks again; a further partition is added.
    for disk in [&a, &b] {
        let folders = std::fs::read_dir(disk)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir());
        assert_eq!(folders.count(), 3);
    }
    let running = start_with(dir.path(), "partitions = 4");
    for i in 0..6 {
        assert!(running.client.get(&format!("/bucket-{i}/key")).expect(200).body == bytes(100 * i));
    }
    running.stop();
}

#[test]
fn a_second_server_on_a_directory_is_refused() {
    let dir = dir();
    let running = start(dir.path());
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_kogia-server"))
        .arg(dir.path().join("data"))
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("kogia-server:"));
    running.stop();
}

/// Symptom: `aws s3 sync` stood still for a minute behind every empty file. Cause: an answer that comes
/// without having asked for the body makes botocore send nothing more on the connection. Rule: such a
/// connection is closed.
#[test]
fn a_client_that_waits_to_continue_and_is_not_told_to_gets_a_connection_that_ends() {
    let dir = dir();
    let running = start(dir.path());
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    let put = |target: &str, body: &str| {
        s3.send(&Call::new("PUT", target).header("expect", "100-continue").body(body))
    };
    assert_eq!(put("/bucket/empty", "").expect(200).header("connection"), Some("close"));
    assert_eq!(put("/bucket/full", "x").expect(200).header("connection"), None);
    assert_eq!(put("/absent/key", "x").expect(404).header("connection"), Some("close"));
    running.stop();
}
