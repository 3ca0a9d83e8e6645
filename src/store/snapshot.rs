//! One moment of a store.

use std::ops::{Range, RangeBounds};

use super::pins::Pin;
use super::{Info, Iter, ListOptions, Moment, Page, Reader, Shared, list};
use crate::error::Result;
use crate::index::{View, ViewRef};

/// The store as it was at one moment, whatever is written, deleted or freed meanwhile, and whatever
/// expires: what was there when it was taken stays in it.
///
/// Taking one costs a few hundred nanoseconds. While it lives, the chunks of objects that are
/// overwritten or deleted after it was taken are not given back, nor are their rows in the index;
/// it holds nothing else.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.put("key", "old")?;
/// let snapshot = store.snapshot()?;
/// store.put("key", "new")?;
/// assert_eq!(snapshot.get("key")?.as_deref(), Some(&b"old"[..]));
/// # Ok::<_, kogia::Error>(())
/// ```
pub struct Snapshot<'a> {
    shared: &'a Shared,
    view: View<'a>,
    moment: Moment,
    _pin: Pin<'a>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        // Pin, then look: what is freed between the two is still there (invariant I4).
        let pin = shared.pins.pin();
        Snapshot { shared, view: shared.index.snapshot(), moment: shared.moment(), _pin: pin }
    }

    /// An object's value; see [`Store::get`](crate::Store::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        Ok(self
            .shared
            .get(&self.view, &self.moment, key.as_ref(), None, &mut value)?
            .map(|_| value))
    }

    /// A part of an object's value; see [`Store::get_range`](crate::Store::get_range).
    pub fn get_range(&self, key: impl AsRef<[u8]>, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        let (view, moment) = (&self.view, &self.moment);
        let found = self.shared.get(view, moment, key.as_ref(), Some(range), &mut value)?;
        Ok(found.map(|_| value))
    }

    /// What is known of an object; see [`Store::head`](crate::Store::head).
    pub fn head(&self, key: impl AsRef<[u8]>) -> Result<Option<Info>> {
        self.shared.head(&self.view, &self.moment, key.as_ref())
    }

    /// Whether an object is there.
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.head(key)?.is_some())
    }

    /// A reader of an object, of this same moment.
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<Reader<'_>>> {
        Reader::open(self.shared, ViewRef::Of(&self.view), &self.moment, None, key.as_ref())
    }

    /// One page of a listing; see [`Store::list`](crate::Store::list).
    pub fn list(&self, options: &ListOptions) -> Result<Page> {
        list::list(&self.view, &self.moment, options)
    }

    /// The objects of a range, from either end.
    pub fn iter(&self, range: impl RangeBounds<Vec<u8>>) -> Iter<'_> {
        Iter::new(ViewRef::Of(&self.view), self.moment.clone(), range)
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
