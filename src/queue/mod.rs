//! An ordered, durable log of items, on tracks of its own. A queue knows nothing of keys, of the
//! object store, or of its index.
//!
//! ```text
//! events/
//!   LOCK               held by the one process that appends
//!   QUEUE              queue id, first id kept, retention, where a clean close ended, rewrites
//!   0000000007.track   chunks of items
//!   0000000006.0000000002.track   track 6, as rewrite 2 has written it
//!   consumers/shipper  a durable position
//!   TAIL               a page that processes map: how far the queue has come
//!   reserve            room kept so that a full disk can still be truncated
//! ```
//!
//! Appenders frame their items into a buffer under one lock, so an item's id is known at once: it is
//! its place. One thread takes what has come together, sums it, writes it with one call and syncs
//! once for all who wait. A chunk that was written is never written again: the last one of a group is
//! padded.
//!
//! # What survives
//! What was acknowledged under [`Durability::Sync`], or before a [`Queue::sync`], survives a power
//! cut. Of what came later a prefix survives, item by item, each whole; a reader comes to an
//! [`Entry::Cut`] there. Ids of lost items are not given out again: writing goes on in a new track.
//! A failed write or sync is never tried again; the queue takes nothing more until it is opened
//! anew, and then ends where it was durable.
//!
//! # A full disk
//! Room is taken before an item is: an append that fails with [`Full`](ErrorKind::Full) has not
//! taken its item, unless its message says so (file systems that copy on write can refuse a write
//! into room they had promised). Then it is kept in memory and written when there is room again.
//!
//! # Who may do what at once
//! Any number of threads append through one [`Queue`], and any number of [`Stream`]s read, in that
//! process or, from a [`QueueReader`], in others. Tracks are truncated and [rewritten](Queue::rewrite)
//! beside them. Lock order: the rewrite, `QUEUE`'s copy, then the writer's state.
//!
//! The layout is specified in [`items`](crate::format::items) and
//! [`format::queue`](crate::format::queue).

mod consumer;
mod cursor;
mod id;
mod lane;
mod open;
mod options;
mod output;
mod retention;
mod rewrite;
mod source;
mod stats;
mod stream;
mod tail;
mod track;
mod writer;

use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use consumer::Consumer;
pub use id::Id;
pub use options::QueueOptions;
pub use rewrite::{Rewrite, RewriteOptions, RewriteReport};
pub use stats::{QueueReport, QueueStats};
pub use stream::{Entry, Stream};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::format::StoreId;
use crate::format::chunk::CHUNK_BYTES;
use crate::io::{Io, RealIo};
use crate::options::Durability;
use source::Source;
use writer::Inner;

const LOCK: &str = "LOCK";
pub(crate) const QUEUE: &str = "QUEUE";
const TAIL: &str = "TAIL";
/// Room for the next `QUEUE`.
const RESERVE: &str = "reserve";
const CONSUMERS: &str = "consumers";
/// `QUEUE` and positions are no larger than this.
const META_LIMIT: usize = 1 << 20;

/// A queue that this process appends to.
///
/// Dropping it closes it; [`close`](Self::close) also says whether that went well.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue};
///
/// let queue = Queue::open(dir.path().join("events"))?;
/// let first = queue.append(b"durable when this returns")?;
/// let second = queue.append_later(b"durable with the next sync")?;
/// queue.sync()?;
/// let mut stream = queue.stream(Some(second))?;
/// assert_eq!(stream.next()?, Some(Entry::Item(second, b"durable with the next sync")));
/// assert!(first < second);
/// # Ok::<_, kogia::Error>(())
/// ```
pub struct Queue {
    inner: Arc<Inner>,
    writer: Option<JoinHandle<()>>,
}

impl Queue {
    /// Opens the queue in the directory `dir`, or creates one there; [`QueueOptions`] can say more.
    ///
    /// # Errors
    /// [`Locked`](ErrorKind::Locked) where it is open already; [`Damaged`](ErrorKind::Damaged)
    /// where items that were durable are not what was written, or a track is missing.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        QueueOptions::new().open(dir)
    }

    fn open_with(dir: &Path, options: QueueOptions) -> Result<Self> {
        let inner = Arc::new(open::open(dir, options)?);
        if let Err(error) = retention::apply(&inner) {
            // What is too old stays for now.
            tracing::warn!(%error, "the queue's retention could not be applied");
        }
        let writing = inner.clone();
        let writer = std::thread::Builder::new()
            .name("kogia-queue".into())
            .spawn(move || writing.run())
            .map_err(|e| Error::io("start a thread for the queue", dir, e))?;
        Ok(Queue { inner, writer: Some(writer) })
    }

    /// Opens the queue in `dir` for reading alone, beside the process that appends to it.
    pub fn reader(dir: impl AsRef<Path>) -> Result<QueueReader> {
        QueueReader::open(dir)
    }

    /// The queue's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.inner.source.queue
    }

    /// The queue's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.source.dir
    }

    /// Appends an item of at most 1 GiB; returns when it is as durable as
    /// [`QueueOptions::durability`] says. Those who append at the same time share a sync.
    ///
    /// # Errors
    /// [`Full`](ErrorKind::Full) where there is no room: the item was not taken.
    /// [`Poisoned`](ErrorKind::Poisoned) after a failed write or sync: what was not acknowledged may
    /// or may not be there when the queue is opened again.
    pub fn append(&self, item: impl AsRef<[u8]>) -> Result<Id> {
        self.append_with(item, self.inner.options.durability)
    }

    /// Appends an item with a durability of its own.
    pub fn append_with(&self, item: impl AsRef<[u8]>, durability: Durability) -> Result<Id> {
        let (id, state) = self.inner.take(self.inner.state(), item.as_ref())?;
        let end = state.end;
        self.inner.wait_for(state, end, durability == Durability::Sync)?;
        Ok(id)
    }

    /// Appends items in order, with one wait for all. After a crash, or an error, some of the first
    /// of them may be there, and not the others.
    pub fn append_batch<T: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Id>> {
        let mut ids = Vec::new();
        let mut state = self.inner.state();
        for item in items {
            let (id, taken) = self.inner.take(state, item.as_ref())?;
            ids.push(id);
            state = taken;
        }
        let durable = self.inner.options.durability == Durability::Sync;
        if !ids.is_empty() {
            let end = state.end;
            self.inner.wait_for(state, end, durable)?;
        }
        Ok(ids)
    }

    /// Appends an item to the buffer, and returns at once: it is durable with the next
    /// [`sync`](Self::sync), or by itself within [`QueueOptions::sync_interval`]. Waits only where
    /// the buffer is full. If the process dies, what is in the buffer is lost.
    #[inline]
    pub fn append_later(&self, item: impl AsRef<[u8]>) -> Result<Id> {
        Ok(self.inner.take(self.inner.state(), item.as_ref())?.0)
    }

    /// Makes all that was appended durable.
    pub fn sync(&self) -> Result<()> {
        let state = self.inner.state();
        let end = state.end;
        self.inner.wait_for(state, end, true)
    }

    /// The id that all items before it are durable.
    #[must_use]
    pub fn durable_end(&self) -> Id {
        self.inner.tail.durable()
    }

    /// Reads from the first item on, or from the first one with the id `from` or a greater one: it
    /// need not be an item's. A new stream shows what is durable.
    pub fn stream(&self, from: Option<Id>) -> Result<Stream> {
        Stream::new(self.inner.source.clone(), from)
    }

    /// The consumer of that name, which goes on behind what it has committed. A name is 1 to 200
    /// letters, digits, `-`, `_` and `.`, the first of which is no `.`.
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        Consumer::open(&self.inner.source, name)
    }

    /// The names of all consumers, each with the id that it has committed: whoever truncates can
    /// keep what the last of them lacks.
    pub fn consumers(&self) -> Result<Vec<(String, Id)>> {
        consumer::list(&self.inner.source)
    }

    /// Forgets a consumer; whether there was one.
    pub fn forget_consumer(&self, name: &str) -> Result<bool> {
        consumer::forget(&self.inner.source, name)
    }

    /// Drops the items before `id`; durable when it returns. Room comes back a track at a time.
    /// Streams that have not come so far go on at the first item that is kept.
    pub fn truncate_before(&self, id: Id) -> Result<()> {
        retention::truncate(&self.inner, id)
    }

    /// Drops what is too old or too much by [`QueueOptions::max_age`] and
    /// [`QueueOptions::max_bytes`]. Happens by itself when the queue is opened and with each new
    /// track.
    pub fn apply_retention(&self) -> Result<()> {
        retention::apply(&self.inner)
    }

    /// Filters and maps the items of a range: `decide` says of each, in order, what is to become of
    /// it. All or nothing, and durable when it returns; a crash leaves the range as it was or as it
    /// is to be, as a whole. What is left keeps its id, so that consumers and streams go on as they
    /// would have; a stream from the id of an item that is gone begins with the next one.
    ///
    /// It takes the items that were appended before the call, and goes on in the caller's thread
    /// while others append and read. A stream that is in the middle shows the rest of its track as it
    /// was, and all tracks behind that as they are by then. What was dropped or replaced is gone from
    /// the disk when the last stream has left the track's old file.
    ///
    /// Each track in which something changes is written anew, with what lies in it outside the
    /// range, and so there has to be room for as much; and no track, however empty, goes. If something
    /// changes in the last one, writing goes on in another; a range that ends before it leaves it
    /// alone. One rewrite goes on at a time, and another waits: `decide` must not begin one.
    ///
    /// # Errors
    /// Nothing has changed, unless the message says otherwise. [`Cancelled`](ErrorKind::Cancelled)
    /// where `decide` has called it off; [`Full`](ErrorKind::Full) where there is no room;
    /// [`Corruption`](ErrorKind::Corruption) where a chunk of a track that is to change is not what
    /// was written, and that loss was not accepted; [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// where the items of a track would have more than 4 GiB.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use kogia::queue::{Queue, Rewrite};
    ///
    /// let queue = Queue::open(dir.path())?;
    /// let ids = queue.append_batch(["a", "debug: b", "c", "debug: d"])?;
    /// let report = queue.rewrite(ids[0]..ids[3], |_, item| match item.starts_with(b"debug") {
    ///     true => Rewrite::Drop,
    ///     false => Rewrite::Keep,
    /// })?;
    /// assert_eq!((report.items, report.dropped), (3, 1));
    /// let left: Vec<_> = queue.stream(None)?.items().collect::<Result<_, _>>()?;
    /// assert_eq!(left.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ids[0], ids[2], ids[3]]);
    /// # Ok::<_, kogia::Error>(())
    /// ```
    pub fn rewrite(
        &self,
        ids: impl RangeBounds<Id>,
        decide: impl FnMut(Id, &[u8]) -> Rewrite,
    ) -> Result<RewriteReport> {
        self.rewrite_with(ids, &RewriteOptions::default(), decide)
    }

    /// Like [`rewrite`](Self::rewrite), and tells how far it has come, or changes nothing.
    pub fn rewrite_with(
        &self,
        ids: impl RangeBounds<Id>,
        options: &RewriteOptions,
        mut decide: impl FnMut(Id, &[u8]) -> Rewrite,
    ) -> Result<RewriteReport> {
        rewrite::rewrite(&self.inner, ids, options, &mut decide)
    }

    /// The retention in force: by age, and by bytes.
    #[must_use]
    pub fn retention(&self) -> (Option<Duration>, Option<u64>) {
        retention::settings(&self.inner.meta.lock().expect("no panic holds it"))
    }

    /// Counts what is durable.
    pub fn stats(&self) -> Result<QueueStats> {
        stats::stats(&self.inner.source)
    }

    /// Reads all that is durable, and says what is wrong with it.
    pub fn verify(&self) -> Result<QueueReport> {
        stats::verify(&self.inner.source)
    }

    /// Makes all durable and closes the queue, so that the next opening goes on where it ends.
    pub fn close(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.inner.stop();
        writer.join().expect("the writer does not panic");
        // From now on others may rewrite what streams of this queue go on reading.
        self.inner.source.forget_rewrites();
        let (track, end) = self.inner.ended()?;
        let Some(track) = track else { return Ok(()) };
        let chunks = end.position().div_ceil(CHUNK_BYTES as u32);
        // What was taken ahead goes back, and so the next opening finds nothing behind the end.
        track
            .file
            .set_len(u64::from(chunks) * CHUNK_BYTES as u64)
            .and_then(|()| track.file.sync_data())
            .map_err(|e| track.io_error("close the track", e))?;
        step!("queue.ending");
        retention::store_end(&self.inner, end)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the queue could not be closed");
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("dir", &self.dir()).finish_non_exhaustive()
    }
}

/// A queue that is read beside the process which appends to it, or while nobody does.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue};
///
/// let queue = Queue::open(dir.path())?;
/// let reader = Queue::reader(dir.path())?; // as well from another process
/// let mut stream = reader.stream(None)?;
/// assert_eq!(stream.next()?, None);
/// let id = queue.append(b"media")?;
/// assert_eq!(stream.follow(None)?, Some(Entry::Item(id, b"media")));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct QueueReader {
    source: Arc<Source>,
}

impl QueueReader {
    /// Opens the queue in `dir` for reading alone.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is none.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(Arc::new(RealIo), dir)
    }

    /// The same on another operating system.
    pub fn open_on(io: Arc<dyn Io>, dir: impl AsRef<Path>) -> Result<Self> {
        let dir: PathBuf = dir.as_ref().to_owned();
        Ok(QueueReader { source: Source::beside_owner(io, dir)? })
    }

    /// The queue's identity.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.source.queue
    }

    /// Like [`Queue::stream`].
    pub fn stream(&self, from: Option<Id>) -> Result<Stream> {
        Stream::new(self.source.clone(), from)
    }

    /// Like [`Queue::consumer`].
    pub fn consumer(&self, name: &str) -> Result<Consumer> {
        Consumer::open(&self.source, name)
    }

    /// Like [`Queue::consumers`].
    pub fn consumers(&self) -> Result<Vec<(String, Id)>> {
        consumer::list(&self.source)
    }

    /// Like [`Queue::stats`].
    pub fn stats(&self) -> Result<QueueStats> {
        stats::stats(&self.source)
    }

    /// Like [`Queue::verify`].
    pub fn verify(&self) -> Result<QueueReport> {
        stats::verify(&self.source)
    }
}
