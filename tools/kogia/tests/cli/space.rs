//! stat and compact: what takes room, and how it comes back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use kogia::{Batch, Options};
use serde_json::Value;

use super::{Run, Workplace, json_lines};

const TRACK_BYTES: u64 = 256 << 10;

/// A store of small tracks on two disks, `a` and `b`, of which half the objects were deleted.
fn with_garbage() -> Workplace {
    let place = Workplace::empty();
    place.ok(["init", "s", "--disk", "a", "--disk", "b"]);
    fill(&place, 0..400);
    place
}

fn key(number: u32) -> String {
    format!("k{number:04}")
}

/// Batches of ten objects of 3,000 bytes, of each of which five are then deleted.
fn fill(place: &Workplace, numbers: Range<u32>) {
    let options = Options::new().track_bytes(TRACK_BYTES).compaction(false);
    let store = options.open(place.path("s")).expect("the store opens");
    for first in numbers.clone().step_by(10) {
        let mut batch = Batch::new();
        for number in first..first + 10 {
            batch.put(key(number), vec![number as u8; 3_000]);
        }
        store.write(batch).expect("it is stored");
    }
    for number in numbers.step_by(2) {
        store.delete(key(number)).expect("it is deleted");
    }
    store.checkpoint().expect("a checkpoint");
    store.close().expect("it closes");
}

fn stat(place: &Workplace) -> Value {
    json_lines(&place.ok(["stat", "s", "--json"])).remove(0)
}

fn bytes(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Name, length and blocks of each track.
fn track_files(place: &Workplace) -> Vec<(PathBuf, u64, u64)> {
    let folders = ["a", "b"].into_iter().flat_map(|disk| fs::read_dir(place.path(disk)).unwrap());
    let folders = folders.flatten().filter(|entry| entry.path().is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten());
    let mut found: Vec<_> = files
        .map(|file| (file.path(), file.metadata().expect("a file")))
        .map(|(path, file)| (path, file.len(), file.blocks()))
        .collect();
    found.sort();
    found
}

fn assert_whole(place: &Workplace) {
    assert_eq!(place.ok(["ls", "s"]).lines().count(), 200);
    assert_eq!(place.get("k0001"), vec![1; 3_000]);
    place.ok(["verify", "s"]);
}

#[test]
fn a_dry_run_tells_what_compaction_then_does_and_leaves_the_tracks_alone() {
    let place = with_garbage();
    let files = track_files(&place);
    let text = place.ok(["compact", "s", "--dry-run"]);
    assert!(text.contains(" would be compacted: "), "{text}");
    let plan = json_lines(&place.ok(["compact", "s", "--dry-run", "--json"])).remove(0);
    assert_eq!(track_files(&place), files);
    let planned = plan["tracks"].as_array().expect("a list").len() as u64;
    assert!(planned > 3 && bytes(&plan, "gain_bytes") > 400_000, "{plan}");

    let before = stat(&place);
    let report = json_lines(&place.ok(["compact", "s", "--json"])).remove(0);
    assert_eq!((bytes(&report, "tracks"), bytes(&report, "tracks_left")), (planned, 0));
    let (cost, copied) = (bytes(&plan, "cost_bytes"), bytes(&report, "copied_bytes"));
    assert!(copied.abs_diff(cost) < cost / 4, "{copied} copied, {cost} planned");
    let after = stat(&place);
    assert_eq!(bytes(&report, "before_bytes"), bytes(&before, "used_bytes"));
    assert_eq!(bytes(&report, "after_bytes"), bytes(&after, "used_bytes"));
    let back = bytes(&before, "used_bytes") - bytes(&after, "used_bytes");
    let gain = bytes(&plan, "gain_bytes");
    // Tombstones that are not needed any more come on top.
    assert!((gain / 4 * 3..gain * 2).contains(&back), "{back} came back, {gain} planned");
    assert_whole(&place);
    place.ok(["rebuild", "s"]);
    assert_whole(&place);
    // The header of a track as small as these is a share of its own.
    let nothing = place.ok(["compact", "s", "--dry-run", "--min-garbage", "10%"]);
    assert!(nothing.starts_with("0 tracks would be compacted"), "{nothing}");
}

#[test]
fn only_the_tracks_and_disks_that_are_named_are_compacted() {
    let place = with_garbage();
    let before = stat(&place);
    let disk_b = before["disks"][1]["id"].as_str().expect("an id").to_string();
    let of = |stat: &Value, disk: &str| -> Vec<Value> {
        let tracks = stat["tracks"].as_array().expect("a list").iter();
        tracks.filter(|track| (track["disk"] == disk_b) == (disk == "b")).cloned().collect()
    };
    let first = of(&before, "b")[0]["track"].clone();
    let number = first.to_string();
    let report = json_lines(&place.ok(["compact", "s", "--track", &number, "--json"])).remove(0);
    assert_eq!(report["tracks"], 1);
    let gone = |stat: Value| of(&stat, "b").iter().all(|track| track["track"] != first);
    assert!(gone(stat(&place)));
    // Both are garbage to the other half, and only one disk is named: by its place, then by its id.
    let text = place.ok(["compact", "s", "--disk", "b"]);
    assert!(text.contains("\ngiven back  "), "{text}");
    let after = stat(&place);
    assert_eq!(of(&after, "a"), of(&before, "a"));
    assert!(of(&after, "b").len() < of(&before, "b").len());
    let plan = place.ok(["compact", "s", "--dry-run", "--disk", &disk_b[..6]]);
    assert!(plan.starts_with("0 tracks"), "{plan}");
    place.ok(["compact", "s", "--disk", &place.path("a").display().to_string()]);
    assert!(of(&stat(&place), "a").len() < of(&before, "a").len());
    assert_whole(&place);
    place.run(["compact", "s", "--track", "4000000000"]).fails(2, "no track 4000000000");
    place.run(["compact", "s", "--disk", "elsewhere"]).fails(2, "elsewhere names none");
    assert!(!place.path("elsewhere").exists());
    assert_eq!(stat(&place)["disks"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_share_of_garbage_and_a_rate_can_be_asked_for() {
    let place = with_garbage();
    let none = place.ok(["compact", "s", "--min-garbage", "90%", "--dry-run"]);
    assert!(none.starts_with("0 tracks would be compacted: 0 B copied"), "{none}");
    let started = Instant::now();
    let report = place.ok(["compact", "s", "--rate", "500KiB", "--quiet", "--json"]);
    let report = json_lines(&report).remove(0);
    let least = bytes(&report, "copied_bytes") as f64 / 512_000.0 * 0.9;
    assert!(started.elapsed().as_secs_f64() > least, "{report} in {:?}", started.elapsed());
    for wrong in ["5", "x", "200%"] {
        place.run(["compact", "s", "--min-garbage", wrong]).fails(2, "for example 5%");
    }
}

#[test]
fn a_track_that_cannot_be_read_is_named_and_the_others_are_compacted() {
    let place = with_garbage();
    let hit = track_files(&place).remove(0).0;
    let mut file = fs::read(&hit).expect("a track");
    // The first chunk behind the header begins its first chain.
    file[4096 + 100] ^= 1;
    fs::write(&hit, file).expect("the track can be written");
    let name = hit.file_stem().expect("a name").to_string_lossy().into_owned();
    let number: u32 = name.parse().expect("a number");
    let run = place.run(["compact", "s", "--json"]);
    run.fails(3, &format!("can't be read to the end: track {number};"));
    let report = json_lines(&run.text()).remove(0);
    assert_eq!(report["blocked"], serde_json::json!([number]));
    assert!(bytes(&report, "tracks") > 2, "{report}");
    assert!(hit.exists());
}

#[test]
fn a_killed_compaction_loses_nothing_and_can_be_run_again() {
    let place = with_garbage();
    for round in 0..6 {
        let mut compact =
            place.command(["compact", "s", "--rate", "500KiB"]).spawn().expect("it starts");
        sleep(Duration::from_millis(50 + 90 * round));
        let _ = compact.kill();
        compact.wait().expect("it ends");
        assert_whole(&place);
    }
    place.ok(["compact", "s"]);
    assert_whole(&place);
    let text = place.ok(["stat", "s"]);
    assert!(stat(&place)["amplification"].as_f64() < Some(1.2), "{text}");
}

#[test]
fn ctrl_c_ends_a_compaction_which_says_so_and_goes_on_when_run_again() {
    let place = with_garbage();
    let planned = json_lines(&place.ok(["compact", "s", "--dry-run", "--json"])).remove(0);
    let slowly = ["compact", "s", "--rate", "100KiB", "--json"];
    let compact = place.command(slowly).spawn().expect("it starts");
    sleep(Duration::from_millis(1_500));
    let asked = Instant::now();
    let kill = Command::new("kill").args(["-INT", &compact.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    let run = Run::from(compact.wait_with_output().expect("it ends"));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    run.fails(130, "interrupted with ");
    let report = json_lines(&run.text()).remove(0);
    let (done, left) = (bytes(&report, "tracks"), bytes(&report, "tracks_left"));
    assert_eq!((&report["stopped"], report["track"].is_null()), (&true.into(), true));
    assert!(left > 0 && done + left == planned["tracks"].as_array().unwrap().len() as u64);
    assert_whole(&place);
    place.ok(["compact", "s"]);
    assert_whole(&place);
    assert!(stat(&place)["amplification"].as_f64() < Some(1.2));
}

#[test]
fn only_a_command_that_stays_compacts_by_itself() {
    let place = with_garbage();
    let files = track_files(&place);
    let shell = place.command(["shell", "s"]).stdin(Stdio::piped()).spawn();
    let mut shell = shell.expect("a shell");
    let mut input = shell.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        // A thread that compacts would look for work every second.
        sleep(Duration::from_millis(1_100));
        writeln!(input, "head k0001").expect("the shell reads");
        assert!(lines.next().is_some());
    }
    drop(input);
    assert!(shell.wait().expect("the shell ends").success());
    assert_eq!(track_files(&place), files);

    fs::create_dir(place.path("inbox")).expect("a folder");
    let mut watch = place.command(["watch", "s", "inbox"]).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while track_files(&place) == files {
        assert!(Instant::now() < deadline, "it compacts");
        sleep(Duration::from_millis(50));
    }
    watch.kill().expect("it can be killed");
    watch.wait().expect("it ends");
    assert_whole(&place);
}

#[test]
fn stat_shows_a_bar_for_each_track_with_the_most_garbage() {
    let place = with_garbage();
    let all = stat(&place);
    let tracks = all["tracks"].as_array().expect("a list");
    let text = place.ok(["stat", "s"]);
    assert!(text.contains("# live  x dead"), "{text}");
    let rows: Vec<_> = text.lines().filter(|line| line.ends_with(']')).collect();
    assert_eq!(rows.len(), tracks.len() + 1, "{text}");
    let (first, row) = (&tracks[0], rows[0]);
    assert!(row.trim_start().starts_with(&format!("{}  ", first["track"])), "{row}");
    let id = first["disk"].as_str().expect("an id");
    assert!(row.contains(&id[..8]) && row.contains("append"), "{row}");
    let marks = |mark: char| row.chars().filter(|c| *c == mark).count() as u64;
    assert_eq!(row.split('[').nth(1).map(str::len), Some(25));
    let known =
        ["live", "dead", "free", "punched"].map(|part| bytes(first, &format!("{part}_bytes")));
    let expected = known[0] * 24 / known.iter().sum::<u64>();
    assert!(marks('#').abs_diff(expected) <= 1 && marks('x') >= 8, "{row}: {known:?}");
    let (used, needed) = (bytes(&all, "used_bytes"), bytes(&all, "needed_bytes"));
    let amplification = format!("({:.2})", used as f64 / needed as f64);
    assert!(text.contains(&amplification), "{amplification} in {text}");
    assert!(!text.contains('\x1b'), "colour is for terminals");
}

#[test]
fn stat_shows_twenty_tracks_unless_all_are_asked_for() {
    let place = with_garbage();
    fill(&place, 400..2000);
    let tracks = stat(&place)["tracks"].as_array().map(Vec::len).expect("a list");
    assert!(tracks > 21, "{tracks}");
    let rows = |text: &str| text.lines().filter(|line| line.ends_with(']')).count();
    let text = place.ok(["stat", "s"]);
    assert_eq!(rows(&text), 21);
    assert!(text.contains(&format!("and {} more", tracks - 20)), "{text}");
    assert_eq!(rows(&place.ok(["stat", "s", "--tracks"])), tracks + 1);
}

fn disks(place: &Workplace) -> Vec<Value> {
    let disks = json_lines(&place.ok(["disks", "s", "--json"])).remove(0);
    disks["disks"].as_array().expect("a list").clone()
}

#[test]
fn disks_are_shown_added_drained_and_kept() {
    let place = with_garbage();
    let text = place.ok(["disks", "s"]);
    let id = disks(&place)[0]["id"].as_str().expect("an id").to_string();
    assert!(text.contains(&id) && text.contains("in all"), "{text}");
    place.run(["disk", "drain", "s", "elsewhere"]).fails(2, "elsewhere names none");

    let added = json_lines(&place.ok(["disk", "add", "s", "c", "--json"])).remove(0);
    assert_eq!(disks(&place)[2]["id"], added["id"]);
    place.write("full/file", "not a disk");
    for dir in ["c", "full"] {
        let run = place.run(["disk", "add", "s", dir]);
        run.fails(7, "an empty or new directory becomes a disk");
        assert!(!run.stderr.contains("--disk"), "{}", run.stderr);
    }

    let plan = json_lines(&place.ok(["disk", "drain", "s", "a", "--dry-run", "--json"])).remove(0);
    assert_eq!((disks(&place).len(), bytes(&plan, "cost_bytes") > 200_000), (3, true), "{plan}");
    let slowly = ["disk", "drain", "s", &id[..8], "--rate", "50KiB"];
    let drain = place.command(slowly).spawn().expect("it starts");
    sleep(Duration::from_millis(1_500));
    let kill = Command::new("kill").args(["-INT", &drain.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    let run = Run::from(drain.wait_with_output().expect("it ends"));
    run.fails(130, "interrupted");
    assert!(place.ok(["disks", "s"]).contains(", draining)"));
    let kept = json_lines(&place.ok(["disk", "keep", "s", "a", "--json"])).remove(0);
    assert_eq!((&kept["draining"], &kept["id"]), (&false.into(), &id.clone().into()));
    assert_eq!(disks(&place)[0]["space"], kept["space"]);

    let report = json_lines(&place.ok(["disk", "drain", "s", "a", "--json"])).remove(0);
    assert!(bytes(&report, "tracks") > 0, "{report}");
    assert_eq!(disks(&place).len(), 2);
    fs::remove_dir_all(place.path("a")).expect("it goes");
    assert_whole(&place);
    place.ok(["disk", "drain", "s", "b"]);
    place.run(["disk", "drain", "s", "c"]).fails(2, "add one first");
    assert_whole(&place);
}

#[test]
fn json_has_the_numbers_of_the_table() {
    let place = with_garbage();
    let (text, all, stat) = (place.ok(["disks", "s"]), disks(&place), stat(&place));
    let shown = |space: &Value| {
        let size = |part: &str| HumanBytes(bytes(space, &format!("{part}_bytes"))).to_string();
        let sizes = ["file", "live", "dead", "free", "punched"].map(size);
        format!("{}  {}", space["tracks"], sizes.map(|size| format!("{size:>11}")).join("  "))
    };
    let rows: Vec<_> = text.lines().skip(1).collect();
    assert_eq!((rows.len(), all.len()), (3, 2));
    for (row, space) in rows.iter().zip([&all[0]["space"], &all[1]["space"], &stat["total"]]) {
        assert!(row.trim_start().starts_with(&shown(space)), "{row}: {space}");
    }
    assert!(bytes(&all[0]["space"], "dead_bytes") > 100_000, "{text}");
    assert_eq!(stat["disks"][0]["space"], all[0]["space"]);
}

#[test]
fn disks_that_are_as_full_are_left_alone_by_a_rebalance() {
    let place = with_garbage();
    let files = track_files(&place);
    let report = json_lines(&place.ok(["disk", "rebalance", "s", "--json"])).remove(0);
    assert_eq!((&report["tracks"], &report["stopped"]), (&0.into(), &false.into()));
    assert_eq!(track_files(&place), files);
    assert!(place.ok(["disk", "rebalance", "s"]).contains("moved       0 tracks"));
}

/// Symptom: a dump of a sound store was full of BAD chunks. Cause: holes were taken for chunks that
/// do not verify. Rule: what was given back is told as a hole, in one line a run.
#[test]
fn a_dump_tells_holes_as_runs_and_as_nothing_bad() {
    let place = Workplace::with_store();
    place.put("first", &[1; 3_000]);
    place.put(r"large \x00", &[2; 100_000]);
    place.put("last", &[3; 3_000]);
    place.ok(["rm", "s", r"large \x00"]);
    let text = place.ok(["dump", "s"]);
    assert!(text.contains(r#""large \x00""#), "{text}");
    assert_eq!(text.matches(": a hole").count(), 1, "{text}");
    assert!(!text.contains("BAD"), "{text}");
    let hole = json_lines(&place.ok(["dump", "s", "--json"])).into_iter();
    let hole = hole.filter(|finding| finding["finding"] == "hole").collect::<Vec<_>>();
    assert_eq!(hole.len(), 1);
    assert_eq!(hole[0]["chunks"], 100_000_u64.div_ceil(4_072));

    // The front of the track, head and all, as compaction leaves what it has passed over.
    let folder = fs::read_dir(place.path("s/tracks")).unwrap().flatten();
    let folder = folder.map(|entry| entry.path()).find(|path| path.is_dir()).expect("a folder");
    let track = fs::read_dir(folder).unwrap().flatten().next().expect("a track").path();
    let mut bytes = fs::read(&track).expect("the track");
    let last = hole[0]["chunk"].as_u64().unwrap() as usize + 25;
    bytes[4096..last * 4096].fill(0);
    fs::write(&track, bytes).expect("the track can be written");
    let text = place.ok(["dump", "s"]);
    assert!(text.contains(&format!("  chunks 1..{last}: a hole\n")), "{text}");
    assert!(text.contains("\"last\"") && !text.contains("BAD"), "{text}");
}

#[test]
fn what_is_put_or_compacted_with_compress_takes_less_room_and_is_read_without() {
    let place = Workplace::with_store();
    let text = "nothing moves, nothing moves, all quiet\n".repeat(2_000);
    place.write("log", &text);
    place.ok(["put", "s", "plain", "log"]);
    place.ok(["put", "s", "packed", "log", "--compress"]);
    place.ok(["put", "s", "harder", "log", "--compress=19"]);
    let live = |place: &Workplace| {
        let stat = stat(place);
        (bytes(&stat, "object_bytes"), bytes(&stat["total"], "live_bytes"))
    };
    let (object_bytes, live_bytes) = live(&place);
    assert_eq!(object_bytes, 3 * text.len() as u64);
    assert!((80_000..100_000).contains(&live_bytes), "{live_bytes}");
    let dump = place.ok(["dump", "s"]);
    let lines: Vec<_> = dump.lines().filter(|line| line.contains(", compressed to ")).collect();
    assert!(lines.len() == 2 && lines[0].contains("packed") && lines[1].contains("harder"));
    place.ok(["compact", "s", "--compress=-3", "--track", "1"]);
    assert!(live(&place).1 < 5_000);
    for key in ["plain", "packed", "harder"] {
        assert!(place.get(key) == text.as_bytes(), "{key}");
    }
    place.ok(["verify", "s"]);
    place.run(["put", "s", "k", "log", "--compress=20"]).fails(2, "--compress");
}

/// Symptom: an export of a store without one of its disks wrote nothing. Cause: the first object that
/// could not be read ended it. Rule: it is named and counted, and the others are exported.
#[test]
fn what_lies_on_a_missing_disk_fails_and_the_rest_is_exported() {
    let place = with_garbage();
    fs::rename(place.path("b"), place.path("kept")).expect("it is renamed");
    let run = place.run(["export", "s", "out", "--accept-missing", "--json"]);
    let report = json_lines(&run.text()).remove(0);
    let (exported, failed) = (bytes(&report, "exported_files"), bytes(&report, "failed_files"));
    run.fails(1, &format!("{failed} files failed"));
    assert!(exported > 20 && failed > 20 && exported + failed == 200, "{report}");
    assert_eq!(fs::read_dir(place.path("out")).expect("the directory").count() as u64, exported);
    let absent = (0..400).map(key).find(|key| {
        run.stderr.contains(&format!("kogia: {key}: ")) && !place.path("out").join(key).exists()
    });
    assert!(absent.is_some(), "{}", run.stderr);
    fs::rename(place.path("kept"), place.path("b")).expect("it is back");
    place.ok(["export", "s", "out"]);
    assert_eq!(fs::read_dir(place.path("out")).expect("the directory").count(), 200);
}

#[test]
fn a_store_goes_on_without_a_missing_disk_which_can_be_given_up() {
    let place = with_garbage();
    let id = disks(&place)[1]["id"].as_str().expect("an id").to_string();
    place.run(["disk", "forget", "s", "b"]).fails(2, "is there");
    fs::rename(place.path("b"), place.path("kept")).expect("it is renamed");
    place.run(["stat", "s"]).fails(7, "--accept-missing");
    let listed = place.ok(["ls", "s", "--accept-missing"]);
    assert_eq!(listed.lines().count(), 200);
    assert!(place.ok(["disks", "s", "--accept-missing"]).contains("is missing"));
    place.ok(["put", "s", "new", "--accept-missing", "kept/DISK"]);
    let plan = json_lines(&place.ok(["disk", "forget", "s", "b", "--dry-run", "--json"]));
    let objects = bytes(plan.last().expect("the sums"), "objects");
    assert_eq!((plan.len() as u64, objects > 20), (objects + 1, true));
    fs::rename(place.path("kept"), place.path("b")).expect("it is back");
    assert_eq!(place.get("new"), place.read("b/DISK"));
    place.ok(["rm", "s", "new"]);
    assert_whole(&place);
    fs::rename(place.path("b"), place.path("kept")).expect("it is renamed");
    let lost = place.ok(["disk", "forget", "s", &id[..8]]);
    assert_eq!(lost.lines().count() as u64, objects);
    assert_eq!(place.ok(["ls", "s"]).lines().count() as u64, 200 - objects);
    place.ok(["verify", "s"]);
    assert_eq!(disks(&place).len(), 1);
}
