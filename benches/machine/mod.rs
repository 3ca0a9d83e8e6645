//! What the benches know of the machine: a place for their data, its memory, and the counters of
//! `/proc` that the neighbours can't change.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What a bench gives.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A directory for data, removed when it is dropped: below `KOGIA_BENCH_DIR`, or else below
/// cargo's target directory (`/tmp` is often in memory).
pub fn data_dir() -> Result<tempfile::TempDir> {
    let base = std::env::var_os("KOGIA_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    std::fs::create_dir_all(&base)?;
    Ok(tempfile::Builder::new().prefix("kogia-bench-").tempdir_in(base)?)
}

/// A number given by the environment, or `default`.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Makes sure that the machine has its memory at hand; what the second touch of a GiB takes.
///
/// A virtual machine may have given free pages back to its host. Their first touch costs many
/// times more than the next, and what is measured is the host: so that touch comes before what is
/// measured. The second says how busy the machine is: 0.3 s is a quiet one.
pub fn touch_memory() -> Duration {
    touch_a_gib();
    let started = Instant::now();
    touch_a_gib();
    started.elapsed()
}

fn touch_a_gib() {
    let mut memory = vec![0_u8; 1 << 30];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// What this process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Bytes that were sent to block devices. Where a file system keeps large folios, a page that is
    /// overwritten counts as many bytes as its folio has.
    pub device_bytes: u64,
    /// Bytes that were given to `write` and its like.
    pub written_bytes: u64,
}

impl Usage {
    pub fn now() -> Self {
        Usage {
            cpu: cpu_time(),
            device_bytes: field("/proc/self/io", "write_bytes:"),
            written_bytes: field("/proc/self/io", "wchar:"),
        }
    }

    pub fn since(self, before: Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(before.cpu),
            device_bytes: self.device_bytes.saturating_sub(before.device_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// The most memory this process ever had resident, in bytes.
pub fn peak_resident_bytes() -> u64 {
    field("/proc/self/status", "VmHWM:") * 1024
}

/// The number behind `name` in a file of `/proc`; 0 where there is none.
fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn cpu_time() -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may have spaces; user and system time are fields 14 and 15.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|number| number.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

/// Bytes that look like media: they do not compress, and differ from object to object.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
