//! Ingest of objects of 8 MiB over one and over two slow disks: Kogia alone deals objects out.

use std::sync::Arc;
use std::time::Instant;

use kogia::{Durability, Options};

use super::slow_disks::SlowDisks;
use super::{Aim, Job, Workload};
use crate::Result;
use crate::data::Key;
use crate::engines::Kind;
use crate::measure::{Meter, Row, Work, drive};

const BYTES: usize = 8 << 20;
const THREADS: usize = 4;
/// Two of them are less than what the machine's disk takes.
const BYTES_PER_SECOND: f64 = 100.0 * 1048576.0;
const TIMES: &str = "times one disk";

pub struct TwoDisks;

impl TwoDisks {
    fn objects(short: bool) -> u64 {
        if short { 24 } else { 96 }
    }

    fn ingest(job: &Job, what: &str, disks: usize) -> Result<Row> {
        let home = job.dir.join(format!("home-{disks}"));
        let dirs: Vec<_> = (0..disks).map(|disk| job.dir.join(format!("{disks}-{disk}"))).collect();
        let mut options = Options::new().durability(Durability::Os);
        for dir in &dirs {
            options = options.disk(dir);
        }
        let store = options.io(Arc::new(SlowDisks::new(&dirs, BYTES_PER_SECOND))).open(home)?;
        let (meter, started) = (Meter::start(), Instant::now());
        let most = TwoDisks::objects(job.short);
        drive(Work { threads: THREADS, most, seconds: 1e6, timed: false }, |_| {
            |number| {
                store.put(Key::camera(number).bytes(), job.bodies.body(number, 0, BYTES))?;
                Ok(())
            }
        })?;
        store.sync()?;
        let bytes = most * BYTES as u64;
        let rate = bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
        store.close()?;
        Ok(Row::new(what, "MiB/s", rate).cost(&meter, bytes))
    }
}

impl Workload for TwoDisks {
    fn name(&self) -> String {
        "ingest-8m-disks".to_owned()
    }

    fn about(&self) -> String {
        "Objects of 8 MiB by four threads, one sync at the end, over one and over two disks. No two devices \
         being at hand, writes to each take as long as at 100 MiB/s."
            .to_owned()
    }

    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::Kogia
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        2 * TwoDisks::objects(short) * BYTES as u64
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        vec![("two disks", Aim { at_least: &[(TIMES, 1.9)], ..Aim::default() })]
    }

    fn run(&self, _kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let one = TwoDisks::ingest(job, "one disk", 1)?;
        let two = TwoDisks::ingest(job, "two disks", 2)?;
        let times = two.value / one.value;
        Ok(vec![one, two.note(TIMES, times)])
    }
}
