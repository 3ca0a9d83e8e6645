//! Moving buckets between partitions, in use and across SIGKILL.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{self, done};
use crate::client::{Call, Client, Reply, amz_date, read_reply};
use crate::objects::bytes;
use crate::running::{dir, start, start_with};
use crate::uploads::{SMALL_PARTS, begin, complete, part};

fn move_to(admin: &Client, partition: u32) -> Value {
    done(admin, "move-bucket", &json!({ "bucket": "bucket", "partition": partition }))
}

fn partition_of(admin: &Client) -> u64 {
    let told = admin::get(admin, "/api/buckets");
    let mut buckets = told["buckets"].as_array().unwrap().iter();
    buckets.find(|bucket| bucket["name"] == "bucket").unwrap()["partition"].as_u64().unwrap()
}

/// Rows in each partition, and whether all of it is sound.
fn rows(admin: &Client) -> Vec<u64> {
    let checked = done(admin, "verify", &json!({}));
    assert_eq!(checked["state"], "done", "{checked}");
    assert_eq!(checked["result"]["problems"], json!([]), "{checked}");
    let told = admin::get(admin, "/api/stats");
    let partitions = told["partitions"].as_array().unwrap().iter();
    partitions.map(|partition| partition["objects"].as_u64().unwrap()).collect()
}

/// What a client sees of an object.
fn seen(reply: &Reply) -> (Vec<u8>, Vec<Option<String>>) {
    let names =
        ["etag", "last-modified", "content-type", "x-amz-meta-camera", "x-amz-tagging-count"];
    let header = |name: &&str| reply.header(name).map(str::to_owned);
    (reply.body.clone(), names.iter().map(header).collect())
}

#[test]
fn all_that_a_bucket_has_is_moved_and_nothing_stays_behind() {
    let dir = dir();
    let running = start_with(dir.path(), SMALL_PARTS);
    let (s3, admin) = (&running.client, &running.admin);
    s3.put("/bucket", "").expect(200);
    s3.put("/other", "").expect(200);
    s3.put("/other/key", "other").expect(200);
    let with = |target: &str, body: Vec<u8>| {
        let call = Call::new("PUT", target).header("x-amz-meta-camera", "7").body(body);
        s3.send(&call.header("content-type", "video/mp2t").header("x-amz-tagging", "a=1"))
    };
    let targets = ["/bucket/small", "/bucket/large", "/bucket/deep/er/key", "/bucket/empty"];
    for (target, len) in targets.iter().zip([100, 3 << 20, 70_000, 0]) {
        with(target, bytes(len)).expect(200);
    }
    let tags = "<Tagging><TagSet><Tag><Key>b</Key><Value>2</Value></Tag><Tag><Key>c</Key>\
                <Value>3</Value></Tag></TagSet></Tagging>";
    s3.put("/bucket/small?tagging", tags).expect(200);
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.put("/bucket?versioning", on).expect(200);
    s3.put("/bucket/kept", "first").expect(200);
    s3.put("/bucket/kept", bytes(200_000)).expect(200);
    s3.put("/bucket/kept?tagging", tags).expect(200);
    s3.call("DELETE", "/bucket/large").expect(204);
    let upload = begin(s3, "/bucket/uploaded");
    let pieces = [bytes(150_000), bytes(1000)];
    let first = part(s3, "/bucket/uploaded", &upload, 1, pieces[0].clone());

    let before = rows(admin);
    let objects = ["/bucket/small", "/bucket/deep/er/key", "/bucket/empty", "/bucket/kept"];
    let look = || {
        let versions = s3.get("/bucket?versions").expect(200).text();
        let mut all = vec![(versions.into_bytes(), Vec::new())];
        all.extend(objects.map(|target| seen(&s3.get(target).expect(200))));
        all.extend(objects.map(|target| seen(&s3.get(&format!("{target}?tagging")).expect(200))));
        all
    };
    let expected = look();
    assert_eq!(partition_of(admin), 0);
    let planned = json!({ "bucket": "bucket", "partition": 1, "dry_run": true });
    let planned = done(admin, "move-bucket", &planned);
    assert!(planned["result"]["bytes"].as_u64().unwrap() > 3 << 20, "{planned}");
    assert_eq!(rows(admin), before);
    let moved = move_to(admin, 1);
    assert_eq!((&moved["state"], &moved["result"]["swept"]), (&json!("done"), &json!(true)));
    assert_eq!(partition_of(admin), 1);
    assert!(look() == expected);
    let after = rows(admin);
    assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>());
    // The catalogue alone: two buckets, their number, settings of one.
    assert_eq!((after[0], after[1] > before[1]), (4, true), "{before:?}, then {after:?}");

    // It goes on there, and across a start.
    let second = part(s3, "/bucket/uploaded", &upload, 2, pieces[1].clone());
    running.stop();
    let running = start_with(dir.path(), SMALL_PARTS);
    let (s3, admin) = (&running.client, &running.admin);
    complete(s3, "/bucket/uploaded", &upload, &[(1, first), (2, second)]).expect(200);
    assert!(s3.get("/bucket/uploaded").expect(200).body == pieces.concat());
    assert_eq!(s3.get("/other/key").expect(200).text(), "other");
    assert_eq!(move_to(admin, 0)["state"], "done");
    assert!(s3.get("/bucket/uploaded").expect(200).body == pieces.concat());
    assert_eq!(s3.get("/bucket?versions").expect(200).all_xml("Version").len(), 7);
    rows(admin);
    running.stop();
}

#[test]
fn what_makes_no_sense_is_refused_before_it_begins() {
    let dir = dir();
    let running = start(dir.path());
    running.client.put("/bucket", "").expect(200);
    let refused = |body: Value, status: u16| {
        admin::send(&running.admin, "POST", "/api/move-bucket", &body.to_string()).expect(status);
    };
    refused(json!({ "bucket": "nobody", "partition": 1 }), 404);
    refused(json!({ "bucket": "bucket", "partition": 2 }), 404);
    refused(json!({ "bucket": "bucket", "partition": 0 }), 400);
    refused(json!({ "bucket": "bucket", "partition": 1, "bytes_per_second": 0 }), 400);
    refused(json!({ "bucket": "bucket" }), 400);
    running.client.put("/bucket/key", bytes(1 << 20)).expect(200);
    // One that would take days is in a backup's way, and leaves nothing when it is cancelled.
    let slow = json!({ "bucket": "bucket", "partition": 1, "bytes_per_second": 1 });
    let begun = admin::send(&running.admin, "POST", "/api/move-bucket", &slow.to_string());
    let place = begun.expect(202).header("location").unwrap().to_owned();
    let backup = json!({ "dir": dir.path().join("backup") }).to_string();
    admin::send(&running.admin, "POST", "/api/backup", &backup).expect(409);
    admin::wait_for_bytes(&running.admin, &place);
    admin::send(&running.admin, "DELETE", &place, "").expect(200);
    let job = admin::wait(&running.admin, &place);
    let told = (&job["state"], &job["result"]["stopped"], &job["result"]["moved"]);
    assert_eq!(told, (&json!("cancelled"), &json!(true), &json!(false)), "{job}");
    assert!(job["result"]["bytes"].as_u64() > Some(0), "{job}");
    assert_eq!((partition_of(&running.admin), rows(&running.admin)[1]), (0, 0));
    assert!(running.client.get("/bucket/key").expect(200).body == bytes(1 << 20));
    running.stop();
}

/// Sends a request until something else than "try again" is answered, as clients do; `None` where the
/// server is gone.
fn insist(s3: &Client, method: &str, target: &str, body: &[u8]) -> Option<Reply> {
    loop {
        let (request, _) = s3.signed(&Call::new(method, target).body(body), &amz_date(0));
        let mut stream = std::net::TcpStream::connect(s3.address).ok()?;
        stream.write_all(&request).ok()?;
        let reply = read_reply(&mut stream, true)?;
        if reply.status != 503 {
            return Some(reply);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What one client did last to its keys: whether each is there, and how long it is.
type Done = Mutex<BTreeMap<String, Option<usize>>>;

/// Puts and deletes, until it is told to stop or the server is gone. A key of which the outcome is not
/// known is forgotten.
fn work(s3: &Client, client: usize, stop: &AtomicBool, told: &Done) {
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{client}/{}", round % 23);
        let len = [50, 5000, 90_000, 300_000][round % 4] + round;
        let target = format!("/bucket/{key}");
        let deletes = round % 5 == 4;
        told.lock().unwrap().remove(&key);
        let reply = match deletes {
            true => insist(s3, "DELETE", &target, b""),
            false => insist(s3, "PUT", &target, &bytes(len)),
        };
        let Some(reply) = reply else { return };
        assert!([200, 204].contains(&reply.status), "{}", reply.text());
        told.lock().unwrap().insert(key, (!deletes).then_some(len));
    }
}

fn assert_done(s3: &Client, told: &Done) {
    for (key, len) in &*told.lock().unwrap() {
        let reply = s3.get(&format!("/bucket/{key}"));
        match len {
            Some(len) => assert!(reply.expect(200).body == bytes(*len), "{key}"),
            None => drop(reply.refused(404, "NoSuchKey")),
        }
    }
}

#[test]
fn a_bucket_in_use_is_moved_to_and_fro_and_no_client_sees_it() {
    let dir = dir();
    let running = start(dir.path());
    let (s3, admin) = (&running.client, &running.admin);
    s3.put("/bucket", "").expect(200);
    for n in 0..200 {
        s3.put(&format!("/bucket/kept/{n}"), bytes(1000 + n)).expect(200);
    }
    let (stop, reads, told) = (AtomicBool::new(false), AtomicU64::new(0), Done::default());
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (stop, told) = (&stop, &told);
            scope.spawn(move || work(s3, client, stop, told));
        }
        scope.spawn(|| {
            for n in (0..200).cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let got = s3.get(&format!("/bucket/kept/{n}")).expect(200);
                assert!(got.body == bytes(1000 + n));
                let listed = s3.get("/bucket?list-type=2&max-keys=500&prefix=kept%2F").expect(200);
                assert_eq!(listed.all_xml("Key").len(), 200);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        for to in [1, 0, 1, 0] {
            let moved = move_to(admin, to);
            assert_eq!(moved["state"], "done", "{moved}");
            assert_eq!(moved["result"]["swept"], true, "{moved}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(reads.load(Ordering::Relaxed) > 10);
    assert_done(s3, &told);
    assert_eq!(rows(admin)[1], 0);
    running.stop();
}

#[test]
fn a_kill_during_a_move_loses_nothing_and_leaves_no_rows_twice() {
    let dir = dir();
    let told = Done::default();
    let mut moves = 0;
    for round in 0..8 {
        let running = start(dir.path());
        let (s3, admin) = (&running.client, &running.admin);
        if round == 0 {
            s3.put("/bucket", "").expect(200);
        }
        assert_done(s3, &told);
        let to = 1 - partition_of(admin);
        assert_eq!(rows(admin)[to as usize], if to == 1 { 0 } else { 2 }, "round {round}");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (stop, told) = (&stop, &told);
                scope.spawn(move || work(s3, client, stop, told));
            }
            std::thread::sleep(Duration::from_millis(150));
            let body = json!({ "bucket": "bucket", "partition": to }).to_string();
            admin::send(admin, "POST", "/api/move-bucket", &body).expect(202);
            std::thread::sleep(Duration::from_millis(17 * round));
            moves += u32::from(partition_of(admin) == to);
            let pid = rustix::process::Pid::from_child(&running.child);
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        running.kill();
    }
    let running = start(dir.path());
    assert_done(&running.client, &told);
    assert!(moves < 8, "every move was done before its kill");
    running.stop();
}
