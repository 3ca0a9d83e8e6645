//! `kogia watch`: the files that are dropped into a folder, as objects.
//!
//! A file is stored when its writer has closed it or moved it into place, and counts when its object
//! is durable. It may be killed at any moment and run again: what is stored is known by its mark, or
//! by its length and checksum, and neither missed nor stored twice.

mod folders;
mod mark;
mod queue;
mod source;

use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use kogia::{Durability, Info, PutOptions, RetentionRule, Store};

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::expiry::{self, Expiry};
use crate::failure::Failure;
use crate::object_view::ObjectView;
use crate::tally::Tally;
use crate::{places, quantity, server, system, transfer};
use folders::{Folders, Found};
use queue::Queue;
use source::Source;

/// A file of which it can't be told whether somebody writes to it has to be left alone for so long.
const UNSURE: Duration = Duration::from_secs(2);
/// A file for which there was no room is tried again after this.
const FULL: Duration = Duration::from_secs(5);
/// The longest wait for news: a signal may come just before it.
const TICK: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Watch {
    /// Directory to watch, with all below it
    dir: PathBuf,
    /// Put this in front of each path to make its key
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: Escaped,
    /// Remove each file when its object is durable; folders stay
    #[arg(long)]
    remove: bool,
    /// Take hidden and unfinished files as well
    #[arg(long)]
    hidden: bool,
    /// Store what is there, and do not wait for more
    #[arg(long)]
    once: bool,
    /// Take a file when it was left alone for so long after it was closed
    #[arg(long, value_name = "MS", default_value = "100")]
    settle: u64,
    #[command(flatten)]
    expiry: Expiry,
    /// As with 'kogia expire', kept up while this runs; repeat it for several
    #[arg(long, value_name = "PREFIX:LIMITS", value_parser = expiry::parse_rule)]
    rule: Vec<RetentionRule>,
    /// Print each object, and in the end the result, as a line of JSON
    #[arg(long)]
    json: bool,
}

struct Run<'a> {
    command: &'a Watch,
    store: &'a Store,
    console: &'a mut Console,
    tally: Tally,
    queue: Queue,
    /// How often a file was left because somebody was writing to it.
    unfinished: u64,
    is_full: bool,
}

/// What is to be done about a file.
enum Outcome {
    /// Nothing more.
    Done,
    /// It is looked at again after this time.
    Later(Duration),
    /// There will be news of it: somebody is writing to it.
    Unfinished,
}

impl Watch {
    /// Stores until it is asked to end; with --once, until nothing is left to store.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        server::refuse_changes(store)?;
        places::refuse_own(&self.dir, store)?;
        if !self.rule.is_empty() {
            store.set_retention(&self.rule)?;
        }
        system::remember_signals();
        let (mut folders, found) = Folders::watch(&self.dir, self.hidden)?;
        let mut run = Run {
            command: self,
            store,
            console,
            tally: Tally::start(),
            queue: Queue::default(),
            unfinished: 0,
            is_full: false,
        };
        run.expect(found, Duration::ZERO);
        while !system::was_asked_to_end() {
            run.expect(folders.news()?, self.settle());
            folders.problems().into_iter().for_each(|problem| run.tell_problem(problem));
            let now = Instant::now();
            match run.queue.pop(now) {
                Some(found) => run.take(found)?,
                None => match run.queue.wait(now) {
                    None if self.once => break,
                    next => folders.wait(next.map_or(TICK, |next| next.min(TICK)))?,
                },
            }
        }
        run.finish()
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(self.settle)
    }
}

impl Run<'_> {
    fn expect(&mut self, found: Vec<Found>, settle: Duration) {
        let due = Instant::now() + settle;
        found.into_iter().for_each(|found| self.queue.push(found, due));
    }

    /// Stores a file. What is wrong with the file is told and counted; what is wrong with the store
    /// ends the command.
    fn take(&mut self, found: Found) -> Result<(), Failure> {
        match self.store(&found) {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Later(time)) => self.queue.push(found, Instant::now() + time),
            Ok(Outcome::Unfinished) => self.unfinished += 1,
            // It went as it had come.
            Err(Failure::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(failure @ Failure::File { .. }) => self.tell_problem(failure),
            Err(Failure::Store(error)) if self.can_wait_for(&error) => {
                if !std::mem::replace(&mut self.is_full, true) {
                    self.console.problem(format_args!("{error}; trying again until there is room"));
                }
                self.queue.push(found, Instant::now() + FULL);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn tell_problem(&mut self, failure: Failure) {
        self.tally.add_failed();
        self.console.problem(failure);
    }

    fn can_wait_for(&self, error: &kogia::Error) -> bool {
        error.kind() == kogia::ErrorKind::Full && !self.command.once
    }

    fn store(&mut self, found: &Found) -> Result<Outcome, Failure> {
        let Some(mut source) = Source::open(&found.path)? else { return Ok(Outcome::Done) };
        let settle = match system::is_written_to(&source.file) {
            Some(true) => return Ok(Outcome::Unfinished),
            None if !found.is_complete => UNSURE.max(self.command.settle()),
            _ => self.command.settle(),
        };
        if let Some(left) = settle.checked_sub(source.age()).filter(|left| !left.is_zero()) {
            return Ok(Outcome::Later(left));
        }
        let key = self.key(&found.path);
        if let Some(info) = self.store.head(&key)?
            && source.is_stored(&info, found)
        {
            self.tally.add_same(info.len);
        } else if let Some(info) = self.put(&key, &mut source)? {
            self.tell(&key, &info)?;
        } else {
            return Ok(Outcome::Later(self.command.settle()));
        }
        if self.command.remove {
            source.remove()?;
        }
        Ok(Outcome::Done)
    }

    fn key(&self, path: &Path) -> Vec<u8> {
        let relative = path.strip_prefix(&self.command.dir).expect("it was found below it");
        [&self.command.prefix.0, relative.as_os_str().as_bytes()].concat()
    }

    /// Makes the file an object, durably; `None` if it was written to meanwhile.
    fn put(&self, key: &[u8], source: &mut Source) -> Result<Option<Info>, Failure> {
        let options = PutOptions {
            attributes: source.mark.attributes(source.read_ms),
            modified_ms: u64::try_from(source.mark.modified_ms()).ok(),
            expires_ms: self.command.expiry.of_now()?,
            durability: Some(Durability::Sync),
            ..PutOptions::default()
        };
        let mut writer = self.store.writer_with(key, options)?;
        transfer::fill(&mut writer, &mut source.file, &source.path, &ProgressBar::hidden())?;
        if source.is_changed()? {
            return Ok(None);
        }
        Ok(Some(writer.commit()?))
    }

    fn tell(&mut self, key: &[u8], info: &Info) -> Result<(), Failure> {
        self.is_full = false;
        self.tally.add_moved(info.len);
        if self.command.json {
            ObjectView::new(key, info).write_json(&mut self.console.out)?;
        } else {
            writeln!(self.console.out, "{}", escaped::text(key))?;
        }
        self.console.finish()
    }

    fn finish(self) -> Result<(), Failure> {
        if !self.command.rule.is_empty() {
            // What was put last may be too much, and the store closes before it comes to that.
            self.store.expire()?;
            self.store.checkpoint()?;
        }
        if self.command.once && self.unfinished > 0 {
            let files = quantity::count(self.unfinished, "file");
            self.console.note(format_args!("{files} left, to which somebody is writing"));
        }
        let out = &mut self.console.out;
        if self.command.json {
            writeln!(out, "{}", self.tally.to_json("stored"))?;
        } else {
            self.tally.write_text("stored", out)?;
        }
        self.tally.result()
    }
}
