//! Counting what an import or export did.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::quantity;

/// Counters that all workers share.
pub struct Tally {
    started: Instant,
    moved: Counter,
    same: Counter,
    failed: AtomicU64,
}

#[derive(Default)]
struct Counter {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Tally {
    /// Begins to count, and the clock.
    pub fn start() -> Self {
        Tally {
            started: Instant::now(),
            moved: Counter::default(),
            same: Counter::default(),
            failed: AtomicU64::new(0),
        }
    }

    /// A file of `bytes` went over.
    pub fn add_moved(&self, bytes: u64) {
        self.moved.add(bytes);
    }

    /// A file of `bytes` was there already.
    pub fn add_same(&self, bytes: u64) {
        self.same.add(bytes);
    }

    /// A file could not be moved, which has been told.
    pub fn add_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Prints the result as a sentence that begins with `verb`.
    pub fn write_text(&self, verb: &str, out: &mut dyn Write) -> io::Result<()> {
        let ((moved, moved_bytes), (same, same_bytes)) = (self.moved.read(), self.same.read());
        let elapsed = self.started.elapsed();
        writeln!(
            out,
            "{verb} {} ({}) in {}, {}/s; {same} ({}) there already; {} failed",
            quantity::count(moved, "file"),
            HumanBytes(moved_bytes),
            quantity::seconds(elapsed),
            HumanBytes((moved_bytes as f64 / elapsed.as_secs_f64().max(1e-9)) as u64),
            HumanBytes(same_bytes),
            self.failed.load(Ordering::Relaxed),
        )
    }

    /// The result as JSON; `verb` names the counters of what was moved.
    pub fn to_json(&self, verb: &str) -> Value {
        let ((moved, moved_bytes), (same, same_bytes)) = (self.moved.read(), self.same.read());
        json!({
            format!("{verb}_files"): moved,
            format!("{verb}_bytes"): moved_bytes,
            "same_files": same,
            "same_bytes": same_bytes,
            "failed_files": self.failed.load(Ordering::Relaxed),
            "seconds": self.started.elapsed().as_secs_f64(),
        })
    }

    /// Fails if any file did.
    pub fn result(&self) -> Result<(), Failure> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Failure::Problems(format!(
                "{} failed, see above",
                quantity::count(failed, "file")
            ))),
        }
    }
}
