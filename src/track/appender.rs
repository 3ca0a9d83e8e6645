//! The writing end of a track.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use super::TrackFile;
use crate::error::{Error, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::io::{self, File, WriteBack};

/// Blank chunks that are written at once: 256 KiB.
const BLANK_CHUNKS: u32 = 64;
/// What is synced at once is little up to so many chunks, about as much as file systems write beside it.
const LITTLE_CHUNKS: u32 = 4;
/// Where so many syncs in turn were of little, more such are expected.
const STEADY_SYNCS: u32 = 4;

/// What somebody waits for is written in steps of so many bytes, if it is more: 256 KiB.
const STEP_BYTES: usize = 256 << 10;

/// Appends whole chains to a track, and knows how far it is durable.
///
/// A sync behind which the file has grown writes its inode as well, or a journal. Where a little is synced at
/// a time, over and over, that takes as long as the chunks themselves, and wears a flash out as much. So the
/// file then grows by blank chunks ahead of what is appended: 64 of them with one sync, and the syncs after it
/// write nothing but chunks. Whoever seals the track takes off what is left of them; recovery does after a
/// crash.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) track: Arc<TrackFile>,
    /// The next chain begins here, in chunks; all before was written.
    end: u32,
    /// The file ends here: what lies behind `end` is blank.
    file_end: u32,
    /// Syncs of little, in turn.
    little_syncs: u32,
    /// Whether the file may be longer than the chains, or be so again after a power cut.
    may_be_longer: bool,
    /// All chunks before this one are durable.
    synced: u32,
    write_back: WriteBack,
    /// Whether a failed append has written behind `end`. It was taken off, but until a sync it may be back
    /// after a power cut; and nobody looks behind the end of a track that is sealed.
    has_leavings: bool,
    /// Whether a sync has failed: nothing behind `synced` may ever count (invariant I2).
    failed: bool,
}

/// A sync of what was appended before it was begun.
#[derive(Debug)]
pub(crate) struct BegunSync {
    track: Arc<TrackFile>,
    end: u32,
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
        Appender {
            track,
            end,
            file_end: end,
            little_syncs: 0,
            may_be_longer: false,
            synced: end,
            write_back,
            has_leavings: false,
            failed: false,
        }
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
    /// overwritten by the next append, so that no garbage lies in front of a good chain. What somebody waits for
    /// to be durable is on its way to the device before all of it is written.
    pub(crate) fn append(&mut self, buffers: &mut [IoSlice<'_>], is_awaited: bool) -> Result<()> {
        let len = buffers.iter().map(|b| b.len()).sum::<usize>();
        let (chunks, offset) = (len / CHUNK_BYTES, bytes(self.end));
        let file = &*self.track.file;
        let outcome = match is_awaited && len > STEP_BYTES {
            true => write_in_steps(file, buffers, offset),
            false => io::write_all_at(file, buffers, offset),
        };
        if let Err(e) = outcome {
            // Best effort: the room is wanted back, and a scan ends at a chunk that is no chain's
            // first anyway.
            let _ = self.track.file.set_len(offset);
            self.file_end = self.end;
            self.has_leavings = true;
            return Err(self.track.io_error("append to the track", e));
        }
        self.end += chunks as u32;
        self.file_end = self.file_end.max(self.end);
        if let Some(range) = self.write_back.ready(bytes(self.end)) {
            self.track.file.start_write_back(range);
        }
        Ok(())
    }

    /// What the device is to begin with: what was appended since it was last told, but for steps of one append.
    pub(crate) fn begin_write_back(&mut self) -> (Arc<TrackFile>, Range<u64>) {
        (self.track.clone(), self.write_back.rest(bytes(self.end)))
    }

    /// How many blank chunks are to be written before the next sync, of a track of so many chunks.
    pub(crate) fn wants_blank(&self, track_chunks: u32) -> u32 {
        let wants = self.file_end == self.end && self.little_syncs >= STEADY_SYNCS;
        if wants { BLANK_CHUNKS.min(track_chunks.saturating_sub(self.end)) } else { 0 }
    }

    /// Writes blank chunks behind the end. Best effort: it is about speed alone.
    pub(crate) fn write_blank(&mut self, chunks: u32) {
        static BLANK: [u8; 16 * CHUNK_BYTES] = [0; 16 * CHUNK_BYTES];
        let mut left = chunks as usize * CHUNK_BYTES;
        let mut buffers = Vec::with_capacity(left.div_ceil(BLANK.len()));
        while left > 0 {
            let blank = &BLANK[..left.min(BLANK.len())];
            buffers.push(IoSlice::new(blank));
            left -= blank.len();
        }
        self.may_be_longer = true;
        match io::write_all_at(&*self.track.file, &mut buffers, bytes(self.end)) {
            Ok(()) => self.file_end = self.end + chunks,
            Err(_) => {
                self.trim();
                self.little_syncs = 0;
            }
        }
    }

    /// Gives back what lies behind the end: blank chunks, and what the file system has allocated in advance,
    /// on xfs as much as the file has.
    pub(crate) fn trim(&mut self) {
        // Best effort: it is about room alone.
        let _ = self.track.file.set_len(bytes(self.end));
        self.file_end = self.end;
    }

    /// Makes it durable that the file ends where the chains do.
    pub(crate) fn cut_blank(&mut self) -> std::io::Result<()> {
        if self.may_be_longer {
            let file = &self.track.file;
            file.set_len(bytes(self.end)).and_then(|()| file.sync_data())?;
            self.file_end = self.end;
            self.may_be_longer = false;
        }
        Ok(())
    }

    /// Makes all that was appended durable. Invariant I2: after a failure this never succeeds.
    pub(crate) fn sync(&mut self) -> Result<(), SyncFailure> {
        let Some(begun) = self.begin_sync()? else { return Ok(()) };
        let outcome = begun.run();
        self.end_sync(begun, outcome)
    }

    /// Begins the same, for who appends more meanwhile; `None` where there is nothing to sync.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<BegunSync>, SyncFailure> {
        if self.failed {
            let e = std::io::Error::other("an earlier sync of this track failed");
            return Err(self.sync_failure(e));
        }
        if self.synced == self.end {
            // Best effort: it is about room alone, and all that counts is durable.
            if self.has_leavings {
                self.has_leavings = self.track.file.sync_data().is_err();
            }
            return Ok(None);
        }
        self.has_leavings = false;
        Ok(Some(BegunSync { track: self.track.clone(), end: self.end }))
    }

    /// Ends a sync with its outcome; one is begun at a time.
    pub(crate) fn end_sync(
        &mut self,
        begun: BegunSync,
        outcome: std::io::Result<()>,
    ) -> Result<(), SyncFailure> {
        if let Err(e) = outcome {
            self.failed = true;
            return Err(self.sync_failure(e));
        }
        let is_little = begun.end - self.synced <= LITTLE_CHUNKS;
        self.little_syncs = if is_little { self.little_syncs.saturating_add(1) } else { 0 };
        self.synced = begun.end;
        self.write_back.is_durable(bytes(begun.end));
        self.track.synced_to(begun.end);
        Ok(())
    }

    /// Has every further sync fail.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    fn sync_failure(&self, e: std::io::Error) -> SyncFailure {
        SyncFailure { synced: self.synced, error: self.track.io_error("sync the track", e) }
    }
}

impl BegunSync {
    /// Makes it so; once.
    pub(crate) fn run(&self) -> std::io::Result<()> {
        self.track.file.sync_data()
    }
}

/// Writes the buffers step by step, and has the device begin with each while the next is copied.
fn write_in_steps(
    file: &dyn File,
    buffers: &[IoSlice<'_>],
    mut offset: u64,
) -> std::io::Result<()> {
    let mut left = buffers.iter().map(|buffer| &**buffer);
    let mut rest: &[u8] = &[];
    loop {
        let (mut step, mut len) = (Vec::new(), 0);
        while len < STEP_BYTES {
            if rest.is_empty() {
                let Some(next) = left.next() else { break };
                rest = next;
            }
            let (now, later) = rest.split_at(rest.len().min(STEP_BYTES - len));
            step.push(IoSlice::new(now));
            (rest, len) = (later, len + now.len());
        }
        if len == 0 {
            return Ok(());
        }
        io::write_all_at(file, &mut step, offset)?;
        let start = offset;
        offset += len as u64;
        file.start_write_back(start..offset);
    }
}

fn bytes(chunks: u32) -> u64 {
    u64::from(chunks) * CHUNK_BYTES as u64
}
