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
    let args = ["queue", "truncate", "q", "--before", third, "--dry-run", "--json"];
    let run = place.run(&args[..6]);
    assert!(run.stderr.contains("would drop 2 items"), "{}", run.stderr);
    let report = json_lines(&place.ok(args)).remove(0);
    assert_eq!(report, serde_json::json!({ "dry_run": true, "dropped": 2 }));
    assert_eq!(place.ok(["queue", "cat", "q"]), "a\nb\nc\n");
    let report = json_lines(&place.ok([&args[..5], &["--json"]].concat())).remove(0);
    assert_eq!(report, serde_json::json!({ "dry_run": false, "dropped": 2 }));
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

#[test]
fn rewrite_drops_what_contains_a_text_and_leaves_the_ids_as_they_were() {
    let place = Workplace::empty();
    let ids = append(&place, b"a\npassword=1\nb\nkey=2\npassword=3\nc\n", &["--ids"]);
    let ids: Vec<_> = ids.lines().collect();
    let drop = ["queue", "rewrite", "q", "--drop-containing", "password="];
    let printed = place.ok([&drop[..], &["--drop-containing", "key=", "--dry-run"]].concat());
    assert!(printed.contains("3 would be dropped"), "{printed}");
    assert_eq!(place.ok(["queue", "cat", "q"]).lines().count(), 6);
    let report = place.ok([&drop[..], &["--before", ids[4], "--json"]].concat());
    let report = json_lines(&report).remove(0);
    assert_eq!((&report["items"], &report["dropped"]), (&4.into(), &1.into()));
    let left = json_lines(&place.ok(["queue", "cat", "q", "--json"]));
    let left: Vec<_> = left.iter().map(|line| line["id"].as_str().expect("an id")).collect();
    assert_eq!(left, [ids[0], ids[2], ids[3], ids[4], ids[5]]);
    place.ok([&drop[..], &["--from", ids[4]]].concat());
    assert_eq!(place.ok(["queue", "cat", "q"]), "a\nb\nkey=2\nc\n");
    append(&place, b"d\n", &[]);
    assert!(place.ok(["queue", "cat", "q"]).ends_with("c\nd\n"));
    assert!(place.ok(["queue", "stat", "q"]).contains("tracks     2"));
    place.run(["queue", "rewrite", "q"]).fails(2, "--drop-containing");
    place.run(["queue", "rewrite", "none", "--drop-containing", "x"]).fails(7, "queue append");
}

#[test]
fn rewrite_has_items_pass_through_a_command_of_the_shell() {
    let place = Workplace::empty();
    let lines: Vec<u8> = (0..20_000).flat_map(|n| format!("item {n:05}\n").into_bytes()).collect();
    append(&place, &lines, &[]);
    // What does not come back is dropped; also a command that answers late is fine.
    let through = |command| place.run(["queue", "rewrite", "q", "--json", "--through", command]);
    let report = json_lines(&through("grep -v '0\"}' | sed 's/item/part/'").ok()).remove(0);
    assert_eq!((&report["dropped"], &report["replaced"]), (&2000.into(), &18_000.into()));
    let left = place.ok(["queue", "cat", "q"]);
    assert!(left.starts_with("part 00001\npart 00002\n") && left.ends_with("part 19999\n"));
    assert_eq!(left.lines().count(), 18_000);
    // As it comes back, it stays.
    let report = json_lines(&through("cat").ok()).remove(0);
    assert_eq!((&report["dropped"], &report["replaced"]), (&0.into(), &0.into()));

    // Unless it reads all and ends well, nothing changes.
    for (command, why) in [
        ("cat; exit 3", "exit status: 3"),
        ("head -n 5", "did not read all items"),
        ("head -n 5; kill -9 $$", "signal: 9"),
        ("cat; echo '{\"id\": \"1.1\", \"text\": \"x\"}'", "out of order"),
        ("echo '{\"id\": \"1.1\", \"text\": \"x\"}'; cat", "which is no item"),
        ("tac", "out of order"),
        ("echo nonsense; cat > /dev/null", "nonsense"),
        ("sed 's/\"id\"/\"name\"/'", "no \"id\""),
    ] {
        let run = through(command);
        run.fails(8, why);
        assert!(run.stderr.contains("nothing has changed"), "{command}: {}", run.stderr);
        assert_eq!(place.ok(["queue", "cat", "q"]), left, "{command}");
    }
    // As where a variable of the shell is not set.
    for wrong in [["--drop-containing", ""], ["--through", ""]] {
        place.run([&["queue", "rewrite", "q"][..], &wrong].concat()).fails(2, wrong[0]);
        assert_eq!(place.ok(["queue", "cat", "q"]), left, "{wrong:?}");
    }
    place.ok(["queue", "rewrite", "q", "--drop-containing", "part", "--through", "cat"]);
    assert_eq!(place.ok(["queue", "cat", "q"]), "");
}

#[test]
fn rewrite_carries_any_bytes_and_readers_in_other_processes_carry_on() {
    let place = Workplace::empty();
    let input = b"{\"base64\": \"/wD+\"}\n{\"text\": \"a\\nb\"}\n{\"text\": \"\"}\n";
    append(&place, input, &["--json"]);
    let mut tail = place.command(["queue", "tail", "q", "-f"]).spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).split(b'\n');
    let mut next = || lines.next().expect("a line").expect("bytes");
    assert_eq!([next(), next(), next(), next()].concat(), b"\xff\0\xfeab");
    let run = place.run(["queue", "rewrite", "q", "--through", "sed 's/wD/wH/; s/nb/nc/'"]);
    assert!(run.ok().contains("0 dropped, 2 replaced"));
    append(&place, b"behind\n", &[]);
    assert_eq!(next(), b"behind");
    tail.kill().expect("it can be killed");
    tail.wait().expect("it ends");
    assert_eq!(place.run(["queue", "cat", "q"]).stdout, b"\xff\x01\xfe\na\nc\n\nbehind\n");
    assert!(place.ok(["queue", "verify", "q"]).contains("0 problems"));
}
