//! The items of a queue, framed and packed into chunks of kind [`Items`](ChunkKind::Items).
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 2 | first | offset in this payload of the first frame that begins in it; `ffff` where none does |
//! | 2 | to the end | frames | frames, or parts of them, without gaps |
//!
//! A frame is an item's length as a LEB128 number of one to five bytes, then the item's bytes. It
//! may be cut at any byte, and goes on at offset 2 of the next chunk; so a chunk may hold the end of
//! one frame, whole ones, and the beginning of another. A chunk need not be full: one that was
//! written is never written again.
//!
//! Of the chunk's own header, `seq` is in its lower half the number of frames that begin in the track
//! before this chunk, and 0 in its upper half; and `next` is the position in the track up to which it
//! was durable when the chunk was framed: a bad chunk before the mark of a good one is damage and not
//! a torn end. `first` and `last` say where the writer's calls began and ended, and decide nothing.
//!
//! The *position* of an item is the offset in the track of its frame's first byte. Example: the
//! payload of a chunk with the items `kogia` and `sima`, whose positions in chunk 1 are 4122 and 4128:
//!
//! ```text
//! first  frame              frame
//! 02 00  05 6b 6f 67 69 61  04 73 69 6d 61
//! ```
//!
//! # Rewritten tracks
//! An item keeps its position when others before it are dropped or get another length, and so a
//! track that was rewritten says each item's: what a frame carries is a LEB128 number, by how much
//! the item's position is greater than that of the item before it in the file, or than 0, and then
//! the item. Of the chunk's header, the upper half of `seq` is the number of the rewrite, which is
//! never 0; and `next` is the position of the last item whose frame begins before this chunk, 0 for
//! none. So a chunk can be read without those before it, and that of a position is found by halving.
//! All of it was durable before anything named the file. Example: the same chunk without `kogia`:
//!
//! ```text
//! first  frame
//! 02 00  06 a0 20 73 69 6d 61
//! ```

use super::chunk::{
    self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES, PAYLOAD_BYTES,
};
use super::{Fault, Seq, bytes_at};

/// The largest item, in bytes: 1 GiB.
pub const MAX_ITEM_BYTES: usize = 1 << 30;
/// Bytes of a length, or of a step from position to position, at most.
pub const MAX_LENGTH_BYTES: usize = 5;
/// What a frame carries at most, in bytes: an item, and in a rewritten track its position.
pub const MAX_CARRIED_BYTES: usize = MAX_ITEM_BYTES + MAX_LENGTH_BYTES;
/// Where the frames begin in a chunk's payload.
pub const FRAMES_AT: usize = 2;
/// Where the frames begin in a chunk.
pub const FRAMES_IN_CHUNK: usize = HEADER_BYTES + FRAMES_AT;
/// Bytes of frames that a chunk can carry.
pub const FRAME_BYTES: usize = PAYLOAD_BYTES - FRAMES_AT;
/// Where the rewrite's number is in a chunk's `seq`.
const REWRITE_SHIFT: u32 = 32;
/// Stands for no first frame.
const NONE: u16 = u16::MAX;
const WHAT: &str = "items";

/// A verified chunk of items.
///
/// ```
/// use kogia::format::items::{self, Frame, ItemsChunk};
/// # use kogia::format::{StoreId, TrackId};
/// # use kogia::format::chunk::{CHUNK_BYTES, ChunkPlace, HEADER_BYTES};
/// # let place = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 1 };
///
/// let mut bytes = vec![0; CHUNK_BYTES];
/// let frames = b"\x05kogia\x04sima";
/// bytes[items::FRAMES_IN_CHUNK..][..frames.len()].copy_from_slice(frames);
/// let end = items::FRAMES_IN_CHUNK + frames.len();
/// items::seal(&mut bytes, place, end, Some(items::FRAMES_IN_CHUNK), 0, 0);
/// assert_eq!(&bytes[HEADER_BYTES..][..4], b"\x02\0\x05k");
///
/// let chunk = ItemsChunk::open(&bytes, place)?;
/// let first = chunk.first.expect("a frame begins here");
/// assert_eq!(chunk.frame(first)?, Frame::Whole { item: 3..8, next: 8 });
/// assert_eq!(chunk.frame(8)?, Frame::Whole { item: 9..13, next: 13 });
/// assert_eq!(chunk.end(), 13);
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemsChunk<'a> {
    /// The payload in use; offsets count from its beginning.
    pub payload: &'a [u8],
    /// Where the first frame begins that begins in this chunk.
    pub first: Option<usize>,
    /// Frames that begin in the track before this chunk.
    pub frames_before: u64,
    /// The rewrite that wrote the track; 0 for none.
    pub rewrite: u32,
    /// Position up to which the track was durable when the chunk was framed; 0 in a rewritten one.
    pub durable: u64,
    /// In a rewritten track, the position of the last item whose frame begins before this chunk.
    pub base: u32,
}

/// What begins at an offset of a chunk.
///
/// ```
/// use kogia::format::items::{Frame, frame_at};
///
/// assert_eq!(frame_at(b"\x02\0\x02ab", 2)?, Frame::Whole { item: 3..5, next: 5 });
/// assert_eq!(frame_at(b"\x02\0\x03ab", 2)?, Frame::GoesOn);
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// All of a frame.
    Whole {
        /// Where the item's bytes are in the payload.
        item: std::ops::Range<usize>,
        /// Where the frame ends.
        next: usize,
    },
    /// A frame that goes on in the next chunk.
    GoesOn,
}

impl<'a> ItemsChunk<'a> {
    /// Checks the chunk that was read at `place`.
    pub fn open(bytes: &'a [u8], place: ChunkPlace) -> Result<Self, Fault> {
        let (header, payload) = chunk::open(bytes, place)?;
        if header.kind != ChunkKind::Items {
            return Err(invalid(format!("the chunk is of kind {:?}", header.kind)));
        }
        if payload.len() <= FRAMES_AT {
            return Err(Fault::Short { what: WHAT, needed: FRAMES_AT + 1, found: payload.len() });
        }
        let first = match u16::from_le_bytes(bytes_at(payload, 0)) {
            NONE => None,
            first if (FRAMES_AT..payload.len()).contains(&usize::from(first)) => {
                Some(usize::from(first))
            }
            other => return Err(invalid(format!("the first frame begins at {other}"))),
        };
        let rewrite = (header.seq.0 >> REWRITE_SHIFT) as u32;
        let frames_before = header.seq.0 & u64::from(u32::MAX);
        let (durable, base) = match (rewrite, u32::try_from(header.next)) {
            (0, _) => (header.next, 0),
            (_, Ok(base)) => (0, base),
            (_, Err(_)) => return Err(invalid(format!("an item at {}", header.next))),
        };
        Ok(ItemsChunk { payload, first, frames_before, rewrite, durable, base })
    }

    /// What begins at `offset`, which is before the payload's end.
    pub fn frame(&self, offset: usize) -> Result<Frame, Fault> {
        frame_at(self.payload, offset)
    }

    /// Where the payload ends.
    #[must_use]
    pub fn end(&self) -> usize {
        self.payload.len()
    }
}

/// What begins at `offset` of a payload, which is before its end.
#[inline]
pub fn frame_at(payload: &[u8], offset: usize) -> Result<Frame, Fault> {
    // By far the most: a length of one byte, and an item that lies in one chunk.
    let len = usize::from(payload[offset]);
    let item = offset + 1;
    if len < 0x80 && item + len <= payload.len() {
        return Ok(Frame::Whole { item: item..item + len, next: item + len });
    }
    long_frame_at(payload, offset)
}

fn long_frame_at(payload: &[u8], offset: usize) -> Result<Frame, Fault> {
    let Some((len, width)) = length(&payload[offset..])? else { return Ok(Frame::GoesOn) };
    let item = offset + width;
    if len > payload.len() - item {
        return Ok(Frame::GoesOn);
    }
    Ok(Frame::Whole { item: item..item + len, next: item + len })
}

/// The length that `bytes` begin with, and its width; `None` if it goes on behind them.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let Some((len, width)) = number(bytes)? else { return Ok(None) };
    if len > MAX_CARRIED_BYTES as u64 {
        return Err(invalid(format!("an item of {len} bytes")));
    }
    Ok(Some((len as usize, width)))
}

/// The LEB128 number that `bytes` begin with, and its width; `None` if it goes on behind them.
fn number(bytes: &[u8]) -> Result<Option<(u64, usize)>, Fault> {
    let mut number = 0_u64;
    for (at, &byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 != 0 {
            continue;
        }
        if byte == 0 && at > 0 {
            return Err(invalid("a number is longer than it need be".into()));
        }
        return Ok(Some((number, at + 1)));
    }
    if bytes.len() >= MAX_LENGTH_BYTES {
        return Err(invalid("a number of more than five bytes".into()));
    }
    Ok(None)
}

/// The position of the item that a frame of a rewritten track carries, where the item before it is
/// at `base`; and where in what is carried the item begins.
///
/// ```
/// use kogia::format::items::item_behind;
///
/// assert_eq!(item_behind(4122, b"\x06sima")?, (4128, 1));
/// assert!(item_behind(4122, b"\x00sima").is_err(), "positions increase");
/// # Ok::<_, kogia::format::Fault>(())
/// ```
pub fn item_behind(base: u32, carried: &[u8]) -> Result<(u32, usize), Fault> {
    let Some((step, width)) = number(carried)? else {
        return Err(invalid("a frame that ends in a position".into()));
    };
    let position = u64::from(base) + step;
    match u32::try_from(position) {
        Ok(position) if step > 0 => Ok((position, width)),
        _ => Err(invalid(format!("an item at {position} behind one at {base}"))),
    }
}

/// Writes a length, or a step from position to position, into `out`; gives its width. It is less
/// than 2^35.
#[must_use]
pub fn write_length(len: usize, out: &mut [u8; MAX_LENGTH_BYTES]) -> usize {
    debug_assert!(len < 1 << (7 * MAX_LENGTH_BYTES));
    let mut rest = len;
    let mut width = 0;
    while rest >= 0x80 {
        out[width] = rest as u8 | 0x80;
        rest >>= 7;
        width += 1;
    }
    out[width] = rest as u8;
    width + 1
}

/// Makes `chunk` whole, which holds frames up to `end`, the first of which that begins there begins
/// at `first`, both counted from the chunk's beginning. What lies behind `end` must be zero.
pub fn seal(
    chunk: &mut [u8],
    place: ChunkPlace,
    end: usize,
    first: Option<usize>,
    frames_before: u64,
    durable: u64,
) {
    seal_with(chunk, place, end, first, (frames_before, durable));
}

/// Like [`seal`], for a track that the rewrite of this number writes; the last item whose frame
/// begins before this chunk is at `base`.
pub fn seal_rewritten(
    chunk: &mut [u8],
    place: ChunkPlace,
    end: usize,
    first: Option<usize>,
    rewrite: u32,
    frames_before: u32,
    base: u32,
) {
    let seq = u64::from(rewrite) << REWRITE_SHIFT | u64::from(frames_before);
    seal_with(chunk, place, end, first, (seq, base.into()));
}

fn seal_with(
    chunk: &mut [u8],
    place: ChunkPlace,
    end: usize,
    first: Option<usize>,
    (seq, next): (u64, u64),
) {
    debug_assert!((FRAMES_IN_CHUNK + 1..=CHUNK_BYTES).contains(&end));
    let first = first.map_or(NONE, |first| (first - HEADER_BYTES) as u16);
    chunk[HEADER_BYTES..FRAMES_IN_CHUNK].copy_from_slice(&first.to_le_bytes());
    let header = ChunkHeader {
        used: (end - HEADER_BYTES) as u16,
        first: false,
        last: false,
        kind: ChunkKind::Items,
        seq: Seq(seq),
        next,
    };
    header.seal_whole(chunk, place);
}

/// An item that is put together from several chunks. Its memory grows as its bytes arrive, and not
/// by the length that they claim.
///
/// ```
/// use kogia::format::items::Pieces;
///
/// let mut pieces = Pieces::default();
/// assert_eq!(pieces.add(b"\x05ko")?, None);
/// assert_eq!(pieces.add(b"gia\x04sima")?, Some(3)); // whole: the next frame begins at 3
/// assert_eq!(pieces.item(), b"kogia");
/// # Ok::<_, kogia::format::Fault>(())
/// ```
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// The item's length, and the width of that, as soon as they are known.
    len: Option<(usize, usize)>,
}

impl Pieces {
    /// Forgets what was added, and its memory where that was much.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.len = None;
    }

    /// Adds the frame's next bytes; gives how many of them are its, as soon as it is whole.
    pub fn add(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let before = self.bytes.len();
        if self.len.is_none() {
            self.bytes.extend_from_slice(&bytes[..bytes.len().min(MAX_LENGTH_BYTES)]);
            self.len = length(&self.bytes)?;
            self.bytes.truncate(before);
        }
        let wanted = self.len.map_or(usize::MAX, |(len, width)| len + width) - before;
        let taken = wanted.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok((taken == wanted).then_some(taken))
    }

    /// The item, which is whole.
    #[must_use]
    pub fn item(&self) -> &[u8] {
        let width = self.len.map_or(0, |(_, width)| width);
        &self.bytes[width..]
    }
}

fn invalid(why: String) -> Fault {
    Fault::Invalid { what: WHAT, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{StoreId, TrackId};

    const PLACE: ChunkPlace = ChunkPlace { store: StoreId([1; 16]), track: TrackId(7), chunk: 1 };

    fn chunk(frames: &[u8], first: Option<usize>) -> Vec<u8> {
        let mut chunk = vec![0; CHUNK_BYTES];
        chunk[FRAMES_IN_CHUNK..][..frames.len()].copy_from_slice(frames);
        seal(&mut chunk, PLACE, FRAMES_IN_CHUNK + frames.len(), first, 3, 4096);
        chunk
    }

    #[test]
    fn the_documented_example_is_what_is_written() {
        let chunk = chunk(b"\x05kogia\x04sima", Some(FRAMES_IN_CHUNK));
        let payload = &chunk[HEADER_BYTES..][..13];
        let hex: Vec<String> = payload.iter().map(|b| format!("{b:02x}")).collect();
        let line = include_str!("items.rs").lines().find(|l| l.ends_with("04 73 69 6d 61"));
        let documented: Vec<&str> =
            line.unwrap().trim_start_matches("//! ").split_whitespace().collect();
        assert_eq!(hex, documented);
        let opened = ItemsChunk::open(&chunk, PLACE).unwrap();
        assert_eq!((opened.first, opened.frames_before, opened.durable), (Some(2), 3, 4096));
    }

    #[test]
    fn the_documented_example_of_a_rewritten_track_is_what_is_written() {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut step = [0; MAX_LENGTH_BYTES];
        let width = write_length(4128, &mut step);
        let frame = [&[width as u8 + 4], &step[..width], b"sima"].concat();
        chunk[FRAMES_IN_CHUNK..][..frame.len()].copy_from_slice(&frame);
        let (end, first) = (FRAMES_IN_CHUNK + frame.len(), Some(FRAMES_IN_CHUNK));
        seal_rewritten(&mut chunk, PLACE, end, first, 5, 0, 0);
        let payload = &chunk[HEADER_BYTES..end];
        let hex: Vec<String> = payload.iter().map(|b| format!("{b:02x}")).collect();
        let line = include_str!("items.rs").lines().find(|l| l.ends_with("06 a0 20 73 69 6d 61"));
        let documented: Vec<&str> =
            line.unwrap().trim_start_matches("//! ").split_whitespace().collect();
        assert_eq!(hex, documented);
        let opened = ItemsChunk::open(&chunk, PLACE).unwrap();
        assert_eq!((opened.rewrite, opened.frames_before, opened.base), (5, 0, 0));
        assert_eq!(opened.frame(2), Ok(Frame::Whole { item: 3..9, next: 9 }));
        assert_eq!(item_behind(opened.base, &opened.payload[3..9]), Ok((4128, 2)));
    }

    #[test]
    fn positions_that_do_not_increase_or_fit_are_refused() {
        assert_eq!(item_behind(u32::MAX - 1, b"\x01"), Ok((u32::MAX, 1)));
        for (base, carried) in
            [(7, &b""[..]), (7, b"\0abc"), (7, b"\x80"), (7, b"\x81\0"), (u32::MAX, b"\x01")]
        {
            assert!(item_behind(base, carried).is_err(), "{base} {carried:?}");
        }
    }

    #[test]
    fn lengths_round_trip_and_are_of_one_form_only() {
        for len in [0, 1, 127, 128, 16383, 16384, 1 << 21, MAX_ITEM_BYTES] {
            let mut bytes = [0; MAX_LENGTH_BYTES];
            let width = write_length(len, &mut bytes);
            assert_eq!(length(&bytes[..width]), Ok(Some((len, width))));
            for cut in 0..width {
                assert_eq!(length(&bytes[..cut]), Ok(None));
            }
        }
        for bad in [&b"\x80\0"[..], b"\x81\x80\0", b"\xff\xff\xff\xff\xff", b"\xff\xff\xff\xff\x7f"]
        {
            assert!(length(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn first_frames_outside_the_payload_are_refused() {
        for first in [FRAMES_IN_CHUNK - 1, FRAMES_IN_CHUNK + 3, CHUNK_BYTES] {
            assert!(ItemsChunk::open(&chunk(b"\x02ab", Some(first)), PLACE).is_err(), "{first}");
        }
        assert_eq!(ItemsChunk::open(&chunk(b"ab", None), PLACE).unwrap().first, None);
    }

    #[test]
    fn an_item_in_pieces_is_whole_wherever_it_was_cut() {
        let mut frame = vec![0xac, 0x02];
        frame.extend((0..300).map(|n| n as u8));
        for cut in 1..frame.len() {
            let mut pieces = Pieces::default();
            assert_eq!(pieces.add(&frame[..cut]), Ok(None));
            let rest = [&frame[cut..], b"next"].concat();
            assert_eq!(pieces.add(&rest), Ok(Some(frame.len() - cut)));
            assert_eq!(pieces.item(), &frame[2..]);
        }
    }
}
