//! Deleting everything, and how fast its room is back.

use std::time::{Duration, Instant};

use super::fill::put_all;
use super::{Job, Set, Workload};
use crate::Result;
use crate::data::Key;
use crate::engines::{Kind, Promise};
use crate::machine::disk_bytes;
use crate::measure::{Meter, Row};

const BYTES: usize = 64 << 10;
const TOGETHER: u64 = 1000;
/// Room is back when no more than this of it is taken.
const LEFT: f64 = 0.1;
/// Whoever needs longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Deletes;

impl Deletes {
    fn objects(short: bool) -> u64 {
        if short { 8000 } else { 16_000 }
    }
}

impl Workload for Deletes {
    fn name(&self) -> String {
        "delete-64k".to_owned()
    }

    fn about(&self) -> String {
        "All objects of 64 KiB (1 GiB; 500 MiB in a short run) are deleted, 1,000 together, each batch \
         durable; then each engine is told to give room back (RocksDB and fjall compact everything, \
         Marble and Kogia maintain; redb could only with nobody else at it). Room is back when less than \
         a tenth of it is taken, 30 s later at the latest; left: what is taken then."
            .to_owned()
    }

    /// Those that don't give room back are waited for.
    fn set(&self) -> Set {
        Set::Full
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        Deletes::objects(short) * BYTES as u64 * 2
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let (home, objects) = (job.home(), Deletes::objects(job.short));
        let engine = kind.open(&home, Promise::Durable)?;
        put_all(&*engine, &job.bodies, BYTES, 0..objects, Key::camera)?;
        engine.tidy()?;
        let before = disk_bytes(&home) as f64;
        let (meter, started) = (Meter::start(), Instant::now());
        for from in (0..objects).step_by(TOGETHER as usize) {
            let to = objects.min(from + TOGETHER);
            engine.delete(&(from..to).map(Key::camera).collect::<Vec<_>>())?;
        }
        let rate = objects as f64 / started.elapsed().as_secs_f64();
        let deleted = Row::new("deleted", "objects/s", rate).cost(&meter, 0);
        engine.reclaim()?;
        let left = || disk_bytes(&home) as f64 / before;
        while left() > LEFT && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = started.elapsed().as_secs_f64();
        let back = Row::less("room is back", "s", took).note("left", left());
        engine.close()?;
        Ok(vec![deleted, back])
    }
}
