//! Small durable puts and small reads, alone and beside eight uploads.
//!
//! One thread puts 4 KiB at a time, one reads 4 KiB at a time, each as fast as it can: first while nothing
//! else goes on, then while eight threads upload objects of 8 MiB, in pieces of 1 MiB where the engine has
//! streams. Everything is durable when it returns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::fill::put_all;
use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::{Key, Random};
use crate::engines::{Engine, Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const SMALL_BYTES: usize = 4 << 10;
const SMALL_OBJECTS: u64 = 2000;
const LARGE_BYTES: usize = 8 << 20;
const PIECE_BYTES: usize = 1 << 20;
const UPLOADS: usize = 8;
/// Numbers of small objects that are put, and of large ones, begin here.
const PUTS_FROM: u64 = 10_000_000;
const LARGE_FROM: u64 = 20_000_000;

pub struct Mixed;

/// What went on in a phase.
struct Phase {
    puts: Done,
    gets: Done,
    uploads: Option<Done>,
}

struct Run<'a> {
    engine: &'a dyn Engine,
    job: &'a Job,
    /// Objects of each kind that were begun.
    puts: AtomicU64,
    uploads: AtomicU64,
}

impl Run<'_> {
    fn phase(&self, seconds: f64, uploads: bool) -> Result<Phase> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let keeper = scope.spawn(|| -> Result<()> {
                while !over.load(Ordering::Relaxed) {
                    if !self.engine.upkeep()? {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                Ok(())
            });
            let small = |read: bool| {
                let work = Work { threads: 1, most: u64::MAX, seconds, timed: true };
                move || {
                    drive(work, |_| {
                        let mut random = Random::new(self.job.round);
                        let mut buffer = Vec::new();
                        move |_| match read {
                            true => self.get(random.below(SMALL_OBJECTS), &mut buffer),
                            false => self.put(),
                        }
                    })
                }
            };
            let (puts, gets) = (scope.spawn(small(false)), scope.spawn(small(true)));
            let uploads = uploads.then(|| scope.spawn(move || self.upload(seconds)));
            let puts = puts.join().map_err(|_| "puts panicked");
            let gets = gets.join().map_err(|_| "gets panicked");
            let uploads =
                uploads.map(|uploads| uploads.join().map_err(|_| "uploads panicked")).transpose();
            over.store(true, Ordering::Relaxed);
            keeper.join().map_err(|_| "the keeper panicked")??;
            Ok(Phase { puts: puts??, gets: gets??, uploads: uploads?.transpose()? })
        })
    }

    fn put(&self) -> Result<()> {
        let number = PUTS_FROM + self.puts.fetch_add(1, Ordering::Relaxed);
        self.engine.put(&Key::camera(number), self.job.bodies.body(number, 0, SMALL_BYTES))
    }

    fn get(&self, number: u64, buffer: &mut Vec<u8>) -> Result<()> {
        let mut len = 0;
        self.engine.get(&Key::camera(number), buffer, &mut |body| len = body.len())?;
        if len == SMALL_BYTES { Ok(()) } else { Err(format!("object {number} is gone").into()) }
    }

    fn upload(&self, seconds: f64) -> Result<Done> {
        // As long as small ones go on, so that none of them is alone.
        drive(Work { threads: UPLOADS, most: u64::MAX, seconds, timed: true }, |_| {
            |_| {
                let number = LARGE_FROM + self.uploads.fetch_add(1, Ordering::Relaxed);
                let body = self.job.bodies.body(number, 0, LARGE_BYTES);
                let pieces: Vec<_> = body.chunks(PIECE_BYTES).collect();
                self.engine.upload(&Key::camera(number), &pieces)
            }
        })
    }
}

impl Workload for Mixed {
    fn name(&self) -> String {
        "mixed".to_owned()
    }

    fn about(&self) -> String {
        "One thread puts 4 KiB at a time, each durable, one reads 4 KiB at a time; alone, and beside eight \
         threads that upload objects of 8 MiB. Each as fast as it can. Kogia and files take uploads as \
         streams, the others whole objects."
            .to_owned()
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        LARGE_BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        if short { 600 << 20 } else { 4 << 30 }
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        let at_most = &[("times alone", 3.0)];
        vec![("small puts beside uploads", Aim { at_most, ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::Durable)?;
        put_all(&*engine, &job.bodies, SMALL_BYTES, 0..SMALL_OBJECTS, Key::camera)?;
        engine.tidy()?;
        let (puts, uploads) = (AtomicU64::new(0), AtomicU64::new(0));
        let run = Run { engine: &*engine, job, puts, uploads };
        let idle = run.phase(job.size(8.0, 1.5), false)?;
        let meter = Meter::start();
        let busy = run.phase(job.size(8.0, 3.0), true)?;
        let mut rows = rows(&idle, &busy);
        if let Some(uploads) = &busy.uploads {
            let row = Row::new("uploads", "MiB/s", uploads.mib_rate(LARGE_BYTES));
            let bytes = uploads.count * LARGE_BYTES as u64 + busy.puts.count * SMALL_BYTES as u64;
            rows.push(row.latencies(uploads).cost(&meter, bytes));
        }
        engine.close()?;
        Ok(rows)
    }
}

fn rows(idle: &Phase, busy: &Phase) -> Vec<Row> {
    let p99 = |done: &Done| done.percentiles().map_or(f64::NAN, |[_, p99, _]| p99);
    let row = |what, done: &Done| Row::less(what, "µs, 99th of 100", p99(done)).latencies(done);
    let times = |idle: &Done, busy: &Done| p99(busy) / p99(idle);
    vec![
        row("small puts alone", &idle.puts),
        row("small puts beside uploads", &busy.puts)
            .note("times alone", times(&idle.puts, &busy.puts)),
        row("small reads alone", &idle.gets),
        row("small reads beside uploads", &busy.gets)
            .note("times alone", times(&idle.gets, &busy.gets)),
    ]
}
