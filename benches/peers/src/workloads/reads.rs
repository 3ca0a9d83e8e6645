//! Random reads of whole objects: warm, by one and two threads, and cold, once each.
//!
//! The store is filled and put in order by the process that reads, and all of it is read once before the
//! clock runs, and then at random for a second. Cold reads open a store that another process has filled,
//! and whose files were taken out of the page cache. What is read is compared with what was put, by length
//! and eight bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use super::fill::{Fill, cool, put_all, write_all};
use super::{Aim, Job, Set, Workload, counted, sized};
use crate::Result;
use crate::data::{Key, Random};
use crate::engines::{Engine, Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const LIMIT: &str = "pread";
const BORROWED: &str = "1 thread, borrowed";
/// Reads of what was just written are slow for about so long, raw ones as well.
const WARM_SECONDS: f64 = 1.0;
/// Of more, files take too long to make and to delete.
const FILES_AT_MOST: u64 = 200_000;
const FILES_AT_MOST_SHORT: u64 = 20_000;
/// Bodies are borrowed where copying them is what takes time.
const BORROWED_FROM: usize = 1 << 20;

pub struct Reads {
    pub bytes: usize,
    pub objects: u64,
    pub set: Set,
}

/// Whether a read gave the right bytes.
struct Check<'a> {
    job: &'a Job,
    bytes: usize,
}

impl Check<'_> {
    fn is_right(&self, number: u64, at: usize, body: &[u8]) -> bool {
        let expected = self.job.bodies.body(number, 0, self.bytes);
        let end = self.bytes.min(at + 8);
        body.len() == self.bytes && body[at..end] == expected[at..end]
    }

    fn get(&self, engine: &dyn Engine, number: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let (mut right, at) = (false, number as usize % self.bytes);
        engine.get(&Key::camera(number), buffer, &mut |body| {
            right = self.is_right(number, at, body);
        })?;
        if right { Ok(()) } else { Err(wrong(number)) }
    }

    /// Bytes that are lent come in pieces, and are looked at, or some would never have left memory.
    fn borrow(&self, engine: &dyn Engine, number: u64) -> Result<()> {
        let mut len = 0;
        engine.borrow(&Key::camera(number), &mut |piece| {
            look_at(piece);
            len += piece.len();
        })?;
        if len == self.bytes { Ok(()) } else { Err(wrong(number)) }
    }
}

/// A byte of each cache line.
fn look_at(bytes: &[u8]) {
    std::hint::black_box(bytes.iter().step_by(64).fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
}

fn wrong(number: u64) -> crate::Failure {
    format!("object {number} is not what was put").into()
}

impl Reads {
    fn read(
        &self,
        job: &Job,
        threads: usize,
        seconds: f64,
        read: impl Fn(u64, &mut Vec<u8>) -> Result<()> + Sync,
    ) -> Result<Done> {
        let timed = self.bytes >= 1 << 20;
        let work = Work { threads, most: u64::MAX, seconds, timed };
        drive(work, |thread| {
            let mut random = Random::new(job.round * 100 + thread as u64);
            let (read, mut buffer) = (&read, Vec::new());
            move |_| read(random.below(self.objects), &mut buffer)
        })
    }

    fn row(&self, what: &str, done: &Done, meter: &Meter) -> Row {
        let row = if self.bytes >= 1 << 20 {
            Row::new(what, "MiB/s", done.mib_rate(self.bytes))
        } else {
            Row::new(what, "reads/s", done.rate())
        };
        row.latencies(done).cost(meter, done.count * self.bytes as u64)
    }

    fn names(&self) -> Vec<(usize, &'static str)> {
        let mut names = vec![(1, "1 thread"), (2, "2 threads")];
        if self.bytes >= BORROWED_FROM {
            names.push((1, BORROWED));
        }
        names
    }
}

impl Workload for Reads {
    fn name(&self) -> String {
        format!("read-{}-{}", sized(self.bytes), counted(self.objects))
    }

    fn about(&self) -> String {
        format!(
            "Random reads of whole objects of {} bytes from the page cache, {} objects. The \
             caller owns the bytes; borrowed: the engine lends them, and a byte of each cache line is looked \
             at. An engine whose cache holds objects does not read them again: see its memory. Limit: `pread` from one file, which \
             verifies nothing.",
            self.bytes, self.objects
        )
    }

    fn set(&self) -> Set {
        self.set
    }

    fn limits(&self) -> &'static [&'static str] {
        &[LIMIT]
    }

    fn takes(&self, kind: Kind) -> bool {
        let most = if self.set == Set::Short { FILES_AT_MOST_SHORT } else { FILES_AT_MOST };
        kind != Kind::Files || self.objects <= most
    }

    fn longest(&self) -> usize {
        self.bytes
    }

    fn stored_bytes(&self, _short: bool) -> u64 {
        self.objects * (self.bytes as u64 + 30)
    }

    fn growth(&self) -> Option<(&'static str, u64)> {
        (self.bytes == 100).then_some(("reads of 100 bytes", self.objects))
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        match self.bytes {
            100 => Vec::new(),
            4096 => {
                let aim = Aim {
                    to_best: Some(1.0),
                    to_engine: Some((Kind::Marble, 0.8)),
                    ..Aim::default()
                };
                vec![("1 thread", aim), ("2 threads", aim)]
            }
            _ => {
                let aim = |to_limits| Aim { to_limits, ..Aim::default() };
                vec![("1 thread", aim(&[0.8])), ("2 threads", aim(&[0.8])), (BORROWED, aim(&[1.0]))]
            }
        }
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::AtSync)?;
        put_all(&*engine, &job.bodies, self.bytes, 0..self.objects, Key::camera)?;
        engine.sync()?;
        engine.tidy()?;
        let (check, mut buffer) = (Check { job, bytes: self.bytes }, Vec::new());
        (0..self.objects).try_for_each(|number| check.get(&*engine, number, &mut buffer))?;
        let get = |number: u64, buffer: &mut Vec<u8>| check.get(&*engine, number, buffer);
        self.read(job, 1, WARM_SECONDS, get)?;
        let mut rows = Vec::new();
        for (threads, what) in self.names() {
            if what == BORROWED && !kind.lends() {
                continue;
            }
            let meter = Meter::start();
            let seconds = job.size(5.0, 1.0);
            let done = self.read(job, threads, seconds, |number, buffer| match what {
                BORROWED => check.borrow(&*engine, number),
                _ => get(number, buffer),
            })?;
            rows.push(self.row(what, &done, &meter));
        }
        engine.close()?;
        Ok(rows)
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let file = write_all(&job.home(), &job.bodies, self.bytes, self.objects)?;
        let mut buffer = Vec::new();
        (0..self.objects).try_for_each(|number| pread(&file, number, self.bytes, &mut buffer))?;
        let get = |number: u64, buffer: &mut Vec<u8>| pread(&file, number, self.bytes, buffer);
        self.read(job, 1, WARM_SECONDS, get)?;
        let mut rows = Vec::new();
        for (threads, what) in self.names() {
            let meter = Meter::start();
            let done = self.read(job, threads, job.size(5.0, 1.0), |number, buffer| {
                get(number, buffer)?;
                if what == BORROWED {
                    look_at(buffer);
                }
                Ok(())
            })?;
            rows.push(self.row(what, &done, &meter));
        }
        Ok(rows)
    }
}

fn pread(file: &File, number: u64, bytes: usize, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.resize(bytes, 0);
    Ok(file.read_exact_at(buffer, number * bytes as u64)?)
}

/// Each object at most once, in an order that looks random.
pub struct ColdReads {
    pub bytes: usize,
}

impl ColdReads {
    fn objects(&self, short: bool) -> u64 {
        match (self.bytes >= 1 << 20, short) {
            (true, false) => 1024,
            (true, true) => 256,
            (false, false) => 100_000,
            (false, true) => 20_000,
        }
    }

    fn row(&self, job: &Job, mut read: impl FnMut(u64) -> Result<()>) -> Result<Row> {
        // Prime, and no divisor of any number of objects.
        const STRIDE: u64 = 7919;
        let objects = self.objects(job.short);
        let (meter, started) = (Meter::start(), Instant::now());
        let mut count = 0;
        while count < objects && started.elapsed().as_secs_f64() < job.size(10.0, 2.0) {
            read(count * STRIDE % objects)?;
            count += 1;
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        let (unit, value) = if self.bytes >= 1 << 20 {
            ("MiB/s", rate * self.bytes as f64 / f64::from(1 << 20))
        } else {
            ("reads/s", rate)
        };
        Ok(Row::new("1 thread", unit, value).cost(&meter, count * self.bytes as u64))
    }
}

impl Workload for ColdReads {
    fn name(&self) -> String {
        format!("read-cold-{}", sized(self.bytes))
    }

    fn about(&self) -> String {
        format!(
            "Reads of objects of {} bytes, each at most once, in no order, by one thread, with all files \
             taken out of the page cache before. Limit: `pread` from one file, likewise.",
            self.bytes
        )
    }

    fn set(&self) -> Set {
        Set::Full
    }

    fn limits(&self) -> &'static [&'static str] {
        &[LIMIT]
    }

    fn longest(&self) -> usize {
        self.bytes
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        self.objects(short) * self.bytes as u64
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let (home, bytes, objects) = (job.home(), self.bytes, self.objects(job.short));
        let fill =
            Fill { engine: kind, home: home.clone(), bytes, objects, seed: job.round, hold: false };
        fill.apart()?;
        cool(&home)?;
        let engine = kind.open(&home, Promise::AtSync)?;
        let (check, mut buffer) = (Check { job, bytes }, Vec::new());
        let row = self.row(job, |number| check.get(&*engine, number, &mut buffer))?;
        engine.close()?;
        Ok(vec![row])
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let path = job.home();
        let file = write_all(&path, &job.bodies, self.bytes, self.objects(job.short))?;
        cool(&path)?;
        let mut buffer = Vec::new();
        Ok(vec![self.row(job, |number| pread(&file, number, self.bytes, &mut buffer))?])
    }
}
