//! Puts of 100 bytes in batches of 1,000 by one thread, each batch durable before the next.
//!
//! Timed is the writing alone: keys and batches are made while the clock stands, since that takes as long
//! for every engine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::Key;
use crate::engines::{Kind, Promise};
use crate::measure::{Meter, Row};

const BYTES: usize = 100;
const PUTS: u64 = 1000;

pub struct Batches;

impl Batches {
    fn measure(job: &Job, mut put: impl FnMut(u64, &[(Key, &[u8])]) -> Result<()>) -> Result<f64> {
        let (most, seconds) = job.size((3000, 15.0), (1000, 2.0));
        let (mut took, mut batch) = (Duration::ZERO, 0);
        while batch < most && took.as_secs_f64() < seconds {
            let numbers = batch * PUTS..(batch + 1) * PUTS;
            let body = |number| (Key::camera(number), job.bodies.body(number, 0, BYTES));
            let puts: Vec<_> = numbers.map(body).collect();
            let started = Instant::now();
            put(batch, &puts)?;
            took += started.elapsed();
            batch += 1;
        }
        Ok((batch * PUTS) as f64 / took.as_secs_f64())
    }
}

impl Workload for Batches {
    fn name(&self) -> String {
        "batch-100b".to_owned()
    }

    fn about(&self) -> String {
        "Puts of 100 bytes in batches of 1,000 by one thread, each batch durable before the next. Limit: \
         a `pwrite` of keys and bodies and an `fdatasync` a batch."
            .to_owned()
    }

    fn limits(&self) -> &'static [&'static str] {
        &["pwrite, fdatasync"]
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

    fn stored_bytes(&self, short: bool) -> u64 {
        if short { 150 << 20 } else { 500 << 20 }
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        vec![(
            "put",
            Aim { to_best: Some(1.5), to_engine: Some((Kind::Marble, 0.8)), ..Aim::default() },
        )]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::Durable)?;
        let (meter, mut bytes) = (Meter::start(), 0);
        let rate = Batches::measure(job, |_, puts| {
            bytes += user_bytes(puts);
            engine.put_batch(puts)
        })?;
        engine.close()?;
        Ok(vec![Row::new("put", "puts/s", rate).cost(&meter, bytes)])
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let file = File::create_new(job.home())?;
        let (meter, mut bytes) = (Meter::start(), 0);
        let mut laid = Vec::new();
        let rate = Batches::measure(job, |_, puts| {
            laid.clear();
            for (key, body) in puts {
                laid.extend_from_slice(key.bytes());
                laid.extend_from_slice(body);
            }
            file.write_all_at(&laid, bytes)?;
            bytes += laid.len() as u64;
            Ok(file.sync_data()?)
        })?;
        Ok(vec![Row::new("put", "puts/s", rate).cost(&meter, bytes)])
    }
}

/// Keys are the user's bytes, too, where bodies are as small as they.
fn user_bytes(puts: &[(Key, &[u8])]) -> u64 {
    puts.iter().map(|(key, body)| (key.name.len() + body.len()) as u64).sum()
}
