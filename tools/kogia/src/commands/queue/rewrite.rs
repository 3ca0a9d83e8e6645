//! `kogia queue rewrite`: items dropped out of the middle of a queue, or changed by a command.

use std::io::Write;
use std::ops::Bound;
use std::path::Path;
use std::thread;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use indicatif::HumanBytes;
use kogia::queue::{self, Id, Queue, QueueOptions, RewriteOptions, RewriteReport};
use kogia::{Create, Result};
use serde_json::json;

use super::filter::{Filter, feed};
use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::count;

/// What can be done to items, one of which has to be asked for.
const HOW: [&str; 2] = ["drop_containing", "through"];

#[derive(Args)]
#[command(group(ArgGroup::new("how").required(true).multiple(true).args(HOW)))]
pub struct Rewrite {
    /// The first item of the range, which otherwise begins with the first there is
    #[arg(long, value_name = "ID")]
    from: Option<Id>,
    /// The first item behind the range, which otherwise ends with the last there is
    #[arg(long, value_name = "ID")]
    before: Option<Id>,
    /// Drop the items in which these bytes occur; repeat it for several
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    drop_containing: Vec<String>,
    /// Have all others pass through this command of the shell, lines of JSON as 'cat --json' prints
    /// them: an item is what comes back under its id, and is dropped where nothing does
    ///
    /// In order, and at any later time: the command need not answer each line before it reads the
    /// next. Unless it reads all and ends well, nothing changes.
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    through: Option<String>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Rewrite {
    pub fn run(
        &self,
        dir: &Path,
        options: QueueOptions,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let queue = options.create(Create::Never).open(dir).map_err(Failure::Queue)?;
        let options = RewriteOptions {
            dry_run: self.dry_run,
            on_progress: Some(Box::new(console.progress("rewrite"))),
        };
        let report = self.rewrite(&queue, &options)?;
        self.tell(&report, console)?;
        queue.close().map_err(Failure::Queue)
    }

    fn rewrite(&self, queue: &Queue, options: &RewriteOptions) -> Result<RewriteReport, Failure> {
        let ids = (
            self.from.map_or(Bound::Unbounded, Bound::Included),
            self.before.map_or(Bound::Unbounded, Bound::Excluded),
        );
        thread::scope(|scope| {
            let mut filter = match &self.through {
                Some(command) => {
                    let stream = queue.stream(self.from).map_err(Failure::Queue)?;
                    Some(Filter::start(command, |input| {
                        scope.spawn(|| {
                            feed(stream, self.before, |item| !self.is_dropped(item), input)
                        })
                    })?)
                }
                None => None,
            };
            let mut failure = None;
            let report = queue.rewrite_with(ids, options, |id, item| match &mut filter {
                _ if self.is_dropped(item) => queue::Rewrite::Drop,
                None => queue::Rewrite::Keep,
                Some(filter) => filter.answer(id).unwrap_or_else(|why| {
                    failure = Some(why);
                    queue::Rewrite::Cancel
                }),
            });
            match failure {
                Some(failure) => Err(failure),
                None => report.map_err(Failure::Queue),
            }
        })
    }

    fn is_dropped(&self, item: &[u8]) -> bool {
        self.drop_containing
            .iter()
            .map(String::as_bytes)
            .any(|text| item.windows(text.len()).any(|bytes| bytes == text))
    }

    fn tell(&self, report: &RewriteReport, console: &mut Console) -> Result<(), Failure> {
        for (from, to) in &report.lost {
            console.problem(format_args!("items are lost from {from} to {to}"));
        }
        let out = &mut console.out;
        if self.json {
            let report = json!({
                "dry_run": self.dry_run,
                "items": report.items,
                "dropped": report.dropped,
                "replaced": report.replaced,
                "old_bytes": report.old_bytes,
                "new_bytes": report.new_bytes,
                "tracks": report.tracks,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        let would = if self.dry_run { "would be " } else { "" };
        writeln!(
            out,
            "{} ({}): {} {would}dropped, {} {would}replaced, {} left in {}",
            count(report.items, "item"),
            HumanBytes(report.old_bytes),
            report.dropped,
            report.replaced,
            HumanBytes(report.new_bytes),
            count(report.tracks, "new track"),
        )?;
        Ok(())
    }
}
