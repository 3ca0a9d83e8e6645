//! Group commit. Chains are appended one behind the other; whoever has the turn makes those that are there durable,
//! brings them into the index in their order, and answers. Meanwhile others append behind them.
//!
//! A disk's thread writes small values in groups, one chain each. A large one is a chain of its own, which the
//! caller appends itself: bytes that one processor has written are slow to copy for another, and it would be one
//! thread that copies for all. The turn is the caller's where nobody else has it, else the thread goes on as long
//! as there is something to do.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};

use super::lane::Lane;
use super::proposal::{Ack, Request};
use super::reply::{self, Reply};
use super::volume::{Appended, Holes, Sealed, Volume, slice_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{Layout, MAX_CHUNKS};
use crate::format::chunk::{CHUNK_BYTES, PAYLOAD_BYTES};
use crate::format::{Seq, TrackId};
use crate::options::Durability;

/// A chain that the index does not know yet.
pub(super) struct Unapplied {
    group: Vec<Request>,
    layout: Layout,
    track: TrackId,
    floor: Seq,
    created_ms: u64,
    start: u32,
    /// The seq of its first record, and its own.
    first: Seq,
    seq: Seq,
    /// Tracks that were sealed before it was appended.
    sealed: Vec<Sealed>,
    /// Whether it is to be durable before it is applied.
    is_awaited: bool,
    /// Why it will never be.
    lost: Option<Error>,
}

impl Unapplied {
    fn end(&self) -> u32 {
        self.start + self.layout.chunks
    }

    fn appended(&self, volume: &Volume, synced: u32) -> Appended<'_> {
        let entries = self.group.iter().flat_map(|request| request.proposal.entries());
        let mut records = Vec::with_capacity(self.layout.spots.len());
        records.extend(entries.zip(self.layout.spots.iter().copied()));
        Appended {
            disk: volume.disk.id,
            track: self.track,
            floor: self.floor,
            created_ms: self.created_ms,
            start: self.start,
            chunks: self.layout.chunks,
            head_chunks: self.layout.head_chunks,
            seq: self.seq,
            synced,
            records,
            sealed: self.sealed.clone(),
        }
    }
}

/// Those who wait for an answer are not left waiting when whoever has the turn panics.
struct LastWill<'a>(&'a Volume);

impl Drop for LastWill<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abandon();
        }
    }
}

impl Volume {
    /// Appends a group of requests as one chain, which waits to be [settled](Self::settle). Those who are refused
    /// or have to frame anew are answered at once.
    pub(super) fn append(&self, mut group: Vec<Request>) {
        let bytes: usize = group.iter().map(|request| request.proposal.bytes()).sum();
        if let Err(full) = self.check_room(most_bytes(bytes)) {
            // Where it can't even be asked.
            self.fail(&full);
            group = self.refuse_puts(group, &full);
            if let Err(full) = self.check_room_for_deletes(&group) {
                group.into_iter().for_each(|request| self.answer(request, Err(full.clone())));
                return;
            }
        }
        let mut outcome = self.append_fitting(&mut group);
        if let Err(full) = &outcome
            && full.kind() == ErrorKind::Full
        {
            self.full.store(true, Ordering::Relaxed);
            group = self.refuse_puts(group, full);
            if group.is_empty() {
                // The reserve is not for puts: what follows, deletes and checkpoints, would lack it.
                return;
            }
            outcome = self.owner().and_then(|owner| {
                owner.release_reserve();
                self.append_fitting(&mut group)
            });
        }
        if let Err(error) = outcome {
            self.fail(&error);
            group.into_iter().for_each(|request| self.answer(request, Err(error.clone())));
        }
    }

    /// Appends all of the group that the active track has the dictionary for; the others leave it, and are to be
    /// framed again. After an error the group is what was not appended.
    fn append_fitting(&self, group: &mut Vec<Request>) -> Result<()> {
        while !group.is_empty() && !self.append_if_fitting(group)? {
            let dictionary = self.dictionary();
            let (fitting, stale) =
                std::mem::take(group).into_iter().partition(|r| r.fits(dictionary.as_ref()));
            *group = fitting;
            for request in stale {
                self.answer(request, Ok(Ack::Stale));
            }
        }
        Ok(())
    }

    /// Does nothing where the track that the group would go to has another dictionary than some of it; whether it
    /// was appended.
    fn append_if_fitting(&self, group: &mut Vec<Request>) -> Result<bool> {
        let owner = self.owner()?;
        let count = group.iter().map(|request| request.proposal.len()).sum();
        let mut parts = Vec::with_capacity(count);
        parts.extend(group.iter().flat_map(|request| request.proposal.layout_parts()));
        let layout = Layout::new(&parts);
        if layout.chunks > MAX_CHUNKS {
            return Err(Error::invalid("a batch of more than 1 GiB"));
        }
        // Training takes a good part of a second: not under the lane, for which a checkpoint may wait
        // that holds up all disks. Whoever else wants a new track waits for what comes of it.
        let begins_track = || self.lock().begins_track(self, layout.chunks);
        let training = begins_track().then(|| self.training.lock().expect("no panic holds it"));
        let trains = training.is_some() && begins_track();
        let trained = if trains { owner.train_dictionary() } else { None };
        // A track is sealed by a sync, and of two syncs at once one may not see a failure.
        let is_in_the_way =
            |lane: &mut Lane| lane.is_syncing && !lane.has_room(self, layout.chunks);
        let mut lane = self.lock_unless(is_in_the_way);
        lane.roll(self, &*owner, layout.chunks, trained)?;
        drop(training);
        let dictionary = lane.active.as_ref().and_then(|active| active.dictionary.as_ref());
        if !group.iter().all(|request| request.fits(dictionary)) {
            return Ok(false);
        }
        // The chain's seq follows its records', so that a copying chain's is greater than both.
        let first = owner.take_seqs(parts.len() as u64 + 1);
        let seq = Seq(first.0 + parts.len() as u64);
        let is_asked_for = group.iter().any(|request| request.durability == Durability::Sync);
        let start = lane.append(&layout, first, seq, group, is_asked_for)?;
        step!("write.appended");
        let is_awaited = is_asked_for || self.ends_extent(&lane);
        let sealed = std::mem::take(&mut lane.sealed);
        let active = lane.active.as_ref().expect("rolled to it above");
        let chain = Unapplied {
            group: std::mem::take(group),
            layout,
            track: active.appender.track.id,
            floor: active.floor,
            created_ms: active.created_ms,
            start,
            first,
            seq,
            sealed,
            is_awaited,
            lost: None,
        };
        lane.unapplied.push_back(chain);
        Ok(true)
    }

    /// Waits for the turn, and then makes what was appended durable, as far as that is asked for, brings it into the
    /// index, and answers; `before_waking` is called before that. Gives whether more was appended meanwhile, which
    /// somebody is to settle.
    #[must_use]
    pub(super) fn settle(&self, before_waking: impl FnOnce()) -> bool {
        let _last_will = LastWill(self);
        {
            let _turn = self.turn.lock().expect("no panic holds it");
            self.settle_in_turn(before_waking);
        }
        self.has_more()
    }

    /// The same, unless somebody has the turn.
    #[must_use]
    pub(super) fn try_settle(&self) -> bool {
        let _last_will = LastWill(self);
        match self.turn.try_lock() {
            Ok(_turn) => self.settle_in_turn(|| ()),
            Err(TryLockError::WouldBlock) => return false,
            Err(TryLockError::Poisoned(_)) => panic!("no panic holds it"),
        }
        self.has_more()
    }

    /// Whether somebody is to settle. Asked when the turn was given back: who has found it taken has appended
    /// before, and leaves the rest to whoever had it.
    fn has_more(&self) -> bool {
        !self.lock().unapplied.is_empty()
    }

    fn settle_in_turn(&self, before_waking: impl FnOnce()) {
        let is_awaited = self.lock().unapplied.iter().any(|chain| chain.is_awaited);
        match self.owner() {
            Ok(owner) if is_awaited => {
                // Whom a failure concerns hears of it by his chain.
                if self.sync_expecting_more(&*owner).is_ok() {
                    step!("write.synced");
                }
            }
            Ok(_) => {}
            Err(closed) => {
                before_waking();
                let left = std::mem::take(&mut self.lock().unapplied);
                let left = left.into_iter().flat_map(|chain| chain.group);
                left.for_each(|request| self.answer(request, Err(closed.clone())));
                return;
            }
        }
        let mut before_waking = Some(before_waking);
        for (mut chain, synced) in self.take_settled() {
            let applied = match chain.lost.take() {
                Some(lost) => Err(lost),
                // Whoever is answered may drop the store, and is not to find it held here.
                None => self.owner().and_then(|owner| owner.apply(&chain.appended(self, synced))),
            };
            match &applied {
                Ok(()) => step!("write.applied"),
                Err(error) if error.kind() == ErrorKind::Full => {
                    self.full.store(true, Ordering::Relaxed);
                    if chain.group.iter().any(|request| request.uses_reserve)
                        && let Ok(owner) = self.owner()
                    {
                        // They come again.
                        owner.release_reserve();
                    }
                }
                Err(error) => drop(self.fail(error)),
            }
            if let Some(before) = before_waking.take() {
                before();
            }
            let mut next = applied.map(|()| chain.first);
            reply::give_all(chain.group.into_iter().map(|request| {
                let records = request.proposal.len() as u64;
                let ack = next.clone().map(|first| Ack::Done { first });
                next = next.clone().map(|first| Seq(first.0 + records));
                (self.forget(request), ack)
            }));
            step!("write.answered");
        }
        if let Some(before) = before_waking.take() {
            before();
        }
    }

    /// Takes out the first chains, in order, that are as durable as they are to be or never will be, each with the
    /// chunk up to which its track is.
    fn take_settled(&self) -> Vec<(Unapplied, u32)> {
        let mut lane = self.lock();
        let mut settled = Vec::with_capacity(lane.unapplied.len());
        while let Some(chain) = lane.unapplied.front() {
            let end = chain.end();
            // A track that is sealed was synced to its end.
            let synced = match &lane.active {
                Some(active) if active.appender.track.id == chain.track => active.appender.synced(),
                _ => end,
            };
            if chain.is_awaited && chain.lost.is_none() && synced < end {
                break;
            }
            let Some(mut chain) = lane.unapplied.pop_front() else { break };
            if chain.lost.is_some() {
                // The index hears of them with another chain.
                lane.sealed.splice(0..0, std::mem::take(&mut chain.sealed));
            } else if let Some(active) = &mut lane.active
                && active.appender.track.id == chain.track
            {
                // Before the index is told, so that a checkpoint never flushes what is not yet synced.
                active.applied = end;
            }
            settled.push((chain, synced));
        }
        settled
    }

    /// Answers nobody any more who waits for the turn.
    pub(super) fn abandon(&self) {
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let left = std::mem::take(&mut lane.unapplied);
        drop(lane);
        drop(left);
    }

    /// Whether what was appended is to be written out, although nobody asked for it: what is written
    /// at once can only be freed at once.
    fn ends_extent(&self, lane: &Lane) -> bool {
        const EXTENT_CHUNKS: u32 = 1024;
        let appender = lane.active.as_ref().map(|active| &active.appender);
        let unsynced = appender.map_or(0, |appender| appender.end() - appender.synced());
        self.holes == Holes::LateRoom && unsynced >= EXTENT_CHUNKS
    }

    /// Deletes leave room for compaction, or what they free could never come back.
    fn check_room_for_deletes(&self, group: &[Request]) -> Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let bytes = most_bytes(group.iter().map(|request| request.proposal.bytes()).sum());
        let check = || {
            let keep = slice_bytes(self.reserve_bytes);
            self.lock().space.check(self.disk.io(), &self.dir, bytes, keep)
        };
        check().or_else(|_| {
            self.owner()?.release_reserve();
            check()
        })
    }

    /// Answers all requests that may not use the reserve; gives the others.
    fn refuse_puts(&self, group: Vec<Request>, full: &Error) -> Vec<Request> {
        let (keep, refuse): (Vec<_>, Vec<_>) = group.into_iter().partition(|r| r.uses_reserve);
        for request in refuse {
            self.answer(request, Err(full.clone()));
        }
        keep
    }

    fn answer(&self, request: Request, outcome: Result<Ack>) {
        self.forget(request).give(outcome);
    }

    /// Lets go of a request that is about to be answered.
    fn forget(&self, request: Request) -> Reply<Ack> {
        self.queued_bytes.fetch_sub(request.proposal.bytes() as u64, Ordering::Relaxed);
        request.reply
    }
}

/// Says of chains that they are lost, where a track ends at `end` for good.
pub(super) fn lose(chains: &mut VecDeque<Unapplied>, track: TrackId, end: u32, error: &Error) {
    for chain in chains.iter_mut().filter(|chain| chain.track == track && chain.end() > end) {
        chain.lost.get_or_insert_with(|| error.clone());
    }
}

/// What a chain of so many bytes takes at most: whole chunks with headers, the ends of its directory
/// and of its packed values, and perhaps the header of a new track. Counting less would eat up the
/// room that is kept for deletes.
fn most_bytes(bytes: usize) -> u64 {
    ((bytes / PAYLOAD_BYTES + 3) * CHUNK_BYTES) as u64
}
