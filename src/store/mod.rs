//! The store: what callers see. It knows no bytes of any format and names no RocksDB.

mod apply_lock;
mod backup;
mod budget;
mod checkpoint;
mod encoder;
mod forget;
mod gate;
mod housekeeper;
mod ledger;
mod list;
mod look_ahead;
mod moment;
mod object;
mod paging;
mod parts;
mod pins;
mod read;
mod reader;
mod reclaim;
mod refill;
mod reserve;
mod retention;
mod shared;
mod snapshot;
mod stats;
mod stream;
mod volumes;
mod walk;
mod write;

use std::ops::{Range, RangeBounds};
use std::path::Path;
use std::sync::Arc;

pub(crate) use backup::UNFINISHED_FILE;
pub(crate) use encoder::Encoder;
pub(crate) use ledger::{Ledger, META_FILE};
pub(crate) use moment::Moment;
pub(crate) use read::{Packed, Source};
pub(crate) use reserve::Reserve;
pub(crate) use shared::{Locks, Parts, Shared, now_ms};

pub use backup::{BackupOptions, BackupReport, LinkMode};
pub use list::{Item, Iter, Page};
pub use object::{DeleteOptions, Info, PutOptions};
pub use paging::ListOptions;
pub use reader::Reader;
pub use retention::{ExpireOptions, ExpireReport, RetentionRule};
pub use snapshot::Snapshot;
pub use stats::{DiskStats, SpaceStats, Stats};
pub use stream::{PartId, PartInfo, PartWriter, Writer};
pub use write::Batch;

use crate::compaction::{CompactOptions, CompactReport, CompactionStatus, Compactors, TrackStats};
use crate::error::Result;
use crate::format::{DiskId, Seq, StoreId};
use crate::index::ViewRef;
use crate::options::{Durability, Options};
use crate::recovery::{RecoveryReport, VerifyOptions, VerifyReport};
use housekeeper::Housekeeper;

/// An open store. All methods may be called from any number of threads at once.
///
/// Dropping it closes it; [`close`](Self::close) does the same and says whether it went well.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let store = kogia::Store::open(dir.path().join("store"))?;
/// store.put("camera-1/0001.ts", b"media")?;
/// assert_eq!(store.get("camera-1/0001.ts")?.as_deref(), Some(&b"media"[..]));
/// assert!(store.delete("camera-1/0001.ts")?);
/// store.close()?;
/// # Ok::<_, kogia::Error>(())
/// ```
pub struct Store {
    shared: Arc<Shared>,
    housekeeper: Housekeeper,
    compactors: Compactors,
    closed: bool,
}

impl Store {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self> {
        let housekeeper = Housekeeper::start(&shared)?;
        let compactors = Compactors::start(&shared)?;
        Ok(Store { shared, housekeeper, compactors, closed: false })
    }

    /// Opens the store at `home` with the default [`Options`], creating it where there is none.
    ///
    /// After a crash this reads what was written since the last checkpoint. Fails with
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked) if the store is open elsewhere, and with
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if acknowledged data is damaged.
    pub fn open(home: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(home)
    }

    /// Throws the index of the store at `home` away, makes it anew from the tracks, and opens the
    /// store. Reads the directories of all tracks, and values only where a crash may have torn
    /// them.
    pub fn rebuild(home: impl AsRef<Path>) -> Result<Self> {
        Options::new().rebuild(home)
    }

    /// Puts an object, whole; gives its seq.
    ///
    /// Keys are 1 to 65,535 bytes, values any length. Costs one append and, under
    /// [`Durability::Sync`], one sync, both shared with the puts of other threads; values of more
    /// than four times [`Options::segment_bytes`] are streamed. Fails with
    /// [`ErrorKind::Full`](crate::ErrorKind::Full) where no disk has room.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seq> {
        self.put_with(key, value, &PutOptions::default())
    }

    /// Puts an object with attributes, until a time, under a condition, or with a durability of its
    /// own.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &PutOptions,
    ) -> Result<Seq> {
        self.shared.put(key.as_ref(), value.as_ref(), options)
    }

    /// An object's value; `None` if it is not there.
    ///
    /// Costs a look-up and one read. Fails with
    /// [`ErrorKind::Corruption`](crate::ErrorKind::Corruption), naming track and chunk, rather than
    /// give bytes that were not written.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.map(|_| value))
    }

    /// Reads an object's value into `value`, whose memory is used again; gives what is known of
    /// the object.
    pub fn get_into(&self, key: impl AsRef<[u8]>, value: &mut Vec<u8>) -> Result<Option<Info>> {
        let _pin = self.shared.pins.pin();
        let (view, moment) = (self.shared.index.view(), self.shared.moment());
        self.shared.get(&view, &moment, key.as_ref(), None, value)
    }

    /// The bytes of an object from `range.start` up to `range.end` or its end, whichever comes
    /// first. A start behind the end is
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn get_range(&self, key: impl AsRef<[u8]>, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        Ok(self.get_range_into(key, range, &mut value)?.map(|_| value))
    }

    /// Reads a part of an object, as [`get_range`](Self::get_range) does, into `value`, whose memory
    /// is used again; gives what is known of the object.
    pub fn get_range_into(
        &self,
        key: impl AsRef<[u8]>,
        range: Range<u64>,
        value: &mut Vec<u8>,
    ) -> Result<Option<Info>> {
        let _pin = self.shared.pins.pin();
        let (view, moment) = (self.shared.index.view(), self.shared.moment());
        self.shared.get(&view, &moment, key.as_ref(), Some(range), value)
    }

    /// What is known of an object. No track is touched.
    pub fn head(&self, key: impl AsRef<[u8]>) -> Result<Option<Info>> {
        self.shared.head(&self.shared.index.view(), &self.shared.moment(), key.as_ref())
    }

    /// Whether an object is there. No track is touched.
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.head(key)?.is_some())
    }

    /// Deletes an object; gives whether it was there. Costs what a small put costs.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.delete_with(key, &DeleteOptions::default())
    }

    /// Deletes an object under a condition, or with a durability of its own.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: &DeleteOptions) -> Result<bool> {
        self.shared.delete(key.as_ref(), options)
    }

    /// A stream that becomes an object when it is committed.
    pub fn writer(&self, key: impl AsRef<[u8]>) -> Result<Writer<'_>> {
        self.writer_with(key, PutOptions::default())
    }

    /// A stream with attributes, conditions or durability. The conditions are checked at commit.
    pub fn writer_with(&self, key: impl AsRef<[u8]>, options: PutOptions) -> Result<Writer<'_>> {
        Writer::new(&self.shared, key.as_ref(), options)
    }

    /// A reader of an object; `None` if it is not there.
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<Reader<'_>>> {
        let pin = self.shared.pins.pin();
        let view = ViewRef::Own(self.shared.index.snapshot());
        Reader::open(&self.shared, view, &self.shared.moment(), Some(pin), key.as_ref())
    }

    /// A stream that becomes a part when it is finished.
    pub fn part(&self) -> Result<PartWriter<'_>> {
        PartWriter::new(&self.shared)
    }

    /// Makes an object of parts, one behind the other, without copying a byte. The parts are used
    /// up. [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if one is not there any more.
    pub fn assemble(
        &self,
        key: impl AsRef<[u8]>,
        parts: &[PartId],
        options: &PutOptions,
    ) -> Result<Seq> {
        self.shared.assemble(key.as_ref(), parts, options)
    }

    /// Makes an object longer by parts, behind the bytes that it has, without copying any of either.
    /// The parts are used up; attributes and times are those of the options. The object has to be the
    /// one that was put with `seq`, or nothing is done and it is
    /// [`ErrorKind::Condition`](crate::ErrorKind::Condition); of the options, the condition does not
    /// count.
    ///
    /// `None` if the object's bytes lie beside its record, not in segments: as it was put whole, with
    /// four times [`Options::segment_bytes`] at most. Make a part of them, and
    /// [`assemble`](Self::assemble) it with the others.
    ///
    /// Costs what the record costs, which names all segments.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = kogia::Store::open(dir.path()).unwrap();
    /// use std::io::Write;
    ///
    /// let part = |bytes: &[u8]| -> Result<_, Box<dyn std::error::Error>> {
    ///     let mut part = store.part()?;
    ///     part.write_all(bytes)?;
    ///     Ok(part.finish()?.id)
    /// };
    /// let seq = store.assemble("live", &[part(b"one ")?], &kogia::PutOptions::default())?;
    /// store.extend("live", seq, &[part(b"two")?], &kogia::PutOptions::default())?.expect("segments");
    /// assert_eq!(store.get("live")?.as_deref(), Some(&b"one two"[..]));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend(
        &self,
        key: impl AsRef<[u8]>,
        seq: Seq,
        parts: &[PartId],
        options: &PutOptions,
    ) -> Result<Option<Seq>> {
        self.shared.extend(key.as_ref(), seq, parts, options)
    }

    /// A reader of a part; `None` if it is not there any more.
    pub fn part_reader(&self, part: PartId) -> Result<Option<Reader<'_>>> {
        let pin = self.shared.pins.pin();
        let view = ViewRef::Own(self.shared.index.snapshot());
        Reader::open_part(&self.shared, view, Some(pin), part)
    }

    /// Frees a part; gives whether it was there.
    pub fn discard_part(&self, part: PartId) -> Result<bool> {
        self.shared.discard_part(part)
    }

    /// The parts that were finished and neither assembled nor discarded. They are kept for
    /// [`Options::part_max_age`].
    pub fn parts(&self) -> Result<Vec<PartInfo>> {
        self.shared.parts()
    }

    /// Carries out a batch, all or nothing; gives the seqs of its operations.
    ///
    /// Its keys, values and attributes are a quarter of [`Options::memory_bytes`] at most, and not
    /// over 512 MiB; more is [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument).
    pub fn write(&self, batch: Batch) -> Result<Vec<Seq>> {
        self.shared.write(&batch, None)
    }

    /// Carries out a batch with a durability of its own.
    pub fn write_with(&self, batch: Batch, durability: Durability) -> Result<Vec<Seq>> {
        self.shared.write(&batch, Some(durability))
    }

    /// One page of a listing in byte order. No track is touched.
    ///
    /// However many keys lie below the common prefixes, a page costs what it returns: where the
    /// delimiter is `/`, a step for each of them; else a seek.
    pub fn list(&self, options: &ListOptions) -> Result<Page> {
        list::list(&self.shared.index.snapshot(), &self.shared.moment(), options)
    }

    /// The same, if all that it takes is in memory and not much that has expired or was deleted lies
    /// between; else [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock). For threads that may not wait
    /// for a disk, as those of an async runtime.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let store = kogia::Store::open(dir.path()).unwrap();
    /// # let options = kogia::ListOptions::default();
    /// let page = match store.try_list(&options) {
    ///     // On a thread that may wait.
    ///     Err(error) if error.kind() == kogia::ErrorKind::WouldBlock => store.list(&options)?,
    ///     page => page?,
    /// };
    /// # Ok::<_, kogia::Error>(())
    /// ```
    pub fn try_list(&self, options: &ListOptions) -> Result<Page> {
        list::list(&self.shared.index.snapshot_of_memory(), &self.shared.moment(), options)
    }

    /// The objects of a range of keys, from either end, as they are now.
    pub fn iter(&self, range: impl RangeBounds<Vec<u8>>) -> Iter<'_> {
        Iter::new(ViewRef::Own(self.shared.index.snapshot()), self.shared.moment(), range)
    }

    /// The store as it is now, and stays in the snapshot.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot::new(&self.shared))
    }

    /// Makes all acknowledged writes durable, those under [`Durability::Os`] too. One sync a disk.
    pub fn sync(&self) -> Result<()> {
        self.shared.sync()
    }

    /// Makes the index durable, so that opening after a crash has nothing to replay up to here,
    /// and gives back what may be given back.
    pub fn checkpoint(&self) -> Result<()> {
        self.shared.tidy()
    }

    /// Deletes what has expired, and what is over the limits of the rules, as the housekeeper does by
    /// and by; the room follows with the next checkpoint.
    ///
    /// Readers do not need this: an object that has expired is gone for them at that moment. An
    /// object that is overwritten meanwhile stays. Costs a walk over the rows of a prefix, and none
    /// where nothing can have to go; the first after opening goes over all rows.
    pub fn expire(&self) -> Result<ExpireReport> {
        self.expire_with(&ExpireOptions::default())
    }

    /// The same with progress, or as a dry run.
    pub fn expire_with(&self, options: &ExpireOptions) -> Result<ExpireReport> {
        self.shared.expire(options)
    }

    /// The rules in force.
    #[must_use]
    pub fn retention(&self) -> Vec<RetentionRule> {
        self.shared.retention.given()
    }

    /// Replaces the rules. When this returns, readers go by the new ones, and nothing is deleted by
    /// those before. A rule without a limit is
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and none is replaced.
    pub fn set_retention(&self, rules: &[RetentionRule]) -> Result<()> {
        self.shared.set_retention(rules)
    }

    /// Copies the store as it is at one moment into `dir`, which is then a store of its own: whatever
    /// was acknowledged before the call is in it. Writes go on meanwhile.
    ///
    /// A `dir` that holds an earlier backup of this store is brought up to date, and only what has
    /// changed is copied; whenever it is cut off, `dir` opens as the old backup or as the new one,
    /// and a first backup that was cut off is no store. While it lasts no room is given back.
    ///
    /// Costs a checkpoint, and the reading and writing of what can't be shared; see [`LinkMode`].
    /// Fails with [`ErrorKind::Exists`](crate::ErrorKind::Exists) where `dir` holds anything else, or
    /// a backup that was written to since, and with
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked) where it is open.
    #[doc(alias = "checkpoint")]
    #[doc(alias = "snapshot")]
    pub fn backup(&self, dir: impl AsRef<Path>, options: &BackupOptions) -> Result<BackupReport> {
        self.shared.backup(dir.as_ref(), options)
    }

    /// What the store holds, from counters.
    pub fn stats(&self) -> Result<Stats> {
        self.shared.stats()
    }

    /// What each track holds, and what compacting it would bring, from counters.
    pub fn tracks(&self) -> Result<Vec<TrackStats>> {
        Ok(self.shared.tracks())
    }

    /// Compacts, in the caller's thread and to the end, all tracks that are worth it: what lives in
    /// them is copied, and their space given back. Reads and writes go on.
    ///
    /// Needs room for a slice of 8 MiB at most, also on a full disk; where no holes can be punched,
    /// for what lives in a track.
    pub fn maintain(&self) -> Result<CompactReport> {
        self.compact(&CompactOptions::default())
    }

    /// Compacts as the options say.
    pub fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        self.shared.compact(options)
    }

    /// Makes `dir` a further disk of the store: an empty directory, or a disk that other stores
    /// use already. New objects go to it at once; [`rebalance`](Self::rebalance) moves old ones.
    /// Fails with [`ErrorKind::Disk`](crate::ErrorKind::Disk) where `dir` is anything else.
    pub fn add_disk(&self, dir: impl AsRef<Path>) -> Result<DiskId> {
        let volume = self.shared.add_disk(dir.as_ref())?;
        self.compactors.add(&self.shared, &volume)?;
        Ok(volume.disk.id)
    }

    /// Moves everything that lives on a disk to the others; when that is done, the disk is the
    /// store's no more, and can be unplugged. Reads and writes go on, and no new object goes to it,
    /// also after a crash or where this is stopped: call it again to go on.
    ///
    /// Of the options the rate and the progress count. The report's `held_back` says that readers
    /// or snapshots hold tracks of the disk; its `blocked` that tracks of it can't be read.
    pub fn drain_disk(&self, disk: DiskId, options: &CompactOptions) -> Result<CompactReport> {
        self.shared.drain_disk(disk, options)
    }

    /// Lets new objects go to a disk again whose draining was stopped.
    pub fn keep_disk(&self, disk: DiskId) -> Result<()> {
        self.shared.keep_disk(disk)
    }

    /// Calls with the key and info of each object of which anything, the record or a byte, lies on
    /// the disk; gives how many there are. Looks at the whole index.
    pub fn objects_on(&self, disk: DiskId, mut on_object: impl FnMut(&[u8], &Info)) -> Result<u64> {
        self.shared.objects_on(disk, &mut on_object)
    }

    /// Gives up a disk for good that is missing ([`Options::accept_missing`]) and will not be back:
    /// each object of which anything lies on it is told to `on_object` and deleted, parts likewise,
    /// and the disk is the store's no more. Gives how many objects are lost. Where it is cut off,
    /// call it again.
    ///
    /// If the disk comes back, its tracks are refused: the store has gone on without them.
    /// Fails with `InvalidArgument` where the disk is there, or is the last one.
    pub fn forget_disk(
        &self,
        disk: DiskId,
        mut on_object: impl FnMut(&[u8], &Info),
    ) -> Result<u64> {
        self.shared.forget_disk(disk, &mut on_object)
    }

    /// Moves tracks from the fullest disks to the emptiest, until their shares in use are within
    /// five in a hundred. Of the options the rate and the progress count.
    pub fn rebalance(&self, options: &CompactOptions) -> Result<CompactReport> {
        self.shared.rebalance(options)
    }

    /// The tracks that [`compact`](Self::compact) would pass over with these options, in that order;
    /// changes nothing. Their [`cost_bytes`](TrackStats::cost_bytes) are about what would be copied.
    pub fn plan_compaction(&self, options: &CompactOptions) -> Result<Vec<TrackStats>> {
        Ok(self.shared.plan_compaction(options))
    }

    /// What the disks' compaction threads are doing.
    #[must_use]
    pub fn compaction(&self) -> CompactionStatus {
        self.shared.compaction.status(self.shared.most_swaps_waited_for())
    }

    /// Makes the compaction threads stop, each after the slice that it is copying.
    pub fn pause_compaction(&self) {
        self.shared.compaction.pause(true);
        self.shared.weigh();
    }

    /// Lets them go on.
    pub fn resume_compaction(&self) {
        self.shared.compaction.pause(false);
        self.shared.weigh();
    }

    /// Changes what the compaction threads copy a second at most; `None` is no limit.
    pub fn set_compaction_rate(&self, bytes_per_second: Option<u64>) {
        self.shared.compaction.set_rate(bytes_per_second);
    }

    /// Reads everything and checks every checksum and every cross-reference between index, free
    /// list and tracks. Problems are in the report; an error is one that ended the check.
    pub fn verify(&self, options: &VerifyOptions) -> Result<VerifyReport> {
        crate::recovery::verify(&self.shared, options)
    }

    /// What opening had to do.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared.recovery
    }

    /// A seq that nothing else of this store has had or will have.
    #[cfg(feature = "object_store")]
    pub(crate) fn unused_seq(&self) -> Seq {
        Seq(self.shared.new_part().0)
    }

    /// The store's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.shared.id
    }

    /// The store's directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.shared.home
    }

    /// Closes the store: everything is made durable, and the next open has nothing to replay.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.compactors.stop(&self.shared);
        self.housekeeper.stop(&self.shared);
        self.shared.check_poison()?;
        self.shared.sync()?;
        step!("close.synced");
        self.shared.checkpoint()?;
        step!("close.checkpointed");
        self.shared.volumes.all().iter().try_for_each(|volume| volume.cut_blank())?;
        step!("close.cut");
        self.shared.make_room_for_meta();
        // A disk that was missing has its tracks gone over when it is back.
        let clean = self.shared.unknown_above.is_none();
        self.shared.ledger.update(|meta| meta.clean = clean)?;
        step!("close.named");
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::error!(%error, "the store was not closed cleanly; opening will recover it");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("home", &self.shared.home).finish_non_exhaustive()
    }
}
