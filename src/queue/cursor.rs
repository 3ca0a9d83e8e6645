//! Reading the items of one track, in order. A cursor knows nothing of other tracks, nor of how far
//! anything is durable: it is told where to stop.

use std::ops::Range;
use std::sync::Arc;

use super::track::Track;
use crate::error::Error;
use crate::format::Fault;
use crate::format::chunk::{CHUNK_BYTES, HEADER_BYTES};
use crate::format::items::{FRAMES_AT, Frame, ItemsChunk, Pieces, frame_at};
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
    /// Items that begin before this are passed over.
    from: u32,
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
    InPieces,
}

impl Cursor {
    /// A cursor that begins with the first item that begins at `from` or behind it.
    pub(super) fn new(track: Arc<Track>, from: u32) -> Self {
        let chunk = (from / CHUNK).max(1) - 1;
        Cursor {
            track,
            window: Vec::new(),
            in_window: 0..0,
            chunk,
            payload: 0..0,
            at: 0,
            first: None,
            frames: (chunk == 0).then_some(0),
            from,
            pieces: Pieces::default(),
            in_pieces: None,
            end: CHUNK * (chunk + 1),
            item: Found::InPieces,
        }
    }

    /// Position behind the last item that was found.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Frames that began in the track up to here; `None` where not even a chunk was read.
    pub(super) fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// Goes to the next item that begins before `limit`, and that has to end there, too; gives its
    /// position. [`item`](Self::item) lends its bytes.
    #[inline]
    pub(super) fn advance(&mut self, limit: u32) -> Result<Option<u32>, Broken> {
        // By far the most: one more item in the same chunk.
        let start = self.payload.start + self.at;
        if start < self.payload.end && self.in_pieces.is_none() {
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
                self.item = Found::InPieces;
                if begun >= self.from {
                    return Ok(Some(begun));
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
                    self.item = Found::InWindow(start + item.start..start + item.end);
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
            Found::InPieces => self.pieces.item(),
        }
    }

    /// Goes on with the first frame that begins behind a chunk that is bad.
    pub(super) fn pass_over(&mut self, bad: u32) {
        self.chunk = bad;
        (self.payload, self.at) = (0..0, 0);
        (self.frames, self.in_pieces) = (None, None);
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
        let items = ItemsChunk::open(bytes, self.track.place(chunk))
            .map_err(|fault| Broken::Chunk(chunk, fault))?;
        let ItemsChunk { first, frames_before, .. } = items;
        let is_next = self.frames.is_none_or(|frames| frames == frames_before);
        let begins = self.in_pieces.is_some() || self.frames.is_none() || first == Some(FRAMES_AT);
        self.payload = start + HEADER_BYTES..start + HEADER_BYTES + items.end();
        self.at = match (self.frames, first) {
            (Some(_), _) => FRAMES_AT,
            // What goes on here began before anything that is wanted.
            (None, Some(first)) => first,
            (None, None) => self.payload.len(),
        };
        if first.is_some() {
            self.frames = self.frames.or(Some(frames_before));
        }
        (self.chunk, self.first) = (chunk, first);
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

impl Broken {
    /// As an error that names the track.
    pub(super) fn into_error(self, track: &Track) -> Error {
        match self {
            Broken::Chunk(chunk, fault) => track.fault(chunk, fault),
            Broken::Io(e) => track.io_error("read the track", e),
        }
    }
}
