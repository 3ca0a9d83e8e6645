//! ls: lists, pages, trees.

use super::{Workplace, json_lines};

fn with_keys(keys: &[&str]) -> Workplace {
    let place = Workplace::with_store();
    let lines: String = keys.iter().map(|key| format!("set '{key}' x\n")).collect();
    place.run_with_input(lines.as_bytes(), ["shell", "s", "--durability", "os"]).ok();
    place
}

#[test]
fn ls_lists_in_byte_order_below_a_prefix() {
    let place = with_keys(&["b", "a/2", "a/1", "a", "a0"]);
    assert_eq!(place.ok(["ls", "s"]), "a\na/1\na/2\na0\nb\n");
    assert_eq!(place.ok(["ls", "s", "a/"]), "a/1\na/2\n");
    assert_eq!(place.ok(["ls", "s", "--start-after", "a/2"]), "a0\nb\n");
    assert_eq!(place.ok(["ls", "s", "nothing"]), "");
}

#[test]
fn ls_groups_by_any_delimiter() {
    let place = with_keys(&["a--1", "a--2", "b", "c--d--e"]);
    assert_eq!(place.ok(["ls", "s", "--delimiter=--"]), "a--\nb\nc--\n");
    assert_eq!(place.ok(["ls", "s", "c--", "--delimiter=--"]), "c--d--\n");
    place.run(["ls", "s", "--delimiter", ""]).fails(2, "--delimiter");
}

#[test]
fn pages_continue_where_the_last_one_ended() {
    let keys: Vec<_> = (0..2100).map(|i| format!("k{i:04}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let place = with_keys(&keys);
    let mut seen = Vec::new();
    let mut start_after = String::new();
    loop {
        let mut args = vec!["ls", "s", "--json", "--max-keys", "1500"];
        if !start_after.is_empty() {
            args.extend(["--start-after", &start_after]);
        }
        let mut lines = json_lines(&place.ok(args));
        let next = lines.pop_if(|last| last.get("next").is_some());
        seen.extend(lines.iter().map(|line| line["key"].as_str().expect("a key").to_string()));
        match next {
            Some(next) => start_after = next["next"].as_str().expect("a key").to_string(),
            None => break,
        }
    }
    assert_eq!(seen, keys);
    let run = place.run(["ls", "s", "--max-keys", "1"]);
    assert!(run.stderr.contains("--start-after 'k0000'"), "{}", run.stderr);
}

#[test]
fn json_and_long_lines_carry_what_head_knows() {
    let place = with_keys(&["a", "f/1"]);
    let lines = json_lines(&place.ok(["ls", "s", "--json", "--delimiter", "/"]));
    assert_eq!((&lines[0]["key"], &lines[0]["len"]), (&"a".into(), &1.into()));
    assert_eq!(lines[1]["prefix"], "f/");
    let long = place.ok(["ls", "s", "--long", "--delimiter", "/"]);
    let columns: Vec<_> = long.lines().map(|line| line.split_whitespace().count()).collect();
    assert_eq!(columns, [6, 1], "{long}");
}

#[test]
fn a_tree_shows_folders_and_can_be_cut() {
    let place = with_keys(&["cam1/day1/a", "cam1/day1/b", "cam1/day2/c", "cam2/d", "e"]);
    let tree = "\
.
├── cam1/
│   ├── day1/
│   │   ├── a
│   │   └── b
│   └── day2/
│       └── c
├── cam2/
│   └── d
└── e
4 folders, 5 objects, 5 B
";
    assert_eq!(place.ok(["ls", "s", "--tree"]), tree);
    let cut = place.ok(["ls", "s", "--tree", "--depth", "1"]);
    assert!(cut.starts_with(".\n├── cam1/\n├── cam2/\n└── e\n2 folders, 1 object, 1 B"), "{cut}");
    assert!(place.ok(["ls", "s", "cam2/", "--tree"]).starts_with("cam2/\n└── d\n"));
}

#[test]
fn a_tree_of_very_many_levels_is_no_stack_overflow() {
    let place = with_keys(&["/".repeat(3000).as_str()]);
    assert!(place.ok(["ls", "s", "--tree"]).ends_with("─ .\n3000 folders, 1 object, 1 B\n"));
}
