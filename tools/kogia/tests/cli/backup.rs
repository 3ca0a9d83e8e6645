//! backup: a copy that is a store, brought up to date, whatever cuts it off.

use std::fs;
use std::time::Duration;

use super::{Workplace, json_lines};

fn fill(place: &Workplace, files: u32, seed: u8) {
    for number in 0..files {
        place.write(&format!("media/{number}"), vec![seed ^ number as u8; 300_000]);
    }
    place.ok(["import", "s", "media"]);
}

#[test]
fn a_backup_is_a_store_and_is_brought_up_to_date() {
    let place = Workplace::with_store();
    fill(&place, 5, 1);
    let plan = place.ok(["backup", "s", "b", "--dry-run"]);
    assert!(plan.contains("would be brought over") && !place.path("b").exists(), "{plan}");
    let printed = place.ok(["backup", "s", "b", "--copy"]);
    assert!(printed.contains("copied     1.4") && !printed.contains("kept"), "{printed}");
    let list = place.ok(["ls", "s", "--json"]);
    assert_eq!(place.ok(["ls", "b", "--json"]), list);
    place.ok(["verify", "b"]);
    let again = json_lines(&place.ok(["backup", "s", "b", "--json"])).remove(0);
    assert_eq!(again["kept_bytes"], again["total_bytes"]);
    assert_eq!((&again["copied_bytes"], &again["dry_run"]), (&0.into(), &false.into()));
    place.put("late", b"value");
    place.ok(["rm", "s", "3"]);
    place.ok(["backup", "s", "b"]);
    let list = place.ok(["ls", "s", "--json"]);
    assert_eq!(place.ok(["ls", "b", "--json"]), list);
    place.ok(["rebuild", "b"]);
    assert_eq!(place.ok(["ls", "b", "--json"]), list);
    place.ok(["verify", "b"]);
    // The store is gone: the backup, wherever it is, is the store.
    fs::remove_dir_all(place.path("s")).expect("it goes");
    fs::rename(place.path("b"), place.path("s")).expect("it moves");
    assert_eq!(place.get("late"), b"value");
}

#[test]
fn wrong_directories_and_modes_are_refused() {
    let place = Workplace::with_store();
    place.put("k", b"value");
    place.write("photos/holiday.jpg", b"not ours");
    let refused = |store: &str, dir: &str, what: &str| {
        let run = place.run(["backup", store, dir]);
        run.fails(7, what);
        run.fails(7, "an empty or new directory");
        assert!(!run.stderr.contains("kogia stat"), "{}", run.stderr);
    };
    refused("s", "photos", "give an empty directory");
    place.run(["backup", "s", "s/b"]).fails(2, "the store's own");
    place.run(["backup", "s", "b", "--copy", "--hard-link"]).fails(2, "--hard-link");
    place.run(["backup", "s"]).fails(2, "<DIR>");
    place.ok(["backup", "s", "b", "--quiet"]);
    place.run_with_input(b"fork", ["put", "b", "k"]).ok();
    refused("s", "b", "was written to since");
    place.ok(["init", "other"]);
    refused("other", "b", "another store");
    place.write("unfinished/UNFINISHED", "somebody's");
    refused("s", "unfinished", "another store");
    for command in ["verify", "rebuild", "init"] {
        let run = place.run([command, "unfinished"]);
        run.fails(7, "a backup into it was cut off: 'kogia backup STORE DIR' again");
        assert!(!run.stderr.contains("kogia init"), "{}", run.stderr);
    }
}

/// Kills the command at moments that go from its start to its end.
#[test]
fn a_killed_backup_leaves_the_old_one_or_the_new_one() {
    let place = Workplace::with_store();
    fill(&place, 12, 1);
    place.ok(["backup", "s", "b", "--copy"]);
    let mut old = place.ok(["ls", "b", "--json"]);
    let mut cut_off = 0;
    for round in 0..16_u8 {
        let value = vec![round; 700_000];
        place.put(&format!("new/{round}"), &value);
        place.put("same", &value);
        let new = place.ok(["ls", "s", "--json"]);
        let mut backup = place.command(["backup", "s", "b", "--copy"]).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(10 + 8 * u64::from(round)));
        // It may have come to its end by now.
        let _ = backup.kill();
        cut_off += u32::from(!backup.wait().expect("it ends").success());
        let found = place.ok(["ls", "b", "--json"]);
        assert!(found == new || found == old, "round {round}");
        place.ok(["verify", "b"]);
        old = found;
    }
    assert!(cut_off > 0, "no backup was cut off");
    // The next opening has cleared away what they left in the store.
    place.ok(["stat", "s"]);
    let left: Vec<_> = fs::read_dir(place.path("s")).expect("the store").flatten().collect();
    assert!(
        left.iter().all(|e| !e.file_name().to_string_lossy().starts_with("index.")),
        "{left:?}"
    );
    place.ok(["backup", "s", "b", "--copy"]);
    assert_eq!(place.ok(["ls", "b", "--json"]), place.ok(["ls", "s", "--json"]));
    place.ok(["verify", "b"]);
}

#[test]
fn a_killed_first_backup_is_no_store_and_can_be_run_again() {
    let place = Workplace::with_store();
    fill(&place, 30, 7);
    let list = place.ok(["ls", "s", "--json"]);
    for round in 0..8 {
        let mut backup = place.command(["backup", "s", "b", "--copy"]).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(20 + 15 * round));
        let _ = backup.kill();
        backup.wait().expect("it ends");
        let run = place.run(["ls", "b", "--json"]);
        match run.code {
            0 => assert_eq!(run.text(), list),
            _ => run.fails(7, ""),
        }
        if round % 2 == 1 {
            place.ok(["backup", "s", "b", "--copy"]);
            assert_eq!(place.ok(["ls", "b", "--json"]), list);
            fs::remove_dir_all(place.path("b")).expect("it goes");
        }
    }
}
