//! How far each track is known to have been synced (invariant I10).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::format::meta::{DiskState, StoreMeta};
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{DiskId, TrackId};
use crate::index::Books;

/// Chunks up to which tracks are known to have been synced, by `META`, its cuts included, and by
/// the headers of the tracks that came after them (invariant I10).
pub(super) struct Marks {
    synced: HashMap<TrackId, u32>,
    /// Tracks that are not the last of their disk, though the one after them was unlinked: of those
    /// that writers append to, each is synced to its end before the next one is created. (Those of
    /// compaction stand open side by side.)
    pub(super) whole: BTreeSet<TrackId>,
}

impl Marks {
    pub(super) fn of(
        meta: &StoreMeta,
        headers: &BTreeMap<TrackId, TrackHeader>,
        books: &Books,
    ) -> Self {
        let named: BTreeSet<_> =
            headers.values().filter_map(|header| header.predecessor.map(|(id, _)| id)).collect();
        let active = meta.disks.iter().filter_map(|state| Some((state.id, state.active?.0)));
        let rows = books.tracks.iter().filter(|(_, row)| !row.compacted);
        let appended = headers.values().filter(|header| header.kind == TrackKind::Append);
        let mut last: HashMap<DiskId, TrackId> = HashMap::new();
        for (disk, id) in active
            .chain(rows.map(|(id, row)| (row.disk, *id)))
            .chain(appended.clone().map(|header| (header.disk, header.track)))
        {
            let last = last.entry(disk).or_insert(id);
            *last = id.max(*last);
        }
        let whole = appended
            .filter(|header| !named.contains(&header.track) && header.track < last[&header.disk]);
        let mut whole: BTreeSet<_> = whole.map(|header| header.track).collect();
        if meta.disks.is_empty() {
            // It is lost, and with it how far those of compaction were synced.
            let compacted = headers.values().filter(|header| header.kind == TrackKind::Compacted);
            whole.extend(compacted.map(|header| header.track));
        }
        let mut marks = Marks { synced: HashMap::new(), whole };
        let active = meta.disks.iter().flat_map(DiskState::tracks);
        let predecessors = headers.values().filter_map(|header| header.predecessor);
        let ends = active.chain(predecessors).chain(meta.cuts.iter().copied());
        ends.for_each(|(id, end)| marks.raise(id, end));
        marks
    }

    pub(super) fn raise(&mut self, id: TrackId, end: u32) {
        let mark = self.synced.entry(id).or_default();
        *mark = end.max(*mark);
    }

    pub(super) fn of_track(&self, id: TrackId) -> u32 {
        self.synced.get(&id).copied().unwrap_or(0)
    }
}
