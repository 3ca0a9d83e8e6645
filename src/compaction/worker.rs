//! Who compacts: a thread for each disk, and callers who want it done now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use super::control::Control;
use super::outputs::Outputs;
use super::pass::{End, Pass, Steering, Target};
use super::policy::{self, Choice, Room, Situation, Zeal};
use crate::disk::Volume;
use crate::error::{Error, ErrorKind, Result};
use crate::format::entry::TrackRow;
use crate::format::{DiskId, TrackId};
use crate::store::{Shared, now_ms};

/// A thread looks for work so often, also where nobody calls it.
const TICK: Duration = Duration::from_secs(1);
/// Garbage that is no reason to slow writers down, however small the store is.
const SLACK_BYTES: u64 = 64 << 20;

/// The threads of a store.
#[derive(Debug, Default)]
pub(crate) struct Compactors(Mutex<Vec<JoinHandle<()>>>);

/// What weighing has found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weight {
    /// Whether garbage is beyond its bound, and some of it was freed already.
    waits_for_checkpoint: bool,
}

/// What to compact, and how.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let gently = kogia::CompactOptions { bytes_per_second: Some(10 << 20), ..Default::default() };
/// let report = store.compact(&gently)?;
/// assert_eq!(report.tracks, 0);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Default)]
pub struct CompactOptions {
    /// Only these tracks, whatever garbage is in them; default all that are worth it.
    pub tracks: Option<Vec<TrackId>>,
    /// Only tracks on these disks; default all.
    pub disks: Option<Vec<DiskId>>,
    /// Tracks of which at least this share is garbage, 0 to 1; default 0.05. At 0 all are rewritten.
    pub min_garbage: Option<f64>,
    /// Bytes that are copied a second at most; default as many as there come.
    pub bytes_per_second: Option<u64>,
    /// Called now and then; it ends the compaction by answering `false`, after at most the slice
    /// that is being copied. What was done until then stays done.
    pub on_progress: Option<Box<OnCompaction>>,
}

/// Called with the progress of a compaction; gives whether to go on.
pub type OnCompaction = dyn Fn(&CompactReport) -> bool + Send + Sync;

impl std::fmt::Debug for CompactOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let options = &mut f.debug_struct("CompactOptions");
        options.field("tracks", &self.tracks).field("disks", &self.disks);
        options.field("min_garbage", &self.min_garbage).finish_non_exhaustive()
    }
}

/// What a compaction has done.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// let report: kogia::CompactReport = store.maintain()?;
/// assert!(!report.stopped && report.blocked.is_empty());
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CompactReport {
    /// Tracks that were passed over, to their end.
    pub tracks: u64,
    /// Bytes that were copied.
    pub copied_bytes: u64,
    /// Records that were copied.
    pub copied_records: u64,
    /// Bytes that all tracks of the store took before.
    pub before_bytes: u64,
    /// Bytes that they take now.
    pub after_bytes: u64,
    /// The track that is being passed over.
    pub track: Option<TrackId>,
    /// Tracks that still have to be passed over, that one included.
    pub tracks_left: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Whether snapshots or readers hold back so much that it could not go on.
    pub held_back: bool,
    /// Tracks that can't be read to their end: what lives in them stays.
    pub blocked: Vec<TrackId>,
}

impl Compactors {
    /// Starts a thread for each disk.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<Self> {
        let threads = Compactors::default();
        for volume in shared.volumes.all().iter() {
            threads.add(shared, volume)?;
        }
        Ok(threads)
    }

    /// Starts a thread for a disk, unless the store does without.
    pub(crate) fn add(&self, shared: &Arc<Shared>, volume: &Arc<Volume>) -> Result<()> {
        if !shared.options.compaction {
            return Ok(());
        }
        let (shared, volume_there) = (shared.clone(), volume.clone());
        let name = format!("kogia-pack-{}", &volume.disk.id.to_string()[..4]);
        let thread = std::thread::Builder::new().name(name);
        let thread = thread
            .spawn(move || run(&shared, &volume_there))
            .map_err(|e| Error::io("start a thread for the disk", &volume.disk.path, e))?;
        self.0.lock().expect("no panic holds it").push(thread);
        Ok(())
    }

    /// Ends the threads, each within the slice that it is copying.
    pub(crate) fn stop(&self, shared: &Shared) {
        shared.compaction.stop();
        let threads = std::mem::take(&mut *self.0.lock().expect("no panic holds it"));
        for thread in threads {
            // It does not panic; if it did, the store is closed all the same.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, volume: &Arc<Volume>) {
    let control = &shared.compaction;
    let mut outputs = Outputs::default();
    // What readers hold back, as of which batch: until they are done, nothing is copied.
    let mut held_as_of = None;
    while control.sleep(TICK) && shared.volumes.of(volume.disk.id).is_some() {
        if shared.weigh().waits_for_checkpoint {
            shared.checkpoints.request();
        }
        shared.seal_worn(volume, &mut outputs);
        held_as_of = held_as_of.filter(|batch| shared.pins.oldest() < *batch);
        while held_as_of.is_none() && may_run(shared) {
            match step(shared, volume, &mut outputs) {
                Some(End::Done) => {}
                Some(End::HeldBack) => held_as_of = Some(outputs.debt.batch),
                // A track may be worth a pass again and again, where it can't be finished; not at once.
                _ => break,
            }
        }
        if is_given_up(shared, volume)
            && let Err(error) = outputs.seal(shared)
        {
            // Where it is drained, the drain waits for them.
            tracing::warn!(%error, "compaction's last tracks stay open");
        }
    }
    if let Err(error) = outputs.seal(shared) {
        tracing::warn!(%error, "compaction's last tracks stay open until the next open");
    }
}

/// Whether the disks' own threads may compact now. At the bound the hours count no more.
fn may_run(shared: &Shared) -> bool {
    let control = &shared.compaction;
    let hour = (now_ms() / 3_600_000 % 24) as u8;
    let in_hours = shared.options.compaction_hours.as_ref().is_none_or(|hours| {
        let (start, end) = (hours.start, hours.end);
        if start <= end { (start..end).contains(&hour) } else { hour >= start || hour < end }
    });
    !control.is_stopped() && !control.is_paused() && (in_hours || control.is_pressed())
}

/// Whether the disk fails or is drained, and there are others.
fn is_given_up(shared: &Shared, volume: &Volume) -> bool {
    !volume.takes_puts() && shared.volumes.any_takes_puts()
}

/// Compacts the disk's best track, if any is worth it.
fn step(shared: &Shared, volume: &Arc<Volume>, outputs: &mut Outputs) -> Option<End> {
    if shared.check_poison().is_err() || is_given_up(shared, volume) {
        return None;
    }
    let choice = shared
        .choose(volume, Zeal::Background, outputs.gathers)
        .or_else(|| shared.seal_for_room(volume));
    outputs.gathers = choice.is_some_and(|choice| choice.gathers);
    let track = choice?.track;
    let control = &shared.compaction;
    let steering = Steering {
        control,
        go_on: &|| may_run(shared) && !is_given_up(shared, volume),
        // Half way from where it begins to the bound, the limit doubles; at the bound there is none.
        rate: &|| if control.is_pressed() { None } else { shared.eager_rate(volume) },
        target: Target::Same,
    };
    let ended = pass(shared, &steering, outputs, track);
    match &ended {
        Ok(Some(End::Done)) => shared.checkpoints.request(),
        Ok(Some(End::Blocked)) => control.block(track),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Full => {
            tracing::warn!(%error, "no room to compact");
        }
        Err(error) => {
            tracing::error!(%error, %track, "compaction failed");
            volume.fail(error);
            if !error.is_shortage() {
                control.block(track);
            }
        }
    }
    shared.seal_worn(volume, outputs);
    shared.weigh();
    ended.ok().flatten()
}

/// Passes over a track, unless another compaction does or it is gone.
fn pass(
    shared: &Shared,
    steering: &Steering<'_>,
    outputs: &mut Outputs,
    track: TrackId,
) -> Result<Option<End>> {
    let Some(busy) = shared.compaction.take(track) else { return Ok(None) };
    tracing::info!(%track, "compacting");
    let ended = Pass::new(shared, steering, outputs, &busy).and_then(Pass::run);
    match ended {
        // It died and was unlinked before it was taken.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        ended => {
            let end = ended?;
            tracing::info!(%track, ?end, "compacted");
            Ok(Some(end))
        }
    }
}

impl Shared {
    /// The disk's best track.
    fn choose(&self, volume: &Volume, zeal: Zeal, gathers: bool) -> Option<Choice> {
        let excluded = self.compaction.excluded();
        self.choose_of(&self.books().tracks, volume, &excluded, zeal, gathers)
    }

    fn choose_of(
        &self,
        tracks: &BTreeMap<TrackId, TrackRow>,
        volume: &Volume,
        excluded: &BTreeSet<TrackId>,
        zeal: Zeal,
        gathers: bool,
    ) -> Option<Choice> {
        let situation = Situation {
            disk: volume.disk.id,
            punches: volume.holes_are_room(),
            refills: self.options.refill,
            track_chunks: self.options.track_chunks(),
            max_amplification: self.options.max_space_amplification,
            excluded,
            now_ms: now_ms(),
        };
        policy::choose(tracks.iter(), &situation, zeal, gathers)
    }

    /// Where garbage has reached the bound and no sealed track is worth it, it is in the active one:
    /// that is sealed, to be compacted.
    fn seal_for_room(&self, volume: &Arc<Volume>) -> Option<Choice> {
        let mut room = self.room(|_| true);
        // What is pending comes back by itself: nothing is copied for its sake.
        room.used = room.used.saturating_sub(room.pending);
        if !self.is_over(&room) || !self.active_is_worth_it(volume) {
            return None;
        }
        self.seal_active(volume).ok()?;
        self.choose(volume, Zeal::Background, false)
    }

    fn active_is_worth_it(&self, volume: &Volume) -> bool {
        volume.last_track().is_some_and(|(active, _)| self.is_worn(volume, active))
    }

    /// Whether a track to which something is still appended is worth a pass.
    fn is_worn(&self, volume: &Volume, track: TrackId) -> bool {
        let books = self.books();
        let row = books.tracks.get(&track).filter(|row| row.sealed.is_none());
        row.is_some_and(|row| Room::of(row, volume.holes_are_room()).share() >= 0.1)
    }

    fn seal_worn(&self, volume: &Volume, outputs: &mut Outputs) {
        if let Err(error) = outputs.seal_worn(self, |track| self.is_worn(volume, track)) {
            tracing::warn!(%error, "tracks that compaction has written stay open");
        }
    }

    /// Whether garbage is beyond its bound.
    fn is_over(&self, room: &Room) -> bool {
        let most = room.cost as f64 * self.options.max_space_amplification;
        let slack = SLACK_BYTES.min(self.options.track_bytes) * self.volumes.all().len() as u64;
        room.used as f64 > most + slack as f64
    }

    /// Ends the disk's active track, and tells the index.
    pub(crate) fn seal_active(&self, volume: &Arc<Volume>) -> Result<()> {
        let sealed = volume.seal_active()?;
        if sealed.is_empty() {
            return Ok(());
        }
        step!("active.sealed");
        self.change(&mut self.books(), |join| {
            for sealed in &sealed {
                match join.track(sealed.track) {
                    Some(row) => row.sealed = Some(sealed.end),
                    // Its first chain is on its way to the index.
                    None if sealed.end > 1 => volume.tell_later(*sealed),
                    None => {}
                }
            }
            Ok(())
        })?;
        sealed.iter().for_each(|sealed| self.files.seal(sealed.track, sealed.end));
        step!("active.seal-known");
        Ok(())
    }

    /// The limit: twice as much when garbage has come three quarters of the way to the bound.
    fn eager_rate(&self, volume: &Volume) -> Option<u64> {
        let rate = self.compaction.rate()?;
        let room = self.room(|disk| disk == volume.disk.id);
        let near = 1.0 + (self.options.max_space_amplification - 1.0) * 0.75;
        Some(if room.amplification() > near { rate.saturating_mul(2) } else { rate })
    }

    pub(super) fn room(&self, of: impl Fn(DiskId) -> bool) -> Room {
        let volumes = self.volumes.all();
        let punches = |disk: DiskId| {
            volumes.iter().any(|volume| volume.disk.id == disk && volume.holes_are_room())
        };
        let mut all = Room::default();
        for row in self.books().tracks.values().filter(|row| of(row.disk)) {
            all.add(Room::of(row, punches(row.disk)));
        }
        all
    }

    /// Weighs the garbage against its bound: at the bound writers wait for space to come back,
    /// unless compaction can bring none.
    pub(crate) fn weigh(&self) -> Weight {
        let control = &self.compaction;
        if !self.options.compaction || control.is_paused() || control.is_stopped() {
            control.press(false);
            return Weight::default();
        }
        let mut volumes = self.volumes.all().to_vec();
        volumes.retain(|volume| !is_given_up(self, volume));
        let mut room = self.room(|disk| volumes.iter().any(|volume| volume.disk.id == disk));
        room.used = room.used.saturating_sub(control.held());
        room.pending = room.pending.saturating_sub(control.held());
        let over = self.is_over(&room);
        let wanted = |volume: &Arc<Volume>| {
            self.choose(volume, Zeal::Background, false).is_some()
                || self.active_is_worth_it(volume)
        };
        // For readers that hold the space nobody waits.
        let (oldest, durable) = (self.pins.oldest(), self.checkpoints.durable_batch());
        let over = over && !control.is_held_back(oldest, durable);
        control.press(over && (room.pending > 0 || volumes.iter().any(wanted)));
        Weight { waits_for_checkpoint: over && room.pending > 0 }
    }

    /// Compacts in the caller's thread, to the end.
    pub(crate) fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        let mut report =
            CompactReport { before_bytes: self.room(|_| true).used, ..CompactReport::default() };
        let mut outputs = Outputs::default();
        let outcome = self.compact_all(options, &mut outputs, &mut report);
        outputs.seal(self)?;
        outcome?;
        step!("compact.copied");
        self.give_back_all(report.stopped)?;
        step!("compact.ended");
        report.after_bytes = self.room(|_| true).used;
        Ok(report)
    }

    /// Gives back what there is. Tombstones that are forgotten let tracks go, whose floors held other
    /// tombstones back: so it is done again while it brings anything.
    fn give_back_all(&self, once: bool) -> Result<()> {
        const MOST_ROUNDS: usize = 4;
        for _ in 0..MOST_ROUNDS {
            let (graves, used) = (self.graves(), self.room(|_| true).used);
            self.tidy()?;
            let (graves_now, used_now) = (self.graves(), self.room(|_| true).used);
            if once || (graves_now >= graves && used_now >= used) {
                break;
            }
        }
        Ok(())
    }

    fn graves(&self) -> u64 {
        self.books().state.graves
    }

    fn compact_all(
        &self,
        options: &CompactOptions,
        outputs: &mut Outputs,
        report: &mut CompactReport,
    ) -> Result<()> {
        let volumes: Vec<_> =
            self.volumes.all().iter().filter(|volume| options.concerns(volume)).cloned().collect();
        let volumes: Vec<_> =
            volumes.into_iter().filter(|volume| !self.volumes.are_without(volume)).collect();
        for volume in &volumes {
            self.seal_if_worth_it(volume, options)?;
        }
        let tracks = self.books().tracks.clone();
        let victims = volumes.iter().map(|volume| self.victims(&tracks, volume, options));
        let victims: Vec<Vec<TrackId>> = victims.collect();
        report.tracks_left = victims.iter().map(|victims| victims.len() as u64).sum();
        for (volume, victims) in volumes.iter().zip(victims) {
            let outcome = self.compact_disk(victims, options, outputs, report);
            self.isolate(volume, outcome)?;
            if report.stopped || report.held_back {
                return Ok(());
            }
        }
        Ok(())
    }

    fn compact_disk(
        &self,
        victims: Vec<TrackId>,
        options: &CompactOptions,
        outputs: &mut Outputs,
        report: &mut CompactReport,
    ) -> Result<()> {
        for track in victims {
            self.compact_one(track, Target::Same, options, outputs, report)?;
            if report.stopped || report.held_back {
                break;
            }
            report.tracks_left -= 1;
        }
        Ok(())
    }

    /// Seals the active track where it would be compacted if it were sealed.
    fn seal_if_worth_it(&self, volume: &Arc<Volume>, options: &CompactOptions) -> Result<()> {
        let tracks = self.books().tracks.clone();
        match active_worth_it(&tracks, volume, options) {
            Some(_) => self.seal_active(volume),
            None => Ok(()),
        }
    }

    /// The tracks to compact, the best first.
    pub(super) fn victims(
        &self,
        tracks: &BTreeMap<TrackId, TrackRow>,
        volume: &Volume,
        options: &CompactOptions,
    ) -> Vec<TrackId> {
        let mut excluded = self.compaction.excluded();
        if let Some(only) = &options.tracks {
            let is_there =
                |id: &&TrackId| tracks.get(id).is_some_and(|row| row.disk == volume.disk.id);
            return only.iter().filter(is_there).copied().collect();
        }
        let (mut victims, mut gathers) = (Vec::new(), false);
        let zeal = Zeal::Thorough(options.share());
        while let Some(choice) = self.choose_of(tracks, volume, &excluded, zeal, gathers) {
            excluded.insert(choice.track);
            victims.push(choice.track);
            gathers = choice.gathers;
        }
        victims
    }

    pub(super) fn compact_one(
        &self,
        track: TrackId,
        target: Target,
        options: &CompactOptions,
        outputs: &mut Outputs,
        report: &mut CompactReport,
    ) -> Result<()> {
        let disk = self.books().tracks.get(&track).map(|row| row.disk);
        let Some(disk) = disk else { return Ok(()) };
        let control = Control::new(options.bytes_per_second);
        let now = |report: &CompactReport| {
            let progress = control.status(0).disks.get(&disk).copied().unwrap_or_default();
            CompactReport {
                track: progress.track,
                after_bytes: self.room(|_| true).used,
                copied_bytes: report.copied_bytes + progress.copied_bytes,
                copied_records: report.copied_records + progress.copied_records,
                ..report.clone()
            }
        };
        let go_on = || options.on_progress.as_ref().is_none_or(|on| on(&now(report)));
        let steering = Steering {
            control: &control,
            go_on: &go_on,
            rate: &|| options.bytes_per_second,
            target,
        };
        let ended = pass(self, &steering, outputs, track);
        *report = now(report);
        match ended? {
            Some(End::Done) => report.tracks += 1,
            Some(End::Stopped) => report.stopped = true,
            Some(End::HeldBack) => report.held_back = true,
            Some(End::Blocked) => report.blocked.push(track),
            None => {}
        }
        Ok(())
    }
}

/// The disk's active track, where it would be compacted if it were sealed.
pub(super) fn active_worth_it(
    tracks: &BTreeMap<TrackId, TrackRow>,
    volume: &Volume,
    options: &CompactOptions,
) -> Option<TrackId> {
    let (active, _) = volume.last_track()?;
    let row = tracks.get(&active).filter(|row| row.sealed.is_none())?;
    let share = Room::of(row, volume.holes_are_room()).share();
    let is_worth_it = match &options.tracks {
        Some(tracks) => tracks.contains(&active),
        // The header alone is no garbage to speak of.
        None => share >= options.share() && row.dead_records + row.graves > 0,
    };
    is_worth_it.then_some(active)
}

impl CompactOptions {
    fn share(&self) -> f64 {
        self.min_garbage.unwrap_or(0.05)
    }

    pub(super) fn concerns(&self, volume: &Volume) -> bool {
        self.disks.as_ref().is_none_or(|only| only.contains(&volume.disk.id))
    }
}
