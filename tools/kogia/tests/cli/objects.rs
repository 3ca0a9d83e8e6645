//! init, put, get, head, rm: single objects.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::json;

use super::{Workplace, json_lines};

#[test]
fn what_is_put_is_got_back_from_files_and_pipes() {
    let place = Workplace::with_store();
    let value: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    place.write("in", &value);
    place.ok(["put", "s", "from file", "in"]);
    place.put("from pipe", &value);
    place.put("empty", b"");
    assert_eq!(place.get("from file"), value);
    assert_eq!(place.get("from pipe"), value);
    assert_eq!(place.get("empty"), b"");
    place.ok(["get", "s", "from pipe", "out"]);
    assert_eq!(place.read("out"), value);
    assert!(place.run(["get", "s", "from pipe", "-"]).stdout == value);
    assert!(!place.path("-").exists());
}

#[test]
fn a_range_has_both_its_ends() {
    let place = Workplace::with_store();
    let value: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    place.put("k", &value);
    let range = |range: &str| place.run(["get", "s", "k", "--range", range]);
    assert_eq!(range("0-0").stdout, value[..1]);
    assert_eq!(range("5000-70000").stdout, value[5000..=70000]);
    assert_eq!(range("99990-200000").stdout, value[99990..]);
    assert_eq!(range("99000-").stdout, value[99000..]);
    assert_eq!(range("-10").stdout, value[99990..]);
    range("100001-").fails(2, "100000 bytes");
    for none in ["100000-", "100000-100005", "-0"] {
        range(none).fails(2, "no byte of the object, which has 100000 bytes");
    }
    place.put("empty", b"");
    place.run(["get", "s", "empty", "--range", "0-"]).fails(2, "0 bytes");
    assert_eq!(place.ok(["get", "s", "empty", "--range", "-5"]), "");
    range("7-3").fails(2, "--range");
}

#[test]
fn keys_are_any_bytes_and_print_as_they_are_typed() {
    let place = Workplace::with_store();
    for key in [r"a\x00b", r"\xff\xfe", r"back\\slash", "Füße/鯨", r"line\x0abreak", "-dash"] {
        place.put(key, key.as_bytes());
        assert_eq!(place.get(key), key.as_bytes());
        assert!(place.ok(["ls", "s", "--", key]).starts_with(&format!("{key}\n")));
    }
    place.run(["get", "s", r"bad\n"]).fails(2, r"a backslash is written \\");
    place.run(["put", "s", ""]).fails(2, "");
    place.run(["put", "s", &"k".repeat(65_536)]).fails(2, "");
}

#[test]
fn head_shows_length_checksum_seq_times_and_attributes() {
    let place = Workplace::with_store();
    let printed = place.run_with_input(
        b"123456789",
        ["put", "s", "k", "--attributes", r"type=\x00video", "--json"],
    );
    let head = json_lines(&place.ok(["head", "s", "k", "--json"])).remove(0);
    assert_eq!(json_lines(&printed.ok()), std::slice::from_ref(&head));
    assert_eq!(head["len"], 9);
    assert_eq!(head["crc32c"], "e3069283");
    assert_eq!(head["attributes"], r"type=\x00video");
    assert!(head["created_ms"].as_u64() > Some(1_600_000_000_000), "{head}");
    let page = place.ok(["head", "s", "k"]);
    assert!(page.contains("length      9\n") && page.contains("e3069283"), "{page}");
    place.run(["head", "s", "other"]).fails(1, "no such key: other");
}

#[test]
fn conditions_that_are_not_met_change_nothing_and_exit_6() {
    let place = Workplace::with_store();
    let seq = |key| {
        let head = json_lines(&place.ok(["head", "s", key, "--json"])).remove(0);
        head["seq"].as_str().expect("a seq").to_string()
    };
    place.run_with_input(b"one", ["put", "s", "k", "--if-absent"]).ok();
    place.run_with_input(b"two", ["put", "s", "k", "--if-absent"]).fails(6, "");
    assert_eq!(place.get("k"), b"one");
    let first = seq("k");
    place.run_with_input(b"three", ["put", "s", "k", "--if-seq", &first]).ok();
    place.run_with_input(b"four", ["put", "s", "k", "--if-seq", &first]).fails(6, "");
    place.run(["rm", "s", "k", "--if-seq", &first]).fails(6, "");
    assert_eq!(place.get("k"), b"three");
    place.ok(["rm", "s", "k", "--if-seq", &seq("k")]);
    place.run(["put", "s", "k", "--if-seq", "one"]).fails(2, "for example 2.17");
}

#[test]
fn rm_deletes_all_it_can_and_tells_what_was_not_there() {
    let place = Workplace::with_store();
    for key in ["a", "b", "c"] {
        place.put(key, b"");
    }
    let run = place.run(["rm", "s", "a", "no1", "b", "no2"]);
    run.fails(1, "no such key: no1");
    run.fails(1, "no such key: no2");
    assert_eq!(place.ok(["ls", "s"]), "c\n");
    place.ok(["rm", "s", "a", "--force"]);
    assert_eq!(place.ok(["rm", "s", "c", "--dry-run"]), "c\n");
    assert_eq!(place.get("c"), b"");
    let lines = json_lines(&place.ok(["rm", "s", "c", "--dry-run", "--json"]));
    assert_eq!((&lines[0]["key"], &lines[1]["dry_run"]), (&"c".into(), &true.into()));
    let run = place.run(["rm", "s", "c", "no3", "--json"]);
    run.fails(1, "no such key: no3");
    let report = json_lines(&run.text()).remove(0);
    let expected = json!({ "dry_run": false, "deleted_objects": 1, "missing_keys": ["no3"] });
    assert_eq!(report, expected);
}

/// Symptom: on a full disk, deletes made no room. Cause: freed chunks are punched out of their
/// track after a checkpoint, and the store was closed again before one came. Rule: rm gives back
/// what it deletes.
#[test]
fn rm_gives_the_room_back() {
    let place = Workplace::with_store();
    for key in ["a", "b", "c"] {
        place.put(key, &[7; 1 << 20]);
    }
    let stat = || json_lines(&place.ok(["stat", "s", "--json"])).remove(0);
    if stat()["disks"][0]["punches"] == false {
        return;
    }
    place.ok(["rm", "s", "a", "b"]);
    let punched = stat()["total"]["punched_bytes"].as_u64();
    assert!(punched >= Some(2 << 20), "{punched:?}");
}

#[test]
fn rm_prefix_wants_to_be_sure() {
    let place = Workplace::with_store();
    let lines: String = (0..2500).map(|i| format!("set p/{i:04} x\n")).collect();
    place.run_with_input(lines.as_bytes(), ["shell", "s", "--durability", "os"]).ok();
    place.put("q", b"");
    place.run(["rm", "s", "--prefix", "p/"]).fails(2, "--yes");
    assert_eq!(place.ok(["rm", "s", "--prefix", "p/", "--dry-run"]).lines().count(), 2500);
    assert_eq!(place.ok(["ls", "s"]).lines().count(), 2501);
    // As where a variable of the shell is not set.
    place.run(["rm", "s", "--prefix", "", "--yes"]).fails(2, "--prefix is empty");
    assert_eq!(place.ok(["ls", "s"]).lines().count(), 2501);
    let report = json_lines(&place.ok(["rm", "s", "--prefix", "p/", "--yes", "--json"])).remove(0);
    assert_eq!(report["deleted_objects"], 2500);
    assert_eq!(place.ok(["ls", "s"]), "q\n");
    place.run(["rm", "s"]).fails(2, "KEY");
}

#[test]
fn a_failed_get_leaves_the_file_that_was_there() {
    let place = Workplace::with_store();
    place.put("k", b"new");
    place.write("out", "old");
    place.run(["get", "s", "other", "out"]).fails(1, "no such key");
    assert_eq!(place.read("out"), b"old");
    place.run(["get", "s", "k", "no/such/folder"]).fails(8, "no/such/folder");
    place.ok(["get", "s", "k", "/dev/null"]);
    assert!(std::fs::metadata("/dev/null").is_ok_and(|null| !null.is_file()));
    place.ok(["get", "s", "k", "out"]);
    assert_eq!(place.read("out"), b"new");
}

#[test]
fn a_get_that_is_interrupted_leaves_no_part_of_its_file() {
    let place = Workplace::with_store();
    place.put("k", &vec![7; 48 << 20]);
    place.interrupt_in("out", &["get", "s", "k", "out/file"]).fails(130, "interrupted");
    assert_eq!(std::fs::read_dir(place.path("out")).expect("the directory").count(), 0);
    // The shell goes on to take Ctrl-C as it did.
    let lines = b"get k out/file\nget k --range 0-2\n";
    assert_eq!(place.run_with_input(lines, ["shell", "s"]).ok(), "\u{7}\u{7}\u{7}\n");
}

#[test]
fn a_get_writes_over_no_file_of_the_store() {
    let place = Workplace::empty();
    place.ok(["init", "s", "--disk", "d"]);
    place.put("k", b"value");
    place.write("d/beside", "not the store's");
    for file in ["s/META", "s/new", "d/DISK", "s/../d/DISK"] {
        place.run(["get", "s", "k", file]).fails(2, "a part of the store itself");
    }
    place.ok(["get", "s", "k", "d/beside"]);
    assert_eq!(place.read("d/beside"), place.get("k"));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let place = Workplace::with_store();
    place.run_with_input(&vec![7; 8 << 20], ["put", "s", "k"]).ok();
    let mut child = place.command(["get", "s", "k"]).spawn().expect("the command starts");
    let mut first = [0];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("one byte comes");
    let output = child.wait_with_output().expect("the command ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_put_that_is_killed_leaves_nothing() {
    let place = Workplace::with_store();
    place.put("k", b"before");
    let mut child =
        place.command(["put", "s", "k"]).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&vec![1; 4 << 20]).expect("the command reads");
    child.kill().expect("it is there to be killed");
    child.wait().expect("it ends");
    assert_eq!(place.get("k"), b"before");
}
