//! What the system says of processes and directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use crate::Result;

/// Processor seconds that all threads of a process have used.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Behind the name, which may have spaces: state is field 3, utime 14, stime 15.
    let rest = stat.rsplit_once(')').ok_or("stat without a name")?.1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|t| t.parse().unwrap_or(0)).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// `VmRSS` or `VmHWM` of a process, in bytes.
pub fn memory_bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    field_of(&status, field).map(|kib| kib << 10)
}

/// What a process has sent to block devices so far, in bytes.
pub fn device_bytes(pid: u32) -> Result<u64> {
    field_of(&fs::read_to_string(format!("/proc/{pid}/io"))?, "write_bytes")
}

pub fn field_of(text: &str, field: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("no {field}").into())
}

/// What a directory takes, in bytes of blocks. Files that go meanwhile count nothing.
pub fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| {
            let below = if metadata.is_dir() { disk_bytes(&path) } else { 0 };
            metadata.blocks() * 512 + below
        })
        .sum()
}

/// Has written what is not written yet, so that nobody pays for the one before.
pub fn settle(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

/// Touches `gib` GiB twice, and says what the second time took a GiB.
///
/// A virtual machine may have given free pages back to its host; their first touch is dear, and the
/// page cache would pay for it. 0.3 s a GiB is a quiet machine.
pub fn touch_memory(gib: usize) -> f64 {
    let mut took = 0.0;
    for _ in 0..2 {
        let started = Instant::now();
        let mut memory = vec![0_u8; gib << 30];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
        took = started.elapsed().as_secs_f64() / gib as f64;
    }
    took
}

/// Runnable tasks of the last minute.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// Kernel, processors and memory, in words.
pub fn describe(dir: &Path) -> Result<String> {
    let kernel = rustix::system::uname();
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let dir = dir.canonicalize()?;
    let file_system = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mounted, _)| dir.starts_with(mounted))
        .max_by_key(|(mounted, _)| mounted.len());
    Ok(format!(
        "{} cores ({}), {:.0} GiB of memory, Linux {}, {}",
        std::thread::available_parallelism()?,
        model.map_or("of an unknown kind", |(_, model)| model),
        field_of(&fs::read_to_string("/proc/meminfo")?, "MemTotal")? as f64 / f64::from(1 << 20),
        kernel.release().to_string_lossy(),
        file_system.map_or("unknown file system", |(_, kind)| kind),
    ))
}
