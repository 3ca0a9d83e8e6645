//! What a queue holds, counted and verified.

use std::sync::Arc;

use super::cursor::Cursor;
use super::source::Source;
use super::stream::{Entry, Stream};
use super::track::{self, Track};
use super::{Id, open};
use crate::error::Result;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::{StoreId, TrackId};
use crate::io;

/// What of a queue is durable.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let queue = kogia::queue::Queue::open(dir.path())?;
/// queue.append_batch(["a", "b"])?;
/// let stats = queue.stats()?;
/// assert_eq!((stats.items, stats.tracks), (2, 1));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueStats {
    /// The queue.
    pub id: StoreId,
    /// Items that are kept.
    pub items: u64,
    /// Tracks that there are.
    pub tracks: u64,
    /// Those of them that were rewritten.
    pub rewritten_tracks: u64,
    /// Bytes of their files, with what is taken ahead for the last one.
    pub file_bytes: u64,
    /// No item before this id is kept.
    pub first_kept: Id,
    /// No item at this id or behind it is durable.
    pub end: Id,
}

/// What reading a queue has found.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let queue = kogia::queue::Queue::open(dir.path())?;
/// queue.append(b"media")?;
/// let report = queue.verify()?;
/// assert_eq!((report.items, report.bytes), (1, 5));
/// assert!(report.problems.is_empty());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueueReport {
    /// Items that were read and are what was written.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where crashes cut writing off.
    pub cuts: Vec<Id>,
    /// What is damaged or missing: each names its track and chunk.
    pub problems: Vec<String>,
}

pub(super) fn stats(source: &Arc<Source>) -> Result<QueueStats> {
    let ends = source.ends()?;
    let (first_kept, end) = (ends.first_kept, ends.durable);
    let mut stats = QueueStats {
        id: source.queue,
        items: 0,
        tracks: 0,
        rewritten_tracks: 0,
        file_bytes: 0,
        first_kept,
        end,
    };
    let tracks = track::list(&*source.io, &source.dir)?;
    for id in tracks.into_iter().filter(|id| *id >= first_kept.track() && *id <= end.track()) {
        let Some(track) = source.open_track(id)?.map(Arc::new) else { continue };
        stats.tracks += 1;
        stats.file_bytes += track.len()?;
        stats.rewritten_tracks += u64::from(track.rewritten.is_some());
        let limit = match track.rewritten {
            Some(of) => of.end,
            None if id == end.track() => end.position(),
            None => end_of(source, id)?,
        };
        stats.items += frames_before(&track, limit)?;
        if id == first_kept.track() {
            stats.items -= truncated(&track, first_kept.position(), limit)?;
        }
    }
    Ok(stats)
}

/// Where a track ends that is not the last one; 0 if the next one is gone, and this one with it.
fn end_of(source: &Source, id: TrackId) -> Result<u32> {
    let Some(next) = source.open_track(TrackId(id.0 + 1))? else { return Ok(0) };
    let header = next.header()?.map_err(|fault| next.fault(0, fault))?;
    Ok(header.predecessor.map_or(0, |before| before.end))
}

/// Items of a track that end at `limit`, or before it.
fn frames_before(track: &Track, limit: u32) -> Result<u64> {
    if limit <= CHUNK_BYTES as u32 {
        return Ok(0);
    }
    let chunk = (limit - 1) / CHUNK_BYTES as u32;
    let mut bytes = vec![0; CHUNK_BYTES];
    io::read_exact_at(&*track.file, &mut bytes, u64::from(chunk) * CHUNK_BYTES as u64)
        .map_err(|e| track.io_error("read the track", e))?;
    let used = limit - chunk * CHUNK_BYTES as u32;
    let frames = track
        .items(chunk, &bytes)
        .and_then(|items| open::frames_in(&items, used as usize))
        .map_err(|fault| track.fault(chunk, fault))?;
    Ok(frames)
}

/// Items of a track before `first_kept`.
fn truncated(track: &Arc<Track>, first_kept: u32, limit: u32) -> Result<u64> {
    if first_kept <= CHUNK_BYTES as u32 {
        return Ok(0);
    }
    let mut cursor = Cursor::new(track.clone(), first_kept)?;
    let kept = cursor.advance(limit).map_err(|broken| broken.into_error(track))?;
    match (kept, cursor.frames()) {
        (Some(_), Some(frames)) => Ok(frames - 1),
        _ => frames_before(track, limit),
    }
}

pub(super) fn verify(source: &Arc<Source>) -> Result<QueueReport> {
    let mut report = QueueReport::default();
    let mut stream = Stream::new(source.clone(), None)?.accept_loss(true);
    while let Some(entry) = stream.next()? {
        match entry {
            Entry::Item(_, item) => {
                report.items += 1;
                report.bytes += item.len() as u64;
            }
            Entry::Cut(id) => report.cuts.push(id),
            Entry::Lost(from, to) => {
                let why = stream.why_lost();
                report.problems.push(format!("items from {from} to {to} are lost: {why}"));
            }
        }
    }
    Ok(report)
}
