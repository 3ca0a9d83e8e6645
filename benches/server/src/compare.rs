//! The order of things: what each server syncs, then rounds of puts, gets and deletes with all of them
//! running, then listings in turn.

use std::time::Duration;

use serde::Serialize;

use crate::listing::{self, Listing};
use crate::load::{Group, Load, Rate};
use crate::server::{Kind, Server, Sync};
use crate::syncs::{self, Syncs};
use crate::{Result, Settings, machine, report, runtime};

/// Sizes of objects, in bytes.
pub const SIZES: [usize; 3] = [4 << 10, 128 << 10, 8 << 20];

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Work {
    Put(usize),
    Get(usize),
    /// DeleteObjects of what was put of that size.
    Delete(usize),
}

impl Work {
    pub fn size(self) -> usize {
        let (Work::Put(size) | Work::Get(size) | Work::Delete(size)) = self;
        size
    }
}

/// All work of a round.
pub fn works() -> impl Iterator<Item = Work> {
    let rates = SIZES.into_iter().flat_map(|size| [Work::Put(size), Work::Get(size)]);
    rates.chain(SIZES.into_iter().map(Work::Delete))
}

/// A measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub kind: Kind,
    pub round: usize,
    pub work: Work,
    pub rate: Rate,
    pub server_cpu: f64,
    /// What the server sent to block devices, until all that it had written was there.
    pub device_bytes: u64,
    /// By how much its directory grew.
    pub disk_bytes: i64,
    pub rss_bytes: u64,
}

/// What became of a server.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    pub kind: Kind,
    pub version: String,
    pub syncs: Vec<Syncs>,
    /// Resident before the first round.
    pub idle_bytes: u64,
    /// The most that was ever resident in the rounds.
    pub hwm_bytes: u64,
}

/// All of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub machine: String,
    pub load_before: String,
    pub load_after: String,
    pub touch_seconds: f64,
    pub subjects: Vec<Subject>,
    pub samples: Vec<Sample>,
    pub listings: Vec<Listing>,
    /// Servers, or parts of what was asked of them, that are not there, and why.
    pub missing: Vec<(String, String)>,
}

pub fn compare(settings: &Settings) -> Result<()> {
    let (outcome, servers) = runtime()?.block_on(run(settings))?;
    let text = report::report(settings, &outcome);
    print!("{text}");
    std::fs::write(&settings.results, text)?;
    if let Some(json) = &settings.json {
        std::fs::write(json, serde_json::to_vec_pretty(&outcome)?)?;
    }
    // Behind the results: a million files take longer to remove than all that was measured.
    eprintln!("removes what was listed");
    drop(servers);
    Ok(())
}

/// What was measured, and the servers that still have what was listed.
async fn run(settings: &Settings) -> Result<(Outcome, Vec<Server>)> {
    let mut outcome = Outcome {
        machine: machine::describe(&settings.dir)?,
        load_before: machine::load_average(),
        load_after: String::new(),
        touch_seconds: machine::touch_memory(4),
        subjects: Vec::new(),
        samples: Vec::new(),
        listings: Vec::new(),
        missing: Vec::new(),
    };
    let kinds = present(settings, &mut outcome.missing);
    rounds(&kinds, settings, &mut outcome).await?;
    let mut servers = Vec::new();
    if settings.listing_keys > 0 {
        let kinds: Vec<Kind> = kinds.into_iter().filter(|kind| *kind != Kind::Limit).collect();
        (servers, outcome.listings) =
            listing::compare(&kinds, settings, &mut outcome.missing).await.into_iter().unzip();
    }
    outcome.load_after = machine::load_average();
    Ok((outcome, servers))
}

/// The servers that there are binaries of; the others are missing.
fn present(settings: &Settings, missing: &mut Vec<(String, String)>) -> Vec<Kind> {
    let mut kinds = vec![Kind::Limit, Kind::Kogia];
    for kind in Kind::PEERS {
        if kind.binary(settings).is_some() {
            kinds.push(kind);
            continue;
        }
        let said =
            |text: &'_ String| Some(text.strip_prefix(kind.flag())?.strip_prefix('=')?.to_owned());
        let why = settings.missing.iter().find_map(said);
        missing.push((kind.name().to_owned(), why.unwrap_or_else(|| "was not given".to_owned())));
    }
    kinds
}

/// All servers run at once, so that each measurement has the others' a few seconds before and after it.
async fn rounds(kinds: &[Kind], settings: &Settings, outcome: &mut Outcome) -> Result<()> {
    let mut servers = Vec::new();
    for kind in kinds {
        match Server::start(*kind, settings, Sync::Always).await {
            Ok(server) => servers.push(server),
            Err(error) => outcome.missing.push((kind.name().to_owned(), error.to_string())),
        }
    }
    for server in &servers {
        eprintln!("syncs: {}", server.kind.name());
        outcome.subjects.push(subject(server, settings).await?);
    }
    for round in 0..settings.rounds {
        // Objects are deleted when all are there, so that no reclaiming falls into what they take.
        let mut counts = vec![[0; SIZES.len()]; servers.len()];
        for work in works() {
            for turn in 0..servers.len() {
                let which = (turn + round) % servers.len();
                let (server, size) = (&servers[which], work.size());
                let count = SIZES.iter().zip(&mut counts[which]).find(|(known, _)| **known == size);
                let Some((_, count)) = count else { continue };
                let name = server.kind.name();
                match sample(server, settings, round, work, count).await {
                    Ok(sample) => {
                        let rate = sample.rate.per_second();
                        eprintln!("round {round}: {name}: {work:?}: {rate:.0}/s");
                        outcome.samples.push(sample);
                    }
                    Err(error) => {
                        let what = format!("{name}: {work:?} in round {round}");
                        outcome.missing.push((what, error.to_string()));
                    }
                }
            }
        }
    }
    for (subject, server) in outcome.subjects.iter_mut().zip(&servers) {
        subject.hwm_bytes = machine::memory_bytes(server.pid(), "VmHWM")?;
    }
    Ok(())
}

async fn subject(server: &Server, settings: &Settings) -> Result<Subject> {
    let idle_bytes = machine::memory_bytes(server.pid(), "VmRSS")?;
    let mut counted = Vec::new();
    if server.kind != Kind::Limit {
        for size in SIZES {
            counted.push(syncs::count(server, size).await?);
        }
    }
    Ok(Subject {
        kind: server.kind,
        version: server.kind.version(settings),
        syncs: counted,
        idle_bytes,
        hwm_bytes: 0,
    })
}

/// One measurement; `count` is how many objects the round's put has left.
async fn sample(
    server: &Server,
    settings: &Settings,
    round: usize,
    work: Work,
    count: &mut u64,
) -> Result<Sample> {
    let name = format!("r{round}");
    let group = Group { name: &name, size: work.size() };
    let time = Duration::from_secs_f64(settings.seconds);
    let (pid, data) = (server.pid(), server.data());
    let mut load = Load::connect(&server.endpoint, settings.connections).await?;
    machine::settle(&settings.dir)?;
    let disk = machine::disk_bytes(&data);
    let (cpu, device) = (machine::cpu_seconds(pid)?, machine::device_bytes(pid)?);
    let rate = match work {
        Work::Put(size) => {
            let most = (settings.put_mib << 20) / size as u64;
            let rate = load.put(&group, most, time).await?;
            *count = rate.objects;
            rate
        }
        Work::Get(_) if *count == 0 => return Err("nothing was put".into()),
        Work::Get(_) => load.get(&group, *count, time).await?,
        Work::Delete(_) => load.delete(&group, std::mem::take(count)).await?,
    };
    let server_cpu = machine::cpu_seconds(pid)? - cpu;
    machine::settle(&settings.dir)?;
    Ok(Sample {
        kind: server.kind,
        round,
        work,
        rate,
        server_cpu,
        device_bytes: machine::device_bytes(pid)? - device,
        disk_bytes: machine::disk_bytes(&data) as i64 - disk as i64,
        rss_bytes: machine::memory_bytes(pid, "VmRSS")?,
    })
}
