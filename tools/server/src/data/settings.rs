//! What a bucket is set to, beside its name: a row in partition 0, held in memory.

use serde::{Deserialize, Serialize};

use super::locks::Locking;
use super::rows::{self, NoRow};
use super::tags::Tags;

/// Settings with locks, or with rules that ask for more than a prefix and days.
const WITH_MORE: u8 = 2;

/// What settings are counted in.
pub const DAY_MS: u64 = 24 * 3600 * 1000;

/// Settings of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    pub versioning: Versioning,
    pub lifecycle: Vec<LifecycleRule>,
    pub cors: Vec<CorsRule>,
    pub tags: Tags,
    /// Whether versions can be locked, and for how long they are.
    #[serde(skip)]
    pub locking: Option<Locking>,
}

/// What becomes of an object that is overwritten or deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Versioning {
    /// It is gone, and always was.
    #[default]
    Never,
    /// It stays as a version.
    Enabled,
    /// It is gone, and the versions stay that are there already.
    Suspended,
}

/// When objects go by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LifecycleRule {
    pub id: String,
    /// Rules that are not enabled are kept, and nothing else.
    pub enabled: bool,
    pub prefix: String,
    /// Whether the prefix was given outside of a filter, as it was before there were filters.
    pub prefix_alone: bool,
    /// Days after which an object goes.
    pub days: Option<u32>,
    /// Whether a deletion goes with the last version that it hides.
    pub lone_markers: bool,
    pub noncurrent: Option<Noncurrent>,
    /// Days after which an upload that was not completed is aborted.
    pub upload_days: Option<u32>,
    /// What has to hold of an object beside its prefix.
    #[serde(skip)]
    pub filter: Filter,
    /// The moment from which objects go, however old they are, in milliseconds since 1970.
    #[serde(skip)]
    pub date_ms: Option<u64>,
}

/// Which of the objects that have the prefix of a rule it is about: all, where it is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    /// They have all of these.
    pub tags: Tags,
    /// They have more bytes than this.
    pub larger_than: Option<u64>,
    /// They have fewer.
    pub smaller_than: Option<u64>,
}

impl Settings {
    /// The row of settings, which are decoded by [`decode`](Self::decode).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let asks_more = |rule: &LifecycleRule| !rule.is_of_all() || rule.date_ms.is_some();
        if !self.lifecycle.iter().any(asks_more) && self.locking.is_none() {
            return rows::encode(self);
        }
        let more: Vec<_> = self.lifecycle.iter().map(|rule| (&rule.filter, rule.date_ms)).collect();
        rows::encode_as(WITH_MORE, &(self, more, self.locking))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NoRow> {
        if bytes.first() != Some(&WITH_MORE) {
            return rows::decode(bytes);
        }
        let (mut settings, more, locking): (Settings, Vec<(Filter, Option<u64>)>, _) =
            rows::decode_as(WITH_MORE, bytes)?;
        settings.locking = locking;
        if more.len() != settings.lifecycle.len() {
            return Err(NoRow::new("a bucket's settings have rules without filters"));
        }
        for (rule, (filter, date_ms)) in settings.lifecycle.iter_mut().zip(more) {
            (rule.filter, rule.date_ms) = (filter, date_ms);
        }
        Ok(settings)
    }
}

impl LifecycleRule {
    /// Whether it is about all objects that have its prefix.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        self.filter == Filter::default()
    }
}

/// When versions go that are not current any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Noncurrent {
    /// Days since something newer was there.
    pub days: u32,
    /// So many of the newest of them stay.
    pub keep: u32,
}

/// Which pages of other origins may ask for what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CorsRule {
    pub id: Option<String>,
    /// Each with one `*` at most.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Each with one `*` at most.
    pub headers: Vec<String>,
    pub exposed: Vec<String>,
    pub max_age_seconds: Option<u32>,
}
