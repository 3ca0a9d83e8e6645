//! Listing and iteration, in the byte order of the keys.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::Info;
use super::paging::{self, ListOptions, Step, Walk};
use crate::error::{Error, Result};
use crate::format::record::Space;
use crate::index::{Cursor, RowCursor, View, ViewRef};

/// Entries that an iteration fetches at once: RocksDB's iterators hold memory, so none is kept.
const ITERATION_PAGE: usize = 256;

/// One page of a listing.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let mut options = kogia::ListOptions { max_keys: 10, ..Default::default() };
/// loop {
///     let page: kogia::Page = store.list(&options)?;
///     // Use `page.items` here.
///     options.start_after = page.next;
///     if options.start_after.is_none() {
///         break;
///     }
/// }
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// The entries, in byte order.
    pub items: Vec<Item>,
    /// Where the next page goes on ([`ListOptions::start_after`]); `None` if this is the last.
    pub next: Option<Vec<u8>>,
}

/// An entry of a listing.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use kogia::{Item, ListOptions};
///
/// store.put("a/1", "")?;
/// store.put("b", "")?;
/// let options = ListOptions { delimiter: Some(b"/".to_vec()), ..ListOptions::default() };
/// let page = store.list(&options)?;
/// assert_eq!(page.items[0], Item::Prefix(b"a/".to_vec()));
/// assert!(matches!(&page.items[1], Item::Object { key, .. } if key == b"b"));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// An object.
    Object {
        /// Its key.
        key: Vec<u8>,
        /// What is known of it.
        info: Info,
    },
    /// What all keys up to a delimiter have in common.
    Prefix(Vec<u8>),
}

impl Walk for Cursor<'_> {
    type Error = Error;

    fn seek(&mut self, key: &[u8]) {
        RowCursor::seek(self, key);
    }

    fn next(&mut self) {
        RowCursor::next(self);
    }

    fn key(&self) -> Result<Option<&[u8]>> {
        Cursor::key(self)
    }
}

pub(crate) fn list(view: &View<'_>, options: &ListOptions) -> Result<Page> {
    let mut cursor = view.entries(Space::Object);
    let take = |cursor: &Cursor<'_>| {
        let (key, entry) = cursor.entry()?.expect("the walk is at a key");
        Ok((key.to_vec(), Info::of(&entry)))
    };
    let (steps, next) = paging::page(&mut cursor, options, take)?;
    let items = steps.into_iter().map(|step| match step {
        Step::Key((key, info)) => Item::Object { key, info },
        Step::Prefix(prefix) => Item::Prefix(prefix),
    });
    Ok(Page { items: items.collect(), next })
}

/// Iterates over the objects of a range, from either end, as they were when it began.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// for key in ["a", "b", "c"] {
///     store.put(key, "")?;
/// }
/// let from_b = store.iter(b"b".to_vec()..).rev();
/// let keys = from_b.map(|object| Ok(object?.0)).collect::<kogia::Result<Vec<_>>>()?;
/// assert_eq!(keys, [b"c", b"b"]);
/// # Ok::<_, kogia::Error>(())
/// ```
pub struct Iter<'a> {
    view: ViewRef<'a>,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    front: VecDeque<(Vec<u8>, Info)>,
    back: VecDeque<(Vec<u8>, Info)>,
    failed: bool,
}

impl<'a> Iter<'a> {
    pub(crate) fn new(view: ViewRef<'a>, range: impl RangeBounds<Vec<u8>>) -> Self {
        Iter {
            view,
            start: range.start_bound().cloned(),
            end: range.end_bound().cloned(),
            front: VecDeque::new(),
            back: VecDeque::new(),
            failed: false,
        }
    }

    /// Fetches the next page from the front, and moves the start behind it.
    fn fetch_front(&mut self) -> Result<()> {
        let mut cursor = self.view.entries(Space::Object);
        match &self.start {
            Bound::Unbounded => cursor.seek(&[]),
            Bound::Included(key) => cursor.seek(key),
            Bound::Excluded(key) => {
                cursor.seek(key);
                if cursor.key()? == Some(key) {
                    cursor.next();
                }
            }
        }
        while self.front.len() < ITERATION_PAGE
            && let Some((key, entry)) = cursor.entry()?
            && below(key, &self.end)
        {
            self.front.push_back((key.to_vec(), Info::of(&entry)));
            cursor.next();
        }
        if let Some((key, _)) = self.front.back() {
            self.start = Bound::Excluded(key.clone());
        }
        Ok(())
    }

    /// Fetches the next page from the back, and moves the end before it.
    fn fetch_back(&mut self) -> Result<()> {
        let mut cursor = self.view.entries(Space::Object);
        match &self.end {
            Bound::Unbounded => cursor.seek_last(),
            Bound::Included(key) => cursor.seek_back(key),
            Bound::Excluded(key) => {
                cursor.seek_back(key);
                if cursor.key()? == Some(key) {
                    cursor.prev();
                }
            }
        }
        while self.back.len() < ITERATION_PAGE
            && let Some((key, entry)) = cursor.entry()?
            && above(key, &self.start)
        {
            self.back.push_back((key.to_vec(), Info::of(&entry)));
            cursor.prev();
        }
        if let Some((key, _)) = self.back.back() {
            self.end = Bound::Excluded(key.clone());
        }
        Ok(())
    }

    fn fetched(&mut self, outcome: Result<()>) -> Option<Result<(Vec<u8>, Info)>> {
        let error = outcome.err()?;
        self.failed = true;
        Some(Err(error))
    }
}

impl Iterator for Iter<'_> {
    type Item = Result<(Vec<u8>, Info)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.front.is_empty() {
            let outcome = self.fetch_front();
            if let Some(error) = self.fetched(outcome) {
                return Some(error);
            }
        }
        // What the back has fetched lies behind all that the front can find.
        self.front.pop_front().or_else(|| self.back.pop_back()).map(Ok)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.back.is_empty() {
            let outcome = self.fetch_back();
            if let Some(error) = self.fetched(outcome) {
                return Some(error);
            }
        }
        self.back.pop_front().or_else(|| self.front.pop_back()).map(Ok)
    }
}

impl std::fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter")
            .field("start", &self.start)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

fn below(key: &[u8], end: &Bound<Vec<u8>>) -> bool {
    match end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= &end[..],
        Bound::Excluded(end) => key < &end[..],
    }
}

fn above(key: &[u8], start: &Bound<Vec<u8>>) -> bool {
    match start {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= &start[..],
        Bound::Excluded(start) => key > &start[..],
    }
}
