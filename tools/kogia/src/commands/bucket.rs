//! `kogia buckets` and `kogia bucket`: a server's buckets, and moving one to another partition.

use std::io::Write;

use clap::Args;
use indicatif::HumanBytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server::{self, Server};

#[derive(Args)]
pub struct Buckets {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Move {
    /// The bucket
    bucket: String,
    /// Number of the partition that it is to lie in, from 0 on
    partition: u32,
    /// Only tell how much would be copied
    #[arg(long)]
    dry_run: bool,
    /// Copy at most so many bytes a second, for example 20MiB
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    rate: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Told {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize, Serialize)]
struct Bucket {
    name: String,
    partition: u32,
    created_ms: u64,
}

/// What came of a move, or would.
#[derive(Deserialize)]
struct Report {
    from: u32,
    to: u32,
    rows: u64,
    bytes: u64,
    moved: bool,
    swept: bool,
}

impl Buckets {
    /// Prints the buckets of a server, by name.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let Told { buckets } = server.get("buckets")?;
        let out = &mut console.out;
        if self.json {
            return Ok(writeln!(out, "{}", json!({ "buckets": buckets }))?);
        }
        writeln!(out, "PARTITION  BUCKET")?;
        for bucket in buckets {
            writeln!(out, "{:>9}  {}", bucket.partition, bucket.name)?;
        }
        Ok(())
    }
}

impl Move {
    /// Lets a server move it. Ctrl-C takes back what was copied.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let body = json!({
            "bucket": self.bucket,
            "partition": self.partition,
            "bytes_per_second": self.rate,
            "dry_run": self.dry_run,
        });
        let told = server.carry_out("move-bucket", "move to", &body, console)?;
        let report: Report = server::read(&told)?;
        if self.json {
            writeln!(console.out, "{told}")?;
        }
        if !report.moved && !self.dry_run {
            let what = format!("interrupted: {} lies in partition {}", self.bucket, report.from);
            return Err(Failure::Interrupted(what));
        }
        if self.json {
            return Ok(());
        }
        let (rows, bytes) = (count(report.rows, "row"), HumanBytes(report.bytes));
        let (from, to, bucket) = (report.from, report.to, &self.bucket);
        if self.dry_run {
            let what = format!("{rows}, {bytes}, would be copied from partition {from} to {to}");
            return Ok(writeln!(console.out, "{what}")?);
        }
        writeln!(console.out, "{bucket} lies in partition {to}: {rows}, {bytes} copied")?;
        if !report.swept {
            console.note(format_args!(
                "its old rows in partition {from} are still in use; the next start deletes them"
            ));
        }
        Ok(())
    }
}
