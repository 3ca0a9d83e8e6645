//! How long objects are kept: until the time that their put said, and as rules by prefix say.
//!
//! Readers judge by the clock ([`Moment`](super::Moment)), so that what has expired is gone before
//! it is deleted. A [`Pass`] deletes it: with ordinary tombstones, so that no older version comes
//! back in a rebuild, and only what is still as it was seen. What that frees comes back as after any
//! delete.
//!
//! A pass walks rows, so none is begun without need: each [`Area`] keeps bounds in memory that say
//! when there can be something to do. Nothing here survives a restart; after it each area is walked
//! once.

mod area;
mod oldest;
mod pass;
mod rule;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use area::{Area, Lifetime};
pub(crate) use pass::Pass;
pub use pass::{ExpireOptions, ExpireReport};
pub use rule::RetentionRule;

use super::Shared;
use crate::error::Result;
use crate::format::chain::DirectoryEntry;
use crate::format::record::{Meta, Put, Record, Space};

/// The rules in force, and what is known of the objects under each.
#[derive(Debug)]
pub(crate) struct Rules {
    given: Vec<RetentionRule>,
    /// First the objects' own expiry, then one for each rule.
    areas: Vec<Arc<Area>>,
}

/// The retention of a store.
#[derive(Debug)]
pub(crate) struct Retention {
    /// A leaf lock.
    rules: RwLock<Arc<Rules>>,
    has_ages: AtomicBool,
    /// Held while a pass deletes, and while the rules change: nothing is deleted by a rule that is
    /// no longer in force. Taken before any gate.
    deleting: Mutex<()>,
}

impl Rules {
    fn new(given: &[RetentionRule], before: Option<&Rules>) -> Self {
        let own = Area::new(&[], Lifetime::Own, None);
        let ruled = given.iter().map(|rule| {
            let age = rule.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            Area::new(&rule.prefix, age.map_or(Lifetime::Endless, Lifetime::Aged), rule.max_bytes)
        });
        // What is known of an area that stays need not be found out again.
        let known = |area: Area| {
            let same = |known: &&Arc<Area>| known.is_like(&area);
            let known = before.and_then(|before| before.areas.iter().find(same));
            known.cloned().unwrap_or_else(|| Arc::new(area))
        };
        let areas = std::iter::once(own).chain(ruled).map(known).collect();
        Rules { given: given.to_vec(), areas }
    }

    /// These and some more.
    fn with(self: &Arc<Self>, more: &[RetentionRule]) -> Arc<Rules> {
        if more.is_empty() {
            return self.clone();
        }
        Arc::new(Rules::new(&[&self.given, more].concat(), Some(self)))
    }

    /// Whether an object has expired at `now_ms`, by its put's word or by a rule.
    pub(crate) fn is_over(&self, key: &[u8], meta: &Meta<'_>, now_ms: u64) -> bool {
        self.areas.iter().any(|area| {
            key.starts_with(&area.prefix) && area.expires_ms(meta).is_some_and(|at| at <= now_ms)
        })
    }

    fn has_ages(&self) -> bool {
        self.has_ages_in(&[])
    }

    /// Whether any objects have an age whose keys begin with `prefix`.
    pub(crate) fn has_ages_in(&self, prefix: &[u8]) -> bool {
        self.areas.iter().any(|area| {
            let overlap = area.prefix.starts_with(prefix) || prefix.starts_with(&area.prefix);
            overlap && matches!(area.lifetime, Lifetime::Aged(_))
        })
    }
}

impl Retention {
    /// The rules that a store is opened with. Unless a limit calls, its areas rest at first: an
    /// opening that is over soon walks over nothing.
    pub(crate) fn new(given: &[RetentionRule], rest: Duration) -> Self {
        let rules = Rules::new(given, None);
        rules.areas.iter().for_each(|area| area.rest(rest));
        Retention {
            has_ages: AtomicBool::new(rules.has_ages()),
            rules: RwLock::new(Arc::new(rules)),
            deleting: Mutex::default(),
        }
    }

    /// The rules in force.
    fn rules(&self) -> Arc<Rules> {
        self.rules.read().expect("no panic holds it").clone()
    }

    /// The rules in force, if any of them gives objects an age.
    pub(crate) fn aging(&self) -> Option<Arc<Rules>> {
        self.has_ages.load(Ordering::Acquire).then(|| self.rules())
    }

    /// The rules as they were given.
    pub(crate) fn given(&self) -> Vec<RetentionRule> {
        self.rules().given.clone()
    }

    fn set(&self, given: &[RetentionRule]) {
        let _deleting = self.deleting();
        let mut rules = self.rules.write().expect("no panic holds it");
        *rules = Arc::new(Rules::new(given, Some(&rules)));
        self.has_ages.store(rules.has_ages(), Ordering::Release);
    }

    fn deleting(&self) -> MutexGuard<'_, ()> {
        self.deleting.lock().expect("no panic holds it")
    }

    /// Takes account of puts; says whether a rule's limit may have been passed with them.
    ///
    /// The puts are in the index already: a walk that begins between the two sees them, and one that
    /// began before leaves what is said here alone.
    fn note<'r>(&self, puts: impl Iterator<Item = &'r Put<'r>> + Clone) -> bool {
        let rules = self.rules();
        // Each is to be told, so this does not end at the first that asks.
        rules.areas.iter().fold(false, |asks, area| area.note(puts.clone()) | asks)
    }
}

impl Shared {
    /// Changes the rules.
    pub(crate) fn set_retention(&self, rules: &[RetentionRule]) -> Result<()> {
        rules.iter().try_for_each(RetentionRule::validate)?;
        self.retention.set(rules);
        self.checkpoints.request_expiry();
        Ok(())
    }

    /// Takes account of what was put.
    pub(crate) fn note_puts(&self, records: &[DirectoryEntry<'_>]) {
        let puts = records.iter().filter_map(|entry| match &entry.record {
            Record::Put(put) if put.space == Space::Object => Some(put),
            _ => None,
        });
        if self.retention.note(puts) {
            self.checkpoints.request_expiry();
        }
    }
}
