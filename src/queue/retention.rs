//! Dropping whole tracks from the front: asked for, or because of their age or size.

use std::io::ErrorKind as Kind;
use std::path::Path;
use std::time::Duration;

use super::track;
use super::writer::Inner;
use super::{Id, QUEUE, RESERVE};
use crate::error::{Error, Result};
use crate::format::TrackId;
use crate::format::queue::{QueueMeta, TrackEnd, track_file_name};
use crate::io::{Io, OpenMode};

const RESERVE_BYTES: u64 = 16 << 10;

/// Drops what lies before `keep`, or before the queue's end where that comes first.
pub(super) fn truncate(inner: &Inner, keep: Id) -> Result<()> {
    let mut meta = inner.meta.lock().expect("no panic holds it");
    let keep = keep.min(inner.state().end).0;
    if keep > meta.first_kept {
        let mut next = meta.clone();
        next.first_kept = keep;
        next.lost.retain(|(_, to)| *to > keep);
        next.rewrites.forget_before(Id(keep).track());
        store(inner, &next)?;
        *meta = next;
        // Readers pass over what is truncated before its tracks go.
        inner.tail.keep_from(Id(keep));
    }
    step!("queue.truncated");
    drop_tracks(inner, Id(meta.first_kept).track())?;
    keep_reserve(&*inner.source.io, &inner.source.dir, &meta);
    Ok(())
}

/// Unlinks the tracks before `first`, whatever wrote them.
fn drop_tracks(inner: &Inner, first: TrackId) -> Result<()> {
    let (io, dir) = (&*inner.source.io, &inner.source.dir);
    let files = track::files(io, dir)?;
    remove_files(inner, files.into_iter().filter(|(id, _)| *id < first))
}

/// Unlinks files of tracks, each the one that a rewrite wrote, durably; some may be gone already.
pub(super) fn remove_files(
    inner: &Inner,
    files: impl IntoIterator<Item = (TrackId, u32)>,
) -> Result<()> {
    let (io, dir) = (&*inner.source.io, &inner.source.dir);
    let mut removed = false;
    for (id, rewrite) in files {
        let path = dir.join(track_file_name(id, rewrite));
        match io.remove(&path) {
            Err(e) if e.kind() != Kind::NotFound => {
                return Err(Error::io("drop the track", &path, e));
            }
            _ => removed = true,
        }
    }
    if removed {
        step!("queue.track-dropped");
        io.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
    }
    Ok(())
}

/// Replaces `QUEUE` of an open queue.
pub(super) fn store(inner: &Inner, meta: &QueueMeta) -> Result<()> {
    replace(&*inner.source.io, &inner.source.dir, meta)
}

/// Replaces `QUEUE`, with the room that is kept for it where there is no other.
pub(super) fn replace(io: &dyn Io, dir: &Path, meta: &QueueMeta) -> Result<()> {
    let path = dir.join(QUEUE);
    let mut replaced = io.replace(&path, &meta.encode());
    if replaced.as_ref().is_err_and(|e| e.kind() == Kind::StorageFull)
        && io.remove(&dir.join(RESERVE)).is_ok()
    {
        replaced = io.sync_dir(dir).and_then(|()| io.replace(&path, &meta.encode()));
    }
    replaced.map_err(|e| Error::io("write", &path, e))
}

/// Keeps room for a `QUEUE`, so that a full disk can still be truncated and closed. Best effort.
pub(super) fn keep_reserve(io: &dyn Io, dir: &Path, meta: &QueueMeta) {
    let path = dir.join(RESERVE);
    let wanted = RESERVE_BYTES.max(2 * meta.encode().len() as u64);
    let mode = match io.exists(&path) {
        Ok(true) => OpenMode::ReadWrite,
        Ok(false) => OpenMode::CreateNew,
        Err(_) => return,
    };
    let kept = io.open(&path, mode).and_then(|file| match file.len()? {
        len if len >= wanted => Ok(()),
        _ => file.allocate(wanted),
    });
    if kept.is_err() && mode == OpenMode::CreateNew {
        let _ = io.remove(&path);
    }
}

/// Drops what is too old or too much.
pub(super) fn apply(inner: &Inner) -> Result<()> {
    let (max_age, max_bytes) = {
        let meta = inner.meta.lock().expect("no panic holds it");
        (meta.max_age_ms, meta.max_bytes)
    };
    if max_age.is_none() && max_bytes.is_none() {
        return Ok(());
    }
    let source = &inner.source;
    let tracks = track::list(&*source.io, &source.dir)?;
    let mut bytes = Vec::with_capacity(tracks.len());
    for id in &tracks {
        bytes.push(source.open_track(*id)?.map_or(Ok(0), |track| track.len())?);
    }
    let mut total: u64 = bytes.iter().sum();
    let mut first = 0;
    while first + 1 < tracks.len() {
        let too_much = max_bytes.is_some_and(|max| total > max);
        if !too_much && !is_too_old(inner, max_age, &tracks[first..])? {
            break;
        }
        total -= bytes[first];
        first += 1;
    }
    match tracks.get(first) {
        Some(id) if first > 0 => truncate(inner, Id::new(*id, 0)),
        _ => Ok(()),
    }
}

/// Whether all items of the first of these tracks are too old: they are older than the next one. A track
/// that seems to be older than the one before it was begun while the clock was back, as that of a machine
/// without a battery is after a power cut, and tells nothing.
fn is_too_old(inner: &Inner, max_age_ms: Option<u64>, tracks: &[TrackId]) -> Result<bool> {
    let (Some(max_age_ms), [first, later @ ..]) = (max_age_ms, tracks) else { return Ok(false) };
    let now_ms = (inner.options.clock)();
    // Nor does one that is still to come.
    let began_ms = created_ms(inner, *first)?.filter(|began_ms| *began_ms <= now_ms).unwrap_or(0);
    for next in later {
        let Some(next_ms) = created_ms(inner, *next)? else { return Ok(false) };
        if next_ms >= began_ms {
            return Ok(next_ms.saturating_add(max_age_ms) < now_ms);
        }
    }
    Ok(false)
}

/// When a track was begun; nothing where it is gone.
fn created_ms(inner: &Inner, id: TrackId) -> Result<Option<u64>> {
    let Some(track) = inner.source.open_track(id)? else { return Ok(None) };
    let header = track.header()?.map_err(|fault| track.fault(0, fault))?;
    Ok(Some(header.created_ms))
}

/// What is kept of the options.
pub(super) fn settings(meta: &QueueMeta) -> (Option<Duration>, Option<u64>) {
    (meta.max_age_ms.map(Duration::from_millis), meta.max_bytes)
}

/// Says in `QUEUE` where a queue ends that is being closed.
pub(super) fn store_end(inner: &Inner, end: Id) -> Result<()> {
    let mut meta = inner.meta.lock().expect("no panic holds it");
    let (track, end) = (end.track(), end.position());
    meta.end = Some(TrackEnd { track, end, cut: false });
    store(inner, &meta)
}
