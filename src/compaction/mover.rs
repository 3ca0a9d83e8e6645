//! Disks that come and go: adding one, moving everything off one, evening them out.
//!
//! A move is a pass over a track with another disk as its target, so a crash leaves nothing to
//! undo. `META` remembers that a disk is drained, and forgets the disk when no track is left on it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::outputs::Outputs;
use super::pass::Target;
use super::policy::Room;
use super::{CompactOptions, CompactReport};
use crate::disk::{Owner, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskId, TrackId};
use crate::recovery;
use crate::store::Shared;

/// Shares of use that are as good as even.
const EVEN: f64 = 0.05;
/// How long a drain waits for readers before it says that they hold it back.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_UP: Duration = Duration::from_millis(50);

impl Shared {
    pub(crate) fn add_disk(self: &Arc<Self>, dir: &Path) -> Result<Arc<Volume>> {
        let _alone = self.changing_disks.lock().expect("no panic holds it");
        let io = &*self.options.io;
        io.create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let meta = self.ledger.get();
        let (state, path) = recovery::adopt(io, &self.home, &meta, dir)?;
        let volume = recovery::attach_volume(&self.options, self.id, &path, state.id)?;
        self.lock_folder(&volume.dir)?;
        let owner: Arc<dyn Owner> = self.clone();
        volume.set_owner(Arc::downgrade(&owner));
        step!("add-disk.prepared");
        // `META` first: a track on a disk that it does not know would be lost at the next open.
        self.ledger.update(|meta| meta.disks.push(state))?;
        step!("add-disk.named");
        self.volumes.add(volume.clone());
        Ok(volume)
    }

    pub(crate) fn keep_disk(&self, disk: DiskId) -> Result<()> {
        let volume = self.disk(disk)?;
        self.set_draining(&volume, false)
    }

    fn disk(&self, disk: DiskId) -> Result<Arc<Volume>> {
        let what = || format!("disk {disk} is not one of this store's");
        self.volumes.of(disk).ok_or_else(|| Error::new(ErrorKind::NotFound, what()))
    }

    fn set_draining(&self, volume: &Volume, draining: bool) -> Result<()> {
        volume.set_draining(draining);
        self.ledger.update(|meta| {
            let state = meta.disks.iter_mut().find(|state| state.id == volume.disk.id);
            state.into_iter().for_each(|state| state.draining = draining);
        })
    }

    pub(crate) fn drain_disk(
        &self,
        disk: DiskId,
        options: &CompactOptions,
    ) -> Result<CompactReport> {
        let volume = self.disk(disk)?;
        self.begin_drain(&volume)?;
        step!("drain.marked");
        // The disk's own compaction ends, and seals what it writes there.
        self.compaction.call();
        let mut report = self.report();
        let mut outputs = Outputs::default();
        let outcome = self.move_all(&volume, options, &mut outputs, &mut report);
        outputs.seal(self)?;
        outcome?;
        self.tidy()?;
        report.after_bytes = self.room(|_| true).used;
        Ok(report)
    }

    fn begin_drain(&self, volume: &Volume) -> Result<()> {
        // Two that begin at once would each count on the other's disk.
        let _alone = self.changing_disks.lock().expect("no panic holds it");
        let others = |other: &Arc<Volume>| other.disk.id != volume.disk.id && other.takes_puts();
        if !self.volumes.all().iter().any(others) {
            let what = "there is no other disk that it could be drained to; add one first";
            return Err(Error::invalid(what).with_path(&volume.disk.path));
        }
        self.set_draining(volume, true)
    }

    fn report(&self) -> CompactReport {
        CompactReport { before_bytes: self.room(|_| true).used, ..CompactReport::default() }
    }

    fn move_all(
        &self,
        volume: &Arc<Volume>,
        options: &CompactOptions,
        outputs: &mut Outputs,
        report: &mut CompactReport,
    ) -> Result<()> {
        let disk = volume.disk.id;
        let (mut waited, mut passed) = (Duration::ZERO, BTreeSet::new());
        loop {
            // Behind this, nothing that was placed here before is on its way any more.
            self.sync()?;
            self.seal_active(volume)?;
            step!("drain.active-sealed");
            let tracks = self.tracks_on(disk);
            if tracks.is_empty() && self.take_out(volume)? {
                return Ok(());
            }
            report.tracks_left = tracks.len() as u64;
            // Who is still writing one may add to it behind this.
            let todo: Vec<_> = tracks.into_iter().filter(|seen| !passed.contains(seen)).collect();
            let waits = todo.is_empty();
            for (track, end) in todo {
                passed.insert((track, end));
                self.compact_one(track, Target::Others(disk), options, outputs, report)?;
                step!("drain.track-moved");
                report.tracks_left = self.tracks_on(disk).len() as u64;
                if report.stopped || report.held_back {
                    return Ok(());
                }
            }
            self.tidy()?;
            step!("drain.tidied");
            let left = self.tracks_on(disk);
            if !left.is_empty() && left.iter().all(|(id, _)| report.blocked.contains(id)) {
                return Ok(());
            }
            // They are passed over, and wait for readers; or a late put went to the disk.
            if waits && !left.is_empty() {
                if let Some(failure) = volume.failure() {
                    // Nothing is given back on it until it is known to be what it was.
                    let what = "the disk fails: what could be read was moved; open the store again \
                                and drain it once more, or forget it";
                    let error = Error::new(ErrorKind::Io, what).with_path(&volume.disk.path);
                    return Err(error.with_source(failure.clone()));
                }
                if waited >= PATIENCE {
                    report.held_back = true;
                    return Ok(());
                }
                std::thread::sleep(LOOK_UP);
                waited += LOOK_UP;
            }
        }
    }

    /// The disk's tracks, each with its end as the index knows it.
    fn tracks_on(&self, disk: DiskId) -> Vec<(TrackId, u32)> {
        let books = self.books();
        let on = books.tracks.iter().filter(|(_, row)| row.disk == disk);
        on.map(|(id, row)| (*id, row.applied)).collect()
    }

    /// Takes a disk on which no track is left out of the store; whether it could.
    fn take_out(&self, volume: &Arc<Volume>) -> Result<bool> {
        let disk = volume.disk.id;
        if !volume.leave() {
            return Ok(false);
        }
        // What was appended just before may have been told to the index since.
        if !self.tracks_on(disk).is_empty() {
            volume.stay();
            return Ok(false);
        }
        step!("drain.left");
        // The index must not know the disk when `META` does not any more.
        self.checkpoint().inspect_err(|_| volume.stay())?;
        step!("drain.checkpointed");
        self.remove_unfinished(volume).inspect_err(|_| volume.stay())?;
        step!("drain.emptied");
        self.volumes.remove(disk);
        self.ledger.update(|meta| meta.disks.retain(|state| state.id != disk))?;
        step!("drain.forgotten");
        tracing::info!(%disk, path = %volume.disk.path.display(), "the disk was drained");
        Ok(true)
    }

    /// Removes, durably, the tracks on a disk of which the index knows nothing: those that were
    /// created, and then could not be named or synced. `META` must not forget the disk before, or it
    /// would be a stranger's the next time it is given to the store.
    fn remove_unfinished(&self, volume: &Volume) -> Result<()> {
        let io = &*self.options.io;
        for track in recovery::track_ids(io, &volume.dir)? {
            let path = volume.dir.join(track.file_name());
            self.ledger.forget_track(track, None)?;
            io.remove(&path).map_err(|e| Error::io("remove the unfinished track", &path, e))?;
        }
        // Also where none is left: who removed one may have come to no sync of the directory.
        io.sync_dir(&volume.dir).map_err(|e| Error::io("sync the disk", &volume.dir, e))
    }

    pub(crate) fn rebalance(&self, options: &CompactOptions) -> Result<CompactReport> {
        let mut report = self.report();
        let mut outputs = Outputs::default();
        let mut outcome = Ok(());
        while let Some((track, target)) = self.next_move(&report.blocked) {
            let tracks = report.tracks;
            let target = Target::Disk(target);
            outcome = self
                .compact_one(track, target, options, &mut outputs, &mut report)
                .inspect(|()| step!("rebalance.track-moved"))
                .and_then(|()| self.give_back());
            if outcome.is_err() || report.stopped || report.tracks == tracks {
                break;
            }
        }
        outputs.seal(self)?;
        outcome?;
        self.tidy()?;
        report.after_bytes = self.room(|_| true).used;
        Ok(report)
    }

    /// The track to move next, and to where: from the fullest disk to the emptiest, the largest that
    /// does not make the emptiest the fuller of the two.
    fn next_move(&self, blocked: &[TrackId]) -> Option<(TrackId, DiskId)> {
        let volumes = self.volumes.all();
        let mut disks: Vec<_> = volumes
            .iter()
            .filter(|volume| volume.takes_puts())
            .map(|volume| {
                let used = self.room(|disk| disk == volume.disk.id).used;
                let total = used + volume.ask_available_bytes();
                (used as f64 / total.max(1) as f64, total, volume)
            })
            .collect();
        disks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (&(low, low_total, emptiest), &(high, high_total, fullest)) =
            (disks.first()?, disks.last()?);
        if high - low <= EVEN {
            return None;
        }
        // What moves raises the one share and lowers the other.
        let most = (high - low) / (1.0 / low_total as f64 + 1.0 / high_total as f64);
        let books = self.books();
        let movable = books.tracks.iter().filter(|(id, row)| {
            row.disk == fullest.disk.id
                && row.sealed == Some(row.applied)
                && !blocked.contains(id)
                && Room::of(row, fullest.holes_are_room()).cost as f64 <= most
        });
        let best = movable.max_by_key(|(_, row)| Room::of(row, fullest.holes_are_room()).cost)?;
        (Room::of(best.1, fullest.holes_are_room()).cost > 0).then_some((*best.0, emptiest.disk.id))
    }
}
