//! `kogia export`: objects, as the files of a directory.
//!
//! An export can be killed at any moment and run again: what is there with the same length and
//! checksum is skipped, and a file appears whole or not at all.

mod target;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use crossbeam_channel::Sender;
use indicatif::ProgressBar;
use kogia::{ErrorKind, Info, Store};

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::failure::Failure;
use crate::fresh_file::FreshFile;
use crate::tally::Tally;
use crate::{listing, places, server, system, transfer, workers};

#[derive(Args)]
pub struct Export {
    /// Directory to write, created if it is not there; files in it that differ are replaced
    #[arg(value_parser = server::path())]
    dir: PathBuf,
    /// Only objects whose keys begin so; the prefix stays part of the path
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: Escaped,
    /// Objects to work on at the same time
    #[arg(short, long, default_value = "8")]
    jobs: NonZeroUsize,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What the workers share.
struct Run<'a> {
    command: &'a Export,
    store: &'a Store,
    console: &'a Console,
    bar: ProgressBar,
    tally: Tally,
}

type Found = (Vec<u8>, Info);

impl Export {
    /// Exports, and prints what was done.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        places::refuse_own(&self.dir, store)?;
        std::fs::create_dir_all(&self.dir).map_err(Failure::file(&self.dir))?;
        system::remember_signals();
        let bar = console.bytes_bar("export", 0);
        let run = Run { command: self, store, console, bar, tally: Tally::start() };
        let exported = run.export_all();
        run.bar.finish_and_clear();
        let was_stopped = matches!(exported, Err(Failure::Interrupted(_)));
        if exported.is_err() && !was_stopped {
            return exported;
        }
        let tally = run.tally;
        let out = &mut console.out;
        if self.json {
            let mut told = tally.to_json("exported");
            told["stopped"] = was_stopped.into();
            writeln!(out, "{told}")?;
        } else {
            tally.write_text("exported", out)?;
        }
        exported.and_then(|()| tally.result())
    }
}

impl Run<'_> {
    fn export_all(&self) -> Result<(), Failure> {
        self.measure()?;
        let feed = |sender: &_| self.send_objects(sender);
        workers::share(self.command.jobs, feed, |found| self.export(found))
    }

    fn send_objects(&self, sender: &Sender<Found>) -> Result<(), Failure> {
        for page in self.pages() {
            if page?.into_iter().try_for_each(|found| sender.send(found)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn pages(&self) -> impl Iterator<Item = Result<Vec<Found>, Failure>> {
        listing::pages(self.store, &self.command.prefix.0)
    }

    /// Lets the bar know its end, if there is anybody to see it.
    fn measure(&self) -> Result<(), Failure> {
        if !self.bar.is_hidden() {
            for page in self.pages() {
                transfer::check_signals()?;
                self.bar.inc_length(page?.iter().map(|(_, info)| info.len).sum());
            }
        }
        Ok(())
    }

    /// Exports one object. What is wrong with its key, its file or its bytes is told and
    /// counted; what is wrong with the store ends the export.
    fn export(&self, (key, info): Found) -> Result<(), Failure> {
        // What is there already is not written, and no signal seen.
        transfer::check_signals()?;
        match self.write_unless_same(&key, &info) {
            Err(failure) if is_of_one_object(&failure) => {
                self.tally.add_failed();
                let key = escaped::text(&key);
                self.bar.suspend(|| self.console.problem(format_args!("{key}: {failure}")));
                Ok(())
            }
            result => result,
        }
    }

    fn write_unless_same(&self, key: &[u8], info: &Info) -> Result<(), Failure> {
        let path = target::prepare(&self.command.dir, key)?;
        if transfer::is_same(&path, info) {
            self.tally.add_same(info.len);
        } else {
            self.write(key, &path)?;
            self.tally.add_moved(info.len);
        }
        self.bar.inc(info.len);
        Ok(())
    }

    fn write(&self, key: &[u8], path: &Path) -> Result<(), Failure> {
        let mut reader = self.store.reader(key)?.ok_or_else(|| Failure::NoSuchKey(key.to_vec()))?;
        let (len, modified_ms) = (reader.info().len, reader.info().modified_ms);
        let mut file = FreshFile::create(path)?;
        let failure = |error| Failure::file(path)(error);
        transfer::write_object(&mut reader, 0..len, &mut file, failure)?;
        file.finish(modified_ms)
    }
}

fn is_of_one_object(failure: &Failure) -> bool {
    match failure {
        Failure::File { .. } | Failure::UnsafeKey(_) => true,
        // Its bytes can't be read, as where a disk is missing.
        Failure::Store(error) => matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Io),
        _ => false,
    }
}
