//! Ingest of objects of 1 MiB: synced once at the end, or each durable before its thread puts the next.
//!
//! Timed until all is durable; what closing writes and computes counts as cost, though not as time.

use std::fs::File;
use std::os::unix::fs::FileExt;

use kogia::io::{Io, OpenMode, RealIo};

use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::Key;
use crate::engines::{Engine, Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const BYTES: usize = 1 << 20;
/// The raw limit that starts writing back early does so after so much.
const EARLY_BYTES: u64 = 8 << 20;
/// Seconds that no run takes.
const NO_END: f64 = 1e6;
const EARLY: &str = "pwrite, early write-back";

pub struct Ingest {
    pub promise: Promise,
    pub threads: usize,
}

impl Ingest {
    fn work(&self, job: &Job) -> Work {
        let Ingest { promise, threads } = *self;
        match promise {
            Promise::AtSync => {
                Work { threads, most: job.size(2048, 384), seconds: NO_END, timed: false }
            }
            Promise::Durable => {
                let (most, seconds) = job.size((1500, 20.0), (300, 2.0));
                Work { threads, most, seconds, timed: true }
            }
        }
    }

    fn put_all(&self, kind: Kind, engine: &dyn Engine, job: &Job) -> Result<Done> {
        let work = self.work(job);
        let together = (kind.bulk_bytes() / BYTES).max(1) as u64;
        if self.promise == Promise::Durable || together == 1 {
            return drive(work, |_| {
                |number| engine.put(&Key::camera(number), job.bodies.body(number, 0, BYTES))
            });
        }
        let batches = Work { most: work.most.div_ceil(together), ..work };
        let mut done = drive(batches, |_| {
            |batch| {
                let numbers = batch * together..work.most.min((batch + 1) * together);
                let put = |number| (Key::camera(number), job.bodies.body(number, 0, BYTES));
                engine.put_batch(&numbers.map(put).collect::<Vec<_>>())
            }
        })?;
        done.count = work.most;
        Ok(done)
    }

    fn row(&self, done: &Done, meter: &Meter) -> Vec<Row> {
        let row = Row::new("put", "MiB/s", done.mib_rate(BYTES));
        vec![row.latencies(done).cost(meter, done.count * BYTES as u64)]
    }
}

impl Workload for Ingest {
    fn name(&self) -> String {
        match self.promise {
            Promise::AtSync => "ingest-1m".to_owned(),
            Promise::Durable => format!("ingest-1m-durable-{}", self.threads),
        }
    }

    fn about(&self) -> String {
        match (self.promise, self.threads) {
            (Promise::AtSync, _) => {
                "Objects of 1 MiB by one thread, one sync at the end. Limits: the \
                same into one file, and with write-back started every 8 MiB."
                    .to_owned()
            }
            (Promise::Durable, threads) => format!(
                "Objects of 1 MiB, each durable before its thread puts the next; threads: {threads}. \
                 Limit: one thread, a `pwrite` and an `fdatasync` each."
            ),
        }
    }

    fn limits(&self) -> &'static [&'static str] {
        match self.promise {
            Promise::AtSync => &["pwrite, one fdatasync", EARLY],
            Promise::Durable => &["pwrite, fdatasync each"],
        }
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        if short { 400 << 20 } else { 2 << 30 }
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        let to_limits: &[f64] = match (self.promise, self.threads) {
            (Promise::AtSync, _) => &[1.05, 0.7],
            (Promise::Durable, 1) => &[0.95],
            (Promise::Durable, _) => &[1.0],
        };
        vec![("put", Aim { to_limits, written: Some(1.02), ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), self.promise)?;
        let (meter, started) = (Meter::start(), std::time::Instant::now());
        let mut done = self.put_all(kind, &*engine, job)?;
        if self.promise == Promise::AtSync {
            engine.sync()?;
            done.seconds = started.elapsed().as_secs_f64();
        }
        engine.close()?;
        Ok(self.row(&done, &meter))
    }

    fn limit(&self, limit: &str, job: &Job) -> Result<Vec<Row>> {
        let work = Work { threads: 1, ..self.work(job) };
        let path = job.home();
        let file = File::create_new(&path)?;
        let early = RealIo.open(&path, OpenMode::ReadWrite)?;
        let (meter, started) = (Meter::start(), std::time::Instant::now());
        let mut done = drive(work, |_| {
            |number| {
                let at = number * BYTES as u64;
                file.write_all_at(job.bodies.body(number, 0, BYTES), at)?;
                let end = at + BYTES as u64;
                if self.promise == Promise::Durable {
                    file.sync_data()?;
                } else if limit == EARLY && end.is_multiple_of(EARLY_BYTES) {
                    early.start_write_back(end - EARLY_BYTES..end);
                }
                Ok(())
            }
        })?;
        file.sync_data()?;
        done.seconds = started.elapsed().as_secs_f64();
        Ok(self.row(&done, &meter))
    }
}
