//! Changes of stores of ever more objects of 100 bytes, in batches of 1,000, each durable before the next.
//!
//! Keys and batches are made while the clock stands.

use std::time::{Duration, Instant};

use super::{Job, Set, Workload, counted};
use crate::Result;
use crate::data::{Key, Random};
use crate::engines::{Kind, Promise};
use crate::measure::{Meter, Row};

const BYTES: usize = 100;
const TOGETHER: u64 = 1000;
/// Objects that are overwritten, and then deleted: so many at most, and no more than half of all.
const CHANGED_AT_MOST: u64 = 200_000;

pub struct Changes {
    pub objects: u64,
    pub set: Set,
}

/// Gives the rate of changes to `count` objects, the numbers of which `number` gives.
fn rate(
    count: u64,
    mut number: impl FnMut(u64) -> u64,
    mut change: impl FnMut(&[u64]) -> Result<Duration>,
) -> Result<f64> {
    let mut took = Duration::ZERO;
    for from in (0..count).step_by(TOGETHER as usize) {
        let numbers: Vec<u64> = (from..count.min(from + TOGETHER)).map(&mut number).collect();
        took += change(&numbers)?;
    }
    Ok(count as f64 / took.as_secs_f64())
}

impl Workload for Changes {
    fn name(&self) -> String {
        format!("change-{}", counted(self.objects))
    }

    fn about(&self) -> String {
        format!(
            "A store is filled with {} objects of 100 bytes; up to 200,000 (and half) of them are \
             overwritten, at random, and then as many deleted, spread over all. By one thread in batches of \
             1,000, each durable before the next.",
            self.objects
        )
    }

    fn set(&self) -> Set {
        self.set
    }

    fn takes(&self, kind: Kind) -> bool {
        kind.has_batches()
    }

    fn promise(&self) -> Promise {
        Promise::Durable
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, _short: bool) -> u64 {
        self.objects * (BYTES as u64 + 30) * 2
    }

    fn growth(&self) -> Option<(&'static str, u64)> {
        Some(("changes", self.objects))
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::Durable)?;
        let put = |version: u64, numbers: &[u64]| {
            let body =
                |number: &u64| (Key::camera(*number), job.bodies.body(*number, version, BYTES));
            let puts: Vec<_> = numbers.iter().map(body).collect();
            let started = Instant::now();
            engine.put_batch(&puts)?;
            Ok(started.elapsed())
        };
        let delete = |numbers: &[u64]| {
            let keys: Vec<_> = numbers.iter().copied().map(Key::camera).collect();
            let started = Instant::now();
            engine.delete(&keys)?;
            Ok(started.elapsed())
        };
        let changed = CHANGED_AT_MOST.min(self.objects / 2);
        let bytes = |count: u64| count * (BYTES + Key::camera(0).name.len()) as u64;
        let meter = Meter::start();
        let filled = rate(self.objects, |number| number, |numbers| put(0, numbers))?;
        let filled = Row::new("filled", "puts/s", filled).cost(&meter, bytes(self.objects));
        let (meter, mut random) = (Meter::start(), Random::new(job.round));
        let again = rate(changed, |_| random.below(self.objects), |numbers| put(1, numbers))?;
        let again = Row::new("overwritten", "puts/s", again).cost(&meter, bytes(changed));
        let (meter, apart) = (Meter::start(), self.objects / changed);
        let deleted = rate(changed, |number| number * apart, delete)?;
        let deleted = Row::new("deleted", "objects/s", deleted).cost(&meter, 0);
        engine.close()?;
        Ok(vec![filled, again, deleted])
    }
}
