//! `kogia import`: the files of a directory, as objects.
//!
//! An import can be killed at any moment and run again: what is there with the same length and
//! checksum is skipped, and an object appears whole or not at all.

mod acks;
mod source;

use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use clap::Args;
use indicatif::ProgressBar;
use kogia::{PutOptions, Store};
use serde_json::json;

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::expiry::Expiry;
use crate::failure::Failure;
use crate::tally::Tally;
use crate::{places, server, transfer, workers};
use acks::Acks;
use source::SourceFile;

#[derive(Args)]
pub struct Import {
    /// Directory to read; links in it are not followed
    dir: PathBuf,
    /// Put this in front of each path to make its key
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: Escaped,
    /// Files to work on at the same time
    #[arg(short, long, default_value = "8")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    expiry: Expiry,
    /// Print what would be stored, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Append the key of each object to this file as soon as its write is acknowledged, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    acks: Option<PathBuf>,
    /// Print JSON: with --dry-run a line for each object, and one with the result
    #[arg(long)]
    json: bool,
}

/// What the workers share.
struct Run<'a> {
    command: &'a Import,
    store: &'a Store,
    bar: ProgressBar,
    tally: Tally,
    acks: Option<Acks>,
    console: Mutex<&'a mut Console>,
}

impl Import {
    /// Imports, and prints what was done.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        if !self.dry_run {
            server::refuse_changes(store)?;
        }
        for path in [&self.dir].into_iter().chain(&self.acks) {
            places::refuse_own(path, store)?;
        }
        let size_bytes = source::measure(&self.dir)?;
        let run = Run {
            command: self,
            store,
            bar: console.bytes_bar("import", size_bytes),
            tally: Tally::start(),
            acks: self.acks.as_deref().map(Acks::open).transpose()?,
            console: Mutex::new(console),
        };
        let feed = |sender: &_| {
            source::send_files(&self.dir, sender);
            Ok(())
        };
        workers::share(self.jobs, feed, |found| run.import(found))?;
        run.finish()
    }
}

impl<'a> Run<'a> {
    /// Imports one file. What is wrong with the file is told and counted; what is wrong with the
    /// store ends the import.
    fn import(&self, found: Result<SourceFile, Failure>) -> Result<(), Failure> {
        match found.and_then(|file| self.store_unless_same(&file)) {
            Err(failure @ Failure::File { .. }) => {
                self.tally.add_failed();
                self.bar.suspend(|| self.console().problem(failure));
                Ok(())
            }
            result => result,
        }
    }

    fn store_unless_same(&self, file: &SourceFile) -> Result<(), Failure> {
        let key = [&self.command.prefix.0, file.relative_path()].concat();
        if let Some(info) = self.store.head(&key)?
            && transfer::is_same(&file.path, &info)
        {
            self.tally.add_same(info.len);
            self.bar.inc(info.len);
            return Ok(());
        }
        let len = if self.command.dry_run {
            self.tell(&key, file.len)?;
            file.len
        } else {
            self.store_file(file, &key)?
        };
        self.tally.add_moved(len);
        Ok(())
    }

    fn tell(&self, key: &[u8], len: u64) -> Result<(), Failure> {
        let (key, out) = (escaped::text(key), &mut self.console().out);
        if self.command.json {
            return Ok(writeln!(out, "{}", json!({ "key": key, "len": len }))?);
        }
        Ok(writeln!(out, "{key}")?)
    }

    fn store_file(&self, file: &SourceFile, key: &[u8]) -> Result<u64, Failure> {
        let mut source = File::open(&file.path).map_err(Failure::file(&file.path))?;
        let options = PutOptions {
            modified_ms: file.modified_ms,
            expires_ms: self.command.expiry.of_now()?,
            ..PutOptions::default()
        };
        let info =
            transfer::store_object(self.store, key, &mut source, &file.path, options, &self.bar)?;
        if let Some(acks) = &self.acks {
            acks.append(key)?;
        }
        Ok(info.len)
    }

    fn console(&self) -> MutexGuard<'_, &'a mut Console> {
        self.console.lock().expect("no thread panics while it prints")
    }

    fn finish(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let out = &mut self.console().out;
        if self.command.json {
            let mut told = self.tally.to_json("imported");
            told["dry_run"] = self.command.dry_run.into();
            writeln!(out, "{told}")?;
        } else {
            let verb = if self.command.dry_run { "would import" } else { "imported" };
            self.tally.write_text(verb, out)?;
        }
        self.tally.result()
    }
}
