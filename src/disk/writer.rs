//! The writer thread: it takes what has queued up, one group a store, one sync a group.

use std::collections::VecDeque;
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
/// The same while there are small writes that somebody waits to be durable: the sync that ends their
/// waiting writes all of the group to the device.
const GROUP_BYTES_BESIDE_SMALL: usize = 1 << 20;
/// Requests of at most so many bytes go before larger ones.
const SMALL_BYTES: usize = 64 << 10;
/// For so many groups one small durable write lets more of them be expected.
const GROUPS_BESIDE_SMALL: u32 = 16;

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

type Write = (Arc<Volume>, Request);

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
    let mut queue = Queue::default();
    while queue.fill(jobs) {
        let (requests, syncs) = queue.next();
        let mut groups: Vec<(Arc<Volume>, Vec<Request>)> = Vec::new();
        for (volume, request) in requests {
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &volume)) {
                Some((_, group)) => group.push(request),
                None => groups.push((volume, vec![request])),
            }
        }
        for (volume, group) in groups {
            volume.commit(group);
        }
        for Sync { volume, reply, .. } in syncs {
            // A caller that is gone wants no answer.
            let _ = reply.send(volume.sync());
        }
    }
}

/// What waits for the thread. A write waits for the group under way, for those of its own kind before
/// it, and for those of its group; a sync for all writes before it.
#[derive(Default)]
struct Queue {
    small: Line,
    large: Line,
    syncs: VecDeque<Sync>,
    /// Groups for which small durable writes are expected.
    beside_small: u32,
}

/// Writes of one kind, in the order in which they came.
#[derive(Default)]
struct Line {
    writes: VecDeque<Write>,
    /// Those that ever came.
    came: u64,
}

/// A sync, and how many writes of each kind came before it.
struct Sync {
    small: u64,
    large: u64,
    volume: Arc<Volume>,
    reply: Sender<Result<()>>,
}

impl Queue {
    /// Takes in what there is, waiting for the first; gives whether anything is there.
    fn fill(&mut self, jobs: &Receiver<Job>) -> bool {
        let is_empty = self.waiting() == 0 && self.syncs.is_empty();
        let mut next = if is_empty { jobs.recv().ok() } else { jobs.try_recv().ok() };
        let is_over = is_empty && next.is_none();
        while let Some(job) = next {
            match job {
                Job::Write(volume, request) => {
                    let is_small = request.proposal.bytes() <= SMALL_BYTES;
                    let line = if is_small { &mut self.small } else { &mut self.large };
                    line.writes.push_back((volume, request));
                    line.came += 1;
                }
                Job::Sync(volume, reply) => {
                    let (small, large) = (self.small.came, self.large.came);
                    self.syncs.push_back(Sync { small, large, volume, reply });
                }
            }
            // Who brings more waits in the channel.
            next = if self.waiting() < QUEUE_LEN { jobs.try_recv().ok() } else { None };
        }
        !is_over
    }

    fn waiting(&self) -> usize {
        self.small.writes.len() + self.large.writes.len()
    }

    /// The next group, and the syncs that follow it.
    fn next(&mut self) -> (Vec<Write>, Vec<Sync>) {
        let waits = |(_, request): &Write| request.durability == Durability::Sync;
        self.beside_small = match self.small.writes.iter().any(waits) {
            true => GROUPS_BESIDE_SMALL,
            false => self.beside_small.saturating_sub(1),
        };
        let most = if self.beside_small > 0 { GROUP_BYTES_BESIDE_SMALL } else { GROUP_BYTES };
        let mut group = self.small.take(GROUP_BYTES);
        group.append(&mut self.large.take(most));
        let is_next =
            |sync: &Sync| sync.small <= self.small.done() && sync.large <= self.large.done();
        let ready = self.syncs.iter().take_while(|sync| is_next(sync)).count();
        (group, self.syncs.drain(..ready).collect())
    }
}

impl Line {
    /// The first writes, of about so many bytes, but one at least, so that neither line is starved.
    fn take(&mut self, most: usize) -> Vec<Write> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(write) = self.writes.pop_front()
        {
            bytes += write.1.proposal.bytes().max(1);
            taken.push(write);
        }
        taken
    }

    fn done(&self) -> u64 {
        self.came - self.writes.len() as u64
    }
}
