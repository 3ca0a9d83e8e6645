//! The index: RocksDB, as a checkpointed view of the tracks. The only module that names it.
//!
//! RocksDB runs without its log: what it has not flushed is replayed from the tracks. It flushes
//! only in [`Index::flush`], which the store calls when all that the index says is durable in the
//! tracks (invariant I1).

mod books;
mod bounds;
mod cursor;
mod error;
mod files;
mod free;
mod graves;
mod join;
mod manifest;
mod moves;
mod options;
mod prefixes;
mod ready;
mod rows;
mod segments;
mod view;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, DEFAULT_COLUMN_FAMILY_NAME, FlushOptions, ReadOptions,
    WriteBatch, WriteOptions, properties,
};

pub(crate) use books::Books;
pub(crate) use cursor::{Cursor, RowCursor};
pub(crate) use free::{free_row_around, free_rows};
pub(crate) use graves::{grave, graves};
pub(crate) use join::{Ahead, ChainFacts, Join};
pub(crate) use moves::{Original, Passed};
pub(crate) use prefixes::PrefixCursor;
pub(crate) use ready::Ready;
pub(crate) use segments::segments;
pub(crate) use view::{View, ViewRef};

use self::bounds::Bounds;
use self::prefixes::Prefixes;
use crate::error::{Error, Result};
use crate::format::Fault;

/// The kinds of rows. [`crate::format::entry`] says what they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Family {
    Objects,
    Parts,
    Graves,
    Segments,
    Prefixes,
    Loose,
    Free,
    Tracks,
    State,
}

impl Family {
    const ALL: [Family; 9] = [
        Family::Objects,
        Family::Parts,
        Family::Graves,
        Family::Segments,
        Family::Prefixes,
        Family::Loose,
        Family::Free,
        Family::Tracks,
        Family::State,
    ];

    fn column(self) -> Column {
        match self {
            Family::Objects => Column::Objects,
            Family::Graves => Column::Graves,
            Family::Segments => Column::Segments,
            Family::Prefixes => Column::Prefixes,
            Family::Parts | Family::Loose | Family::Free | Family::Tracks | Family::State => {
                Column::Books
            }
        }
    }

    /// What the keys of a family begin with that shares its column.
    fn tag(self) -> Option<u8> {
        match self {
            Family::Objects | Family::Graves | Family::Segments | Family::Prefixes => None,
            Family::Parts => Some(b'p'),
            Family::Loose => Some(b'l'),
            Family::Free => Some(b'f'),
            Family::Tracks => Some(b't'),
            Family::State => Some(b's'),
        }
    }

    /// A row's key as RocksDB has it.
    fn key(self, key: &[u8]) -> Cow<'_, [u8]> {
        match self.tag() {
            None => Cow::Borrowed(key),
            Some(tag) => Cow::Owned([&[tag], key].concat()),
        }
    }
}

/// RocksDB's column families. Each is a file of its own in each flush, so that the small families
/// share one; those that may be large have their own, lest small changes rewrite them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Column {
    Objects,
    Graves,
    Segments,
    Prefixes,
    Books,
}

impl Column {
    const ALL: [Column; 5] =
        [Column::Objects, Column::Graves, Column::Segments, Column::Prefixes, Column::Books];

    fn name(self) -> &'static str {
        match self {
            Column::Objects => "objects",
            Column::Graves => "graves",
            Column::Segments => "segments",
            Column::Prefixes => "prefixes",
            // It is there anyway.
            Column::Books => DEFAULT_COLUMN_FAMILY_NAME,
        }
    }
}

/// RocksDB rewrites no more at once, however large the index is: a file of 16 MiB of a level, and what
/// of the next one, which is ten times as large, has the same keys.
const MOST_COMPACTION_BYTES: u64 = 256 << 20;

/// Whether RocksDB gives its files such a name.
fn is_rocksdb_file(name: &str) -> bool {
    let whole = ["CURRENT", "IDENTITY", "LOCK", "LOG"];
    let starts = ["LOG.old.", "MANIFEST-", "OPTIONS-"];
    let ends = [".sst", ".log", ".dbtmp", ".blob", ".trash"];
    whole.contains(&name)
        || starts.iter().any(|start| name.starts_with(start))
        || ends.iter().any(|end| name.ends_with(end))
}

/// An open index.
pub(crate) struct Index {
    db: DB,
    path: PathBuf,
    /// Options of reading what is there now: to make them takes some time of a look-up.
    read_now: ReadOptions,
    without_log: WriteOptions,
    cache_bytes: usize,
    compacts_itself: AtomicBool,
    /// Whether files are written as a large index has them.
    is_large: AtomicBool,
    /// Locked by whoever holds the apply lock.
    prefixes: Mutex<Prefixes>,
    /// Changed by whoever holds it; looked at without it.
    bounds: Mutex<Bounds>,
}

impl Index {
    /// Opens the index, or makes an empty one.
    pub(crate) fn open(path: &Path, memtable_bytes: usize, cache_bytes: usize) -> Result<Self> {
        manifest::check(path)?;
        let tables_bytes = files::tables_bytes(path);
        let compacts_itself = files::has_room_to_compact(path, tables_bytes, memtable_bytes);
        let is_large = options::is_large(tables_bytes, cache_bytes);
        let tuning = options::Tuning { memtable_bytes, cache_bytes, compacts_itself, is_large };
        let db = options::open(path, &tuning).map_err(|e| error::index(path, e))?;
        let mut without_log = WriteOptions::default();
        without_log.disable_wal(true);
        Ok(Index {
            db,
            path: path.to_owned(),
            read_now: ReadOptions::default(),
            without_log,
            cache_bytes,
            compacts_itself: AtomicBool::new(compacts_itself),
            is_large: AtomicBool::new(is_large),
            prefixes: Mutex::default(),
            bounds: Mutex::default(),
        })
    }

    /// Whether there are no rows.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        for family in Family::ALL {
            let view = self.view();
            let mut cursor = view.rows(family);
            cursor.seek(&[]);
            if cursor.row()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fails where `path` is a directory with anything in it that is not RocksDB's: it is another's.
    pub(crate) fn check_own(path: &Path) -> Result<()> {
        let entries = match std::fs::read_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|e| Error::io("look for the index in", path, e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("look for the index in", path, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_rocksdb_file(&name) || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let what =
                    format!("holds `{name}`, which no index has; it needs a directory of its own");
                return Err(Error::invalid(what).with_path(path));
            }
        }
        Ok(())
    }

    /// Throws an index away, and nothing else.
    pub(crate) fn destroy(path: &Path) -> Result<()> {
        Self::check_own(path)?;
        match std::fs::remove_dir_all(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove the index", path, e))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A row, as it is now.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>> {
        let (column, key) = (self.column(family.column()), family.key(key));
        let row = self.db.get_pinned_cf_opt(column, key, &self.read_now);
        row.map_err(|e| self.error(e))
    }

    /// The rows of objects' keys in ascending order, as they are now, each looked up.
    fn get_each(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let objects = self.column(Column::Objects);
        let rows = self.db.batched_multi_get_cf(objects, keys.iter().copied(), true);
        let owned = |row: std::result::Result<Option<DBPinnableSlice<'_>>, _>| {
            row.map(|row| row.map(|row| row.to_vec())).map_err(|e| self.error(e))
        };
        rows.into_iter().map(owned).collect()
    }

    /// What the index holds now, and goes on to hold while it changes.
    pub(crate) fn view(&self) -> View<'_> {
        View::live(self)
    }

    /// What the index holds now, whatever changes.
    pub(crate) fn snapshot(&self) -> View<'_> {
        View::frozen(self)
    }

    /// The same, as far as it is in memory.
    pub(crate) fn snapshot_of_memory(&self) -> View<'_> {
        View::of_memory(self)
    }

    /// Makes all that was written durable, over all column families at once. The caller has made
    /// sure of invariant I1, and holds the apply lock.
    pub(crate) fn flush(&self) -> Result<()> {
        self.flush_columns(true)
    }

    /// Begins to, and does not wait: what is written when this has returned has no part in it. Takes
    /// the books, so that the caller holds the apply lock (invariant I1).
    pub(crate) fn begin_flush(&self, _books: &mut Books) -> Result<()> {
        // Where RocksDB has stopped writes it refuses, and has to be waited for.
        self.flush_columns(false).or_else(|_| self.flush_columns(true))
    }

    fn flush_columns(&self, waits: bool) -> Result<()> {
        if let Err(error) = self.note_size() {
            // Look-ups will take longer than they need.
            tracing::warn!(%error, "the index is large, and its files can't be written accordingly");
        }
        self.write_prefixes()?;
        let mut options = FlushOptions::default();
        options.set_wait(waits);
        let columns = Column::ALL.map(|column| self.column(column));
        // A plain `flush` would take the default one only.
        self.db.flush_cfs_opt(&columns, &options).map_err(|e| self.error(e))
    }

    /// Whether a flush that was begun is not yet done.
    pub(crate) fn is_flushing(&self) -> Result<bool> {
        for column in Column::ALL {
            if self.property(column, properties::NUM_IMMUTABLE_MEM_TABLE)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether RocksDB has ever failed in the background, in a flush or a compaction: what was begun
    /// then may never be done.
    pub(crate) fn has_failed(&self) -> Result<bool> {
        let errors = self.db.property_int_value(properties::BACKGROUND_ERRORS);
        Ok(errors.map_err(|e| self.error(e))?.unwrap_or(0) > 0)
    }

    fn property(&self, column: Column, name: &properties::PropName) -> Result<u64> {
        let value = self.db.property_int_value_cf(self.column(column), name);
        Ok(value.map_err(|e| self.error(e))?.unwrap_or(0))
    }

    /// Room that RocksDB may need to compact itself: as much as what it rewrites takes.
    pub(crate) fn compaction_bytes(&self) -> u64 {
        self.files_bytes().min(MOST_COMPACTION_BYTES)
    }

    /// Lets RocksDB compact itself, or not. Where it runs out of room doing so, it flushes no more.
    pub(crate) fn compact_itself(&self, yes: bool) -> Result<()> {
        if self.compacts_itself.swap(yes, Ordering::Relaxed) == yes {
            return Ok(());
        }
        tracing::info!(yes, "the index compacts itself");
        let disabled = if yes { "false" } else { "true" };
        self.set_option(("disable_auto_compactions", disabled))
    }

    /// Sets an option of all column families, as text.
    fn set_option(&self, option: (&str, &str)) -> Result<()> {
        Column::ALL.iter().try_for_each(|column| {
            let set = self.db.set_options_cf(self.column(*column), &[option]);
            set.map_err(|e| self.error(e))
        })
    }

    /// Has files written from now on as a large index has them, where it has become one.
    fn note_size(&self) -> Result<()> {
        if self.is_large.load(Ordering::Relaxed)
            || !options::is_large(self.files_bytes(), self.cache_bytes)
            || self.is_large.swap(true, Ordering::Relaxed)
        {
            return Ok(());
        }
        tracing::info!("the index has become large");
        self.set_option(options::IN_PARTS)
    }

    fn files_bytes(&self) -> u64 {
        let files = Column::ALL
            .map(|column| self.property(column, properties::TOTAL_SST_FILES_SIZE).unwrap_or(0));
        files.iter().sum()
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        self.db.write_opt(batch, &self.without_log).map_err(|e| self.error(e))
    }

    fn prefixes(&self) -> MutexGuard<'_, Prefixes> {
        self.prefixes.lock().expect("no panic holds it")
    }

    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().expect("no panic holds it")
    }

    fn column(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("all are made at open")
    }

    fn error(&self, error: rocksdb::Error) -> Error {
        error::index(&self.path, error)
    }

    /// A row that does not decode.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        Error::fault(&self.path, fault)
    }
}
