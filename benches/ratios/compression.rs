//! Kogia with compression against itself without: small notes in batches, text of 40 KB, and noise
//! of 1 MiB, which is what media looks like to zstd. Puts, then reads of all in another order; the
//! note says what of its room the values take.

use std::path::Path;
use std::time::{Duration, Instant};

use kogia::{Batch, CompactOptions, Durability, Options, Store};

use crate::machine::{Result, noise};
use crate::rounds::{Comparison, Timing};

/// What is put and read.
struct Work {
    title: &'static str,
    values: Vec<Vec<u8>>,
    batch: usize,
}

pub fn measure(rounds: usize) -> Result<()> {
    let text = |at: u64| (at * 300..).flat_map(note).take(40_000).collect();
    let works = [
        Work {
            title: "compression: 400,000 notes of some 130 bytes in batches of 1,000",
            values: (0..400_000).map(note).collect(),
            batch: 1000,
        },
        Work {
            title: "compression: 4,000 texts of 40,000 bytes",
            values: (0..4_000).map(text).collect(),
            batch: 1,
        },
        Work {
            title: "compression: 300 times 1 MiB that does not compress",
            values: (0..300).map(|at| noise(at, 1 << 20)).collect(),
            batch: 1,
        },
    ];
    for work in &works {
        for reads in [false, true] {
            compare(work, reads, rounds)?;
        }
    }
    Ok(())
}

fn compare(work: &Work, reads: bool, rounds: usize) -> Result<()> {
    let title = format!("{}, {}", work.title, if reads { "read" } else { "put" });
    let mut comparison = Comparison::new(&title, "values/s")?;
    let levels = [None, Some(1), Some(3), Some(9)];
    for level in levels {
        let name = level.map_or("as they are".into(), |level| format!("level {level}"));
        comparison.add(name, None, move |home: &Path| run(home, work, level, reads));
    }
    comparison.measure(rounds)
}

fn run(home: &Path, work: &Work, level: Option<i32>, reads: bool) -> Result<Timing> {
    // Of 8 MiB, so that a track without a dictionary is the exception that it is in a real store.
    let options = Options::new().durability(Durability::Os).track_bytes(8 << 20);
    let store = options.compaction(false).compression(level).open(home)?;
    let put = put(&store, work)?;
    let written = share(&store)?;
    let took = if reads { read(&store, work)? } else { put };
    let all = CompactOptions { min_garbage: Some(0.0), ..CompactOptions::default() };
    store.compact(&all)?;
    let note = format!("room {written:.3}, compacted {:.3}", share(&store)?);
    Ok(Timing { took, amount: work.values.len() as f64, note })
}

fn put(store: &Store, work: &Work) -> Result<Duration> {
    let started = Instant::now();
    for (first, values) in (0..).step_by(work.batch).zip(work.values.chunks(work.batch)) {
        let mut batch = Batch::new();
        for (at, value) in (first..).zip(values) {
            batch.put(key(at), value);
        }
        store.write(batch)?;
    }
    store.checkpoint()?;
    Ok(started.elapsed())
}

/// Reads all, some here and some there.
fn read(store: &Store, work: &Work) -> Result<Duration> {
    let (count, mut value) = (work.values.len(), Vec::new());
    let started = Instant::now();
    for step in 0..count {
        let at = step * 7919 % count;
        let found = store.get_into(key(at), &mut value)?;
        if found.is_none() || value.len() != work.values[at].len() {
            return Err(format!("{} is not what was put", key(at)).into());
        }
    }
    Ok(started.elapsed())
}

/// What the values take of what they would take as they are.
fn share(store: &Store) -> Result<f64> {
    let stats = store.stats()?;
    Ok(stats.total().live_bytes as f64 / stats.object_bytes as f64)
}

fn key(at: usize) -> String {
    format!("camera-{:02}/{:08}", at % 64, at / 64)
}

/// What a camera says of a frame: most of it is what it said of the last one.
fn note(number: u64) -> Vec<u8> {
    let bright = number.wrapping_mul(2_654_435_761) % 1000;
    format!(
        "{{\"camera\":\"entrance-{}\",\"frame\":{number},\"exposure_us\":{},\
         \"brightness\":0.{bright:03},\"codec\":\"h264\",\"motion\":{}}}",
        number % 7,
        8_000 + bright,
        bright > 500,
    )
    .into_bytes()
}
