//! Finding objects and reading their bytes.

use std::ops::Range;
use std::sync::Arc;

use super::{Info, Moment, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::MAX_CHUNKS;
use crate::format::checksum;
use crate::format::chunk::PAYLOAD_BYTES;
use crate::format::entry::{Entry, Place};
use crate::format::record::{SegmentList, SegmentRef, Space};
use crate::format::{Fault, TrackId};
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
    Compressed(Packed),
    /// The segments, each with the object's byte that it begins with.
    Segments(Vec<(u64, SegmentRef)>),
}

/// A compressed value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) track: TrackId,
    /// Where its frame lies.
    pub(crate) place: ValuePlace,
    pub(crate) with_dictionary: bool,
    /// Bytes of the value.
    pub(crate) len: u64,
    /// CRC-32C of the value.
    pub(crate) crc: u32,
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
            Place::Compressed { compressed, .. } if !compressed.can_hold(entry.meta.len) => {
                let (len, bytes) = (entry.meta.len, compressed.bytes);
                let what = format!("the index claims {len} bytes compressed to {bytes}");
                Err(Error::new(ErrorKind::Corruption, what))
            }
            Place::Inline { chunk, offset } => {
                let place = ValuePlace { chunk, offset, len: entry.meta.len, seq: entry.chain };
                Ok(Source::Inline(entry.track, place))
            }
            Place::Compressed { chunk, offset, compressed } => {
                let place = ValuePlace { chunk, offset, len: compressed.bytes, seq: entry.chain };
                Ok(Source::Compressed(Packed {
                    track: entry.track,
                    place,
                    with_dictionary: compressed.with_dictionary,
                    len: entry.meta.len,
                    crc: entry.meta.crc,
                }))
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
        let wanted = range.clone().unwrap_or(0..info.len);
        if wanted.start > info.len || wanted.start > wanted.end {
            let what = format!("the range {}..{} of {} bytes", wanted.start, wanted.end, info.len);
            return Err(Error::invalid(what));
        }
        let len = wanted.end.min(info.len) - wanted.start;
        size(value, len)?;
        match self.read(view, &source, wanted.start, value) {
            Ok(()) => Ok(Some(info)),
            // A segment's row, where it is there, says where its bytes are. Where it is not, the
            // object may be gone since its entry was read.
            Err(_) if view.is_live() && matches!(source, Source::Segments(_)) => {
                self.get(&self.index.snapshot(), moment, key, range, value)
            }
            Err(e) => Err(e),
        }
    }

    /// Fills `out` with the object's bytes from `start` on.
    fn read(&self, view: &View<'_>, source: &Source, start: u64, out: &mut [u8]) -> Result<()> {
        match source {
            _ if out.is_empty() => Ok(()),
            Source::Empty => Ok(()),
            Source::Inline(track, place) => self.files.get(*track)?.read_value(place, start, out),
            Source::Compressed(packed) if out.len() as u64 == packed.len => {
                self.unpack(packed, out)
            }
            Source::Compressed(packed) => {
                let value = self.unpacked(packed)?;
                // A range that begins behind the value's end is empty, and was dealt with above.
                out.copy_from_slice(&value[start as usize..start as usize + out.len()]);
                Ok(())
            }
            Source::Segments(segments) => {
                let parallel = out.len() >= PARALLEL_MIN_BYTES;
                let pieces = self.pieces(view, segments, start, out)?;
                if parallel { read_by_disk(pieces) } else { read_all(pieces) }
            }
        }
    }

    /// A compressed value, whole.
    pub(crate) fn unpacked(&self, packed: &Packed) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        size(&mut value, packed.len)?;
        self.unpack(packed, &mut value)?;
        Ok(value)
    }

    /// A frame, read without a map, for [`expand`](Self::expand): what is read once would make
    /// others' pages leave memory.
    pub(crate) fn frame_unmapped(track: &TrackFile, packed: &Packed) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        size(&mut frame, packed.place.len)?;
        track.read_unmapped(&packed.place, 0, &mut frame)?;
        Ok(frame)
    }

    /// The value in a frame that was read from `track`.
    pub(crate) fn expand(
        &self,
        track: &TrackFile,
        packed: &Packed,
        frame: &[u8],
    ) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        size(&mut value, packed.len)?;
        self.decompress(track, packed, frame, &mut value)?;
        Ok(value)
    }

    fn unpack(&self, packed: &Packed, out: &mut [u8]) -> Result<()> {
        let track = self.files.get(packed.track)?;
        let mut frame = Vec::new();
        size(&mut frame, packed.place.len)?;
        track.read_value(&packed.place, 0, &mut frame)?;
        self.decompress(&track, packed, &frame, out)
    }

    /// Fills `out` with what `frame` holds, and makes sure that it is what was written: with another
    /// track's dictionary a frame may well be read, as something else (invariant I5).
    fn decompress(
        &self,
        track: &TrackFile,
        packed: &Packed,
        frame: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let dictionary = packed.with_dictionary.then(|| track.dictionary()).transpose()?;
        let read = self.decompressor.decompress(frame, dictionary, out).and_then(|()| {
            let (stored, computed) = (packed.crc, checksum::crc32c(out));
            if stored == computed {
                return Ok(());
            }
            Err(Fault::Checksum { what: "compressed value", stored, computed })
        });
        read.map_err(|fault| Error::chunk(&track.path, track.id, packed.place.chunk, fault))
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
