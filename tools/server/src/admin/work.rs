//! What there is to do: compacting, draining and evening out disks, verifying, backing up, moving buckets. Each on one
//! partition after the other, or on one alone.

use std::sync::{Arc, Mutex};

use kogia::{
    CompactOptions, CompactReport, DiskId, ErrorKind, Store, TrackId, TrackStats, VerifyOptions,
    VerifyReport,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backup::Backup;
use super::jobs::{Job, Progress};
use super::moving::MoveBucket;
use super::{Fault, disks, told};
use crate::data::{Catalogue, Partitions};

/// What a job is to do.
#[derive(Debug)]
pub enum Task {
    Compact(Compact),
    Drain(Drain),
    Rebalance(Rebalance),
    Verify(Verify),
    Backup(Backup),
    MoveBucket(MoveBucket, Arc<Catalogue>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compact {
    /// Only this partition.
    pub partition: Option<usize>,
    /// Only these tracks, whatever garbage is in them; they are numbered in each partition anew.
    pub tracks: Option<Vec<u32>>,
    /// Only tracks on these disks: directories, or ids or how those begin.
    pub disks: Option<Vec<String>>,
    /// Only tracks of which at least this share is garbage, 0 to 1.
    pub min_garbage: Option<f64>,
    pub bytes_per_second: Option<u64>,
    /// Only tell what would be done.
    pub dry_run: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// A directory, or an id or how that begins.
    pub disk: String,
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rebalance {
    pub bytes_per_second: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    pub partition: Option<usize>,
    pub bytes_per_second: Option<u64>,
}

/// How a task came to its end.
#[derive(Debug, Default)]
pub struct Done {
    pub result: Option<Value>,
    /// Whether it was cut short.
    pub stopped: bool,
    pub fault: Option<Fault>,
}

/// A partition by its number.
pub type Numbered<'a> = (usize, &'a Arc<Store>);

impl Done {
    #[must_use]
    pub fn failed(fault: Fault) -> Self {
        Done { fault: Some(fault), ..Done::default() }
    }

    fn whole(result: Value) -> Self {
        Done { result: Some(result), ..Done::default() }
    }
}

impl Task {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Task::Compact(_) => "compact",
            Task::Drain(_) => "drain",
            Task::Rebalance(_) => "rebalance",
            Task::Verify(_) => "verify",
            Task::Backup(_) => "backup",
            Task::MoveBucket(..) => "move-bucket",
        }
    }

    /// Refuses what can be seen to make no sense before it begins.
    pub fn check(&self, partitions: &Partitions) -> Result<(), Fault> {
        match self {
            Task::Compact(compact) => compact.check(partitions),
            Task::Drain(drain) => {
                check_rate(drain.bytes_per_second)?;
                disks::find(partitions, &drain.disk).map(drop)
            }
            Task::Rebalance(rebalance) => check_rate(rebalance.bytes_per_second),
            Task::Verify(verify) => {
                check_rate(verify.bytes_per_second)?;
                select(partitions, verify.partition).map(drop)
            }
            Task::Backup(backup) => backup.check(),
            Task::MoveBucket(moving, catalogue) => {
                check_rate(moving.bytes_per_second)?;
                moving.check(catalogue).map(drop)
            }
        }
    }

    /// Whether it can't be done while a job of another kind is. A backup copies one partition after the
    /// other: of a bucket that moves meanwhile it might have nothing at all.
    #[must_use]
    pub fn excludes(&self, kind: &str) -> bool {
        let both = [self.kind(), kind];
        both == ["backup", "move-bucket"] || both == ["move-bucket", "backup"]
    }

    pub(super) fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Done {
        let done = match self {
            Task::Compact(compact) => compact.run(partitions, job),
            Task::Drain(drain) => drain.run(partitions, job),
            Task::Rebalance(rebalance) => rebalance.run(partitions, job),
            Task::Verify(verify) => verify.run(partitions, job),
            Task::Backup(backup) => backup.run(partitions, job),
            Task::MoveBucket(moving, catalogue) => moving.run(catalogue, job),
        };
        done.unwrap_or_else(Done::failed)
    }
}

/// The partitions that are meant: the one with this number, or all.
pub(super) fn select(
    partitions: &Partitions,
    number: Option<usize>,
) -> Result<Vec<Numbered<'_>>, Fault> {
    let all = partitions.all();
    match number {
        None => Ok(all.iter().enumerate().collect()),
        Some(number) => match all.get(number) {
            Some(store) => Ok(vec![(number, store)]),
            None => Err(Fault::not_found(format!(
                "there is no partition {number}; they are 0 to {}",
                all.len() - 1
            ))),
        },
    }
}

fn check_rate(bytes_per_second: Option<u64>) -> Result<(), Fault> {
    match bytes_per_second {
        Some(0) => Err(Fault::invalid("bytes_per_second is 1 at least")),
        _ => Ok(()),
    }
}

impl Compact {
    fn check(&self, partitions: &Partitions) -> Result<(), Fault> {
        check_rate(self.bytes_per_second)?;
        if self.min_garbage.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Fault::invalid("min_garbage is a share, 0 to 1"));
        }
        let stores = select(partitions, self.partition)?;
        if let Some(tracks) = &self.tracks {
            let [(number, store)] = stores[..] else {
                return Err(Fault::invalid("tracks are named with the partition that has them"));
            };
            let there = store.tracks()?;
            let is_there = |track: &u32| there.iter().any(|other| other.track.0 == *track);
            if let Some(none) = tracks.iter().find(|track| !is_there(track)) {
                let what = format!("there is no track {none} in partition {number}");
                return Err(Fault::invalid(what));
            }
        }
        self.disks(partitions).map(drop)
    }

    fn disks(&self, partitions: &Partitions) -> Result<Option<Vec<DiskId>>, Fault> {
        let find = |names: &Vec<String>| {
            names.iter().map(|name| disks::find(partitions, name)).collect::<Result<_, _>>()
        };
        self.disks.as_ref().map(find).transpose()
    }

    fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Result<Done, Fault> {
        let (stores, disks) = (select(partitions, self.partition)?, self.disks(partitions)?);
        let options = || CompactOptions {
            tracks: self.tracks.as_ref().map(|all| all.iter().copied().map(TrackId).collect()),
            disks: disks.clone(),
            min_garbage: self.min_garbage,
            bytes_per_second: self.bytes_per_second,
            ..CompactOptions::default()
        };
        let mut plan = Vec::new();
        for &(number, store) in &stores {
            let tracks = store.plan_compaction(&options())?;
            plan.extend(tracks.into_iter().map(|track| (number, track)));
        }
        let cost_bytes = plan.iter().map(|(_, track)| track.cost_bytes).sum();
        if self.dry_run {
            return Ok(Done::whole(plan_json(&plan, cost_bytes)));
        }
        Ok(pass_over(&stores, job, cost_bytes, |store, on_progress| {
            store.compact(&CompactOptions { on_progress: Some(on_progress), ..options() })
        }))
    }
}

fn plan_json(plan: &[(usize, TrackStats)], cost_bytes: u64) -> Value {
    let gain_bytes: u64 = plan.iter().map(|(_, track)| track.gain_bytes).sum();
    let tracks = plan.iter().map(|(partition, track)| {
        let mut told = told::track(track);
        told["partition"] = json!(partition);
        told
    });
    json!({
        "dry_run": true,
        "cost_bytes": cost_bytes,
        "gain_bytes": gain_bytes,
        "tracks": tracks.collect::<Vec<_>>(),
    })
}

/// Tells how far a compaction is, after what was done in earlier partitions, and whether to go on.
fn steer(
    job: &Arc<Job>,
    partition: usize,
    total_bytes: u64,
    before: &Moved,
) -> Box<kogia::OnCompaction> {
    let back = |before_bytes: u64, after_bytes: u64| before_bytes.saturating_sub(after_bytes);
    let (copied_bytes, given_back) =
        (before.copied_bytes, back(before.before_bytes, before.after_bytes));
    let job = job.clone();
    Box::new(move |report| {
        job.tell(Progress {
            partition,
            done_bytes: copied_bytes + report.copied_bytes,
            total_bytes,
            track: report.track.map(|track| track.0),
            tracks_left: Some(report.tracks_left),
            given_back_bytes: Some(given_back + back(report.before_bytes, report.after_bytes)),
        });
        !job.is_cancelled()
    })
}

/// So that whoever reads of it knows where to look.
pub(super) fn in_partition(partition: usize, fault: Fault) -> Fault {
    Fault::new(fault.kind, format!("partition {partition}: {}", fault.message))
}

impl Drain {
    fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Result<Done, Fault> {
        let id = disks::find(partitions, &self.disk)?;
        let (mut stores, mut tracks, mut cost_bytes, mut available_bytes) = (Vec::new(), 0, 0, 0);
        for (number, store) in partitions.all().iter().enumerate() {
            let there = store.stats()?.disks;
            if !there.iter().any(|disk| disk.id == id) {
                continue;
            }
            stores.push((number, store));
            let on_it = store.tracks()?.into_iter().filter(|track| track.disk == id);
            for track in on_it {
                tracks += 1;
                cost_bytes += track.cost_bytes;
            }
            // The partitions share the disks, and with them their room.
            let others = there.iter().filter(|disk| disk.id != id && !disk.draining);
            available_bytes = others.map(|disk| disk.available_bytes).sum();
        }
        if self.dry_run {
            return Ok(Done::whole(json!({
                "dry_run": true,
                "tracks": tracks,
                "cost_bytes": cost_bytes,
                "available_bytes": available_bytes,
            })));
        }
        Ok(pass_over(&stores, job, cost_bytes, |store, on_progress| {
            store.drain_disk(id, &self.options(on_progress))
        }))
    }

    fn options(&self, on_progress: Box<kogia::OnCompaction>) -> CompactOptions {
        moving(self.bytes_per_second, on_progress)
    }
}

impl Rebalance {
    fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Result<Done, Fault> {
        let stores = select(partitions, None)?;
        Ok(pass_over(&stores, job, 0, |store, on_progress| {
            store.rebalance(&moving(self.bytes_per_second, on_progress))
        }))
    }
}

fn moving(bytes_per_second: Option<u64>, on_progress: Box<kogia::OnCompaction>) -> CompactOptions {
    CompactOptions { bytes_per_second, on_progress: Some(on_progress), ..CompactOptions::default() }
}

/// What was done in all partitions together. The names are those of [`CompactReport`].
#[derive(Default, Serialize)]
struct Moved {
    tracks: u64,
    copied_bytes: u64,
    copied_records: u64,
    before_bytes: u64,
    after_bytes: u64,
    tracks_left: u64,
    stopped: bool,
    held_back: bool,
    blocked: Vec<Blocked>,
}

#[derive(Serialize)]
struct Blocked {
    partition: usize,
    track: TrackId,
}

impl Moved {
    fn add(&mut self, partition: usize, report: &CompactReport) {
        self.tracks += report.tracks;
        self.copied_bytes += report.copied_bytes;
        self.copied_records += report.copied_records;
        self.before_bytes += report.before_bytes;
        self.after_bytes += report.after_bytes;
        self.tracks_left += report.tracks_left;
        self.stopped |= report.stopped;
        self.held_back |= report.held_back;
        self.blocked.extend(report.blocked.iter().map(|&track| Blocked { partition, track }));
    }
}

/// Compacts or moves in one partition after the other, until one fails or the job is cancelled.
fn pass_over(
    stores: &[Numbered<'_>],
    job: &Arc<Job>,
    total_bytes: u64,
    pass: impl Fn(&Store, Box<kogia::OnCompaction>) -> kogia::Result<CompactReport>,
) -> Done {
    let mut moved = Moved::default();
    let mut fault = None;
    for &(partition, store) in stores {
        if job.is_cancelled() {
            moved.stopped = true;
            break;
        }
        match pass(store, steer(job, partition, total_bytes, &moved)) {
            Ok(report) => moved.add(partition, &report),
            Err(error) => {
                fault = Some(in_partition(partition, error.into()));
                break;
            }
        }
    }
    Done { stopped: moved.stopped, result: Some(json!(moved)), fault }
}

/// What verifying all partitions found. The names are those of [`VerifyReport`].
#[derive(Default, Serialize)]
struct Verified {
    objects: u64,
    bytes: u64,
    chunks: u64,
    tracks: u64,
    stopped: bool,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    partition: usize,
    place: String,
    key: Option<String>,
    what: String,
}

impl Verified {
    fn add(&mut self, partition: usize, report: VerifyReport) {
        self.objects += report.objects;
        self.bytes += report.bytes;
        self.chunks += report.chunks;
        self.tracks += report.tracks;
        self.problems.extend(report.problems.into_iter().map(|problem| Problem {
            partition,
            place: problem.place,
            key: problem.key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            what: problem.what,
        }));
    }
}

impl Verify {
    fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Result<Done, Fault> {
        let stores = select(partitions, self.partition)?;
        let mut verified = Verified::default();
        let mut fault = None;
        let mut done_bytes = 0;
        for (at, &(partition, store)) in stores.iter().enumerate() {
            if job.is_cancelled() {
                verified.stopped = true;
                break;
            }
            // About: the directories of tracks count as well, and writes go on.
            let later: u64 = stores[at + 1..].iter().map(|(_, store)| live_bytes(store)).sum();
            match self.check_one(store, partition, job, done_bytes, later) {
                Ok((report, stopped)) => {
                    done_bytes += report.bytes;
                    verified.add(partition, report);
                    verified.stopped = stopped;
                }
                Err(error) => fault = Some(in_partition(partition, error.into())),
            }
            if verified.stopped || fault.is_some() {
                break;
            }
        }
        Ok(Done { stopped: verified.stopped, result: Some(json!(verified)), fault })
    }

    /// What was found, and whether it was called off: then it is how much had been read.
    fn check_one(
        &self,
        store: &Arc<Store>,
        partition: usize,
        job: &Arc<Job>,
        before: u64,
        later: u64,
    ) -> kogia::Result<(VerifyReport, bool)> {
        let (told_to, read) = (job.clone(), Arc::new(Mutex::new(VerifyReport::default())));
        let counted = read.clone();
        let on_progress = move |progress: &kogia::Progress| {
            let mut read = counted.lock().expect("nobody panics here");
            (read.objects, read.bytes) = (progress.records, progress.done_bytes);
            told_to.tell(Progress {
                partition,
                done_bytes: before + progress.done_bytes,
                total_bytes: before + progress.total_bytes + later,
                ..Progress::default()
            });
            !told_to.is_cancelled()
        };
        let options = VerifyOptions {
            bytes_per_second: self.bytes_per_second,
            on_progress: Some(Box::new(on_progress)),
        };
        match store.verify(&options) {
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                Ok((read.lock().expect("nobody panics here").clone(), true))
            }
            checked => checked.map(|report| (report, false)),
        }
    }
}

fn live_bytes(store: &Store) -> u64 {
    store.stats().map_or(0, |stats| stats.total().live_bytes)
}
