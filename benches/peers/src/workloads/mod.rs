//! What engines are asked to do. Each workload has its module, which says what is timed.

mod batches;
mod changes;
mod churn;
mod deletes;
mod fill;
mod ingest;
mod listing;
mod mixed;
mod open;
mod puts;
mod ranges;
mod reads;
mod slow_disks;
mod two_disks;

use std::path::PathBuf;

use crate::Result;
use crate::data::Bodies;
use crate::engines::{Kind, Promise};
use crate::measure::Row;
pub use fill::Fill;

/// Which runs a workload belongs to, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Both,
    Short,
    Full,
    /// Of twenty million objects: only when asked for.
    Growth,
}

/// What a process measures.
pub struct Job {
    pub dir: PathBuf,
    pub short: bool,
    /// Other bodies and other random keys in each round.
    pub round: u64,
    pub bodies: Bodies,
}

impl Job {
    /// The first in a full run, the second in a short one.
    pub fn size<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }

    /// A place for the engine, or the one file of a limit, where nothing is yet.
    pub fn home(&self) -> PathBuf {
        self.dir.join("data")
    }
}

/// One comparison.
pub trait Workload {
    fn name(&self) -> String;

    /// What is done, for the report.
    fn about(&self) -> String;

    fn set(&self) -> Set {
        Set::Both
    }

    /// What is promised of all that was put when the clock stops.
    fn promise(&self) -> Promise {
        Promise::AtSync
    }

    /// Names of raw calls that do the same, the one that counts first.
    fn limits(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the engine can do it at all.
    fn takes(&self, _kind: Kind) -> bool {
        true
    }

    /// The longest body.
    fn longest(&self) -> usize;

    /// Bytes that are stored at a time, about, if nothing is stored twice.
    fn stored_bytes(&self, short: bool) -> u64;

    /// The curve that it is a point of, and at how many objects.
    fn growth(&self) -> Option<(&'static str, u64)> {
        None
    }

    /// What Kogia is to reach, by figure: to the best peer with ordered keys, to Marble, to the limit.
    fn aims(&self) -> Vec<(&'static str, Aim)> {
        Vec::new()
    }

    fn run(&self, kind: Kind, job: &Job) -> Result<Vec<Row>>;

    /// The same by raw calls.
    fn limit(&self, _limit: &str, _job: &Job) -> Result<Vec<Row>> {
        Err("there is no limit to this".into())
    }
}

/// Ratios that Kogia is to reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aim {
    pub to_best: Option<f64>,
    /// To an engine that has an aim of its own.
    pub to_engine: Option<(Kind, f64)>,
    /// To each limit, in their order.
    pub to_limits: &'static [f64],
    /// Bytes written for each that was put, at most.
    pub written: Option<f64>,
    /// What a note of the figure is at most, and at least.
    pub at_most: &'static [(&'static str, f64)],
    pub at_least: &'static [(&'static str, f64)],
    /// By how much it is more than RocksDB's, at most.
    pub more_than_rocksdb: Option<f64>,
}

/// All workloads, the most important ones first.
pub fn all() -> Vec<Box<dyn Workload>> {
    use Promise::{AtSync, Durable};
    const MIB: usize = 1 << 20;
    let mut all: Vec<Box<dyn Workload>> = Vec::new();
    for (promise, threads) in [(AtSync, 1), (Durable, 1), (Durable, 8)] {
        all.push(Box::new(ingest::Ingest { promise, threads }));
    }
    all.push(Box::new(two_disks::TwoDisks));
    for threads in [1, 8, 32] {
        all.push(Box::new(puts::Puts { threads }));
    }
    all.push(Box::new(batches::Batches));
    for (bytes, objects, set) in [
        (MIB, 384, Set::Short),
        (MIB, 1024, Set::Full),
        (4 << 10, 80_000, Set::Short),
        (4 << 10, 200_000, Set::Full),
        (100, 10_000, Set::Full),
        (100, 100_000, Set::Short),
        (100, 1_000_000, Set::Full),
        (100, 20_000_000, Set::Growth),
    ] {
        all.push(Box::new(reads::Reads { bytes, objects, set }));
    }
    all.push(Box::new(ranges::Ranges));
    all.push(Box::new(churn::Churn));
    for (keys, set) in [
        (10_000, Set::Both),
        (200_000, Set::Short),
        (1_000_000, Set::Full),
        (20_000_000, Set::Growth),
    ] {
        all.push(Box::new(listing::Listing { keys, set }));
    }
    for (objects, set) in [
        (10_000, Set::Full),
        (50_000, Set::Short),
        (200_000, Set::Full),
        (1_000_000, Set::Full),
        (20_000_000, Set::Growth),
    ] {
        all.push(Box::new(open::Opening { objects, set }));
    }
    all.push(Box::new(open::Rebuild));
    for (objects, set) in [(10_000, Set::Full), (1_000_000, Set::Full), (20_000_000, Set::Growth)] {
        all.push(Box::new(changes::Changes { objects, set }));
    }
    all.push(Box::new(mixed::Mixed));
    all.push(Box::new(deletes::Deletes));
    for bytes in [MIB, 4 << 10] {
        all.push(Box::new(reads::ColdReads { bytes }));
    }
    all
}

/// A number of objects, in short.
fn counted(objects: u64) -> String {
    match objects {
        _ if objects.is_multiple_of(1_000_000) => format!("{}m", objects / 1_000_000),
        _ if objects.is_multiple_of(1_000) => format!("{}k", objects / 1_000),
        _ => objects.to_string(),
    }
}

/// A number of bytes, in short.
fn sized(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{}m", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}k", bytes >> 10),
        _ => format!("{bytes}b"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_tell_workloads_apart() {
        let names: BTreeSet<_> = all().iter().map(|workload| workload.name()).collect();
        assert_eq!(names.len(), all().len());
    }
}
