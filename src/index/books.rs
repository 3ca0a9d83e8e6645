//! The index's counters, kept in memory beside their rows, under the store's apply lock.

use std::collections::BTreeMap;

use super::{Family, Index};
use crate::error::Result;
use crate::format::entry::{self, INDEX_VERSION, StateRow, TrackRow};
use crate::format::{Fault, StoreId, TrackId};

/// The store's row and its tracks' rows.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub(crate) state: StateRow,
    pub(crate) tracks: BTreeMap<TrackId, TrackRow>,
}

impl Books {
    /// The books of an empty store.
    pub(crate) fn new(store: StoreId) -> Self {
        let state = StateRow {
            version: INDEX_VERSION,
            store,
            opening: 0,
            batch: 0,
            next_track: 1,
            objects: 0,
            object_bytes: 0,
            parts: 0,
            graves: 0,
            rebuilding: false,
        };
        Books { state, tracks: BTreeMap::new() }
    }

    /// The tracks of which compaction has passed over the front, and where they begin now.
    pub(crate) fn trims(&self) -> impl Iterator<Item = (TrackId, u32)> {
        let passed = self.tracks.iter().filter(|(_, row)| row.start > 1);
        passed.map(|(id, row)| (*id, row.start))
    }

    /// Reads the books of an index; `None` where it has none, because it was never flushed or
    /// its rebuild was cut short.
    pub(crate) fn load(index: &Index) -> Result<Option<Self>> {
        let Some(row) = index.get(Family::State, STATE_KEY)? else { return Ok(None) };
        let state = StateRow::decode(&row).map_err(|fault| index.fault(fault))?;
        if state.version != INDEX_VERSION {
            let (found, known) = (state.version, INDEX_VERSION);
            return Err(index.fault(Fault::Version { what: "index", found, known }));
        }
        if state.rebuilding {
            return Ok(None);
        }
        let mut tracks = BTreeMap::new();
        let view = index.view();
        let mut cursor = view.rows(Family::Tracks);
        cursor.seek(&[]);
        while let Some((key, row)) = cursor.row()? {
            let id = entry::parse_track_key(key).map_err(|fault| index.fault(fault))?;
            tracks.insert(id, TrackRow::decode(row).map_err(|fault| index.fault(fault))?);
            cursor.next();
        }
        Ok(Some(Books { state, tracks }))
    }
}

/// The key of the only row in `state`.
pub(super) const STATE_KEY: &[u8] = b"store";
