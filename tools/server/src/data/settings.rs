//! What a bucket is set to, beside its name: a row in partition 0, held in memory.

use serde::{Deserialize, Serialize};

use super::tags::Tags;

/// Settings of a bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    pub versioning: Versioning,
    pub lifecycle: Vec<LifecycleRule>,
    pub cors: Vec<CorsRule>,
    pub tags: Tags,
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
