//! What is being appended to on a disk: the active track, and how one follows the other.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use super::commit::{self, Unapplied};
use super::proposal::{Proposal, Request};
use super::space::Space;
use super::volume::{Owner, Sealed, Volume};
use crate::compression::Dictionary;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{ChainPlace, Layout};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{Seq, TrackId};
use crate::track::{Appender, BegunSync, SyncFailure, TrackFile};

#[derive(Default)]
pub(super) struct Lane {
    pub(super) active: Option<Active>,
    pub(super) predecessor: Option<(TrackId, u32)>,
    /// A track that was created, and of which `META` could not be told yet.
    pub(super) created: Option<Created>,
    /// Sealed, and the index does not know it yet.
    pub(super) sealed: Vec<Sealed>,
    /// Appended, and the index does not know it yet; in that order.
    pub(super) unapplied: VecDeque<Unapplied>,
    /// Whether somebody syncs the active track, without holding the lane.
    pub(super) is_syncing: bool,
    pub(super) space: Space,
    pub(super) head: Vec<u8>,
    /// Tracks of compaction that are being created here, and are not in the index yet.
    pub(super) beginning: usize,
    /// Whether the disk has left the store: it takes nothing any more.
    pub(super) has_left: bool,
}

pub(super) struct Created {
    file: Arc<TrackFile>,
    header: TrackHeader,
    dictionary: Option<Arc<Dictionary>>,
}

pub(super) struct Active {
    pub(super) appender: Appender,
    pub(super) floor: Seq,
    pub(super) created_ms: u64,
    pub(super) dictionary: Option<Arc<Dictionary>>,
    /// Chunk up to which the index has been told.
    pub(super) applied: u32,
}

impl Lane {
    /// Syncs the active track, and holds the lane meanwhile. No other sync is under way.
    pub(super) fn sync(&mut self, owner: &dyn Owner) -> Result<()> {
        let Some(begun) = self.begin_sync(owner)? else { return Ok(()) };
        let outcome = begun.run();
        self.end_sync(owner, begun, outcome)
    }

    /// Begins to sync the active track, if there is something to sync.
    pub(super) fn begin_sync(&mut self, owner: &dyn Owner) -> Result<Option<BegunSync>> {
        debug_assert!(!self.is_syncing);
        let Some(active) = &mut self.active else { return Ok(None) };
        let begun =
            active.appender.begin_sync().map_err(|failure| self.fail_sync(owner, failure))?;
        self.is_syncing = begun.is_some();
        Ok(begun)
    }

    /// Ends a sync with its outcome. The track is still the active one.
    pub(super) fn end_sync(
        &mut self,
        owner: &dyn Owner,
        begun: BegunSync,
        outcome: std::io::Result<()>,
    ) -> Result<()> {
        self.is_syncing = false;
        let active = self.active.as_mut().expect("no track is sealed during a sync");
        let ended = active.appender.end_sync(begun, outcome);
        ended.map_err(|failure| self.fail_sync(owner, failure))
    }

    /// Invariant I2: after a failure the track ends at its last good sync, and `META` says so before
    /// anybody is told; where chains behind it are in the index already, the index is never flushed again.
    fn fail_sync(&mut self, owner: &dyn Owner, failure: SyncFailure) -> Error {
        let SyncFailure { synced, error } = failure;
        let Some(active) = &self.active else { return error };
        let track = active.appender.track.clone();
        let are_lost = active.applied > synced;
        commit::lose(&mut self.unapplied, track.id, synced, &error);
        let cut = owner.track_cut(track.id, synced);
        if are_lost || cut.is_err() {
            owner.poison(&error);
            return error;
        }
        // Best effort: nothing behind the cut counts, there or not.
        let _ = track.file.set_len(u64::from(synced) * CHUNK_BYTES as u64);
        self.retire(synced);
        error
    }

    /// Whether the index knows of chains that are not durable.
    pub(super) fn has_unsynced_in_index(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.appender.synced() < active.applied)
    }

    /// Has the active track grow ahead of what is appended, where that is of use and there is room.
    pub(super) fn write_blank(&mut self, volume: &Volume) {
        let Some(active) = &mut self.active else { return };
        let chunks = active.appender.wants_blank(volume.track_chunks);
        let bytes = u64::from(chunks) * CHUNK_BYTES as u64;
        if chunks > 0 && volume.checks_room(&mut self.space, bytes).is_ok() {
            self.space.spend(bytes);
            active.appender.write_blank(chunks);
        }
    }

    /// Makes it durable that the active track ends where its chains do. All of them are. Nothing may be
    /// appended to it any more: `META` may say that it ends here.
    pub(super) fn cut_blank(&mut self, owner: &dyn Owner) -> Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let Err(error) = active.appender.cut_blank() else { return Ok(()) };
        let track = active.appender.track.id;
        tracing::warn!(%track, %error, "blank chunks could not be cut off; the next opening does so");
        let cut = owner.track_cut(track, active.appender.end());
        cut.inspect_err(|error| owner.poison(error))
    }

    pub(super) fn last_track(&self) -> Option<(TrackId, u32)> {
        let active = self.active.as_ref().map(|a| (a.appender.track.id, a.appender.synced()));
        active.or(self.predecessor)
    }

    /// Seals the active track at `end`.
    pub(super) fn retire(&mut self, end: u32) {
        if let Some(active) = self.active.take() {
            let track = active.appender.track.id;
            self.sealed.push(Sealed { track, end });
            self.predecessor = Some((track, end));
        }
    }

    /// Fails where the disk has left the store.
    pub(super) fn check_stays(&self, volume: &Volume) -> Result<()> {
        if !self.has_left {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Full, "the disk was drained").with_path(&volume.dir))
    }

    /// Whether `chunks` more go to a track that is not there yet.
    pub(super) fn begins_track(&self, volume: &Volume, chunks: u32) -> bool {
        !self.has_room(volume, chunks) && self.created.is_none()
    }

    /// Whether the active track has room for so many chunks more.
    pub(super) fn has_room(&self, volume: &Volume, chunks: u32) -> bool {
        self.active.as_ref().is_some_and(|active| active.has_room(volume, chunks))
    }

    /// Makes sure that `chunks` more have a track to go to; one that is begun has the dictionary that
    /// was `trained`, or else the last one's.
    pub(super) fn roll(
        &mut self,
        volume: &Volume,
        owner: &dyn Owner,
        chunks: u32,
        trained: Option<Arc<Dictionary>>,
    ) -> Result<()> {
        self.check_stays(volume)?;
        if let Some(active) = &self.active {
            if active.appender.failed() {
                let what = "a sync of the active track has failed";
                return Err(Error::new(ErrorKind::Poisoned, what));
            }
            if active.has_room(volume, chunks) {
                return Ok(());
            }
            let end = active.appender.end();
            self.sync(owner)?;
            self.cut_blank(owner)?;
            self.retire(end);
            step!("roll.sealed");
        }
        // File, header, directory; then META; then the first chain: whatever is cut off, META
        // never names a track that is not there, and no chain lies in a track it does not know.
        let created = match self.created.take() {
            Some(created) => created,
            None => self.create_track(volume, owner, trained)?,
        };
        if let Err(error) = owner.track_created(volume.disk.id, &created.file, &volume.dir) {
            self.created = Some(created);
            return Err(error);
        }
        step!("roll.named");
        let Created { file, header, dictionary } = created;
        let appender = Appender::new(file, 1);
        let TrackHeader { floor, created_ms, .. } = header;
        volume.set_dictionary(dictionary.clone());
        self.active = Some(Active { appender, floor, created_ms, dictionary, applied: 1 });
        Ok(())
    }

    fn create_track(
        &self,
        volume: &Volume,
        owner: &dyn Owner,
        trained: Option<Arc<Dictionary>>,
    ) -> Result<Created> {
        let (track, floor) = owner.take_track();
        let header = TrackHeader {
            store: volume.store,
            disk: volume.disk.id,
            track,
            kind: TrackKind::Append,
            shard: 0,
            floor,
            predecessor: self.predecessor,
            created_ms: owner.now_ms(),
        };
        let dictionary = trained.or_else(|| volume.dictionary());
        let io = volume.disk.io();
        let file = TrackFile::create(io, &volume.dir, &header, dictionary.as_deref())?;
        Ok(Created { file: Arc::new(file), header, dictionary })
    }

    /// Appends the group as one chain, which somebody waits for to be durable or not; gives its first chunk.
    pub(super) fn append(
        &mut self,
        layout: &Layout,
        first: Seq,
        seq: Seq,
        group: &mut [Request],
        is_awaited: bool,
    ) -> Result<u32> {
        let active = self.active.as_mut().expect("the caller rolled to it");
        let mut next = first;
        for request in group.iter_mut() {
            request.proposal.set_seqs(next);
            next = Seq(next.0 + request.proposal.len() as u64);
        }
        let proposals: Vec<_> = group.iter_mut().map(|request| &mut request.proposal).collect();
        append_chain(&mut active.appender, layout, seq, proposals, &mut self.head, is_awaited)
    }
}

impl Active {
    /// Whether the track has room for so many chunks more; a first chain always has.
    fn has_room(&self, volume: &Volume, chunks: u32) -> bool {
        let end = self.appender.end();
        end == 1 || u64::from(end) + u64::from(chunks) <= volume.track_chunks.into()
    }
}

/// Appends proposals that have their seqs as one chain; gives its first chunk. `head` is a buffer
/// to use again.
pub(super) fn append_chain(
    appender: &mut Appender,
    layout: &Layout,
    seq: Seq,
    mut proposals: Vec<&mut Proposal>,
    head: &mut Vec<u8>,
    is_awaited: bool,
) -> Result<u32> {
    let start = appender.end();
    let chain = ChainPlace { start: appender.track.place(start), seq, synced: appender.synced() };
    layout.write_head(
        &chain,
        proposals.iter().flat_map(|proposal| proposal.entries()),
        proposals.iter().map(|proposal| proposal.packed()),
        head,
    );
    let mut buffers = vec![IoSlice::new(head)];
    let mut index = layout.head_chunks;
    for body in proposals.iter_mut().flat_map(|proposal| proposal.bodies_mut()) {
        let framed = body.seal(&chain, index, layout.chunks);
        index += (framed.len() / CHUNK_BYTES) as u32;
        buffers.push(IoSlice::new(framed));
    }
    appender.append(&mut buffers, is_awaited)?;
    Ok(start)
}
