//! Pages of 1,000, with and without a delimiter, over keys below 1,000 common prefixes.

use super::fill::put_all;
use super::{Job, Set, Workload, counted};
use crate::Result;
use crate::data::Key;
use crate::engines::{Engine, Kind, Promise};
use crate::measure::{Done, Meter, Row, Work, drive};

const PREFIXES: u64 = 1000;
const PAGE: usize = 1000;
const BYTES: usize = 16;

pub struct Listing {
    pub keys: u64,
    pub set: Set,
}

impl Listing {
    /// Page after page, and from the start again behind the last.
    fn list(engine: &dyn Engine, delimited: bool, seconds: f64) -> Result<Done> {
        drive(Work { threads: 1, most: u64::MAX, seconds, timed: true }, |_| {
            let mut after: Option<Vec<u8>> = None;
            move |_| {
                let page = engine.list(after.as_deref(), delimited, PAGE)?;
                if page.entries != PAGE && (page.last.is_some() || after.is_none()) {
                    return Err(format!("a page of {} entries", page.entries).into());
                }
                after = page.last;
                Ok(())
            }
        })
    }
}

impl Workload for Listing {
    fn name(&self) -> String {
        format!("list-{}", counted(self.keys))
    }

    fn about(&self) -> String {
        format!(
            "Pages of 1,000 entries, over {} keys below 1,000 common prefixes, with a delimiter (all \
             common prefixes are one page) and without (page after page). Peers seek past a common \
             prefix, as Kogia does by itself; they give keys alone, Kogia what it knows of objects, too.",
            self.keys
        )
    }

    fn set(&self) -> Set {
        self.set
    }

    fn takes(&self, kind: Kind) -> bool {
        kind.is_ordered()
    }

    fn longest(&self) -> usize {
        BYTES
    }

    fn stored_bytes(&self, _short: bool) -> u64 {
        self.keys * 100
    }

    fn growth(&self) -> Option<(&'static str, u64)> {
        Some(("pages of a listing", self.keys))
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>> {
        let engine = kind.open(&job.home(), Promise::AtSync)?;
        put_all(&*engine, &job.bodies, BYTES, 0..self.keys, |n| Key::below(n, PREFIXES))?;
        engine.sync()?;
        engine.tidy()?;
        let mut rows = Vec::new();
        for (what, delimited) in [("delimiter", true), ("no delimiter", false)] {
            Listing::list(&*engine, delimited, 0.2)?;
            let meter = Meter::start();
            let done = Listing::list(&*engine, delimited, job.size(3.0, 1.0))?;
            rows.push(Row::new(what, "pages/s", done.rate()).latencies(&done).cost(&meter, 0));
        }
        engine.close()?;
        Ok(rows)
    }
}
