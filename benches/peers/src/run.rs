//! The order of things: workload by workload, round by round, each contender in turn, by a process of its
//! own in a directory of its own.
//!
//! Before each measurement what is not written yet is written, and memory is touched. Directories are
//! spread over the disk's block groups and stay until the round is over, since ext4 is slow where files
//! were just deleted; only where they would take too much room they go earlier.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::data::Bodies;
use crate::engines::Kind;
use crate::machine::{self, disk_bytes};
use crate::measure::{Watch, anonymous_bytes, forget_peak, peak_bytes};
use crate::results::{Contender, Outcome, Results, Sample};
use crate::workloads::{self, Job, Set, Workload};
use crate::{Result, Settings, report};

/// A GiB of memory that takes longer to touch is not there yet.
pub const TOUCH_SECONDS: f64 = 0.5;
/// Of directories of runs, whose process follows.
const PREFIX: &str = "kogia-peers-";
/// Room that must be left on the disk.
const SPARE_BYTES: u64 = 4 << 30;
/// Engines write a body more than once.
const AMPLIFIED: u64 = 3;
const GIB: u64 = 1 << 30;

pub fn run(settings: &Settings) -> Result<()> {
    let base = settings.dir.clone().unwrap_or_else(std::env::temp_dir);
    remove_abandoned(&base)?;
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(base)?;
    spread(dir.path());
    let rounds = settings.rounds.unwrap_or(if settings.short { 1 } else { 5 }).max(1);
    let results = start(settings, dir.path(), rounds)?;
    let mut run = Run { settings, dir, results, made: 0, kept: Vec::new() };
    for workload in wanted(settings)? {
        for round in 0..rounds {
            run.round(&*workload, round)?;
        }
        report::write(&settings.place)?;
    }
    println!("{}", settings.place.results.join(report::FILE).display());
    Ok(())
}

/// Removes what runs have left that were killed: their processes are gone.
fn remove_abandoned(base: &Path) -> Result<()> {
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let rest = name.as_deref().and_then(|name| name.strip_prefix(PREFIX));
        let pid = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// What is there already, or nothing yet.
fn start(settings: &Settings, dir: &Path, rounds: usize) -> Result<Results> {
    let place = &settings.place.results;
    if settings.resume {
        let results = Results::load(place)?;
        if results.short != settings.short {
            return Err("results of a short run and of a full one don't go together".into());
        }
        return Ok(Results { rounds: rounds.max(results.rounds), ..results });
    }
    Ok(Results {
        machine: machine::describe(dir).map_err(|error| error.to_string())?,
        commit: commit(),
        short: settings.short,
        rounds,
        samples: Vec::new(),
    })
}

fn commit() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

/// Workloads of this kind of run, or those that were named.
fn wanted(settings: &Settings) -> Result<Vec<Box<dyn Workload>>> {
    let is_named = |name: &str| settings.only.iter().any(|only| name.starts_with(only.as_str()));
    let is_exact = |name: &str| settings.only.iter().any(|only| name == only);
    let mut wanted = workloads::all();
    wanted.retain(|workload| {
        let belongs = match workload.set() {
            Set::Both => true,
            Set::Short => settings.short,
            Set::Full => !settings.short,
            Set::Growth => settings.growth,
        };
        let name = workload.name();
        is_exact(&name) || (belongs && (settings.only.is_empty() || is_named(&name)))
    });
    if wanted.is_empty() {
        return Err("no workload has such a name: see 'list'".into());
    }
    Ok(wanted)
}

struct Run<'a> {
    settings: &'a Settings,
    dir: TempDir,
    results: Results,
    /// Directories that were made, and those that are still there.
    made: usize,
    kept: Vec<PathBuf>,
}

impl Run<'_> {
    fn round(&mut self, workload: &dyn Workload, round: usize) -> Result<()> {
        let contenders = self.contenders(workload);
        for turn in 0..contenders.len() {
            let contender = &contenders[(turn + round) % contenders.len()];
            if self.results.has(&workload.name(), contender, round) {
                continue;
            }
            let mut sample = Sample {
                workload: workload.name(),
                contender: contender.clone(),
                round,
                load: machine::load_average().parse().unwrap_or(f64::NAN),
                touch_seconds: 0.0,
                outcome: None,
                failure: None,
            };
            if let Err(error) = self.measure(workload, &mut sample) {
                sample.failure = Some(error.to_string());
            }
            tell(&sample);
            self.results.samples.retain(|known| {
                (known.round, &known.workload, &known.contender)
                    != (round, &sample.workload, &sample.contender)
            });
            self.results.samples.push(sample);
            self.results.save(&self.settings.place.results)?;
        }
        self.remove_kept()
    }

    fn contenders(&self, workload: &dyn Workload) -> Vec<Contender> {
        let limits = workload.limits().iter().map(|name| Contender::Limit((*name).to_owned()));
        let engines = Kind::ALL.into_iter().filter(|kind| {
            let asked = &self.settings.engines;
            workload.takes(*kind) && (asked.is_empty() || asked.contains(kind))
        });
        limits.chain(engines.map(Contender::Engine)).collect()
    }

    /// Removes what others have left where this could take more than is allowed.
    fn make_room(&mut self, workload: &dyn Workload) -> Result<()> {
        let needed = AMPLIFIED * workload.stored_bytes(self.settings.short);
        let taken: u64 = self.kept.iter().map(|dir| disk_bytes(dir)).sum();
        if taken + needed > self.settings.max_gib * GIB {
            self.remove_kept()?;
        }
        let disk = rustix::fs::statvfs(self.dir.path())?;
        if disk.f_bavail * disk.f_frsize < needed + SPARE_BYTES {
            return Err(format!(
                "no room for {} at {}",
                workload.name(),
                self.dir.path().display()
            )
            .into());
        }
        Ok(())
    }

    fn remove_kept(&mut self) -> Result<()> {
        for dir in self.kept.drain(..) {
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    }

    fn measure(&mut self, workload: &dyn Workload, sample: &mut Sample) -> Result<()> {
        self.make_room(workload)?;
        let short = self.settings.short;
        self.made += 1;
        let dir = self.dir.path().join(self.made.to_string());
        fs::create_dir(&dir)?;
        self.kept.push(dir.clone());
        machine::settle(&dir).map_err(|error| error.to_string())?;
        let gib = if short { 1 } else { workload.stored_bytes(short).div_ceil(GIB).clamp(1, 4) };
        sample.touch_seconds = touch(gib as usize);
        let patience = Duration::from_secs(match (workload.set(), short) {
            (Set::Growth, _) => 3600,
            (_, true) => 60,
            (_, false) => 600,
        });
        let contender = serde_json::to_string(&sample.contender)?;
        let child = Child { workload: workload.name(), contender, round: sample.round, dir, short };
        sample.outcome = Some(child.apart(patience)?);
        Ok(())
    }
}

/// Says what came out.
fn tell(sample: &Sample) {
    let Sample { workload, contender, round, touch_seconds, .. } = sample;
    print!("{workload:22} {round} {contender:24}");
    for row in sample.outcome.iter().flat_map(|outcome| &outcome.rows) {
        print!("  {}: {:.1} {}", row.what, row.value, row.unit);
    }
    if let Some(failure) = &sample.failure {
        print!("  FAILED: {failure}");
    }
    println!("  (touch {touch_seconds:.2} s)");
}

/// Touches so much memory until it is there; seconds a GiB of the last time. Where it is no faster the
/// next time, the machine is busy, and touching it again is of no use.
fn touch(gib: usize) -> f64 {
    let mut before = f64::INFINITY;
    loop {
        let started = Instant::now();
        let mut memory = vec![0_u8; gib << 30];
        memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        std::hint::black_box(&memory);
        drop(memory);
        let took = started.elapsed().as_secs_f64() / gib as f64;
        if took < TOUCH_SECONDS || took > before * 0.7 {
            return took;
        }
        before = took;
    }
}

/// Has ext4 deal directories in this one out over its block groups; elsewhere nothing happens.
fn spread(dir: &Path) {
    let set = || -> Result<()> {
        let dir = File::open(dir)?;
        let flags = ioctl_getflags(&dir)?;
        Ok(ioctl_setflags(&dir, flags | IFlags::TOPDIR)?)
    };
    drop(set());
}

/// One measurement.
#[derive(Args, Clone, Debug)]
pub struct Child {
    #[arg(long)]
    workload: String,
    /// A contender, as JSON
    #[arg(long)]
    contender: String,
    #[arg(long)]
    round: usize,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    short: bool,
}

impl Child {
    /// Has it done by a process.
    fn apart(&self, patience: Duration) -> Result<Outcome> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["child", "--workload", &self.workload]);
        command.args(["--contender", &self.contender]);
        command.args(["--round", &self.round.to_string()]).arg("--dir").arg(&self.dir);
        if self.short {
            command.arg("--short");
        }
        let errors = self.dir.join("errors");
        command.stdout(Stdio::null()).stderr(File::create(&errors)?);
        let (mut child, started) = (command.spawn()?, Instant::now());
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                return Err(format!("took longer than {} s", patience.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if !status.success() {
            let said = fs::read_to_string(&errors)?;
            let last: Vec<_> = said.lines().rev().take(3).collect();
            return Err(format!("{status}: {}", last.join(" / ")).into());
        }
        Ok(serde_json::from_slice(&fs::read(self.outcome())?)?)
    }

    fn outcome(&self) -> PathBuf {
        self.dir.join("outcome.json")
    }

    /// Does it.
    pub fn run(&self) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let contender: Contender = serde_json::from_str(&self.contender)?;
        let workload = workloads::all().into_iter().find(|known| known.name() == self.workload);
        let workload = workload.ok_or("no such workload")?;
        let bodies = Bodies::new(self.round as u64, workload.longest());
        let job =
            Job { dir: self.dir.clone(), short: self.short, round: self.round as u64, bodies };
        forget_peak();
        let (own, watch) = (anonymous_bytes(), Watch::memory());
        let rows = match &contender {
            Contender::Engine(kind) => workload.run(*kind, &job)?,
            Contender::Limit(name) => workload.limit(name, &job)?,
        };
        let outcome = Outcome {
            rows,
            peak_bytes: peak_bytes().saturating_sub(own),
            anonymous_bytes: watch.end().anonymous_bytes.saturating_sub(own),
            disk_bytes: disk_bytes(&self.dir),
        };
        Ok(fs::write(self.outcome(), serde_json::to_vec(&outcome)?)?)
    }
}
