//! What compaction would do: the tracks as they are, and those that it would pass over.

use serde::Serialize;

use super::policy::Room;
use super::worker::{CompactOptions, active_worth_it};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;
use crate::format::{DiskId, TrackId};
use crate::store::Shared;

/// What a track holds, and what compacting it would bring.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// store.put("key", "value")?;
/// let track: kogia::TrackStats = store.tracks()?.remove(0);
/// assert!(!track.sealed);
/// assert_eq!((track.file_bytes, track.gain_bytes), (8192, 0));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrackStats {
    /// The track.
    pub track: TrackId,
    /// Its disk.
    pub disk: DiskId,
    /// Whether compaction wrote it.
    pub compacted: bool,
    /// The partition function's answer for what is in it.
    pub shard: u8,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
    /// Bytes of its file to the end of what was appended, holes included. One that is active may have up to 256
    /// KiB more, blank, so that small syncs need not make it longer.
    pub file_bytes: u64,
    /// Bytes of chunks that live values own, and of directories and shared chunks the live share.
    pub live_bytes: u64,
    /// The dead share of directories and shared chunks: it comes back by compaction.
    pub dead_bytes: u64,
    /// Bytes of chunks that nothing refers to, and that were not given back yet.
    pub free_bytes: u64,
    /// Bytes that were given back to the file system.
    pub punched_bytes: u64,
    /// Live puts and segments.
    pub live_records: u64,
    /// Dead puts and segments.
    pub dead_records: u64,
    /// Tombstones that are still needed.
    pub tombstones: u64,
    /// Bytes that compacting it would copy.
    pub cost_bytes: u64,
    /// Bytes that it would bring back.
    pub gain_bytes: u64,
}

impl TrackStats {
    fn new(track: TrackId, row: &TrackRow, punches: bool) -> Self {
        let bytes = |chunks: u32| u64::from(chunks) * CHUNK_BYTES as u64;
        let room = Room::of(row, punches);
        TrackStats {
            track,
            disk: row.disk,
            compacted: row.compacted,
            shard: row.shard,
            created_ms: row.created_ms,
            sealed: row.sealed.is_some(),
            file_bytes: bytes(row.applied),
            live_bytes: room.cost,
            dead_bytes: bytes(row.head_chunks) + bytes(row.owned_chunks) - room.cost,
            free_bytes: bytes(row.free_chunks),
            punched_bytes: bytes(row.punched_chunks),
            live_records: row.live_records,
            dead_records: row.dead_records,
            tombstones: row.graves,
            cost_bytes: room.cost,
            gain_bytes: room.gain(),
        }
    }
}

impl Shared {
    pub(crate) fn tracks(&self) -> Vec<TrackStats> {
        let punching: Vec<DiskId> = self
            .volumes
            .all()
            .iter()
            .filter_map(|volume| volume.holes_are_room().then_some(volume.disk.id))
            .collect();
        let books = self.books();
        let stats = |(id, row): (&TrackId, &TrackRow)| {
            TrackStats::new(*id, row, punching.contains(&row.disk))
        };
        books.tracks.iter().map(stats).collect()
    }

    /// What [`compact`](Self::compact) would pass over now, in that order.
    pub(crate) fn plan_compaction(&self, options: &CompactOptions) -> Vec<TrackStats> {
        let mut tracks = self.books().tracks.clone();
        let mut plan = Vec::new();
        let volumes = self.volumes.all();
        let there = volumes.iter().filter(|volume| !self.volumes.are_without(volume));
        for volume in there.filter(|volume| options.concerns(volume)) {
            if let Some(active) = active_worth_it(&tracks, volume, options)
                && let Some(row) = tracks.get_mut(&active)
            {
                row.sealed = Some(row.applied);
            }
            let victims = self.victims(&tracks, volume, options).into_iter();
            plan.extend(
                victims.map(|id| TrackStats::new(id, &tracks[&id], volume.holes_are_room())),
            );
        }
        plan
    }
}
