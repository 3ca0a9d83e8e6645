//! The writer thread: it takes what has [queued up](Queue), one group a store, one sync a group. Where nothing has,
//! a caller writes in its place: to be woken twice takes as long as some disks take to sync. Callers append
//! large values themselves, and the thread has but to [settle](Volume::settle) them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossbeam_channel::{Receiver, Select};

use super::groups::{Job, Jobs, Queue, is_awaited, is_small};
use super::reply::{Outcome, reply};
use super::{Ack, Request, Volume};
use crate::error::{Error, Result};
use crate::format::DiskId;
use crate::io::Io;

/// Disks of this process, so that stores which lie on one share its thread.
static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

/// A disk's queue; its thread ends with the last store that lies on it.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) id: DiskId,
    pub(crate) path: PathBuf,
    io: Arc<dyn Io>,
    jobs: Jobs,
    /// Who holds it writes to the disk.
    queue: Arc<Mutex<Queue>>,
    /// Groups for which small durable writes are expected.
    beside_small: Arc<AtomicU32>,
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
        let (jobs, come) = Jobs::new();
        let beside_small = Arc::new(AtomicU32::new(0));
        let queue = Arc::new(Mutex::new(Queue::new(beside_small.clone(), &jobs)));
        let shared = queue.clone();
        std::thread::Builder::new()
            .name(format!("kogia-disk-{}", &id.to_string()[..4]))
            .spawn(move || run(&come, &shared))
            .map_err(|e| Error::io("start a thread for the disk", path, e))?;
        let (path, io) = (path.to_owned(), io.clone());
        let disk = Arc::new(Disk { id, path, io, jobs, queue, beside_small });
        disks.push(Arc::downgrade(&disk));
        Ok(disk)
    }

    pub(crate) fn io(&self) -> &dyn Io {
        &*self.io
    }
}

impl Volume {
    /// Queues a request.
    pub(crate) fn submit(self: &Arc<Self>, request: Request) {
        self.enqueued(request.proposal.bytes() as u64);
        self.send(request);
    }

    /// The same for a caller who has nothing to do until the `outcome`: it carries the request out itself, as far
    /// as nobody else is at it.
    pub(crate) fn write(self: &Arc<Self>, request: Request, outcome: &Outcome<Ack>) {
        self.enqueued(request.proposal.bytes() as u64);
        if self.is_written_by_caller(&request) {
            return self.write_large(request, outcome, || ());
        }
        // One that panicked while it was held is told by the thread, which then ends. It is never held while
        // somebody sends: the channel may be full until the thread has it.
        if let Ok(mut queue) = self.disk.queue.try_lock()
            && self.disk.jobs.len() == 0
            && queue.is_left_alone()
        {
            let is_more = queue.commit_alone(self, request, &self.disk.jobs);
            drop(queue);
            if is_more {
                self.send_settle();
            }
        } else {
            self.send(request);
        }
    }

    /// The same for a caller who has something to do `meanwhile`.
    pub(crate) fn write_beside(
        self: &Arc<Self>,
        request: Request,
        outcome: &Outcome<Ack>,
        meanwhile: impl FnOnce(),
    ) {
        self.enqueued(request.proposal.bytes() as u64);
        if self.is_written_by_caller(&request) {
            let is_awaited = is_awaited(&request);
            return self.write_large(request, outcome, || {
                if is_awaited {
                    self.start_write_back();
                }
                meanwhile();
            });
        }
        self.send(request);
        meanwhile();
    }

    /// Whether a request is large, and holds up no small ones that somebody waits for.
    fn is_written_by_caller(&self, request: &Request) -> bool {
        !is_small(request) && self.disk.beside_small.load(Ordering::Relaxed) == 0
    }

    fn write_large(
        self: &Arc<Self>,
        request: Request,
        outcome: &Outcome<Ack>,
        meanwhile: impl FnOnce(),
    ) {
        let is_awaited = is_awaited(&request);
        self.append(vec![request]);
        if outcome.is_given() {
            return;
        }
        meanwhile();
        if !is_awaited {
            // Who has the turn will hardly have it for long.
            self.settle_and_hand_over();
        } else if self.try_settle() {
            // Where somebody has it, he syncs, and this waits for the next sync in any case.
            self.send_settle();
        }
    }

    /// Waits until what was appended before is in the index, and leaves what came behind it to the thread.
    pub(super) fn settle_and_hand_over(self: &Arc<Self>) {
        if self.settle(|| ()) {
            self.send_settle();
        }
    }

    /// Queues a sync of all that was submitted before it.
    pub(crate) fn submit_sync(self: &Arc<Self>) -> Outcome<()> {
        let (reply, outcome) = reply();
        self.disk.jobs.send(Job::Sync(self.clone(), reply));
        outcome
    }

    fn send_settle(self: &Arc<Self>) {
        if !self.disk.jobs.send(Job::Settle(self.clone())) {
            self.abandon();
        }
    }

    fn send(self: &Arc<Self>, request: Request) {
        // The thread lives as long as the disk, which this volume holds.
        self.disk.jobs.send(Job::Write(self.clone(), request));
    }
}

/// Answers those who wait when the thread has died: they hold the disk, and with it what they have sent.
struct LastWill<'a> {
    jobs: &'a Receiver<Job>,
    queue: &'a Mutex<Queue>,
}

impl Drop for LastWill<'_> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        left.unsettled.iter().for_each(|volume| volume.abandon());
        drop(left);
        while let Ok(job) = self.jobs.try_recv() {
            if let Job::Settle(volume) = job {
                volume.abandon();
            }
        }
    }
}

fn run(jobs: &Receiver<Job>, queue: &Mutex<Queue>) {
    let _last_will = LastWill { jobs, queue };
    let mut is_open = true;
    while is_open {
        // Nothing is taken before the queue is held: who finds it free and nothing sent is alone.
        let mut ready = Select::new();
        ready.recv(jobs);
        ready.ready();
        let mut queue = queue.lock().expect("no panic holds it");
        is_open = queue.drain(jobs);
        while !queue.is_empty() {
            queue.gather(jobs);
            queue.commit(jobs);
            is_open = queue.drain(jobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::groups::SMALL_BYTES;
    use crate::disk::groups::tests::{request, volume};
    use crate::format::record::{Record, Space};
    use crate::options::Durability;

    /// What `write` leaves in the channel while the thread can't take it, and whether it was answered.
    fn write(volume: &Arc<Volume>) -> (usize, bool) {
        let (request, outcome) = request(Durability::Sync);
        volume.write(request, &outcome);
        (volume.disk.jobs.len(), outcome.is_given())
    }

    #[test]
    fn a_caller_writes_itself_where_nobody_else_is_there_or_expected() {
        let volume = volume();
        // The store is closed: who has asked is answered, and that is all.
        assert_eq!(write(&volume), (0, true));
        assert_eq!(volume.disk.queue.lock().unwrap().crowd.expected, 1);
        {
            let _thread_is_at_it = volume.disk.queue.lock().unwrap();
            assert_eq!(write(&volume), (1, false));
        }
        let outcome = volume.submit_sync();
        assert!(outcome.wait().is_err());
        volume.disk.queue.lock().unwrap().crowd.expected = 2;
        let (request, outcome) = request(Durability::Sync);
        volume.write(request, &outcome);
        assert!(outcome.wait().is_err());
        // Nobody else came, so the next one is alone again, when the thread is done.
        drop(volume.disk.queue.lock().unwrap());
        assert_eq!(write(&volume), (0, true));
    }

    #[test]
    fn who_has_something_to_do_beside_a_large_write_needs_no_thread_for_it() {
        let volume = volume();
        let _thread_is_at_it = volume.disk.queue.lock().unwrap();
        let large = || {
            let (mut large, outcome) = request(Durability::Sync);
            let delete = Record::Delete { space: Space::Object, key: &[b'k'; 1000] };
            (0..=SMALL_BYTES / 1000).for_each(|_| large.proposal.push(&delete));
            (large, outcome)
        };
        let (written, outcome) = large();
        volume.write_beside(written, &outcome, || ());
        // The store is closed: who has asked is answered, and that is all.
        assert!(outcome.is_given());
        // But small writes that are waited for go before it.
        volume.disk.beside_small.store(1, Ordering::Relaxed);
        let ((queued, waits), mut has_run) = (large(), false);
        volume.write_beside(queued, &waits, || has_run = true);
        assert!(has_run && !waits.is_given());
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_died() {
        let volume = volume();
        let (queued, outcome) = request(Durability::Sync);
        let held = volume.clone();
        let panicked = std::thread::spawn(move || {
            let mut queue = held.disk.queue.lock().unwrap();
            queue.push(Job::Write(held.clone(), queued));
            panic!("as who writes may, by a mistake of ours");
        });
        assert!(panicked.join().is_err());
        let (sent, other) = request(Durability::Sync);
        volume.write(sent, &other);
        assert!(outcome.wait().is_err());
        assert!(other.wait().is_err());
    }
}
