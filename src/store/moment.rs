//! Which objects are there at one moment: one that has expired is gone for every reader, before its
//! record and its bytes are.

use std::sync::Arc;

use super::Shared;
use super::retention::Rules;
use crate::disk::Owner;
use crate::format::record::Meta;

/// A time, and what has expired by then.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    now_ms: u64,
    /// The rules that were in force, where any of them gives objects an age.
    rules: Option<Arc<Rules>>,
}

impl Moment {
    /// What has expired at `now_ms` under these rules.
    pub(crate) fn under(rules: Arc<Rules>, now_ms: u64) -> Self {
        Moment { now_ms, rules: Some(rules) }
    }

    /// Whether the object of the entry that `key` has is there.
    pub(crate) fn has(&self, key: &[u8], meta: &Meta<'_>) -> bool {
        match &self.rules {
            None => meta.expires_ms.is_none_or(|expires_ms| self.now_ms < expires_ms),
            Some(rules) => !rules.is_over(key, meta, self.now_ms),
        }
    }

    /// Whether a rule gives objects an age whose keys begin with `prefix`, or some of them.
    pub(crate) fn has_ages(&self, prefix: &[u8]) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.has_ages_in(prefix))
    }
}

impl Shared {
    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now_ms: self.now_ms(), rules: self.retention.aging() }
    }
}
