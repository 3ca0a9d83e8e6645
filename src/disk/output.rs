//! A track that compaction writes, in its own thread and beside the disk's active track.
//!
//! What is in it counts only when the index was told, and that is after it was synced: a chain that
//! a crash cuts off is a copy of what is still there.

use std::path::PathBuf;
use std::sync::Arc;

use super::lane::append_chain;
use super::{Appended, Proposal, Volume};
use crate::compression::Dictionary;
use crate::error::Result;
use crate::format::chain::Layout;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{Seq, TrackId};
use crate::track::{Appender, TrackFile};

/// An output of compaction.
pub(crate) struct Output {
    volume: Arc<Volume>,
    header: TrackHeader,
    appender: Appender,
    dictionary: Option<Arc<Dictionary>>,
    /// Chunk up to which the index has been told.
    applied: u32,
    head: Vec<u8>,
}

/// A chain of copies, with where its values are.
pub(crate) struct CopiedChain {
    pub(crate) track: TrackId,
    pub(crate) start: u32,
    pub(crate) seq: Seq,
    pub(crate) layout: Layout,
    pub(crate) proposal: Proposal,
}

impl Output {
    /// Creates the track. `floor` is a seq as of which all that will be copied to it was known to
    /// be live; `predecessor` an output of the disk that nothing vouches for yet.
    pub(crate) fn create(
        volume: &Arc<Volume>,
        shard: u8,
        floor: Seq,
        predecessor: Option<(TrackId, u32)>,
        dictionary: Option<Arc<Dictionary>>,
    ) -> Result<Self> {
        let owner = volume.owner()?;
        let (track, _) = owner.take_track();
        let header = TrackHeader {
            store: volume.store,
            disk: volume.disk.id,
            track,
            kind: TrackKind::Compacted,
            shard,
            floor,
            predecessor,
            created_ms: owner.now_ms(),
        };
        let file = volume.begin_output(|| {
            let (io, known) = (volume.disk.io(), dictionary.as_deref());
            let file = Arc::new(TrackFile::create(io, &volume.dir, &header, known)?);
            let dir: &Arc<PathBuf> = &volume.dir;
            owner.output_created(volume.disk.id, &file, &header, dir)?;
            Ok(file)
        })?;
        let appender = Appender::new(file, 1);
        let volume = volume.clone();
        Ok(Output { volume, header, appender, dictionary, applied: 1, head: Vec::new() })
    }

    pub(crate) fn track(&self) -> TrackId {
        self.header.track
    }

    /// What small values in it are compressed with.
    pub(crate) fn dictionary(&self) -> Option<&Arc<Dictionary>> {
        self.dictionary.as_ref()
    }

    /// The chunk behind the last chain that the index knows.
    pub(crate) fn applied(&self) -> u32 {
        self.applied
    }

    /// Whether the track has room for so many chunks more; a first chain always has.
    pub(crate) fn has_room(&self, chunks: u32) -> bool {
        let end = self.appender.end();
        end == 1 || u64::from(end) + u64::from(chunks) <= self.volume.track_chunks.into()
    }

    /// Appends copies, which keep their seqs, as one chain.
    pub(crate) fn append(&mut self, mut proposal: Proposal, layout: Layout) -> Result<CopiedChain> {
        let seq = self.volume.owner()?.take_seqs(1);
        let proposals = vec![&mut proposal];
        let start =
            append_chain(&mut self.appender, &layout, seq, proposals, &mut self.head, false)?;
        Ok(CopiedChain { track: self.header.track, start, seq, layout, proposal })
    }

    /// Gives back what the file system has allocated behind the end, in advance.
    pub(crate) fn trim(&mut self) {
        self.appender.trim();
    }

    /// Makes all that was appended durable. After a failure the track is of no more use.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.appender.sync().map_err(|failure| failure.error)
    }

    /// Says that the index knows of the chain; in the order in which they were appended.
    pub(crate) fn told(&mut self, chain: &CopiedChain) {
        debug_assert_eq!(self.applied, chain.start);
        self.applied = chain.start + chain.layout.chunks;
    }

    /// Makes it durable that the track ends at the last chain that the index knows. A copy that lay
    /// behind, and of which the index has never heard, would come back in a rebuild when the
    /// tombstone of its key is gone (invariant I9).
    pub(crate) fn cut(&self) -> Result<()> {
        if self.appender.end() == self.applied {
            return Ok(());
        }
        let file = &self.appender.track.file;
        let end = u64::from(self.applied) * CHUNK_BYTES as u64;
        if file.set_len(end).and_then(|()| file.sync_data()).is_ok() {
            return Ok(());
        }
        self.volume.owner()?.track_cut(self.header.track, self.applied)
    }
}

impl CopiedChain {
    /// The chain, for the index.
    pub(crate) fn appended(&self, output: &Output) -> Appended<'_> {
        Appended {
            disk: output.header.disk,
            track: self.track,
            floor: output.header.floor,
            created_ms: output.header.created_ms,
            start: self.start,
            chunks: self.layout.chunks,
            head_chunks: self.layout.head_chunks,
            seq: self.seq,
            synced: self.start + self.layout.chunks,
            records: self.proposal.entries().zip(self.layout.spots.iter().copied()).collect(),
            sealed: Vec::new(),
        }
    }
}
