//! Opening a store that another process has filled and closed, or that was killed over it; and Kogia's
//! rebuild of its index from the tracks.
//!
//! Timed is the opening with the first read behind it, so that what is put off counts. The page cache is
//! warm for openings and cold for rebuilds.

use std::io::Read;
use std::time::Instant;

use super::fill::{Fill, cool, write_all};
use super::{Aim, Job, Set, Workload, counted};
use crate::Result;
use crate::data::Key;
use crate::engines::{Kind, Promise, rebuild_kogia};
use crate::measure::{Meter, Row};

const BYTES: usize = 100;
const MEDIA_BYTES: usize = 1 << 20;

pub struct Opening {
    pub objects: u64,
    pub set: Set,
}

impl Workload for Opening {
    fn name(&self) -> String {
        format!("open-{}", counted(self.objects))
    }

    fn about(&self) -> String {
        format!(
            "Opening a store of {} objects of 100 bytes and reading one: closed cleanly before, or killed (by \
             SIGKILL) when the last tenth was put and not synced. The page cache is warm.",
            self.objects
        )
    }

    fn set(&self) -> Set {
        self.set
    }

    fn takes(&self, kind: Kind) -> bool {
        // They have nothing to open, and take long to make and to delete.
        kind != Kind::Files || self.objects <= 10_000
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, _short: bool) -> u64 {
        self.objects * (BYTES as u64 + 30) * 2
    }

    fn growth(&self) -> Option<(&'static str, u64)> {
        Some(("openings", self.objects))
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        vec![("after a kill", Aim { more_than_rocksdb: Some(50.0), ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let ends = [("after a clean stop", false), ("after a kill", true)];
        let measure = |(what, hold): (&str, bool)| {
            let home = job.dir.join(what.replace(' ', "-"));
            Fill {
                engine: kind,
                home: home.clone(),
                bytes: BYTES,
                objects: self.objects,
                seed: job.round,
                hold,
            }
            .apart()?;
            let (meter, started) = (Meter::start(), Instant::now());
            let engine = kind.open(&home, Promise::Durable)?;
            let (mut len, mut buffer) = (0, Vec::new());
            engine.get(&Key::camera(0), &mut buffer, &mut |body| len = body.len())?;
            let took = started.elapsed();
            if len != BYTES {
                return Err("the first object is gone".into());
            }
            let row = Row::less(what, "ms", took.as_secs_f64() * 1e3).cost(&meter, 0);
            engine.close()?;
            Ok(row)
        };
        ends.into_iter().map(measure).collect()
    }
}

pub struct Rebuild;

impl Rebuild {
    fn objects(short: bool) -> u64 {
        if short { 384 } else { 3072 }
    }

    fn row(job: &Job, work: impl FnOnce() -> Result<()>) -> Result<Vec<Row>> {
        let bytes = Rebuild::objects(job.short) * MEDIA_BYTES as u64;
        let (meter, started) = (Meter::start(), Instant::now());
        work()?;
        let rate = bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
        Ok(vec![Row::new("rebuild", "MiB/s", rate).cost(&meter, bytes)])
    }
}

impl Workload for Rebuild {
    fn name(&self) -> String {
        "rebuild-1m".to_owned()
    }

    fn about(&self) -> String {
        "Kogia's index is thrown away and made anew from tracks of objects of 1 MiB, which are not in the \
         page cache. Limit: reading as many bytes from one file from its start to its end, likewise."
            .to_owned()
    }

    fn limits(&self) -> &'static [&'static str] {
        &["sequential read"]
    }

    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::Kogia
    }

    fn longest(&self) -> usize {
        MEDIA_BYTES
    }

    fn stored_bytes(&self, short: bool) -> u64 {
        Rebuild::objects(short) * MEDIA_BYTES as u64
    }

    fn aims(&self) -> Vec<(&'static str, Aim)> {
        vec![("rebuild", Aim { to_limits: &[0.5], ..Aim::default() })]
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let (home, objects) = (job.home(), Rebuild::objects(job.short));
        Fill {
            engine: kind,
            home: home.clone(),
            bytes: MEDIA_BYTES,
            objects,
            seed: 0,
            hold: false,
        }
        .apart()?;
        cool(&home)?;
        Rebuild::row(job, || rebuild_kogia(&home))
    }

    fn limit(&self, _limit: &str, job: &Job) -> Result<Vec<Row>> {
        let path = job.home();
        drop(write_all(&path, &job.bodies, MEDIA_BYTES, Rebuild::objects(job.short))?);
        cool(&path)?;
        Rebuild::row(job, || {
            let (mut file, mut buffer) = (std::fs::File::open(&path)?, vec![0; MEDIA_BYTES]);
            while file.read(&mut buffer)? > 0 {}
            Ok(())
        })
    }
}
