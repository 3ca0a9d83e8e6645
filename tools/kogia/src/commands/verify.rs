//! `kogia verify`: everything read and checked.

use std::io::{self, Write};

use clap::Args;
use indicatif::HumanBytes;
use kogia::{Store, VerifyOptions, VerifyReport};
use serde_json::{Value, json};

use crate::console::Console;
use crate::escaped;
use crate::failure::Failure;
use crate::quantity::{self, count};

#[derive(Args)]
pub struct Verify {
    /// Read at most so many bytes a second, for example 20M
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    rate: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks everything; problems are printed and make the command fail.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let report = store.verify(&VerifyOptions {
            bytes_per_second: self.rate,
            on_progress: Some(Box::new(console.progress("verify"))),
        })?;
        if self.json {
            writeln!(console.out, "{}", to_json(&report))?;
        } else {
            write_text(&report, &mut console.out)?;
        }
        match report.problems.len() as u64 {
            0 => Ok(()),
            problems => Err(Failure::Problems(format!("{} found", count(problems, "problem")))),
        }
    }
}

fn write_text(report: &VerifyReport, out: &mut dyn Write) -> io::Result<()> {
    for problem in &report.problems {
        let key = problem.key.as_ref().map(|key| format!(" (key {})", escaped::text(key)));
        writeln!(out, "{}: {}{}", problem.place, problem.what, key.unwrap_or_default())?;
    }
    writeln!(
        out,
        "{} ({}), {}, {}: {}",
        count(report.objects, "object"),
        HumanBytes(report.bytes),
        count(report.chunks, "chunk"),
        count(report.tracks, "track"),
        count(report.problems.len() as u64, "problem"),
    )
}

fn to_json(report: &VerifyReport) -> Value {
    let problem = |problem: &kogia::Problem| {
        json!({
            "place": problem.place,
            "key": problem.key.as_deref().map(escaped::text),
            "what": problem.what,
        })
    };
    json!({
        "objects": report.objects,
        "bytes": report.bytes,
        "chunks": report.chunks,
        "tracks": report.tracks,
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
