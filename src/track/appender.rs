//! The writing end of a track.

use std::io::IoSlice;
use std::sync::Arc;

use super::TrackFile;
use crate::error::{Error, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::io::{self, WriteBack};

/// Appends whole chains to a track, and knows how far it is durable.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) track: Arc<TrackFile>,
    /// The next chain begins here, in chunks; all before was written.
    end: u32,
    /// All chunks before this one are durable.
    synced: u32,
    write_back: WriteBack,
    /// Whether a failed append has written behind `end`. It was taken off, but until a sync it may be back
    /// after a power cut; and nobody looks behind the end of a track that is sealed.
    has_leavings: bool,
    /// Whether a sync has failed: nothing behind `synced` may ever count (invariant I2).
    failed: bool,
}

/// A sync has failed: the track ends at `synced`.
#[derive(Debug)]
pub(crate) struct SyncFailure {
    pub(crate) synced: u32,
    pub(crate) error: Error,
}

impl Appender {
    /// Continues a track of which all `end` chunks are durable.
    pub(crate) fn new(track: Arc<TrackFile>, end: u32) -> Self {
        track.synced_to(end);
        let write_back = WriteBack::behind(bytes(end));
        Appender { track, end, synced: end, write_back, has_leavings: false, failed: false }
    }

    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    pub(crate) fn synced(&self) -> u32 {
        self.synced
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// Appends framed chunks. After an error the track is as it was: what was written of them is
    /// overwritten by the next append, so that no garbage lies in front of a good chain.
    pub(crate) fn append(&mut self, buffers: &mut [IoSlice<'_>]) -> Result<()> {
        let chunks = buffers.iter().map(|b| b.len()).sum::<usize>() / CHUNK_BYTES;
        let offset = bytes(self.end);
        if let Err(e) = io::write_all_at(&*self.track.file, buffers, offset) {
            // Best effort: the room is wanted back, and a scan ends at a chunk that is no chain's
            // first anyway.
            let _ = self.track.file.set_len(offset);
            self.has_leavings = true;
            return Err(self.track.io_error("append to the track", e));
        }
        self.end += chunks as u32;
        if let Some(range) = self.write_back.ready(bytes(self.end)) {
            self.track.file.start_write_back(range);
        }
        Ok(())
    }

    /// Gives back what the file system has allocated behind the end, in advance: xfs as much as the file
    /// has.
    pub(crate) fn trim(&self) {
        // Best effort: it is about room alone.
        let _ = self.track.file.set_len(bytes(self.end));
    }

    /// Makes all that was appended durable. Invariant I2: after a failure this never succeeds.
    pub(crate) fn sync(&mut self) -> Result<(), SyncFailure> {
        if self.failed {
            let e = std::io::Error::other("an earlier sync of this track failed");
            return Err(SyncFailure {
                synced: self.synced,
                error: self.track.io_error("sync the track", e),
            });
        }
        if self.synced == self.end {
            // Best effort: it is about room alone, and all that counts is durable.
            if self.has_leavings {
                self.has_leavings = self.track.file.sync_data().is_err();
            }
            return Ok(());
        }
        match self.track.file.sync_data() {
            Ok(()) => {
                self.synced = self.end;
                self.has_leavings = false;
                self.write_back = WriteBack::behind(bytes(self.end));
                self.track.synced_to(self.end);
                Ok(())
            }
            Err(e) => {
                self.failed = true;
                let error = self.track.io_error("sync the track", e);
                Err(SyncFailure { synced: self.synced, error })
            }
        }
    }
}

fn bytes(chunks: u32) -> u64 {
    u64::from(chunks) * CHUNK_BYTES as u64
}
