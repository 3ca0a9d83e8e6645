//! The admin interface: who gets in, what is told, jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Call, Client, Reply, encode};
use crate::objects::bytes;
use crate::running::{Running, dir, start, start_with};

const LIMITED: &str = r#"
[[key]]
access_key = "LIMITED"
secret_key = "another-secret"
rule = [{ bucket = "*", access = "admin" }]
"#;

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", base64_simd::STANDARD.encode_to_string(format!("{name}:{secret}")))
}

/// With the credentials, and as JSON.
fn call<'a>(admin: &Client, method: &'a str, target: &str) -> Call<'a> {
    Call::new(method, target)
        .header("authorization", &basic(&admin.access_key, &admin.secret_key))
        .header("content-type", "application/json")
}

pub fn send(admin: &Client, method: &str, target: &str, body: &str) -> Reply {
    admin.send_unsigned(&call(admin, method, target).body(body))
}

pub fn get(admin: &Client, target: &str) -> Value {
    parse(&send(admin, "GET", target, "").expect(200))
}

pub fn parse(reply: &Reply) -> Value {
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// Starts a job, and waits for its end.
pub fn done(admin: &Client, kind: &str, body: &Value) -> Value {
    let started = send(admin, "POST", &format!("/api/{kind}"), &body.to_string()).expect(202);
    let place = started.header("location").expect("a place").to_owned();
    let id = parse(&started)["id"].clone();
    assert_eq!(place, format!("/api/jobs/{id}"));
    wait(admin, &place)
}

pub fn wait(admin: &Client, place: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let job = get(admin, place);
        if !job["ended_ms"].is_null() {
            return job;
        }
        assert!(Instant::now() < deadline, "{job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a job has done some of its work.
pub fn wait_for_bytes(admin: &Client, place: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while get(admin, place)["progress"]["done_bytes"] == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Puts objects into two buckets, which lie in both partitions, and deletes half of them.
fn fill(s3: &Client) {
    for bucket in ["bucket", "other"] {
        s3.put(&format!("/{bucket}"), "").expect(200);
        for number in 0..40 {
            s3.put(&format!("/{bucket}/{number}"), bytes(50_000)).expect(200);
        }
        for number in (0..40).step_by(2) {
            s3.call("DELETE", &format!("/{bucket}/{number}")).expect(204);
        }
    }
}

fn assert_whole(s3: &Client) {
    for bucket in ["bucket", "other"] {
        for number in 0..40 {
            let reply = s3.get(&format!("/{bucket}/{number}"));
            match number % 2 {
                0 => drop(reply.expect(404)),
                _ => assert!(reply.expect(200).body == bytes(50_000)),
            }
        }
    }
}

#[test]
fn nobody_gets_in_but_by_a_key_that_may_do_everything() {
    let dir = dir();
    let running = start_with(dir.path(), LIMITED);
    let admin = &running.admin;
    running.client.put("/bucket", "").expect(200);
    running.client.put("/bucket/key", "secret").expect(200);
    let targets = [
        "/",
        "/api/stats",
        "/api/counters",
        "/api/errors",
        "/api/jobs",
        "/api/buckets",
        "/api/objects?bucket=bucket",
        "/api/object?bucket=bucket&key=key",
        "/api/download?bucket=bucket&key=key",
    ];
    for target in targets {
        let refused = admin.send_unsigned(&Call::new("GET", target)).expect(401);
        assert!(refused.header("www-authenticate").unwrap().starts_with("Basic "));
        assert!(!refused.text().contains("secret\""), "{}", refused.text());
    }
    for path in [
        "compact",
        "verify",
        "backup",
        "drain",
        "rebalance",
        "move-bucket",
        "add-disk",
        "keep-disk",
    ] {
        let call = Call::new("POST", &format!("/api/{path}"))
            .header("content-type", "application/json")
            .body("{}");
        admin.send_unsigned(&call).expect(401);
    }
    for wrong in [
        basic("TESTKEY", "wrong"),
        basic("LIMITED", "another-secret"),
        basic("TESTKEY", ""),
        basic("", ""),
        "Basic".into(),
        "Basic !".into(),
        "Basic VEVTVEtFWQ==".into(),
        "Bearer x".into(),
    ] {
        let call = Call::new("GET", "/api/stats").header("authorization", &wrong);
        admin.send_unsigned(&call).expect(401);
    }
    assert_eq!(get(admin, "/api/jobs"), json!({ "jobs": [] }));
    running.stop();
}

#[test]
fn pages_of_other_origins_can_do_nothing() {
    let dir = dir();
    let running = start(dir.path());
    let admin = &running.admin;
    let own = format!("http://{}", admin.address);
    let post = |name: &str, value: &str| {
        admin.send_unsigned(&call(admin, "POST", "/api/verify").header(name, value).body("{}"))
    };
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        post(name, value).expect(403);
        let read = call(admin, "GET", "/api/buckets").header(name, value);
        admin.send_unsigned(&read).expect(403);
    }
    // A form can be of these, whoever wrote it.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let form = Call::new("POST", "/api/verify")
            .header("authorization", &basic(&admin.access_key, &admin.secret_key))
            .header("content-type", kind)
            .body("{}");
        admin.send_unsigned(&form).expect(415);
    }
    let preflight = Call::new("OPTIONS", "/api/verify").header("origin", "http://evil.example");
    let refused = admin.send_unsigned(&preflight).expect(403);
    assert_eq!(refused.header("access-control-allow-origin"), None);
    assert_eq!(get(admin, "/api/jobs"), json!({ "jobs": [] }));
    post("origin", &own).expect(202);
    running.stop();
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_comes_of_it() {
    let dir = dir();
    let running = start(dir.path());
    let admin = &running.admin;
    running.client.put("/bucket", "").expect(200);
    let long = format!("{{\"disk\": \"{}\"}}", "x".repeat(100_000));
    for (target, body, status) in [
        ("/api/compact", "{", 400),
        ("/api/compact", "[]", 400),
        ("/api/compact", "\u{0}", 400),
        ("/api/compact", "{\"tracks\": [1]}", 400),
        ("/api/compact", "{\"tracks\": [4000000000], \"partition\": 0}", 400),
        ("/api/compact", "{\"tracks\": [-1], \"partition\": 0}", 400),
        ("/api/compact", "{\"partition\": 2}", 404),
        ("/api/compact", "{\"min_garbage\": 7}", 400),
        ("/api/compact", "{\"bytes_per_second\": 0}", 400),
        ("/api/compact", "{\"disks\": [\"nowhere\"]}", 400),
        ("/api/compact", "{\"what\": 1}", 400),
        ("/api/drain", "{}", 400),
        ("/api/drain", "{\"disk\": \"\"}", 400),
        ("/api/drain", &long, 400),
        ("/api/keep-disk", "{\"disk\": \"0000\"}", 400),
        ("/api/add-disk", "{\"dir\": \"relative\"}", 400),
        ("/api/add-disk", "{\"dir\": \"/proc/none\"}", 500),
        ("/api/backup", "{\"dir\": \"relative\"}", 400),
        ("/api/backup", "{\"dir\": \"/tmp/../etc\"}", 400),
        ("/api/backup", "{\"dir\": \"/tmp/x\", \"mode\": \"steal\"}", 400),
        ("/api/nothing", "{}", 404),
    ] {
        let reply = send(admin, "POST", target, body);
        assert_eq!(reply.status, status, "{target} {body}: {}", reply.text());
        assert!(parse(&reply)["error"]["message"].as_str().is_some_and(|what| !what.is_empty()));
    }
    for (method, target, status) in [
        ("GET", "/api/compact", 405),
        ("PUT", "/api/jobs", 405),
        ("DELETE", "/api/stats", 405),
        ("POST", "/", 405),
        ("GET", "/api/jobs/1", 404),
        ("DELETE", "/api/jobs/1", 404),
        ("GET", "/api/jobs/x", 404),
        ("GET", "/api/jobs/-1", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/objects", 400),
        ("GET", "/api/objects?bucket=absent", 404),
        ("GET", "/api/objects?bucket=bucket&max_keys=0", 400),
        ("GET", "/api/objects?bucket=bucket&max_keys=x", 400),
        ("GET", "/api/objects?bucket=bucket&what=1", 400),
        ("GET", "/api/object?bucket=bucket", 400),
        ("GET", "/api/object?bucket=bucket&key=absent", 404),
        ("GET", "/api/download?bucket=bucket&key=absent", 404),
    ] {
        let reply = send(admin, method, target, "");
        assert_eq!(reply.status, status, "{method} {target}: {}", reply.text());
    }
    assert_eq!(get(admin, "/api/jobs"), json!({ "jobs": [] }));
    running.stop();
}

#[test]
fn a_compaction_goes_over_all_partitions_and_objects_stay() {
    let dir = dir();
    let running = start(dir.path());
    let admin = &running.admin;
    fill(&running.client);
    let stats = get(admin, "/api/stats");
    let partitions = stats["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 2);
    for partition in partitions {
        assert!(partition["objects"].as_u64() >= Some(20), "{partition}");
        assert!(!partition["tracks"].as_array().expect("tracks").is_empty());
        assert!(partition["disks"][0]["size_bytes"].as_u64() > Some(0), "{partition}");
    }
    let plan = done(admin, "compact", &json!({ "dry_run": true, "min_garbage": 0 }));
    assert_eq!((&plan["state"], &plan["result"]["dry_run"]), (&json!("done"), &json!(true)));
    let job = done(admin, "compact", &json!({ "min_garbage": 0 }));
    assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &json!("compact")));
    assert_eq!(job["result"]["stopped"], false, "{job}");
    assert_whole(&running.client);
    assert_eq!(get(admin, "/api/jobs")["jobs"].as_array().map(Vec::len), Some(2));
    let found = done(admin, "verify", &json!({}));
    assert_eq!(found["result"]["problems"], json!([]), "{found}");
    assert!(found["result"]["objects"].as_u64() >= Some(40), "{found}");
    running.stop();
}

#[test]
fn a_disk_is_added_and_the_old_one_drained_under_load() {
    let dir = dir();
    let running = start(dir.path());
    let (admin, s3) = (&running.admin, &running.client);
    fill(s3);
    let new = dir.path().join("new");
    let add = json!({ "dir": new }).to_string();
    let id = parse(&send(admin, "POST", "/api/add-disk", &add).expect(200))["id"].clone();
    // Again is no error: what failed halfway can be done again.
    assert_eq!(parse(&send(admin, "POST", "/api/add-disk", &add).expect(200))["id"], id);
    let old = dir.path().join("data/tracks");
    let plan = done(admin, "drain", &json!({ "disk": old, "dry_run": true }));
    assert!(plan["result"]["cost_bytes"].as_u64() >= Some(40 * 50_000), "{plan}");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                s3.put(&format!("/bucket/later-{number}"), bytes(10_000)).expect(200);
            }
        });
        let job = done(admin, "drain", &json!({ "disk": old }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!((&job["state"], &job["error"]), (&json!("done"), &Value::Null), "{job}");
    });
    for partition in get(admin, "/api/stats")["partitions"].as_array().unwrap() {
        let disks = partition["disks"].as_array().unwrap();
        assert_eq!((disks.len(), &disks[0]["id"]), (1, &id), "{partition}");
    }
    // There is no other that the last one could be drained to.
    let job = done(admin, "drain", &json!({ "disk": id }));
    assert_eq!((&job["state"], &job["error"]["kind"]), (&json!("failed"), &json!("invalid")));
    send(admin, "POST", "/api/keep-disk", &json!({ "disk": id }).to_string()).expect(200);
    let job = done(admin, "rebalance", &json!({}));
    assert_eq!(job["state"], "done", "{job}");
    assert_whole(s3);
    running.stop();
    let running = start(dir.path());
    assert_whole(&running.client);
    running.stop();
}

/// One that takes long at this rate.
fn start_slow(admin: &Client, kind: &str) -> String {
    let body = match kind {
        // A check sleeps for as long as what it has read takes, before it looks.
        "verify" => json!({ "bytes_per_second": 300_000 }),
        _ => json!({ "bytes_per_second": 10_000, "min_garbage": 0 }),
    };
    let reply = send(admin, "POST", &format!("/api/{kind}"), &body.to_string()).expect(202);
    reply.header("location").unwrap().to_owned()
}

#[test]
fn a_job_is_alone_of_its_kind_and_ends_when_it_is_cancelled() {
    let dir = dir();
    let running = start(dir.path());
    let admin = &running.admin;
    fill(&running.client);
    for kind in ["compact", "verify"] {
        let place = start_slow(admin, kind);
        let second = send(admin, "POST", &format!("/api/{kind}"), "{}").expect(409);
        assert_eq!(parse(&second)["error"]["kind"], "busy");
        let began = Instant::now();
        let job = parse(&send(admin, "DELETE", &place, "").expect(200));
        assert_eq!(job["state"], "cancelling", "{job}");
        let job = wait(admin, &place);
        assert!(began.elapsed() < Duration::from_secs(20));
        let (state, result) = (&job["state"], &job["result"]);
        assert_eq!((state, &result["stopped"]), (&json!("cancelled"), &json!(true)), "{job}");
        // Once more does nothing.
        assert_eq!(parse(&send(admin, "DELETE", &place, "").expect(200)), job);
    }
    assert_whole(&running.client);
    running.stop();
}

#[test]
fn a_check_that_is_cancelled_tells_how_far_it_was() {
    let dir = dir();
    let running = start(dir.path());
    let (admin, s3) = (&running.admin, &running.client);
    s3.put("/bucket", "").expect(200);
    (0..4)
        .for_each(|number| drop(s3.put(&format!("/bucket/{number}"), bytes(1 << 20)).expect(200)));
    let slowly = json!({ "bytes_per_second": 1 << 20 }).to_string();
    let place = send(admin, "POST", "/api/verify", &slowly).expect(202);
    let place = place.header("location").unwrap().to_owned();
    wait_for_bytes(admin, &place);
    send(admin, "DELETE", &place, "").expect(200);
    let job = wait(admin, &place);
    let result = &job["result"];
    assert_eq!((&job["state"], &result["stopped"]), (&json!("cancelled"), &json!(true)), "{job}");
    assert!(result["bytes"].as_u64() >= Some(1 << 20), "{job}");
    assert!((1..4).contains(&result["objects"].as_u64().unwrap()), "{job}");
    running.stop();
}

#[test]
fn a_backup_is_not_made_into_what_is_somebody_elses() {
    let dir = dir();
    let running = start(dir.path());
    let strange = dir.path().join("photos");
    std::fs::create_dir(&strange).unwrap();
    let made = |dry_run: bool| {
        let job = done(&running.admin, "backup", &json!({ "dir": strange, "dry_run": dry_run }));
        job["error"]["kind"].as_str().map(str::to_owned)
    };
    std::fs::write(strange.join("cat.jpg"), "cat").unwrap();
    for dry_run in [true, false] {
        assert_eq!(made(dry_run).as_deref(), Some("exists"));
        assert_eq!(std::fs::read_dir(&strange).unwrap().count(), 1);
    }
    // As a new file system has it.
    std::fs::rename(strange.join("cat.jpg"), strange.join("lost+found")).unwrap();
    assert_eq!(made(false), None);
    assert_eq!(made(false), None);
    running.stop();
}

#[test]
fn a_server_that_stops_ends_its_jobs_and_closes_its_stores() {
    let dir = dir();
    let running = start(dir.path());
    fill(&running.client);
    let told = std::fs::read_to_string(dir.path().join("data/admin-address")).unwrap();
    assert_eq!(told, format!("http://{}\n", running.admin.address));
    start_slow(&running.admin, "compact");
    running.stop();
    assert!(!dir.path().join("data/admin-address").exists());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains("not closed"), "{log}");
    let running = start(dir.path());
    assert_whole(&running.client);
    running.stop();
}

fn serve_backup(dir: &Path, backup: &Path) -> Running {
    let other = dir.join("other");
    std::fs::create_dir_all(&other).unwrap();
    let data = other.join("data");
    let _ = std::fs::remove_file(&data);
    std::os::unix::fs::symlink(backup, &data).unwrap();
    start(&other)
}

#[test]
fn a_backup_is_a_data_directory_that_a_server_can_be_started_on() {
    let dir = dir();
    let running = start(dir.path());
    let (admin, s3) = (&running.admin, &running.client);
    fill(s3);
    let backup = dir.path().join("backup");
    let plan = done(admin, "backup", &json!({ "dir": backup, "dry_run": true }));
    assert_eq!(plan["result"]["kept_bytes"], 0, "{plan}");
    assert!(!backup.exists());
    let job = done(admin, "backup", &json!({ "dir": backup, "mode": "copy" }));
    assert_eq!((&job["state"], &job["error"]), (&json!("done"), &Value::Null), "{job}");
    s3.put("/bucket/later", "later").expect(200);
    let copy = serve_backup(dir.path(), &backup);
    assert_whole(&copy.client);
    copy.client.get("/bucket/later").expect(404);
    copy.client.put("/bucket/of-the-copy", "later").expect(200);
    copy.stop();

    // It was written to, so it is none any more.
    let job = done(admin, "backup", &json!({ "dir": backup }));
    assert_eq!(job["error"]["kind"], "exists", "{job}");
    let again = dir.path().join("again");
    for object in ["later", "and", "later still"] {
        s3.put(&format!("/bucket/{}", encode(object)), object).expect(200);
        let job = done(admin, "backup", &json!({ "dir": again }));
        assert_eq!(job["state"], "done", "{job}");
    }
    // Its own directories are refused.
    for inside in ["data", "data/backup", "data/tracks/backup", ""] {
        let job = done(admin, "backup", &json!({ "dir": dir.path().join(inside) }));
        assert_eq!(job["error"]["kind"], "invalid", "{job}");
    }
    running.stop();
    let copy = serve_backup(dir.path(), &again);
    assert_eq!(copy.client.get("/bucket/later%20still").expect(200).text(), "later still");
    assert_whole(&copy.client);
    copy.stop();
    std::fs::write(again.join("BACKUP-UNFINISHED"), "").unwrap();
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_kogia-server"))
        .arg(&again)
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cut off"));
}

#[test]
fn objects_are_listed_told_of_and_downloaded_whatever_they_are_called() {
    let dir = dir();
    let running = start(dir.path());
    let (admin, s3) = (&running.admin, &running.client);
    s3.put("/bucket", "").expect(200);
    let hostile = "<img src=x onerror=alert(1)>\"'/\u{202e}\n é&key=other";
    for key in ["a/1", "a/2", "b", hostile] {
        let call = Call::new("PUT", &format!("/bucket/{}", crate::client::path(key)))
            .header("content-type", "text/html")
            .header("x-amz-meta-camera", "7")
            .body(format!("<script>{key}</script>"));
        s3.send(&call).expect(200);
    }
    assert_eq!(get(admin, "/api/buckets")["buckets"][0]["name"], "bucket");
    let page = get(admin, "/api/objects?bucket=bucket&delimiter=%2F");
    assert_eq!(page["prefixes"], json!(["<img src=x onerror=alert(1)>\"'/", "a/"]));
    assert_eq!((&page["objects"][0]["key"], &page["next"]), (&json!("b"), &Value::Null));
    let first = get(admin, "/api/objects?bucket=bucket&prefix=a%2F&max_keys=1");
    assert_eq!(first["objects"][0]["key"], "a/1");
    let after = encode(first["next"].as_str().expect("one more"));
    let second = get(admin, &format!("/api/objects?bucket=bucket&prefix=a%2F&after={after}"));
    assert_eq!(second["objects"][0]["key"], "a/2");
    let key = encode(hostile);
    let facts = get(admin, &format!("/api/object?bucket=bucket&key={key}"));
    assert_eq!((&facts["key"], &facts["content_type"]), (&json!(hostile), &json!("text/html")));
    assert_eq!(facts["metadata"], json!([["camera", "7"]]));
    let file =
        send(admin, "GET", &format!("/api/download?bucket=bucket&key={key}"), "").expect(200);
    assert_eq!(file.text(), format!("<script>{hostile}</script>"));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    assert!(file.header("content-security-policy").unwrap().contains("sandbox"));
    let saved = file.header("content-disposition").unwrap();
    assert!(saved.starts_with("attachment; filename*=UTF-8''%E2%80%AE%0A%20"), "{saved}");
    // Where the bucket keeps versions, the current one, unless that is a deletion.
    s3.put("/versions", "").expect(200);
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    s3.put("/versions?versioning", enabled).expect(200);
    for body in ["old", "newer"] {
        s3.put("/versions/key", body).expect(200);
        s3.put("/versions/gone", body).expect(200);
    }
    s3.call("DELETE", "/versions/gone").expect(204);
    let page = get(admin, "/api/objects?bucket=versions");
    assert_eq!((&page["objects"][0]["len"], &page["objects"][1]), (&json!(5), &Value::Null));
    assert_eq!(get(admin, "/api/object?bucket=versions&key=key")["len"], 5);
    let download =
        |key: &str| send(admin, "GET", &format!("/api/download?bucket=versions&key={key}"), "");
    assert_eq!(download("key").expect(200).text(), "newer");
    download("gone").expect(404);
    // More than a piece of it.
    s3.put("/bucket/large", bytes(3 << 20)).expect(200);
    let large = send(admin, "GET", "/api/download?bucket=bucket&key=large", "").expect(200);
    assert!(large.body == bytes(3 << 20));
    assert!(get(admin, "/api/counters")["received_bytes"].as_u64() > Some(3 << 20));
    assert_eq!(get(admin, "/api/errors"), json!({ "errors": [] }));
    running.stop();
}

#[test]
fn the_page_runs_only_what_stands_in_it() {
    let dir = dir();
    let running = start(dir.path());
    let page = |_| send(&running.admin, "GET", "/", "").expect(200);
    let [one, other] = [1, 2].map(page);
    let policy = one.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    for wrong in ["unsafe", "http:", "https:", "*"] {
        assert!(!policy.contains(wrong), "{policy}");
    }
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_ne!(other.header("content-security-policy"), Some(&*policy));
    let text = one.text();
    assert!(text.contains(&format!("<script nonce=\"{nonce}\">")), "{text}");
    for wrong in ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", "//cdn"]
    {
        assert!(!text.contains(wrong), "{wrong}");
    }
    running.stop();
}
