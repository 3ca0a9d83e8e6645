//! What is known, without a look at the index, of the objects that one rule is about.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::format::record::{Meta, Put};

/// What ends an object's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// What its put said.
    Own,
    /// So many milliseconds since its put.
    Aged(u64),
    /// Nothing.
    Endless,
}

/// The objects whose keys begin with a prefix, and bounds on when one of them has to go.
///
/// The bounds are on the safe side: a walk may find nothing to do, but where they say that there is
/// nothing to do, there is nothing.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) prefix: Vec<u8>,
    pub(super) lifetime: Lifetime,
    pub(super) max_bytes: Option<u64>,
    /// None of the objects expires before this. Unknown at first, which is 0.
    earliest_ms: AtomicU64,
    /// What `put_bytes` has to come to before the objects can come to more than `max_bytes`.
    full_at: AtomicU64,
    /// Walks that are under way, which have taken the two above with them.
    walks: AtomicUsize,
    /// Value bytes that were put since the area is known.
    put_bytes: AtomicU64,
    /// Whether a put has asked for a walk since the last one ended.
    asked: AtomicBool,
    /// For so long from then on no walk is begun because of the time alone.
    rest: Mutex<Rest>,
}

/// Time in which no walk is begun.
#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    lasts: Duration,
    /// Whether the last walk was given up: then not for a limit either.
    failed: bool,
}

/// What an area knew when a walk began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    earliest_ms: u64,
    full_at: u64,
    put_bytes: u64,
}

impl Area {
    pub(super) fn new(prefix: &[u8], lifetime: Lifetime, max_bytes: Option<u64>) -> Self {
        let expires = lifetime != Lifetime::Endless;
        Area {
            prefix: prefix.to_vec(),
            lifetime,
            max_bytes,
            earliest_ms: AtomicU64::new(if expires { 0 } else { u64::MAX }),
            put_bytes: AtomicU64::new(0),
            full_at: AtomicU64::new(if max_bytes.is_some() { 0 } else { u64::MAX }),
            walks: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            rest: Mutex::new(Rest { since: Instant::now(), lasts: Duration::ZERO, failed: false }),
        }
    }

    /// Whether both are about the same.
    pub(super) fn is_like(&self, other: &Area) -> bool {
        (&self.prefix, self.lifetime, self.max_bytes)
            == (&other.prefix, other.lifetime, other.max_bytes)
    }

    /// When an object of this area expires, as far as this area says.
    pub(super) fn expires_ms(&self, meta: &Meta<'_>) -> Option<u64> {
        match self.lifetime {
            Lifetime::Own => meta.expires_ms,
            Lifetime::Aged(ms) => Some(meta.created_ms.saturating_add(ms)),
            Lifetime::Endless => None,
        }
    }

    /// Takes account of puts; says whether a walk is to be begun at once, only once a walk.
    pub(super) fn note<'r>(&self, puts: impl Iterator<Item = &'r Put<'r>>) -> bool {
        let (mut bytes, mut earliest_ms) = (0, u64::MAX);
        for put in puts.filter(|put| put.key.starts_with(&self.prefix)) {
            earliest_ms = earliest_ms.min(self.expires_ms(&put.meta).unwrap_or(u64::MAX));
            bytes += put.meta.len;
        }
        if earliest_ms < self.earliest_ms.load(Ordering::Acquire) {
            self.earliest_ms.fetch_min(earliest_ms, Ordering::AcqRel);
        }
        if self.max_bytes.is_none() || bytes == 0 {
            return false;
        }
        self.put_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.may_be_full() && !self.asked.swap(true, Ordering::AcqRel)
    }

    /// Whether something may have expired at `now_ms`, or the limit been passed, as far as no walk
    /// that is under way sees to it.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.may_be_full() || self.earliest_ms.load(Ordering::Acquire) <= now_ms
    }

    /// Whether it is due, or a walk that is under way is not yet done with what was.
    pub(super) fn may_be_behind(&self, now_ms: u64) -> bool {
        let is_walked = || self.walks.load(Ordering::Acquire) > 0;
        // Due once more: a walk that has just ended has not seen what expired while it went on.
        self.is_due(now_ms) || is_walked() || self.is_due(now_ms)
    }

    /// [`is_due`](Self::is_due) for the housekeeper, which lets time pass between walks.
    pub(super) fn is_due_again(&self, now_ms: u64) -> bool {
        let Rest { since, lasts, failed } = *self.rest.lock().expect("no panic holds it");
        let has_rested = since.elapsed() >= lasts;
        (has_rested || !failed) && self.may_be_full() || has_rested && self.is_due(now_ms)
    }

    /// Lets it rest, from now on.
    pub(super) fn rest(&self, lasts: Duration) {
        self.set_rest(lasts, false);
    }

    /// The same after a walk that was given up, which would end no better at once.
    pub(super) fn rest_after_failure(&self, lasts: Duration) {
        self.set_rest(lasts, true);
    }

    fn set_rest(&self, lasts: Duration, failed: bool) {
        let rest = Rest { since: Instant::now(), lasts, failed };
        *self.rest.lock().expect("no panic holds it") = rest;
    }

    fn may_be_full(&self) -> bool {
        self.put_bytes.load(Ordering::Acquire) >= self.full_at.load(Ordering::Acquire)
    }

    /// A walk over all objects begins: what is put from now on, it may not see. Until it ends, the
    /// area is due for what is put meanwhile alone.
    pub(super) fn begin(&self) -> Before {
        // Before it takes them: whoever does not find them any more finds the walk.
        self.walks.fetch_add(1, Ordering::AcqRel);
        Before {
            full_at: self.full_at.swap(u64::MAX, Ordering::AcqRel),
            earliest_ms: self.earliest_ms.swap(u64::MAX, Ordering::AcqRel),
            put_bytes: self.put_bytes.load(Ordering::Acquire),
        }
    }

    /// The walk was given up.
    pub(super) fn give_up(&self, before: Before) {
        self.learn(before.earliest_ms, before.full_at);
    }

    /// The walk has come to its end, and left objects of `total_bytes`, none of which expires before
    /// `earliest_ms`.
    pub(super) fn end(&self, before: Before, earliest_ms: u64, total_bytes: u64) {
        let full_at = self.max_bytes.map_or(u64::MAX, |max_bytes| {
            let room = max_bytes.saturating_sub(total_bytes).saturating_add(1);
            before.put_bytes.saturating_add(room)
        });
        self.learn(earliest_ms, full_at);
    }

    fn learn(&self, earliest_ms: u64, full_at: u64) {
        self.earliest_ms.fetch_min(earliest_ms, Ordering::AcqRel);
        self.full_at.fetch_min(full_at, Ordering::AcqRel);
        self.asked.store(false, Ordering::Release);
        self.walks.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_calls_at_once_but_not_again_where_a_walk_has_failed() {
        let area = Area::new(b"", Lifetime::Endless, Some(10));
        area.rest(Duration::from_secs(3600));
        assert!(area.is_due_again(0));
        let before = area.begin();
        assert!(!area.is_due_again(0));
        area.give_up(before);
        area.rest_after_failure(Duration::from_secs(3600));
        assert!(area.is_due(0) && !area.is_due_again(0));
        area.rest_after_failure(Duration::ZERO);
        assert!(area.is_due_again(0));
    }
}
