//! How far each track is known to have been synced (invariant I10).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::format::meta::StoreMeta;
use crate::format::track_header::TrackHeader;
use crate::format::{DiskId, TrackId};

/// Chunks up to which tracks are known to have been synced, by `META`, its cuts included, and by
/// the headers of the tracks that came after them (invariant I10).
pub(super) struct Marks {
    synced: HashMap<TrackId, u32>,
    /// Tracks that are not the last of their disk, though the one after them was unlinked: a
    /// track is synced to its end before the next one is created.
    pub(super) whole: BTreeSet<TrackId>,
}

impl Marks {
    pub(super) fn of(
        meta: &StoreMeta,
        headers: &BTreeMap<TrackId, TrackHeader>,
        tracks: &BTreeMap<TrackId, DiskId>,
    ) -> Self {
        let named: BTreeSet<_> =
            headers.values().filter_map(|header| header.predecessor.map(|(id, _)| id)).collect();
        let mut last: HashMap<DiskId, TrackId> = tracks.iter().map(|(id, on)| (*on, *id)).collect();
        for state in &meta.disks {
            if let (Some((id, _)), Some(last)) = (state.active, last.get_mut(&state.id)) {
                *last = id.max(*last);
            }
        }
        let whole = headers
            .values()
            .filter(|header| !named.contains(&header.track) && header.track < last[&header.disk]);
        let whole = whole.map(|header| header.track).collect();
        let mut marks = Marks { synced: HashMap::new(), whole };
        let active = meta.disks.iter().filter_map(|state| state.active);
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
