//! What waits for a disk's thread, and the groups that are made of it: in which order, how large, and whether a
//! crowd of callers is waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::bell::Bell;
use super::reply::Reply;
use super::{Request, Volume};
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
pub(super) const SMALL_BYTES: usize = 64 << 10;
/// For so many groups one small durable write lets more of them be expected.
const GROUPS_BESIDE_SMALL: u32 = 16;
/// A crowd is waited for half as long as the last group took, and no longer than this.
const MOST_PATIENCE: Duration = Duration::from_millis(2);
/// After so many vain waits in turn, there is but one in `1 << MOST_MISSES` groups.
const MOST_MISSES: u32 = 6;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Jobs {
    channel: Sender<Job>,
    bell: Arc<Bell>,
}

pub(super) enum Job {
    Write(Arc<Volume>, Request),
    Sync(Arc<Volume>, Reply<()>),
    /// Callers have appended something themselves.
    Settle(Arc<Volume>),
}

type Write = (Arc<Volume>, Request);

impl Jobs {
    pub(super) fn new() -> (Self, Receiver<Job>) {
        let (channel, come) = bounded(QUEUE_LEN);
        (Jobs { channel, bell: Arc::default() }, come)
    }

    /// Whether the thread lives.
    pub(super) fn send(&self, job: Job) -> bool {
        let is_urgent = match &job {
            Job::Write(_, request) => !is_small(request) || !is_awaited(request),
            Job::Sync(..) | Job::Settle(_) => true,
        };
        let is_sent = self.channel.send(job).is_ok();
        self.bell.sent(is_urgent, || self.channel.len());
        is_sent
    }

    pub(super) fn len(&self) -> usize {
        self.channel.len()
    }
}

/// What waits for the thread. A write waits for the group under way, for those of its own kind before
/// it, and for those of its group; a sync for all writes before it.
#[derive(Default)]
pub(super) struct Queue {
    small: Line,
    large: Line,
    syncs: VecDeque<Sync>,
    /// Where callers have appended something themselves.
    pub(super) unsettled: Vec<Arc<Volume>>,
    /// Groups for which small durable writes are expected: meanwhile large ones are queued, so that there are
    /// not too many in a group with them.
    beside_small: Arc<AtomicU32>,
    pub(super) crowd: Crowd,
    bell: Arc<Bell>,
}

/// The callers of small durable writes who come back once they were answered. A group that is begun with
/// the first of them makes all others wait for one more sync.
#[derive(Default)]
pub(super) struct Crowd {
    /// How many were under way when the last group was written, and none of it was answered.
    pub(super) expected: usize,
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

/// The same for those who have appended something themselves, where a panic ends a commit of several volumes.
struct CommitsWill(Vec<Arc<Volume>>);

impl Drop for CommitsWill {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.iter().for_each(|volume| volume.abandon());
        }
    }
}

impl Queue {
    pub(super) fn new(beside_small: Arc<AtomicU32>, jobs: &Jobs) -> Self {
        Queue { beside_small, bell: jobs.bell.clone(), ..Queue::default() }
    }

    /// Takes in what there is; whether more may come. Who brings more than may wait, waits in the channel.
    pub(super) fn drain(&mut self, jobs: &Receiver<Job>) -> bool {
        while self.waiting() < QUEUE_LEN {
            match jobs.try_recv() {
                Ok(job) => self.push(job),
                Err(error) => return error != TryRecvError::Disconnected,
            }
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting() == 0 && self.syncs.is_empty() && self.unsettled.is_empty()
    }

    /// Whether nobody is there, nor expected, with whom a caller would share a group.
    pub(super) fn is_left_alone(&self) -> bool {
        self.is_empty() && self.crowd.expected <= 1
    }

    /// Writes a request that waits for nobody, and for which nobody has waited; whether the volume has more to
    /// settle.
    pub(super) fn commit_alone(&mut self, volume: &Volume, request: Request, jobs: &Jobs) -> bool {
        let (began, awaited) = (Instant::now(), is_small(&request) && is_awaited(&request));
        if awaited {
            self.beside_small.store(GROUPS_BESIDE_SMALL, Ordering::Relaxed);
        }
        volume.append(vec![request]);
        volume.settle(|| {
            self.crowd.is_answered(usize::from(awaited) + jobs.len(), began.elapsed());
        })
    }

    pub(super) fn push(&mut self, job: Job) {
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
    pub(super) fn gather(&mut self, jobs: &Receiver<Job>) {
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
    pub(super) fn commit(&mut self, jobs: &Receiver<Job>) {
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

pub(super) fn is_small(request: &Request) -> bool {
    request.proposal.bytes() <= SMALL_BYTES
}

pub(super) fn is_awaited(request: &Request) -> bool {
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
pub(super) mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::disk::reply::{Outcome, reply};
    use crate::disk::{Ack, Disk, Holes, Proposal};
    use crate::format::{DiskId, StoreId};
    use crate::io::Io;
    use crate::io::sim::SimIo;

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(60))
    }

    pub(in crate::disk) fn volume() -> Arc<Volume> {
        let io: Arc<dyn Io> = Arc::new(SimIo::new(1));
        let disk = Disk::attach(&io, Path::new("/disk"), DiskId([1; 16])).unwrap();
        Arc::new(Volume::new(disk, StoreId([1; 16]), PathBuf::new(), 16, 0, Holes::Room))
    }

    pub(in crate::disk) fn request(durability: Durability) -> (Request, Outcome<Ack>) {
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
