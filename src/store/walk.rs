//! What a listing walks over: the objects that are there, and, where it is by the delimiter that the
//! index counts by, the common prefixes in place of all that lies below them.

use std::cell::Cell;

use super::paging::{ListOptions, Walk, common_prefix};
use super::{Item, Moment, Page};
use crate::error::{Error, Result};
use crate::format::entry::{Entry, PREFIX_DELIMITER, PrefixRow};
use crate::format::record::Space;
use crate::index::{Cursor, PrefixCursor, View};

/// Entries that a page has room for from the beginning, at most.
const PAGE_ENTRIES: usize = 1000;

/// The objects that are there at a moment.
pub(crate) struct Present<'v> {
    view: &'v View<'v>,
    cursor: Cursor<'v>,
    moment: &'v Moment,
    /// How many that have expired were passed.
    passed: Cell<u64>,
}

/// These, and prefixes: each of them once for all the objects that it counts.
pub(crate) struct Merged<'v> {
    options: &'v ListOptions,
    prefixes: PrefixCursor<'v>,
    objects: Present<'v>,
    /// Whether any object has no further delimiter in its key.
    any_direct: bool,
    /// Whether the cursor over the objects says what comes next. Else none has to be looked for.
    objects_count: bool,
    at: Result<At>,
    /// Where it is at a prefix. To ask RocksDB once more costs more.
    prefix: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Object,
    Prefix,
    End,
}

/// What a listing can walk over.
pub(crate) trait Objects: Walk<Error = Error> {
    /// The object that it is at, if it is at one.
    fn entry(&self) -> Result<Option<(&[u8], Entry<'_>)>>;

    /// The page from here on, where it is known that but common prefixes come.
    fn page_of_prefixes(&mut self) -> Result<Option<Page>> {
        Ok(None)
    }
}

impl<'v> Present<'v> {
    pub(crate) fn new(view: &'v View<'v>, moment: &'v Moment) -> Self {
        Present { view, cursor: view.entries(Space::Object), moment, passed: Cell::new(0) }
    }

    /// On to one that has not expired. A row that does not decode is left to whoever takes it, and so is
    /// that there are too many.
    fn pass_expired(&mut self) {
        while self.is_expired() && self.pass_one().is_ok() {
            self.cursor.next();
        }
    }

    fn pass_one(&self) -> Result<()> {
        self.passed.set(self.passed.get() + 1);
        self.view.check_passed(self.passed.get())
    }

    fn is_expired(&self) -> bool {
        let found = self.cursor.entry();
        matches!(found, Ok(Some((key, entry))) if !self.moment.has(key, &entry.meta))
    }
}

impl Walk for Present<'_> {
    type Error = Error;

    fn seek(&mut self, key: &[u8]) {
        self.cursor.seek(key);
        self.pass_expired();
    }

    fn next(&mut self) {
        self.cursor.next();
        self.pass_expired();
    }

    fn key(&self) -> Result<Option<&[u8]>> {
        self.view.check_passed(self.passed.get())?;
        self.cursor.key()
    }
}

impl Objects for Present<'_> {
    fn entry(&self) -> Result<Option<(&[u8], Entry<'_>)>> {
        self.cursor.entry()
    }
}

impl<'v> Merged<'v> {
    /// For a listing of what the index counts; else `None`.
    pub(crate) fn new(
        view: &'v View<'v>,
        moment: &'v Moment,
        options: &'v ListOptions,
    ) -> Result<Option<Self>> {
        if options.delimiter.as_deref() != Some(&[PREFIX_DELIMITER]) {
            return Ok(None);
        }
        let end = options.prefix.iter().rposition(|byte| *byte == PREFIX_DELIMITER);
        let parent = &options.prefix[..end.map_or(0, |at| at + 1)];
        let Some(prefixes) = view.prefixes_below(parent) else { return Ok(None) };
        let any_direct = view.prefix(parent)?.direct > 0;
        let objects = Present::new(view, moment);
        let (objects_count, at, prefix) = (false, Ok(At::End), Vec::new());
        Ok(Some(Merged { options, prefixes, objects, any_direct, objects_count, at, prefix }))
    }

    fn seek_both(&mut self, key: &[u8]) {
        self.prefixes.seek(key);
        // Behind a key below a prefix there may be more below it, and then it is to be listed.
        let is_below = common_prefix(key, self.options).is_some_and(|common| common != key);
        self.objects_count = self.any_direct || is_below;
        if self.objects_count {
            self.objects.seek(key);
        }
    }

    fn pass_both(&mut self, behind: &[u8]) -> Result<()> {
        // At an object the prefix above it is passed already: only because the listing began below it
        // is it looked at.
        if matches!(self.at, Ok(At::Prefix)) {
            self.prefixes.next();
        }
        self.objects_count = self.any_direct;
        if self.objects_count && self.objects.key()?.is_some_and(|at| at < behind) {
            self.objects.seek(behind);
        }
        Ok(())
    }

    /// The lesser of the two, behind prefixes below which all has expired.
    fn find(&mut self) -> Result<At> {
        loop {
            let object = if self.objects_count { self.objects.key()? } else { None };
            let Some((prefix, counts)) = self.prefixes.counted()? else {
                return Ok(if object.is_some() { At::Object } else { At::End });
            };
            if object.is_some_and(|key| key < prefix) {
                return Ok(At::Object);
            }
            // One that is not of this listing ends it.
            if !prefix.starts_with(&self.options.prefix) || self.is_present(prefix, &counts)? {
                self.prefix.clear();
                self.prefix.extend_from_slice(prefix);
                return Ok(At::Prefix);
            }
            self.prefixes.next();
        }
    }

    fn is_present(&self, prefix: &[u8], counts: &PrefixRow) -> Result<bool> {
        let moment = self.objects.moment;
        if counts.lasting > 0 && !moment.has_ages(prefix) {
            return Ok(true);
        }
        // No further than the prefix goes: what has expired behind it is looked at in its turn.
        let mut below = Present::new(self.objects.view, moment);
        below.cursor.seek(prefix);
        while below.key()?.is_some_and(|key| key.starts_with(prefix)) {
            if !below.is_expired() {
                return Ok(true);
            }
            self.objects.pass_one()?;
            below.cursor.next();
        }
        Ok(false)
    }
}

impl Walk for Merged<'_> {
    type Error = Error;

    fn seek(&mut self, key: &[u8]) {
        self.seek_both(key);
        self.at = self.find();
    }

    fn next(&mut self) {
        match self.at {
            Ok(At::Object) => self.objects.next(),
            Ok(At::Prefix) => self.prefixes.next(),
            Ok(At::End) | Err(_) => return,
        }
        self.at = self.find();
    }

    fn pass(&mut self, behind: &[u8]) {
        self.at = self.pass_both(behind).and_then(|()| self.find());
    }

    fn key(&self) -> Result<Option<&[u8]>> {
        match &self.at {
            Ok(At::Object) => self.objects.key(),
            Ok(At::Prefix) => Ok(Some(&self.prefix)),
            Ok(At::End) => Ok(None),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Objects for Merged<'_> {
    fn entry(&self) -> Result<Option<(&[u8], Entry<'_>)>> {
        self.objects.entry()
    }

    /// Each of them is an entry as it is, so that nothing has to be looked for behind it.
    fn page_of_prefixes(&mut self) -> Result<Option<Page>> {
        if self.objects_count || self.any_direct {
            return Ok(None);
        }
        let mut page = Page::default();
        // Entries are large beside what a prefix takes of one: to move them as the page grows costs more.
        page.items.reserve(self.options.max_keys.min(PAGE_ENTRIES));
        let mut at = std::mem::replace(&mut self.at, Ok(At::End))?;
        while matches!(at, At::Prefix) && self.prefix.starts_with(&self.options.prefix) {
            if page.items.len() == self.options.max_keys {
                if let Some(Item::Prefix(last)) = page.items.last() {
                    page.next = Some(last.clone());
                }
                break;
            }
            page.items.push(Item::Prefix(std::mem::take(&mut self.prefix)));
            self.prefixes.next();
            at = self.find()?;
        }
        Ok(Some(page))
    }
}
