//! Chunks that were freed and are about to be written again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::format::TrackId;
use crate::format::entry::Extent;

/// Extents that a writer has taken from the free list, until the record that names them is in the
/// index. Neither punched nor unlinked meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Refills {
    /// Held while an extent is chosen, and while one is punched or a track unlinked.
    taken: Mutex<BTreeMap<(TrackId, u32), u32>>,
}

impl Refills {
    /// Runs `reuse` unless a writer has taken some of the extent; no writer takes any meanwhile.
    pub(crate) fn unless_taken<T>(&self, extent: Extent, reuse: impl FnOnce() -> T) -> Option<T> {
        let taken = self.taken.lock().expect("no panic holds it");
        if overlaps(&taken, extent) { None } else { Some(reuse()) }
    }

    /// Takes the extent, unless it overlaps one that was taken.
    pub(crate) fn take(&self, extent: Extent) -> bool {
        let mut taken = self.taken.lock().expect("no panic holds it");
        let free = !overlaps(&taken, extent);
        if free {
            taken.insert((extent.track, extent.chunk), extent.chunks);
        }
        free
    }

    /// Gives an extent back.
    pub(crate) fn give_back(&self, extent: Extent) {
        self.taken.lock().expect("no panic holds it").remove(&(extent.track, extent.chunk));
    }
}

fn overlaps(taken: &BTreeMap<(TrackId, u32), u32>, extent: Extent) -> bool {
    let end = extent.chunk.saturating_add(extent.chunks);
    let before = taken.range(..(extent.track, end)).next_back();
    before.is_some_and(|(&(track, chunk), &chunks)| {
        track == extent.track && chunk + chunks > extent.chunk
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_extents_are_not_taken_twice_nor_reused() {
        let refills = Refills::default();
        let extent = |chunk, chunks| Extent { track: TrackId(1), chunk, chunks };
        assert!(refills.take(extent(10, 5)));
        for (chunk, chunks) in [(10, 5), (9, 2), (14, 1), (0, 100), (12, 1)] {
            assert!(!refills.take(extent(chunk, chunks)));
            assert_eq!(refills.unless_taken(extent(chunk, chunks), || ()), None);
        }
        assert_eq!(refills.unless_taken(extent(15, 5), || ()), Some(()));
        assert!(refills.take(extent(5, 5)));
        refills.give_back(extent(10, 5));
        assert!(refills.take(extent(12, 1)));
    }
}
