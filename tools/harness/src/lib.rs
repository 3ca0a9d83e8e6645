//! Breaks the world under a storage engine, and checks what is left against what was acknowledged.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`engine`] | what an engine has to offer, and how Kogia offers it |
//! | `operation`, `workload` | what is asked for: a pure function of a name and a seed |
//! | `session` | an engine at a place, told to carry operations out, and looked at |
//! | `oracle` | what may be left of what was asked |
//! | `queue` | the same of queues, which have no keys |
//! | `world` | what breaks |
//! | `points` | the steps of the library, and how to be killed at one |
//! | `child`, `janitor` | processes that are killed, and the one that cleans up behind all |
//! | `run`, `report`, `picture` | all of it together, and what comes of it |
//!
//! The program is this library, given its engines: [`main`].

#![deny(unsafe_code)]

mod child;
mod cli;
pub mod engine;
mod history;
mod janitor;
mod operation;
mod oracle;
mod picture;
mod points;
mod queue;
mod random;
mod report;
mod run;
mod session;
mod shrink;
mod workload;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use engine::Engine;
use run::Wrong;

pub use operation::{Durability, How, Upload, When};

const LOST: u8 = 1;
const WRONG_USAGE: u8 = 2;
const CANNOT: u8 = 3;

/// All of the program, for these engines: what is typed, what is printed, and the exit status.
///
/// It starts the program that it is in again, for processes that are killed: a program calls this
/// and does nothing else. Where none is named, the first engine that can is meant.
///
/// # Examples
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use kogia_crash::engine::kogia::Kogia;
///
/// // One's own beside it, if it is to be compared.
/// fn main() -> ExitCode {
///     kogia_crash::main(&[&Kogia])
/// }
/// ```
pub fn main(engines: &[&dyn Engine]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [part, order] if part == child::ARGUMENT => return child::serve(order, engines),
        [part] if part == janitor::ARGUMENT => return janitor::serve(std::io::stdin()),
        _ => {}
    }
    match cli::Cli::parse().command {
        cli::Command::List => list(engines),
        cli::Command::Run(options) => match run(&options, engines) {
            Ok(code) => code,
            Err(Wrong::Usage(what)) => complain(&what, WRONG_USAGE),
            Err(Wrong::Machine(what)) => complain(&what, CANNOT),
        },
    }
}

fn run(options: &cli::Run, engines: &[&dyn Engine]) -> Result<ExitCode, Wrong> {
    let report = run::run(options, engines)?;
    if let (Some(path), Some(failing)) = (&options.picture, report.failing.first()) {
        let drawn = std::fs::write(path, picture::svg(failing));
        drawn.map_err(|e| Wrong::Machine(format!("{}: {e}", path.display())))?;
    }
    if options.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
        say(&json);
    } else {
        say(&report.to_string());
    }
    Ok(if report.failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
}

fn list(engines: &[&dyn Engine]) -> ExitCode {
    let worlds = world::ALL.iter().map(|world| (world.name(), world.about()));
    let workloads = workload::all().map(|workload| (workload.name, workload.about));
    let engines = engines.iter().map(|engine| (engine.name(), engine.about()));
    let mut lines = Vec::new();
    let mut add = |title: &str, entries: Vec<(&str, &str)>| {
        lines.push(format!("{title}:"));
        lines.extend(entries.iter().map(|(name, about)| format!("  {name:20}{about}")));
    };
    add("worlds", worlds.collect());
    add("workloads", workloads.collect());
    add("engines", engines.collect());
    say(&lines.join("\n"));
    ExitCode::SUCCESS
}

/// What this program is called: another one may have its engines.
fn program() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into());
    name.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

/// Whoever reads may have gone away meanwhile.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(what: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}: {what}", program());
    ExitCode::from(code)
}
