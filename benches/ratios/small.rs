//! Puts of 100 bytes in batches of 1,000, against RocksDB's `WriteBatch` with its log on: both
//! synced with each batch, and both not. All is flushed at the end, so that nobody leaves work
//! for later.
//!
//! RocksDB runs with its defaults, so that it holds 64 MiB of rows before it flushes them. Kogia
//! holds 12 MiB of its 64, and compacts the index while it is filled; with 256 MiB of memory both
//! hold about as much.
//!
//! RocksDB sums with CRC-32C in software on x86-64 unless it was built for a processor that has it
//! in hardware (`RUSTFLAGS=-Ctarget-cpu=native`); here that is a few hundredths of its time.

use std::path::Path;
use std::time::Instant;

use kogia::{Batch, Durability, Options};
use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::machine::{Result, noise};
use crate::rounds::{Comparison, Timing};

const BATCHES: usize = 500;
const BATCH_PUTS: usize = 1000;
const VALUE_BYTES: usize = 100;

pub fn measure(rounds: usize) -> Result<()> {
    let keys: Vec<String> = (0..BATCHES * BATCH_PUTS).map(key).collect();
    let value = noise(1, VALUE_BYTES);
    for (title, synced) in [
        ("small: 500 batches of 1,000 puts of 100 bytes, each batch synced", true),
        ("small: 500 batches of 1,000 puts of 100 bytes, not synced", false),
    ] {
        let mut comparison = Comparison::new(title, "puts/s")?;
        let (keys, value) = (&keys, &value);
        comparison.add("RocksDB, log on", None, move |path| rocksdb(path, keys, value, synced));
        for (name, memory_bytes) in [("kogia", 64 << 20), ("kogia, 256 MiB", 256 << 20)] {
            let run = move |home: &Path| kogia(home, keys, value, synced, memory_bytes);
            comparison.add(name, Some(1.0), run);
        }
        comparison.measure(rounds)?;
    }
    Ok(())
}

/// Keys of 64 cameras, each counting up: what ingest looks like.
fn key(at: usize) -> String {
    format!("camera-{:02}/2026-11-20/{:08}", at % 64, at / 64)
}

fn rocksdb(path: &Path, keys: &[String], value: &[u8], synced: bool) -> Result<Timing> {
    let db = DB::open_default(path)?;
    let mut options = WriteOptions::default();
    options.set_sync(synced);
    let started = Instant::now();
    for keys in keys.chunks(BATCH_PUTS) {
        let mut batch = WriteBatch::default();
        keys.iter().for_each(|key| batch.put(key, value));
        db.write_opt(batch, &options)?;
    }
    db.flush()?;
    Ok(timing(started))
}

fn kogia(
    home: &Path,
    keys: &[String],
    value: &[u8],
    synced: bool,
    memory_bytes: usize,
) -> Result<Timing> {
    let durability = if synced { Durability::Sync } else { Durability::Os };
    let store = Options::new().durability(durability).memory_bytes(memory_bytes).open(home)?;
    let started = Instant::now();
    for keys in keys.chunks(BATCH_PUTS) {
        let mut batch = Batch::new();
        for key in keys {
            batch.put(key, value);
        }
        store.write(batch)?;
    }
    store.checkpoint()?;
    Ok(timing(started))
}

fn timing(started: Instant) -> Timing {
    let amount = (BATCHES * BATCH_PUTS) as f64;
    Timing { took: started.elapsed(), amount, note: String::new() }
}
