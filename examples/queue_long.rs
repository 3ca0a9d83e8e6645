//! A queue that is appended to for ever, as it looks from outside: `cargo run --release --example
//! queue_long [ITEMS [DIR]]`.
//!
//! One process appends (100 million items of 50 bytes, where nothing else is said), two others follow
//! it live as consumers, and what both have committed is truncated from behind. Each reader checks
//! every item: that it is the next one, and that it has the bytes it should. At each tenth it is said
//! how fast that went, how much memory each process and how much room the queue took at most, and how
//! far behind the slower reader was.
//!
//! The exit status is not zero if an item was lost, doubled, out of order or not what was appended,
//! or if the last tenth took more memory or room than the first one.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use kogia::queue::{Entry, Id, Queue};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const ITEMS: u64 = 100_000_000;
const ITEM_BYTES: usize = 50;
const READERS: [&str; 2] = ["one", "two"];
/// The queue is as large as the slower reader is behind: whoever appends waits for it.
const MOST_BEHIND: u64 = 4_000_000;
/// Items between two commits of a reader, and between two marks of whoever appends.
const COMMIT_ITEMS: u64 = 200_000;
const MARK_ITEMS: u64 = 50_000;
const LOOK: Duration = Duration::from_millis(50);
/// What is measured in steps may be a step more: a track's worth of room, some pages of memory.
const SLACK_DISK: u64 = 128 << 20;
const SLACK_MEMORY: u64 = 4 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ran = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read", dir, name, items] => {
            number(items).and_then(|items| read(dir.as_ref(), name, items))
        }
        [] => in_scratch(ITEMS),
        [items] => number(items).and_then(in_scratch),
        [items, dir] => number(items).and_then(|items| run(items, dir.as_ref())),
        _ => Err("queue_long [ITEMS [DIR]]".into()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> Result<u64> {
    Ok(text.replace('_', "").parse()?)
}

fn in_scratch(items: u64) -> Result {
    run(items, tempfile::tempdir()?.path())
}

fn run(items: u64, dir: &Path) -> Result {
    let queue = Queue::open(dir)?;
    let mut readers = READERS.map(|name| start(dir, name, items));
    let ran = follow_up(&queue, dir, items, &mut readers);
    for reader in readers.iter_mut().flatten() {
        if ran.is_err() {
            let _ = reader.kill();
        }
        let _ = reader.wait();
    }
    ran?;
    queue.close()?;
    Ok(())
}

fn start(dir: &Path, name: &str, items: u64) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("read").arg(dir).arg(name).arg(items.to_string()).stdin(Stdio::null());
    Ok(command.spawn()?)
}

/// Appends everything, tenth by tenth, and sees to it that the readers come to the end as well.
fn follow_up(queue: &Queue, dir: &Path, items: u64, readers: &mut [Result<Child>; 2]) -> Result {
    let mut pids = vec![std::process::id()];
    for reader in readers.iter() {
        pids.push(reader.as_ref().map_err(ToString::to_string)?.id());
    }
    let (marks, peak) = (VecDeque::new(), Peak::default());
    let mut appender = Appender { queue, dir, last: Id(0), marks, pids, peak };
    println!(
        "{:>12}{:>14}{:>24}{:>12}{:>12}",
        "items", "items/s", "memory, MiB", "disk, MiB", "behind"
    );
    let (started, mut tenths) = (Instant::now(), Vec::new());
    for tenth in 0..10 {
        let (from, to) = (items * tenth / 10, items * (tenth + 1) / 10);
        let since = Instant::now();
        appender.append(from..to)?;
        if tenth == 9 {
            queue.sync()?;
            appender.wait(to, |appender| Ok(appender.least_committed()? == Some(appender.last)))?;
        }
        appender.look(to)?;
        let peak = std::mem::take(&mut appender.peak);
        println!("{}", peak.line(to, (to - from) as f64 / since.elapsed().as_secs_f64()));
        tenths.push(peak);
    }
    let rate = items as f64 / started.elapsed().as_secs_f64();
    for reader in readers.iter_mut() {
        let ended = reader.as_mut().map_err(|e| e.to_string())?.wait()?;
        if !ended.success() {
            return Err(format!("a reader has ended with {ended}").into());
        }
    }
    let all = tenths.iter().fold(Peak::default(), |all, peak| all.greatest(peak));
    println!("in all\n{}", all.line(items, rate));
    tenths[9].is_no_more_than(&tenths[0])
}

/// The process that appends, and keeps an eye on all.
struct Appender<'a> {
    queue: &'a Queue,
    dir: &'a Path,
    /// The last item's.
    last: Id,
    /// Ids with their numbers, now and then.
    marks: VecDeque<(Id, u64)>,
    pids: Vec<u32>,
    peak: Peak,
}

impl Appender<'_> {
    fn append(&mut self, numbers: std::ops::Range<u64>) -> Result {
        let mut looked = Instant::now();
        for number in numbers {
            self.last = self.queue.append_later(item(number))?;
            if number.is_multiple_of(MARK_ITEMS) {
                self.marks.push_back((self.last, number));
                if looked.elapsed() >= LOOK {
                    self.look(number)?;
                    looked = Instant::now();
                }
                if number.saturating_sub(self.behind()) > MOST_BEHIND {
                    let enough = MOST_BEHIND - COMMIT_ITEMS;
                    self.wait(number, |appender| Ok(number - appender.behind() <= enough))?;
                }
            }
        }
        Ok(())
    }

    /// Items that all have committed, for sure.
    fn behind(&self) -> u64 {
        self.marks.front().map_or(0, |(_, number)| *number)
    }

    /// Waits for the readers.
    fn wait(&mut self, number: u64, is_over: impl Fn(&Self) -> Result<bool>) -> Result {
        let mut moved = (Instant::now(), self.behind());
        loop {
            self.look(number)?;
            if is_over(self)? {
                return Ok(());
            }
            if moved.1 != self.behind() {
                moved = (Instant::now(), self.behind());
            }
            if moved.0.elapsed() > Duration::from_secs(30) {
                return Err("a reader does not get on".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn least_committed(&self) -> Result<Option<Id>> {
        let consumers = self.queue.consumers()?;
        let all = consumers.len() == READERS.len();
        Ok(consumers.into_iter().map(|(_, id)| id).min().filter(|_| all))
    }

    /// Truncates what all have committed, and measures.
    fn look(&mut self, number: u64) -> Result {
        // Before the room comes back.
        self.peak.disk = self.peak.disk.max(room(self.dir)?);
        if let Some(committed) = self.least_committed()? {
            self.queue.truncate_before(committed)?;
            while self.marks.get(1).is_some_and(|(id, _)| *id <= committed) {
                self.marks.pop_front();
            }
        }
        self.peak.behind = self.peak.behind.max(number - self.behind());
        for (peak, pid) in self.peak.memory.iter_mut().zip(&self.pids) {
            *peak = (*peak).max(resident(*pid).unwrap_or(0));
        }
        Ok(())
    }
}

/// The most that was seen of each in some time.
#[derive(Default)]
struct Peak {
    /// Of who appends and of both readers, in bytes.
    memory: [u64; 3],
    disk: u64,
    behind: u64,
}

impl Peak {
    fn greatest(&self, other: &Peak) -> Peak {
        let memory = std::array::from_fn(|at| self.memory[at].max(other.memory[at]));
        let (disk, behind) = (self.disk.max(other.disk), self.behind.max(other.behind));
        Peak { memory, disk, behind }
    }

    fn line(&self, items: u64, rate: f64) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let memory: String =
            self.memory.iter().map(|bytes| format!("{:8.1}", mib(*bytes))).collect();
        format!("{items:>12}{rate:>14.0}{memory}{:>12.0}{:>12}", mib(self.disk), self.behind)
    }

    fn is_no_more_than(&self, first: &Peak) -> Result {
        for (last, first) in self.memory.iter().zip(first.memory) {
            if *last > first + first / 10 + SLACK_MEMORY {
                return Err(format!("memory has grown from {first} to {last} bytes").into());
            }
        }
        if self.disk > first.disk + first.disk / 10 + SLACK_DISK {
            let (first, last) = (first.disk, self.disk);
            return Err(format!("the queue has grown from {first} to {last} bytes").into());
        }
        Ok(())
    }
}

/// What the files of the queue take on the disk.
fn room(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        match entry?.metadata() {
            Ok(data) => bytes += data.blocks() * 512,
            // It was truncated just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Memory that a process has of its own or shares, in bytes; nothing of one that has ended.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// A reader: follows the queue until it has seen so many items, each of which has to be the next one.
fn read(dir: &Path, name: &str, items: u64) -> Result {
    let mut consumer = Queue::reader(dir)?.consumer(name)?;
    let (mut next, mut last) = (0, None);
    while next < items {
        let entry = consumer.follow(Some(Duration::from_secs(60)))?;
        match entry.ok_or_else(|| format!("{name}: nothing comes behind item {next}"))? {
            Entry::Item(id, bytes) => {
                if bytes != item(next) || last.is_some_and(|last| id <= last) {
                    return Err(format!("{name}: at {id} there is not item {next}").into());
                }
                (next, last) = (next + 1, Some(id));
                if next.is_multiple_of(COMMIT_ITEMS) || next == items {
                    consumer.commit(id)?;
                }
            }
            other => return Err(format!("{name}: {other:?} behind item {next}").into()),
        }
    }
    println!("{name}: all {next} items, each once, in order, and what was appended");
    Ok(())
}

/// The item of a number: nothing in it is the same as in another one.
fn item(number: u64) -> [u8; ITEM_BYTES] {
    let mut item = [0; ITEM_BYTES];
    let mut word = number;
    for piece in item.chunks_mut(8) {
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(23);
    }
    item
}
