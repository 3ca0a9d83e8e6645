//! Overwriting a working set several times over while room is reclaimed and objects are read.
//!
//! Two threads overwrite random objects of 64 KiB. Each syncs after 64 of them, which are one batch where the
//! engine has batches. One reads random objects at a steady pace, and what its reads take
//! is kept. The directory's room (blocks, the engine's logs and reserves included) is looked at four times
//! a second.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::fill::{put_all, write_all};
use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::{Key, Random};
use crate::engines::{Kind, Promise};
use crate::machine::disk_bytes;
use crate::measure::{Done, Meter, Row, Watch, Work, drive};

const BYTES: usize = 64 << 10;
const WRITERS: usize = 2;
/// Objects that are put before a sync.
const GROUP: usize = 64;
const READ_PACE: Duration = Duration::from_millis(2);

pub struct Churn;

/// The versions of objects: a put takes one when it begins.
struct Versions(Vec<AtomicU64>);

impl Churn {
    fn objects(short: bool) -> u64 {
        if short { 8192 } else { 16_384 }
    }

    fn times(job: &Job) -> u64 {
        job.size(4, 3)
    }

    /// Overwrites by all writers beside one reader; what both did. `put` is given objects and versions, and
    /// makes them durable.
    fn churn(
        job: &Job,
        put: impl Fn(&BTreeMap<u64, u64>) -> Result<()> + Sync,
        get: impl Fn(u64, &mut Vec<u8>) -> Result<()> + Sync,
        upkeep: impl Fn() -> Result<bool> + Sync,
    ) -> Result<(Done, Done)> {
        let objects = Churn::objects(job.short);
        let versions = Versions((0..objects).map(|_| AtomicU64::new(0)).collect());
        let over = AtomicBool::new(false);
        let is_over = || over.load(Ordering::Relaxed);
        let write = |thread: usize| {
            let mut random = Random::new(job.round * 100 + thread as u64);
            let (put, versions) = (&put, &versions);
            move |_| {
                let mut group = BTreeMap::new();
                while group.len() < GROUP {
                    let number = random.below(objects);
                    let version = &versions.0[number as usize];
                    group
                        .entry(number)
                        .or_insert_with(|| version.fetch_add(1, Ordering::Relaxed) + 1);
                }
                put(&group)
            }
        };
        std::thread::scope(|scope| {
            let keeper = scope.spawn(|| -> Result<()> {
                while !is_over() {
                    if !upkeep()? {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                Ok(())
            });
            let reader = scope.spawn(|| {
                let mut latencies = Vec::new();
                let (mut random, mut buffer) = (Random::new(job.round), Vec::new());
                let mut next = Instant::now();
                while !is_over() {
                    let before = Instant::now();
                    get(random.below(objects), &mut buffer)?;
                    latencies.push(before.elapsed());
                    next = (next + READ_PACE).max(Instant::now());
                    std::thread::sleep(next - Instant::now());
                }
                Ok::<_, crate::Failure>(Done::of(latencies))
            });
            let most = Churn::times(job) * objects / GROUP as u64;
            let seconds = job.size(90.0, 8.0);
            let written = drive(Work { threads: WRITERS, most, seconds, timed: true }, write);
            over.store(true, Ordering::Relaxed);
            keeper.join().map_err(|_| "the keeper panicked")??;
            let read = reader.join().map_err(|_| "the reader panicked")??;
            let mut written = written?;
            written.count *= GROUP as u64;
            Ok((written, read))
        })
    }
}

impl Workload for Churn {
    fn name(&self) -> String {
        "churn-64k".to_owned()
    }

    fn about(&self) -> String {
        "A working set of objects of 64 KiB (1 GiB; 512 MiB in a short run) is overwritten at random four \
         times over (three) by two threads, each of which syncs after 64 puts (one batch, where the engine has \
         batches), while one thread reads 500 random objects a second at most. Room: what the directory \
         takes for each byte of the working set, at its worst and after a tidy-up. Written: tidying up \
         included. Limit: `pwrite` in place, with the same syncs."
            .to_owned()
    }

    fn limits(&self) -> &'static [&'static str] {
        &["pwrite in place"]
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        Churn::objects(short) * BYTES as u64 * 3
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        let at_most = &[("room at worst", 1.3), ("room at the end", 1.15)];
        let overwrites = Aim { to_best: Some(1.5), written: Some(1.1), at_most, ..Aim::default() };
        vec![
            ("overwrites", overwrites),
            ("reads meanwhile", Aim { to_best: Some(1.0), ..Aim::default() }),
        ]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let (home, objects) = (job.home(), Churn::objects(job.short));
        let engine = kind.open_for_churn(&home, Promise::AtSync)?;
        put_all(&*engine, &job.bodies, BYTES, 0..objects, Key::camera)?;
        engine.sync()?;
        engine.tidy()?;
        let (meter, watch) = (Meter::start(), Watch::room(&home));
        let (written, read) = Churn::churn(
            job,
            |group| {
                let put = |(number, version): (&u64, &u64)| {
                    (Key::camera(*number), job.bodies.body(*number, *version, BYTES))
                };
                if kind.has_batches() {
                    engine.put_batch(&group.iter().map(put).collect::<Vec<_>>())?;
                } else {
                    group.iter().map(put).try_for_each(|(key, body)| engine.put(&key, body))?;
                }
                engine.sync()
            },
            |number, buffer| {
                let mut len = 0;
                engine.get(&Key::camera(number), buffer, &mut |body| len = body.len())?;
                if len == BYTES { Ok(()) } else { Err(format!("object {number} is gone").into()) }
            },
            || engine.upkeep(),
        )?;
        let worst = watch.end().room_bytes;
        engine.tidy()?;
        let end = disk_bytes(&home);
        engine.close()?;
        Ok(rows(&written, &read, &meter, (worst, end), job))
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let objects = Churn::objects(job.short);
        let file: File = write_all(&job.home(), &job.bodies, BYTES, objects)?;
        let meter = Meter::start();
        let (written, read) = Churn::churn(
            job,
            |group| {
                for (number, version) in group {
                    let body = job.bodies.body(*number, *version, BYTES);
                    file.write_all_at(body, number * BYTES as u64)?;
                }
                Ok(file.sync_data()?)
            },
            |number, buffer| {
                buffer.resize(BYTES, 0);
                Ok(file.read_exact_at(buffer, number * BYTES as u64)?)
            },
            || Ok(false),
        )?;
        let room = objects * BYTES as u64;
        Ok(rows(&written, &read, &meter, (room, room), job))
    }
}

fn rows(
    written: &Done,
    read: &Done,
    meter: &Meter,
    (worst, end): (u64, u64),
    job: &Job,
) -> Vec<Row> {
    let live = (Churn::objects(job.short) * BYTES as u64) as f64;
    let overwrites = Row::new("overwrites", "MiB/s", written.mib_rate(BYTES))
        .cost(meter, written.count * BYTES as u64)
        .note("room at worst", worst as f64 / live)
        .note("room at the end", end as f64 / live);
    let tail = read.percentiles().map_or(f64::NAN, |[_, _, tail]| tail);
    let reads = Row::less("reads meanwhile", "µs, 99.9th of 100", tail).latencies(read);
    vec![overwrites, reads]
}
