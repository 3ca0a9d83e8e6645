//! `kogia queue`: items in order, from standard input to standard output.
//!
//! As text, a line is an item. As JSON, a line is an object with the item's `id` and its bytes, as
//! `text` where they are UTF-8 and as `base64` where they are not; what is printed so can be read
//! so, with the `id` passed over. A place where a crash cut writing off is `{"cut": ID}`, and one
//! where damage was passed over is `{"lost": [ID, ID]}`.

mod filter;
mod rewrite;

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use kogia::Create;
use kogia::queue::{Entry, Id, Queue, QueueOptions, QueueReader, Stream};
use serde_json::{Value, json};

use crate::base64;
use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server;

/// A command and the queue it works on, which always comes first.
#[derive(Args)]
pub struct On<A: Args> {
    /// Directory of the queue
    #[arg(value_parser = server::path())]
    queue: PathBuf,
    #[command(flatten)]
    command: A,
}

/// Append to a queue, read it, and look after it
#[derive(Subcommand)]
pub enum Command {
    /// Append the lines of standard input, each as an item; creates the queue
    ///
    /// Each is durable within a second, and all are when the command ends.
    Append(On<Append>),
    /// Print the items from the first one on, or from an id
    Cat(On<Cat>),
    /// Print the last items, and with --follow those that are appended from now on
    Tail(On<Tail>),
    /// Drop the items before an id
    Truncate(On<Truncate>),
    /// Drop items out of the middle, or have a command change them; all or nothing
    ///
    /// What is left keeps its id, and what is gone is gone from the disk. Readers carry on.
    Rewrite(On<rewrite::Rewrite>),
    /// Show what the queue holds
    Stat(On<Stat>),
    /// Read everything and check every checksum
    Verify(On<Verify>),
}

#[derive(Args)]
pub struct Append {
    /// Lines are JSON, with the item as "text" or "base64"
    #[arg(long)]
    json: bool,
    /// Print the ids, when all items are durable
    #[arg(long)]
    ids: bool,
    /// From now on, drop the oldest items when there are more bytes than these, for example 10G
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    max_bytes: Option<u64>,
    /// From now on, drop items that are older than this, for example 7d
    #[arg(long, value_name = "AGE", value_parser = quantity::parse_age)]
    max_age: Option<Duration>,
}

#[derive(Args)]
pub struct Cat {
    /// Begin with the item of this id, or the first one behind it
    #[arg(long, value_name = "ID", conflicts_with = "consumer")]
    from: Option<Id>,
    /// Begin behind what the consumer of this name has committed, and commit what was printed
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Print so many items at most
    #[arg(short = 'n', long, value_name = "NUMBER")]
    count: Option<u64>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
pub struct Tail {
    /// Print so many items at most
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10)]
    count: usize,
    /// Wait for items to come
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    shown: Shown,
}

/// What is printed, and how.
#[derive(Args)]
struct Shown {
    /// Print JSON, a line an item
    #[arg(long)]
    json: bool,
    /// Also print what is not durable yet
    #[arg(long)]
    uncommitted: bool,
    /// Pass over damage, and say so
    #[arg(long)]
    pass_damage: bool,
}

#[derive(Args)]
pub struct Truncate {
    /// The first item to keep
    #[arg(long, value_name = "ID")]
    before: Id,
    /// Say what would be dropped, and drop nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Stat {
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Verify {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub fn run(self, accept_loss: bool, console: &mut Console) -> Result<(), Failure> {
        let options = QueueOptions::new().accept_loss(accept_loss);
        match self {
            Command::Append(on) => on.command.run(&on.queue, options, console),
            Command::Truncate(on) => on.command.run(&on.queue, options, console),
            Command::Rewrite(on) => on.command.run(&on.queue, options, console),
            Command::Cat(on) => on.command.run(&read(&on.queue)?, console),
            Command::Tail(on) => on.command.run(&read(&on.queue)?, console),
            Command::Stat(on) => on.command.run(&read(&on.queue)?, console),
            Command::Verify(on) => on.command.run(&read(&on.queue)?, console),
        }
    }
}

fn read(dir: &Path) -> Result<QueueReader, Failure> {
    Queue::reader(dir).map_err(Failure::Queue)
}

impl Append {
    fn run(
        &self,
        dir: &Path,
        mut options: QueueOptions,
        console: &mut Console,
    ) -> Result<(), Failure> {
        if self.max_bytes.is_some() {
            options = options.max_bytes(self.max_bytes);
        }
        if self.max_age.is_some() {
            options = options.max_age(self.max_age);
        }
        let queue = options.open(dir).map_err(Failure::Queue)?;
        let (mut ids, mut items) = (Vec::new(), 0);
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            input.read_until(b'\n', &mut line).map_err(Failure::file("standard input"))?;
            if line.is_empty() {
                break;
            }
            let item = line.strip_suffix(b"\n").unwrap_or(&line);
            items += 1;
            let id = if self.json {
                queue.append_later(from_json(item, items)?)
            } else {
                queue.append_later(item)
            };
            let id = id.map_err(Failure::Queue)?;
            if self.ids {
                ids.push(id);
            }
        }
        queue.sync().and_then(|()| queue.close()).map_err(Failure::Queue)?;
        for id in ids {
            writeln!(console.out, "{id}")?;
        }
        console.note(format_args!("{} appended", count(items, "item")));
        Ok(())
    }
}

/// The item in a line of JSON.
fn from_json(line: &[u8], number: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("line {number} of the input: {why}"));
    let value: Value = serde_json::from_slice(line).map_err(|e| wrong(&e.to_string()))?;
    item_of(&value).map_err(wrong)
}

/// The item in an object.
fn item_of(value: &Value) -> Result<Vec<u8>, &'static str> {
    match (value.get("text"), value.get("base64")) {
        (Some(Value::String(text)), None) => Ok(text.clone().into_bytes()),
        (None, Some(Value::String(digits))) => {
            base64::decode(digits).ok_or("\"base64\" is no base64")
        }
        _ => Err("an object with either \"text\" or \"base64\" is wanted"),
    }
}

impl Shown {
    fn stream(&self, stream: kogia::Result<Stream>) -> Result<Stream, Failure> {
        let stream = stream.map_err(Failure::Queue)?;
        Ok(stream.read_uncommitted(self.uncommitted).accept_loss(self.pass_damage))
    }

    fn print(&self, entry: &Entry<'_>, console: &mut Console) -> Result<(), Failure> {
        if self.json {
            writeln!(console.out, "{}", to_json(entry))?;
            return Ok(());
        }
        match entry {
            Entry::Item(_, item) => {
                console.out.write_all(item)?;
                console.out.write_all(b"\n")?;
            }
            Entry::Cut(id) => console.note(format_args!("a crash cut writing off at {id}")),
            Entry::Lost(from, to) => {
                console.problem(format_args!("items are lost from {from} to {to}"));
            }
        }
        Ok(())
    }
}

fn to_json(entry: &Entry<'_>) -> Value {
    match entry {
        Entry::Item(id, item) => match std::str::from_utf8(item) {
            Ok(text) => json!({ "id": id.to_string(), "text": text }),
            Err(_) => json!({ "id": id.to_string(), "base64": base64::encode(item) }),
        },
        Entry::Cut(id) => json!({ "cut": id.to_string() }),
        Entry::Lost(from, to) => json!({ "lost": [from.to_string(), to.to_string()] }),
    }
}

impl Cat {
    fn run(&self, queue: &QueueReader, console: &mut Console) -> Result<(), Failure> {
        let mut consumer = match &self.consumer {
            Some(name) => Some(queue.consumer(name).map_err(Failure::Queue)?),
            None => None,
        };
        let committed = consumer.as_ref().and_then(|consumer| consumer.committed());
        let from = self.from.or(committed.map(Id::after));
        let mut stream = self.shown.stream(queue.stream(from))?;
        let (mut left, mut last) = (self.count.unwrap_or(u64::MAX), None);
        while left > 0
            && let Some(entry) = stream.next().map_err(Failure::Queue)?
        {
            self.shown.print(&entry, console)?;
            if let Entry::Item(id, _) = entry {
                (left, last) = (left - 1, Some(id));
            }
        }
        if let (Some(consumer), Some(last)) = (&mut consumer, last) {
            // Printed before it is committed: of what is lost in between, all comes again.
            console.finish()?;
            consumer.commit(last).map_err(Failure::Queue)?;
        }
        Ok(())
    }
}

impl Tail {
    fn run(&self, queue: &QueueReader, console: &mut Console) -> Result<(), Failure> {
        let mut stream = self.last_items(queue, console)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            console.finish()?;
            let mut entry = stream.follow(None).map_err(Failure::Queue)?;
            while let Some(come) = entry {
                self.shown.print(&come, console)?;
                entry = stream.next().map_err(Failure::Queue)?;
            }
        }
    }

    /// Prints the last items; gives the stream behind them.
    fn last_items(&self, queue: &QueueReader, console: &mut Console) -> Result<Stream, Failure> {
        let stats = queue.stats().map_err(Failure::Queue)?;
        let mut tracks = 1;
        loop {
            // From so many tracks before the last one.
            let track = u64::from(stats.end.track().0).saturating_sub(tracks - 1);
            let from = Id(track << 32);
            let mut stream = self.shown.stream(queue.stream(Some(from)))?;
            let mut ids = VecDeque::new();
            while let Some(entry) = stream.next().map_err(Failure::Queue)? {
                if let Entry::Item(id, _) = entry {
                    ids.push_back(id);
                }
                if ids.len() > self.count {
                    ids.pop_front();
                }
            }
            if ids.len() < self.count && from > stats.first_kept {
                tracks *= 2;
                continue;
            }
            let begin = ids.front().copied().unwrap_or(stream.position());
            let mut stream = self.shown.stream(queue.stream(Some(begin)))?;
            while let Some(entry) = stream.next().map_err(Failure::Queue)? {
                self.shown.print(&entry, console)?;
            }
            return Ok(stream);
        }
    }
}

impl Truncate {
    fn run(&self, dir: &Path, options: QueueOptions, console: &mut Console) -> Result<(), Failure> {
        let queue = options.create(Create::Never).open(dir).map_err(Failure::Queue)?;
        let mut stream = queue.stream(None).map_err(Failure::Queue)?;
        let mut items = 0;
        while let Some(entry) = stream.next().map_err(Failure::Queue)? {
            match entry {
                Entry::Item(id, _) if id < self.before => items += 1,
                Entry::Item(..) => break,
                _ => {}
            }
        }
        drop(stream);
        if !self.dry_run {
            queue.truncate_before(self.before).map_err(Failure::Queue)?;
        }
        if self.json {
            let report = json!({ "dry_run": self.dry_run, "dropped": items });
            writeln!(console.out, "{report}")?;
        } else {
            let what = if self.dry_run { "would drop" } else { "dropped" };
            console.note(format_args!("{what} {}", count(items, "item")));
        }
        queue.close().map_err(Failure::Queue)
    }
}

impl Stat {
    fn run(&self, queue: &QueueReader, console: &mut Console) -> Result<(), Failure> {
        let stats = queue.stats().map_err(Failure::Queue)?;
        let consumers = queue.consumers().map_err(Failure::Queue)?;
        let out = &mut console.out;
        if self.json {
            let committed: serde_json::Map<_, _> = consumers
                .into_iter()
                .map(|(name, id)| (name, Value::from(id.to_string())))
                .collect();
            let report = json!({
                "queue": stats.id.to_string(),
                "items": stats.items,
                "tracks": stats.tracks,
                "rewritten_tracks": stats.rewritten_tracks,
                "file_bytes": stats.file_bytes,
                "first_kept": stats.first_kept.to_string(),
                "end": stats.end.to_string(),
                "consumers": committed,
            });
            writeln!(out, "{report}")?;
            return Ok(());
        }
        writeln!(out, "queue      {}", stats.id)?;
        writeln!(out, "items      {} from {} to {}", stats.items, stats.first_kept, stats.end)?;
        let (tracks, bytes) = (stats.tracks, HumanBytes(stats.file_bytes));
        writeln!(out, "tracks     {tracks} ({bytes}), {} rewritten", stats.rewritten_tracks)?;
        for (name, committed) in consumers {
            writeln!(out, "consumer   {name} has committed {committed}")?;
        }
        Ok(())
    }
}

impl Verify {
    fn run(&self, queue: &QueueReader, console: &mut Console) -> Result<(), Failure> {
        let report = queue.verify().map_err(Failure::Queue)?;
        let out = &mut console.out;
        if self.json {
            let cuts: Vec<_> = report.cuts.iter().map(Id::to_string).collect();
            let report = json!({
                "items": report.items,
                "bytes": report.bytes,
                "cuts": cuts,
                "problems": report.problems,
            });
            writeln!(out, "{report}")?;
        } else {
            for problem in &report.problems {
                writeln!(out, "{problem}")?;
            }
            writeln!(
                out,
                "{} ({}), {}: {}",
                count(report.items, "item"),
                HumanBytes(report.bytes),
                count(report.cuts.len() as u64, "cut"),
                count(report.problems.len() as u64, "problem"),
            )?;
        }
        match report.problems.len() as u64 {
            0 => Ok(()),
            problems => Err(Failure::Problems(format!("{} found", count(problems, "problem")))),
        }
    }
}
