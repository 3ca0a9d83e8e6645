//! Finding objects and reading their bytes.

use std::ops::Range;
use std::sync::Arc;

use super::{Info, Moment, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::format::TrackId;
use crate::format::chain::MAX_CHUNKS;
use crate::format::chunk::PAYLOAD_BYTES;
use crate::format::entry::{Entry, Place};
use crate::format::record::{SegmentList, SegmentRef, Space};
use crate::index::View;
use crate::track::{TrackFile, ValuePlace};

/// From so many bytes on, segments on different disks are read by a thread each.
const PARALLEL_MIN_BYTES: usize = 1 << 20;
/// Bytes that a value can have in its own chain.
const INLINE_LIMIT_BYTES: u64 = MAX_CHUNKS as u64 * PAYLOAD_BYTES as u64;

/// Where an object's bytes are.
#[derive(Debug)]
pub(crate) enum Source {
    Empty,
    Inline(TrackId, ValuePlace),
    /// The segments, each with the object's byte that it begins with.
    Segments(Vec<(u64, SegmentRef)>),
}

/// A segment's share of a read.
struct Piece<'b> {
    track: Arc<TrackFile>,
    place: ValuePlace,
    skip: u64,
    out: &'b mut [u8],
}

impl Source {
    /// The source of an entry.
    pub(crate) fn of(entry: Entry<'_>) -> Result<Self> {
        match entry.place {
            Place::Empty => Ok(Source::Empty),
            Place::Inline { .. } if entry.meta.len > INLINE_LIMIT_BYTES => {
                let what = format!("the index claims {} bytes in one append", entry.meta.len);
                Err(Error::new(ErrorKind::Corruption, what))
            }
            Place::Inline { chunk, offset } => {
                let place = ValuePlace { chunk, offset, len: entry.meta.len, seq: entry.chain };
                Ok(Source::Inline(entry.track, place))
            }
            Place::Segments(SegmentList(list)) => {
                let mut start = 0;
                let starts = list.into_iter().map(|segment| {
                    start += segment.len;
                    (start - segment.len, segment)
                });
                Ok(Source::Segments(starts.collect()))
            }
        }
    }
}

impl Shared {
    /// An object's info and source, as `view` has them, if it is there at `moment`.
    pub(crate) fn find(
        &self,
        view: &View<'_>,
        moment: &Moment,
        key: &[u8],
    ) -> Result<Option<(Info, Source)>> {
        let Some(row) = view.entry(Space::Object, key)? else { return Ok(None) };
        let entry = row.entry()?;
        if !moment.has(key, &entry.meta) {
            return Ok(None);
        }
        let info = Info::of(&entry);
        Ok(Some((info, Source::of(entry)?)))
    }

    pub(crate) fn head(
        &self,
        view: &View<'_>,
        moment: &Moment,
        key: &[u8],
    ) -> Result<Option<Info>> {
        super::write::check_key(key)?;
        let Some(row) = view.entry(Space::Object, key)? else { return Ok(None) };
        let entry = row.entry()?;
        Ok(moment.has(key, &entry.meta).then(|| Info::of(&entry)))
    }

    /// Reads a range of an object, or all of it, into `value`. A live view is pinned.
    pub(crate) fn get(
        &self,
        view: &View<'_>,
        moment: &Moment,
        key: &[u8],
        range: Option<Range<u64>>,
        value: &mut Vec<u8>,
    ) -> Result<Option<Info>> {
        super::write::check_key(key)?;
        let Some((info, source)) = self.find(view, moment, key)? else { return Ok(None) };
        if let Source::Segments(_) = source
            && view.is_live()
        {
            // The rows of the segments have to be of the same moment as the entry.
            return self.get(&self.index.snapshot(), moment, key, range, value);
        }
        let range = range.unwrap_or(0..info.len);
        if range.start > info.len || range.start > range.end {
            let what = format!("the range {}..{} of {} bytes", range.start, range.end, info.len);
            return Err(Error::invalid(what));
        }
        let len = range.end.min(info.len) - range.start;
        size(value, len)?;
        self.read(view, &source, range.start, value)?;
        Ok(Some(info))
    }

    /// Fills `out` with the object's bytes from `start` on.
    fn read(&self, view: &View<'_>, source: &Source, start: u64, out: &mut [u8]) -> Result<()> {
        match source {
            _ if out.is_empty() => Ok(()),
            Source::Empty => Ok(()),
            Source::Inline(track, place) => self.files.get(*track)?.read_value(place, start, out),
            Source::Segments(segments) => {
                let parallel = out.len() >= PARALLEL_MIN_BYTES;
                let pieces = self.pieces(view, segments, start, out)?;
                if parallel { read_by_disk(pieces) } else { read_all(pieces) }
            }
        }
    }

    fn pieces<'b>(
        &self,
        view: &View<'_>,
        segments: &[(u64, SegmentRef)],
        start: u64,
        out: &'b mut [u8],
    ) -> Result<Vec<Piece<'b>>> {
        let first = segments.partition_point(|(at, segment)| at + segment.len <= start);
        let (mut pieces, mut rest) = (Vec::new(), out);
        for (at, segment) in &segments[first..] {
            if rest.is_empty() {
                break;
            }
            let skip = start.saturating_sub(*at);
            let len = (segment.len - skip).min(rest.len() as u64);
            let (now, later) = rest.split_at_mut(len as usize);
            let (track, place) = self.segment(view, segment)?;
            pieces.push(Piece { track, place, skip, out: now });
            rest = later;
        }
        Ok(pieces)
    }

    /// Where a segment is, as `view` has it.
    pub(crate) fn segment(
        &self,
        view: &View<'_>,
        segment: &SegmentRef,
    ) -> Result<(Arc<TrackFile>, ValuePlace)> {
        let row = view.segment(segment.seq)?.filter(|row| row.len == segment.len);
        let Some(row) = row else {
            let what = format!("segment {} of the object is lost", segment.seq);
            return Err(Error::new(ErrorKind::Corruption, what));
        };
        let place = ValuePlace { chunk: row.chunk, offset: 0, len: row.len, seq: row.chain };
        Ok((self.files.get(row.track)?, place))
    }
}

fn read_all(pieces: Vec<Piece<'_>>) -> Result<()> {
    pieces
        .into_iter()
        .try_for_each(|piece| piece.track.read_value(&piece.place, piece.skip, piece.out))
}

/// Reads the pieces of each disk in a thread of its own.
fn read_by_disk(pieces: Vec<Piece<'_>>) -> Result<()> {
    let mut disks: Vec<Vec<Piece<'_>>> = Vec::new();
    for piece in pieces {
        let dir = piece.track.path.parent();
        match disks.iter_mut().find(|disk| disk[0].track.path.parent() == dir) {
            Some(disk) => disk.push(piece),
            None => disks.push(vec![piece]),
        }
    }
    let Some(mine) = disks.pop() else { return Ok(()) };
    std::thread::scope(|scope| {
        let others: Vec<_> =
            disks.into_iter().map(|disk| scope.spawn(move || read_all(disk))).collect();
        let mine = read_all(mine);
        let outcomes = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        outcomes.fold(mine, Result::and)
    })
}

/// Makes `value` of `len` bytes; their contents don't matter, so what is there is not cleared.
fn size(value: &mut Vec<u8>, len: u64) -> Result<()> {
    let too_large = || Error::invalid(format!("{len} bytes do not fit in memory; use a reader"));
    let len = usize::try_from(len).map_err(|_| too_large())?;
    value.try_reserve_exact(len.saturating_sub(value.len())).map_err(|_| too_large())?;
    value.resize(len, 0);
    Ok(())
}
