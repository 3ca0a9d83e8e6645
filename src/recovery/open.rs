//! Opening a store: from a directory to a [`Store`].
//!
//! Lock, `META`, disks, tracks, index; replay what the index does not reflect; cut torn ends off;
//! free what dead streams left; checkpoint. Every step may be cut off and run again: nothing is
//! removed that a later step still needs, and what was done is found done.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::disks::{self, Found};
use super::rebuild;
use super::replay::{End, Replay, Tail, cut_off};
use super::report::{Damage, RecoveryReport};
use crate::disk::{Disk, Owner, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;
use crate::format::meta::{DiskState, StoreMeta};
use crate::format::track_header::{TrackHeader, TrackKind};
use crate::format::{DiskId, Seq, StoreId, TrackId, entry};
use crate::index::{self, Books, ChainFacts, Family, Index, Join};
use crate::io::{Io, OpenMode};
use crate::options::{Create, Options, Phase, Progress};
use crate::store::{Ledger, META_FILE, Parts, Reserve, Shared, Store, now_ms};
use crate::track::{Chain, Scanner, TrackFile, TrackFiles};

const LOCK_FILE: &str = "LOCK";
const INDEX_DIR: &str = "index";
/// Openings and track ids that are skipped when `META` is lost: more than can have been given out
/// since the index was last flushed.
const LOST_META_SKIP: u32 = 4096;
/// Rows that are collected before they are written as one batch.
const ROWS_A_BATCH: usize = 4096;

impl Options {
    /// Opens the store at `home`; see [`Store::open`].
    pub fn open(self, home: impl AsRef<Path>) -> Result<Store> {
        open(self, home.as_ref(), false)
    }

    /// Makes the index of the store at `home` anew, and opens it; see [`Store::rebuild`].
    pub fn rebuild(self, home: impl AsRef<Path>) -> Result<Store> {
        open(Options { create: Create::Never, ..self }, home.as_ref(), true)
    }
}

fn open(options: Options, home: &Path, rebuild: bool) -> Result<Store> {
    options.validate()?;
    let started = Instant::now();
    let io = options.io.clone();
    let fail = |doing| move |e| Error::io(doing, home, e);
    // Where the home is lost, a rebuild goes by the disks.
    let on_disks = || Ok(rebuild && disks::sole_store(&*io, home, &options.disks)?.is_some());
    if options.create == Create::Never && !is_store(&*io, home)? && !on_disks()? {
        let what = "there is no store here";
        return Err(Error::new(ErrorKind::NotFound, what).with_path(home));
    }
    io.create_dir_all(home).map_err(fail("create the store's home"))?;
    let home = io.canonicalize(home).map_err(fail("resolve the store's home"))?;
    let is_new = !is_store(&*io, &home)? && !leaves_lock(&*io, &home)?;
    let lock = take_lock(&*io, &home)?;
    if options.create == Create::Always && is_store(&*io, &home)? {
        return Err(Error::new(ErrorKind::Exists, "there is a store here already").with_path(&home));
    }
    let mut opening = Opening::begin(options, home, is_new, rebuild)?;
    opening.replay()?;
    opening.finish(lock, started)
}

/// Whether there is a store at `home`, or what is left of one.
fn is_store(io: &dyn Io, home: &Path) -> Result<bool> {
    let there = |name: &str| io.exists(&home.join(name));
    let any = there(META_FILE).and_then(|meta| Ok(meta || there(INDEX_DIR)? || there("tracks")?));
    any.map_err(|e| Error::io("look for a store at", home, e))
}

/// Whether a store was opened at `home` before.
fn leaves_lock(io: &dyn Io, home: &Path) -> Result<bool> {
    io.exists(&home.join(LOCK_FILE)).map_err(|e| Error::io("look for a store at", home, e))
}

/// Invariant I8: one owner.
fn take_lock(io: &dyn Io, home: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = home.join(LOCK_FILE);
    io.lock(&path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::WouldBlock {
            let what = "the store is open elsewhere; close it there first";
            return Error::new(ErrorKind::Locked, what).with_path(home);
        }
        Error::io("lock the store", &path, e)
    })
}

/// A store while it is opened.
struct Opening {
    options: Options,
    home: PathBuf,
    index: Index,
    books: Books,
    ledger: Ledger,
    /// What `META` said before this opening.
    before: StoreMeta,
    volumes: Vec<Arc<Volume>>,
    files: TrackFiles,
    tracks: BTreeMap<TrackId, DiskId>,
    rebuild: bool,
    /// The newest chain that was replayed.
    newest_chain: Seq,
    report: RecoveryReport,
}

impl Opening {
    fn begin(options: Options, home: PathBuf, is_new: bool, rebuild: bool) -> Result<Self> {
        let io = options.io.clone();
        let index_dir = options.index_dir.clone().unwrap_or_else(|| home.join(INDEX_DIR));
        let (meta, meta_is_damaged) = match Ledger::read(&*io, &home) {
            Err(e) if e.kind() == ErrorKind::Corruption => {
                tracing::error!(error = %e, "META is damaged; what it said is found out anew");
                (None, true)
            }
            meta => (meta?, false),
        };
        if rebuild && meta.is_none() {
            // Before the index goes: without disks there is nothing to rebuild it from.
            disks::check_given(&*io, &home, &options.disks)?;
        }
        let (mut index, mut books) = open_index(&options, &index_dir, rebuild)?;
        let store = match (&meta, &books) {
            (Some(meta), _) => meta.store,
            (None, Some(books)) => books.state.store,
            (None, None) if is_new && !rebuild => new_store(&*io, &home)?,
            (None, None) => match disks::sole_store(&*io, &home, &options.disks)? {
                // Its own directory is nobody else's; others may be shared with other stores.
                Some(store) if rebuild || options.disks.is_empty() => store,
                Some(store) => return Err(disks::unclaimed(&home, store)),
                None if meta_is_damaged || rebuild => return Err(disks::unknown(&home)),
                None => new_store(&*io, &home)?,
            },
        };
        if books.as_ref().is_some_and(|books| books.state.store != store) {
            // An index of another store: of no use here.
            (index, books) = (empty_index(&options, &index_dir, index)?, None);
        }
        if meta.is_none() && books.is_some() {
            disks::check_given(&*io, &home, &options.disks)?;
        }
        let (given, accept_loss) = (&options.disks, options.accept_loss);
        let found = disks::find(&*io, &home, store, meta.as_ref(), given, accept_loss)?;
        check_disks_of_rows(books.as_ref(), &found, &home)?;
        let mut tracks = BTreeMap::new();
        for disk in &found {
            for id in disks::track_ids(&*io, &disk.path.join(store.to_string()))? {
                if tracks.insert(id, disk.state.id).is_some() {
                    let what = format!("track {id} lies on two disks; a copied disk?");
                    return Err(Error::new(ErrorKind::Disk, what).with_path(&disk.path));
                }
            }
        }
        let lost_meta = meta.is_none() && !(tracks.is_empty() && books.is_none());
        let rebuild = books.is_none() && !tracks.is_empty();
        let before = match meta {
            Some(meta) => meta,
            None => invent_meta(store, &tracks, books.as_ref(), lost_meta),
        };
        let ledger = begin_opening(&io, &home, &before, &found, &tracks)?;
        let files = TrackFiles::new(io, store, options.map_tracks);
        let books = books.unwrap_or_else(|| Books::new(store));
        let report = RecoveryReport { clean: before.clean, rebuilt: rebuild, ..Default::default() };
        let mut opening = Opening {
            options,
            home,
            index,
            books,
            ledger,
            before,
            volumes: Vec::new(),
            files,
            tracks,
            rebuild,
            newest_chain: Seq(0),
            report,
        };
        opening.attach_volumes(&found, store)?;
        opening.check_rows()?.check_unsynced_rows()
    }

    fn attach_volumes(&mut self, found: &[Found], store: StoreId) -> Result<()> {
        let io = self.options.io.clone();
        for disk in found {
            let dir = disk.path.join(store.to_string());
            io.create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
            let punches = self.options.punch && can_punch(&*io, &dir);
            let volume = Arc::new(Volume::new(
                Disk::attach(&io, &disk.path, disk.state.id)?,
                store,
                dir,
                self.options.track_chunks(),
                self.options.reserve_bytes,
                punches,
            ));
            for (id, _) in self.tracks.iter().filter(|(_, on)| **on == disk.state.id) {
                self.files.add(*id, &volume.dir);
            }
            self.volumes.push(volume);
        }
        Ok(())
    }

    /// Checks what `META` and the index's rows say against the files that are there.
    fn check_rows(mut self) -> Result<Self> {
        let meta_is_older = self.books.state.opening > self.before.openings;
        let active: Vec<_> = self.before.disks.iter().filter_map(|disk| disk.active).collect();
        for (id, end) in active {
            // It was made durable before META named it, and META forgets it before it goes.
            if !meta_is_older && !self.tracks.contains_key(&id) {
                let what = "the file of the disk's active track is gone".into();
                self.accept(Damage { track: id, chunk: 0, chunks: end, what })?;
            }
        }
        let rows: Vec<_> = self.books.tracks.iter().map(|(id, row)| (*id, *row)).collect();
        for (id, row) in rows {
            if self.tracks.contains_key(&id) {
                self.check_disk(id, &row)?;
                continue;
            }
            if row.live_records > 0 || row.owned_chunks > 0 {
                let what = format!("the track's file is gone, with {} objects", row.live_records);
                self.accept(Damage { track: id, chunk: 0, chunks: row.applied, what })?;
            }
            // Unlinked after the last checkpoint, when its tombstones were needed no more, or lost
            // and accepted.
            let graves = index::graves(&self.index, |grave| grave.track == id)?;
            let mut join = Join::new(&self.index, &mut self.books);
            for (key, grave) in graves {
                join.drop_grave(&key, grave);
            }
            join.drop_track(id)?;
            join.commit()?;
        }
        Ok(self)
    }

    fn check_unsynced_rows(mut self) -> Result<Self> {
        if self.unsynced_rows_fail()? {
            tracing::error!("the index is ahead of the tracks and is made anew");
            let dir = self.index.path().to_owned();
            self.index = empty_index(&self.options, &dir, self.index)?;
            self.books = Books::new(self.before.store);
            self.rebuild = true;
            self.report.rebuilt = true;
        }
        Ok(self)
    }

    fn check_disk(&self, id: TrackId, row: &TrackRow) -> Result<()> {
        let on = self.tracks[&id];
        if on == row.disk {
            return Ok(());
        }
        let what = format!("track {id} lies on disk {on}, but belongs on {}", row.disk);
        Err(Error::new(ErrorKind::Disk, what).with_path(&self.home))
    }

    /// Invariant I1: where an index reflects more of a track than was synced when it was flushed,
    /// the bytes between have to verify, or the index is of no use.
    fn unsynced_rows_fail(&self) -> Result<bool> {
        for (id, row) in self.books.tracks.iter().filter(|(_, row)| row.synced < row.applied) {
            let track = self.files.get(*id)?;
            let end = track.chunks()?.min(row.applied);
            let mut scanner = Scanner::new(track, row.synced, end);
            loop {
                match scanner.next_chain(true)? {
                    Some(Ok(chain)) if chain.bad.is_empty() => {}
                    Some(_) => return Ok(true),
                    None => break,
                }
            }
            if scanner.at() != row.applied {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn accept(&mut self, damage: Damage) -> Result<()> {
        if !self.options.accept_loss {
            let what = format!("{damage}; `accept_loss` (--accept-loss) opens without it");
            return Err(Error::new(ErrorKind::Damaged, what).with_path(&self.home));
        }
        tracing::error!(%damage, "damage");
        self.report.damage.push(damage);
        Ok(())
    }

    /// Brings the index up to the tracks, and ends the tracks that the last opening left active.
    fn replay(&mut self) -> Result<()> {
        let headers = self.read_headers()?;
        let mut marks = Marks::of(&self.before, &headers, &self.tracks);
        for (id, row) in &self.books.tracks {
            marks.raise(*id, row.synced);
        }
        let mut tails = Vec::new();
        for header in headers.values() {
            tails.push(self.tail(header, &marks)?);
        }
        let total_bytes = tails.iter().map(|t| u64::from(t.end - t.from.min(t.end))).sum::<u64>();
        let total_bytes = total_bytes * CHUNK_BYTES as u64;
        if self.rebuild {
            self.books.state.rebuilding = true;
        }
        let ends = self.replay_chains(tails, total_bytes)?;
        for (header, end) in ends {
            self.end_track(&header, end)?;
        }
        // Before the live values claim their chunks: those of a dead stream may be others' by now.
        self.free_dead_streams()?;
        if self.rebuild {
            let overlaps = rebuild::claim_live(&self.index, &mut self.books)?;
            for damage in overlaps {
                self.accept(damage)?;
            }
            self.books.state.rebuilding = false;
        }
        Ok(())
    }

    /// The headers of the tracks that may have more than the index reflects. Those of all others
    /// are not read: the work of opening does not depend on the size of the store.
    fn read_headers(&mut self) -> Result<BTreeMap<TrackId, TrackHeader>> {
        let (mut headers, mut unreadable) = (BTreeMap::new(), Vec::new());
        let open = self
            .tracks
            .iter()
            .filter(|(id, _)| self.books.tracks.get(id).is_none_or(|row| row.sealed.is_none()));
        for (&id, &disk) in open {
            let track = self.files.get(id)?;
            match track.read_header() {
                Ok(header) if header.disk == disk && header.track == id => {
                    headers.insert(id, header);
                }
                Ok(header) => {
                    let what = format!("is track {} of disk {}", header.track, header.disk);
                    return Err(Error::new(ErrorKind::Disk, what).with_path(&track.path));
                }
                Err(e) if e.kind() == ErrorKind::Version => return Err(e),
                Err(e) => unreadable.push((track, disk, e)),
            }
        }
        let marks = Marks::of(&self.before, &headers, &self.tracks);
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
        let is_last = !self.tracks.iter().any(|(id, on)| *on == disk && *id > track.id);
        let was_told = row.is_some() || marks.of_track(track.id) > 0;
        if is_last && !was_told && track.chunks()? <= 1 {
            // A roll that was cut off: META was not told yet, and no chain can be in it.
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
        self.ledger.forget_active(track.id)?;
        let io = &*self.options.io;
        let dir = track.path.parent().unwrap_or(&self.home);
        io.remove(&track.path)
            .and_then(|()| io.sync_dir(dir))
            .map_err(|e| track.io_error("remove the unfinished track", e))?;
        self.files.forget(track.id);
        self.tracks.remove(&track.id);
        Ok(())
    }

    /// What is to be replayed of a track.
    fn tail(&mut self, header: &TrackHeader, marks: &Marks) -> Result<Tail> {
        let id = header.track;
        let track = self.files.get(id)?;
        let from = self.books.tracks.get(&id).map_or(1, |row| row.applied);
        let cut = self.before.cuts.iter().find(|(cut, _)| *cut == id).map(|(_, end)| *end);
        let there = track.chunks()?;
        let end = there.min(cut.unwrap_or(u32::MAX));
        let mark = if marks.whole.contains(&id) { end } else { marks.of_track(id) };
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
        }
        Ok(Tail { header: header.clone(), from, end, mark })
    }

    fn replay_chains(
        &mut self,
        tails: Vec<Tail>,
        total_bytes: u64,
    ) -> Result<Vec<(TrackHeader, End)>> {
        let mut replay = Replay::new(&self.files, tails, self.options.accept_loss);
        let phase = if self.rebuild { Phase::Rebuild } else { Phase::Replay };
        let mut unflushed = 0;
        let mut next = replay.next(&mut self.report)?;
        while next.is_some() {
            let mut join = new_join(self.rebuild, &self.index, &mut self.books);
            while let Some((header, chain)) = next.take() {
                join_chain(&mut join, &header, &chain, &mut self.report)?;
                self.newest_chain = self.newest_chain.max(chain.head.seq);
                next = replay.next(&mut self.report)?;
                if join.len() >= ROWS_A_BATCH {
                    break;
                }
            }
            unflushed += join.commit()?;
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
        Ok(replay.ends)
    }

    /// Seals a track that the last opening left active, or goes on with it.
    fn end_track(&mut self, header: &TrackHeader, end: End) -> Result<()> {
        let id = header.track;
        let track = self.files.get(id)?;
        let active = self.before.disks.iter().any(|state| {
            state.active.is_some_and(|(active, _)| active == id) && state.id == header.disk
        });
        let has_row = self.books.tracks.contains_key(&id);
        if !has_row && end.lost_chunks == 0 {
            // A track without chains: nothing to keep.
            return self.remove_track(&track);
        }
        let mut join = Join::new(&self.index, &mut self.books);
        join.books.tracks.entry(id).or_insert_with(|| row_of(header));
        let row = join.track(id).expect("it was just made sure of");
        row.lost_chunks += end.lost_chunks;
        // A track that lost its end is not gone on with: chunks that the index knows would be
        // written again, and not be replayed.
        let is_whole = !end.torn && end.lost_chunks == 0 && row.applied <= end.chunk;
        row.applied = row.applied.max(end.chunk);
        row.synced = row.applied;
        // Behind a cut nothing ever counts, so a track that was cut takes no more.
        let is_cut = self.before.cuts.iter().any(|(cut, _)| *cut == id);
        let resumes = self.before.clean && active && is_whole && !is_cut;
        row.sealed = (!resumes).then_some(end.chunk);
        if resumes {
            let volume = self.volumes.iter().find(|volume| volume.disk.id == header.disk);
            let volume = volume.expect("the header's disk was checked");
            volume.resume(track, end.chunk, header.floor, header.created_ms);
        } else {
            cut_off(&track, end.chunk, &mut self.report)?;
        }
        join.commit()?;
        Ok(())
    }

    /// Frees the segments of streams that were never committed.
    fn free_dead_streams(&mut self) -> Result<()> {
        loop {
            let mut dead = Vec::new();
            {
                let view = self.index.view();
                let mut cursor = view.rows(Family::Loose);
                cursor.seek(&[]);
                while dead.len() < ROWS_A_BATCH
                    && let Some((key, _)) = cursor.row()?
                {
                    dead.push(entry::parse_seq_key(key).map_err(|f| self.index.fault(f))?);
                    cursor.next();
                }
            }
            if dead.is_empty() {
                return Ok(());
            }
            let mut join = new_join(self.rebuild, &self.index, &mut self.books);
            self.report.freed_segments += join.free_unowned(dead)?;
            join.commit()?;
        }
    }

    /// Invariant I7: where index or tracks know openings that `META` does not, it is an older one
    /// than was there, and more openings and tracks may have been since.
    fn outrun_lost_openings(&self) -> Result<()> {
        let newest = self.books.state.opening.max(self.newest_chain.opening());
        if newest < self.ledger.get().openings {
            return Ok(());
        }
        tracing::warn!(newest, "META is older than the tracks");
        let next_track = self.books.state.next_track;
        self.ledger.update(|meta| {
            meta.openings = newest + LOST_META_SKIP;
            meta.next_track = meta.next_track.max(next_track) + LOST_META_SKIP;
        })
    }

    /// The last checkpoint of recovery, and the store.
    fn finish(mut self, lock: Box<dyn Send + Sync>, started: Instant) -> Result<Store> {
        for (id, row) in &self.books.tracks {
            if let Some(end) = row.sealed {
                self.files.seal(*id, end);
                // Invariant I10: the header of a disk's next track vouches for the last one that
                // was sealed, whenever that was, and until there is one META does.
                if let Some(volume) = self.volumes.iter().find(|v| v.disk.id == row.disk) {
                    volume.follow(*id, end);
                }
            }
        }
        self.outrun_lost_openings()?;
        let meta = self.ledger.get();
        self.books.state.opening = meta.openings;
        self.books.state.next_track = meta.next_track;
        // Invariant I1: all that was replayed was synced before it was read.
        Join::new(&self.index, &mut self.books).commit()?;
        self.index.flush()?;
        let last: HashMap<_, _> =
            self.volumes.iter().map(|volume| (volume.disk.id, volume.last_track())).collect();
        self.ledger.update(|meta| {
            for state in &mut meta.disks {
                state.active = last.get(&state.id).copied().flatten();
            }
        })?;
        let io = self.options.io.clone();
        let reserve = Reserve::new(io, &self.home, self.options.reserve_bytes);
        self.report.duration = started.elapsed();
        let shared = Arc::new(Shared::new(Parts {
            options: self.options,
            home: self.home,
            index: self.index,
            books: self.books,
            volumes: self.volumes,
            files: self.files,
            ledger: self.ledger,
            reserve,
            recovery: self.report,
            lock,
        }));
        for volume in &shared.volumes {
            let owner: Arc<dyn Owner> = shared.clone();
            volume.set_owner(Arc::downgrade(&owner));
        }
        Store::start(shared)
    }
}

/// Opens the index with its books; an index that is damaged, or is to be thrown away, is empty.
fn open_index(options: &Options, dir: &Path, rebuild: bool) -> Result<(Index, Option<Books>)> {
    if rebuild {
        Index::destroy(dir)?;
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    let opened = Index::open(dir, options.memtable_bytes(), options.cache_bytes());
    let loaded = opened.and_then(|index| Books::load(&index).map(|books| (index, books)));
    match loaded {
        Ok((index, None)) if Index::exists(dir) => Ok((empty_index(options, dir, index)?, None)),
        Err(e) if matches!(e.kind(), ErrorKind::Corruption | ErrorKind::Version) => {
            tracing::error!(error = %e, "the index is damaged and is made anew");
            Index::destroy(dir)?;
            Ok((Index::open(dir, options.memtable_bytes(), options.cache_bytes())?, None))
        }
        loaded => loaded,
    }
}

/// Throws an index away and makes an empty one.
fn empty_index(options: &Options, dir: &Path, index: Index) -> Result<Index> {
    drop(index);
    Index::destroy(dir)?;
    Index::open(dir, options.memtable_bytes(), options.cache_bytes())
}

/// Fails where the index knows of a disk that was not found. Before `META` is written, so that
/// what it says of the disks stays as it was.
fn check_disks_of_rows(books: Option<&Books>, found: &[Found], home: &Path) -> Result<()> {
    for (id, row) in books.iter().flat_map(|books| &books.tracks) {
        if !found.iter().any(|disk| disk.state.id == row.disk) {
            let what = format!("disk {} is missing, and track {id} lies on it", row.disk);
            return Err(Error::new(ErrorKind::Disk, what).with_path(home));
        }
    }
    Ok(())
}

fn new_store(io: &dyn Io, home: &Path) -> Result<StoreId> {
    Ok(StoreId(io.random_id().map_err(|e| Error::io("name the store at", home, e))?))
}

/// What `META` may have said, from what else is there.
fn invent_meta(
    store: StoreId,
    tracks: &BTreeMap<TrackId, DiskId>,
    books: Option<&Books>,
    lost: bool,
) -> StoreMeta {
    let skip = if lost { LOST_META_SKIP } else { 0 };
    let highest = tracks.keys().next_back().map_or(0, |id| id.0);
    let (opening, next_track) = books.map_or((0, 1), |b| (b.state.opening, b.state.next_track));
    StoreMeta {
        store,
        openings: opening + skip,
        clean: false,
        next_track: next_track.max(highest + 1) + skip,
        disks: Vec::new(),
        cuts: Vec::new(),
    }
}

/// Counts the opening in `META`, before any seq of it is given out (invariant I7).
fn begin_opening(
    io: &Arc<dyn Io>,
    home: &Path,
    before: &StoreMeta,
    found: &[Found],
    tracks: &BTreeMap<TrackId, DiskId>,
) -> Result<Ledger> {
    let highest = tracks.keys().next_back().map_or(0, |id| id.0);
    let openings = before.openings + 1;
    if openings > Seq::MAX_OPENING {
        return Err(Error::invalid("the store was opened too often; export it to a new one"));
    }
    let disks: Vec<DiskState> = found.iter().map(|disk| disk.state.clone()).collect();
    let meta = StoreMeta {
        openings,
        clean: false,
        next_track: before.next_track.max(highest + 1),
        disks,
        ..before.clone()
    };
    Ledger::create(io.clone(), home, meta)
}

/// Chunks up to which tracks are known to have been synced, by `META`, its cuts included, and by
/// the headers of the tracks that came after them (invariant I10).
struct Marks {
    synced: HashMap<TrackId, u32>,
    /// Tracks that are not the last of their disk, though the one after them was unlinked: a
    /// track is synced to its end before the next one is created.
    whole: BTreeSet<TrackId>,
}

impl Marks {
    fn of(
        meta: &StoreMeta,
        headers: &BTreeMap<TrackId, TrackHeader>,
        tracks: &BTreeMap<TrackId, DiskId>,
    ) -> Self {
        let named: BTreeSet<_> =
            headers.values().filter_map(|header| header.predecessor.map(|(id, _)| id)).collect();
        let mut last: HashMap<DiskId, TrackId> = tracks.iter().map(|(id, on)| (*on, *id)).collect();
        for state in &meta.disks {
            if let (Some((id, _)), Some(last)) = (state.active, last.get_mut(&state.id)) {
                *last = id.max(*last);
            }
        }
        let whole = headers
            .values()
            .filter(|header| !named.contains(&header.track) && header.track < last[&header.disk]);
        let whole = whole.map(|header| header.track).collect();
        let mut marks = Marks { synced: HashMap::new(), whole };
        let active = meta.disks.iter().filter_map(|state| state.active);
        let predecessors = headers.values().filter_map(|header| header.predecessor);
        let ends = active.chain(predecessors).chain(meta.cuts.iter().copied());
        ends.for_each(|(id, end)| marks.raise(id, end));
        marks
    }

    fn raise(&mut self, id: TrackId, end: u32) {
        let mark = self.synced.entry(id).or_default();
        *mark = end.max(*mark);
    }

    fn of_track(&self, id: TrackId) -> u32 {
        self.synced.get(&id).copied().unwrap_or(0)
    }
}

fn row_of(header: &TrackHeader) -> TrackRow {
    TrackRow::new(header.disk, header.kind, header.shard, header.created_ms, header.floor)
}

fn new_join<'a>(rebuild: bool, index: &'a Index, books: &'a mut Books) -> Join<'a> {
    if rebuild { Join::for_rebuild(index, books) } else { Join::new(index, books) }
}

fn join_chain(
    join: &mut Join<'_>,
    header: &TrackHeader,
    chain: &Chain,
    report: &mut RecoveryReport,
) -> Result<()> {
    join.books.tracks.entry(header.track).or_insert_with(|| row_of(header));
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
    for directory in &chain.directories {
        // An entry that does not decode ends its directory chunk; it was named with the chain.
        for entry in directory.entries().map_while(std::result::Result::ok) {
            join.record(&facts, &entry)?;
            lost_chunks = lost_chunks.saturating_sub(entry.room.owned_chunks());
            report.replayed_records += 1;
        }
    }
    join.end_chain(&facts, lost_chunks);
    report.replayed_chains += 1;
    report.replayed_bytes += u64::from(head.chunks) * CHUNK_BYTES as u64;
    Ok(())
}

/// Whether the file system gives room back: tried, not assumed.
fn can_punch(io: &dyn Io, dir: &Path) -> bool {
    let path = dir.join("punch-test");
    // Left behind by a crash, perhaps.
    let _ = io.remove(&path);
    let tried = io.open(&path, OpenMode::CreateNew).and_then(|file| {
        let written =
            crate::io::write_all_at(&*file, &mut [std::io::IoSlice::new(&[1; 2 * CHUNK_BYTES])], 0);
        written.and_then(|()| file.punch(0, CHUNK_BYTES as u64))
    });
    let _ = io.remove(&path);
    tried.is_ok()
}
