//! The writer thread: it takes what has queued up, one group a store, one sync a group. Where nothing has,
//! a caller writes in its place: to be woken twice takes as long as some disks take to sync. Callers append
//! large values themselves, and the thread has but to [settle](Volume::settle) them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};

use super::bell::Bell;
use super::reply::{Outcome, Reply, reply};
use super::{Ack, Request, Volume};
use crate::error::{Error, Result};
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
/// A crowd is waited for half as long as the last group took, and no longer than this.
const MOST_PATIENCE: Duration = Duration::from_millis(2);
/// After so many vain waits in turn, there is but one in `1 << MOST_MISSES` groups.
const MOST_MISSES: u32 = 6;

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

/// The way to the thread.
#[derive(Debug)]
struct Jobs {
    channel: Sender<Job>,
    bell: Arc<Bell>,
}

enum Job {
    Write(Arc<Volume>, Request),
    Sync(Arc<Volume>, Reply<()>),
    /// Callers have appended something themselves.
    Settle(Arc<Volume>),
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
        let (jobs, come) = Jobs::new();
        let beside_small = Arc::new(AtomicU32::new(0));
        let beside = beside_small.clone();
        let queue = Queue { beside_small: beside, bell: jobs.bell.clone(), ..Queue::default() };
        let queue = Arc::new(Mutex::new(queue));
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

impl Jobs {
    fn new() -> (Self, Receiver<Job>) {
        let (channel, come) = bounded(QUEUE_LEN);
        (Jobs { channel, bell: Arc::default() }, come)
    }

    /// Whether the thread lives.
    fn send(&self, job: Job) -> bool {
        let is_urgent = match &job {
            Job::Write(_, request) => !is_small(request) || !is_awaited(request),
            Job::Sync(..) | Job::Settle(_) => true,
        };
        let is_sent = self.channel.send(job).is_ok();
        self.bell.sent(is_urgent, || self.channel.len());
        is_sent
    }

    fn len(&self) -> usize {
        self.channel.len()
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

/// The same for those who have appended something themselves, where a panic ends a commit of several volumes.
struct CommitsWill(Vec<Arc<Volume>>);

impl Drop for CommitsWill {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.iter().for_each(|volume| volume.abandon());
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

/// What waits for the thread. A write waits for the group under way, for those of its own kind before
/// it, and for those of its group; a sync for all writes before it.
#[derive(Default)]
struct Queue {
    small: Line,
    large: Line,
    syncs: VecDeque<Sync>,
    /// Where callers have appended something themselves.
    unsettled: Vec<Arc<Volume>>,
    /// Groups for which small durable writes are expected: meanwhile large ones are queued, so that there are
    /// not too many in a group with them.
    beside_small: Arc<AtomicU32>,
    crowd: Crowd,
    bell: Arc<Bell>,
}

/// The callers of small durable writes who come back once they were answered. A group that is begun with
/// the first of them makes all others wait for one more sync.
#[derive(Default)]
struct Crowd {
    /// How many were under way when the last group was written, and none of it was answered.
    expected: usize,
    /// Until when they are waited for.
    until: Option<Instant>,
    /// How often in turn most of them did not come.
    misses: u32,
    /// Groups that are begun without waiting for them.
    rests: u32,
}

/// Writes of one kind, in the order in which they came.
#[derive(Default)]
struct Line {
    writes: VecDeque<Write>,
    /// Those that ever came.
    came: u64,
    /// Those of the writes that somebody waits to be durable.
    awaited: usize,
    /// Bytes of the writes.
    bytes: usize,
}

/// A sync, and how many writes of each kind came before it.
struct Sync {
    small: u64,
    large: u64,
    volume: Arc<Volume>,
    reply: Reply<()>,
}

impl Queue {
    /// Takes in what there is; whether more may come. Who brings more than may wait, waits in the channel.
    fn drain(&mut self, jobs: &Receiver<Job>) -> bool {
        while self.waiting() < QUEUE_LEN {
            match jobs.try_recv() {
                Ok(job) => self.push(job),
                Err(error) => return error != TryRecvError::Disconnected,
            }
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.waiting() == 0 && self.syncs.is_empty() && self.unsettled.is_empty()
    }

    /// Whether nobody is there, nor expected, with whom a caller would share a group.
    fn is_left_alone(&self) -> bool {
        self.is_empty() && self.crowd.expected <= 1
    }

    /// Writes a request that waits for nobody, and for which nobody has waited; whether the volume has more to
    /// settle.
    fn commit_alone(&mut self, volume: &Volume, request: Request, jobs: &Jobs) -> bool {
        let (began, awaited) = (Instant::now(), is_small(&request) && is_awaited(&request));
        if awaited {
            self.beside_small.store(GROUPS_BESIDE_SMALL, Ordering::Relaxed);
        }
        volume.append(vec![request]);
        volume.settle(|| {
            self.crowd.is_answered(usize::from(awaited) + jobs.len(), began.elapsed());
        })
    }

    fn push(&mut self, job: Job) {
        match job {
            Job::Write(volume, request) => {
                let is_small = is_small(&request);
                let line = if is_small { &mut self.small } else { &mut self.large };
                line.push((volume, request));
            }
            Job::Sync(volume, reply) => {
                let (small, large) = (self.small.came, self.large.came);
                self.syncs.push_back(Sync { small, large, volume, reply });
            }
            Job::Settle(volume) => self.has_unsettled(&volume),
        }
    }

    fn has_unsettled(&mut self, volume: &Arc<Volume>) {
        if !self.unsettled.iter().any(|known| Arc::ptr_eq(known, volume)) {
            self.unsettled.push(volume.clone());
        }
    }

    /// Where there are but small durable writes, waits a little for the others of their crowd.
    fn gather(&mut self, jobs: &Receiver<Job>) {
        let Some(until) = self.crowd.until.take() else { return };
        if self.is_crowd_here() || self.crowd.takes_rest() || until <= Instant::now() {
            return;
        }
        while !self.is_crowd_here() {
            if until <= Instant::now() {
                return self.crowd.came(self.small.awaited);
            }
            let missing = self.crowd.expected - self.small.awaited;
            let missing = missing.min(QUEUE_LEN - self.waiting());
            self.bell.wait(missing, until, || jobs.len());
            self.drain(jobs);
        }
        self.crowd.came(self.crowd.expected);
    }

    /// Whether there is nobody to wait for, no room for them in the next group, or somebody else whom that
    /// would hold up.
    fn is_crowd_here(&self) -> bool {
        let is_full = self.small.bytes >= GROUP_BYTES || self.waiting() >= QUEUE_LEN;
        let is_mixed = self.waiting() > self.small.awaited || !self.syncs.is_empty();
        let is_mixed = is_mixed || !self.unsettled.is_empty();
        is_full || is_mixed || self.small.awaited >= self.crowd.expected
    }

    /// Writes the next group, and syncs what is to be synced behind it.
    fn commit(&mut self, jobs: &Receiver<Job>) {
        let (began, awaited) = (Instant::now(), self.small.awaited);
        let (requests, syncs) = self.next();
        let taken = awaited - self.small.awaited;
        let unsettled = std::mem::take(&mut self.unsettled);
        let mut groups: Vec<(Arc<Volume>, Vec<Request>)> =
            unsettled.into_iter().map(|volume| (volume, Vec::new())).collect();
        for (volume, request) in requests {
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &volume)) {
                Some((_, group)) => group.push(request),
                None => groups.push((volume, vec![request])),
            }
        }
        let mut under_way = None;
        let _last_will = CommitsWill(groups.iter().map(|(volume, _)| volume.clone()).collect());
        for (volume, group) in groups {
            if !group.is_empty() {
                volume.append(group);
            }
            let is_more = volume.settle(|| {
                // Before anybody is answered: who has come back already would be counted twice.
                self.drain(jobs);
                under_way.get_or_insert(taken + self.small.awaited);
            });
            if is_more {
                self.has_unsettled(&volume);
            }
        }
        if let Some(under_way) = under_way {
            self.crowd.is_answered(under_way, began.elapsed());
        }
        for Sync { volume, reply, .. } in syncs {
            // Whoever asks takes it that all was applied, too, which was appended before.
            if volume.settle(|| ()) {
                self.has_unsettled(&volume);
            }
            reply.give(volume.sync());
        }
    }

    fn waiting(&self) -> usize {
        self.small.writes.len() + self.large.writes.len()
    }

    /// The next group, and the syncs that follow it.
    fn next(&mut self) -> (Vec<Write>, Vec<Sync>) {
        let beside_small = match self.small.awaited > 0 {
            true => GROUPS_BESIDE_SMALL,
            false => self.beside_small.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.beside_small.store(beside_small, Ordering::Relaxed);
        let most = if beside_small > 0 { GROUP_BYTES_BESIDE_SMALL } else { GROUP_BYTES };
        let mut group = self.small.take(GROUP_BYTES);
        group.append(&mut self.large.take(most));
        let is_next =
            |sync: &Sync| sync.small <= self.small.done() && sync.large <= self.large.done();
        let ready = self.syncs.iter().take_while(|sync| is_next(sync)).count();
        (group, self.syncs.drain(..ready).collect())
    }
}

impl Crowd {
    /// A group that took so long was answered.
    fn is_answered(&mut self, under_way: usize, took: Duration) {
        self.expected = under_way;
        self.until = Some(Instant::now() + (took / 2).min(MOST_PATIENCE));
    }

    /// Takes one of the rests, if there are any.
    fn takes_rest(&mut self) -> bool {
        let rests = self.rests > 0;
        self.rests = self.rests.saturating_sub(1);
        rests
    }

    /// They were waited for, and so many came.
    fn came(&mut self, so_many: usize) {
        // Some of those who come each at a time of their own are always there; it is not they who are meant.
        let are_most = so_many.saturating_mul(4) >= self.expected.saturating_mul(3);
        self.misses = if are_most { 0 } else { (self.misses + 1).min(MOST_MISSES) };
        self.rests = (1 << self.misses) - 1;
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

fn is_small(request: &Request) -> bool {
    request.proposal.bytes() <= SMALL_BYTES
}

fn is_awaited(request: &Request) -> bool {
    request.durability == Durability::Sync
}

impl Line {
    fn push(&mut self, write: Write) {
        self.awaited += usize::from(is_awaited(&write.1));
        self.bytes += write.1.proposal.bytes();
        self.writes.push_back(write);
        self.came += 1;
    }

    /// The first writes, of about so many bytes, but one at least, so that neither line is starved.
    fn take(&mut self, most: usize) -> Vec<Write> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(write) = self.writes.pop_front()
        {
            bytes += write.1.proposal.bytes().max(1);
            self.bytes -= write.1.proposal.bytes();
            self.awaited -= usize::from(is_awaited(&write.1));
            taken.push(write);
        }
        taken
    }

    fn done(&self) -> u64 {
        self.came - self.writes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Holes, Proposal};
    use crate::format::StoreId;
    use crate::format::record::{Record, Space};
    use crate::io::sim::SimIo;

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(60))
    }

    fn volume() -> Arc<Volume> {
        let io: Arc<dyn Io> = Arc::new(SimIo::new(1));
        let disk = Disk::attach(&io, Path::new("/disk"), DiskId([1; 16])).unwrap();
        Arc::new(Volume::new(disk, StoreId([1; 16]), PathBuf::new(), 16, 0, Holes::Room))
    }

    fn request(durability: Durability) -> (Request, Outcome<Ack>) {
        Request::new(Proposal::default(), durability, false, ())
    }

    fn put(volume: &Arc<Volume>, durability: Durability) -> Job {
        Job::Write(volume.clone(), request(durability).0)
    }

    /// A queue with one durable put, behind a group when so many were under way.
    fn queue(expected: usize, until: Option<Instant>) -> (Queue, Jobs, Receiver<Job>) {
        let (jobs, come) = Jobs::new();
        let crowd = Crowd { expected, until, ..Crowd::default() };
        let mut queue = Queue { crowd, bell: jobs.bell.clone(), ..Queue::default() };
        assert!(jobs.send(put(&volume(), Durability::Sync)));
        assert!(queue.drain(&come));
        (queue, jobs, come)
    }

    #[test]
    fn a_group_waits_for_those_who_were_under_way_when_the_last_was_written() {
        let (mut queue, jobs, come) = queue(3, later());
        let volume = volume();
        let others = std::thread::spawn(move || {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(5));
                assert!(jobs.send(put(&volume, Durability::Sync)));
            }
            jobs
        });
        queue.gather(&come);
        assert_eq!(queue.next().0.len(), 3);
        others.join().unwrap();
    }

    /// None of these would end within the test's time if anybody were waited for.
    #[test]
    fn nobody_is_waited_for_where_somebody_else_would_be_held_up_or_nobody_was_there() {
        let (mut alone, _jobs, come) = queue(1, later());
        alone.gather(&come);
        let volume = volume();
        for other in [put(&volume, Durability::Os), Job::Sync(volume.clone(), reply().0)] {
            let (mut beside, jobs, come) = queue(3, later());
            assert!(jobs.send(other));
            beside.gather(&come);
            assert!(come.is_empty());
        }
        let (mut full, _jobs, come) = queue(3, later());
        full.small.bytes = GROUP_BYTES;
        full.gather(&come);
    }

    #[test]
    fn those_who_do_not_come_are_waited_for_less_and_less_often_until_most_come() {
        let (mut queue, jobs, come) = queue(3, None);
        let soon = || Some(Instant::now() + Duration::from_millis(1));
        for rests in [1, 3, 7, 15, 31, 63, 63] {
            // Where the thread has slept meanwhile, it was no wait.
            while queue.crowd.rests == 0 {
                queue.crowd.until = soon();
                queue.gather(&come);
            }
            for left in (0..rests).rev() {
                queue.crowd.until = later();
                queue.gather(&come);
                assert_eq!(queue.crowd.rests, left);
            }
        }
        while queue.crowd.misses > 0 {
            queue.crowd.expected = queue.small.awaited + 3;
            queue.crowd.until = soon();
            for _ in 0..2 {
                assert!(jobs.send(put(&volume(), Durability::Sync)));
            }
            queue.gather(&come);
            queue.drain(&come);
        }
        assert_eq!(queue.crowd.rests, 0);
    }

    #[test]
    fn callers_are_counted_before_any_is_answered_and_waited_for_soon_or_not_at_all() {
        let (mut queue, jobs, come) = queue(0, None);
        for durability in [Durability::Sync, Durability::Os, Durability::Sync] {
            assert!(jobs.send(put(&volume(), durability)));
        }
        // The store is closed, so that nothing is written; those who have asked are answered.
        queue.commit(&come);
        assert!(come.is_empty());
        assert_eq!((queue.crowd.expected, queue.small.awaited), (3, 2));
        let until = queue.crowd.until.expect("somebody was answered");
        assert!(until <= Instant::now() + MOST_PATIENCE);
        queue.crowd.is_answered(7, Duration::from_secs(60));
        assert!(queue.crowd.until.unwrap() <= Instant::now() + MOST_PATIENCE);
    }

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

    #[test]
    fn a_caller_counts_those_who_came_while_it_wrote() {
        let (mut queue, jobs, _come) = queue(0, None);
        let Some((volume, request)) = queue.small.writes.pop_front() else { panic!("no put") };
        for _ in 0..2 {
            assert!(jobs.send(put(&volume, Durability::Sync)));
        }
        queue.commit_alone(&volume, request, &jobs);
        assert_eq!((queue.crowd.expected, jobs.len()), (3, 2));
    }
}
