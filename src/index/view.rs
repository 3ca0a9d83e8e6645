//! Reading rows, as they are or as they were at one moment.

use rocksdb::{DBPinnableSlice, PrefixRange, ReadOptions, ReadTier, SnapshotWithThreadMode};

use super::{Cursor, Family, Index, RowCursor};
use crate::error::{Error, ErrorKind, Result};
use crate::format::entry::{Entry, SegmentRow};
use crate::format::record::Space;
use crate::format::{Fault, Seq};

/// Rows that do not count, deleted or expired, over which one goes that may not wait.
const MOST_PASSED: u64 = 1000;

/// The index as it is, or as it was at one moment.
pub(crate) struct View<'a> {
    index: &'a Index,
    snapshot: Option<SnapshotWithThreadMode<'a, rocksdb::DB>>,
    /// Whether nothing is read that is not in memory: it fails with `WouldBlock`.
    is_of_memory: bool,
}

/// A view of one's own, or another's.
pub(crate) enum ViewRef<'a> {
    Own(View<'a>),
    Of(&'a View<'a>),
}

impl<'a> std::ops::Deref for ViewRef<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        match self {
            ViewRef::Own(view) => view,
            ViewRef::Of(view) => view,
        }
    }
}

/// An entry's row, borrowed from RocksDB.
pub(crate) struct EntryRow<'a> {
    index: &'a Index,
    row: DBPinnableSlice<'a>,
}

impl EntryRow<'_> {
    /// The entry in it.
    pub(crate) fn entry(&self) -> Result<Entry<'_>> {
        Entry::decode(&self.row).map_err(|fault| self.index.fault(fault))
    }
}

impl<'a> View<'a> {
    pub(super) fn live(index: &'a Index) -> Self {
        View { index, snapshot: None, is_of_memory: false }
    }

    pub(super) fn frozen(index: &'a Index) -> Self {
        View { index, snapshot: Some(index.db.snapshot()), is_of_memory: false }
    }

    pub(super) fn of_memory(index: &'a Index) -> Self {
        View { is_of_memory: true, ..View::frozen(index) }
    }

    pub(super) fn index(&self) -> &'a Index {
        self.index
    }

    /// Fails where one that may not wait has gone over so many rows that do not count.
    pub(crate) fn check_passed(&self, rows: u64) -> Result<()> {
        if self.is_of_memory && rows > MOST_PASSED {
            return Err(Error::new(ErrorKind::WouldBlock, "much has expired that is still there"));
        }
        Ok(())
    }

    /// Whether the view changes with the index.
    pub(crate) fn is_live(&self) -> bool {
        self.snapshot.is_none()
    }

    /// What a key means.
    pub(crate) fn entry(&self, space: Space, key: &[u8]) -> Result<Option<EntryRow<'a>>> {
        let row = self.get(family_of(space), key)?;
        Ok(row.map(|row| EntryRow { index: self.index, row }))
    }

    /// Where a segment is.
    pub(crate) fn segment(&self, seq: Seq) -> Result<Option<SegmentRow>> {
        let row = self.get(Family::Segments, &seq.0.to_be_bytes())?;
        let decode = |row: DBPinnableSlice<'_>| {
            SegmentRow::decode(&row).map_err(|fault| self.index.fault(fault))
        };
        row.map(decode).transpose()
    }

    /// A row that does not decode.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        self.index.fault(fault)
    }

    /// A cursor over the entries of a space.
    pub(crate) fn entries(&self, space: Space) -> Cursor<'_> {
        Cursor::new(self.index, self.rows(family_of(space)))
    }

    /// A cursor over the rows of a family.
    pub(crate) fn rows(&self, family: Family) -> RowCursor<'_> {
        self.rows_that_begin(family, family.tag())
    }

    /// The same, over those rows only whose keys in RocksDB begin with a byte.
    pub(super) fn rows_that_begin(&self, family: Family, first: Option<u8>) -> RowCursor<'_> {
        let mut options = self.read_options();
        if let Some(first) = first {
            options.set_iterate_range(PrefixRange([first].as_slice()));
        }
        let column = self.index.column(family.column());
        let iterator = self.index.db.raw_iterator_cf_opt(column, options);
        RowCursor::new(self.index, family, iterator)
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'a>>> {
        if self.snapshot.is_none() {
            return self.index.get(family, key);
        }
        let (column, key) = (self.index.column(family.column()), family.key(key));
        let found = self.index.db.get_pinned_cf_opt(column, key, &self.read_options());
        found.map_err(|e| self.index.error(e))
    }

    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        if self.is_of_memory {
            options.set_read_tier(ReadTier::BlockCache);
            options.set_max_skippable_internal_keys(MOST_PASSED);
        }
        options
    }
}

pub(super) fn family_of(space: Space) -> Family {
    match space {
        Space::Object => Family::Objects,
        Space::Part => Family::Parts,
    }
}
