//! Frames on their way: the buffer that appenders fill and the writer takes.

use crate::format::chunk::{CHUNK_BYTES, ChunkPlace};
use crate::format::items::{self, FRAME_BYTES, FRAMES_IN_CHUNK, MAX_LENGTH_BYTES};
use crate::format::{StoreId, TrackId};

/// Chunks that are being filled.
#[derive(Debug, Default)]
pub(super) struct Lane {
    buffer: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
    /// Where the chunk ends that is being filled; `at`, where there is none.
    chunk_end: usize,
    chunks: Vec<Opened>,
    /// Frames in it.
    frames: u64,
    /// In a rewritten track, where the item is that was added last.
    base: u32,
}

#[derive(Debug, Clone, Copy)]
struct Opened {
    /// Where the first frame begins in the chunk that begins in it.
    first: Option<usize>,
    /// Frames in the lane that begin before it.
    frames_before: u64,
    base: u32,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn chunks(&self) -> u32 {
        self.chunks.len() as u32
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Where the next byte goes, in bytes from the first chunk.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Chunks that it has when an item of so many bytes was added.
    pub(super) fn chunks_with(&self, item_bytes: usize) -> u32 {
        let frame = item_bytes + length_width(item_bytes);
        let more = frame.saturating_sub(self.chunk_end - self.at).div_ceil(FRAME_BYTES);
        self.chunks.len() as u32 + more as u32
    }

    /// Adds an item; gives where its frame begins.
    #[inline]
    pub(super) fn push(&mut self, item: &[u8]) -> usize {
        let start = self.begin_frame();
        if item.len() < 0x80 && start + 1 + item.len() <= self.chunk_end {
            self.buffer[start] = item.len() as u8;
            self.buffer[start + 1..start + 1 + item.len()].copy_from_slice(item);
            self.at = start + 1 + item.len();
            return start;
        }
        let mut length = [0; MAX_LENGTH_BYTES];
        let width = items::write_length(item.len(), &mut length);
        self.copy(&length[..width]);
        self.copy(item);
        start
    }

    /// Adds an item to a rewritten track; it is behind the one that was added before.
    pub(super) fn push_at(&mut self, position: u32, item: &[u8]) {
        debug_assert!(self.base < position);
        self.begin_frame();
        let (mut step, mut length) = ([0; MAX_LENGTH_BYTES], [0; MAX_LENGTH_BYTES]);
        let step_width = items::write_length((position - self.base) as usize, &mut step);
        let width = items::write_length(step_width + item.len(), &mut length);
        self.base = position;
        self.copy(&length[..width]);
        self.copy(&step[..step_width]);
        self.copy(item);
    }

    /// Begins a frame where the next byte goes.
    #[inline]
    fn begin_frame(&mut self) -> usize {
        if self.at == self.chunk_end {
            self.open_chunk();
        }
        let opened = self.chunks.last_mut().expect("one is open");
        if opened.first.is_none() {
            opened.first = Some(self.at % CHUNK_BYTES);
        }
        self.frames += 1;
        self.at
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.at == self.chunk_end {
                self.open_chunk();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.chunk_end - self.at));
            self.buffer[self.at..self.at + now.len()].copy_from_slice(now);
            self.at += now.len();
            bytes = later;
        }
    }

    fn open_chunk(&mut self) {
        let start = self.chunks.len() * CHUNK_BYTES;
        if self.buffer.len() < start + CHUNK_BYTES {
            self.buffer.resize((start + CHUNK_BYTES).max(self.buffer.len() * 2), 0);
        }
        let (frames_before, base) = (self.frames, self.base);
        self.chunks.push(Opened { first: None, frames_before, base });
        self.at = start + FRAMES_IN_CHUNK;
        self.chunk_end = start + CHUNK_BYTES;
    }

    /// Makes its chunks whole, the first of which is chunk `base` of the track, before which
    /// `frames_before` frames begin there; gives their bytes.
    pub(super) fn seal(
        &mut self,
        place: (StoreId, TrackId, u32),
        frames_before: u64,
        durable: u64,
    ) -> &[u8] {
        self.seal_each(place, |bytes, place, end, opened| {
            let before = frames_before + opened.frames_before;
            items::seal(bytes, place, end, opened.first, before, durable);
        })
    }

    /// Like [`seal`](Self::seal), for a track that a rewrite writes.
    pub(super) fn seal_rewritten(
        &mut self,
        place: (StoreId, TrackId, u32),
        rewrite: u32,
        frames_before: u64,
    ) -> &[u8] {
        self.seal_each(place, |bytes, place, end, opened| {
            let before = (frames_before + opened.frames_before) as u32;
            let Opened { first, base, .. } = *opened;
            items::seal_rewritten(bytes, place, end, first, rewrite, before, base);
        })
    }

    fn seal_each(
        &mut self,
        (store, track, base): (StoreId, TrackId, u32),
        seal: impl Fn(&mut [u8], ChunkPlace, usize, &Opened),
    ) -> &[u8] {
        self.buffer[self.at..self.chunk_end].fill(0);
        let whole = &mut self.buffer[..self.chunks.len() * CHUNK_BYTES];
        let last = self.chunks.len() - 1;
        let used = self.at - last * CHUNK_BYTES;
        for (index, bytes) in whole.chunks_exact_mut(CHUNK_BYTES).enumerate() {
            let place = ChunkPlace { store, track, chunk: base + index as u32 };
            let end = if index == last { used } else { CHUNK_BYTES };
            seal(bytes, place, end, &self.chunks[index]);
        }
        whole
    }

    /// Empties it, and gives its memory back where that is more than `keep_bytes`.
    pub(super) fn clear(&mut self, keep_bytes: usize) {
        self.chunks.clear();
        (self.at, self.chunk_end, self.frames) = (0, 0, 0);
        if self.buffer.len() > keep_bytes {
            self.buffer.truncate(keep_bytes);
            self.buffer.shrink_to_fit();
        }
    }
}

fn length_width(len: usize) -> usize {
    (usize::BITS - (len | 1).leading_zeros()).div_ceil(7) as usize
}
