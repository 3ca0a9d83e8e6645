//! Which track to compact next: a pure function of the tracks' counters.
//!
//! A track's *cost* is what it would take once rewritten, and its *gain* what comes back:
//!
//! ```text
//! used  = (applied - punched) chunks; where holes are no room, only those count that a pass left
//!         behind: there everything is gone
//! live  = packed bytes + 64 × (live records + tombstones)
//! dead  = dead bytes + 64 × dead records
//! cost  = owned chunks + head chunks × live / (live + dead)
//! gain  = used - header - cost - free chunks, where they are punched out without compaction
//!       = used - header - cost,               where they are not; whole chunks of it
//! score = gain × (1 + age in days) / (cost + gain / 8)
//! ```
//!
//! The head of a track (directories and packed values) is shared by the records in it by their
//! bytes, a record's own counted as 64. What a track is rewritten to has a header as well, and no less
//! than a chunk: so nothing is to be gained where nothing is dead.
//!
//! The score is the benefit for its cost of log-structured file systems (Rosenblum and Ousterhout
//! 1992, section 3.6): what is old has stopped dying, so that its garbage does not grow by waiting.
//! The eighth of the gain keeps tracks that cost nothing in the order of their gain.

use std::collections::BTreeSet;

use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;
use crate::format::{DiskId, TrackId};

/// What a record's own fields weigh beside its packed value.
const RECORD_BYTES: u64 = 64;
/// Garbage of less than this share of a track is not worth a pass over it.
const MIN_SHARE: f64 = 0.02;
/// Tombstones of more than this share of what is needed are too many.
const GRAVES_SHARE: f64 = 0.1;
/// From this share on a track is worth it, however little garbage the disk has.
const WORTH_IT_SHARE: f64 = 0.5;

/// How the room of one or more tracks is used, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    /// What they take of the file system.
    pub(crate) used: u64,
    /// What they would take, rewritten, without headers.
    pub(crate) cost: u64,
    /// Their headers.
    header: u64,
    /// Freed chunks that are punched out after the next checkpoint.
    pub(crate) pending: u64,
}

impl Room {
    /// The room of a track on a disk where holes are room, or aren't.
    pub(crate) fn of(row: &TrackRow, punches: bool) -> Self {
        let bytes = |chunks: u32| u64::from(chunks) * CHUNK_BYTES as u64;
        let live = row.packed_bytes + RECORD_BYTES * (row.live_records + row.graves);
        let dead = row.dead_bytes + RECORD_BYTES * row.dead_records;
        let head = bytes(row.head_chunks);
        let live_head = match live + dead {
            0 => 0,
            all => (u128::from(head) * u128::from(live) / u128::from(all)) as u64,
        };
        let passed = row.start.saturating_sub(1);
        let holes = if punches { row.punched_chunks } else { row.punched_chunks.min(passed) };
        let used = bytes(row.applied).saturating_sub(bytes(holes));
        let pending = if punches { bytes(row.free_chunks) } else { 0 };
        let cost = bytes(row.owned_chunks) + live_head;
        let header = if cost > 0 { CHUNK_BYTES as u64 } else { 0 };
        Room { used, cost, header, pending }
    }

    /// What compaction would bring back.
    pub(crate) fn gain(&self) -> u64 {
        let gain = self.used.saturating_sub(self.header + self.cost + self.pending);
        gain - gain % CHUNK_BYTES as u64
    }

    /// The garbage that compaction would bring back, as a share of what is used.
    pub(crate) fn share(&self) -> f64 {
        if self.used == 0 { 0.0 } else { self.gain() as f64 / self.used as f64 }
    }

    /// What is used for each byte that is needed; 1 where nothing is.
    pub(crate) fn amplification(&self) -> f64 {
        if self.used == 0 { 1.0 } else { self.used as f64 / self.cost.max(1) as f64 }
    }

    pub(crate) fn add(&mut self, other: Room) {
        self.used += other.used;
        self.cost += other.cost;
        self.header += other.header;
        self.pending += other.pending;
    }

    fn score(&self, age_ms: u64) -> f64 {
        let age = 1.0 + age_ms as f64 / (24.0 * 3_600_000.0);
        let gain = self.gain() as f64;
        gain * age / (self.cost as f64 + gain / 8.0).max(1.0)
    }
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) disk: DiskId,
    pub(crate) punches: bool,
    /// Whether values are written into freed chunks.
    pub(crate) refills: bool,
    /// Chunks at which a track is sealed.
    pub(crate) track_chunks: u32,
    pub(crate) max_amplification: f64,
    /// Tracks that are being compacted, or can't be.
    pub(crate) excluded: &'a BTreeSet<TrackId>,
    pub(crate) now_ms: u64,
}

/// How eager to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Zeal {
    /// Keep the disk well below its bound, and take what is cheap.
    Background,
    /// All tracks of which at least this share is garbage: without any, all there are.
    Thorough(f64),
}

/// What to compact next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) track: TrackId,
    /// Not for its garbage: small tracks are gathered.
    pub(crate) gathers: bool,
}

/// The track to compact next, if any is worth it. Whoever `gathers` small ones has begun to, and takes
/// all of them.
pub(crate) fn choose<'r>(
    rows: impl Iterator<Item = (&'r TrackId, &'r TrackRow)> + Clone,
    situation: &Situation<'_>,
    zeal: Zeal,
    gathers: bool,
) -> Option<Choice> {
    let mut all = Room::default();
    let mut tracks = Vec::new();
    for (&id, row) in rows.clone().filter(|(_, row)| row.disk == situation.disk) {
        let room = Room::of(row, situation.punches);
        all.add(room);
        let is_whole = row.sealed == Some(row.applied);
        // A track that has nothing at all is unlinked.
        let has_something = !row.is_dead() || row.graves > 0;
        if is_whole && has_something && !situation.excluded.contains(&id) {
            tracks.push((id, room, situation.now_ms.saturating_sub(row.created_ms), row));
        }
    }
    let min_share = match zeal {
        Zeal::Thorough(share) => share,
        Zeal::Background if eager(&all, situation) => MIN_SHARE,
        Zeal::Background => WORTH_IT_SHARE,
    };
    let worth_it = tracks.iter().filter(|(_, room, ..)| room.share() >= min_share);
    let best = worth_it.max_by(|a, b| a.1.score(a.2).total_cmp(&b.1.score(b.2)));
    let can_go = |id: &TrackId| tracks.iter().any(|(other, ..)| other == id);
    let by_itself =
        best.map(|(id, ..)| *id).or_else(|| keeper_of_graves(rows, situation).filter(can_go));
    match by_itself {
        Some(track) => Some(Choice { track, gathers: false }),
        None => smallest(&tracks, situation, gathers).map(|track| Choice { track, gathers: true }),
    }
}

/// Whether garbage has come half way to the bound; three quarters, where puts use some of it up:
/// what is copied away before is copied in vain. What is pending comes back by itself.
fn eager(all: &Room, situation: &Situation<'_>) -> bool {
    let part = if situation.refills { 0.75 } else { 0.5 };
    let begin = 1.0 + (situation.max_amplification - 1.0) * part;
    (all.used - all.pending.min(all.used)) as f64 > all.cost as f64 * begin
}

/// The track that keeps all tombstones from being forgotten (invariant I9), where they have become too
/// many: nothing was known to be dead there longer ago than anywhere else, and something is by now.
fn keeper_of_graves<'r>(
    rows: impl Iterator<Item = (&'r TrackId, &'r TrackRow)> + Clone,
    situation: &Situation<'_>,
) -> Option<TrackId> {
    let needed: u64 = rows.clone().map(|(_, row)| Room::of(row, situation.punches).cost).sum();
    let graves: u64 = rows.clone().map(|(_, row)| row.graves).sum();
    if ((RECORD_BYTES * graves) as f64) < needed as f64 * GRAVES_SHARE {
        return None;
    }
    let (id, row) = rows.filter(|(_, row)| !row.is_dead()).min_by_key(|(_, row)| row.floor)?;
    (row.dead_records > 0 || row.start > 1).then_some(*id)
}

/// Tracks that openings and closings have left small are gathered, where they have become many: beside
/// the one of each shard that gathering leaves.
fn smallest(
    tracks: &[(TrackId, Room, u64, &TrackRow)],
    situation: &Situation<'_>,
    gathers: bool,
) -> Option<TrackId> {
    const MANY: usize = 16;
    let small = |row: &TrackRow| row.applied < situation.track_chunks / 8;
    let small: Vec<_> = tracks.iter().filter(|(.., row)| small(row)).collect();
    let least = small.iter().min_by_key(|(_, room, ..)| room.cost)?;
    let gathered = small.iter().filter(|(.., row)| row.compacted).map(|(.., row)| row.shard);
    let shards = gathered.collect::<BTreeSet<_>>().len();
    (gathers || small.len() > MANY + shards).then_some(least.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Seq;
    use crate::format::track_header::TrackKind;

    const DISK: DiskId = DiskId([1; 16]);
    const HOUR_MS: u64 = 3_600_000;

    /// A sealed track of 1,001 chunks of packed values, of which `dead` in a thousand are dead.
    fn packed(dead: u64, created_ms: u64) -> TrackRow {
        let row = TrackRow::new(DISK, TrackKind::Append, 0, created_ms, Seq(0));
        TrackRow {
            sealed: Some(1001),
            applied: 1001,
            head_chunks: 1000,
            live_records: 1000 - dead,
            packed_bytes: (1000 - dead) * 3900,
            live_bytes: (1000 - dead) * 3900,
            dead_records: dead,
            dead_bytes: dead * 3900,
            ..row
        }
    }

    fn choice(rows: &[(TrackId, TrackRow)], excluded: &[TrackId], zeal: Zeal) -> Option<TrackId> {
        let situation = Situation {
            disk: DISK,
            punches: true,
            refills: false,
            track_chunks: 1000,
            max_amplification: 1.3,
            excluded: &excluded.iter().copied().collect(),
            now_ms: 100 * HOUR_MS,
        };
        let rows = rows.iter().map(|(id, row)| (id, row));
        choose(rows, &situation, zeal, false).map(|choice| choice.track)
    }

    fn tracks(dead: &[u64]) -> Vec<(TrackId, TrackRow)> {
        (1..).map(TrackId).zip(dead.iter().map(|dead| packed(*dead, 100 * HOUR_MS))).collect()
    }

    #[test]
    fn the_track_with_the_most_garbage_goes_first_and_excluded_ones_not_at_all() {
        let rows = tracks(&[100, 700, 400]);
        assert_eq!(choice(&rows, &[], Zeal::Background), Some(TrackId(2)));
        assert_eq!(choice(&rows, &[TrackId(2)], Zeal::Background), Some(TrackId(3)));
    }

    #[test]
    fn little_garbage_is_left_until_the_disk_comes_half_way_to_its_bound() {
        assert_eq!(choice(&tracks(&[100, 120, 110]), &[], Zeal::Background), None);
        assert_eq!(choice(&tracks(&[130, 180, 150]), &[], Zeal::Background), Some(TrackId(2)));
        assert_eq!(choice(&tracks(&[0, 0, 0, 0, 0, 510]), &[], Zeal::Background), Some(TrackId(6)));
    }

    #[test]
    fn a_thorough_compaction_takes_every_track_above_the_share_that_is_asked() {
        let rows = tracks(&[100, 30]);
        assert_eq!(choice(&rows, &[], Zeal::Thorough(0.05)), Some(TrackId(1)));
        assert_eq!(choice(&rows[1..], &[], Zeal::Thorough(0.05)), None);
        assert_eq!(choice(&rows[1..], &[], Zeal::Thorough(0.0)), Some(TrackId(2)));
    }

    #[test]
    fn of_two_tracks_with_as_much_garbage_the_older_goes_first() {
        let mut rows = tracks(&[400, 400]);
        rows[0].1.created_ms = 50 * HOUR_MS;
        assert_eq!(choice(&rows, &[], Zeal::Background), Some(TrackId(1)));
        rows[0].1.created_ms = 100 * HOUR_MS;
        rows[1].1.created_ms = 50 * HOUR_MS;
        assert_eq!(choice(&rows, &[], Zeal::Background), Some(TrackId(2)));
    }

    #[test]
    fn active_tracks_and_dead_ones_are_not_compacted() {
        let mut rows = tracks(&[700, 1000]);
        rows[0].1.sealed = None;
        assert_eq!(choice(&rows, &[], Zeal::Thorough(0.0)), None);
    }

    #[test]
    fn freed_chunks_count_only_where_no_hole_can_be_punched() {
        let row = TrackRow { owned_chunks: 400, free_chunks: 600, ..packed(0, 0) };
        let row = TrackRow { head_chunks: 0, live_records: 4, packed_bytes: 0, ..row };
        assert_eq!(Room::of(&row, true).gain(), 0);
        assert_eq!(Room::of(&row, false).gain(), 600 * CHUNK_BYTES as u64);
    }

    /// Symptom: an idle store rewrote a track of one chunk, two hundred times a second, for ever. Cause:
    /// the track's header, which its copy has as well, counted as garbage, half of all that it took. Rule:
    /// what would be no smaller when it is rewritten is not garbage.
    #[test]
    fn a_track_that_would_be_as_large_again_is_left_alone() {
        let small = |dead: u64| TrackRow {
            sealed: Some(2),
            applied: 2,
            head_chunks: 1,
            live_records: 4 - dead,
            packed_bytes: (4 - dead) * 80,
            dead_records: dead,
            dead_bytes: dead * 80,
            ..packed(0, 100 * HOUR_MS)
        };
        for dead in 0..4 {
            let rows = [(TrackId(1), small(dead))];
            assert_eq!(choice(&rows, &[], Zeal::Background), None, "{dead} dead");
            assert_eq!(choice(&rows, &[], Zeal::Thorough(0.01)), None, "{dead} dead");
        }
    }

    #[test]
    fn where_holes_are_no_room_only_what_a_pass_has_left_behind_has_come_back() {
        let row = TrackRow { punched_chunks: 600, start: 201, owned_chunks: 400, ..packed(0, 0) };
        let row = TrackRow { head_chunks: 0, live_records: 4, packed_bytes: 0, ..row };
        assert_eq!(Room::of(&row, true).used, 401 * CHUNK_BYTES as u64);
        assert_eq!(Room::of(&row, false).used, 801 * CHUNK_BYTES as u64);
    }

    #[test]
    fn many_small_tracks_are_gathered_the_smallest_first() {
        let small = |n: u64| TrackRow {
            sealed: Some(11),
            applied: 11,
            head_chunks: 10,
            live_records: 10,
            packed_bytes: 30_000 + n,
            ..packed(0, 100 * HOUR_MS)
        };
        let rows: Vec<_> = (1..=17).map(|n| (TrackId(n), small(0))).collect();
        assert_eq!(choice(&rows[..16], &[], Zeal::Background), None);
        assert!(choice(&rows, &[], Zeal::Background).is_some());
    }

    /// Symptom: a store in which little ever dies kept every tombstone for ever. Cause: none may go as long
    /// as an older track has anything dead in it, and no track had enough of that to be compacted. Rule:
    /// the track that keeps them is, where they have become many.
    #[test]
    fn the_oldest_track_with_anything_dead_goes_where_tombstones_have_become_many() {
        let mut rows = tracks(&[0, 10, 20]);
        for ((_, row), floor) in rows.iter_mut().zip([30, 10, 20]) {
            row.floor = Seq(floor);
        }
        rows[2].1.graves = 1000;
        assert_eq!(choice(&rows, &[], Zeal::Background), None);
        rows[2].1.graves = 100_000;
        assert_eq!(choice(&rows, &[], Zeal::Background), Some(TrackId(2)));
        // Nothing is won by the others.
        assert_eq!(choice(&rows, &[TrackId(2)], Zeal::Background), None);
        rows[1].1 = TrackRow { floor: Seq(10), ..packed(0, 100 * HOUR_MS) };
        assert_eq!(choice(&rows, &[], Zeal::Background), None);
    }

    /// Symptom: each compaction rewrote one more of seventeen small tracks, and each opening as many as
    /// there were shards, for nothing. Cause: what gathering leaves counted as what is to be gathered.
    #[test]
    fn the_small_tracks_that_gathering_leaves_are_not_gathered() {
        let small = |shard: u8| TrackRow {
            sealed: Some(11),
            applied: 11,
            head_chunks: 10,
            live_records: 10,
            packed_bytes: 30_000,
            compacted: true,
            shard,
            ..packed(0, 100 * HOUR_MS)
        };
        let rows: Vec<_> = (0..64).map(|n| (TrackId(n), small(n as u8))).collect();
        assert_eq!(choice(&rows, &[], Zeal::Background), None);
        let alike: Vec<_> = (0..17).map(|n| (TrackId(n), small(0))).collect();
        assert_eq!(choice(&alike, &[], Zeal::Background), None);
    }
}
