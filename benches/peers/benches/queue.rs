//! The queue beside `depot`, and beside a bare `fdatasync`.
//!
//! ```text
//! cargo bench -p kogia -p kogia-cli -p kogia-crash -p kogia-peers --bench queue
//! cargo bench ... --bench queue -- durable  # one of: append, stream, durable
//! ```
//!
//! Together with the programs, so that RocksDB is not compiled a second time with other features.
//!
//! Data goes below `KOGIA_BENCH_DIR` (default: cargo's target directory), at most 1 GiB at a time,
//! and is removed at the end. `KOGIA_BENCH_ROUNDS` (default 5) is how often each contender takes its
//! turn. Ratios are of rates, Kogia's to the other's, round by round: more is better.

#[path = "../../machine/mod.rs"]
mod machine;
#[path = "../../ratios/rounds.rs"]
mod rounds;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kogia::queue::{Entry, Queue};
use machine::{Result, noise};
use rounds::{Comparison, Timing};

const ITEM_BYTES: usize = 50;
const ITEMS: usize = 4_000_000;
const THREADS: usize = 32;
const DURABLE_ITEMS: usize = 6_400;
/// So many syncs say how fast they are here.
const SYNCS: usize = 400;

fn main() -> Result<()> {
    let rounds = machine::setting("KOGIA_BENCH_ROUNDS", 5).max(1);
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(&arg[..]));
    if wanted("append") {
        append(rounds, Until::Appended)?;
        append(rounds, Until::Synced)?;
    }
    if wanted("stream") {
        stream(rounds)?;
    }
    if wanted("durable") {
        durable(rounds)?;
    }
    Ok(())
}

/// What is appended: no two of a thousand are alike.
fn items() -> Vec<Vec<u8>> {
    noise(1, 1_000 * ITEM_BYTES).chunks_exact(ITEM_BYTES).map(<[u8]>::to_vec).collect()
}

/// What is timed.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// The last append has returned.
    Appended,
    /// All is durable: mostly the device's work.
    Synced,
}

fn append(rounds: usize, until: Until) -> Result<()> {
    let items = items();
    let title = match until {
        Until::Appended => "append: 4,000,000 items of 50 bytes from one thread",
        Until::Synced => "append, and sync: the same until all is durable",
    };
    let aim = (until == Until::Appended).then_some(2.0);
    let mut comparison = Comparison::new(title, "items/s")?;
    comparison.add("depot", None, |dir| {
        let took = fill_depot(dir, &items, until)?;
        timing(took, ITEMS, per_item(bytes_in(dir)?))
    });
    comparison.add("kogia", aim, |dir| {
        let took = fill_kogia(dir, &items, until)?;
        timing(took, ITEMS, per_item(bytes_in(dir)?))
    });
    comparison.measure(rounds)
}

fn stream(rounds: usize) -> Result<()> {
    let items = items();
    let title = "stream: the same read again, from the page cache; Kogia verifies checksums";
    let mut comparison = Comparison::new(title, "items/s")?;
    comparison.add("depot", None, |dir| {
        fill_depot(dir, &items, Until::Synced)?;
        let started = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        for item in depot::Queue::new(dir).stream(None)? {
            bytes += item?.data.len();
            count += 1;
        }
        checked(started, count, bytes)
    });
    comparison.add("kogia", Some(2.0), |dir| {
        fill_kogia(dir, &items, Until::Synced)?;
        let started = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        let mut stream = Queue::reader(dir)?.stream(None)?;
        while let Some(entry) = stream.next()? {
            if let Entry::Item(_, item) = entry {
                bytes += item.len();
                count += 1;
            }
        }
        checked(started, count, bytes)
    });
    comparison.measure(rounds)
}

fn durable(rounds: usize) -> Result<()> {
    let item = noise(1, ITEM_BYTES);
    let title = "durable: 50 bytes, each durable before the next of its thread";
    let mut comparison = Comparison::new(title, "items/s")?;
    comparison.add("one thread, a write and an fdatasync each", None, |path| {
        let mut file = File::create_new(path)?;
        let started = Instant::now();
        for _ in 0..SYNCS {
            file.write_all(&item)?;
            file.sync_data()?;
        }
        timing(started.elapsed(), SYNCS, String::new())
    });
    comparison.add("kogia, 32 threads", Some(10.0), |dir| {
        let queue = Queue::open(dir)?;
        let append = || -> kogia::Result<()> {
            (0..DURABLE_ITEMS / THREADS).try_for_each(|_| queue.append(&item).map(drop))
        };
        let started = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(append)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        timing(started.elapsed(), DURABLE_ITEMS, String::new())
    });
    comparison.measure(rounds)
}

fn fill_depot(dir: &Path, items: &[Vec<u8>], until: Until) -> Result<Duration> {
    std::fs::create_dir(dir)?;
    let mut queue = depot::Queue::new(dir);
    let started = Instant::now();
    for item in items.iter().cycle().take(ITEMS) {
        queue.append(item)?;
    }
    let appended = started.elapsed();
    queue.sync()?;
    Ok(if until == Until::Appended { appended } else { started.elapsed() })
}

fn fill_kogia(dir: &Path, items: &[Vec<u8>], until: Until) -> Result<Duration> {
    let queue = Queue::open(dir)?;
    let started = Instant::now();
    for item in items.iter().cycle().take(ITEMS) {
        queue.append_later(item)?;
    }
    let appended = started.elapsed();
    queue.sync()?;
    let synced = started.elapsed();
    queue.close()?;
    Ok(if until == Until::Appended { appended } else { synced })
}

/// Bytes of the files below a directory.
fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        bytes += if is_dir { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn per_item(bytes: u64) -> String {
    format!("{:.2} bytes an item", bytes as f64 / ITEMS as f64)
}

fn checked(started: Instant, count: usize, bytes: usize) -> Result<Timing> {
    let took = started.elapsed();
    assert_eq!((count, bytes), (ITEMS, ITEMS * ITEM_BYTES), "all was read");
    timing(took, ITEMS, String::new())
}

fn timing(took: Duration, items: usize, note: String) -> Result<Timing> {
    Ok(Timing { took, amount: items as f64, note })
}
