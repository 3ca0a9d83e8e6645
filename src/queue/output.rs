//! A track as a rewrite writes it: a file of its own, which nothing names until it is whole and
//! durable.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::lane::Lane;
use super::track::Track;
use crate::error::{Error, Result};
use crate::format::TrackId;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::queue::{QueueTrack, RewrittenEnd, track_file_name};
use crate::io::{self, Io, OpenMode};

/// So much is written at once: 1 MiB.
const WRITE_CHUNKS: u32 = 256;
const CHUNK: u32 = CHUNK_BYTES as u32;
/// More can't be named by a position.
const MAX_CHUNKS: u32 = u32::MAX / CHUNK;

/// A track that is being written.
pub(super) struct Output {
    track: Track,
    /// The header of the track whose place it takes.
    header: QueueTrack,
    rewrite: u32,
    lane: Lane,
    /// The chunk in which the lane begins.
    base: u32,
    /// Frames that begin before the lane.
    frames: u64,
    /// Where the last item ends.
    end: u32,
}

impl Output {
    /// Where the file is that the rewrite of this number writes of a track.
    pub(super) fn path(dir: &Path, track: TrackId, rewrite: u32) -> PathBuf {
        dir.join(track_file_name(track, rewrite))
    }

    /// Creates the file that is to take the place of the one with this header.
    pub(super) fn create(
        io: &dyn Io,
        dir: &Path,
        header: QueueTrack,
        rewrite: u32,
    ) -> Result<Self> {
        let path = Self::path(dir, header.track, rewrite);
        let file = io.open(&path, OpenMode::CreateNew);
        let file = file.map_err(|e| Error::io("create the track", &path, e))?;
        let (queue, id) = (header.queue, header.track);
        let track = Track { queue, id, path, file, rewritten: None };
        let lane = Lane::default();
        Ok(Output { track, header, rewrite, lane, base: 1, frames: 0, end: CHUNK })
    }

    /// Adds an item, which is behind the one that was added before.
    pub(super) fn push(&mut self, position: u32, item: &[u8]) -> Result<()> {
        self.lane.push_at(position, item);
        if self.lane.chunks() >= WRITE_CHUNKS {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let chunks = self.lane.chunks();
        if chunks > MAX_CHUNKS - self.base {
            let what = "its items do not fit into one track any more, which has 4 GiB at most";
            return Err(Error::invalid(what).with_path(&self.track.path).with_track(self.track.id));
        }
        self.end = self.base * CHUNK + self.lane.at() as u32;
        let frames = self.lane.frames();
        let place = (self.track.queue, self.track.id, self.base);
        let bytes = self.lane.seal_rewritten(place, self.rewrite, self.frames);
        let offset = u64::from(self.base) * CHUNK_BYTES as u64;
        io::write_all_at(&*self.track.file, &mut [IoSlice::new(bytes)], offset)
            .map_err(|e| self.track.io_error("write the track", e))?;
        self.lane.clear(2 * WRITE_CHUNKS as usize * CHUNK_BYTES);
        (self.base, self.frames) = (self.base + chunks, self.frames + frames);
        Ok(())
    }

    /// Makes the file whole and durable; its name is not yet.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.lane.is_empty() {
            self.write()?;
        }
        let rewritten = Some(RewrittenEnd { rewrite: self.rewrite, end: self.end });
        let chunk = QueueTrack { rewritten, ..self.header }.to_chunk();
        io::write_all_at(&*self.track.file, &mut [IoSlice::new(&chunk)], 0)
            .and_then(|()| self.track.file.sync_data())
            .map_err(|e| self.track.io_error("write the track", e))
    }
}
