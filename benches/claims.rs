//! What Kogia claims of itself, shown: system calls of a durable put, recovery after SIGKILL,
//! resident memory of large and of many objects.
//!
//! ```text
//! cargo bench --bench claims              # all
//! cargo bench --bench claims -- recovery  # one of: calls, recovery, memory
//! ```
//!
//! Each figure comes from a process of its own. `KOGIA_BENCH_OBJECTS` (default 1,000,000) is the
//! number of small objects, `KOGIA_BENCH_STREAM_MIB` (default 4,096) the size of the stream. Data
//! goes below `KOGIA_BENCH_DIR` (default: cargo's target directory) and is removed at the end.

mod counting;
mod machine;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use counting::CountingIo;
use kogia::{Batch, Options, Store};
use machine::{Result, data_dir, noise, peak_resident_bytes, setting};

const MIB: u64 = 1 << 20;
/// With this as its first argument the program is a child: what it does and where follow.
const CHILD: &str = "as-child";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let [first, what, home, size] = &args[..]
        && first == CHILD
    {
        return child(what, Path::new(home), size.parse()?);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(&arg[..]));
    if wanted("calls") {
        calls()?;
        calls_by_strace()?;
    }
    if wanted("recovery") {
        recovery("checkpoints as by default", false)?;
        recovery("no checkpoint at all: the worst case", true)?;
    }
    if wanted("memory") {
        memory()?;
    }
    Ok(())
}

fn child(what: &str, home: &Path, size: u64) -> Result<()> {
    match what {
        "nothing" => drop(Store::open(home)?),
        "puts" => {
            let store = Store::open(home)?;
            for at in 0..size {
                store.put(format!("camera-1/{at:08}"), noise(at, 4096))?;
            }
        }
        "small" => put_small(&Store::open(home)?, size)?,
        "small-until-killed" => put_small(&Store::open(home)?, u64::MAX)?,
        "small-unflushed-until-killed" => put_small(&without_checkpoints().open(home)?, u64::MAX)?,
        "stream" => put_stream(&Store::open(home)?, size)?,
        _ => return Err(format!("no such task: {what}").into()),
    }
    println!("peak {}", peak_resident_bytes());
    Ok(())
}

fn spawn(what: &str, home: &Path, size: u64) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, what]).arg(home).arg(size.to_string());
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

/// The lines that a child prints, each a word and a number.
fn reports(child: &mut Child) -> impl Iterator<Item = (String, u64)> + use<> {
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    out.lines().map_while(|line| {
        let line = line.ok()?;
        let (word, number) = line.split_once(' ')?;
        Some((word.to_owned(), number.parse().ok()?))
    })
}

// Calls.

/// Calls of durable puts, alone and from 32 threads, as Kogia makes them.
fn calls() -> Result<()> {
    println!("\ncalls: for each durable put, counted where Kogia makes them (META's included)");
    println!(
        "  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}",
        "threads", "value", "writes", "syncs", "others", "bytes"
    );
    for (threads, value_bytes, puts) in
        [(1, 100, 400), (1, 4096, 400), (1, 1 << 20, 100), (32, 100, 200), (32, 4096, 200)]
    {
        let dir = data_dir()?;
        let io = Arc::new(CountingIo::default());
        let store = Options::new().io(io.clone()).open(dir.path())?;
        // The first put makes the track; that is not what a put costs.
        store.put("first", "value")?;
        let before = io.calls();
        let value = noise(1, value_bytes);
        let put = |thread: usize| -> kogia::Result<()> {
            (0..puts).try_for_each(|at| store.put(format!("{thread}/{at}"), &value).map(drop))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || put(n))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        let calls = io.calls().since(before);
        let each = |count: u64| count as f64 / (threads * puts) as f64;
        println!(
            "  {threads:>8}  {value_bytes:>8}  {:>8.3}  {:>8.3}  {:>8.3}  {:>8.0}",
            each(calls.writes),
            each(calls.syncs),
            each(calls.others),
            each(calls.written_bytes),
        );
    }
    Ok(())
}

/// The same as the kernel sees it, RocksDB included, where `strace` is installed.
fn calls_by_strace() -> Result<()> {
    const PUTS: u64 = 1000;
    const WRITES: &str = "trace=write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,fallocate,ftruncate,rename";
    println!("\ncalls: {PUTS} durable puts of 4 KiB, one after the other, as strace counts them");
    println!("  {:>16}  {:>12}  {:>12}", "", "open, close", "with puts");
    let mut counts = Vec::new();
    for (what, size) in [("nothing", 0), ("puts", PUTS)] {
        let dir = data_dir()?;
        let table = dir.path().join("strace");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-U", "calls,name", "-e", WRITES, "-o"]).arg(&table);
        strace.arg(std::env::current_exe()?).args([CHILD, what]);
        strace.arg(dir.path().join("home")).arg(size.to_string()).stdout(Stdio::null());
        match strace.status() {
            Ok(status) if status.success() => counts.push(std::fs::read_to_string(table)?),
            _ => {
                println!("  strace can't be run here");
                return Ok(());
            }
        }
    }
    let count = |table: &str, name: &str| -> u64 {
        let rows = table.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
        let mut found = rows.filter(|(_, call)| call.trim() == name);
        found.next().and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
    };
    for name in WRITES.trim_start_matches("trace=").split(',') {
        let (without, with) = (count(&counts[0], name), count(&counts[1], name));
        if with > 0 {
            println!("  {name:>16}  {without:>12}  {with:>12}");
        }
    }
    Ok(())
}

// Recovery.

fn without_checkpoints() -> Options {
    let never = Duration::from_secs(24 * 3600);
    Options::new().memory_bytes(8 << 30).checkpoint_bytes(u64::MAX).checkpoint_interval(never)
}

/// Puts small objects in durable batches, and says after each how many are acknowledged.
fn put_small(store: &Store, objects: u64) -> Result<()> {
    const BATCH: u64 = 1000;
    let value = noise(1, 100);
    let mut out = std::io::stdout().lock();
    let mut done = 0;
    while done < objects {
        let mut batch = Batch::new();
        let end = objects.min(done + BATCH);
        for at in done..end {
            batch.put(small_key(at), &value);
        }
        store.write(batch)?;
        done = end;
        writeln!(out, "acknowledged {done}")?;
    }
    Ok(())
}

fn small_key(at: u64) -> String {
    format!("camera-{:02}/2026-11-20/{:08}", at % 64, at / 64)
}

/// Kills a child while it is putting small objects, and opens what it leaves.
fn recovery(title: &str, unflushed: bool) -> Result<()> {
    let objects: u64 = setting("KOGIA_BENCH_OBJECTS", 1_000_000);
    println!("\nrecovery: SIGKILL after {objects} acknowledged objects of 100 bytes; {title}");
    let dir = data_dir()?;
    let what = if unflushed { "small-unflushed-until-killed" } else { "small-until-killed" };
    let mut child = spawn(what, dir.path(), 0)?;
    let mut reports = reports(&mut child);
    let enough = reports.find(|(_, acknowledged)| *acknowledged >= objects);
    child.kill()?;
    child.wait()?;
    // What it managed to say before it died is acknowledged, too.
    let last = reports.last().or(enough).ok_or("the child died by itself")?;
    let acknowledged = last.1;

    let started = Instant::now();
    let store = Store::open(dir.path())?;
    let took = started.elapsed();
    let report = store.recovery();
    println!(
        "  opened in {took:.2?}: {} chains, {} records, {:.1} MiB replayed; clean: {}",
        report.replayed_chains,
        report.replayed_records,
        report.replayed_bytes as f64 / MIB as f64,
        report.clean,
    );
    for at in 0..acknowledged {
        if store.head(small_key(at))?.is_none() {
            return Err(format!("object {at} of {acknowledged} acknowledged ones is lost").into());
        }
    }
    let found = store.stats()?.objects;
    println!("  {acknowledged} were acknowledged, all of them are there, and {found} in all");
    Ok(())
}

// Memory.

fn put_stream(store: &Store, mib: u64) -> Result<()> {
    let piece = noise(1, MIB as usize);
    let mut writer = store.writer("camera-1/live.ts")?;
    (0..mib).try_for_each(|_| writer.write_all(&piece))?;
    writer.commit()?;
    Ok(())
}

fn memory() -> Result<()> {
    const LIMIT_MIB: u64 = 128;
    let mib: u64 = setting("KOGIA_BENCH_STREAM_MIB", 4096);
    let objects: u64 = setting("KOGIA_BENCH_OBJECTS", 1_000_000);
    println!("\nmemory: the most that was resident (VmHWM), with default options");
    for (title, what, size) in [
        ("nothing but opening".to_owned(), "nothing", 0),
        (format!("a stream of {mib} MiB"), "stream", mib),
        (format!("{objects} objects of 100 bytes"), "small", objects),
    ] {
        let dir = data_dir()?;
        let started = Instant::now();
        let mut child = spawn(what, dir.path(), size)?;
        let peak = reports(&mut child).find(|(word, _)| word == "peak");
        let took = started.elapsed();
        let ended = child.wait()?;
        let (_, bytes) = peak.ok_or_else(|| format!("the child failed: {ended}"))?;
        let verdict = if bytes <= LIMIT_MIB * MIB { "met" } else { "MISSED" };
        println!(
            "  {title:>32}  {:>4} MiB  in {took:.2?}  (limit {LIMIT_MIB} MiB: {verdict})",
            bytes / MIB,
        );
    }
    Ok(())
}
