//! Durable puts of 4 KiB from several threads, each put durable before its thread goes on.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::Key;
use crate::engines::{Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const BYTES: usize = 4 << 10;

pub struct Puts {
    pub threads: usize,
}

impl Puts {
    fn work(&self, job: &Job) -> Work {
        let (most, seconds) = job.size((200_000, 10.0), (20_000, 2.0));
        Work { threads: self.threads, most, seconds, timed: true }
    }

    fn row(done: &Done, meter: &Meter) -> Row {
        let row = Row::new("put", "puts/s", done.rate());
        row.cost(meter, done.count * BYTES as u64)
    }
}

impl Workload for Puts {
    fn name(&self) -> String {
        format!("put-4k-{}", self.threads)
    }

    fn about(&self) -> String {
        let threads = self.threads;
        format!(
            "Puts of 4 KiB, each durable before its thread puts the next; threads: {threads}. Limit: a \
             `pwrite` and an `fdatasync` for every {threads} puts."
        )
    }

    fn limits(&self) -> &'static [&'static str] {
        &["pwrite, fdatasync"]
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        BYTES * self.threads
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        if short { 80 << 20 } else { 800 << 20 }
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        let (to_best, to_limits): (_, &[f64]) = match self.threads {
            1 => (None, &[0.9]),
            8 => (Some(1.5), &[]),
            _ => (Some(1.5), &[0.45]),
        };
        let written = (self.threads > 1).then_some(1.3);
        vec![("put", Aim { to_best, to_limits, written, ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::Durable)?;
        let meter = Meter::start();
        let done = drive(self.work(job), |_| {
            |number| engine.put(&Key::camera(number), job.bodies.body(number, 0, BYTES))
        })?;
        engine.close()?;
        Ok(vec![Puts::row(&done, &meter).latencies(&done)])
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let group_bytes = BYTES * self.threads;
        let work = self.work(job);
        let groups = Work { threads: 1, most: work.most.div_ceil(self.threads as u64), ..work };
        let file = File::create_new(job.home())?;
        let meter = Meter::start();
        let mut done = drive(groups, |_| {
            |group| {
                let body = job.bodies.body(group, 0, group_bytes);
                file.write_all_at(body, group * group_bytes as u64)?;
                Ok(file.sync_data()?)
            }
        })?;
        let percentiles = done.percentiles();
        done.count *= self.threads as u64;
        Ok(vec![Row { percentiles, ..Puts::row(&done, &meter) }])
    }
}
