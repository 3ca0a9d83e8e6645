//! Reading value bytes out of chunks, every one of them verified (invariant I5).

use std::io::IoSliceMut;
use std::sync::Arc;

use super::TrackFile;
use crate::error::{Error, Result};
use crate::format::chunk::{self, CHUNK_BYTES, ChunkHeader, HEADER_BYTES, PAYLOAD_BYTES};
use crate::format::{Fault, Seq};
use crate::io::{self, Map};

/// Chunks read with one system call: two buffers each, and little enough to stay in the
/// processor's cache until they are verified.
const BATCH_CHUNKS: usize = 64;

/// Bytes that a processor can fetch at once: told to fetch more, it waits for the first of them
/// before it does anything else.
const FETCHED_AT_ONCE: usize = 1024;

/// Where a value's bytes lie in a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ValuePlace {
    /// Its first chunk.
    pub(crate) chunk: u32,
    /// Its first byte in that chunk's payload.
    pub(crate) offset: u16,
    /// Its bytes.
    pub(crate) len: u64,
    /// The seq of the chain that its chunks belong to.
    pub(crate) seq: Seq,
}

/// The part of a value that lies in one chunk.
#[derive(Clone, Copy, Debug)]
struct Piece {
    chunk: u32,
    /// First byte, in the chunk's payload.
    start: usize,
    len: usize,
}

impl ValuePlace {
    /// The chunk behind those of the value's first `len` bytes.
    fn end(&self, len: u64) -> u32 {
        let chunks = chunk::chunks_for(u64::from(self.offset) + len);
        self.chunk.saturating_add(u32::try_from(chunks).unwrap_or(u32::MAX))
    }

    /// The piece that begins at the value's byte `at`, of at most `most` bytes.
    fn piece(&self, at: u64, most: usize) -> Piece {
        let position = u64::from(self.offset) + at;
        let start = (position % PAYLOAD_BYTES as u64) as usize;
        let chunk = self.chunk.saturating_add((position / PAYLOAD_BYTES as u64) as u32);
        Piece { chunk, start, len: most.min(PAYLOAD_BYTES - start) }
    }
}

impl TrackFile {
    /// Fills `out` with the bytes of the value at `place` from its byte `skip` on.
    pub(crate) fn read_value(&self, place: &ValuePlace, skip: u64, out: &mut [u8]) -> Result<()> {
        debug_assert!(skip + out.len() as u64 <= place.len);
        if let Some(map) = self.map() {
            return self.copy_mapped(map, place, skip, out);
        }
        match self.growing_map(place.end(skip + out.len() as u64)) {
            Some(map) => self.copy_mapped(&map, place, skip, out),
            None => self.read_batches(place, skip, out),
        }
    }

    /// The same, whether or not the track could be mapped: what compaction reads once would make
    /// others' pages leave memory.
    pub(crate) fn read_unmapped(
        &self,
        place: &ValuePlace,
        skip: u64,
        out: &mut [u8],
    ) -> Result<()> {
        self.read_batches(place, skip, out)
    }

    fn copy_mapped(&self, map: &[u8], place: &ValuePlace, skip: u64, out: &mut [u8]) -> Result<()> {
        let mut done = 0;
        io::prefetch(begin_of(chunk_of(map, place.piece(skip, 0).chunk)));
        while done < out.len() {
            let piece = place.piece(skip + done as u64, out.len() - done);
            let goes_on = done + piece.len < out.len();
            let bytes = self.open_piece(map, piece.chunk, place, piece, goes_on)?;
            out[done..done + piece.len].copy_from_slice(bytes);
            done += piece.len;
        }
        Ok(())
    }

    /// The piece's bytes in its chunk, the `nth` of `chunks`. If the next one is read as well, it is
    /// fetched while this one is summed and used.
    fn open_piece<'a>(
        &self,
        chunks: &'a [u8],
        nth: u32,
        place: &ValuePlace,
        piece: Piece,
        goes_on: bool,
    ) -> Result<&'a [u8]> {
        let next = if goes_on { chunk_of(chunks, nth.saturating_add(1)) } else { &[] };
        let begin = begin_of(next);
        io::prefetch(begin);
        let opened = chunk::open(chunk_of(chunks, nth), self.place(piece.chunk));
        io::prefetch(&next[begin.len()..]);
        self.check(opened, place, piece)
    }

    fn read_batches(&self, place: &ValuePlace, skip: u64, mut out: &mut [u8]) -> Result<()> {
        let mut at = skip;
        while !out.is_empty() {
            let first = place.piece(at, out.len());
            let most = first.len + (BATCH_CHUNKS - 1) * PAYLOAD_BYTES;
            let (now, later) = out.split_at_mut(most.min(out.len()));
            at += now.len() as u64;
            self.read_batch(place, at - now.len() as u64, now)?;
            out = later;
        }
        Ok(())
    }

    /// Reads up to [`BATCH_CHUNKS`] chunks: headers aside, whole payloads straight into `out`,
    /// and those of which only a part is wanted into a scratch chunk.
    fn read_batch(&self, place: &ValuePlace, at: u64, out: &mut [u8]) -> Result<()> {
        let mut headers = [[0; HEADER_BYTES]; BATCH_CHUNKS];
        let (mut first_part, mut last_part) = ([0; PAYLOAD_BYTES], [0; PAYLOAD_BYTES]);
        let first = place.piece(at, out.len());
        {
            let mut scratch = [&mut first_part, &mut last_part].into_iter();
            let mut buffers = Vec::with_capacity(2 * BATCH_CHUNKS);
            let mut rest = &mut *out;
            let mut fill = first.len;
            for header in &mut headers {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at_mut(fill.min(rest.len()));
                buffers.push(IoSliceMut::new(header));
                if now.len() == PAYLOAD_BYTES {
                    buffers.push(IoSliceMut::new(now));
                } else {
                    let part = scratch.next().expect("only the first and last are parts");
                    buffers.push(IoSliceMut::new(part));
                }
                (rest, fill) = (later, PAYLOAD_BYTES);
            }
            self.read_buffers(first.chunk, &mut buffers)?;
        }
        let mut parts = [&first_part, &last_part].into_iter();
        let mut done = 0;
        for header in &headers {
            if done == out.len() {
                break;
            }
            let piece = place.piece(at + done as u64, out.len() - done);
            let target = &mut out[done..done + piece.len];
            let place_of = self.place(piece.chunk);
            if piece.len == PAYLOAD_BYTES {
                self.check(chunk::open_split(header, target, place_of), place, piece)?;
            } else {
                let part = parts.next().expect("as many as were read");
                let opened = chunk::open_split(header, part, place_of);
                target.copy_from_slice(self.check(opened, place, piece)?);
            }
            done += piece.len;
        }
        Ok(())
    }

    /// Fills the buffers from `chunk` on. Reading past the file's end leaves zeros, which do not
    /// verify: the error then names the chunk.
    fn read_buffers(&self, chunk: u32, buffers: &mut [IoSliceMut<'_>]) -> Result<()> {
        let mut offset = u64::from(chunk) * CHUNK_BYTES as u64;
        let mut left = buffers;
        while !left.is_empty() {
            match self.file.read_vectored_at(left, offset) {
                Ok(0) => break,
                Ok(n) => {
                    IoSliceMut::advance_slices(&mut left, n);
                    offset += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io_error("read the track", e)),
            }
        }
        Ok(())
    }

    /// The wanted bytes of a chunk that opened, if it belongs to the value's chain and has them.
    fn check<'a>(
        &self,
        opened: Result<(ChunkHeader, &'a [u8]), Fault>,
        place: &ValuePlace,
        piece: Piece,
    ) -> Result<&'a [u8]> {
        let what = "chunk";
        let checked = opened.and_then(|(header, payload)| {
            if header.seq != place.seq {
                let why = format!("of chain {}, where {} is expected", header.seq, place.seq);
                return Err(Fault::Invalid { what, why });
            }
            let needed = piece.start + piece.len;
            let short = Fault::Short { what, needed, found: payload.len() };
            payload.get(piece.start..needed).ok_or(short)
        });
        checked.map_err(|fault| Error::chunk(&self.path, self.id, piece.chunk, fault))
    }
}

/// A chunk among others; empty where they end before it does.
fn chunk_of(chunks: &[u8], chunk: u32) -> &[u8] {
    let start = chunk as usize * CHUNK_BYTES;
    chunks.get(start..start + CHUNK_BYTES).unwrap_or_default()
}

/// What of a chunk is fetched before anything is done with it.
fn begin_of(chunk: &[u8]) -> &[u8] {
    &chunk[..FETCHED_AT_ONCE.min(chunk.len())]
}

/// A value read piece by piece: straight from a map where there is one, else through a window.
#[derive(Debug)]
pub(crate) struct Bytes {
    track: Arc<TrackFile>,
    place: ValuePlace,
    source: Source,
    /// The chunk that was verified last: reading it byte by byte sums it once.
    verified: Option<u32>,
}

/// What a value is read from.
#[derive(Debug)]
enum Source {
    /// The map of the whole track, which is sealed.
    Whole,
    /// A map of an active track.
    Growing(Arc<Map>),
    /// A copy of chunks, from the first one on.
    Window { first: u32, bytes: Vec<u8> },
}

impl Bytes {
    /// Chunks that are read ahead where the track isn't mapped: 256 KiB.
    const WINDOW_CHUNKS: u64 = 64;

    pub(crate) fn new(track: Arc<TrackFile>, place: ValuePlace) -> Self {
        let source = match track.map() {
            Some(_) => Source::Whole,
            None => track.growing_map(place.end(place.len)).map_or_else(window, Source::Growing),
        };
        Bytes { track, place, source, verified: None }
    }

    /// Bytes that are read through the window also where the track could be mapped: reading a whole
    /// store through maps makes all of it resident.
    pub(crate) fn unmapped(track: Arc<TrackFile>, place: ValuePlace) -> Self {
        Bytes { track, place, source: window(), verified: None }
    }

    /// The value's bytes from `at` to the end of their chunk, without a copy; empty at its end.
    pub(crate) fn at(&mut self, at: u64) -> Result<&[u8]> {
        let left = self.place.len.saturating_sub(at);
        if left == 0 {
            return Ok(&[]);
        }
        let piece = self.place.piece(at, usize::try_from(left).unwrap_or(usize::MAX));
        self.load(piece.chunk, left)?;
        let (first, bytes) = match &self.source {
            Source::Whole => (0, self.track.map().map_or(&[][..], |map| map)),
            Source::Growing(map) => (0, &***map),
            Source::Window { first, bytes } => (*first, &**bytes),
        };
        let nth = piece.chunk - first;
        if self.verified == Some(piece.chunk) {
            let start = HEADER_BYTES + piece.start;
            return Ok(&chunk_of(bytes, nth)[start..start + piece.len]);
        }
        let in_order =
            at == 0 || self.verified.is_some_and(|last| last == piece.chunk.saturating_sub(1));
        let goes_on = in_order && left > piece.len as u64;
        let found = self.track.open_piece(bytes, nth, &self.place, piece, goes_on)?;
        self.verified = Some(piece.chunk);
        Ok(found)
    }

    /// Says that the rest of the value will be read soon.
    pub(crate) fn will_need(&self) {
        let offset = u64::from(self.place.chunk) * CHUNK_BYTES as u64;
        let chunks = chunk::chunks_for(self.place.len + u64::from(self.place.offset));
        self.track.file.will_need(offset, chunks * CHUNK_BYTES as u64);
    }

    /// Makes the window, where there is one, hold `chunk`.
    fn load(&mut self, chunk: u32, left: u64) -> Result<()> {
        let Source::Window { first, bytes } = &mut self.source else { return Ok(()) };
        let held = (bytes.len() / CHUNK_BYTES) as u32;
        if (*first..*first + held).contains(&chunk) {
            return Ok(());
        }
        let chunks = chunk::chunks_for(left).saturating_add(1).min(Self::WINDOW_CHUNKS);
        self.verified = None;
        bytes.clear();
        bytes.resize(chunks as usize * CHUNK_BYTES, 0);
        *first = chunk;
        self.track.read_buffers(chunk, &mut [IoSliceMut::new(bytes)])
    }
}

/// A window with nothing in it yet.
fn window() -> Source {
    Source::Window { first: 0, bytes: Vec::new() }
}
