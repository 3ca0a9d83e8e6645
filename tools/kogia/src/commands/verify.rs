//! `kogia verify`: everything read and checked.

use std::io::{self, Write};

use clap::Args;
use indicatif::HumanBytes;
use kogia::{Store, VerifyOptions, VerifyReport};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::escaped;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server::{self, Server};

#[derive(Args)]
pub struct Verify {
    /// Read at most so many bytes a second, for example 20M
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    rate: Option<u64>,
    /// Of a server, only the partition with this number
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What was found, in a store or in all partitions of a server.
#[derive(Serialize, Deserialize)]
struct Found {
    objects: u64,
    bytes: u64,
    chunks: u64,
    tracks: u64,
    problems: Vec<Problem>,
    /// Whether it was cut short. What is counted is then of the partitions that were read to
    /// their ends, and this many bytes were read in all.
    #[serde(default)]
    stopped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Problem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<usize>,
    place: String,
    key: Option<String>,
    what: String,
}

impl Verify {
    /// Checks everything; problems are printed and make the command fail.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        server::check_partition(self.partition)?;
        let report = store.verify(&VerifyOptions {
            bytes_per_second: self.rate,
            on_progress: Some(Box::new(console.steps("verify"))),
        })?;
        self.tell(&report.into(), console)
    }

    /// Lets a server check all its partitions, or one.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let body = json!({ "partition": self.partition, "bytes_per_second": self.rate });
        let told = server.carry_out("verify", "verify", &body, console)?;
        let mut found: Found = server::read(&told)?;
        for problem in &mut found.problems {
            problem.key = problem.key.as_ref().map(|key| escaped::text(key.as_bytes()));
        }
        self.tell(&found, console)
    }

    fn tell(&self, found: &Found, console: &mut Console) -> Result<(), Failure> {
        if self.json {
            writeln!(console.out, "{}", json!(found))?;
        } else {
            found.write_text(&mut console.out)?;
        }
        if found.stopped {
            let read = HumanBytes(found.done_bytes.unwrap_or_default());
            let what = "that is what was found in the partitions that were read to their ends";
            return Err(Failure::Interrupted(format!("interrupted when {read} were read; {what}")));
        }
        match found.problems.len() as u64 {
            0 => Ok(()),
            problems => Err(Failure::Problems(format!("{} found", count(problems, "problem")))),
        }
    }
}

impl From<VerifyReport> for Found {
    fn from(report: VerifyReport) -> Self {
        let problems = report.problems.into_iter().map(|problem| Problem {
            partition: None,
            place: problem.place,
            key: problem.key.as_deref().map(escaped::text),
            what: problem.what,
        });
        Found {
            objects: report.objects,
            bytes: report.bytes,
            chunks: report.chunks,
            tracks: report.tracks,
            problems: problems.collect(),
            stopped: false,
            done_bytes: None,
        }
    }
}

impl Found {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Problem { partition, place, key, what } in &self.problems {
            if let Some(partition) = partition {
                write!(out, "partition {partition}, ")?;
            }
            let key = key.as_ref().map(|key| format!(" (key {key})"));
            writeln!(out, "{place}: {what}{}", key.unwrap_or_default())?;
        }
        writeln!(
            out,
            "{} ({}), {}, {}: {}",
            count(self.objects, "object"),
            HumanBytes(self.bytes),
            count(self.chunks, "chunk"),
            count(self.tracks, "track"),
            count(self.problems.len() as u64, "problem"),
        )
    }
}
