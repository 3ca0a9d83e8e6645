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
use super::marks::Marks;
use super::missing::Missing;
use super::rebuild;
use super::report::{Damage, RecoveryReport};
use super::tails::new_join;
use crate::disk::{Disk, Holes, Owner, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::TrackRow;
use crate::format::meta::{DiskState, StoreMeta};
use crate::format::{DiskId, Seq, StoreId, TrackId, entry};
use crate::index::{self, Books, Family, Index, Join};
use crate::io::{Io, OpenMode};
use crate::options::{Create, Options};
use crate::queue::QUEUE;
use crate::store::{Ledger, Locks, META_FILE, Parts, Reserve, Shared, Store, UNFINISHED_FILE};
use crate::track::{Scanner, TrackFiles};

const LOCK_FILE: &str = "LOCK";
const INDEX_DIR: &str = "index";
/// Openings and track ids that are skipped when `META` is lost: more than can have been given out
/// since the index was last flushed.
const LOST_META_SKIP: u32 = 4096;
/// Rows that are collected before they are written as one batch.
pub(super) const ROWS_A_BATCH: usize = 4096;

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
    refuse_unfinished_backup(&*io, home)?;
    refuse_queue(&*io, home)?;
    io.create_dir_all(home).map_err(fail("create the store's home"))?;
    let home = io.canonicalize(home).map_err(fail("resolve the store's home"))?;
    let is_new = !is_store(&*io, &home)? && !leaves_lock(&*io, &home)?;
    let home_lock = take_lock(&*io, &home)?;
    if options.create == Create::Always && is_store(&*io, &home)? {
        return Err(Error::new(ErrorKind::Exists, "there is a store here already").with_path(&home));
    }
    step!("open.locked");
    let reserve = Reserve::find(io, &home, options.reserve_bytes);
    let locks = Locks::from([(home.clone(), home_lock)]);
    let mut opening = Opening::begin(options, home, locks, is_new, rebuild)?;
    opening.replay()?;
    opening.finish(reserve, started)
}

/// Whether there is a store at `home`, or what is left of one.
pub(crate) fn is_store(io: &dyn Io, home: &Path) -> Result<bool> {
    // Files that only a store has: a stranger's directory may well have an `index` in it.
    let there = |path: PathBuf| io.exists(&home.join(path));
    let any = there(META_FILE.into()).and_then(|meta| {
        Ok(meta || there(Path::new(INDEX_DIR).join("CURRENT"))? || there(disks::default_marker())?)
    });
    any.map_err(|e| Error::io("look for a store at", home, e))
}

/// A first backup that was cut off is no store, and no place for a new one.
fn refuse_unfinished_backup(io: &dyn Io, home: &Path) -> Result<()> {
    let there = |name| io.exists(&home.join(name));
    let unfinished = there(UNFINISHED_FILE).and_then(|marked| Ok(marked && !there(META_FILE)?));
    if unfinished.map_err(|e| Error::io("look for a store at", home, e))? {
        let what = "holds a backup that was cut off before it was a store; run the backup again";
        return Err(Error::new(ErrorKind::NotFound, what).with_path(home));
    }
    Ok(())
}

/// A queue has files of the same names.
fn refuse_queue(io: &dyn Io, home: &Path) -> Result<()> {
    let is_queue = io.exists(&home.join(QUEUE));
    if is_queue.map_err(|e| Error::io("look for a queue at", home, e))? && !is_store(io, home)? {
        let what = "there is a queue here; give the store a directory of its own";
        return Err(Error::new(ErrorKind::Exists, what).with_path(home));
    }
    Ok(())
}

/// Whether a store was opened at `home` before.
fn leaves_lock(io: &dyn Io, home: &Path) -> Result<bool> {
    io.exists(&home.join(LOCK_FILE)).map_err(|e| Error::io("look for a store at", home, e))
}

/// Invariant I8: one owner.
fn take_lock(io: &dyn Io, home: &Path) -> Result<Box<dyn Send + Sync>> {
    let path = home.join(LOCK_FILE);
    let held = "the store is open elsewhere; close it there first";
    io.lock(&path).map_err(|e| Error::lock("lock the store", &path, e, home, held))
}

/// Invariant I8, where another home has the same tracks: one that was copied, or that was taken for a
/// store whose `META` is lost.
pub(crate) fn lock_folder(io: &dyn Io, folder: &Path, locks: &mut Locks) -> Result<()> {
    if locks.contains_key(folder) {
        return Ok(());
    }
    let held = "the store whose tracks these are is open, at another home; close it there, and don't \
                use this one beside it";
    let lock = io.lock(folder);
    let lock = lock.map_err(|e| Error::lock("lock the tracks", folder, e, folder, held))?;
    locks.insert(folder.to_owned(), lock);
    Ok(())
}

/// A store while it is opened.
pub(super) struct Opening {
    pub(super) options: Options,
    pub(super) home: PathBuf,
    pub(super) index: Index,
    pub(super) books: Books,
    pub(super) ledger: Ledger,
    /// What `META` said before this opening.
    pub(super) before: StoreMeta,
    pub(super) volumes: Vec<Arc<Volume>>,
    pub(super) files: TrackFiles,
    /// Those that are there.
    pub(super) tracks: BTreeMap<TrackId, DiskId>,
    pub(super) missing: Missing,
    pub(super) rebuild: bool,
    /// Which disks there are, nobody says.
    lost_meta: bool,
    locks: Locks,
    /// The newest chain that was replayed.
    pub(super) newest_chain: Seq,
    pub(super) report: RecoveryReport,
}

impl Opening {
    fn begin(
        options: Options,
        home: PathBuf,
        mut locks: Locks,
        is_new: bool,
        rebuild: bool,
    ) -> Result<Self> {
        let io = options.io.clone();
        let index_dir = options.index_dir.clone().unwrap_or_else(|| home.join(INDEX_DIR));
        let (meta, meta_is_damaged) = match Ledger::read(&*io, &home) {
            Err(e) if e.kind() == ErrorKind::Corruption => {
                tracing::error!(error = %e, "META is damaged; what it said is found out anew");
                (None, true)
            }
            meta => (meta?, false),
        };
        step!("open.meta-read");
        if rebuild && meta.is_none() {
            // Before the index goes: without disks there is nothing to rebuild it from.
            disks::check_given(&*io, &home, &options.disks)?;
        }
        if is_new && !rebuild {
            // Before anything is made: where a disk can't be used, no half of a store is left.
            disks::prepare_given(&*io, &options.disks)?;
        }
        let (mut index, mut books) = open_index(&options, &index_dir)?;
        step!("open.index-opened");
        // And whether it is there, but for its `META`.
        let (store, lacks_meta) = match (&meta, &books) {
            (Some(meta), _) => (meta.store, false),
            (None, Some(books)) => (books.state.store, true),
            (None, None) if is_new && !rebuild => (new_store(&*io, &home)?, false),
            (None, None) => match disks::sole_store(&*io, &home, &options.disks)? {
                // Its own directory is nobody else's; others may be shared with other stores.
                Some(store) if rebuild || options.disks.is_empty() => (store, true),
                Some(store) => return Err(disks::unclaimed(&home, store)),
                None if (meta_is_damaged || rebuild) && options.disks.is_empty() => {
                    return Err(disks::unknown(&home));
                }
                None if meta_is_damaged || rebuild => return Err(disks::nowhere(&home)),
                None => (new_store(&*io, &home)?, false),
            },
        };
        if books.as_ref().is_some_and(|books| books.state.store != store) {
            // An index of another store: of no use here.
            (index, books) = (empty_index(&options, &index_dir, index)?, None);
        }
        if meta.is_none() && books.is_some() {
            disks::check_given(&*io, &home, &options.disks)?;
        }
        if lacks_meta {
            disks::refuse_new(&options, store)?;
        }
        let found = disks::find(&options, &home, store, meta.as_ref())?;
        check_disks_of_rows(books.as_ref(), &found, &home)?;
        step!("open.disks-found");
        for disk in found.iter().filter(|disk| disk.missing.is_none()) {
            let folder = disk.path.join(store.to_string());
            if io.exists(&folder).map_err(|e| Error::io("look for", &folder, e))? {
                // Before anything is changed.
                lock_folder(&*io, &folder, &mut locks)?;
            }
        }
        let missing = Missing::of(&found);
        if rebuild || books.is_none() {
            missing.refuse_rebuild()?;
        }
        let mut tracks = BTreeMap::new();
        for disk in found.iter().filter(|disk| disk.missing.is_none()) {
            for id in disks::track_ids(&*io, &disk.path.join(store.to_string()))? {
                if tracks.insert(id, disk.state.id).is_some() {
                    let what = format!("track {id} lies on two disks; a copied disk?");
                    return Err(Error::new(ErrorKind::Disk, what).with_path(&disk.path));
                }
            }
        }
        let mut report = RecoveryReport::default();
        if rebuild {
            // The old index goes only now that all disks are there, and it has told what is gone:
            // the tracks that are left can't tell a lost track from one that was unlinked.
            for damage in books.iter().flat_map(|books| gone_tracks(books, &tracks, &missing)) {
                accept_damage(damage, &options, &home, &mut report)?;
            }
            (index, books) = (empty_index(&options, &index_dir, index)?, None);
            step!("rebuild.index-emptied");
        }
        let lost_meta = meta.is_none() && !(tracks.is_empty() && books.is_none());
        let rebuild = books.is_none() && !tracks.is_empty();
        let before = match meta {
            Some(meta) => meta,
            None => invent_meta(store, &tracks, books.as_ref(), lost_meta),
        };
        let ledger = begin_opening(&io, &home, &before, &found, &tracks)?;
        step!("open.counted");
        let files = TrackFiles::new(io, store, options.map_tracks);
        let books = books.unwrap_or_else(|| Books::new(store));
        let (clean, rebuilt) = (before.clean, rebuild);
        let report = RecoveryReport { clean, rebuilt, missing: missing.paths(), ..report };
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
            missing,
            rebuild,
            lost_meta,
            locks,
            newest_chain: Seq(0),
            report,
        };
        opening.attach_volumes(&found, store)?;
        step!("open.volumes-attached");
        opening.check_rows()?.check_unsynced_rows()
    }

    fn attach_volumes(&mut self, found: &[Found], store: StoreId) -> Result<()> {
        for disk in found {
            let volume = match &disk.missing {
                None => {
                    let volume = attach_volume(&self.options, store, &disk.path, disk.state.id)?;
                    lock_folder(&*self.options.io, &volume.dir, &mut self.locks)?;
                    volume
                }
                Some(error) => {
                    let volume = missing_volume(&self.options, store, disk, error)?;
                    for (id, _) in self.books.tracks.iter().filter(|(_, r)| r.disk == disk.state.id)
                    {
                        self.files.add(*id, &volume.dir);
                    }
                    volume
                }
            };
            volume.set_draining(disk.state.draining);
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
        let there = self.before.disks.iter().filter(|state| !self.missing.has(state.id));
        let named: Vec<_> = there.flat_map(DiskState::tracks).collect();
        for (id, end) in named {
            // It was made durable before META named it, and META forgets it before it goes.
            if !meta_is_older && !self.tracks.contains_key(&id) {
                let what = "the file of a track that META names is gone".into();
                self.accept(Damage { track: id, chunk: 0, chunks: end, what })?;
            }
        }
        for damage in gone_tracks(&self.books, &self.tracks, &self.missing) {
            self.accept(damage)?;
        }
        let rows: Vec<_> = self.books.tracks.iter().map(|(id, row)| (*id, *row)).collect();
        let mut synced = BTreeSet::new();
        for (id, row) in rows {
            if self.tracks.contains_key(&id) {
                self.check_disk(id, &row)?;
                continue;
            }
            if self.missing.has(row.disk) {
                continue;
            }
            // Unlinked after the last checkpoint, when its tombstones were needed no more, or lost
            // and accepted. Who unlinked it may have come to no sync of the directory, and it must
            // not come back when the tombstones that hide its records are forgotten (I9).
            if synced.insert(row.disk) {
                self.sync_dir_of(row.disk)?;
            }
            for graves in index::graves(&self.index, ROWS_A_BATCH, |grave| grave.track == id) {
                let mut join = Join::new(&self.index, &mut self.books);
                for (key, grave) in graves? {
                    join.drop_grave(&key, grave);
                }
                join.commit()?;
            }
            let mut join = Join::new(&self.index, &mut self.books);
            join.drop_track(id)?;
            join.commit()?;
        }
        Ok(self)
    }

    fn check_unsynced_rows(mut self) -> Result<Self> {
        if self.unsynced_rows_fail()? {
            self.missing.refuse_rebuild()?;
            tracing::error!("the index is ahead of the tracks and is made anew");
            let dir = self.index.path().to_owned();
            self.index = empty_index(&self.options, &dir, self.index)?;
            self.books = Books::new(self.before.store);
            self.rebuild = true;
            self.report.rebuilt = true;
        }
        Ok(self)
    }

    fn sync_dir_of(&self, disk: DiskId) -> Result<()> {
        let Some(volume) = self.volumes.iter().find(|v| v.disk.id == disk) else { return Ok(()) };
        let synced = self.options.io.sync_dir(&volume.dir);
        synced.map_err(|e| Error::io("sync the disk", &volume.dir, e))
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
        let there = self.books.tracks.iter().filter(|(_, row)| !self.missing.has(row.disk));
        for (id, row) in there.filter(|(_, row)| row.synced < row.applied) {
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

    pub(super) fn accept(&mut self, damage: Damage) -> Result<()> {
        accept_damage(damage, &self.options, &self.home, &mut self.report)
    }

    /// Brings the index up to the tracks, and ends the tracks that the last opening left active.
    fn replay(&mut self) -> Result<()> {
        let headers = self.read_headers()?;
        let mut marks = Marks::of(&self.before, &headers, &self.books);
        for (id, row) in &self.books.tracks {
            marks.raise(*id, row.synced);
        }
        self.add_passed_tracks(&headers)?;
        let mut tails = Vec::new();
        for header in headers.values() {
            tails.push(self.tail(header, &marks)?);
        }
        step!("open.tails-found");
        let total_bytes = tails.iter().map(|t| u64::from(t.end - t.from.min(t.end))).sum::<u64>();
        let total_bytes = total_bytes * CHUNK_BYTES as u64;
        if self.rebuild {
            self.books.state.rebuilding = true;
        }
        let ends = self.replay_chains(tails, total_bytes)?;
        for (header, end) in ends {
            self.end_track(&header, end)?;
        }
        self.cut_off_given_up()?;
        if self.rebuild {
            let orphan = rebuild::adopt_segments(&self.index, &mut self.books)?;
            if let Some(orphan) = orphan.filter(|_| self.lost_meta) {
                self.accept(orphan).inspect_err(|_| self.forget_meta())?;
            }
            step!("rebuild.segments-adopted");
        }
        // Before the live values claim their chunks: those of a dead stream may be others' by now.
        self.free_dead_streams()?;
        step!("open.dead-streams-freed");
        if self.rebuild {
            let overlaps = rebuild::claim_live(&self.index, &mut self.books)?;
            for damage in overlaps {
                self.accept(damage)?;
            }
            self.books.state.rebuilding = false;
            step!("rebuild.live-claimed");
        }
        Ok(())
    }

    /// Takes back a `META` that was made up of too few disks, so that all of them can be given.
    fn forget_meta(&self) {
        let path = self.home.join(META_FILE);
        if let Err(error) = self.options.io.remove(&path) {
            tracing::error!(%error, path = %path.display(), "remove it before the next attempt");
        }
    }

    /// Frees the segments of streams that were never committed.
    fn free_dead_streams(&mut self) -> Result<()> {
        if self.missing.any() {
            // What commits them may lie on a missing disk, behind what the index knows of it.
            return Ok(());
        }
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
    fn finish(mut self, reserve: Reserve, started: Instant) -> Result<Store> {
        for (id, row) in &self.books.tracks {
            if let Some(end) = row.sealed {
                self.files.seal(*id, end);
                // Invariant I10: the header of a disk's next track vouches for the last one that
                // was sealed, whenever that was, and until there is one META does.
                let volume = self.volumes.iter().find(|v| v.disk.id == row.disk);
                if let Some(volume) = volume.filter(|_| !row.compacted) {
                    volume.follow(*id, end);
                }
            }
        }
        self.outrun_lost_openings()?;
        let meta = self.ledger.get();
        for state in meta.disks.iter().filter(|state| self.missing.has(state.id)) {
            // Of a disk that is not there, what META says stays as it is.
            let volume = self.volumes.iter().find(|volume| volume.disk.id == state.id);
            if let (Some(volume), Some((track, end))) = (volume, state.active) {
                volume.follow(track, end);
            }
        }
        self.books.state.opening = meta.openings;
        self.books.state.next_track = meta.next_track;
        // Invariant I1: all that was replayed was synced before it was read.
        Join::new(&self.index, &mut self.books).commit()?;
        self.index.flush()?;
        step!("open.flushed");
        let last: HashMap<_, _> =
            self.volumes.iter().map(|volume| (volume.disk.id, volume.last_track())).collect();
        let (rows, trims) = (&self.books.tracks, self.books.trims().collect());
        let has_lost_meta = self.before.disks.is_empty();
        self.ledger.update(|meta| {
            for state in meta.disks.iter_mut().filter(|state| !self.missing.has(state.id)) {
                state.active = last.get(&state.id).copied().flatten();
                if has_lost_meta {
                    // Which of them no header vouches for went with it.
                    let on = rows.iter().filter(|(_, row)| row.disk == state.id && row.compacted);
                    state.outputs = on.map(|(id, row)| (*id, row.synced)).collect();
                }
                state.outputs.retain(|(id, _)| rows.contains_key(id));
                state.outputs.iter_mut().for_each(|(id, end)| *end = rows[id].synced);
            }
            meta.trims = trims;
        })?;
        step!("open.named");
        reserve.keep();
        step!("open.reserved");
        self.report.duration = started.elapsed();
        let unknown_above = self.missing.unknown_above(&self.books);
        let shared = Arc::new(Shared::new(Parts {
            options: self.options,
            home: self.home,
            index: self.index,
            books: self.books,
            volumes: self.volumes,
            files: self.files,
            ledger: self.ledger,
            reserve,
            unknown_above,
            recovery: self.report,
            locks: self.locks,
        }));
        for volume in shared.volumes.all().iter() {
            let owner: Arc<dyn Owner> = shared.clone();
            volume.set_owner(Arc::downgrade(&owner));
        }
        Store::start(shared)
    }
}

/// The store's place on the disk at `path`, and its folder there.
pub(crate) fn attach_volume(
    options: &Options,
    store: StoreId,
    path: &Path,
    disk: DiskId,
) -> Result<Arc<Volume>> {
    let io = &options.io;
    let dir = path.join(store.to_string());
    io.create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
    let holes = match options.punch && can_punch(&**io, &dir) {
        false => Holes::None,
        true if io.holes_are_room(&dir).unwrap_or(true) => Holes::Room,
        true => Holes::LateRoom,
    };
    let (track_chunks, reserve_bytes) = (options.track_chunks(), options.reserve_bytes);
    let disk = Disk::attach(io, path, disk)?;
    Ok(Arc::new(Volume::new(disk, store, dir, track_chunks, reserve_bytes, holes)))
}

/// The place of a store on a disk that is not there: nothing is made in its mount point.
fn missing_volume(
    options: &Options,
    store: StoreId,
    found: &Found,
    error: &Error,
) -> Result<Arc<Volume>> {
    let disk = Disk::attach(&options.io, &found.path, found.state.id)?;
    let dir = found.path.join(store.to_string());
    let (track_chunks, reserve_bytes) = (options.track_chunks(), options.reserve_bytes);
    let volume = Volume::new(disk, store, dir, track_chunks, reserve_bytes, Holes::None);
    volume.leave_out(error);
    Ok(Arc::new(volume))
}

/// Opens the index with its books; an index that is damaged, or is to be thrown away, is empty.
fn open_index(options: &Options, dir: &Path) -> Result<(Index, Option<Books>)> {
    Index::check_own(dir)?;
    if let Err(error) = Index::forget_staged(dir) {
        tracing::warn!(%error, "what a backup has left behind stays there");
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    let opened = Index::open(dir, options.memtable_bytes(), options.cache_bytes());
    let loaded = opened.and_then(|index| Books::load(&index).map(|books| (index, books)));
    match loaded {
        // Rows that nobody keeps books of are not ours.
        Ok((index, None)) if !index.is_empty()? => Ok((empty_index(options, dir, index)?, None)),
        Err(e) if matches!(e.kind(), ErrorKind::Corruption | ErrorKind::Version) => {
            tracing::error!(error = %e, "the index is damaged and is made anew");
            Index::destroy(dir)?;
            Ok((Index::open(dir, options.memtable_bytes(), options.cache_bytes())?, None))
        }
        loaded => loaded,
    }
}

/// The tracks that have something live by the index, and whose files are not there.
fn gone_tracks(
    books: &Books,
    tracks: &BTreeMap<TrackId, DiskId>,
    missing: &Missing,
) -> Vec<Damage> {
    let gone = books
        .tracks
        .iter()
        .filter(|(id, row)| !tracks.contains_key(id) && !row.is_dead() && !missing.has(row.disk));
    let damage = gone.map(|(id, row)| Damage {
        track: *id,
        chunk: 0,
        chunks: row.applied,
        what: format!("the track's file is gone, with {} live records", row.live_records),
    });
    damage.collect()
}

/// Passes over damage, if the caller accepts the loss.
pub(super) fn accept_damage(
    damage: Damage,
    options: &Options,
    home: &Path,
    report: &mut RecoveryReport,
) -> Result<()> {
    if !options.accept_loss {
        let what = format!("{damage}; `accept_loss` (--accept-loss) opens without it");
        return Err(Error::new(ErrorKind::Damaged, what).with_path(home));
    }
    tracing::error!(%damage, "damage");
    report.damage.push(damage);
    Ok(())
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
        trims: books.into_iter().flat_map(Books::trims).collect(),
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

/// Whether the file system gives room back: tried, not assumed.
fn can_punch(io: &dyn Io, dir: &Path) -> bool {
    let path = dir.join("punch-test");
    // Left behind by a crash, perhaps.
    let _ = io.remove(&path);
    let tried = io.open(&path, OpenMode::CreateNew).and_then(|file| {
        let bytes = [1; 2 * CHUNK_BYTES];
        match crate::io::write_all_at(&*file, &mut [std::io::IoSlice::new(&bytes)], 0) {
            // A full file system says as well of an empty file whether it can.
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => {}
            written => written?,
        }
        file.punch(0, CHUNK_BYTES as u64)
    });
    let _ = io.remove(&path);
    tried.is_ok()
}
