//! Starting, stopping, and what is told of it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::client::{Call, Client, amz_date, read_reply};
use crate::objects::bytes;
use crate::running::{SERVER, dir, start, start_by, start_with};
use crate::uploads::{SMALL_PARTS, begin};

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
    let second = run(&dir.path().join("data"), &[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("kogia-server:"));
    running.stop();
}

/// One that is not expected to go on.
fn run(dir: &Path, args: &[&str]) -> Output {
    let addresses = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    Command::new(SERVER).arg(dir).args(addresses).args(args).output().unwrap()
}

/// All that is in a directory, and below it.
fn tree(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.extend(if path.is_dir() { tree(&path) } else { Vec::new() });
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn what_is_neither_new_nor_empty_nor_a_servers_is_refused_and_stays_as_it_is() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    start(dir.path()).stop();
    kogia::Store::open(at("store")).unwrap().close().unwrap();
    kogia::queue::Queue::open(at("queue")).unwrap().close().unwrap();
    std::fs::create_dir(at("photos")).unwrap();
    std::fs::write(at("photos/cat.jpg"), "cat").unwrap();
    std::fs::write(at("file"), "x").unwrap();
    let before = tree(dir.path());
    for (name, why) in [
        ("store", "a store, for the kogia commands; give a new or empty directory"),
        ("queue", "a queue; give a new or empty directory"),
        ("data/partitions", "neither empty nor a server's data"),
        ("data/partitions", "data: give that"),
        ("data/partitions/0", "data: give that"),
        ("data/tracks", "data: give that"),
        ("photos", "\"cat.jpg\" is in it; give a new or empty directory"),
        ("file", "Not a directory"),
    ] {
        let refused = run(&at(name), &[]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {told}");
        assert!(told.contains(why), "{name}: {told}");
        assert!(refused.stdout.is_empty());
        assert_eq!(tree(dir.path()), before, "{name}");
    }
    start(dir.path()).stop();
}

#[test]
fn what_the_settings_name_may_lie_in_a_new_data_directory() {
    let dir = dir();
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("mnt/a")).unwrap();
    std::fs::create_dir(data.join("lost+found")).unwrap();
    let disk = format!("disks = [{:?}]", data.join("mnt/a"));
    start_with(dir.path(), &disk).stop();
    start_with(dir.path(), "").stop();
}

#[test]
fn settings_that_make_no_sense_end_it_with_2_before_anything_is_made_or_told() {
    let dir = dir();
    let (data, file) = (dir.path().join("data"), dir.path().join("settings.toml"));
    let in_file = file.to_str().unwrap();
    for (settings, args, why) in [
        ("", &["--memory", "256"][..], "memory of 2 partitions: "),
        ("", &["--memory", "much"], "--memory"),
        ("", &["--partitions", "0"], "partitions: 1 to 1024, not 0"),
        ("", &["--listen", "localhost"], "as 127.0.0.1:9000"),
        ("memory = 5", &["--config", in_file], "memory of 2 partitions: "),
        ("domain = 'foo bar'", &["--config", in_file], "domain: "),
        ("unknown = 1", &["--config", in_file], "unknown"),
        ("", &["--config", "/nowhere/settings.toml"], "/nowhere/settings.toml"),
    ] {
        std::fs::write(&file, settings).unwrap();
        let refused = match args.contains(&"--listen") {
            true => Command::new(SERVER).arg(&data).args(args).output().unwrap(),
            false => run(&data, args),
        };
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{settings} {args:?}: {told}");
        assert!(told.contains(why), "{settings} {args:?}: {told}");
        assert!(refused.stdout.is_empty() && !data.exists());
    }
}

/// The server stood still for ever: copies waited for the bucket on all threads that may block, and whoever
/// was about to change its settings for one of those.
#[test]
fn on_one_thread_copies_and_changes_of_settings_come_to_their_end() {
    let dir = dir();
    let running = start_with(dir.path(), &format!("{SMALL_PARTS}\nthreads = 1"));
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.put("/bucket/source", bytes(400_000)).expect(200);
    let upload = begin(s3, "/bucket/parts");
    let part = format!("/bucket/parts?partNumber=1&uploadId={upload}");
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    std::thread::scope(|scope| {
        for target in ["/bucket/one", "/bucket/other", &part] {
            scope.spawn(move || {
                for _ in 0..40 {
                    let copy = Call::new("PUT", target);
                    s3.send(&copy.header("x-amz-copy-source", "/bucket/source")).expect(200);
                }
            });
        }
        scope.spawn(|| (0..80).for_each(|_| drop(s3.put("/bucket?tagging", tags).expect(200))));
        scope.spawn(|| (0..40).for_each(|_| drop(s3.put("/bucket/put", "x").expect(200))));
    });
    assert!(s3.get("/bucket/other").expect(200).body == bytes(400_000));
    running.stop();
}

/// The deletion of a bucket that a disk failed in turned up at the next start, and what was acknowledged
/// until then was swept. So nothing is.
#[test]
fn a_bucket_takes_nothing_more_where_it_is_not_known_whether_it_was_deleted() {
    let dir = dir();
    // Where no file may grow, a write is an error and not the end.
    let mut shell = Command::new("sh");
    let words = "trap '' XFSZ; KOGIA_SERVER_LOG=off exec \"$0\" \"$@\"";
    shell.args(["-c", words, SERVER]);
    let running = start_by(shell, dir.path(), "");
    let s3 = &running.client;
    // The catalogue is in the partition of the first.
    s3.put("/first", "").expect(200);
    s3.put("/second", "").expect(200);
    let limit = |current| {
        let limit = Rlimit { current, maximum: None };
        prlimit(Some(Pid::from_child(&running.child)), Resource::Fsize, limit).unwrap();
    };
    limit(Some(0));
    s3.call("DELETE", "/second").expect(503);
    limit(None);
    s3.put("/second/key", "x").refused(503, "ServiceUnavailable");
    running.kill();
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

#[test]
fn where_the_address_is_taken_nothing_is_made() {
    let dir = dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [
        ["--listen", &address, "--admin", "127.0.0.1:0"],
        ["--admin", &address, "--listen", "127.0.0.1:0"],
    ] {
        let run = Command::new(SERVER).arg(dir.path().join("data")).args(flags).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(!run.status.success() && said.contains("give another address"), "{said}");
        assert!(!dir.path().join("data").exists());
    }
}

#[test]
fn the_log_says_why_a_request_was_refused_and_what_is_not_done_is_no_failure() {
    let dir = dir();
    let mut shell = Command::new("sh");
    shell.args(["-c", "KOGIA_SERVER_LOG=info exec \"$0\" \"$@\"", SERVER]);
    let running = start_by(shell, dir.path(), "");
    let s3 = &running.client;
    s3.put("/bucket", "").expect(200);
    s3.call("DELETE", "/bucket/key?annotation").refused(501, "NotImplemented");
    s3.get("/bucket/absent").refused(404, "NoSuchKey");
    let counted = crate::admin::get(&running.admin, "/api/counters");
    assert_eq!(
        (&counted["failed"], counted["requests"].as_u64() >= Some(3)),
        (&0.into(), true),
        "{counted}"
    );
    running.stop();
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let says = |what: &[&str]| log.lines().any(|line| what.iter().all(|word| line.contains(word)));
    assert!(says(&["501", "NotImplemented: This server does not do", "annotation"]), "{log}");
    assert!(says(&["404", "NoSuchKey: "]) && !log.contains("a request failed"), "{log}");
}
