//! A rule: what is kept under a prefix.

use std::time::Duration;

use crate::error::{Error, Result};

/// How long, and how many bytes of, the objects are kept whose keys begin with a prefix.
///
/// - [`max_age`](Self::max_age): an object is gone when so much time has passed since it was put
///   ([`Info::created_ms`](crate::Info::created_ms)). Not since its source was modified: an old
///   file that is imported would be gone on arrival.
/// - [`max_bytes`](Self::max_bytes): when the objects' values come to more bytes than this, the
///   oldest are deleted, by the time of their put and among puts of one millisecond by seq, until
///   they come to no more than 98 % of it.
///
/// Of several rules whose prefixes a key has, all apply, and beside them what the put said
/// ([`PutOptions::expires_ms`](crate::PutOptions::expires_ms)): the first that wants an object gone
/// decides. A rule needs a limit at least, and a limit is at least 1 (ms, byte).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let home = dir.path();
/// use kogia::RetentionRule;
/// use std::time::Duration;
///
/// let week = Duration::from_secs(7 * 24 * 3600);
/// let store = kogia::Options::new()
///     .retention(RetentionRule::new("camera-1/").max_age(week).max_bytes(500 << 30))
///     .retention(RetentionRule::new("").max_bytes(1 << 40))
///     .open(home)?;
/// assert_eq!(store.retention()[0].prefix(), b"camera-1/");
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionRule {
    pub(super) prefix: Vec<u8>,
    pub(super) max_age: Option<Duration>,
    pub(super) max_bytes: Option<u64>,
}

impl RetentionRule {
    /// A rule for the keys that begin with `prefix`, which still needs a limit.
    #[must_use]
    pub fn new(prefix: impl AsRef<[u8]>) -> Self {
        RetentionRule { prefix: prefix.as_ref().to_vec(), max_age: None, max_bytes: None }
    }

    /// How old an object gets, counted in milliseconds from its put.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The most bytes that the objects' values come to.
    ///
    /// They are counted, and the oldest deleted, soon after a put has passed the limit, not with it.
    /// An object that is larger than the limit does not stay.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// What the keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let wrong = match (self.max_age, self.max_bytes) {
            (None, None) => "has neither a greatest age nor a greatest number of bytes",
            (Some(age), _) if age.as_millis() == 0 => "has a greatest age below 1 ms",
            (_, Some(0)) => "has a greatest number of bytes of 0",
            _ => return Ok(()),
        };
        let what = format!("the retention rule for `{}` {wrong}", self.prefix.escape_ascii());
        Err(Error::invalid(what))
    }
}
