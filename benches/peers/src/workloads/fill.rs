//! Filling a store before it is measured: here, or in a process of its own, which ends by itself or is
//! killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use rustix::fs::{Advice, fadvise};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::Result;
use crate::data::{Bodies, Key};
use crate::engines::{Engine, Kind, Promise};

/// Puts go together up to so many, and up to so many bytes.
const BATCH_PUTS: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;
/// What a process that waits to be killed says.
const READY: &str = "ready";

/// What a store is filled with, by a process of its own.
#[derive(Args, Clone, Debug)]
pub struct Fill {
    #[arg(long)]
    pub engine: Kind,
    #[arg(long)]
    pub home: PathBuf,
    #[arg(long)]
    pub bytes: usize,
    #[arg(long)]
    pub objects: u64,
    #[arg(long)]
    pub seed: u64,
    /// Waits to be killed when all is put, of which the last tenth is not durable
    #[arg(long)]
    pub hold: bool,
}

impl Fill {
    /// Has it done by another process, which ends, or is killed if it is to hold.
    pub fn apart(&self) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("fill").args(["--engine", self.engine.name()]);
        command.arg("--home").arg(&self.home);
        command.args(["--bytes", &self.bytes.to_string()]);
        command.args(["--objects", &self.objects.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        if self.hold {
            command.arg("--hold");
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(out).lines();
        let is_ready = lines.any(|line| line.is_ok_and(|line| line == READY));
        if self.hold {
            child.kill()?;
        }
        let status = child.wait()?;
        if is_ready && (self.hold || status.success()) {
            return Ok(());
        }
        Err(format!("filling failed: {status}").into())
    }

    /// Does it.
    pub fn run(&self) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let bodies = Bodies::new(self.seed, self.bytes);
        let engine = self.engine.open(&self.home, Promise::AtSync)?;
        let durable = if self.hold { self.objects - self.objects / 10 } else { self.objects };
        put_all(&*engine, &bodies, self.bytes, 0..durable, Key::camera)?;
        engine.sync()?;
        if self.hold {
            put_all(&*engine, &bodies, self.bytes, durable..self.objects, Key::camera)?;
            ready()?;
            // Until it is killed; if whoever does that has died, in an hour at the latest.
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
        engine.tidy()?;
        engine.close()?;
        ready()
    }
}

fn ready() -> Result<()> {
    println!("{READY}");
    Ok(std::io::stdout().flush()?)
}

/// Puts objects of `bytes` in batches.
pub fn put_all(
    engine: &dyn Engine,
    bodies: &Bodies,
    bytes: usize,
    numbers: std::ops::Range<u64>,
    key: impl Fn(u64) -> Key,
) -> Result<()> {
    let together = (BATCH_BYTES / bytes).clamp(1, BATCH_PUTS) as u64;
    let mut from = numbers.start;
    while from < numbers.end {
        let to = numbers.end.min(from + together);
        let put = |number| (key(number), bodies.body(number, 0, bytes));
        engine.put_batch(&(from..to).map(put).collect::<Vec<_>>())?;
        from = to;
    }
    Ok(())
}

/// Writes the same to a file, one body behind the other.
pub fn write_all(path: &Path, bodies: &Bodies, bytes: usize, objects: u64) -> Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(path)?;
    for number in 0..objects {
        file.write_all(bodies.body(number, 0, bytes))?;
    }
    file.sync_data()?;
    Ok(file)
}

/// Takes files that nobody has open or mapped out of the page cache.
pub fn cool(dir: &Path) -> Result<()> {
    if dir.is_file() {
        let file = File::open(dir)?;
        file.sync_all()?;
        return Ok(fadvise(&file, 0, None, Advice::DontNeed)?);
    }
    fs::read_dir(dir)?.try_for_each(|entry| cool(&entry?.path()))
}
