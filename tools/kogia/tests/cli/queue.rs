//! queue: items from standard input to standard output, beside one another.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Workplace, json_lines};

fn append(place: &Workplace, input: &[u8], args: &[&str]) -> String {
    place.run_with_input(input, [&["queue", "append", "q"], args].concat()).ok()
}

#[test]
fn lines_are_items_and_come_back_in_order() {
    let place = Workplace::empty();
    place.run(["queue", "cat", "q"]).fails(7, "queue append");
    let ids = append(&place, b"one\n\nthree\nno end", &["--ids"]);
    let ids: Vec<_> = ids.lines().collect();
    assert_eq!(ids.len(), 4);
    append(&place, b"five\n", &[]);
    assert_eq!(place.ok(["queue", "cat", "q"]), "one\n\nthree\nno end\nfive\n");
    assert_eq!(place.ok(["queue", "cat", "q", "--from", ids[2], "-n", "2"]), "three\nno end\n");
    assert_eq!(place.ok(["queue", "tail", "q", "-n", "2"]), "no end\nfive\n");
    assert_eq!(place.ok(["queue", "tail", "q", "-n", "0"]), "");
    place.run(["queue", "cat", "q", "--from", "x"]).fails(2, "looks like 3.4122");
}

#[test]
fn json_lines_carry_any_bytes_from_one_queue_to_another() {
    let place = Workplace::empty();
    let input = b"{\"text\": \"a\\nb\"}\n{\"base64\": \"/wD+\"}\n{\"text\":\"\",\"id\":\"9.9\"}\n";
    append(&place, input, &["--json"]);
    let printed = place.ok(["queue", "cat", "q", "--json"]);
    let lines = json_lines(&printed);
    assert_eq!((&lines[0]["text"], &lines[1]["base64"]), (&"a\nb".into(), &"/wD+".into()));
    place.run_with_input(printed.as_bytes(), ["queue", "append", "r", "--json"]).ok();
    assert_eq!(place.run(["queue", "cat", "r"]).stdout, b"a\nb\n\xff\0\xfe\n\n");
    for wrong in ["{", "{}", "{\"text\": 1}", "{\"base64\": \"?\"}"] {
        let args = ["queue", "append", "r", "--json"];
        place.run_with_input(wrong.as_bytes(), args).fails(2, "line 1 of the input");
    }
}

#[test]
fn a_consumer_gets_each_item_once_if_nothing_goes_wrong() {
    let place = Workplace::empty();
    append(&place, b"a\nb\nc\n", &[]);
    let cat = ["queue", "cat", "q", "--consumer", "ship", "-n", "2"];
    assert_eq!(place.ok(cat), "a\nb\n");
    assert_eq!(place.ok(cat), "c\n");
    assert_eq!(place.ok(cat), "");
    append(&place, b"d\n", &[]);
    assert_eq!(place.ok(cat), "d\n");
    place.run(["queue", "cat", "q", "--consumer", "../x"]).fails(2, "can't be named");
    let stat = json_lines(&place.ok(["queue", "stat", "q", "--json"])).remove(0);
    assert_eq!((&stat["items"], stat["consumers"]["ship"].is_string()), (&4.into(), true));
}

#[test]
fn truncate_drops_what_lies_before_and_a_dry_run_nothing() {
    let place = Workplace::empty();
    let ids = append(&place, b"a\nb\nc\n", &["--ids"]);
    let third = ids.lines().nth(2).expect("three ids");
    let args = ["queue", "truncate", "q", "--before", third, "--dry-run"];
    let run = place.run(args);
    assert!(run.stderr.contains("would drop 2 items"), "{}", run.stderr);
    assert_eq!(place.ok(["queue", "cat", "q"]), "a\nb\nc\n");
    place.ok(&args[..5]);
    assert_eq!(place.ok(["queue", "cat", "q"]), "c\n");
    assert!(place.ok(["queue", "stat", "q"]).contains("items      1 from"));
}

#[test]
fn verify_finds_damage_and_the_rest_can_be_printed() {
    let place = Workplace::empty();
    let lines: Vec<u8> = (0..2000).flat_map(|n| format!("item {n:6}\n").into_bytes()).collect();
    append(&place, &lines, &[]);
    assert!(place.ok(["queue", "verify", "q"]).starts_with("2000 items (21.48 KiB), 0 cuts"));
    let mut track = place.read("q/0000000001.track");
    track[2 * 4096 + 1000] ^= 1;
    place.write("q/0000000001.track", &track);
    let run = place.run(["queue", "verify", "q"]);
    run.fails(1, "1 problem found");
    assert!(run.text().contains("chunk 2"), "{}", run.text());
    place.run(["queue", "cat", "q"]).fails(3, "--pass-damage");
    let run = place.run(["queue", "cat", "q", "--pass-damage"]);
    assert!(run.stderr.contains("items are lost from 1."), "{}", run.stderr);
    assert!(run.ok().ends_with("item   1999\n"));
}

#[test]
fn tail_follows_another_process_and_a_killed_one_costs_nothing_acknowledged() {
    let place = Workplace::empty();
    append(&place, b"old\n", &[]);
    let mut tail = place.command(["queue", "tail", "q", "-f"]).spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "old");
    let mut writer = place.command(["queue", "append", "q"]);
    let mut writer = writer.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = writer.stdin.take().expect("a pipe");
    for number in 0..3 {
        writeln!(input, "live {number}").expect("it reads");
        assert_eq!(next(), format!("live {number}"));
    }
    place.run(["queue", "append", "q"]).fails(4, "wait for that process");
    writer.kill().expect("it can be killed");
    writer.wait().expect("it ends");
    append(&place, b"after\n", &[]);
    assert_eq!(next(), "after");
    tail.kill().expect("it can be killed");
    tail.wait().expect("it ends");
    let json = json_lines(&place.ok(["queue", "cat", "q", "--json"]));
    let cut = json.iter().position(|line| line.get("cut").is_some());
    assert_eq!((json.len(), cut), (6, Some(4)), "{json:?}");
}
