//! Locks of versions: nobody deletes one before its time.
//!
//! A version's lock has a row of its own, since it may change and a version's bytes never do. The row is
//! there before the version and goes with it, so that no crash leaves a version without the lock that it
//! was put with. An upload has a row of the same kind, with what is to become of its object.
//!
//! Only what has a version's name can be locked: an object from before its bucket kept versions can't.

use kogia::{Batch, Store};
use serde::{Deserialize, Serialize};

use super::settings::{DAY_MS, Settings};
use super::{keys, rows};
use crate::error::Result;

const YEAR_DAYS: u64 = 365;

/// Who may end a retention early.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mode {
    /// Whoever may configure the bucket, and says that it is meant.
    Governance,
    /// Nobody.
    Compliance,
}

/// Until when a version is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Retention {
    pub mode: Mode,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

/// The retention of versions that are put without one of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: Mode,
    pub period: Period,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Period {
    Days(u32),
    Years(u32),
}

/// That a bucket's versions can be locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Locking {
    pub default: Option<DefaultRetention>,
}

/// The lock of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lock {
    pub retention: Option<Retention>,
    /// It is kept until this is taken back, if it was ever given.
    pub legal_hold: Option<bool>,
}

impl Lock {
    /// Whether the version must not be deleted, by one who passes over [`Mode::Governance`] or not.
    #[must_use]
    pub fn holds(&self, now_ms: u64, bypasses: bool) -> bool {
        let retention = self.retained(now_ms);
        self.legal_hold == Some(true)
            || retention.is_some_and(|kept| !bypasses || kept.mode == Mode::Compliance)
    }

    /// Whether another retention may take the place of this one: what is kept is kept as long, unless it
    /// is passed over.
    #[must_use]
    pub fn yields_to(&self, new: Option<Retention>, now_ms: u64, bypasses: bool) -> bool {
        match (self.retained(now_ms), new) {
            (None, _) => true,
            (Some(old), Some(new)) if new.mode == old.mode && new.until_ms >= old.until_ms => true,
            (Some(old), _) => bypasses && old.mode == Mode::Governance,
        }
    }

    fn retained(&self, now_ms: u64) -> Option<Retention> {
        self.retention.filter(|retention| retention.until_ms > now_ms)
    }

    /// The lock of a version that is put now, of which this was asked.
    #[must_use]
    pub fn or_default(self, settings: &Settings, now_ms: u64) -> Self {
        let default = settings.locking.and_then(|locking| locking.default);
        let retention = default.map(|DefaultRetention { mode, period }| {
            let days = match period {
                Period::Days(days) => u64::from(days),
                Period::Years(years) => u64::from(years) * YEAR_DAYS,
            };
            Retention { mode, until_ms: now_ms.saturating_add(days.saturating_mul(DAY_MS)) }
        });
        Lock { retention: self.retention.or(retention), ..self }
    }
}

/// The lock of the version, or upload, of this row.
pub fn of(store: &Store, row: &[u8]) -> Result<Lock> {
    Ok(find(store, row)?.unwrap_or_default())
}

/// The same, if it has a row: one without a lock may have had one.
pub fn find(store: &Store, row: &[u8]) -> Result<Option<Lock>> {
    let found = store.get(keys::lock(row))?;
    Ok(found.map(|row| rows::decode(&row)).transpose()?)
}

/// Sets the lock of the version of this row; durable when this returns. The caller holds the key's lock.
pub fn set(store: &Store, row: &[u8], lock: Lock) -> Result<()> {
    store.put(keys::lock(row), rows::encode(&lock))?;
    Ok(())
}

/// Adds the lock of a version, or upload, of this row to a batch, if there is anything to it.
pub fn put(batch: &mut Batch, row: &[u8], lock: Lock) {
    if lock != Lock::default() {
        batch.put(keys::lock(row), rows::encode(&lock));
    }
}

/// Has the lock go of a version, or upload, of this row, if it has one.
pub fn delete(store: &Store, batch: &mut Batch, row: &[u8]) -> Result<()> {
    if store.exists(keys::lock(row))? {
        batch.delete(keys::lock(row));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(mode: Mode, until_ms: u64) -> Lock {
        Lock { retention: Some(Retention { mode, until_ms }), legal_hold: None }
    }

    #[test]
    fn a_lock_holds_until_its_time_or_until_it_is_taken_back() {
        let (governed, strict) = (retained(Mode::Governance, 10), retained(Mode::Compliance, 10));
        for bypasses in [false, true] {
            assert!(strict.holds(9, bypasses) && !strict.holds(10, bypasses));
            assert_eq!(governed.holds(9, bypasses), !bypasses);
            assert!(!governed.holds(10, bypasses) && !Lock::default().holds(0, bypasses));
            assert!(Lock { legal_hold: Some(true), ..Lock::default() }.holds(99, bypasses));
            assert!(!Lock { legal_hold: Some(false), ..Lock::default() }.holds(99, bypasses));
        }
    }

    #[test]
    fn a_retention_becomes_longer_and_no_weaker() {
        use Mode::{Compliance, Governance};
        let new = |mode, until_ms| Some(Retention { mode, until_ms });
        let cases = [
            (Governance, new(Governance, 11), [true, true]),
            (Governance, new(Governance, 9), [false, true]),
            (Governance, new(Compliance, 11), [false, true]),
            (Governance, None, [false, true]),
            (Compliance, new(Compliance, 11), [true, true]),
            (Compliance, new(Compliance, 9), [false, false]),
            (Compliance, new(Governance, 11), [false, false]),
            (Compliance, None, [false, false]),
        ];
        for (mode, new, yields) in cases {
            let lock = retained(mode, 10);
            assert_eq!(
                [false, true].map(|by| lock.yields_to(new, 5, by)),
                yields,
                "{mode:?} {new:?}"
            );
            assert!(lock.yields_to(new, 10, false), "what is over yields to anything");
        }
    }

    #[test]
    fn a_default_counts_from_when_a_version_comes_and_only_where_nothing_was_asked() {
        let default = DefaultRetention { mode: Mode::Governance, period: Period::Years(1) };
        let locking = Some(Locking { default: Some(default) });
        let settings = Settings { locking, ..Settings::default() };
        let by_default = Lock::default().or_default(&settings, 5);
        assert_eq!(by_default, retained(Mode::Governance, 5 + 365 * DAY_MS));
        let asked = retained(Mode::Compliance, 7);
        assert_eq!(asked.or_default(&settings, 5), asked);
        assert_eq!(Lock::default().or_default(&Settings::default(), 5), Lock::default());
    }
}
