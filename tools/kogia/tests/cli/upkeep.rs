//! init, stat, verify, rebuild, dump, and who may open what.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Workplace, json_lines};

#[test]
fn init_makes_a_store_once_and_remembers_its_disks() {
    let place = Workplace::empty();
    place.run(["ls", "s"]).fails(7, "kogia init");
    let printed = place.ok(["init", "s", "--disk", "a", "--disk", "b"]);
    assert_eq!(printed.lines().count(), 3, "{printed}");
    place.run(["init", "s"]).fails(7, "ready for use");
    let made = json_lines(&place.ok(["init", "t", "--disk", "c", "--json"])).remove(0);
    let stat = json_lines(&place.ok(["stat", "t", "--json"])).remove(0);
    assert_eq!((&made["store"], &made["home"]), (&stat["store"], &stat["home"]));
    assert_eq!(made["disks"][0]["id"], stat["disks"][0]["id"]);
    place.write("full/file", "not a disk");
    place.run(["init", "u", "--disk", "full"]).fails(7, "an empty or new directory becomes");
    place.put("k", b"value");
    assert_eq!(place.get("k"), b"value");
    let stat = json_lines(&place.ok(["stat", "s", "--json"])).remove(0);
    assert_eq!(stat["disks"].as_array().map(Vec::len), Some(2));
}

/// Symptom: a listing added a disk. Cause: its `--disk` was mistyped, and a directory that is new to a
/// store was made one of its disks. Rule: only init and disk add do that.
#[test]
fn a_mistyped_disk_is_refused_and_one_that_has_moved_is_found() {
    let place = Workplace::empty();
    place.ok(["init", "s", "--disk", "a", "--disk", "b"]);
    place.ok(["init", "other", "--disk", "c"]);
    place.put("k", b"value");
    fs::create_dir(place.path("empty")).expect("a directory");
    for disk in ["typo/deep", "empty", "c", "s"] {
        for command in [&["ls", "s"][..], &["put", "s", "k"], &["verify", "s"], &["rebuild", "s"]] {
            let run = place.run([command, &["--disk", disk]].concat());
            run.fails(2, "'kogia disk add STORE DIR' adds one");
        }
    }
    assert!(!place.path("typo").exists());
    assert_eq!(place.ok(["ls", "s", "--disk", "a"]), "k\n");
    fs::rename(place.path("a"), place.path("moved")).expect("it moves");
    place.run(["ls", "s"]).fails(7, "--disk");
    place.ok(["ls", "s", "--disk", "moved"]);
    place.ok(["verify", "s"]);
    fs::rename(place.path("b"), place.path("away")).expect("it moves");
    place.run(["ls", "s", "--disk", "b"]).fails(7, "is missing here");
    place.ok(["ls", "s", "--accept-missing", "--disk", "b"]);
    assert!(!place.path("b").exists());
    fs::rename(place.path("away"), place.path("b")).expect("it is back");
    fs::remove_dir_all(place.path("s")).expect("the home goes");
    let rebuild = ["rebuild", "s", "--disk", "moved", "--disk", "b"];
    place.run([&rebuild[..], &["--disk", "typo"]].concat()).fails(2, "typo holds no disk");
    place.ok(rebuild);
    assert_eq!(place.get("k"), b"value");
    let stat = json_lines(&place.ok(["stat", "s", "--json"])).remove(0);
    assert_eq!(stat["disks"].as_array().map(Vec::len), Some(2));
}

#[test]
fn neither_addresses_nor_queues_become_stores() {
    let place = Workplace::with_store();
    let address = "http://127.0.0.1:9001";
    for command in [
        &["init"][..],
        &["init", "t", "--disk"],
        &["ls", "s", "--disk"],
        &["disk", "add", "s"],
        &["backup", "s"],
        &["export", "s"],
        &["queue", "append"],
    ] {
        place.run([command, &[address]].concat()).fails(2, "a server's address");
    }
    assert!(!place.path("http:").exists() && !place.path("t").exists());
    place.ok(["queue", "append", "q"]);
    let run = place.run(["init", "q"]);
    run.fails(7, "q: there is a queue here");
    assert!(!run.stderr.contains("ready for use"), "{}", run.stderr);
    place.run(["queue", "append", "s"]).fails(7, "s: there is a store here");
}

#[test]
fn stat_counts_objects_and_bytes() {
    let place = Workplace::with_store();
    place.put("a", &[1; 10_000]);
    place.put("b", &[1; 5]);
    let stat = json_lines(&place.ok(["stat", "s", "--json"])).remove(0);
    assert_eq!((&stat["objects"], &stat["object_bytes"]), (&2.into(), &10_005.into()));
    assert!(stat["total"]["file_bytes"].as_u64() >= Some(10_005), "{stat}");
    let table = place.ok(["stat", "s"]);
    assert!(table.contains("objects    2 (9.77 KiB)") && table.contains("in all"), "{table}");
}

#[test]
fn an_open_store_is_locked_for_others() {
    let place = Workplace::with_store();
    let mut shell = place.command(["shell", "s"]).stdin(Stdio::piped()).spawn().expect("a shell");
    let mut input = shell.stdin.take().expect("a pipe");
    writeln!(input, "set k v\nls").expect("the shell reads");
    let mut line = String::new();
    let mut output = BufReader::new(shell.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("the shell answers");
    assert_eq!(line, "k\n");
    place.run(["ls", "s"]).fails(4, "wait for that process");
    drop(input);
    assert!(shell.wait().expect("the shell ends").success());
    assert_eq!(place.get("k"), b"v");
}

#[test]
fn verify_of_a_sound_store_finds_nothing() {
    let place = Workplace::with_store();
    place.put("a", &[1; 100_000]);
    assert!(place.ok(["verify", "s"]).starts_with("1 object (97.66 KiB), "));
    let report = json_lines(&place.ok(["verify", "s", "--json", "--rate", "1GiB"])).remove(0);
    assert_eq!((&report["objects"], &report["problems"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(report["stopped"], false);
    place.run(["verify", "s", "--rate", "fast"]).fails(2, "20M");
}

#[test]
fn rebuild_finds_every_object_again() {
    let place = Workplace::with_store();
    for i in 0..50 {
        place.put(&format!("k{i}"), &vec![i; 3000]);
    }
    place.ok(["rm", "s", "k7"]);
    let list = place.ok(["ls", "s", "--json"]);
    assert!(place.ok(["rebuild", "s"]).contains("found      49 objects"));
    let report = json_lines(&place.ok(["rebuild", "s", "--json"])).remove(0);
    assert_eq!((&report["objects"], &report["object_bytes"]), (&49.into(), &147_000.into()));
    assert!(report["read_records"].as_u64() >= Some(49), "{report}");
    assert_eq!(place.ok(["ls", "s", "--json"]), list);
    place.ok(["verify", "s"]);
}

/// Symptom: a store could not be rebuilt, or was rebuilt without some objects. Cause: a track that
/// ended in a crash had nobody to say how far it was synced, so the holes that deletes had punched
/// into its chains passed for damage, or for its torn end. Rule: the bodies of what died are not
/// asked for.
#[test]
fn rebuild_after_crashes_and_deletes_finds_every_object() {
    let place = Workplace::empty();
    place.ok(["init", "s", "--disk", "a", "--disk", "b"]);
    for number in 0..8 {
        place.write(&format!("media/{number}"), vec![number; 300_000]);
    }
    place.ok(["import", "s", "media"]);
    crash(&place, "first");
    place.ok(["rm", "s", "1", "3", "5"]);
    crash(&place, "second");
    place.ok(["import", "s", "media"]);
    crash(&place, "third");
    let list = place.ok(["ls", "s", "--json"]);
    assert_eq!(list.lines().count(), 11);
    place.ok(["rebuild", "s"]);
    assert_eq!(place.ok(["ls", "s", "--json"]), list);
    place.ok(["verify", "s"]);
}

/// Symptom: a rebuild lost objects, with nothing said but that a torn tail was dropped. Cause: as
/// above; the hole that a delete left was taken for the torn end, and what lay behind it in the
/// track, live and acknowledged, was cut off with it. Rule: as above.
#[test]
fn rebuild_keeps_what_lies_behind_a_hole_in_a_track_that_ended_in_a_crash() {
    let place = Workplace::with_store();
    let large = "x".repeat(100_000);
    crash_after(&place, &format!("set dies {large}\nset lives value\n"), "lives");
    // Openings that write nothing between the crash and the next track forget the last one.
    place.ok(["ls", "s"]);
    place.ok(["ls", "s"]);
    place.ok(["rm", "s", "dies"]);
    place.ok(["rebuild", "s"]);
    assert_eq!(place.ok(["ls", "s"]), "lives\n");
    assert_eq!(place.get("lives"), b"value");
}

/// Stores `key` in a process that is killed once that is acknowledged.
fn crash(place: &Workplace, key: &str) {
    crash_after(place, &format!("set {key} value\n"), key);
}

/// Kills a shell that has taken `lines`, of which the last one gave `key` the value `value`. It
/// writes with `--durability os`, so that chains do not say of each other that they are synced.
fn crash_after(place: &Workplace, lines: &str, key: &str) {
    let mut shell = place
        .command(["shell", "s", "--durability", "os"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = shell.stdin.take().expect("a pipe");
    writeln!(input, "{lines}get {key}").expect("the shell reads");
    let mut line = String::new();
    let mut output = BufReader::new(shell.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("the shell answers");
    assert_eq!(line, "value\n");
    shell.kill().expect("it can be killed");
    shell.wait().expect("it ends");
}

#[test]
fn dump_prints_tracks_without_opening_the_store() {
    let place = Workplace::with_store();
    place.put("a key to find", b"value");
    let shell = place.command(["shell", "s"]).stdin(Stdio::piped()).spawn().expect("a shell");
    let text = place.ok(["dump", "s"]);
    assert!(text.contains("a key to find"), "{text}");
    assert!(json_lines(&place.ok(["dump", "s", "--json"])).len() > 1);
    drop(shell);
    place.run(["dump", "s", "--track", "4000000000"]).fails(2, "no such track");
    place.run(["dump", "nowhere"]).fails(8, "nowhere");
}

/// Turns one bit in the middle of a value, which is looked for in every track.
fn damage(place: &Workplace, value: &[u8]) {
    let store = fs::read_dir(place.path("s/tracks")).expect("the disk").flatten();
    let folder = store.map(|entry| entry.path()).find(|path| path.is_dir()).expect("a folder");
    for track in fs::read_dir(folder).expect("tracks").flatten() {
        let mut bytes = fs::read(track.path()).expect("a track");
        if let Some(at) = bytes.windows(value.len()).position(|window| window == value) {
            bytes[at + value.len() / 2] ^= 1;
            return fs::write(track.path(), bytes).expect("the track can be written");
        }
    }
    panic!("the value is in no track");
}

#[test]
fn damage_is_found_named_and_kept_from_readers() {
    let place = Workplace::with_store();
    let value: Vec<u8> = (0..2000u32).map(|i| (i * i) as u8).collect();
    place.put("hit", &value);
    place.put("whole", b"something else");
    damage(&place, &value);
    place.run(["get", "s", "hit"]).fails(3, "kogia verify");
    assert_eq!(place.get("whole"), b"something else");
    let run = place.run(["verify", "s"]);
    run.fails(1, "found");
    for once in ["(key hit)", ", chunk "] {
        assert_eq!(run.text().lines().next().map(|line| line.matches(once).count()), Some(1));
    }
    let run = place.run(["verify", "s", "--json"]);
    assert_eq!(json_lines(&run.text())[0]["problems"][0]["key"], "hit");
    let run = place.run(["export", "s", "out"]);
    run.fails(1, "hit: ");
    assert_eq!(place.read("out/whole"), b"something else");
    assert!(!place.path("out/hit").exists());
}

#[test]
fn help_documents_every_exit_code() {
    let place = Workplace::empty();
    let help = place.ok(["--help"]);
    for code in (0..=8).chain([130]) {
        assert!(help.contains(&format!("\n  {code:>3}  ")), "{code}");
    }
    place.run(["frobnicate"]).fails(2, "frobnicate");
}
