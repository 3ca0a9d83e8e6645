//! Every knob.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::compression::LEVELS;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Seq;
use crate::format::chunk::CHUNK_BYTES;
use crate::io::{Io, RealIo};
use crate::store::RetentionRule;

/// The unflushed index takes no more, however much memory is allowed: a checkpoint comes before
/// RocksDB would flush by itself.
pub(crate) const MEMTABLE_AT_MOST_BYTES: usize = 16 << 30;

/// When a write is acknowledged.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::{Durability, Options, PutOptions};
///
/// # let home = dir.path();
/// let store = Options::new().durability(Durability::Os).open(home)?;
/// store.put("preview", "soon durable")?;
/// let now = PutOptions { durability: Some(Durability::Sync), ..PutOptions::default() };
/// store.put_with("evidence", "durable when this returns", &now)?;
/// store.sync()?; // now the preview is, too
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// When the device has it: it survives the death of the process and of the machine.
    #[default]
    Sync,
    /// When the operating system has it: it survives the death of the process. If the machine
    /// dies, the writes of the last [`Options::sync_interval`] may be lost, always a suffix of
    /// what each disk was given, and never a part of an object.
    Os,
}

/// What must hold of a key for a put or delete to be carried out.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let store = kogia::Store::open(dir.path()).unwrap();
/// use kogia::{Condition, ErrorKind, PutOptions};
///
/// let seq = store.put("counter", "1")?;
/// let from_one = PutOptions { condition: Condition::IfSeq(seq), ..PutOptions::default() };
/// store.put_with("counter", "2", &from_one)?;
/// let too_late = store.put_with("counter", "2", &from_one).unwrap_err();
/// assert_eq!(too_late.kind(), ErrorKind::Condition);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Anything.
    #[default]
    Always,
    /// No object has the key.
    IfAbsent,
    /// An object has the key.
    IfPresent,
    /// The key's object is the one that was put with this seq.
    IfSeq(Seq),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Always => f.write_str("nothing"),
            Condition::IfAbsent => f.write_str("only if absent"),
            Condition::IfPresent => f.write_str("only if present"),
            Condition::IfSeq(seq) => write!(f, "only if the seq is {seq}"),
        }
    }
}

/// What opening does where there is no store, or one already.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::{Create, ErrorKind, Options};
///
/// # let home = dir.path().join("store");
/// let nothing_there = Options::new().create(Create::Never).open(&home).unwrap_err();
/// assert_eq!(nothing_there.kind(), ErrorKind::NotFound);
/// Options::new().create(Create::Always).open(&home)?.close()?;
/// let there_already = Options::new().create(Create::Always).open(&home).unwrap_err();
/// assert_eq!(there_already.kind(), ErrorKind::Exists);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Create {
    /// Creates a store where there is none.
    #[default]
    IfMissing,
    /// Only opens.
    Never,
    /// Only creates.
    Always,
}

/// What a long operation is busy with.
///
/// ```
/// assert_eq!(kogia::Phase::Rebuild.to_string(), "rebuilding the index");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Reading what was written since the last checkpoint.
    Replay,
    /// Making the index anew from the tracks.
    Rebuild,
    /// Reading everything.
    Verify,
    /// Looking for what has expired.
    Expire,
    /// Copying the tracks.
    Backup,
    /// Going over the items of a queue.
    Rewrite,
}

/// How far a long operation has come.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::{Options, Progress};
///
/// # let home = dir.path();
/// # kogia::Store::open(home)?.put("key", "value")?;
/// let print = |now: &Progress| {
///     eprintln!("{}: {} of {} bytes", now.phase, now.done_bytes, now.total_bytes);
/// };
/// let store = Options::new().on_progress(print).rebuild(home)?;
/// assert!(store.recovery().rebuilt);
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The operation.
    pub phase: Phase,
    /// Bytes passed over so far.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Records seen so far; when verifying, objects and parts; when expiring, objects; when backing
    /// up, tracks; when rewriting, items.
    pub records: u64,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Replay => "replaying",
            Phase::Rebuild => "rebuilding the index",
            Phase::Verify => "verifying",
            Phase::Expire => "expiring",
            Phase::Backup => "backing up",
            Phase::Rewrite => "rewriting",
        })
    }
}

/// Called with each step of a long operation, from the thread that carries it out.
pub type OnProgress = dyn Fn(&Progress) + Send + Sync;

/// Called with each step of a long operation that can be called off, from the thread that carries it
/// out; gives whether to go on.
pub type OnStep = dyn Fn(&Progress) -> bool + Send + Sync;

impl Progress {
    /// Tells how far it has come; an error of kind `Cancelled` where it is called off by that.
    pub(crate) fn tell(&self, on_step: Option<&OnStep>, called_off: &'static str) -> Result<()> {
        if on_step.is_none_or(|goes_on| goes_on(self)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Cancelled, called_off))
    }
}

/// Gives the shard of an object by its key, length and expiry.
pub(crate) type Shard = dyn Fn(&[u8], u64, Option<u64>) -> u8 + Send + Sync;

/// Gives the time, in milliseconds since 1970.
pub(crate) type Clock = dyn Fn() -> u64 + Send + Sync;

/// How a store is opened. Only the disks are remembered: all else is as each opening says.
///
/// ```
/// # fn main() -> kogia::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (home, a, b) = (dir.path().join("home"), dir.path().join("a"), dir.path().join("b"));
/// let store = kogia::Options::new()
///     .disk(a)
///     .disk(b)
///     .memory_bytes(128 << 20)
///     .open(home)?;
/// store.put("camera-1/0001.ts", b"media")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) disks: Vec<PathBuf>,
    pub(crate) index_dir: Option<PathBuf>,
    pub(crate) create: Create,
    pub(crate) durability: Durability,
    pub(crate) sync_interval: Duration,
    pub(crate) memory_bytes: usize,
    pub(crate) track_bytes: u64,
    pub(crate) segment_bytes: usize,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) reserve_bytes: u64,
    pub(crate) refill: bool,
    pub(crate) punch: bool,
    pub(crate) map_tracks: bool,
    pub(crate) accept_loss: bool,
    pub(crate) accept_missing: bool,
    pub(crate) part_max_age: Option<Duration>,
    pub(crate) compaction: bool,
    pub(crate) compaction_rate: Option<u64>,
    pub(crate) compaction_hours: Option<Range<u8>>,
    pub(crate) max_space_amplification: f64,
    pub(crate) shard: Option<Arc<Shard>>,
    pub(crate) compression: Option<i32>,
    pub(crate) retention: Vec<RetentionRule>,
    pub(crate) io: Arc<dyn Io>,
    pub(crate) on_progress: Option<Arc<OnProgress>>,
    pub(crate) clock: Arc<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            disks: Vec::new(),
            index_dir: None,
            create: Create::default(),
            durability: Durability::default(),
            sync_interval: Duration::from_secs(1),
            memory_bytes: 64 << 20,
            track_bytes: 1 << 30,
            segment_bytes: 1 << 20,
            checkpoint_bytes: 1 << 30,
            checkpoint_interval: Duration::from_secs(30),
            reserve_bytes: 32 << 20,
            refill: false,
            punch: true,
            map_tracks: true,
            accept_loss: false,
            accept_missing: false,
            part_max_age: Some(Duration::from_secs(7 * 24 * 3600)),
            compaction: true,
            compaction_rate: Some(64 << 20),
            compaction_hours: None,
            max_space_amplification: 1.3,
            shard: None,
            compression: None,
            retention: Vec::new(),
            io: Arc::new(RealIo),
            on_progress: None,
            clock: Arc::new(crate::store::now_ms),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory for tracks, normally one a mount; to be called once a disk. Without any, a
    /// store has the disks that it had last time, and a new one has `tracks/` in its home. A
    /// directory that is new to the store is added to it.
    #[must_use]
    pub fn disk(mut self, dir: impl Into<PathBuf>) -> Self {
        self.disks.push(dir.into());
        self
    }

    /// Where the index lies; default `index/` in the store's home. Not remembered.
    #[must_use]
    pub fn index_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.index_dir = Some(dir.into());
        self
    }

    /// What to do where there is no store, or one already; default [`Create::IfMissing`].
    #[must_use]
    pub fn create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// When writes that do not say otherwise are acknowledged; default [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The longest that a write under [`Durability::Os`] waits for its sync; default 1 s.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// What the store's buffers, caches and unflushed index may take in memory, in bytes; default
    /// 64 MiB, at least 16 MiB. Mapped tracks are the page cache's and do not count.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// The size at which a track is sealed and a new one begun, in bytes; default 1 GiB, 64 KiB
    /// to 1 TiB. An append that is larger has a track of its own.
    #[must_use]
    pub fn track_bytes(mut self, bytes: u64) -> Self {
        self.track_bytes = bytes;
        self
    }

    /// The size of the pieces in which large objects are dealt over the disks, in bytes; default
    /// 1 MiB, 32 KiB to 64 MiB. Objects of more than four pieces are dealt; very large ones get
    /// larger pieces, and streams smaller ones where many of them share the memory.
    /// [`memory_bytes`](Self::memory_bytes) has to be at least 16 times this.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: usize) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Bytes written to tracks after which the index is checkpointed, and so about the most that
    /// opening after a crash has to read; default 1 GiB.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// The longest that a change waits for a checkpoint, give or take a
    /// [`sync_interval`](Self::sync_interval); default 30 s.
    #[must_use]
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// Room that is kept, in the home and on each disk, so that a full disk can still delete and
    /// checkpoint; default 32 MiB.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Whether large values are written into chunks that were freed, where some are; default `false`.
    ///
    /// For stores in which large objects are overwritten all the time: no hole is made and filled again. A
    /// value that is written so is synced before its record is, all values of a [`Batch`](crate::Batch)
    /// together. Where holes are punched as well, freed chunks stay to be refilled, up to an eighth of what the
    /// objects have or twice [`checkpoint_bytes`](Self::checkpoint_bytes), whichever is less, until
    /// [`Store::checkpoint`](crate::Store::checkpoint), compaction or a disk that fills up asks for their room.
    #[must_use]
    pub fn refill(mut self, refill: bool) -> Self {
        self.refill = refill;
        self
    }

    /// Whether freed chunks are given back to the file system, where it can; default `true`.
    #[must_use]
    pub fn punch(mut self, punch: bool) -> Self {
        self.punch = punch;
        self
    }

    /// Whether sealed tracks, and most of what is durable of active ones, are read through memory
    /// maps; default `true`. A media error on a mapped page ends the process with a signal; without
    /// maps it is an error.
    #[must_use]
    pub fn map_tracks(mut self, map: bool) -> Self {
        self.map_tracks = map;
        self
    }

    /// Whether to open in spite of damage to acknowledged data, passing over it; default `false`.
    /// What was passed over is in the [`RecoveryReport`](crate::RecoveryReport).
    #[must_use]
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// Whether to open although disks are missing, or can't be read at all; default `false`. The
    /// others take the writes, what lies on a missing one answers with an error that names it, and
    /// [`DiskStats::failure`](crate::DiskStats::failure) says why. When the disk is back at a later
    /// open, nothing is lost. Until then tombstones stay, as nobody knows what they hide.
    ///
    /// If the store was not closed, what was written to the disk since the last checkpoint is not
    /// known: those keys read as they were before, or as absent, until it is back. An index that has
    /// to be made anew needs all disks.
    #[must_use]
    pub fn accept_missing(mut self, accept: bool) -> Self {
        self.accept_missing = accept;
        self
    }

    /// The age at which parts that were never assembled are freed; default a week, `None` never.
    #[must_use]
    pub fn part_max_age(mut self, age: Option<Duration>) -> Self {
        self.part_max_age = age;
        self
    }

    /// Whether a thread for each disk compacts it; default `true`. Without, [`Store::compact`] does
    /// when it is called.
    ///
    /// [`Store::compact`]: crate::Store::compact
    #[must_use]
    pub fn compaction(mut self, compaction: bool) -> Self {
        self.compaction = compaction;
        self
    }

    /// Bytes that the disks' threads copy a second at most, all together; `None` is no limit.
    /// Default 64 MiB, twice that when garbage nears its bound, and no limit at the bound. To be
    /// changed while the store is open with [`Store::set_compaction_rate`].
    ///
    /// [`Store::set_compaction_rate`]: crate::Store::set_compaction_rate
    #[must_use]
    pub fn compaction_rate(mut self, bytes_per_second: Option<u64>) -> Self {
        self.compaction_rate = bytes_per_second;
        self
    }

    /// The hours of the day (UTC, 0 to 24, `22..6` goes over midnight) in which the disks' threads
    /// compact; default all. At the bound the hours count no more.
    #[must_use]
    pub fn compaction_hours(mut self, hours: Range<u8>) -> Self {
        self.compaction_hours = Some(hours);
        self
    }

    /// How many bytes the tracks may take for each byte that they would take rewritten; default
    /// 1.3, more than 1. As the store nears it compaction speeds up, and at the bound writers are
    /// slowed down to the pace at which space comes back, by at most a second a put. 64 MiB, or a
    /// track where that is less, are allowed beyond it for each disk. Snapshots and readers hold
    /// space back, and writers do not wait for those.
    #[must_use]
    pub fn max_space_amplification(mut self, bound: f64) -> Self {
        self.max_space_amplification = bound;
        self
    }

    /// Groups what compaction writes, so that what dies together lies together: objects go to the
    /// tracks of the shard that the function gives for their key, length and expiry (milliseconds
    /// since 1970). [`shard`](crate::shard) has ready-made ones. Default one shard. Each shard has
    /// an open track on each disk.
    #[must_use]
    pub fn shard(
        mut self,
        shard: impl Fn(&[u8], u64, Option<u64>) -> u8 + Send + Sync + 'static,
    ) -> Self {
        self.shard = Some(Arc::new(shard));
        self
    }

    /// Compresses what is put from now on, and what compaction copies, with zstd at this level, -7
    /// to 19; default `None`: everything is stored as it is. 3 is a good one.
    ///
    /// Values of up to 8 bytes, and those that would not become at least a sixteenth smaller, stay
    /// as they are, and so do objects that are written in segments (streams of more than four
    /// times [`segment_bytes`](Self::segment_bytes)) and parts. Values of less than 16 KiB are
    /// compressed with a dictionary of up to 4 KB that each track carries in its header, trained
    /// from those written to the track before, or from those that compaction copies. A range of a
    /// compressed value takes reading all of it. Not remembered: what is compressed is read
    /// whatever this says.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// let store = kogia::Options::new().compression(Some(3)).open(dir.path())?;
    /// store.put("log", "motion detected\n".repeat(1_000))?;
    /// assert!(store.stats()?.total().live_bytes < 200);
    /// assert_eq!(store.head("log")?.map(|info| info.len), Some(16_000));
    /// # Ok::<_, kogia::Error>(())
    /// ```
    #[must_use]
    pub fn compression(mut self, level: Option<i32>) -> Self {
        self.compression = level;
        self
    }

    /// A rule for how long objects are kept; to be called once a rule. Without any, each is kept as
    /// its put said. Not remembered.
    #[must_use]
    pub fn retention(mut self, rule: RetentionRule) -> Self {
        self.retention.push(rule);
        self
    }

    /// The file system that tracks and `META` are on; default the operating system's. The index
    /// is always on the operating system's.
    #[must_use]
    pub fn io(mut self, io: Arc<dyn Io>) -> Self {
        self.io = io;
        self
    }

    /// Called with the progress of recovery and rebuild.
    #[must_use]
    pub fn on_progress(mut self, on_progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(on_progress));
        self
    }

    /// What tells the time, in milliseconds since 1970; default the machine's clock. Puts get their
    /// time from it, and by it objects expire: a test that sets it need not wait.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// # let home = dir.path();
    /// let time = Arc::new(AtomicU64::new(1_000));
    /// let told = time.clone();
    /// let store = kogia::Options::new().clock(move || told.load(Ordering::Relaxed)).open(home)?;
    /// let options = kogia::PutOptions { expires_ms: Some(1_500), ..Default::default() };
    /// store.put_with("key", "value", &options)?;
    /// time.store(1_500, Ordering::Relaxed);
    /// assert!(!store.exists("key")?);
    /// # Ok::<_, kogia::Error>(())
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The unflushed index may take this much: writers wait for a checkpoint at the whole of it,
    /// and a checkpoint begins at three quarters.
    pub(crate) fn memtable_bytes(&self) -> usize {
        (self.memory_bytes / 4).min(MEMTABLE_AT_MOST_BYTES)
    }

    /// RocksDB's block cache, filters included.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.memory_bytes / 4
    }

    /// Values on their way to the disks.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.memory_bytes / 4
    }

    /// Values of up to this many bytes are written in one append.
    pub(crate) fn inline_max_bytes(&self) -> usize {
        self.segment_bytes * 4
    }

    pub(crate) fn track_chunks(&self) -> u32 {
        (self.track_bytes / CHUNK_BYTES as u64) as u32
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let within = |name: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("{name} is {value}; it must be {min} to {max}")))
        };
        within("memory_bytes", self.memory_bytes as u64, 16 << 20, 1 << 46)?;
        if self.max_space_amplification.is_nan() || self.max_space_amplification <= 1.0 {
            let bound = self.max_space_amplification;
            let what = format!("max_space_amplification is {bound}; it must be more than 1");
            return Err(Error::invalid(what));
        }
        if let Some(hours) = self.compaction_hours.as_ref().filter(|h| h.start.max(h.end) > 24) {
            let what = format!("compaction_hours are {hours:?}; they must be 0 to 24");
            return Err(Error::invalid(what));
        }
        if let Some(level) = self.compression.filter(|level| !LEVELS.contains(level)) {
            let (least, most) = LEVELS.into_inner();
            let what = format!("compression is {level}; it must be {least} to {most}");
            return Err(Error::invalid(what));
        }
        within("track_bytes", self.track_bytes, 64 << 10, 1 << 40)?;
        within("segment_bytes", self.segment_bytes as u64, 32 << 10, 64 << 20)?;
        if self.inline_max_bytes() > self.queue_bytes() {
            return Err(Error::invalid(format!(
                "memory_bytes ({}) must be at least 16 times segment_bytes ({})",
                self.memory_bytes, self.segment_bytes
            )));
        }
        for (at, disk) in self.disks.iter().enumerate() {
            if self.disks[..at].contains(disk) {
                return Err(Error::invalid("given twice as a disk").with_path(disk));
            }
        }
        self.retention.iter().try_for_each(RetentionRule::validate)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("disks", &self.disks)
            .field("create", &self.create)
            .field("durability", &self.durability)
            .field("memory_bytes", &self.memory_bytes)
            .field("track_bytes", &self.track_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}
