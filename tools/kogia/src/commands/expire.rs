//! `kogia expire`: what has expired deleted, and what is over the limits of rules.

use std::io::Write;
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{ExpireOptions, RetentionRule, Store};
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::{expiry, quantity, server};

#[derive(Args)]
pub struct Expire {
    /// Keep what is under a prefix up to an age, or the newest of it up to a number of bytes, for
    /// example cam1/:age=7d,bytes=500GiB; repeat it for several. Without a prefix it is for all
    #[arg(long, value_name = "PREFIX:LIMITS", value_parser = expiry::parse_rule)]
    rule: Vec<RetentionRule>,
    /// Print how much would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Expire {
    /// Deletes, and gives the room back to the disks.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        if !self.dry_run && !self.rule.is_empty() {
            server::refuse_changes(store)?;
        }
        let started = Instant::now();
        let report = store.expire_with(&ExpireOptions {
            dry_run: self.dry_run,
            rules: self.rule.clone(),
            on_progress: Some(Box::new(console.progress("expire"))),
        })?;
        if !self.dry_run {
            store.checkpoint()?;
        }
        let elapsed = started.elapsed();
        if self.json {
            let result = json!({
                "dry_run": self.dry_run,
                "deleted_objects": report.objects,
                "deleted_bytes": report.bytes,
                "examined_objects": report.examined,
                "seconds": elapsed.as_secs_f64(),
            });
            return Ok(writeln!(console.out, "{result}")?);
        }
        writeln!(
            console.out,
            "{} {} ({}) in {}",
            if self.dry_run { "would delete" } else { "deleted" },
            quantity::count(report.objects, "object"),
            HumanBytes(report.bytes),
            quantity::seconds(elapsed),
        )?;
        Ok(())
    }
}
