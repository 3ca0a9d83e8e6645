//! The writer thread: it takes what has queued up, one group a store, one sync a group.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Ack, Proposal, Request, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::DiskId;
use crate::io::Io;
use crate::options::Durability;

/// Requests that wait at most; those who bring more wait, too.
const QUEUE_LEN: usize = 1024;
/// A group is not made larger than this by a further request: it bounds how long a small write
/// waits for the large ones before it.
const GROUP_BYTES: usize = 4 << 20;

/// Disks of this process, so that stores which lie on one share its thread.
static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

/// A disk's queue; its thread ends with the last store that lies on it.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) id: DiskId,
    pub(crate) path: PathBuf,
    io: Arc<dyn Io>,
    queue: Sender<Job>,
}

enum Job {
    Write(Arc<Volume>, Request),
    Sync(Arc<Volume>, Sender<Result<()>>),
}

impl Disk {
    /// The disk `id` at `path`, with a thread of its own or one that it has already.
    pub(crate) fn attach(io: &Arc<dyn Io>, path: &Path, id: DiskId) -> Result<Arc<Self>> {
        let mut disks = DISKS.lock().expect("no panic holds it");
        disks.retain(|disk| disk.strong_count() > 0);
        let same = |disk: &Arc<Disk>| {
            disk.id == id && disk.path == path && disk.io.number() == io.number()
        };
        if let Some(disk) = disks.iter().filter_map(Weak::upgrade).find(same) {
            return Ok(disk);
        }
        let (queue, jobs) = bounded(QUEUE_LEN);
        std::thread::Builder::new()
            .name(format!("kogia-disk-{}", &id.to_string()[..4]))
            .spawn(move || run(&jobs))
            .map_err(|e| Error::io("start a thread for the disk", path, e))?;
        let disk = Arc::new(Disk { id, path: path.to_owned(), io: io.clone(), queue });
        disks.push(Arc::downgrade(&disk));
        Ok(disk)
    }

    pub(crate) fn io(&self) -> &dyn Io {
        &*self.io
    }
}

impl Volume {
    /// Queues a proposal; the receiver gets its outcome. `share` is dropped when it is there.
    pub(crate) fn submit(
        self: &Arc<Self>,
        proposal: Proposal,
        durability: Durability,
        uses_reserve: bool,
        share: impl Send + 'static,
    ) -> Receiver<Result<Ack>> {
        let (reply, outcome) = bounded(1);
        self.enqueued(proposal.bytes() as u64);
        let request =
            Request { proposal, durability, uses_reserve, reply, _share: Box::new(share) };
        // The thread lives as long as the disk, which this volume holds.
        let _ = self.disk.queue.send(Job::Write(self.clone(), request));
        outcome
    }

    /// Queues a sync of all that was submitted before it.
    pub(crate) fn submit_sync(self: &Arc<Self>) -> Receiver<Result<()>> {
        let (reply, outcome) = bounded(1);
        let _ = self.disk.queue.send(Job::Sync(self.clone(), reply));
        outcome
    }
}

/// Waits for the outcome of what was submitted.
pub(crate) fn wait<T>(outcome: &Receiver<Result<T>>) -> Result<T> {
    let gone = || Error::new(ErrorKind::Poisoned, "the disk's writer thread has died");
    outcome.recv().unwrap_or_else(|_| Err(gone()))
}

/// Waits for all of them, those behind a failure too: with a sync still under way, a store that is
/// dropped after it would be held open by the disk's thread.
pub(crate) fn wait_for_all(outcomes: &[Receiver<Result<()>>]) -> Result<()> {
    let mut all = Ok(());
    for outcome in outcomes {
        all = all.and(wait(outcome));
    }
    all
}

fn run(jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut groups: Vec<(Arc<Volume>, Vec<Request>)> = Vec::new();
        let mut syncs = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Write(volume, request) => {
                    bytes += request.proposal.bytes();
                    match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &volume)) {
                        Some((_, group)) => group.push(request),
                        None => groups.push((volume, vec![request])),
                    }
                }
                Job::Sync(volume, reply) => syncs.push((volume, reply)),
            }
            next = if bytes < GROUP_BYTES { jobs.try_recv().ok() } else { None };
        }
        for (volume, group) in groups {
            volume.commit(group);
        }
        for (volume, reply) in syncs {
            // A caller that is gone wants no answer.
            let _ = reply.send(volume.sync());
        }
    }
}
