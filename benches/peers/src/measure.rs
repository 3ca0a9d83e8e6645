//! What a measurement is made of: threads that do as much as they may, and what it cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::machine::{field_of, memory_bytes};

/// Looks at the clock only so often where latencies are not asked for.
const UNTIMED_STRIDE: u64 = 32;

/// A figure of a workload, and what it cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Which of the workload's figures.
    pub what: String,
    pub unit: String,
    pub value: f64,
    /// Whether less is better.
    pub less: bool,
    pub user_bytes: u64,
    pub cpu_seconds: f64,
    /// Given to `write` and its like.
    pub written_bytes: u64,
    /// What the kernel charged for.
    pub device_bytes: u64,
    /// Microseconds of the 50th, 99th and 99.9th of a hundred.
    pub percentiles: Option<[f64; 3]>,
    pub notes: BTreeMap<String, f64>,
}

impl Row {
    pub fn new(what: &str, unit: &str, value: f64) -> Self {
        Row {
            what: what.to_owned(),
            unit: unit.to_owned(),
            value,
            less: false,
            user_bytes: 0,
            cpu_seconds: 0.0,
            written_bytes: 0,
            device_bytes: 0,
            percentiles: None,
            notes: BTreeMap::new(),
        }
    }

    /// One of which less is better.
    pub fn less(what: &str, unit: &str, value: f64) -> Self {
        Row { less: true, ..Row::new(what, unit, value) }
    }

    pub fn cost(mut self, meter: &Meter, user_bytes: u64) -> Self {
        let usage = Usage::now();
        self.user_bytes = user_bytes;
        self.cpu_seconds = usage.cpu_seconds - meter.before.cpu_seconds;
        self.written_bytes = usage.written_bytes - meter.before.written_bytes;
        self.device_bytes = usage.device_bytes - meter.before.device_bytes;
        self
    }

    pub fn latencies(mut self, done: &Done) -> Self {
        self.percentiles = done.percentiles();
        self
    }

    pub fn note(mut self, name: &str, value: f64) -> Self {
        self.notes.insert(name.to_owned(), value);
        self
    }
}

/// What this process has used so far.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_seconds: f64,
    written_bytes: u64,
    device_bytes: u64,
}

impl Usage {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        Usage {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            written_bytes: field_of(&io, "wchar").unwrap_or(0),
            device_bytes: field_of(&io, "write_bytes").unwrap_or(0),
        }
    }
}

/// Counts from when it is made.
pub struct Meter {
    before: Usage,
}

impl Meter {
    pub fn start() -> Self {
        Meter { before: Usage::now() }
    }
}

/// How much threads do: so many times, or so long.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub threads: usize,
    pub most: u64,
    pub seconds: f64,
    /// Whether to keep what each took.
    pub timed: bool,
}

/// What they did.
#[derive(Debug, Default)]
pub struct Done {
    pub count: u64,
    pub seconds: f64,
    /// Nanoseconds, in order.
    latencies: Vec<u64>,
}

impl Done {
    /// Of what one thread measured by itself.
    pub fn of(latencies: Vec<Duration>) -> Self {
        let seconds = latencies.iter().sum::<Duration>().as_secs_f64();
        let mut latencies: Vec<_> = latencies.iter().map(|took| took.as_nanos() as u64).collect();
        latencies.sort_unstable();
        Done { count: latencies.len() as u64, seconds, latencies }
    }

    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    pub fn mib_rate(&self, bytes: usize) -> f64 {
        self.rate() * bytes as f64 / f64::from(1 << 20)
    }

    pub fn percentiles(&self) -> Option<[f64; 3]> {
        percentiles(&self.latencies)
    }
}

fn percentiles(sorted: &[u64]) -> Option<[f64; 3]> {
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let index = ((sorted.len() as f64 * share) as usize).min(last);
        sorted[index] as f64 / 1e3
    };
    Some([at(0.5), at(0.99), at(0.999)])
}

/// Hands out numbers until there are enough, or time is over. `worker` makes what a thread does with a
/// number.
pub fn drive<F>(work: Work, worker: impl Fn(usize) -> F + Sync) -> Result<Done>
where
    F: FnMut(u64) -> Result<()>,
{
    let next = AtomicU64::new(0);
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(work.seconds);
    let run = |thread: usize| -> Result<(u64, Vec<u64>)> {
        let (mut step, mut count, mut latencies) = (worker(thread), 0, Vec::new());
        let mut before = started;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= work.most {
                return Ok((count, latencies));
            }
            step(number)?;
            count += 1;
            if work.timed || count % UNTIMED_STRIDE == 0 {
                let now = Instant::now();
                if work.timed {
                    latencies.push((now - before).as_nanos() as u64);
                }
                before = now;
                if now >= end {
                    return Ok((count, latencies));
                }
            }
        }
    };
    let mut done = Done::default();
    std::thread::scope(|scope| -> Result<()> {
        let run = &run;
        let threads: Vec<_> =
            (0..work.threads).map(|thread| scope.spawn(move || run(thread))).collect();
        for thread in threads {
            let (count, mut latencies) = thread.join().map_err(|_| "a thread panicked")??;
            done.count += count;
            done.latencies.append(&mut latencies);
        }
        Ok(())
    })?;
    done.seconds = started.elapsed().as_secs_f64();
    done.latencies.sort_unstable();
    Ok(done)
}

/// Watches a process and a directory while it lives: memory that no file is behind, and, if asked to, the
/// room that the directory takes.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub anonymous_bytes: u64,
    pub room_bytes: u64,
}

impl Watch {
    pub fn memory() -> Self {
        Watch::start(None, Duration::from_millis(20))
    }

    pub fn room(dir: &Path) -> Self {
        Watch::start(Some(dir.to_owned()), Duration::from_millis(250))
    }

    fn start(dir: Option<PathBuf>, interval: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            loop {
                seen.anonymous_bytes = seen.anonymous_bytes.max(anonymous_bytes());
                if let Some(dir) = &dir {
                    seen.room_bytes = seen.room_bytes.max(crate::machine::disk_bytes(dir));
                }
                if told.load(Ordering::Relaxed) {
                    return seen;
                }
                std::thread::sleep(interval);
            }
        });
        Watch { over, thread: Some(thread) }
    }

    pub fn end(mut self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// Memory of this process that no file is behind.
pub fn anonymous_bytes() -> u64 {
    memory_bytes(std::process::id(), "RssAnon").unwrap_or(0)
}

/// The most that was ever resident since [`forget_peak`].
pub fn peak_bytes() -> u64 {
    memory_bytes(std::process::id(), "VmHWM").unwrap_or(0)
}

/// Has the kernel begin anew with the most that was resident; where it can't, it stays as it is.
pub fn forget_peak() {
    drop(fs::write("/proc/self/clear_refs", "5"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_numbers_and_stop_at_the_last() {
        let sum = AtomicU64::new(0);
        let work = Work { threads: 3, most: 1000, seconds: 60.0, timed: true };
        let done = drive(work, |_| {
            |number| {
                sum.fetch_add(number, Ordering::Relaxed);
                Ok(())
            }
        });
        let done = done.expect("nothing fails");
        assert_eq!((done.count, sum.into_inner()), (1000, 499_500));
        assert!(done.percentiles().is_some());
    }

    #[test]
    fn percentiles_are_of_what_was_sorted() {
        let sorted: Vec<u64> = (0..1000).map(|at| at * 1000).collect();
        assert_eq!(percentiles(&sorted), Some([500.0, 990.0, 999.0]));
        assert_eq!(percentiles(&[]), None);
    }
}
