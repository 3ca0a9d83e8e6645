//! Reading the items of one track, in order. A cursor knows nothing of other tracks, nor of how far
//! anything is durable: it is told where to stop.
//!
//! Where it stops is a place in the file; where it begins, and what it gives, are positions of items,
//! which in a rewritten track are not where their frames begin.

use std::ops::Range;
use std::sync::Arc;

use super::track::Track;
use crate::error::{Error, Result};
use crate::format::Fault;
use crate::format::chunk::{CHUNK_BYTES, HEADER_BYTES};
use crate::format::items::{FRAMES_AT, Frame, ItemsChunk, Pieces, frame_at, item_behind};
use crate::io;

/// Chunks read at once: 256 KiB.
const WINDOW_CHUNKS: u32 = 64;
const CHUNK: u32 = CHUNK_BYTES as u32;

/// Why a track could not be read on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The chunk is not what was written.
    Chunk(u32, Fault),
    Io(std::io::Error),
}

/// Reads one track.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) track: Arc<Track>,
    window: Vec<u8>,
    /// The chunks in the window.
    in_window: Range<u32>,
    /// The chunk that is being read; before the first one, the one before it.
    chunk: u32,
    /// Where its payload is in the window.
    payload: Range<usize>,
    /// Where the next frame begins, or the present one goes on, in the payload.
    at: usize,
    /// Where frames that begin in the chunk begin, as it says.
    first: Option<usize>,
    /// Frames that began before `at`; `None` until the next chunk says.
    frames: Option<u64>,
    /// Items whose position is before this are passed over.
    from: u32,
    is_rewritten: bool,
    /// In a rewritten track, the position of the item that was come to last, and of the last one
    /// before the present chunk, as that says.
    base: u32,
    chunk_base: u32,
    pieces: Pieces,
    /// Where the frame began that is being put together.
    in_pieces: Option<u32>,
    end: u32,
    item: Found,
}

/// Where the item is that was found last.
#[derive(Debug)]
enum Found {
    InWindow(Range<usize>),
    /// From there on in what was put together.
    InPieces(usize),
}

impl Cursor {
    /// A cursor that begins with the first item whose position is `from` or greater.
    pub(super) fn new(track: Arc<Track>, from: u32) -> Result<Self> {
        let first = match track.rewritten {
            None => from / CHUNK,
            Some(of) => chunk_before(&track, from, of.end.div_ceil(CHUNK))?,
        };
        let chunk = first.max(1) - 1;
        Ok(Cursor {
            is_rewritten: track.rewritten.is_some(),
            track,
            window: Vec::new(),
            in_window: 0..0,
            chunk,
            payload: 0..0,
            at: 0,
            first: None,
            frames: (chunk == 0).then_some(0),
            from,
            base: 0,
            chunk_base: 0,
            pieces: Pieces::default(),
            in_pieces: None,
            end: CHUNK * (chunk + 1),
            item: Found::InPieces(0),
        })
    }

    /// Where in the file the last item ends that was found.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Frames that began in the track up to here; `None` where not even a chunk was read.
    pub(super) fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// Goes to the next item whose frame begins before `limit`, and has to end there, too; gives its
    /// position. [`item`](Self::item) lends its bytes.
    #[inline]
    pub(super) fn advance(&mut self, limit: u32) -> Result<Option<u32>, Broken> {
        // By far the most: one more item in the same chunk.
        let start = self.payload.start + self.at;
        if start < self.payload.end && self.in_pieces.is_none() && !self.is_rewritten {
            let position = self.position();
            let payload = &self.window[self.payload.clone()];
            if position >= self.from
                && position < limit
                && let Ok(Frame::Whole { item, next }) = frame_at(payload, self.at)
            {
                self.item =
                    Found::InWindow(self.payload.start + item.start..self.payload.start + item.end);
                self.took(next);
                return Ok(Some(position));
            }
        }
        self.advance_slowly(limit)
    }

    fn advance_slowly(&mut self, limit: u32) -> Result<Option<u32>, Broken> {
        loop {
            if self.at == self.payload.len() {
                let next = self.chunk + 1;
                if u64::from(next) * CHUNK_BYTES as u64 >= limit.into() {
                    return Ok(None);
                }
                self.load(next, limit)?;
                continue;
            }
            let payload = &self.window[self.payload.clone()];
            if let Some(begun) = self.in_pieces {
                let whole = self.pieces.add(&payload[self.at..]);
                let Some(taken) = whole.map_err(|fault| Broken::Chunk(self.chunk, fault))? else {
                    self.at = self.payload.len();
                    continue;
                };
                self.at += taken;
                self.in_pieces = None;
                self.end = self.position();
                if self.first != (self.at < self.payload.len()).then_some(self.at) {
                    return Err(self.invalid("its first frame begins elsewhere"));
                }
                let (position, item) = self.locate(begun, self.pieces.item())?;
                (self.base, self.item) = (position, Found::InPieces(item));
                if self.is_rewritten && self.chunk_base != position {
                    return Err(self.invalid("the item before it is elsewhere"));
                }
                if position >= self.from {
                    return Ok(Some(position));
                }
                continue;
            }
            let position = self.position();
            if position >= limit {
                return Ok(None);
            }
            match frame_at(payload, self.at).map_err(|fault| Broken::Chunk(self.chunk, fault))? {
                Frame::Whole { item, next } => {
                    let start = self.payload.start;
                    let (position, width) = self.locate(position, &payload[item.clone()])?;
                    self.base = position;
                    self.item = Found::InWindow(start + item.start + width..start + item.end);
                    self.took(next);
                    if position >= self.from {
                        return Ok(Some(position));
                    }
                }
                Frame::GoesOn => {
                    self.pieces.clear();
                    let added = self.pieces.add(&payload[self.at..]);
                    added.map_err(|fault| Broken::Chunk(self.chunk, fault))?;
                    self.in_pieces = Some(position);
                    self.frames = self.frames.map(|frames| frames + 1);
                    self.at = self.payload.len();
                }
            }
        }
    }

    /// The item that was found last.
    #[inline]
    pub(super) fn item(&self) -> &[u8] {
        match &self.item {
            Found::InWindow(range) => &self.window[range.clone()],
            Found::InPieces(start) => &self.pieces.item()[*start..],
        }
    }

    /// Goes on with the first frame that begins behind a chunk that is bad; gives the position from
    /// which on none is passed over.
    pub(super) fn pass_over(&mut self, bad: u32, limit: u32) -> Result<u32, Broken> {
        (self.chunk, self.payload, self.at) = (bad, 0..0, 0);
        (self.frames, self.in_pieces) = (None, None);
        if !self.is_rewritten {
            return Ok((bad + 1) * CHUNK);
        }
        // Only a good chunk says how far the bad ones went.
        while (self.chunk + 1) < limit.div_ceil(CHUNK) {
            match base_of(&self.track, self.chunk + 1)? {
                Some(base) => return Ok(base.saturating_add(1)),
                None => self.chunk += 1,
            }
        }
        Ok(u32::MAX)
    }

    /// The position of the item that a frame carries which begins at `frame`, and where in what is
    /// carried the item begins.
    fn locate(&self, frame: u32, carried: &[u8]) -> Result<(u32, usize), Broken> {
        if !self.is_rewritten {
            return Ok((frame, 0));
        }
        item_behind(self.base, carried).map_err(|fault| Broken::Chunk(self.chunk, fault))
    }

    #[inline]
    fn took(&mut self, next: usize) {
        self.at = next;
        if let Some(frames) = &mut self.frames {
            *frames += 1;
        }
        self.end = self.position();
    }

    #[inline]
    fn position(&self) -> u32 {
        self.chunk * CHUNK + (HEADER_BYTES + self.at) as u32
    }

    /// Makes `chunk` the present one.
    fn load(&mut self, chunk: u32, limit: u32) -> Result<(), Broken> {
        if !self.in_window.contains(&chunk) {
            self.read(chunk, limit)?;
        }
        let start = (chunk - self.in_window.start) as usize * CHUNK_BYTES;
        let bytes = &self.window[start..start + CHUNK_BYTES];
        let items = self.track.items(chunk, bytes).map_err(|fault| Broken::Chunk(chunk, fault))?;
        let ItemsChunk { first, frames_before, base, .. } = items;
        let follows = !self.is_rewritten || self.in_pieces.is_some() || base == self.base;
        let is_next = self.frames.is_none_or(|frames| frames == frames_before && follows);
        let begins = self.in_pieces.is_some() || self.frames.is_none() || first == Some(FRAMES_AT);
        self.payload = start + HEADER_BYTES..start + HEADER_BYTES + items.end();
        self.at = match (self.frames, first) {
            (Some(_), _) => FRAMES_AT,
            // What goes on here began before anything that is wanted.
            (None, Some(first)) => first,
            (None, None) => self.payload.len(),
        };
        if self.frames.is_none() {
            self.base = base;
            self.frames = first.map(|_| frames_before);
        }
        (self.chunk, self.first, self.chunk_base) = (chunk, first, base);
        if !is_next || !begins {
            let broken = self.invalid("it does not go on from the one before it");
            (self.chunk, self.payload, self.at) = (chunk - 1, 0..0, 0);
            return Err(broken);
        }
        Ok(())
    }

    fn read(&mut self, chunk: u32, limit: u32) -> Result<(), Broken> {
        let chunks = (limit.div_ceil(CHUNK) - chunk).min(WINDOW_CHUNKS);
        self.in_window = 0..0;
        self.window.resize(chunks as usize * CHUNK_BYTES, 0);
        let offset = u64::from(chunk) * CHUNK_BYTES as u64;
        match io::read_exact_at(&*self.track.file, &mut self.window, offset) {
            Ok(()) => {}
            // What is missing reads as a hole.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.read_one(offset)?,
            Err(e) => return Err(Broken::Io(e)),
        }
        self.in_window = chunk..chunk + (self.window.len() / CHUNK_BYTES) as u32;
        Ok(())
    }

    fn read_one(&mut self, offset: u64) -> Result<(), Broken> {
        self.window.clear();
        self.window.resize(CHUNK_BYTES, 0);
        match io::read_exact_at(&*self.track.file, &mut self.window, offset) {
            Err(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(Broken::Io(e)),
            _ => Ok(()),
        }
    }

    fn invalid(&self, why: &str) -> Broken {
        Broken::Chunk(self.chunk, Fault::Invalid { what: "items", why: why.into() })
    }
}

/// The position of the last item that begins before a chunk of a rewritten track; `None` if the chunk
/// is not what was written.
fn base_of(track: &Track, chunk: u32) -> Result<Option<u32>, Broken> {
    let mut bytes = [0; CHUNK_BYTES];
    match io::read_exact_at(&*track.file, &mut bytes, u64::from(chunk) * CHUNK_BYTES as u64) {
        Ok(()) => Ok(track.items(chunk, &bytes).ok().map(|items| items.base)),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(Broken::Io(e)),
    }
}

/// A chunk of a rewritten track before whose first frame there is no item at `from` or behind it: the
/// last one, before `end`, of those that can be read.
fn chunk_before(track: &Track, from: u32, end: u32) -> Result<u32> {
    // What is sought is not before the one and before the other.
    let (mut low, mut high) = (1, end);
    while high.saturating_sub(low) > 1 {
        let middle = low + (high - low) / 2;
        let mut base = None;
        let mut good = middle;
        while good < high && base.is_none() {
            base = base_of(track, good).map_err(|broken| broken.into_error(track))?;
            good += u32::from(base.is_none());
        }
        match base {
            Some(base) if base < from => low = good,
            _ => high = middle,
        }
    }
    Ok(low)
}

impl Broken {
    /// As an error that names the track.
    pub(super) fn into_error(self, track: &Track) -> Error {
        match self {
            Broken::Chunk(chunk, fault) => track.fault(chunk, fault),
            Broken::Io(e) => track.io_error("read the track", e),
        }
    }
}
