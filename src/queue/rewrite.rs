//! Rewriting a range: its items are filtered and mapped, all or nothing, while others append and read.
//!
//! Tracks go over into new files as a whole: of each in which anything changes, a file is written
//! beside the old one, with the items that are left, each under its own id. Where the range reaches
//! into the last track and something changes there, writing first goes on in another.
//!
//! # What survives
//! The new files and their names are durable before `QUEUE` names them, all at once, and the old
//! ones are there until that is durable: so a crash leaves all of the range as it was or all of it
//! as it is to be. Opening the queue removes the files that `QUEUE` does not name.
//!
//! # Readers
//! A stream that has a track open goes on in that file to its end. Whoever opens a track asks which
//! file is the track's, and asks again where that file is gone. Since items keep their ids, and a
//! track's are before the next one's, nothing is shown twice, and nothing out of order.

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::PoisonError;

use super::output::Output;
use super::stream::{Entry, Stream};
use super::writer::Inner;
use super::{Id, META_LIMIT, QUEUE, retention, track};
use crate::error::{Error, ErrorKind, Result};
use crate::format::TrackId;
use crate::format::items::MAX_ITEM_BYTES;
use crate::options::{OnProgress, Phase, Progress};

/// Progress is told when so many bytes more were passed over.
const TELL_BYTES: u64 = 1 << 20;

/// What becomes of an item when its range is [rewritten](super::Queue::rewrite).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue, Rewrite};
///
/// let queue = Queue::open(dir.path())?;
/// let ids = queue.append_batch(["frame 1", "password", "frame 2"])?;
/// queue.rewrite(.., |_, item| match item {
///     b"password" => Rewrite::Replace(b"(gone)".to_vec()),
///     _ => Rewrite::Keep,
/// })?;
/// assert_eq!(queue.stream(Some(ids[1]))?.next()?, Some(Entry::Item(ids[1], b"(gone)")));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewrite {
    /// It stays as it is.
    Keep,
    /// It goes, and its id with it.
    Drop,
    /// It is these bytes from now on, at most 1 GiB, under the same id.
    Replace(Vec<u8>),
    /// The rewrite is called off: nothing has changed, and the call fails with
    /// [`Cancelled`](ErrorKind::Cancelled).
    Cancel,
}

/// How to rewrite a range.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Queue, Rewrite, RewriteOptions};
///
/// let queue = Queue::open(dir.path())?;
/// queue.append_batch(["a", "b"])?;
/// let options = RewriteOptions { dry_run: true, ..RewriteOptions::default() };
/// let report = queue.rewrite_with(.., &options, |_, _| Rewrite::Drop)?;
/// assert_eq!((report.dropped, queue.stats()?.items), (2, 2));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Default)]
pub struct RewriteOptions {
    /// Asks what is to become of each item, and changes nothing. Default: false.
    pub dry_run: bool,
    /// Called now and then.
    pub on_progress: Option<Box<OnProgress>>,
}

impl fmt::Debug for RewriteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &mut f.debug_struct("RewriteOptions");
        options.field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

/// What a rewrite has done, or would do.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Queue, Rewrite};
///
/// let queue = Queue::open(dir.path())?;
/// queue.append_batch(["a", "b"])?;
/// let report = queue.rewrite(.., |_, _| Rewrite::Drop)?;
/// assert_eq!((report.items, report.dropped, report.tracks), (2, 2, 1));
/// assert_eq!((report.old_bytes, report.new_bytes), (2, 0));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RewriteReport {
    /// Items of the range.
    pub items: u64,
    /// Those that are gone.
    pub dropped: u64,
    /// Those that are others now.
    pub replaced: u64,
    /// Bytes of the items, before.
    pub old_bytes: u64,
    /// Bytes of those that are left.
    pub new_bytes: u64,
    /// Tracks that have new files.
    pub tracks: u64,
    /// Where items were lost before, and that was accepted: streams do not tell of such gaps in a
    /// track that was rewritten.
    pub lost: Vec<(Id, Id)>,
}

type Decide<'a> = dyn FnMut(Id, &[u8]) -> Rewrite + 'a;

/// Rewrites what of a range is there.
pub(super) fn rewrite(
    inner: &Inner,
    ids: impl RangeBounds<Id>,
    options: &RewriteOptions,
    decide: &mut Decide<'_>,
) -> Result<RewriteReport> {
    // Whoever decides may have panicked.
    let mut last = inner.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
    let state = inner.state();
    let end = state.end;
    inner.wait_for(state, end, true)?;
    let ids = half_open(&ids, end);
    // Also after one that failed: what that has left is not in the way.
    *last = last.checked_add(1).ok_or_else(|| Error::invalid("rewritten too often"))?;
    let mut pass = Pass {
        inner,
        options,
        fate: Fate::AsItWas,
        outputs: Outputs { inner, rewrite: *last, tracks: Vec::new(), is_open: true },
        report: RewriteReport::default(),
        meter: Meter::new(inner, &ids, options)?,
        ids,
    };
    pass.run(decide)?;
    pass.outputs.commit()?;
    pass.meter.end(pass.report.items);
    Ok(pass.report)
}

/// The ids of a range before `end`.
fn half_open(ids: &impl RangeBounds<Id>, end: Id) -> Range<Id> {
    let from = match ids.start_bound() {
        Bound::Included(id) => *id,
        Bound::Excluded(id) => id.after(),
        Bound::Unbounded => Id(0),
    };
    let before = match ids.end_bound() {
        Bound::Included(id) => id.after(),
        Bound::Excluded(id) => *id,
        Bound::Unbounded => end,
    };
    from..before.min(end)
}

/// One way through a range.
struct Pass<'a> {
    inner: &'a Inner,
    ids: Range<Id>,
    options: &'a RewriteOptions,
    /// Of the track in which it is.
    fate: Fate,
    outputs: Outputs<'a>,
    report: RewriteReport,
    meter: Meter<'a>,
}

/// What becomes of a track.
enum Fate {
    AsItWas,
    Written(Box<Output>),
    /// It is changed, and nothing is written: this is a trial, or it was truncated meanwhile.
    Unwritten,
}

impl Pass<'_> {
    fn run(&mut self, decide: &mut Decide<'_>) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut stream = Stream::new(self.inner.source.clone(), Some(self.ids.start))?;
        let mut track = self.ids.start.track();
        loop {
            let mut place = stream.place();
            match stream.next()? {
                Some(Entry::Item(id, item)) => {
                    if id.track() != track {
                        self.leave(track)?;
                        (track, place) = (id.track(), 0);
                    }
                    if id >= self.ids.end && !matches!(self.fate, Fate::Written(_)) {
                        break;
                    }
                    self.meter.at(place, self.report.items);
                    self.item(id, item, decide)?;
                }
                Some(Entry::Lost(from, to)) if from < self.ids.end => {
                    self.report.lost.push((from, to));
                }
                Some(_) => {}
                None => break,
            }
        }
        self.leave(track)
    }

    fn item(&mut self, id: Id, item: &[u8], decide: &mut Decide<'_>) -> Result<()> {
        let decision = if self.ids.contains(&id) {
            self.report.items += 1;
            self.report.old_bytes += item.len() as u64;
            decide(id, item)
        } else {
            return self.write(id, item);
        };
        let new = match decision {
            Rewrite::Keep => Some(None),
            Rewrite::Replace(bytes) if bytes == item => Some(None),
            Rewrite::Replace(bytes) => Some(Some(bytes)),
            Rewrite::Drop => None,
            Rewrite::Cancel => {
                return Err(Error::new(ErrorKind::Cancelled, "the rewrite was called off"));
            }
        };
        match new {
            Some(None) => {
                self.report.new_bytes += item.len() as u64;
                self.write(id, item)
            }
            Some(Some(bytes)) => {
                check_len(&bytes)?;
                self.report.replaced += 1;
                self.report.new_bytes += bytes.len() as u64;
                self.change(id)?;
                self.write(id, &bytes)
            }
            None => {
                self.report.dropped += 1;
                self.change(id)
            }
        }
    }

    /// Writes an item that is left, if the track goes over into a new file.
    fn write(&mut self, id: Id, item: &[u8]) -> Result<()> {
        match &mut self.fate {
            Fate::Written(output) => output.push(id.position(), item),
            Fate::AsItWas | Fate::Unwritten => Ok(()),
        }
    }

    /// Has the track go over into a new file, from `first` on; what lies before stays as it was.
    fn change(&mut self, first: Id) -> Result<()> {
        if !matches!(self.fate, Fate::AsItWas) {
            return Ok(());
        }
        self.fate = Fate::Unwritten;
        self.report.tracks += 1;
        if self.options.dry_run {
            return Ok(());
        }
        let (id, source) = (first.track(), &self.inner.source);
        self.inner.end_track(id)?;
        let Some(track) = source.open_track(id)? else { return Ok(()) };
        let header = track.header()?.map_err(|fault| track.fault(0, fault))?;
        self.outputs.tracks.push(id);
        let rewrite = self.outputs.rewrite;
        let mut output = Output::create(&*source.io, &source.dir, header, rewrite)?;
        let mut before = Stream::new(source.clone(), Some(Id::new(id, 0)))?;
        while let Some(entry) = before.next()? {
            match entry {
                Entry::Item(id, item) if id < first => output.push(id.position(), item)?,
                Entry::Item(..) => break,
                Entry::Lost(from, to) if to <= self.ids.start => self.report.lost.push((from, to)),
                Entry::Lost(..) | Entry::Cut(_) => {}
            }
        }
        self.fate = Fate::Written(Box::new(output));
        Ok(())
    }

    fn leave(&mut self, track: TrackId) -> Result<()> {
        self.meter.leave(track);
        match std::mem::replace(&mut self.fate, Fate::AsItWas) {
            Fate::Written(output) => output.finish(),
            Fate::AsItWas | Fate::Unwritten => Ok(()),
        }
    }
}

fn check_len(item: &[u8]) -> Result<()> {
    if item.len() > MAX_ITEM_BYTES {
        let what = format!("an item of {} bytes: at most 1 GiB is possible", item.len());
        return Err(Error::invalid(what));
    }
    Ok(())
}

/// The files of a rewrite; removed when it comes to nothing.
struct Outputs<'a> {
    inner: &'a Inner,
    rewrite: u32,
    tracks: Vec<TrackId>,
    /// Whether nothing names them.
    is_open: bool,
}

impl Outputs<'_> {
    /// Has the new files take the places of the old ones.
    fn commit(&mut self) -> Result<()> {
        if self.tracks.is_empty() {
            return Ok(());
        }
        let (io, dir) = (&*self.inner.source.io, &self.inner.source.dir);
        // Before they are named: a power cut must not leave a name without a file.
        io.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
        step!("queue.rewrite-written");
        let replaced = self.name()?;
        step!("queue.rewritten");
        let removed = retention::remove_files(self.inner, replaced).map_err(|e| {
            let what = "the items are rewritten, but not all files that they were in could be \
                        removed: opening the queue does that";
            Error::new(e.kind(), what).with_source(e)
        });
        let meta = self.inner.meta.lock().expect("no panic holds it");
        retention::keep_reserve(io, dir, &meta);
        removed
    }

    /// Has `QUEUE` name the new files; gives those that are no track's any more.
    fn name(&mut self) -> Result<Vec<(TrackId, u32)>> {
        let mut meta = self.inner.meta.lock().expect("no panic holds it");
        let first = Id(meta.first_kept).track();
        let (kept, truncated): (Vec<_>, Vec<_>) = self.tracks.iter().partition(|id| **id >= first);
        let mut next = meta.clone();
        next.rewrites.add(&kept, self.rewrite);
        if next.encode().len() > META_LIMIT {
            let what = "too many single tracks are rewritten: rewrite all of them, or truncate";
            return Err(Error::invalid(what));
        }
        if let Err(error) = retention::store(self.inner, &next) {
            return Err(self.take_back(&meta.encode(), error));
        }
        self.is_open = false;
        self.inner.source.set_rewrites(next.rewrites.clone());
        let mut gone: Vec<_> = kept.iter().map(|id| (*id, meta.rewrites.of(*id))).collect();
        gone.extend(truncated.into_iter().map(|id| (id, self.rewrite)));
        *meta = next;
        Ok(gone)
    }

    /// Puts `QUEUE` back, after an error that may have come before it was replaced or behind that.
    fn take_back(&mut self, queue: &[u8], error: Error) -> Error {
        let path = self.inner.source.dir.join(QUEUE);
        if self.inner.source.io.replace(&path, queue).is_ok() {
            return error;
        }
        // It may name either files: all stay, until the queue is opened and it is read.
        self.is_open = false;
        let what = "whether the items are rewritten is open until the queue is opened again";
        Error::new(error.kind(), what).with_source(error)
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Best effort: what stays is removed when the queue is opened.
            let files = self.tracks.iter().map(|track| (*track, self.rewrite));
            let _ = retention::remove_files(self.inner, files);
        }
    }
}

/// Tells how far a rewrite has come.
struct Meter<'a> {
    on_progress: Option<&'a OnProgress>,
    /// The tracks of the range, each with its bytes.
    tracks: Vec<(TrackId, u64)>,
    now: Progress,
    /// Bytes of the tracks before the one that is being passed over.
    before: u64,
}

impl<'a> Meter<'a> {
    fn new(inner: &Inner, ids: &Range<Id>, options: &'a RewriteOptions) -> Result<Self> {
        let on_progress = options.on_progress.as_deref();
        let mut tracks = Vec::new();
        if on_progress.is_some() && !ids.is_empty() {
            let source = &inner.source;
            let (first, last) = (ids.start.track(), ids.end.track());
            for id in track::list(&*source.io, &source.dir)? {
                if (first..=last).contains(&id)
                    && let Some(track) = source.open_track(id)?
                {
                    tracks.push((id, track.len()?));
                }
            }
        }
        let total_bytes = tracks.iter().map(|(_, bytes)| bytes).sum();
        let now = Progress { phase: Phase::Rewrite, done_bytes: 0, total_bytes, records: 0 };
        Ok(Meter { on_progress, tracks, now, before: 0 })
    }

    /// Says that the rewrite is at this place of its track.
    fn at(&mut self, place: u32, items: u64) {
        let done = (self.before + u64::from(place)).min(self.now.total_bytes);
        if let Some(tell) = self.on_progress
            && done >= self.now.done_bytes + TELL_BYTES
        {
            (self.now.done_bytes, self.now.records) = (done, items);
            tell(&self.now);
        }
    }

    fn leave(&mut self, left: TrackId) {
        self.before = self.tracks.iter().filter(|(id, _)| *id <= left).map(|(_, len)| len).sum();
    }

    fn end(&mut self, items: u64) {
        if let Some(tell) = self.on_progress {
            (self.now.done_bytes, self.now.records) = (self.now.total_bytes, items);
            tell(&self.now);
        }
    }
}
