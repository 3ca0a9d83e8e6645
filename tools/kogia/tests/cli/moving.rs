//! import and export: directories into the store and out of it.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Workplace, json_lines};

fn bytes_of(number: usize) -> Vec<u8> {
    (0..number * 997).map(|i| (i ^ number) as u8).collect()
}

fn with_media(files: usize) -> Workplace {
    let place = Workplace::with_store();
    for number in 0..files {
        place.write(&format!("media/cam{}/{number:03}.ts", number % 3), bytes_of(number));
    }
    place
}

#[test]
fn a_directory_goes_in_and_comes_out_the_same() {
    let place = with_media(30);
    let strange = std::ffi::OsString::from_vec(b"media/line\nbreak \xff\\".to_vec());
    fs::write(place.path("").join(strange), "strange").expect("Linux takes any name");
    let summary = json_lines(&place.ok(["import", "s", "media", "--json"])).remove(0);
    assert_eq!((&summary["imported_files"], &summary["failed_files"]), (&31.into(), &0.into()));
    assert_eq!(place.get("cam1/004.ts"), bytes_of(4));
    assert_eq!(place.get(r"line\x0abreak \xff\\"), b"strange");
    place.ok(["export", "s", "out"]);
    let same = std::process::Command::new("diff")
        .args(["-r", "media", "out"])
        .current_dir(place.path(""))
        .status();
    assert!(same.expect("diff is there").success());
    let modified = |path: &str| place.path(path).metadata().and_then(|m| m.modified()).ok();
    let millis = |path: &str| {
        modified(path)
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|age| age.as_millis())
    };
    assert_eq!(millis("media/cam1/004.ts"), millis("out/cam1/004.ts"));
}

#[test]
fn what_is_there_already_is_skipped_and_what_differs_is_not() {
    let place = with_media(9);
    let import = |args: &[&str]| {
        let args = [&["import", "s", "media", "--json"], args].concat();
        let summary = json_lines(&place.ok(args)).remove(0);
        (summary["imported_files"].as_u64(), summary["same_files"].as_u64())
    };
    assert_eq!(import(&[]), (Some(9), Some(0)));
    assert_eq!(import(&[]), (Some(0), Some(9)));
    let mut same_length = bytes_of(5);
    same_length[0] ^= 1;
    place.write("media/cam2/005.ts", &same_length);
    assert_eq!(import(&[]), (Some(1), Some(8)));
    assert_eq!(place.get("cam2/005.ts"), same_length);
    assert_eq!(import(&["--prefix", "other/"]), (Some(9), Some(0)));
    place.ok(["export", "s", "out", "--prefix", "cam"]);
    place.write("out/cam2/005.ts", "changed");
    let summary = place.ok(["export", "s", "out", "--prefix", "cam", "--json"]);
    let summary = json_lines(&summary).remove(0);
    assert_eq!((&summary["exported_files"], &summary["same_files"]), (&1.into(), &8.into()));
    assert_eq!(place.read("out/cam2/005.ts"), same_length);
    assert!(!place.path("out/other").exists());
}

#[test]
fn a_dry_run_stores_nothing() {
    let place = with_media(3);
    let printed = place.ok(["import", "s", "media", "--dry-run", "--jobs", "1"]);
    assert!(printed.starts_with("cam0/000.ts\ncam1/001.ts\ncam2/002.ts\n"), "{printed}");
    assert_eq!(place.ok(["ls", "s"]), "");
    let lines = json_lines(&place.ok(["import", "s", "media", "--dry-run", "--json", "-j", "1"]));
    let (last, keys) = lines.split_last().expect("lines");
    assert_eq!((keys.len(), &keys[1]["key"]), (3, &"cam1/001.ts".into()));
    assert_eq!((&last["imported_files"], &last["dry_run"]), (&3.into(), &true.into()));
    let imported = json_lines(&place.ok(["import", "s", "media", "--json"])).remove(0);
    assert_eq!(imported["dry_run"], false);
}

#[test]
fn links_are_left_alone_and_bad_sources_are_refused() {
    let place = with_media(1);
    symlink("/etc/passwd", place.path("media/link")).expect("a link");
    place.ok(["import", "s", "media"]);
    assert_eq!(place.ok(["ls", "s"]), "cam0/000.ts\n");
    place.run(["import", "s", "nowhere"]).fails(8, "nowhere");
    place.run(["import", "s", "media/cam0/000.ts"]).fails(2, "not a directory");
    for dir in [".", "s", "s/index"] {
        place.run(["import", "s", dir]).fails(2, "the store itself");
    }
    place.run(["import", "s", "media", "--acks", "s/META"]).fails(2, "the store itself");
}

/// Symptom: an export destroyed the store. Cause: it was made into a directory of the store, and keys
/// had the names of the store's files. Rule: it goes nowhere near them.
#[test]
fn a_store_is_not_exported_into_itself() {
    let place = Workplace::empty();
    place.ok(["init", "s", "--disk", "d"]);
    for key in ["META", "DISK", "index/CURRENT", "d/DISK", "s/META"] {
        place.put(key, b"evil");
    }
    fs::create_dir_all(place.path("elsewhere")).expect("a directory");
    symlink(place.path("s"), place.path("elsewhere/link")).expect("a link");
    for dir in ["s", "d", "s/index", "s/new", "elsewhere/link", "new/../s", "."] {
        place.run(["export", "s", dir]).fails(2, "a part of the store itself");
    }
    assert!(!place.path("s/new").exists());
    place.ok(["export", "s", "elsewhere/out"]);
    assert_eq!(place.read("elsewhere/out/s/META"), b"evil");
    place.ok(["verify", "s"]);
}

#[test]
fn an_export_that_is_interrupted_leaves_no_part_of_a_file() {
    let place = Workplace::with_store();
    for number in 0..6 {
        place.put(&format!("{number}"), &vec![number; 16 << 20]);
    }
    let run = place.interrupt_in("out", &["export", "s", "out", "--json"]);
    run.fails(130, "interrupted");
    let report = json_lines(&run.text()).remove(0);
    assert_eq!((&report["stopped"], &report["failed_files"]), (&true.into(), &0.into()));
    assert_eq!(super::unfinished_files(&place.path("out")), 0);
    let report = json_lines(&place.ok(["export", "s", "out", "--json"])).remove(0);
    assert_eq!(report["stopped"], false);
    assert_eq!(fs::read_dir(place.path("out")).expect("the directory").count(), 6);
}

#[test]
fn keys_that_would_leave_the_directory_are_refused_and_the_rest_is_exported() {
    let place = Workplace::with_store();
    let hostile = ["../x", "/etc/x", "a/../../x", "./x", "a//x", "dir/", r"nul\x00", ".."];
    for key in hostile {
        place.put(key, b"evil");
    }
    place.put("good/file", b"good");
    let run = place.run(["export", "s", "in/out"]);
    for key in hostile {
        run.fails(1, &format!("kogia: {key}: this key cannot become a path"));
    }
    run.fails(1, "8 files failed");
    assert_eq!(place.read("in/out/good/file"), b"good");
    assert!(!place.path("x").exists() && !place.path("in/x").exists());
}

#[test]
fn links_in_the_directory_do_not_lead_an_export_out_of_it() {
    let place = Workplace::with_store();
    place.put("folder/file", b"new");
    place.put("link", b"new");
    place.write("elsewhere/file", "old");
    fs::create_dir(place.path("out")).expect("a directory");
    symlink(place.path("elsewhere"), place.path("out/folder")).expect("a link");
    symlink(place.path("elsewhere/file"), place.path("out/link")).expect("a link");
    place.run(["export", "s", "out"]).fails(1, "2 files failed");
    assert_eq!(place.read("elsewhere/file"), b"old");
}

#[test]
fn a_key_that_is_a_file_and_a_folder_is_told() {
    let place = Workplace::with_store();
    place.put("a", b"file");
    place.put("a/b", b"below");
    place.run(["export", "s", "out"]).fails(1, "1 file failed");
}

/// Symptom: an import of a few large files never ended. Cause: each of the streams held its
/// share of the memory for writes until its writer collected it, and waited for more. Rule: what
/// a stream waits for must not depend on what another writer does.
#[test]
fn large_files_side_by_side_do_not_wait_for_each_other() {
    let place = Workplace::with_store();
    let value: Vec<u8> = (0..12 << 20).map(|i: u32| ((i * 7) >> 3) as u8).collect();
    for number in 0..8 {
        place.write(&format!("media/{number}"), &value);
    }
    let mut import =
        place.command(["import", "s", "media", "--jobs", "8"]).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while import.try_wait().expect("it can be asked").is_none() {
        if Instant::now() > deadline {
            import.kill().expect("it can be killed");
            panic!("the import does not end");
        }
        sleep(Duration::from_millis(10));
    }
    for number in 0..8 {
        assert!(place.get(&number.to_string()) == value, "{number}");
    }
}

/// An import killed in the middle has kept all that it acknowledged, and goes on from there.
#[test]
fn a_killed_import_kept_what_it_acknowledged() {
    let place = with_media(400);
    let mut import = place
        .command(["import", "s", "media", "--acks", "acks", "--jobs", "4"])
        .spawn()
        .expect("it starts");
    let acknowledged = || fs::read(place.path("acks")).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(60);
    while acknowledged().iter().filter(|byte| **byte == b'\n').count() < 40 {
        assert!(Instant::now() < deadline, "the import comes along");
        sleep(Duration::from_millis(1));
    }
    import.kill().expect("it can be killed");
    import.wait().expect("it ends");
    let acknowledged = String::from_utf8(acknowledged()).expect("keys are printed as text");
    let (whole_lines, _) = acknowledged.rsplit_once('\n').expect("lines");
    place.ok(["export", "s", "out"]);
    for key in whole_lines.lines() {
        assert_eq!(place.read(&format!("out/{key}")), place.read(&format!("media/{key}")), "{key}");
    }
    place.ok(["import", "s", "media"]);
    assert_eq!(place.ok(["ls", "s"]).lines().count(), 400);
    place.ok(["verify", "s"]);
}
