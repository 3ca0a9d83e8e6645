//! Listing and iteration, in the byte order of the keys.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::paging::{self, ListOptions};
use super::walk::{Merged, Objects, Present};
use super::{Info, Moment};
use crate::error::Result;
use crate::format::record::Space;
use crate::index::{View, ViewRef};

/// Rows that an iteration goes over at once: RocksDB's iterators hold memory, so none is kept.
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

pub(crate) fn list(view: &View<'_>, moment: &Moment, options: &ListOptions) -> Result<Page> {
    match Merged::new(view, moment, options)? {
        Some(merged) => page(merged, options),
        None => page(Present::new(view, moment), options),
    }
}

fn page<O: Objects>(mut objects: O, options: &ListOptions) -> Result<Page> {
    if !paging::seek_start(&mut objects, options) {
        return Ok(Page::default());
    }
    if let Some(page) = objects.page_of_prefixes()? {
        return Ok(page);
    }
    let take = |objects: &O| {
        let (key, entry) = objects.entry()?.expect("the walk is at a key");
        Ok(Item::Object { key: key.to_vec(), info: Info::of(&entry) })
    };
    let common = |prefix: &[u8]| Item::Prefix(prefix.to_vec());
    let (items, next) = paging::page(&mut objects, options, take, common)?;
    Ok(Page { items, next })
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
    moment: Moment,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    front: VecDeque<(Vec<u8>, Info)>,
    back: VecDeque<(Vec<u8>, Info)>,
    failed: bool,
}

impl<'a> Iter<'a> {
    pub(crate) fn new(view: ViewRef<'a>, moment: Moment, range: impl RangeBounds<Vec<u8>>) -> Self {
        Iter {
            view,
            moment,
            start: range.start_bound().cloned(),
            end: range.end_bound().cloned(),
            front: VecDeque::new(),
            back: VecDeque::new(),
            failed: false,
        }
    }

    /// Fetches the next page from the front, and moves the start behind it. Says whether it came to
    /// any row.
    fn fetch_front(&mut self) -> Result<bool> {
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
        let mut last = None;
        for _ in 0..ITERATION_PAGE {
            let Some((key, entry)) = cursor.entry()?.filter(|(key, _)| below(key, &self.end))
            else {
                break;
            };
            if self.moment.has(key, &entry.meta) {
                self.front.push_back((key.to_vec(), Info::of(&entry)));
            }
            keep(&mut last, key);
            cursor.next();
        }
        let came = last.is_some();
        if let Some(last) = last {
            self.start = Bound::Excluded(last);
        }
        Ok(came)
    }

    /// Fetches the next page from the back, and moves the end before it. Says whether it came to any
    /// row.
    fn fetch_back(&mut self) -> Result<bool> {
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
        let mut last = None;
        for _ in 0..ITERATION_PAGE {
            let Some((key, entry)) = cursor.entry()?.filter(|(key, _)| above(key, &self.start))
            else {
                break;
            };
            if self.moment.has(key, &entry.meta) {
                self.back.push_back((key.to_vec(), Info::of(&entry)));
            }
            keep(&mut last, key);
            cursor.prev();
        }
        let came = last.is_some();
        if let Some(last) = last {
            self.end = Bound::Excluded(last);
        }
        Ok(came)
    }
}

impl Iterator for Iter<'_> {
    type Item = Result<(Vec<u8>, Info)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        while self.front.is_empty() {
            match self.fetch_front() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
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
        while self.back.is_empty() {
            match self.fetch_back() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
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

/// Makes `key` the last one, in the memory of the one before.
fn keep(last: &mut Option<Vec<u8>>, key: &[u8]) {
    let last = last.get_or_insert_default();
    last.clear();
    last.extend_from_slice(key);
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
