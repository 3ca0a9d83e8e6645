//! Walking rows in the order of their keys.

use std::ops::{Deref, DerefMut};

use rocksdb::DBRawIteratorWithThreadMode;

use super::{Family, Index};
use crate::error::Result;
use crate::format::entry::Entry;

/// Walks the rows of a family. A cursor holds memtables in memory: it is for a page, not for long.
pub(crate) struct RowCursor<'a> {
    index: &'a Index,
    family: Family,
    iterator: DBRawIteratorWithThreadMode<'a, rocksdb::DB>,
}

/// Walks the entries of a space: moves as its rows do.
pub(crate) struct Cursor<'a> {
    index: &'a Index,
    rows: RowCursor<'a>,
}

impl<'a> RowCursor<'a> {
    pub(super) fn new(
        index: &'a Index,
        family: Family,
        iterator: DBRawIteratorWithThreadMode<'a, rocksdb::DB>,
    ) -> Self {
        RowCursor { index, family, iterator }
    }

    /// To the first row at or behind `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.iterator.seek(self.family.key(key));
    }

    /// To the last row at or before `key`.
    pub(crate) fn seek_back(&mut self, key: &[u8]) {
        self.iterator.seek_for_prev(self.family.key(key));
    }

    /// To the last row.
    pub(crate) fn seek_last(&mut self) {
        self.iterator.seek_to_last();
    }

    /// To the next row.
    pub(crate) fn next(&mut self) {
        self.iterator.next();
    }

    /// To the row before.
    pub(crate) fn prev(&mut self) {
        self.iterator.prev();
    }

    /// The row that the cursor is at; `None` past either end.
    pub(crate) fn row(&self) -> Result<Option<(&[u8], &[u8])>> {
        let row = self.known(self.iterator.item())?;
        Ok(row.map(|(key, row)| (&key[self.tag_bytes()..], row)))
    }

    /// Its key alone.
    pub(crate) fn key(&self) -> Result<Option<&[u8]>> {
        let key = self.known(self.iterator.key())?;
        Ok(key.map(|key| &key[self.tag_bytes()..]))
    }

    /// Past the end, or unable to read on: only the status tells.
    fn known<T>(&self, found: Option<T>) -> Result<Option<T>> {
        if found.is_none() {
            self.iterator.status().map_err(|e| self.index.error(e))?;
        }
        Ok(found)
    }

    fn tag_bytes(&self) -> usize {
        usize::from(self.family.tag().is_some())
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(index: &'a Index, rows: RowCursor<'a>) -> Self {
        Cursor { index, rows }
    }

    /// The key and entry that the cursor is at; `None` past either end.
    pub(crate) fn entry(&self) -> Result<Option<(&[u8], Entry<'_>)>> {
        let Some((key, row)) = self.rows.row()? else { return Ok(None) };
        let entry = Entry::decode(row).map_err(|fault| self.index.fault(fault))?;
        Ok(Some((key, entry)))
    }
}

impl<'a> Deref for Cursor<'a> {
    type Target = RowCursor<'a>;

    fn deref(&self) -> &RowCursor<'a> {
        &self.rows
    }
}

impl DerefMut for Cursor<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rows
    }
}
