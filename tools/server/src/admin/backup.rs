//! A copy of all partitions, which is a data directory that a server can be started on.
//!
//! The partitions are copied one after the other, each as it is at a moment of its own. The one with
//! the catalogue comes last: what was put into a bucket that is created meanwhile then has its bucket.
//! The other way round, its id would be given out anew, and its objects would turn up in another one.
//!
//! For the same reason a copy of which only some partitions were brought up to date is of no use. While
//! it is made [`UNFINISHED`] lies in it, and no server starts on that.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use kogia::{BackupOptions, BackupReport, ErrorKind, LinkMode, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jobs::{Job, Progress};
use super::work::{Done, in_partition};
use super::{Fault, FaultKind};
use crate::data::Partitions;
use crate::data::partitions::{UNFINISHED, home, takes_backup};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Where it goes, on the server's machine: an empty or new directory, or an earlier backup of this
    /// server, of which what has not changed is kept.
    pub dir: String,
    #[serde(default)]
    pub mode: Mode,
    /// Only tell what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// [`LinkMode`], as it is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Auto,
    Reflink,
    HardLink,
    Copy,
}

/// What all partitions' backups are made of. The names are those of [`BackupReport`].
#[derive(Default, Serialize)]
struct Made {
    tracks: u64,
    removed_tracks: u64,
    total_bytes: u64,
    kept_bytes: u64,
    linked_bytes: u64,
    reflinked_bytes: u64,
    copied_bytes: u64,
    index_bytes: u64,
    seconds: f64,
}

impl Made {
    fn add(&mut self, report: &BackupReport) {
        self.tracks += report.tracks;
        self.removed_tracks += report.removed_tracks;
        self.total_bytes += report.total_bytes;
        self.kept_bytes += report.kept_bytes;
        self.linked_bytes += report.linked_bytes;
        self.reflinked_bytes += report.reflinked_bytes;
        self.copied_bytes += report.copied_bytes;
        self.index_bytes += report.index_bytes;
        self.seconds += report.duration.as_secs_f64();
    }
}

impl Backup {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let dir = Path::new(&self.dir);
        let is_plain = dir.components().all(|part| part != Component::ParentDir);
        if !dir.is_absolute() || !is_plain {
            return Err(Fault::invalid(format!("{:?} is no absolute path without '..'", self.dir)));
        }
        Ok(())
    }

    pub(super) fn run(&self, partitions: &Partitions, job: &Arc<Job>) -> Result<Done, Fault> {
        let dir = Path::new(&self.dir);
        check_apart(dir, partitions)?;
        if !takes_backup(dir).map_err(|error| in_file(dir, &error))? {
            let what = "is neither empty nor a backup; give an empty directory";
            return Err(Fault::new(FaultKind::Exists, format!("{}: {what}", dir.display())));
        }
        // Whatever refuses one of them refuses before any is touched.
        let mut plan = Made::default();
        for (number, store) in in_order(partitions) {
            self.make(dir, number, store, true, job, 0)?.iter().for_each(|made| plan.add(made));
        }
        if self.dry_run {
            return Ok(Done { result: Some(told(&plan, true, false)), ..Done::default() });
        }
        let mark = Mark::leave(dir).map_err(|error| in_file(dir, &error))?;
        let mut made = Made::default();
        for (number, store) in in_order(partitions) {
            let before = made.total_bytes;
            match self.make(dir, number, store, false, job, before)? {
                Some(report) => made.add(&report),
                None => {
                    let result = Some(told(&made, false, true));
                    return Ok(Done { stopped: true, result, fault: None });
                }
            }
        }
        mark.take_away().map_err(|error| in_file(dir, &error))?;
        Ok(Done { result: Some(told(&made, false, false)), ..Done::default() })
    }

    /// `None` where it was called off.
    fn make(
        &self,
        dir: &Path,
        number: usize,
        store: &Arc<Store>,
        dry_run: bool,
        job: &Arc<Job>,
        before: u64,
    ) -> Result<Option<BackupReport>, Fault> {
        let job = job.clone();
        let on_progress = move |progress: &kogia::Progress| {
            job.tell(Progress {
                partition: number,
                done_bytes: before + progress.done_bytes,
                total_bytes: before + progress.total_bytes,
                ..Progress::default()
            });
            !job.is_cancelled()
        };
        let options = BackupOptions {
            mode: match self.mode {
                Mode::Auto => LinkMode::Auto,
                Mode::Reflink => LinkMode::Reflink,
                Mode::HardLink => LinkMode::HardLink,
                Mode::Copy => LinkMode::Copy,
            },
            dry_run,
            on_progress: Some(Box::new(on_progress)),
            ..BackupOptions::default()
        };
        match store.backup(home(dir, number), &options) {
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(None),
            made => made.map(Some).map_err(|error| in_partition(number, error.into())),
        }
    }
}

/// The one with the catalogue last.
fn in_order(partitions: &Partitions) -> impl Iterator<Item = (usize, &Arc<Store>)> {
    partitions.all().iter().enumerate().rev()
}

fn told(made: &Made, dry_run: bool, stopped: bool) -> serde_json::Value {
    let mut told = json!(made);
    told["dry_run"] = json!(dry_run);
    told["stopped"] = json!(stopped);
    told
}

/// Fails where the backup would lie in what the server has, or that in it.
fn check_apart(dir: &Path, partitions: &Partitions) -> Result<(), Fault> {
    let target = resolve(dir);
    let mut own = Vec::new();
    for store in partitions.all() {
        own.extend(store.stats()?.disks.into_iter().map(|disk| disk.path));
        // The data directory, with all that lies beside the partitions.
        own.extend(store.home().ancestors().nth(2).map(Path::to_owned));
    }
    let overlaps = |own: &PathBuf| {
        let own = resolve(own);
        own.starts_with(&target) || target.starts_with(own)
    };
    match own.iter().find(|own| overlaps(own)) {
        None => Ok(()),
        Some(own) => Err(Fault::invalid(format!(
            "{} lies in the server's own {}, or that in it",
            dir.display(),
            own.display()
        ))),
    }
}

/// The path without symbolic links, as far as there is anything at it.
fn resolve(path: &Path) -> PathBuf {
    for there in path.ancestors() {
        if let Ok(real) = there.canonicalize() {
            return real.join(path.strip_prefix(there).unwrap_or(Path::new("")));
        }
    }
    path.to_owned()
}

fn in_file(path: &Path, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Full,
        _ => FaultKind::Io,
    };
    Fault::new(kind, format!("{}: {error}", path.display()))
}

/// Says that a backup is being made, durably, until it is taken away.
struct Mark(PathBuf);

impl Mark {
    fn leave(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(UNFINISHED);
        File::create(&path)?.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Mark(path))
    }

    fn take_away(self) -> io::Result<()> {
        fs::remove_file(&self.0)?;
        match self.0.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}
