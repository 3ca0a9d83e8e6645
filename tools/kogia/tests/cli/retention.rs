//! What is kept until when: `--expires-in`, `--expires-at`, expire.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Run, Workplace, json_lines};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64
}

fn expires_ms(place: &Workplace, key: &str) -> Option<u64> {
    let head = json_lines(&place.ok(["head", "s", key, "--json"])).remove(0);
    head["expires_ms"].as_u64()
}

/// Objects and bytes of the result of `kogia expire`.
fn expire(place: &Workplace, args: &[&str]) -> (Value, Value) {
    let args = [&["expire", "s", "--json"], args].concat();
    let mut result = json_lines(&place.ok(&args)).remove(0);
    assert_eq!(result["dry_run"], args.contains(&"--dry-run"));
    (result["deleted_objects"].take(), result["deleted_bytes"].take())
}

#[test]
fn an_object_is_there_until_the_moment_that_was_given() {
    let place = Workplace::with_store();
    place.write("in/f", "value");
    let before = now_ms();
    place.ok(["put", "s", "day", "in/f", "--expires-in", "1d"]);
    place.ok(["put", "s", "then", "in/f", "--expires-at", "2999-01-01T00:00:00Z"]);
    place.ok(["put", "s", "past", "in/f", "--expires-in", "1ms"]);
    std::thread::sleep(std::time::Duration::from_millis(2));
    place.ok(["put", "s", "ever", "in/f"]);
    place.ok(["import", "s", "in", "--expires-in", "2h"]);
    let day = expires_ms(&place, "day").expect("it expires");
    assert!((before..=now_ms()).contains(&(day - 86_400_000)), "{day}");
    let hours = expires_ms(&place, "f").expect("it expires");
    assert!((before..=now_ms()).contains(&(hours - 7_200_000)), "{hours}");
    assert_eq!(expires_ms(&place, "then"), Some(32_472_144_000_000));
    assert_eq!(expires_ms(&place, "ever"), None);
    place.run(["get", "s", "past"]).fails(1, "no such key");
    assert_eq!(place.ok(["ls", "s"]), "day\never\nf\nthen\n");
    assert!(place.ok(["head", "s", "then"]).contains("\nexpires     2999-01-01T00:00:00Z\n"));
    assert!(place.ok(["head", "s", "ever"]).contains("\nexpires     never\n"));
    assert!(place.ok(["ls", "s", "--long"]).contains("  2999-01-01T00:00:00Z  "));
    assert!(place.ok(["dump", "s"]).contains(", expires 32472144000000 ms after 1970"));
    let both =
        ["put", "s", "k", "in/f", "--expires-in", "1d", "--expires-at", "2999-01-01T00:00:00Z"];
    place.run(both).fails(2, "cannot be used with");
    place.run(["put", "s", "k", "in/f", "--expires-in", "soon"]).fails(2, "7d");
    place.run(["put", "s", "k", "in/f", "--expires-at", "soon"]).fails(2, "2026-12-24T18:00:00Z");
}

/// Symptom: what was stored was gone at once, with `watch --remove` its file as well. Cause: seconds
/// were taken for milliseconds since 1970. Rule: a moment that is past is refused, and nothing stored.
#[test]
fn a_moment_that_is_past_is_refused() {
    let place = Workplace::with_store();
    place.write("in/f", "value");
    let seconds = (now_ms() / 1000 + 86_400).to_string();
    for moment in [&*seconds, "2001-01-01T00:00:00Z", "0"] {
        for command in [
            &["put", "s", "k", "in/f"][..],
            &["import", "s", "in"],
            &["import", "s", "in", "--dry-run"],
            &["watch", "s", "in", "--once", "--remove"],
        ] {
            let run = place.run([command, &["--expires-at", moment]].concat());
            run.fails(2, "which is past; a number is milliseconds since 1970, not seconds");
        }
    }
    let run = place.run(["put", "s", "k", "in/f", "--expires-at", "1700000000"]);
    run.fails(2, "that is 1970-01-20T16:13:20Z");
    assert_eq!((place.ok(["ls", "s"]).as_str(), place.read("in/f")), ("", b"value".to_vec()));
}

#[test]
fn a_watch_ends_when_the_moment_has_come_and_removes_no_file() {
    let place = Workplace::with_store();
    std::fs::create_dir(place.path("in")).expect("a directory");
    let at = (now_ms() + 1_500).to_string();
    let watch = place.command(["watch", "s", "in", "--remove", "--expires-at", &at]).spawn();
    let watch = watch.expect("it starts");
    std::thread::sleep(std::time::Duration::from_millis(1_600));
    place.write("in/late", "value");
    let run = Run::from(watch.wait_with_output().expect("it ends"));
    run.fails(2, "--expires-at: that is ");
    assert_eq!(place.read("in/late"), b"value");
}

#[test]
fn expire_deletes_what_has_expired_and_gives_its_room_back() {
    let place = Workplace::with_store();
    place.write("f", vec![7; 100_000]);
    for key in ["a", "b", "c"] {
        place.ok(["put", "s", key, "f", "--expires-in", "1ms"]);
    }
    std::thread::sleep(std::time::Duration::from_millis(2));
    place.put("kept", b"value");
    let stat = || json_lines(&place.ok(["stat", "s", "--json"])).remove(0);
    assert_eq!(stat()["objects"], 4);
    assert_eq!(expire(&place, &["--dry-run"]), (3.into(), 300_000.into()));
    assert_eq!(stat()["objects"], 4);
    assert_eq!(expire(&place, &[]), (3.into(), 300_000.into()));
    assert_eq!((&stat()["objects"], &stat()["tombstones"]), (&1.into(), &3.into()));
    assert!(stat()["total"]["punched_bytes"].as_u64() >= Some(300_000), "{}", stat());
    assert!(place.ok(["expire", "s"]).starts_with("deleted 0 objects (0 B) in "));
    assert_eq!(place.ok(["ls", "s"]), "kept\n");
    place.ok(["verify", "s"]);
}

#[test]
fn expire_keeps_what_its_rules_say_the_oldest_first_and_no_longer_than_that() {
    let place = Workplace::with_store();
    for at in 0..10 {
        place.put(&format!("cam/{at}"), &[7; 1000]);
    }
    place.put("other", &[7; 5000]);
    let rule = ["--rule", "cam/:bytes=5k"];
    assert_eq!(expire(&place, &[&rule[..], &["--dry-run"]].concat()), (6.into(), 6000.into()));
    assert_eq!(place.ok(["ls", "s"]).lines().count(), 11);
    assert_eq!(expire(&place, &rule), (6.into(), 6000.into()));
    assert_eq!(place.ok(["ls", "s"]), "cam/6\ncam/7\ncam/8\ncam/9\nother\n");
    assert_eq!(expire(&place, &["--rule", "cam/:age=1d"]), (0.into(), 0.into()));
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert_eq!(expire(&place, &["--rule", "cam/:age=1ms"]), (4.into(), 4000.into()));
    assert_eq!(place.ok(["ls", "s"]), "other\n");
    for wrong in ["cam/", "cam/:", "cam/:age=x", "cam/:bytes=0"] {
        assert_eq!(place.run(["expire", "s", "--rule", wrong]).code, 2, "{wrong}");
    }
    place.run(["expire", "nowhere"]).fails(7, "kogia init");
}
