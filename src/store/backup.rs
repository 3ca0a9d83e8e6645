//! Copying a live store.
//!
//! A backup is the store as it was at a checkpoint: the index as it was flushed, taken under the
//! apply lock, and of each track the chunks that it reflects. That moment is short; the files are
//! brought over while writers go on. Meanwhile nothing that was freed is reused and no track is
//! unlinked, so that all the index names stays where it is.
//!
//! Sealed tracks may be shared as they are (hard links): then neither the store nor the backup
//! punches, refills or cuts them as long as they have more than one name, whichever of them looks.
//! What was under way when the backup began changes only chunks that were free at its moment.
//!
//! The next backup into the same directory keeps the tracks of which all that the new index names
//! is there already, if the earlier one is of this store's own past: a store that was taken back to
//! an older state has given the same numbers to other tracks. Each backup leaves a random mark with
//! the store, once the store can't lose the moment of the backup any more. See [`target`] for what survives a crash.

mod marks;
mod target;
mod transfer;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use target::UNFINISHED_FILE;

use self::target::{Earlier, Target, check_unclaimed};
use self::transfer::{Item, Transfer, cannot};
use super::pins::Pin;
use super::{Shared, now_ms};
use crate::error::{Error, ErrorKind, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::format::entry::{SegmentRow, TrackRow};
use crate::format::meta::{BackupMeta, BackupTrack, DiskState, StoreMeta};
use crate::format::{DiskId, Seq, TrackId};
use crate::index::{Books, Family, Index, View};
use crate::io::{Io, OpenMode, RealIo, resolve};
use crate::options::{OnStep, Phase, Progress};

/// How a backup comes by its files.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path().join("store")).unwrap();
/// let apart = kogia::BackupOptions { mode: kogia::LinkMode::Copy, ..Default::default() };
/// let report = store.backup(dir.path().join("backup"), &apart)?;
/// assert_eq!(report.linked_bytes + report.reflinked_bytes, 0);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkMode {
    /// By reflinks, else by hard links of sealed tracks, else by copies.
    #[default]
    Auto,
    /// By reflinks only: both sides share the room of what neither has changed. An error where the
    /// file system can't.
    Reflink,
    /// By hard links of all sealed tracks, on the same file system: both sides have one file, and
    /// what is damaged is damaged for both. The room in it comes back with the whole track only, as
    /// long as it is linked. An error where that can't be.
    HardLink,
    /// By copies only.
    Copy,
}

/// How to back up.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path().join("store")).unwrap();
/// # store.put("key", "value")?;
/// let look = kogia::BackupOptions { dry_run: true, ..Default::default() };
/// let report = store.backup(dir.path().join("backup"), &look)?;
/// assert_eq!((report.tracks, report.kept_bytes), (1, 0));
/// assert!(!dir.path().join("backup").exists());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Default)]
pub struct BackupOptions {
    /// How files get into the backup.
    pub mode: LinkMode,
    /// Only tell what would be done, and do nothing.
    pub dry_run: bool,
    /// Where the backup's index goes; default `index/` in the backup, where opening looks for it.
    pub index_dir: Option<PathBuf>,
    /// Called now and then; where it answers `false`, the backup fails with
    /// [`Cancelled`](ErrorKind::Cancelled), and is as one that was cut off: an earlier one in its place
    /// stays as it was.
    pub on_progress: Option<Box<OnStep>>,
}

impl fmt::Debug for BackupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupOptions")
            .field("mode", &self.mode)
            .field("dry_run", &self.dry_run)
            .field("index_dir", &self.index_dir)
            .finish_non_exhaustive()
    }
}

/// What a backup is made of.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let store = kogia::Store::open(dir.path().join("store"))?;
/// store.put("camera-1/0001.ts", b"media")?;
/// store.backup(dir.path().join("backup"), &Default::default())?;
/// let again: kogia::BackupReport = store.backup(dir.path().join("backup"), &Default::default())?;
/// assert_eq!(again.kept_bytes, again.total_bytes);
///
/// let copy = kogia::Store::open(dir.path().join("backup"))?;
/// assert_eq!(copy.get("camera-1/0001.ts")?.as_deref(), Some(&b"media"[..]));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BackupReport {
    /// Tracks in the backup.
    pub tracks: u64,
    /// Tracks that the earlier backup had, and this one has not.
    pub removed_tracks: u64,
    /// Lengths of the tracks, holes included.
    pub total_bytes: u64,
    /// Of these, in tracks that the earlier backup had already.
    pub kept_bytes: u64,
    /// In tracks that were hard-linked.
    pub linked_bytes: u64,
    /// In tracks that were reflinked.
    pub reflinked_bytes: u64,
    /// Bytes that were read and written. Holes stay holes and do not count.
    pub copied_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// The store at the moment of a backup.
struct Moment {
    books: Books,
    meta: StoreMeta,
}

/// A track that goes into a backup.
#[derive(Debug)]
struct Planned {
    track: BackupTrack,
    disk: DiskId,
    is_sealed: bool,
    from: PathBuf,
    /// The same in the earlier backup.
    kept: Option<PathBuf>,
}

impl Planned {
    fn len(&self) -> u64 {
        u64::from(self.track.chunks) * CHUNK_BYTES as u64
    }
}

impl Shared {
    pub(crate) fn backup(&self, dir: &Path, options: &BackupOptions) -> Result<BackupReport> {
        let started = Instant::now();
        let _alone = self.backing_up.lock().expect("no panic holds it");
        self.check_apart(dir, options)?;
        let mut report = if options.dry_run {
            self.plan_only(dir, options)
        } else {
            self.copy_to(dir, options)
        }?;
        report.duration = started.elapsed();
        Ok(report)
    }

    fn copy_to(&self, dir: &Path, options: &BackupOptions) -> Result<BackupReport> {
        let io = &self.options.io;
        let target = Target::take(io.clone(), dir, options.index_dir.as_deref(), self.id)?;
        step!("backup.claimed");
        // What is dead already need not be copied.
        self.give_back()?;
        // From here to the end all that the index names stays where it is.
        let _hold = self.hold_all();
        // Before the moment: what is applied until then counts as newer than it is, at worst.
        let refilled_from = self.refills.unapplied_from(|| self.current_seq());
        let (staged, view, moment) = self.checkpoint_and(|books| {
            let moment = Moment { books: books.clone(), meta: self.ledger.get() };
            Ok((self.index.stage()?, self.index.snapshot(), moment))
        })?;
        step!("backup.staged");
        let past = self.of_own_past(target.earlier.as_ref());
        let plan = past.and_then(|past| self.plan(&moment, &view, past, options.mode));
        // It holds rows in the index, and what follows takes long.
        drop(view);
        let filled = plan.and_then(|plan| {
            let (mut report, tracks) = self.fill(&target, &plan, &moment, options)?;
            report.index_bytes = bring_index(&target, &staged, options.mode)?;
            step!("backup.index-brought");
            Ok((report, tracks, self.leave_mark()?))
        });
        step!("backup.marked");
        Index::forget_staged(self.index.path())?;
        let (report, tracks, mark) = filled.inspect_err(|_| {
            // Best effort: the room is wanted back, and the next backup cleans up, too.
            let _ = target.clean();
        })?;
        let meta = self.meta_of(&target, &moment, &tracks);
        let backup = BackupMeta {
            store: self.id,
            mark,
            made_ms: now_ms(),
            next_track: meta.next_track,
            refilled_from,
            tracks,
        };
        target.switch(meta, &backup)?;
        step!("backup.switched");
        target.finish()?;
        step!("backup.finished");
        Ok(report)
    }

    /// What a backup would do now.
    fn plan_only(&self, dir: &Path, options: &BackupOptions) -> Result<BackupReport> {
        let io = &*self.options.io;
        let earlier = Earlier::load(io, dir, self.id)?;
        if earlier.is_none() {
            check_unclaimed(io, dir, self.id)?;
        }
        let _hold = self.hold_all();
        let (view, moment) = {
            let books = self.books();
            (self.index.snapshot(), Moment { books: books.clone(), meta: self.ledger.get() })
        };
        let past = self.of_own_past(earlier.as_ref())?;
        let plan = self.plan(&moment, &view, past, options.mode)?;
        let kept = plan.iter().filter(|planned| planned.kept.is_some());
        let kept_bytes = kept.map(Planned::len).sum();
        Ok(BackupReport { kept_bytes, ..report_of(&plan, earlier.as_ref()) })
    }

    /// Fails where the backup and the store would lie in each other.
    fn check_apart(&self, dir: &Path, options: &BackupOptions) -> Result<()> {
        let overlap = |one: &Path, other: &Path| one.starts_with(other) || other.starts_with(one);
        let target = resolve(&*self.options.io, dir);
        let volumes = self.volumes.all();
        let mut own = volumes.iter().map(|volume| &volume.disk.path).chain([&self.home]);
        if let Some(own) = own.find(|own| overlap(own, &target)) {
            let what = format!("lies in the store's own {}, or that in it", own.display());
            return Err(Error::invalid(what).with_path(dir));
        }
        let index = resolve(&RealIo, self.index.path());
        let copy = options.index_dir.clone().unwrap_or_else(|| dir.join("index"));
        if overlap(&index, &resolve(&RealIo, &copy)) {
            return Err(Error::invalid("is the store's own index").with_path(&copy));
        }
        Ok(())
    }

    /// The tracks of the backup, and which of them the earlier one has already.
    fn plan(
        &self,
        moment: &Moment,
        view: &View<'_>,
        earlier: Option<&Earlier>,
        mode: LinkMode,
    ) -> Result<Vec<Planned>> {
        let refilled = match earlier {
            Some(earlier) => refilled_since(view, earlier.backup.refilled_from)?,
            None => HashSet::new(),
        };
        let mut plan = Vec::new();
        for (&id, row) in &moment.books.tracks {
            let Some((from, chunks)) = self.measure(id, row)? else { continue };
            let track = BackupTrack::new(id, chunks, row);
            let old = earlier.and_then(|earlier| earlier.tracks.get(&id));
            let old = old.filter(|(_, old)| !refilled.contains(&id) && is_unchanged(old, &track));
            let kept = match old {
                Some((path, _)) if self.is_wanted(path, mode)? => Some(path.clone()),
                _ => None,
            };
            let (disk, is_sealed) = (row.disk, row.sealed.is_some());
            plan.push(Planned { track, disk, is_sealed, from, kept });
        }
        Ok(plan)
    }

    /// Holds all that there is. Who began to give room back before comes to an end first: it goes by
    /// what was held then.
    fn hold_all(&self) -> Pin<'_> {
        let hold = self.pins.hold_all();
        drop(self.reclaiming.lock().expect("no panic holds it"));
        hold
    }

    /// Where a track is, and its chunks at the moment of its row; `None` where it is dead and gone.
    fn measure(&self, id: TrackId, row: &TrackRow) -> Result<Option<(PathBuf, u32)>> {
        let volume = self.volumes.of(row.disk);
        let Some(volume) = volume else {
            let what = format!("disk {} is missing, and track {id} lies on it", row.disk);
            return Err(Error::new(ErrorKind::Disk, what));
        };
        let path = volume.dir.join(id.file_name());
        let len = self.options.io.open(&path, OpenMode::Read).and_then(|file| file.len());
        match len {
            // An unlinking that was under way before the backup began: no tombstone in the track is
            // needed any more, as after a crash behind the unlinking.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && row.is_dead() => Ok(None),
            Err(e) => Err(Error::io("measure the track", &path, e)),
            Ok(len) => {
                let there = u32::try_from(len / CHUNK_BYTES as u64).unwrap_or(u32::MAX);
                // Behind the end lies what the index does not know: another moment's.
                Ok(Some((path, row.sealed.unwrap_or(row.applied).min(there))))
            }
        }
    }

    /// Whether a file of the earlier backup will do; one that is shared won't where copies are
    /// wanted.
    fn is_wanted(&self, path: &Path, mode: LinkMode) -> Result<bool> {
        if !matches!(mode, LinkMode::Copy | LinkMode::Reflink) {
            return Ok(true);
        }
        let links = self.options.io.open(path, OpenMode::Read).and_then(|file| file.link_count());
        Ok(links.map_err(|e| Error::io("count the links of", path, e))? == 1)
    }

    /// Brings the tracks into the target, durably.
    fn fill(
        &self,
        target: &Target,
        plan: &[Planned],
        moment: &Moment,
        options: &BackupOptions,
    ) -> Result<(BackupReport, Vec<BackupTrack>)> {
        let io = &*self.options.io;
        let mut report = report_of(plan, target.earlier.as_ref());
        let disks: Vec<DiskId> = moment.meta.disks.iter().map(|disk| disk.id).collect();
        let folders = target.prepare(&disks, self.id)?;
        let transfer = Transfer::strict(options.mode);
        let total_bytes = report.total_bytes;
        let mut now = Progress { phase: Phase::Backup, done_bytes: 0, total_bytes, records: 0 };
        let mut tracks = Vec::new();
        for planned in plan {
            let at = disks.iter().position(|id| *id == planned.disk).expect("META has all disks");
            let to = folders[at].join(planned.track.track.file_name());
            let mut on_bytes = |bytes| {
                now.done_bytes += bytes;
                now.tell(options.on_progress.as_deref(), "the backup was called off")
            };
            let (from, len) = (planned.from.as_path(), planned.len());
            if keep(io, planned.kept.as_deref(), &to)? {
                report.kept_bytes += len;
                on_bytes(len)?;
            } else {
                let item = Item { from, to: &to, len, may_link: planned.is_sealed };
                transfer.bring(io, item, &mut report, &mut on_bytes)?;
            }
            step!("backup.track-brought");
            tracks.push(planned.track);
            now.records += 1;
        }
        for folder in &folders {
            io.sync_dir(folder).map_err(|e| Error::io("sync", folder, e))?;
        }
        step!("backup.tracks-synced");
        Ok((report, tracks))
    }

    /// The backup's `META`: that of a store which was closed cleanly at the moment.
    fn meta_of(&self, target: &Target, moment: &Moment, tracks: &[BackupTrack]) -> StoreMeta {
        let ends: BTreeMap<_, _> = tracks.iter().map(|track| (track.track, track.chunks)).collect();
        let last_of = |disk: &DiskState| {
            let rows = moment.books.tracks.iter().rev();
            let last = rows
                .filter(|(id, row)| row.disk == disk.id && !row.compacted && ends.contains_key(id));
            let last = last.map(|(id, _)| *id).next();
            // The active track, unless the index has nothing of it yet.
            let named = disk.active.map(|(id, _)| id).filter(|id| ends.contains_key(id));
            named.or(last).map(|id| (id, ends[&id]))
        };
        let disks = moment.meta.disks.iter().enumerate().map(|(at, disk)| {
            // Invariant I10: all of each track is synced.
            let rows = moment.books.tracks.iter();
            let outputs = rows.filter(|(_, row)| row.disk == disk.id && row.compacted);
            let outputs = outputs.filter_map(|(id, _)| Some((*id, *ends.get(id)?))).collect();
            let path = target.disk_path(at);
            DiskState {
                path,
                active: last_of(disk),
                outputs,
                ..DiskState::new(disk.id, String::new())
            }
        });
        let mut cuts = moment.meta.cuts.clone();
        cuts.retain(|(id, _)| ends.contains_key(id));
        // Invariant I7: the backup's next opening has a greater number than all seqs in it.
        StoreMeta { clean: true, disks: disks.collect(), cuts, ..moment.meta.clone() }
    }
}

/// Gives the earlier backup's file the new name; whether that was to be done and could be.
fn keep(io: &dyn Io, kept: Option<&Path>, to: &Path) -> Result<bool> {
    let Some(kept) = kept else { return Ok(false) };
    match io.hard_link(kept, to) {
        Err(e) if cannot(&e) => Ok(false),
        linked => linked.map(|()| true).map_err(|e| Error::io("keep the track", kept, e)),
    }
}

/// Whether what the index names of a track is in the earlier backup's file, unless values were
/// refilled since. Chunks that were freed and punched since may still be there; but where records
/// that had died are gone from a track, so may be the tombstones that a rebuild would need of them.
fn is_unchanged(old: &BackupTrack, new: &BackupTrack) -> bool {
    let extent = |track: &BackupTrack| (track.chunks, track.head_chunks, track.lost_chunks);
    extent(old) == extent(new) && old.dead_records <= new.dead_records
}

/// The tracks that live values were refilled into since `from`.
fn refilled_since(view: &View<'_>, from: Seq) -> Result<HashSet<TrackId>> {
    let mut tracks = HashSet::new();
    let mut cursor = view.rows(Family::Segments);
    cursor.seek(&from.0.to_be_bytes());
    while let Some((_, row)) = cursor.row()? {
        let row = SegmentRow::decode(row).map_err(|fault| view.fault(fault))?;
        if !row.has_record {
            tracks.insert(row.track);
        }
        cursor.next();
    }
    Ok(tracks)
}

/// What is known before anything is done.
fn report_of(plan: &[Planned], earlier: Option<&Earlier>) -> BackupReport {
    let planned: HashSet<_> = plan.iter().map(|planned| planned.track.track).collect();
    let gone = earlier
        .map_or(0, |earlier| earlier.tracks.keys().filter(|id| !planned.contains(id)).count());
    BackupReport {
        tracks: plan.len() as u64,
        removed_tracks: gone as u64,
        total_bytes: plan.iter().map(Planned::len).sum(),
        ..BackupReport::default()
    }
}

/// Brings the staged index over, durably; gives its bytes.
fn bring_index(target: &Target, staged: &Path, mode: LinkMode) -> Result<u64> {
    let new = target.prepare_index()?;
    let fail = |e| Error::io("copy the index to", &new, e);
    let (mut report, mut bytes) = (BackupReport::default(), 0);
    // It may be on another file system than the tracks, and is small.
    let mode = if mode == LinkMode::HardLink { LinkMode::Auto } else { mode };
    for name in RealIo.list(staged).map_err(fail)? {
        let (from, to) = (staged.join(&name), new.join(&name));
        let len = RealIo.open(&from, OpenMode::Read).and_then(|file| file.len()).map_err(fail)?;
        let may_link = name.ends_with(".sst");
        let item = Item { from: &from, to: &to, len, may_link };
        Transfer::lenient(mode).bring(&RealIo, item, &mut report, &mut |_| Ok(()))?;
        bytes += len;
    }
    RealIo.sync_dir(&new).map_err(fail)?;
    Ok(bytes)
}
