//! The worlds that take processes, mounts and root, run as they are run from the command line.

use std::process::{Command, Output};

use serde_json::Value;

/// Exit statuses: something was lost, the command line is wrong, the machine lacks something.
const LOST: i32 = 1;
const WRONG_USAGE: i32 = 2;
const CANNOT: i32 = 3;

/// Whatever is made on the way is made below a directory of its own, and nothing of it is left.
fn run(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kogia-crash"));
    command.args(["run", "--json"]).args(arguments).env("TMPDIR", dir.path());
    let output = command.output().expect("it starts");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    assert!(!mounts.contains(&*dir.path().to_string_lossy()), "{mounts}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 0);
    output
}

/// The report; nothing where this machine can't have such a world.
fn report(arguments: &[&str], status: i32) -> Option<Value> {
    let output = run(arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(CANNOT) {
        eprintln!("passed over: {words}");
        return None;
    }
    assert_eq!(output.status.code(), Some(status), "{words}{output:?}");
    Some(serde_json::from_slice(&output.stdout).expect("a report"))
}

#[test]
fn processes_that_are_killed_at_named_steps_lose_nothing() {
    let report = report(&["--world", "kill", "--workload", "compaction", "--states", "12"], 0);
    let report = report.expect("it takes nothing special");
    assert!(report["states"].as_u64().expect("a count") >= 12, "{report}");
    let notes = report["notes"].as_array().expect("notes");
    assert!(notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("kills at"))));
}

#[test]
fn a_server_that_is_killed_under_eight_uploads_loses_nothing() {
    let report = report(&["--world", "kill", "--workload", "uploads", "--states", "12"], 0);
    let report = report.expect("it takes nothing special");
    assert_eq!(report["engine"], "kogia-server", "{report}");
    assert!(report["states"].as_u64().expect("a count") >= 12, "{report}");
}

#[test]
fn a_plan_that_a_failure_would_name_is_followed() {
    let plan = "work:slice.swapped@1/open:open.flushed@1/look/work:checkpoint.flushed@1/look";
    let arguments = ["--world", "kill", "--workload", "compaction", "--state", plan];
    let report = report(&arguments, 0).expect("it takes nothing special");
    let notes = report["notes"].to_string();
    assert!(notes.contains("1 kills at slice.swapped"), "{notes}");
    assert!(notes.contains("1 kills at open.flushed"), "{notes}");
}

#[test]
fn who_watches_no_terminal_is_told_what_has_come_to_its_end() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kogia-crash"));
    command.args(["run", "--world", "sim", "--workload", "queue-append", "--states", "20"]);
    let output = command.output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("sim, queue-append: ") && told.contains(" points\n"), "{told}");
}

#[test]
fn a_state_that_no_world_names_so_is_a_wrong_command_line() {
    for world in ["sim", "errors", "bitrot", "kill", "disk", "disk-errors-xfs"] {
        let arguments = ["--world", world, "--workload", "small-puts", "--state", "no-such,@"];
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(WRONG_USAGE), "{world}: {output:?}");
        assert!(output.stdout.is_empty(), "{world}: {output:?}");
    }
}

#[test]
fn power_cuts_under_a_file_system_lose_nothing() {
    let arguments = ["--world", "disk", "--workload", "overwrites", "--states", "24"];
    let Some(report) = report(&arguments, 0) else { return };
    assert!(report["states"].as_u64().expect("a count") >= 24, "{report}");
}

#[test]
fn a_disk_that_lies_about_flushes_is_found_out() {
    let arguments =
        ["--world", "disk", "--workload", "small-puts", "--states", "60", "--lying-disk"];
    let Some(report) = report(&arguments, LOST) else { return };
    let failing = report["failing"].as_array().expect("failures");
    let state = failing.first().expect("there is one")["state"].as_str().expect("a name");
    let again = run(&[&arguments[..4], &["--lying-disk", "--state", state]].concat());
    let again: Value = serde_json::from_slice(&again.stdout).expect("a report");
    // What the disk was given in another order may be nothing that ext4 mounts.
    let notes = again["notes"].to_string();
    let is_mounted = !notes.contains("could not mount");
    assert!(!is_mounted || again["states"].as_u64() >= Some(1), "{state}: {again}");
}

#[test]
fn a_disk_that_fails_loses_nothing_acknowledged() {
    let arguments = ["--world", "disk-errors", "--workload", "batches", "--states", "8"];
    let Some(report) = report(&arguments, 0) else { return };
    assert_eq!(report["states"].as_u64(), Some(8), "{report}");
}
