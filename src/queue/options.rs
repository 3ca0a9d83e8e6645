//! Every knob of a queue.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Queue;
use crate::error::{Error, Result};
use crate::format::chunk::CHUNK_BYTES;
use crate::io::{Io, RealIo};
use crate::options::{Clock, Create, Durability};

/// How a queue is opened. Only the retention is remembered: all else is as each opening says.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::QueueOptions;
/// use std::time::Duration;
///
/// let queue = QueueOptions::new()
///     .max_bytes(Some(10 << 30))
///     .max_age(Some(Duration::from_secs(7 * 24 * 3600)))
///     .open(dir.path().join("events"))?;
/// queue.append(b"frame 1 arrived")?;
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone)]
pub struct QueueOptions {
    pub(super) create: Create,
    pub(super) durability: Durability,
    pub(super) sync_interval: Duration,
    pub(super) track_bytes: u32,
    pub(super) buffer_bytes: usize,
    pub(super) max_age: Option<Option<Duration>>,
    pub(super) max_bytes: Option<Option<u64>>,
    pub(super) accept_loss: bool,
    pub(super) io: Arc<dyn Io>,
    pub(super) clock: Arc<Clock>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        QueueOptions {
            create: Create::default(),
            durability: Durability::default(),
            sync_interval: Duration::from_secs(1),
            track_bytes: 128 << 20,
            buffer_bytes: 1 << 20,
            max_age: None,
            max_bytes: None,
            accept_loss: false,
            io: Arc::new(RealIo),
            clock: Arc::new(crate::store::now_ms),
        }
    }
}

impl QueueOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do where there is no queue, or one already. Default: [`Create::IfMissing`].
    #[must_use]
    pub fn create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// When [`Queue::append`] returns. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long an item that was not synced may stay so. Default: one second; at least a
    /// millisecond.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// When a track is full, in bytes: what is dropped is dropped a track at a time. A larger item
    /// gets a track of its own. Default: 128 MiB; 8 KiB to 2 GiB.
    #[must_use]
    pub fn track_bytes(mut self, bytes: u32) -> Self {
        self.track_bytes = bytes;
        self
    }

    /// What may wait to be written, in bytes; who appends more waits, too. A larger item may. Up to
    /// two such buffers are kept. Default: 1 MiB; 4 KiB to 1 GiB.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Drops tracks all of whose items are older than this; `None`: none because of its age. Where
    /// this is not called, it is as it was; with a new queue, `None`.
    #[must_use]
    pub fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Drops the oldest tracks when all together have more bytes than this, but never the last one;
    /// `None`: none because of that. Where this is not called, it is as it was; with a new queue,
    /// `None`.
    #[must_use]
    pub fn max_bytes(mut self, bytes: Option<u64>) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Opens a queue although items that were durable are damaged or missing: what can be read is
    /// kept, and readers are told of the gap. Default: false.
    #[must_use]
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// The operating system. Default: [`RealIo`].
    #[must_use]
    pub fn io(mut self, io: Arc<dyn Io>) -> Self {
        self.io = io;
        self
    }

    /// Gives the time, in milliseconds since 1970. Default: the system's.
    #[must_use]
    pub fn clock(mut self, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now_ms);
        self
    }

    /// Opens the queue in the directory `dir`; see [`Queue::open`].
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Queue> {
        self.validate()?;
        Queue::open_with(dir.as_ref(), self)
    }

    pub(super) fn track_chunks(&self) -> u32 {
        self.track_bytes / CHUNK_BYTES as u32
    }

    fn validate(&self) -> Result<()> {
        if !(2 * CHUNK_BYTES as u32..=2 << 30).contains(&self.track_bytes) {
            let what = format!("track_bytes is {}: 8 KiB to 2 GiB are possible", self.track_bytes);
            return Err(Error::invalid(what));
        }
        if !(CHUNK_BYTES..=1 << 30).contains(&self.buffer_bytes) {
            let what =
                format!("buffer_bytes is {}: 4 KiB to 1 GiB are possible", self.buffer_bytes);
            return Err(Error::invalid(what));
        }
        if self.sync_interval < Duration::from_millis(1) {
            return Err(Error::invalid("sync_interval is less than a millisecond"));
        }
        Ok(())
    }
}
