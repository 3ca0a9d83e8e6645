//! A queue's track header, its file `QUEUE`, and its consumers' positions.
//!
//! A track's file is named by its id, ten digits and `.track`; one that a rewrite has written by
//! both ids, as in `0000000007.0000000003.track`: track 7 by rewrite 3. `QUEUE` says which rewrite
//! each track has; a file of any other is left over, and is removed when the queue is opened.
//!
//! The header is the payload of a track's chunk 0, of kind track header and seq 0:
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `KOGIAQTR` |
//! | 8 | 4 | version | 1, or 2 for a track that was rewritten |
//! | 12 | 16 | queue | queue id |
//! | 28 | 4 | track | track id, as in the file's name |
//! | 32 | 4 | predecessor | the track before this one; 0 for none |
//! | 36 | 4 | predecessor end | position at which that ends; all before was durable |
//! | 40 | 1 | cut | 1 if the predecessor was cut off there by a crash, 0 if it was full |
//! | 41 | 3 | reserved | 0 |
//! | 44 | 8 | created | milliseconds since 1970 |
//! | 52 | 4 | rewrite | in version 2 only: the rewrite that wrote the file |
//! | 56 | 4 | end | in version 2 only: where in the file its last item ends |
//!
//! A rewrite leaves all else as it was: what the next header says of the end are positions of items.
//!
//! Example: the payload of a first track begins `4b 4f 47 49 41 51 54 52 01 00 00 00`.
//!
//! The files are in the envelope of [`meta`], with the magic `KOGIAQUE` for `QUEUE` and `KOGIACSM`
//! for a consumer's; both are of version 2. In version 1 `QUEUE` had no rewritten tracks, and a
//! consumer's file not its name; they are still read.

use serde::{Deserialize, Serialize};

use super::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES};
use super::{Fault, Seq, StoreId, TrackId, bytes_at, codec, meta};

/// The version of `QUEUE`.
const META_VERSION: u32 = 2;
/// The version of a consumer's file.
const CONSUMER_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"KOGIAQTR";
const VERSION: u32 = 1;
const BYTES: usize = 52;
const REWRITTEN_VERSION: u32 = 2;
const REWRITTEN_BYTES: usize = 60;
const WHAT: &str = "queue's track header";

/// Where a track of a queue ended.
///
/// ```
/// use kogia::format::{TrackId, queue::{QueueTrack, TrackEnd}};
/// # use kogia::format::StoreId;
///
/// let end = TrackEnd { track: TrackId(2), end: 70_000, cut: true };
/// # let (queue, created_ms, rewritten) = (StoreId([1; 16]), 5, None);
/// let predecessor = Some(end);
/// let after_a_crash =
///     QueueTrack { queue, track: TrackId(3), predecessor, created_ms, rewritten };
/// assert!(after_a_crash.predecessor.is_some_and(|before| before.cut));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackEnd {
    /// The track.
    pub track: TrackId,
    /// Position behind its last item.
    pub end: u32,
    /// Whether writing was cut off there.
    pub cut: bool,
}

/// What the header of a rewritten track adds.
///
/// ```
/// use kogia::format::queue::{RewrittenEnd, track_file_name};
/// # use kogia::format::TrackId;
///
/// let rewritten = RewrittenEnd { rewrite: 3, end: 70_000 };
/// let name = track_file_name(TrackId(7), rewritten.rewrite);
/// assert_eq!(name, "0000000007.0000000003.track");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RewrittenEnd {
    /// The rewrite that wrote the file; never 0.
    pub rewrite: u32,
    /// Where in the file its last item ends.
    pub end: u32,
}

/// The name of a track's file, as the rewrite of this number wrote it; 0 for none.
#[must_use]
pub fn track_file_name(track: TrackId, rewrite: u32) -> String {
    match rewrite {
        0 => track.file_name(),
        _ => format!("{:010}.{}", track.0, TrackId(rewrite).file_name()),
    }
}

/// The track that a file name means, and the rewrite, 0 for none; or `None` for any other file.
///
/// ```
/// use kogia::format::{TrackId, queue::track_of_file_name};
///
/// assert_eq!(track_of_file_name("0000000007.track"), Some((TrackId(7), 0)));
/// assert_eq!(track_of_file_name("0000000007.0000000003.track"), Some((TrackId(7), 3)));
/// assert_eq!(track_of_file_name("0000000007.0000000000.track"), None);
/// ```
#[must_use]
pub fn track_of_file_name(name: &str) -> Option<(TrackId, u32)> {
    if let Some(track) = TrackId::from_file_name(name) {
        return Some((track, 0));
    }
    let rewrite = TrackId::from_file_name(name.get(11..)?)?.0;
    let track = TrackId::from_file_name(&format!("{}track", name.get(..11)?))?;
    (rewrite != 0).then_some((track, rewrite))
}

/// Chunk 0 of a queue's track.
///
/// ```
/// use kogia::format::{StoreId, TrackId, queue::QueueTrack};
///
/// let (queue, track) = (StoreId([1; 16]), TrackId(1));
/// let (predecessor, rewritten, created_ms) = (None, None, 1_700_000_000_000);
/// let header = QueueTrack { queue, track, predecessor, created_ms, rewritten };
/// assert_eq!(QueueTrack::from_chunk(&header.to_chunk(), queue, track), Ok(header));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueTrack {
    /// The queue that owns the track.
    pub queue: StoreId,
    /// Its number.
    pub track: TrackId,
    /// The track before it.
    pub predecessor: Option<TrackEnd>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// What a rewrite adds.
    pub rewritten: Option<RewrittenEnd>,
}

impl QueueTrack {
    /// The header as the track's first chunk.
    #[must_use]
    pub fn to_chunk(&self) -> Vec<u8> {
        let none = TrackEnd { track: TrackId(0), end: 0, cut: false };
        let before = self.predecessor.unwrap_or(none);
        let (version, used) = match self.rewritten {
            None => (VERSION, BYTES),
            Some(_) => (REWRITTEN_VERSION, REWRITTEN_BYTES),
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        let payload = &mut chunk[HEADER_BYTES..HEADER_BYTES + used];
        payload[..8].copy_from_slice(MAGIC);
        payload[8..12].copy_from_slice(&version.to_le_bytes());
        payload[12..28].copy_from_slice(&self.queue.0);
        payload[28..32].copy_from_slice(&self.track.0.to_le_bytes());
        payload[32..36].copy_from_slice(&before.track.0.to_le_bytes());
        payload[36..40].copy_from_slice(&before.end.to_le_bytes());
        payload[40] = before.cut.into();
        payload[44..52].copy_from_slice(&self.created_ms.to_le_bytes());
        if let Some(RewrittenEnd { rewrite, end }) = self.rewritten {
            payload[52..56].copy_from_slice(&rewrite.to_le_bytes());
            payload[56..60].copy_from_slice(&end.to_le_bytes());
        }
        let header = ChunkHeader {
            used: used as u16,
            first: true,
            last: true,
            kind: ChunkKind::TrackHeader,
            seq: Seq(0),
            next: 0,
        };
        header.seal_whole(&mut chunk, place(self.queue, self.track));
        chunk
    }

    /// Decodes chunk 0 of the track `track` of `queue`.
    pub fn from_chunk(bytes: &[u8], queue: StoreId, track: TrackId) -> Result<Self, Fault> {
        let (header, payload) = chunk::open(bytes, place(queue, track))?;
        if header.kind != ChunkKind::TrackHeader {
            return Err(invalid(format!("chunk 0 is of kind {:?}", header.kind)));
        }
        if payload.len() < BYTES {
            return Err(Fault::Short { what: WHAT, needed: BYTES, found: payload.len() });
        }
        if &payload[..8] != MAGIC {
            return Err(Fault::Magic { what: WHAT });
        }
        let found = u32::from_le_bytes(bytes_at(payload, 8));
        let rewritten = match found {
            VERSION => None,
            REWRITTEN_VERSION => Some(rewritten_end(payload)?),
            _ => return Err(Fault::Version { what: WHAT, found, known: REWRITTEN_VERSION }),
        };
        let known = (StoreId(bytes_at(payload, 12)), number(payload, 28));
        if known != (queue, track) {
            return Err(invalid(format!("it is of track {} of queue {}", known.1, known.0)));
        }
        let cut = match payload[40] {
            0 => false,
            1 => true,
            other => return Err(invalid(format!("cut is {other}"))),
        };
        let end = u32::from_le_bytes(bytes_at(payload, 36));
        let before = TrackEnd { track: number(payload, 32), end, cut };
        let predecessor = (before.track.0 != 0).then_some(before);
        let created_ms = u64::from_le_bytes(bytes_at(payload, 44));
        Ok(QueueTrack { queue, track, predecessor, created_ms, rewritten })
    }
}

fn rewritten_end(payload: &[u8]) -> Result<RewrittenEnd, Fault> {
    if payload.len() < REWRITTEN_BYTES {
        return Err(Fault::Short { what: WHAT, needed: REWRITTEN_BYTES, found: payload.len() });
    }
    let rewrite = u32::from_le_bytes(bytes_at(payload, 52));
    let end = u32::from_le_bytes(bytes_at(payload, 56));
    if rewrite == 0 || end < CHUNK_BYTES as u32 {
        return Err(invalid(format!("rewrite {rewrite} ends at {end}")));
    }
    Ok(RewrittenEnd { rewrite, end })
}

fn number(payload: &[u8], at: usize) -> TrackId {
    TrackId(u32::from_le_bytes(bytes_at(payload, at)))
}

fn place(queue: StoreId, track: TrackId) -> ChunkPlace {
    ChunkPlace { store: queue, track, chunk: 0 }
}

fn invalid(why: String) -> Fault {
    Fault::Invalid { what: WHAT, why }
}

/// Which rewrite has written the tracks, of those that were rewritten.
///
/// ```
/// use kogia::format::{TrackId, queue::Rewrites};
///
/// let mut rewrites = Rewrites::default();
/// rewrites.add(&[TrackId(3), TrackId(4), TrackId(5)], 1);
/// rewrites.add(&[TrackId(4)], 2);
/// let of = |track| rewrites.of(TrackId(track));
/// assert_eq!((of(2), of(3), of(4), of(5), rewrites.newest()), (0, 1, 2, 1, 2));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rewrites {
    /// Runs of tracks: the first, the last, and the rewrite of all of them; in order.
    runs: Vec<(TrackId, TrackId, u32)>,
}

impl Rewrites {
    /// The rewrite that has written a track; 0 for none.
    #[must_use]
    pub fn of(&self, track: TrackId) -> u32 {
        let at = self.runs.partition_point(|(_, last, _)| *last < track);
        self.runs.get(at).filter(|(first, ..)| *first <= track).map_or(0, |(.., rewrite)| *rewrite)
    }

    /// The greatest number of a rewrite.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.runs.iter().map(|(.., rewrite)| *rewrite).max().unwrap_or(0)
    }

    /// The last track that was rewritten.
    #[must_use]
    pub fn last(&self) -> Option<TrackId> {
        self.runs.last().map(|(_, last, _)| *last)
    }

    /// How many tracks were rewritten.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|(first, last, _)| u64::from(last.0 - first.0) + 1).sum()
    }

    /// Says that a rewrite has written these tracks, which are in order.
    pub fn add(&mut self, tracks: &[TrackId], rewrite: u32) {
        for track in tracks {
            self.cut_out(*track);
            let at = self.runs.partition_point(|(_, last, _)| last < track);
            match at.checked_sub(1).map(|before| &mut self.runs[before]) {
                Some((_, last, of)) if last.0 + 1 == track.0 && *of == rewrite => *last = *track,
                _ => self.runs.insert(at, (*track, *track, rewrite)),
            }
        }
    }

    /// Forgets the tracks before `first`.
    pub fn forget_before(&mut self, first: TrackId) {
        self.runs.retain(|(_, last, _)| *last >= first);
        if let Some((begin, ..)) = self.runs.first_mut() {
            *begin = first.max(*begin);
        }
    }

    fn cut_out(&mut self, track: TrackId) {
        let at = self.runs.partition_point(|(_, last, _)| *last < track);
        let Some((first, last, rewrite)) = self.runs.get(at).copied() else { return };
        if first > track {
            return;
        }
        self.runs.remove(at);
        if track < last {
            self.runs.insert(at, (TrackId(track.0 + 1), last, rewrite));
        }
        if first < track {
            self.runs.insert(at, (first, TrackId(track.0 - 1), rewrite));
        }
    }

    /// Runs are in order, apart from each other, and of tracks that have another after them.
    fn check(&self) -> Result<(), Fault> {
        let mut next = TrackId(1);
        for &(first, last, rewrite) in &self.runs {
            if first < next || last < first || last.0 == u32::MAX || rewrite == 0 {
                let why = format!("tracks {first} to {last} were rewritten by {rewrite}");
                return Err(Fault::Invalid { what: "QUEUE", why });
            }
            next = TrackId(last.0 + 1);
        }
        Ok(())
    }
}

/// What is known of a queue beside its tracks: the file `QUEUE`.
///
/// ```
/// use kogia::format::{StoreId, queue::QueueMeta};
///
/// let meta = QueueMeta::new(StoreId([1; 16]));
/// assert_eq!(QueueMeta::decode(&meta.encode()), Ok(meta));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueMeta {
    /// The queue.
    pub queue: StoreId,
    /// What was truncated lies before this id.
    pub first_kept: u64,
    /// Where the last track ends, if that is known: a track behind it, or none where this is
    /// `None`, was being written to.
    pub end: Option<TrackEnd>,
    /// Items are dropped that are older than so many milliseconds.
    pub max_age_ms: Option<u64>,
    /// The oldest items are dropped when the tracks have more bytes than these.
    pub max_bytes: Option<u64>,
    /// Ranges of ids whose loss was accepted.
    pub lost: Vec<(u64, u64)>,
    /// The tracks that were rewritten. The last track never is.
    pub rewrites: Rewrites,
}

/// `QUEUE` as it was in version 1.
#[derive(Deserialize)]
struct QueueMetaV1 {
    queue: StoreId,
    first_kept: u64,
    end: Option<TrackEnd>,
    max_age_ms: Option<u64>,
    max_bytes: Option<u64>,
    lost: Vec<(u64, u64)>,
}

impl From<QueueMetaV1> for QueueMeta {
    fn from(old: QueueMetaV1) -> Self {
        QueueMeta {
            queue: old.queue,
            first_kept: old.first_kept,
            end: old.end,
            max_age_ms: old.max_age_ms,
            max_bytes: old.max_bytes,
            lost: old.lost,
            rewrites: Rewrites::default(),
        }
    }
}

impl QueueMeta {
    /// A queue in which there is nothing yet.
    #[must_use]
    pub fn new(queue: StoreId) -> Self {
        QueueMeta {
            queue,
            first_kept: 0,
            end: None,
            max_age_ms: None,
            max_bytes: None,
            lost: Vec::new(),
            rewrites: Rewrites::default(),
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        meta::seal(b"KOGIAQUE", META_VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let what = "QUEUE";
        let meta: Self = match meta::open(what, b"KOGIAQUE", bytes)? {
            (1, value) => codec::decode::<QueueMetaV1>(what, value)?.into(),
            (META_VERSION, value) => codec::decode(what, value)?,
            (found, _) => return Err(Fault::Version { what, found, known: META_VERSION }),
        };
        meta.rewrites.check()?;
        Ok(meta)
    }
}

/// The position of a consumer.
///
/// ```
/// use kogia::format::{StoreId, queue::ConsumerMeta};
///
/// let (queue, consumer) = (StoreId([1; 16]), "shipper".into());
/// let position = ConsumerMeta { queue, committed: 4122, consumer };
/// assert_eq!(ConsumerMeta::decode(&position.encode()), Ok(position));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsumerMeta {
    /// The queue.
    pub queue: StoreId,
    /// The id of the last item that was dealt with.
    pub committed: u64,
    /// The consumer's name, so that another's file does not pass for its own. Empty where version 1
    /// wrote the file, which had none.
    #[serde(deserialize_with = "codec::text")]
    pub consumer: String,
}

/// A consumer's file as it was in version 1.
#[derive(Deserialize)]
struct ConsumerMetaV1 {
    queue: StoreId,
    committed: u64,
}

impl ConsumerMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        meta::seal(b"KOGIACSM", CONSUMER_VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let what = "consumer";
        match meta::open(what, b"KOGIACSM", bytes)? {
            (1, value) => {
                let ConsumerMetaV1 { queue, committed } = codec::decode(what, value)?;
                Ok(ConsumerMeta { queue, committed, consumer: String::new() })
            }
            (CONSUMER_VERSION, value) => codec::decode(what, value),
            (found, _) => Err(Fault::Version { what, found, known: CONSUMER_VERSION }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_begin_as_documented() {
        let (queue, track, created_ms) = (StoreId([1; 16]), TrackId(3), 5);
        let end = TrackEnd { track: TrackId(2), end: 99, cut: true };
        let rewritten = RewrittenEnd { rewrite: 7, end: 70_000 };
        for predecessor in [None, Some(end)] {
            for (version, rewritten) in [(1, None), (2, Some(rewritten))] {
                let header = QueueTrack { queue, track, predecessor, created_ms, rewritten };
                let chunk = header.to_chunk();
                assert_eq!(&chunk[HEADER_BYTES..][..9], [&MAGIC[..], &[version]].concat());
                assert_eq!(QueueTrack::from_chunk(&chunk, queue, track), Ok(header));
                assert!(QueueTrack::from_chunk(&chunk, queue, TrackId(4)).is_err());
            }
        }
        let wrong = Some(RewrittenEnd { rewrite: 0, ..rewritten });
        let header = QueueTrack { queue, track, predecessor: None, created_ms, rewritten: wrong };
        assert!(QueueTrack::from_chunk(&header.to_chunk(), queue, track).is_err());
    }

    fn example() -> QueueMeta {
        let end = Some(TrackEnd { track: TrackId(9), end: 99, cut: true });
        let lost = vec![(1, 2)];
        let mut rewrites = Rewrites::default();
        rewrites.add(&[TrackId(2), TrackId(3)], 1);
        let max_bytes = Some(7);
        QueueMeta { end, lost, max_bytes, rewrites, ..QueueMeta::new(StoreId([1; 16])) }
    }

    #[test]
    fn every_flipped_bit_of_the_small_files_is_found() {
        let good = example().encode();
        assert_eq!(QueueMeta::decode(&good), Ok(example()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(QueueMeta::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn version_1_of_queue_is_read_and_a_newer_one_is_named() {
        // As version 1 wrote it: with no rewrites behind the rest.
        let old = QueueMeta { rewrites: Rewrites::default(), ..example() };
        let mut value = Vec::new();
        codec::encode_into(&old, &mut value);
        assert_eq!(value.pop(), Some(0), "an empty list of rewrites");
        assert_eq!(QueueMeta::decode(&sealed(1, &value)), Ok(old));
        let newer = QueueMeta::decode(&sealed(3, &value));
        assert_eq!(newer, Err(Fault::Version { what: "QUEUE", found: 3, known: 2 }));
    }

    fn sealed(version: u32, value: &[u8]) -> Vec<u8> {
        let mut file = b"KOGIAQUE".to_vec();
        file.extend_from_slice(&version.to_le_bytes());
        file.extend_from_slice(&(value.len() as u32).to_le_bytes());
        file.extend_from_slice(value);
        file.extend_from_slice(&crate::format::checksum::crc32c(&file).to_le_bytes());
        file
    }

    #[test]
    fn rewrites_are_runs_that_split_and_join() {
        let tracks: Vec<_> = (1..=9).map(TrackId).collect();
        let mut rewrites = Rewrites::default();
        rewrites.add(&tracks, 1);
        assert_eq!((rewrites.runs.len(), rewrites.count()), (1, 9));
        rewrites.add(&[TrackId(1), TrackId(4), TrackId(5), TrackId(9)], 2);
        let of =
            |rewrites: &Rewrites| (0..=10).map(|t| rewrites.of(TrackId(t))).collect::<Vec<_>>();
        assert_eq!(of(&rewrites), [0, 2, 1, 1, 2, 2, 1, 1, 1, 2, 0]);
        assert_eq!((rewrites.runs.len(), rewrites.newest()), (5, 2));
        assert_eq!(rewrites.check(), Ok(()));
        rewrites.forget_before(TrackId(3));
        assert_eq!(of(&rewrites), [0, 0, 0, 1, 2, 2, 1, 1, 1, 2, 0]);
        rewrites.add(&tracks[2..], 3);
        assert_eq!(rewrites.runs, [(TrackId(3), TrackId(9), 3)]);
        assert_eq!(rewrites.last(), Some(TrackId(9)));
    }

    #[test]
    fn rewrites_out_of_order_are_refused() {
        let run = |first, last, rewrite| (TrackId(first), TrackId(last), rewrite);
        for runs in [
            vec![run(0, 1, 1)],
            vec![run(2, 1, 1)],
            vec![run(1, 1, 0)],
            vec![run(1, 3, 1), run(3, 4, 2)],
            vec![run(5, 6, 1), run(1, 2, 2)],
            vec![run(1, u32::MAX, 1)],
        ] {
            let meta = QueueMeta { rewrites: Rewrites { runs: runs.clone() }, ..example() };
            assert!(QueueMeta::decode(&meta.encode()).is_err(), "{runs:?}");
        }
    }
}
