//! Breaks the world under a storage engine, and checks what is left against what was acknowledged.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`engine`] | what an engine has to offer, and how Kogia offers it |
//! | [`operation`], [`workload`] | what is asked for: a pure function of a name and a seed |
//! | [`session`] | an engine at a place, told to carry operations out, and looked at |
//! | [`oracle`] | what may be left of what was asked |
//! | [`world`] | what breaks |
//! | [`points`] | the steps of the library, and how to be killed at one |
//! | [`child`], [`janitor`] | processes that are killed, and the one that cleans up behind all |
//! | [`mod@run`], [`report`], [`picture`] | all of it together, and what comes of it |

#![deny(unsafe_code)]

mod child;
mod cli;
mod engine;
mod history;
mod janitor;
mod operation;
mod oracle;
mod picture;
mod points;
mod random;
mod report;
mod run;
mod session;
mod shrink;
mod workload;
mod world;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use run::Wrong;

const LOST: u8 = 1;
const WRONG_USAGE: u8 = 2;
const CANNOT: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [part, order] if part == child::ARGUMENT => return child::serve(order),
        [part] if part == janitor::ARGUMENT => return janitor::serve(std::io::stdin()),
        _ => {}
    }
    match cli::Cli::parse().command {
        cli::Command::List => list(),
        cli::Command::Run(options) => match run(&options) {
            Ok(code) => code,
            Err(Wrong::Usage(what)) => complain(&what, WRONG_USAGE),
            Err(Wrong::Machine(what)) => complain(&what, CANNOT),
        },
    }
}

fn run(options: &cli::Run) -> Result<ExitCode, Wrong> {
    let report = run::run(options)?;
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

fn list() -> ExitCode {
    let worlds = world::ALL.iter().map(|world| (world.name(), world.about()));
    let workloads = workload::all().map(|workload| (workload.name, workload.about));
    let engines = engine::ALL.iter().map(|engine| (engine.name(), engine.about()));
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

/// Whoever reads may have gone away meanwhile.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn complain(what: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "kogia-crash: {what}");
    ExitCode::from(code)
}
