//! Objects, versions and uploads that go by themselves.
//!
//! Where a bucket keeps no versions, rules by prefix and age are rules of the store: an object is gone for
//! every reader at that moment, and its space follows. For all else the bucket is walked through now and
//! then: the deletion of an object leaves a version, and a store knows neither tags nor dates.

#[cfg(test)]
mod tests;
mod walk;

use kogia::RetentionRule;

use super::buckets::Bucket;
use super::keys::{self, BucketId};
use super::settings::{DAY_MS, LifecycleRule, Settings, Versioning};
use super::tags;
use super::versions::Place;
use crate::error::Result;

pub use walk::{apply, end_uploads};

/// The store's rules for a bucket with these settings.
pub fn retention(bucket: BucketId, settings: &Settings) -> Vec<RetentionRule> {
    if settings.versioning != Versioning::Never {
        return Vec::new();
    }
    let rules = settings.lifecycle.iter().filter(|rule| rule.enabled && rule.is_of_all());
    rules
        .filter_map(|rule| {
            let age = std::time::Duration::from_millis(u64::from(rule.days?) * DAY_MS);
            let objects = keys::object(bucket, &rule.prefix);
            // Tags are set behind their object, and so do not go before it.
            let tags = keys::tags(&objects);
            Some([objects, tags].map(|prefix| RetentionRule::new(prefix).max_age(age)))
        })
        .flatten()
        .collect()
}

/// What rules ask of an object.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    pub key: &'a str,
    pub created_ms: u64,
    pub len: u64,
    pub tags: &'a [(String, String)],
}

/// When an object goes by a rule of its bucket, and by which.
#[must_use]
pub fn expiry<'r>(settings: &'r Settings, object: Traits<'_>) -> Option<(u64, &'r str)> {
    let rules = settings.lifecycle.iter().filter(|rule| {
        rule.enabled
            && object.key.starts_with(&rule.prefix)
            && rule.fits_len(object.len)
            && rule.fits_tags(object.tags)
    });
    rules.filter_map(|rule| Some((rule.end_ms(object.created_ms)?, &*rule.id))).min()
}

impl LifecycleRule {
    /// When an object goes that was created then, if it is one of those that the rule is about.
    fn end_ms(&self, created_ms: u64) -> Option<u64> {
        let by_age = |days| created_ms.saturating_add(u64::from(days).saturating_mul(DAY_MS));
        // What comes later than the date goes at once.
        self.days.map(by_age).or(self.date_ms.map(|date| date.max(created_ms)))
    }

    fn is_over(&self, created_ms: u64, now_ms: u64) -> bool {
        self.end_ms(created_ms).is_some_and(|end| end <= now_ms)
    }

    /// Whether objects of a bucket without versions go by it that their store does not delete.
    fn is_walked(&self) -> bool {
        self.date_ms.is_some() || self.days.is_some() && !self.is_of_all()
    }

    fn fits_len(&self, len: u64) -> bool {
        self.filter.larger_than.is_none_or(|least| len > least)
            && self.filter.smaller_than.is_none_or(|most| len < most)
    }

    fn fits_tags(&self, tags: &[(String, String)]) -> bool {
        self.filter.tags.iter().all(|tag| tags.contains(tag))
    }

    /// Whether it is about an object, or a version, that has its prefix.
    fn fits(&self, bucket: &Bucket, place: &Place) -> Result<bool> {
        Ok(self.fits_len(place.info.len)
            && (self.filter.tags.is_empty() || self.fits_tags(&tags::of(&bucket.store, place)?)))
    }
}
