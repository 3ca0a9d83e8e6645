//! Opening a queue: finding its end, and whether a crash has cut it off.
//!
//! Only the last track can have been written to. After a clean close `QUEUE` says where it ends, and
//! it is gone on with. After anything else, what the page cache shows need not be durable: so the
//! track is synced first, its cached pages are dropped, and then it is read. Items are kept up to
//! the first chunk that is not what was written; the next track's header says where that was.
//!
//! A bad chunk is damage, and not a torn end, if a later one says that the track had been durable
//! beyond it.

use std::io::ErrorKind as Kind;
use std::path::Path;
use std::sync::Arc;

use super::cursor::{Broken, Cursor};
use super::options::QueueOptions;
use super::source::{Source, read_meta, whole_chunks};
use super::tail::Tail;
use super::track::{self, Track};
use super::writer::{Inner, State};
use super::{Id, LOCK, QUEUE, TAIL, consumer, retention};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::{CHUNK_BYTES, HEADER_BYTES};
use crate::format::items::{Frame, ItemsChunk};
use crate::format::queue::{QueueMeta, TrackEnd, track_file_name};
use crate::format::{Fault, StoreId, TrackId};
use crate::io::{self, Io, OpenMode};
use crate::options::Create;
use crate::recovery::is_store;

const CHUNK: u32 = CHUNK_BYTES as u32;
/// How a file is named that is to replace another.
const UNFINISHED: &str = ".replace-";

/// The last track, as it was found.
struct Last {
    track: Option<Arc<Track>>,
    end: Id,
    frames: u64,
    /// Where writing was cut off.
    cut: Option<TrackEnd>,
}

impl Last {
    /// Nothing to go on with: the next track is the one behind `id`.
    fn before(id: TrackId) -> Self {
        Last { track: None, end: Id::new(id, CHUNK), frames: 0, cut: None }
    }
}

/// Opens the queue in `dir` for writing.
pub(super) fn open(dir: &Path, options: QueueOptions) -> Result<Inner> {
    let io = &*options.io.clone();
    let fail = |doing| move |path: &Path, e| Error::io(doing, path, e);
    let path = dir.join(QUEUE);
    let exists = io.exists(&path).map_err(|e| fail("look for")(&path, e))?;
    match options.create {
        Create::Never if !exists => {
            return Err(Error::new(ErrorKind::NotFound, "there is no queue").with_path(dir));
        }
        Create::Always if exists => {
            return Err(Error::new(ErrorKind::Exists, "there is a queue").with_path(dir));
        }
        _ if !exists && is_store(io, dir)? => {
            let what = "there is a store here; give the queue a directory of its own";
            return Err(Error::new(ErrorKind::Exists, what).with_path(dir));
        }
        _ => io.create_dir_all(dir).map_err(|e| fail("create")(dir, e))?,
    }
    let lock = lock(io, dir)?;
    step!("queue.open.locked");
    remove_unfinished(io, dir)?;
    let mut meta = if exists { read_meta(io, dir)? } else { new_meta(io, dir)? };
    let was = meta.clone();
    if exists && was.end.is_none() {
        consumer::settle(io, dir)?;
    }
    let last = find_last(io, dir, &mut meta, &options)?;
    keep_settings(&mut meta, &options);
    // Before anything is written: what `QUEUE` says of the end is true no more.
    meta.end = None;
    if !exists || meta != was {
        retention::replace(io, dir, &meta)?;
    }
    step!("queue.open.noted");
    retention::keep_reserve(io, dir, &meta);
    let tail = begin_tail(io, dir, &meta, last.end)?;
    step!("queue.open.told");
    let source = Source::of_owner(options.io.clone(), dir.to_owned(), &meta, tail.clone());
    let state = State::new(last.track, last.end, last.frames, last.cut);
    let inner = Inner::new(source, options, tail, meta, state, lock);
    if last.cut.is_some() {
        // At once, so that readers see where writing was cut off.
        inner.begin()?;
    }
    Ok(inner)
}

fn lock(io: &dyn Io, dir: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = dir.join(LOCK);
    let held = "the queue is open already, in this process or another";
    io.lock(&path).map_err(|e| Error::lock("lock", &path, e, dir, held))
}

/// Removes what replacing small files has left behind.
fn remove_unfinished(io: &dyn Io, dir: &Path) -> Result<()> {
    let names = io.list(dir).map_err(|e| Error::io("list the queue", dir, e))?;
    for name in names.iter().filter(|name| name.starts_with(UNFINISHED)) {
        // It costs room, and nothing else: it may stay.
        let _ = io.remove(&dir.join(name));
    }
    Ok(())
}

fn new_meta(io: &dyn Io, dir: &Path) -> Result<QueueMeta> {
    if let Some(track) = track::list(io, dir)?.first() {
        let what = "there are tracks, and no QUEUE that says whose they are";
        return Err(Error::new(ErrorKind::Damaged, what).with_path(dir).with_track(*track));
    }
    let id = io.random_id().map_err(|e| Error::io("draw an id for", dir, e))?;
    Ok(QueueMeta::new(StoreId(id)))
}

fn keep_settings(meta: &mut QueueMeta, options: &QueueOptions) {
    if let Some(max_age) = options.max_age {
        let as_ms = |age: std::time::Duration| age.as_millis().min(u64::MAX.into()) as u64;
        meta.max_age_ms = max_age.map(as_ms);
    }
    if let Some(max_bytes) = options.max_bytes {
        meta.max_bytes = max_bytes;
    }
}

fn begin_tail(io: &dyn Io, dir: &Path, meta: &QueueMeta, end: Id) -> Result<Tail> {
    let path = dir.join(TAIL);
    let page = io.page(&path, true).map_err(|e| Error::io("map", &path, e))?;
    let tail = Tail::of(page);
    // Where the starts of the machine can't be told apart, nobody else reads the page.
    let boot = io.boot_id().unwrap_or_default();
    tail.begin(meta.queue, boot, end, Id(meta.first_kept));
    Ok(tail)
}

/// Finds the last track and its end; drops those that are none of the queue's any more.
fn find_last(
    io: &dyn Io,
    dir: &Path,
    meta: &mut QueueMeta,
    options: &QueueOptions,
) -> Result<Last> {
    let sync_dir = || io.sync_dir(dir).map_err(|e| Error::io("sync", dir, e));
    let mut tracks = keep_named(io, dir, meta, options)?;
    // Where the last ones are missing, and that was accepted, their ids are not given out again.
    let missing = meta.lost.iter().map(|(from, _)| Id(*from).track()).max().unwrap_or_default();
    let first_behind = meta.rewrites.last().map(|last| TrackId(last.0 + 1));
    while let Some(id) = tracks.pop() {
        if id < missing {
            // Written behind it was a track that is gone: this one goes on no more.
            return Ok(Last::before(missing));
        }
        let path = dir.join(id.file_name());
        let track = Track::open(io, dir, meta.queue, (id, 0), OpenMode::ReadWrite)?;
        let track = Arc::new(track.ok_or_else(|| is_missing(dir, id, 0))?);
        let ended = meta.end.filter(|end| end.track == id && !end.cut);
        if ended.is_none() {
            // Its header, too, may be in memory only.
            settle(&track)?;
        }
        if let Err(fault) = track.header()? {
            let is_written = track.len()? > CHUNK_BYTES as u64 || Some(id) == first_behind;
            if !is_written {
                // It was being created.
                io.remove(&path).map_err(|e| Error::io("remove the track", &path, e))?;
                sync_dir()?;
                continue;
            }
            if !options.accept_loss {
                // Items were written to it, or the one before it was rewritten, only after its header
                // was durable.
                let damaged = Error::new(ErrorKind::Damaged, "the track's header is damaged");
                return Err(damaged.with_path(&path).with_track(id).with_source(fault));
            }
        }
        if let Some(end) = ended {
            match resume(&track, end.end)? {
                Ok(frames) => {
                    let end = Id::new(id, end.end);
                    return Ok(Last { track: Some(track), end, frames, cut: None });
                }
                Err(error) if !options.accept_loss => return Err(error),
                Err(_) => settle(&track)?,
            }
        }
        sync_dir()?;
        return recover(track, meta, options);
    }
    Ok(Last::before(missing))
}

/// The tracks that are kept, each in the file that `QUEUE` names. Removes all other files of tracks:
/// those of tracks that were truncated, those that a rewrite has replaced, and those of a rewrite
/// that came to nothing.
fn keep_named(
    io: &dyn Io,
    dir: &Path,
    meta: &mut QueueMeta,
    options: &QueueOptions,
) -> Result<Vec<TrackId>> {
    let first = Id(meta.first_kept).track();
    meta.rewrites.forget_before(first);
    let is_named = |(id, rewrite): &(_, u32)| *id >= first && meta.rewrites.of(*id) == *rewrite;
    let (named, others): (Vec<_>, Vec<_>) = track::files(io, dir)?.into_iter().partition(is_named);
    let tracks: Vec<TrackId> = named.into_iter().map(|(id, _)| id).collect();
    // Before anything goes: a `QUEUE` that is not of these files must not cost any.
    check_none_is_missing(dir, &tracks, meta, options)?;
    for (id, rewrite) in &others {
        let path = dir.join(track_file_name(*id, *rewrite));
        io.remove(&path).map_err(|e| Error::io("drop the track", &path, e))?;
    }
    if !others.is_empty() {
        step!("queue.open.dropped");
        io.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
    }
    Ok(tracks)
}

/// Tracks are numbered without gaps, from the first one that is kept, and there is one behind each
/// that was rewritten.
fn check_none_is_missing(
    dir: &Path,
    tracks: &[TrackId],
    meta: &mut QueueMeta,
    options: &QueueOptions,
) -> Result<()> {
    let first = Id(meta.first_kept).track();
    let mut last = tracks.last().copied().unwrap_or_default().max(first);
    last = last.max(meta.end.map_or(first, |end| end.track));
    last = last.max(meta.rewrites.last().map_or(first, |track| TrackId(track.0 + 1)));
    for number in first.0.max(1)..=last.0 {
        let id = TrackId(number);
        let range = (Id::new(id, 0).0, Id::new(TrackId(number.saturating_add(1)), 0).0);
        if tracks.binary_search(&id).is_ok() || meta.lost.contains(&range) {
            continue;
        }
        if !options.accept_loss {
            return Err(is_missing(dir, id, meta.rewrites.of(id)));
        }
        meta.lost.push(range);
    }
    Ok(())
}

fn is_missing(dir: &Path, id: TrackId, rewrite: u32) -> Error {
    let path = dir.join(track_file_name(id, rewrite));
    Error::new(ErrorKind::Damaged, "the track is missing").with_path(&path).with_track(id)
}

/// The frames of a track that was cleanly closed at `end`.
fn resume(track: &Track, end: u32) -> Result<Result<u64, Error>> {
    if end <= CHUNK {
        return Ok(Ok(0));
    }
    let chunk = (end - 1) / CHUNK;
    let mut bytes = vec![0; CHUNK_BYTES];
    match io::read_exact_at(&*track.file, &mut bytes, u64::from(chunk) * CHUNK_BYTES as u64) {
        Err(e) if e.kind() != Kind::UnexpectedEof => {
            return Err(track.io_error("read the track", e));
        }
        _ => {}
    }
    let frames = ItemsChunk::open(&bytes, track.place(chunk))
        .and_then(|items| frames_in(&items, CHUNK_BYTES));
    Ok(frames.map_err(|fault| damaged(track, chunk, fault)))
}

/// Frames that begin in the track up to `end` of a chunk, in bytes from its beginning.
pub(super) fn frames_in(items: &ItemsChunk<'_>, end: usize) -> Result<u64, Fault> {
    let (mut frames, mut at) = (items.frames_before, items.first);
    while let Some(offset) = at.filter(|offset| HEADER_BYTES + offset < end) {
        frames += 1;
        at = match items.frame(offset)? {
            Frame::Whole { next, .. } => (next < items.end()).then_some(next),
            Frame::GoesOn => None,
        };
    }
    Ok(frames)
}

fn damaged(track: &Track, chunk: u32, fault: Fault) -> Error {
    let what = format!("items that were durable are damaged, first in chunk {chunk}");
    Error::new(ErrorKind::Damaged, what)
        .with_path(&track.path)
        .with_place(track.id, chunk)
        .with_source(fault)
}

/// Makes a track what it is on the disk: what a killed process has written may be in memory only, and
/// what a failed sync has dropped may be there to be read and nowhere else.
fn settle(track: &Track) -> Result<()> {
    track.file.sync_data().map_err(|e| track.io_error("sync the track", e))?;
    track.file.drop_cache().map_err(|e| track.io_error("read anew", e))?;
    step!("queue.open.track-synced");
    Ok(())
}

/// Finds the end of a track that was being written to, and was settled.
fn recover(track: Arc<Track>, meta: &mut QueueMeta, options: &QueueOptions) -> Result<Last> {
    let len = track.len()?;
    if len <= CHUNK_BYTES as u64 {
        // Nothing was ever appended to it, nor was an id in it given out.
        let end = Id::new(track.id, CHUNK);
        return Ok(Last { track: Some(track), end, frames: 0, cut: None });
    }
    let limit = whole_chunks(len);
    let mut cursor = Cursor::new(track.clone(), 0)?;
    let mut gap: Option<u32> = None;
    loop {
        match cursor.advance(limit) {
            Ok(Some(position)) => {
                if let Some(from) = gap.take() {
                    let id = |position| Id::new(track.id, position).0;
                    meta.lost.push((id(from), id(position)));
                }
            }
            Ok(None) => break,
            Err(Broken::Io(e)) => return Err(track.io_error("read the track", e)),
            Err(Broken::Chunk(chunk, fault)) => {
                if !is_vouched_for(&track, chunk, limit)? {
                    break;
                }
                if !options.accept_loss {
                    return Err(damaged(&track, chunk, fault));
                }
                gap.get_or_insert(cursor.end());
                let passed = cursor.pass_over(chunk, limit);
                passed.map_err(|broken| broken.into_error(&track))?;
            }
        }
    }
    let end = cursor.end();
    tracing::info!(track = %track.id, end, "the queue was not closed: it is cut off here");
    // What was taken ahead goes back, and what is torn, or retention would count it. Best effort; and
    // not all of it, or the next opening would find a track in which no id was given out.
    let kept = u64::from(end.div_ceil(CHUNK).max(2)) * CHUNK_BYTES as u64;
    let _ = track.file.set_len(kept).and_then(|()| track.file.sync_data());
    let cut = Some(TrackEnd { track: track.id, end, cut: true });
    Ok(Last { track: None, end: Id::new(track.id, end), frames: 0, cut })
}

/// Whether a later chunk says that the track was durable beyond this one.
fn is_vouched_for(track: &Track, bad: u32, limit: u32) -> Result<bool> {
    let mut bytes = vec![0; 64 * CHUNK_BYTES];
    let mut chunk = bad + 1;
    while chunk < limit / CHUNK {
        let count = (limit / CHUNK - chunk).min(64);
        let window = &mut bytes[..count as usize * CHUNK_BYTES];
        io::read_exact_at(&*track.file, window, u64::from(chunk) * CHUNK_BYTES as u64)
            .map_err(|e| track.io_error("read the track", e))?;
        for bytes in window.chunks_exact(CHUNK_BYTES) {
            let items = ItemsChunk::open(bytes, track.place(chunk));
            if items.is_ok_and(|items| items.durable > u64::from(bad) * CHUNK_BYTES as u64) {
                return Ok(true);
            }
            chunk += 1;
        }
    }
    Ok(false)
}
