//! Every engine does what it is asked for, as long as nothing breaks.

use std::process::Command;

use serde_json::Value;

const ENGINES: [&str; 7] = ["kogia", "rocksdb", "redb", "fjall", "sled", "marble", "files"];
/// A process that comes to its end before anybody kills it, and what is left looked at.
const UNBROKEN: &str = "work:100000+0us/look";

/// Workloads that were run, without anything lost.
fn rows(engine: &str, workload: &str) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kogia-crash-peers"));
    command.args(["run", "--json", "--world", "kill", "--engine", engine, "--workload", workload]);
    let output = command.args(["--state", UNBROKEN, "--threads", "1"]).output();
    let output = output.expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{engine}, {workload}: {output:?} {words}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    report["rows"].as_array().expect("rows").len()
}

#[test]
fn an_engine_that_nobody_breaks_has_what_it_was_given() {
    for engine in ENGINES {
        for workload in ["plain", "overwrites", "large-puts"] {
            assert_eq!(rows(engine, workload), 1, "{engine}, {workload}");
        }
    }
}

#[test]
fn batches_are_asked_only_of_engines_that_have_them() {
    for engine in ENGINES {
        let has_batches = engine != "files";
        assert_eq!(rows(engine, "batches"), usize::from(has_batches), "{engine}");
    }
}

#[test]
fn a_failure_is_shown_again_by_the_program_that_found_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_kogia-crash-peers"))
        .args(["run", "--engine", "no-such"])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("`kogia-crash-peers list`"), "{words}");
}
