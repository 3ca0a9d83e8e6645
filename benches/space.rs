//! What overwriting costs in bytes written and in room, and what compaction costs those who read
//! meanwhile.
//!
//! ```text
//! cargo bench --bench space           # all
//! cargo bench --bench space -- churn  # one of: churn, reads
//! ```
//!
//! Each figure of churn comes from a process of its own. `KOGIA_BENCH_SCALE` (default 1) is a factor on
//! the live set of 2 GiB and the 8 GiB that overwrite it; values of 1 KiB get a quarter of both.
//! `KOGIA_BENCH_ROUNDS` (default 5) is how often reads with and without a compaction take turns. Data
//! goes below `KOGIA_BENCH_DIR` (default: cargo's target directory), and is removed at the end.
//!
//! What a block device was written counts whoever wrote it: on one of its own (a file of 12 GiB behind
//! a loop device will do) it is what the store costs. What the kernel charges a process with is more
//! where a file system keeps pages together: ext4 charges for all of a run of which one page is written.

mod machine;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kogia::{Batch, CompactOptions, Options, Store};
use machine::{Result, Usage, data_dir, noise, peak_resident_bytes, setting};

const GIB: u64 = 1 << 30;
/// With this as its first argument the program is a child: what it does and where follow.
const CHILD: &str = "as-child";
const WRITERS: u64 = 16;
const PUNCHES: &str = "holes punched";
const REFILLS: &str = "refilled, no holes";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if let [first, how, home, value_bytes, live_bytes] = &args[..]
        && first == CHILD
    {
        return churn_child(how, Path::new(home), value_bytes.parse()?, live_bytes.parse()?);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(&arg[..]));
    if wanted("churn") {
        churn()?;
    }
    if wanted("reads") {
        reads()?;
    }
    Ok(())
}

// Churn.

fn churn() -> Result<()> {
    let scale: f64 = setting("KOGIA_BENCH_SCALE", 1.0);
    println!(
        "\nchurn: uniform overwrites of a live set, four times its size; {WRITERS} writers, \
         durable puts, tracks of 64 MiB, max_space_amplification 1.3\n  written: bytes given to write calls for each byte put, the \
         index's included; charged: as the kernel counts them for the process; device: as the block device \
         counts them, others' included; room: blocks of tracks and index for each live byte"
    );
    println!(
        "  {:>8}  {:>18}  {:>9}  {:>7}  {:>7}  {:>7}  {:>7}  {:>12}  {:>9}  {:>6}  {:>8}",
        "value",
        "",
        "live",
        "written",
        "charged",
        "device",
        "room",
        "checkpointed",
        "maintain",
        "copied",
        "MiB/s"
    );
    for (value_bytes, part, aims) in [
        (64 << 10, 1.0, [Some((1.15, 1.15)), Some((1.6, 1.35))]),
        (1 << 20, 1.0, [None, None]),
        (1 << 10, 0.25, [None, None]),
    ] {
        for (how, aim) in [PUNCHES, REFILLS].into_iter().zip(aims) {
            let live_bytes = (2.0 * GIB as f64 * scale * part) as u64;
            let dir = data_dir()?;
            let mut child = Command::new(std::env::current_exe()?);
            child.args([CHILD, how]).arg(dir.path());
            child.args([value_bytes.to_string(), live_bytes.to_string()]);
            if !child.status()?.success() {
                return Err(format!("the child for {value_bytes} bytes, {how}, failed").into());
            }
            if let Some((written, room)) = aim {
                println!("  {:>8}  {how:>18}  aims: written {written}, room {room}", "");
            }
        }
    }
    Ok(())
}

fn churn_child(how: &str, home: &Path, value_bytes: usize, live_bytes: u64) -> Result<()> {
    let punches = how == PUNCHES;
    let store = Options::new().track_bytes(64 << 20).punch(punches).refill(!punches).open(home)?;
    let keys = live_bytes / value_bytes as u64;
    let live = keys * value_bytes as u64;
    write_keys(&store, keys, value_bytes, |at, _| at)?;
    store.checkpoint()?;
    let (before, started) = (Usage::now(), Instant::now());
    let device_before = device_written_bytes(home)?;
    write_keys(&store, 4 * keys, value_bytes, |_, random| random % keys)?;
    let took = started.elapsed();
    // Before anything else is done about it.
    let at_once = room(home)? as f64 / live as f64;
    store.checkpoint()?;
    let usage = Usage::now().since(before);
    let each = |bytes: u64| bytes as f64 / (4 * live) as f64;
    let (written, charged) = (each(usage.written_bytes), each(usage.device_bytes));
    let device = each(device_written_bytes(home)? - device_before);
    let checkpointed = room(home)? as f64 / live as f64;
    let copied: u64 = store.compaction().disks.values().map(|disk| disk.copied_bytes).sum();
    store.maintain()?;
    let maintained = room(home)? as f64 / live as f64;
    println!(
        "  {value_bytes:>8}  {how:>18}  {:>5} MiB  {written:>7.3}  {charged:>7.3}  {device:>7.3}  {at_once:>7.3}  \
         {checkpointed:>12.3}  {maintained:>9.3}  {:>6.3}  {:>8.0}  {:.0?} CPU, {} MiB resident",
        live >> 20,
        each(copied),
        (4 * live) as f64 / took.as_secs_f64() / (1 << 20) as f64,
        usage.cpu,
        peak_resident_bytes() >> 20,
    );
    Ok(())
}

/// Puts so many keys from all writers: which, is told by a running number and a random one.
fn write_keys(
    store: &Store,
    puts: u64,
    value_bytes: usize,
    key: impl Fn(u64, u64) -> u64 + Sync,
) -> Result<()> {
    let next = AtomicU64::new(0);
    let write = |writer: u64| -> kogia::Result<()> {
        let mut value = noise(writer, value_bytes);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= puts {
                return Ok(());
            }
            // No two are alike.
            value[..8].copy_from_slice(&at.to_le_bytes());
            store.put(name(key(at, random(at))), &value)?;
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || write(n))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("no panic"))
    })?;
    Ok(())
}

/// A number that looks random, from another (splitmix64).
fn random(at: u64) -> u64 {
    let mut state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn name(key: u64) -> String {
    format!("camera-{:02}/{key:08}", key % 16)
}

/// Bytes that tracks and index take of the file system.
fn room(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_reserve = entry.file_name() == "reserve";
        match entry.metadata() {
            Ok(data) if data.is_dir() => bytes += room(&entry.path())?,
            Ok(data) if !is_reserve => bytes += data.blocks() * 512,
            // The reserve, or a file that was removed since it was listed.
            _ => {}
        }
    }
    Ok(bytes)
}

/// Bytes that the block device below `dir` was ever written; 0 where there is none.
fn device_written_bytes(dir: &Path) -> Result<u64> {
    const SECTOR_BYTES: u64 = 512;
    /// Of the numbers that the kernel keeps of a device.
    const WRITTEN_SECTORS: usize = 6;
    let device = std::fs::metadata(dir)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let Ok(stat) = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else {
        return Ok(0);
    };
    let sectors = stat.split_whitespace().nth(WRITTEN_SECTORS).ok_or("a stat without sectors")?;
    Ok(sectors.parse::<u64>()? * SECTOR_BYTES)
}

// Reads.

/// Reads of a store half of which is garbage, with and without a compaction, in turns.
fn reads() -> Result<()> {
    const VALUE_BYTES: usize = 3000;
    const TURN: Duration = Duration::from_secs(2);
    let scale: f64 = setting("KOGIA_BENCH_SCALE", 1.0);
    let rounds: usize = setting("KOGIA_BENCH_ROUNDS", 5).max(1);
    let keys = (GIB as f64 * scale) as u64 / VALUE_BYTES as u64;
    let dir = data_dir()?;
    let store = Options::new().compaction(false).track_bytes(64 << 20).open(dir.path())?;
    // Twice, so that every track is full of garbage by half.
    for at in (0..2 * keys).step_by(100) {
        let mut batch = Batch::new();
        for at in at..at + 100 {
            let key = if at < keys { at } else { random(at) % keys };
            batch.put(name(key), noise(at, VALUE_BYTES));
        }
        store.write(batch)?;
    }
    store.checkpoint()?;
    println!(
        "\nreads: `get` of {VALUE_BYTES} bytes by one thread, {keys} keys, {rounds} turns of {TURN:?} \
         each; aim: 99th and 99.9th percentile within a factor of 2"
    );
    let rates = [(None, None), (Some(64 << 20), Some(2.0)), (Some(u64::MAX), None)];
    let mut taken: [Vec<Duration>; 3] = Default::default();
    let mut copied = [0; 3];
    for round in 0..rounds {
        for turn in 0..rates.len() {
            let which = (round + turn) % rates.len();
            copied[which] += read_for(&store, keys, TURN, rates[which].0, &mut taken[which])?;
        }
    }
    let at = |taken: &[Duration], share: f64| taken[(taken.len() as f64 * share) as usize];
    taken.iter_mut().for_each(|taken| taken.sort_unstable());
    for (which, (rate, aim)) in rates.into_iter().enumerate() {
        let what = match rate {
            None => "no compaction".to_owned(),
            Some(u64::MAX) => "compaction, no limit".to_owned(),
            Some(rate) => format!("compaction, {} MiB/s", rate >> 20),
        };
        print!("  {what:>22}  {:>8} reads", taken[which].len());
        for (name, share) in [("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999)] {
            let (now, alone) = (at(&taken[which], share), at(&taken[0], share));
            let ratio = now.as_secs_f64() / alone.as_secs_f64();
            print!("  {name} {now:>9.1?} (x{ratio:.2})");
        }
        let mib = copied[which] >> 20;
        println!("  {mib} MiB copied{}", aim.map_or(String::new(), |aim| format!("; aim x{aim}")));
    }
    Ok(())
}

/// Reads random keys for a while, beside a compaction of that rate if any; gives what it copied.
fn read_for(
    store: &Store,
    keys: u64,
    turn: Duration,
    rate: Option<u64>,
    taken: &mut Vec<Duration>,
) -> Result<u64> {
    let is_over = std::sync::Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    let options = CompactOptions {
        min_garbage: Some(0.1),
        bytes_per_second: rate.filter(|rate| *rate < u64::MAX),
        on_progress: Some(Box::new(move |_| !told.load(Ordering::Relaxed))),
        ..CompactOptions::default()
    };
    std::thread::scope(|scope| {
        let compaction = rate.map(|_| scope.spawn(|| store.compact(&options)));
        let started = Instant::now();
        let mut at = taken.len() as u64;
        let mut value = Vec::new();
        while started.elapsed() < turn {
            at += 1;
            let key = name(random(at) % keys);
            let before = Instant::now();
            store.get_into(key, &mut value)?;
            taken.push(before.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        let report = compaction.map(|thread| thread.join().expect("no panic")).transpose()?;
        Ok(report.map_or(0, |report| report.copied_bytes))
    })
}
