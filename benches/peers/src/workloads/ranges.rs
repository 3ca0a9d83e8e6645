//! Random ranges of 64 KiB inside objects of 64 MiB, from the page cache.

use std::os::unix::fs::FileExt;

use super::fill::write_all;
use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::{Key, Random};
use crate::engines::{Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const BYTES: usize = 64 << 20;
const RANGE_BYTES: usize = 64 << 10;
const PIECE_BYTES: usize = 1 << 20;

pub struct Ranges;

impl Ranges {
    fn objects(short: bool) -> u64 {
        if short { 4 } else { 16 }
    }

    /// Calls `read` with an object and where in it.
    fn read(
        job: &Job,
        seconds: f64,
        read: impl Fn(u64, usize, &mut Vec<u8>) -> Result<()> + Sync,
    ) -> Result<Done> {
        let work = Work { threads: 1, most: u64::MAX, seconds, timed: true };
        drive(work, |_| {
            let mut random = Random::new(job.round);
            let (read, mut buffer) = (&read, Vec::new());
            let objects = Ranges::objects(job.short);
            move |_| {
                // No range has an end of a page.
                let at = random.below((BYTES - RANGE_BYTES) as u64) as usize;
                read(random.below(objects), at, &mut buffer)
            }
        })
    }

    fn row(done: &Done, meter: &Meter) -> Row {
        let row = Row::new("1 thread", "reads/s", done.rate());
        row.latencies(done).cost(meter, done.count * RANGE_BYTES as u64)
    }
}

impl Workload for Ranges {
    fn name(&self) -> String {
        "range-64k".to_owned()
    }

    fn about(&self) -> String {
        "Random ranges of 64 KiB inside objects of 64 MiB from the page cache, by one thread. Where an \
         engine knows no ranges it reads all of the object. Limit: `pread`."
            .to_owned()
    }

    fn limits(&self) -> &'static [&'static str] {
        &["pread"]
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        Ranges::objects(short) * BYTES as u64
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        vec![("1 thread", Aim { to_engine: Some((Kind::Files, 0.9)), ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::AtSync)?;
        for number in 0..Ranges::objects(job.short) {
            let pieces: Vec<_> = job.bodies.body(number, 0, BYTES).chunks(PIECE_BYTES).collect();
            engine.upload(&Key::camera(number), &pieces)?;
        }
        engine.sync()?;
        engine.tidy()?;
        let read = |number: u64, at: usize, buffer: &mut Vec<u8>| {
            let expected = &job.bodies.body(number, 0, BYTES)[at..at + RANGE_BYTES];
            let mut right = false;
            let range = at..at + RANGE_BYTES;
            engine.get_range(&Key::camera(number), range, buffer, &mut |part| {
                right = part.len() == RANGE_BYTES && part[..8] == expected[..8];
            })?;
            if right { Ok(()) } else { Err(format!("{number} at {at} is wrong").into()) }
        };
        Ranges::read(job, 1.0, read)?;
        let meter = Meter::start();
        let done = Ranges::read(job, job.size(5.0, 1.0), read)?;
        let row = Ranges::row(&done, &meter);
        engine.close()?;
        Ok(vec![row])
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let file = write_all(&job.home(), &job.bodies, BYTES, Ranges::objects(job.short))?;
        let read = |number: u64, at: usize, buffer: &mut Vec<u8>| {
            buffer.resize(RANGE_BYTES, 0);
            Ok(file.read_exact_at(buffer, number * BYTES as u64 + at as u64)?)
        };
        Ranges::read(job, 1.0, read)?;
        let meter = Meter::start();
        let done = Ranges::read(job, job.size(5.0, 1.0), read)?;
        Ok(vec![Ranges::row(&done, &meter)])
    }
}
