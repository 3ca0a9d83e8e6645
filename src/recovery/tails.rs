//! The tracks that have more than the index reflects: reading, replaying and ending them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::marks::Marks;
use super::open::{Opening, ROWS_A_BATCH, accept_damage};
use super::replay::{End, Replay, Tail, cut_off};
use super::report::{Damage, RecoveryReport};
use crate::compression::Dictionary;
use crate::error::{Error, ErrorKind, Result};
use crate::format::chain::{Directory, DirectoryEntry};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{DiskId, Seq, TrackId};
use crate::index::{Books, ChainFacts, Index, Join};
use crate::options::{Phase, Progress};
use crate::store::now_ms;
use crate::track::{Chain, TrackFile};

/// Directories and packed values that are held at once, besides one chain's.
const READ_AHEAD_BYTES: usize = 4 << 20;

impl Opening {
    /// The headers of the tracks that may have more than the index reflects. Those of all others
    /// are not read: the work of opening does not depend on the size of the store.
    pub(super) fn read_headers(&mut self) -> Result<BTreeMap<TrackId, TrackHeader>> {
        let (mut headers, mut unreadable) = (BTreeMap::new(), Vec::new());
        let open = self
            .tracks
            .iter()
            .filter(|(id, _)| self.books.tracks.get(id).is_none_or(|row| row.sealed.is_none()));
        for (&id, &disk) in open {
            let track = self.files.get(id)?;
            match track.read_header() {
                Ok(header) if header.disk == disk => {
                    headers.insert(id, header);
                }
                Ok(header) => {
                    let what = format!("belongs on disk {}", header.disk);
                    return Err(Error::new(ErrorKind::Disk, what).with_path(&track.path));
                }
                Err(e) if e.kind() == ErrorKind::Version => return Err(e),
                Err(e) => unreadable.push((track, disk, e)),
            }
        }
        let marks = Marks::of(&self.before, &headers, &self.books);
        for (track, disk, error) in unreadable {
            if let Some(header) = self.without_header(&track, disk, &marks, &error)? {
                headers.insert(track.id, header);
            }
        }
        Ok(headers)
    }

    /// A track whose header can't be read: an unfinished one is removed, and a damaged one goes
    /// without, if the loss is accepted; its chunks verify all the same.
    fn without_header(
        &mut self,
        track: &TrackFile,
        disk: DiskId,
        marks: &Marks,
        error: &Error,
    ) -> Result<Option<TrackHeader>> {
        let row = self.books.tracks.get(&track.id).copied();
        let was_told = row.is_some() || marks.of_track(track.id) > 0;
        if !was_told && track.chunks()? <= 1 {
            // Its creation was cut off: META was not told yet, and no chain can be in it.
            self.remove_track(track)?;
            return Ok(None);
        }
        let what = format!("the track's header is damaged ({error})");
        self.accept(Damage { track: track.id, chunk: 0, chunks: 1, what })?;
        Ok(Some(TrackHeader {
            store: track.store,
            disk,
            track: track.id,
            kind: TrackKind::Append,
            shard: 0,
            floor: row.map_or(Seq(0), |row| row.floor),
            predecessor: None,
            created_ms: row.map_or_else(now_ms, |row| row.created_ms),
        }))
    }

    fn remove_track(&mut self, track: &TrackFile) -> Result<()> {
        // Invariant I10: `META` has to say what the header said.
        let header = track.read_header().ok();
        let orphan = header.as_ref().and_then(|header| header.predecessor);
        let orphan = orphan.filter(|(orphan, _)| self.tracks.contains_key(orphan));
        if let (Some(TrackHeader { disk, kind: TrackKind::Compacted, .. }), Some(orphan)) =
            (&header, orphan)
        {
            self.ledger.update(|meta| meta.vouch_for(*disk, orphan))?;
        }
        self.ledger.forget_track(track.id, orphan)?;
        step!("open.unfinished-unnamed");
        let io = &*self.options.io;
        let dir = track.path.parent().unwrap_or(&self.home);
        io.remove(&track.path)
            .and_then(|()| io.sync_dir(dir))
            .map_err(|e| track.io_error("remove the unfinished track", e))?;
        step!("open.unfinished-removed");
        self.files.forget(track.id);
        self.tracks.remove(&track.id);
        Ok(())
    }

    /// Adds, for a rebuild, the tracks of which compaction has passed over the front: what lies there
    /// was refilled, and its records may come up before those of the track itself. An index that is
    /// only older than the tracks reads them from their beginning: `META` may say more than the last
    /// checkpoint has, and then nothing was punched yet.
    pub(super) fn add_passed_tracks(
        &mut self,
        headers: &BTreeMap<TrackId, TrackHeader>,
    ) -> Result<()> {
        if !self.rebuild {
            return Ok(());
        }
        let mut join = new_join(self.rebuild, &self.index, &mut self.books);
        for header in headers.values() {
            let trims = &self.before.trims;
            let start =
                trims.iter().find(|(id, _)| *id == header.track).map_or(1, |(_, start)| *start);
            if start > 1 && !join.books.tracks.contains_key(&header.track) {
                let row = TrackRow { start, applied: start, synced: start, ..row_of(header) };
                join.add_track(header.track, row);
            }
        }
        join.commit()?;
        Ok(())
    }

    /// What is to be replayed of a track.
    pub(super) fn tail(&mut self, header: &TrackHeader, marks: &Marks) -> Result<Tail> {
        let id = header.track;
        let track = self.files.get(id)?;
        let from = self.books.tracks.get(&id).map_or(1, |row| row.applied);
        let cut = self.before.cuts.iter().find(|(cut, _)| *cut == id).map(|(_, end)| *end);
        let there = track.chunks()?;
        let end = there.min(cut.unwrap_or(u32::MAX));
        // A backup shares only what is sealed and synced.
        let is_whole = marks.whole.contains(&id) || track.is_linked()?;
        let mark = if is_whole { end } else { marks.of_track(id) };
        let mark = mark.min(cut.unwrap_or(u32::MAX));
        if end < mark || end < from {
            let (chunk, chunks) = (end, mark.max(from) - end);
            let what = format!("the track ends at chunk {end}, but {} were synced", mark.max(from));
            self.accept(Damage { track: id, chunk, chunks, what })?;
        }
        if there > from {
            // So that what is read is what the device has, not what a failed sync left cached.
            track
                .file
                .sync_data()
                .and_then(|()| track.file.drop_cache())
                .map_err(|e| track.io_error("sync the tail of the track", e))?;
            step!("open.tail-synced");
        }
        Ok(Tail { header: header.clone(), from, end, mark })
    }

    pub(super) fn replay_chains(
        &mut self,
        tails: Vec<Tail>,
        total_bytes: u64,
    ) -> Result<Vec<(TrackHeader, End)>> {
        let mut replay = Replay::new(&self.files, tails, self.options.accept_loss);
        let phase = if self.rebuild { Phase::Rebuild } else { Phase::Replay };
        let mut unflushed = 0;
        loop {
            let chains = read_ahead(&mut replay, &mut self.report)?;
            if chains.is_empty() {
                return Ok(replay.ends);
            }
            let mut accept =
                |damage| accept_damage(damage, &self.options, &self.home, &mut self.report);
            let records =
                chains.iter().map(|(header, chain)| records_of(header, chain, &mut accept));
            let records: Vec<_> = records.collect::<Result<_>>()?;
            let mut rest = &chains[..];
            while !rest.is_empty() {
                let records = &records[chains.len() - rest.len()..];
                let mut join = new_join(self.rebuild, &self.index, &mut self.books);
                join.expect(records.iter().flatten())?;
                for ((header, chain), records) in rest.iter().zip(records) {
                    rest = &rest[1..];
                    if !join.books.tracks.contains_key(&header.track) {
                        join.add_track(header.track, row_of(header));
                    }
                    join_chain(&mut join, header, chain, records, &mut self.report)?;
                    self.newest_chain = self.newest_chain.max(chain.head.seq);
                    if join.len() >= 2 * ROWS_A_BATCH {
                        break;
                    }
                }
                unflushed += join.commit()?;
                step!("open.replayed");
                if let Some(on_progress) = &self.options.on_progress {
                    let (done_bytes, records) =
                        (self.report.replayed_bytes, self.report.replayed_records);
                    on_progress(&Progress { phase, done_bytes, total_bytes, records });
                }
                if unflushed >= self.options.memtable_bytes() {
                    // Invariant I1: the tails were synced before they were read.
                    self.index.flush()?;
                    unflushed = 0;
                }
            }
        }
    }

    /// Seals a track that the last opening left active, or goes on with it.
    pub(super) fn end_track(&mut self, header: &TrackHeader, end: End) -> Result<()> {
        let id = header.track;
        let track = self.files.get(id)?;
        let active = self.before.disks.iter().any(|state| {
            state.active.is_some_and(|(active, _)| active == id) && state.id == header.disk
        });
        let has_row = self.books.tracks.contains_key(&id);
        if !has_row && end.lost_chunks == 0 {
            // A track that never had a chain: nothing to keep.
            return self.remove_track(&track);
        }
        let mut join = Join::new(&self.index, &mut self.books);
        if !has_row {
            join.add_track(id, row_of(header));
        }
        let row = join.track(id).expect("it was just made sure of");
        row.lost_chunks += end.lost_chunks;
        // A track that lost its end is not gone on with: chunks that the index knows would be
        // written again, and not be replayed.
        let is_whole = !end.torn && end.lost_chunks == 0 && row.applied <= end.chunk;
        row.applied = row.applied.max(end.chunk);
        row.synced = row.applied;
        // Behind a cut nothing ever counts, so a track that was cut takes no more; nor does one that
        // a backup shares.
        let is_cut = self.before.cuts.iter().any(|(cut, _)| *cut == id);
        let resumes = self.before.clean
            && active
            && is_whole
            && !is_cut
            && !track.is_linked()?
            // Blank chunks that are found behind it would never be cut off.
            && track.len()? == u64::from(end.chunk) * CHUNK_BYTES as u64;
        row.sealed = (!resumes).then_some(end.chunk);
        if resumes {
            let volume = self.volumes.iter().find(|volume| volume.disk.id == header.disk);
            let volume = volume.expect("the header's disk was checked");
            let dictionary = dictionary_of(&track, self.options.compression)?;
            volume.resume(track, end.chunk, header, dictionary);
        } else {
            let torn = cut_off(&track, end.chunk)?;
            // Behind a cut was given up what a failed sync left; its file may have come to any
            // length.
            self.report.torn.extend(torn.filter(|_| end.torn && !is_cut));
        }
        join.commit()?;
        step!("open.track-ended");
        Ok(())
    }

    /// Takes off what a failed sync has left behind the ends of tracks that are sealed by now. It was
    /// done when the sync failed, but not synced: after a power cut it may be there again.
    pub(super) fn cut_off_given_up(&self) -> Result<()> {
        for &(id, _) in &self.before.cuts {
            let sealed = self.books.tracks.get(&id).and_then(|row| row.sealed);
            if let Some(end) = sealed.filter(|_| self.tracks.contains_key(&id)) {
                let track = self.files.get(id)?;
                // Shared with a backup, it keeps what does no harm.
                if !track.is_linked()? {
                    cut_off(&track, end)?;
                }
            }
        }
        Ok(())
    }
}

/// A track's dictionary, for what is to be appended to it, where values are compressed; one that
/// can't be used is not.
fn dictionary_of(track: &TrackFile, level: Option<i32>) -> Result<Option<Arc<Dictionary>>> {
    let Some(level) = level else { return Ok(None) };
    let bytes = track.read_dictionary()?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Dictionary::new(bytes, level).map(Arc::new))
}

fn row_of(header: &TrackHeader) -> TrackRow {
    TrackRow::new(header.disk, header.kind, header.shard, header.created_ms, header.floor)
}

pub(super) fn new_join<'a>(rebuild: bool, index: &'a Index, books: &'a mut Books) -> Join<'a> {
    if rebuild { Join::for_rebuild(index, books) } else { Join::new(index, books) }
}

/// The chains that are brought in next; none at the end.
fn read_ahead(
    replay: &mut Replay<'_>,
    report: &mut RecoveryReport,
) -> Result<Vec<(TrackHeader, Chain)>> {
    let (mut chains, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while rows < ROWS_A_BATCH
        && bytes < READ_AHEAD_BYTES
        && let Some((header, chain)) = replay.next(report)?
    {
        rows += chain.directories.iter().map(Directory::entry_count).sum::<usize>();
        bytes += chain.head.head_chunks as usize * CHUNK_BYTES;
        chains.push((header, chain));
    }
    Ok(chains)
}

/// A chain's records. One that does not decode ends its directory chunk: it is in a chunk that was named
/// with the chain, or it is damage although all chunks are as they were written.
fn records_of<'c>(
    header: &TrackHeader,
    chain: &'c Chain,
    accept: &mut impl FnMut(Damage) -> Result<()>,
) -> Result<Vec<DirectoryEntry<'c>>> {
    let mut records = Vec::new();
    for entry in chain.directories.iter().flat_map(Directory::entries) {
        match entry {
            Ok(entry) => records.push(entry),
            Err(fault) if chain.bad.is_empty() => {
                let what = format!("{fault}; what it and those behind it say is lost");
                let (chunk, chunks) = (chain.head.start, chain.head.head_chunks);
                accept(Damage { track: header.track, chunk, chunks, what })?;
            }
            Err(_) => {}
        }
    }
    Ok(records)
}

fn join_chain(
    join: &mut Join<'_>,
    header: &TrackHeader,
    chain: &Chain,
    records: &[DirectoryEntry<'_>],
    report: &mut RecoveryReport,
) -> Result<()> {
    let head = &chain.head;
    let facts = ChainFacts {
        track: header.track,
        start: head.start,
        chunks: head.chunks,
        head_chunks: head.head_chunks,
        seq: head.seq,
        synced: head.end(),
    };
    let mut lost_chunks = head.chunks - head.head_chunks;
    for entry in records {
        join.record(&facts, entry)?;
        lost_chunks = lost_chunks.saturating_sub(entry.room.owned_chunks());
        report.replayed_records += 1;
    }
    join.end_chain(&facts, lost_chunks);
    report.replayed_chains += 1;
    report.replayed_bytes += u64::from(head.chunks) * CHUNK_BYTES as u64;
    Ok(())
}
