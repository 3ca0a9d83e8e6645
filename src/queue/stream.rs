//! Reading a queue in order, and waiting for what is to come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Id;
use super::cursor::{Broken, Cursor};
use super::source::{Ends, Source, whole_chunks};
use crate::error::{Error, ErrorKind, Result};
use crate::format::TrackId;
use crate::format::chunk::CHUNK_BYTES;
use crate::format::queue::TrackEnd;

/// What a stream comes to.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue};
///
/// let queue = Queue::open(dir.path())?;
/// let id = queue.append(b"media")?;
/// assert_eq!(queue.stream(None)?.next()?, Some(Entry::Item(id, b"media")));
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// An item.
    Item(Id, &'a [u8]),
    /// A crash cut writing off here: items that were appended behind this and were not durable are
    /// gone. All behind it was written later.
    Cut(Id),
    /// Items that were durable are gone, at or behind the first of these and before the second:
    /// their loss was accepted.
    Lost(Id, Id),
}

/// A reader's way through a queue: from any id on, in the order of the ids.
///
/// It goes on beside the writer, in any process, and beside truncation: what was truncated before
/// it got there is passed over. It goes on beside a [rewrite](super::Queue::rewrite), too: the rest of
/// the track that it is in is shown as it was, and each track that it comes to later as it is by
/// then. It is shown only what no crash can take back, unless it is told to
/// [`read_uncommitted`](Self::read_uncommitted).
///
/// It lends what it has read: 256 KiB at a time are read and verified, and an item that lies in one
/// chunk is not copied.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kogia::queue::{Entry, Queue};
///
/// let queue = Queue::open(dir.path())?;
/// queue.append_batch(["a", "b", "c"])?;
/// let mut stream = queue.stream(None)?;
/// while let Some(entry) = stream.next()? {
///     if let Entry::Item(id, item) = entry {
///         println!("{id}: {} bytes", item.len());
///     }
/// }
/// # Ok::<_, kogia::Error>(())
/// ```
#[derive(Debug)]
pub struct Stream {
    source: Arc<Source>,
    cursor: Option<Cursor>,
    /// Where it goes on where there is no cursor, and what lies before it is passed over.
    next: Id,
    ends: Ends,
    /// Up to where the cursor may read its track.
    limit: u32,
    /// Where the cursor's track ends, once that is known, and what lies behind it.
    track_end: Option<TrackEnd>,
    uncommitted: bool,
    accept_loss: bool,
    at: At,
    /// What was wrong where a loss was passed over last.
    why_lost: String,
}

/// What was come to last.
#[derive(Debug, Clone, Copy)]
enum At {
    Item(Id),
    Cut(Id),
    Lost(Id, Id),
}

/// Where a stream goes from the end of what it was reading.
enum Way {
    /// Into a track.
    On,
    /// There is nothing more yet.
    Nowhere,
    /// Over something that is lost.
    OverAGap,
}

impl Stream {
    pub(super) fn new(source: Arc<Source>, from: Option<Id>) -> Result<Self> {
        let ends = source.ends()?;
        let next = from.unwrap_or_default().max(ends.first_kept);
        Ok(Stream {
            source,
            cursor: None,
            next,
            ends,
            limit: 0,
            track_end: None,
            uncommitted: false,
            accept_loss: false,
            at: At::Cut(next),
            why_lost: String::new(),
        })
    }

    /// Also shows what was written and is not durable yet: a power cut may take it back. It never
    /// shows an item in part. Default: false.
    #[must_use]
    pub fn read_uncommitted(mut self, uncommitted: bool) -> Self {
        self.uncommitted = uncommitted;
        self
    }

    /// Passes over damaged chunks, and says so with an [`Entry::Lost`]. Default: false, except for
    /// losses that were accepted when the queue was opened.
    #[must_use]
    pub fn accept_loss(mut self, accept: bool) -> Self {
        self.accept_loss = accept;
        self
    }

    /// The next entry; `None` where there is none yet: asked again later, there may be one.
    ///
    /// # Errors
    /// [`Corruption`](ErrorKind::Corruption), naming track and chunk, where a chunk is not what was
    /// written. It stays there; see [`accept_loss`](Self::accept_loss).
    #[allow(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>> {
        Ok(self.advance()?.then(|| self.entry()))
    }

    /// Like [`next`](Self::next), and where there is no entry yet, waits for one: for so long, or
    /// for ever. `None` when that time is over.
    pub fn follow(&mut self, timeout: Option<Duration>) -> Result<Option<Entry<'_>>> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Before looking, or what comes in between would not wake it.
            let rung = self.source.rung();
            if self.advance()? {
                return Ok(Some(self.entry()));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.source.wait(rung, left);
        }
    }

    /// The items up to here as an iterator, each with its id, copied; markers are left out.
    pub fn items(mut self) -> impl Iterator<Item = Result<(Id, Vec<u8>)>> {
        std::iter::from_fn(move || {
            loop {
                match self.next() {
                    Ok(Some(Entry::Item(id, item))) => return Some(Ok((id, item.to_vec()))),
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(e) => return Some(Err(e)),
                }
            }
        })
    }

    /// Where it goes on: no item that it comes to has a smaller id.
    #[must_use]
    pub fn position(&self) -> Id {
        self.next
    }

    /// Where in its file the item ends that was come to last.
    pub(super) fn place(&self) -> u32 {
        self.cursor.as_ref().map_or(0, Cursor::end)
    }

    pub(super) fn why_lost(&self) -> &str {
        &self.why_lost
    }

    fn entry(&self) -> Entry<'_> {
        match self.at {
            At::Item(id) => Entry::Item(id, self.cursor.as_ref().expect("it is at an item").item()),
            At::Cut(id) => Entry::Cut(id),
            At::Lost(from, to) => Entry::Lost(from, to),
        }
    }

    /// Goes to the next entry; whether there is one.
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if let Some(cursor) = &mut self.cursor
            && let Ok(Some(position)) = cursor.advance(self.limit)
        {
            let id = Id::new(cursor.track.id, position);
            (self.at, self.next) = (At::Item(id), id.after());
            return Ok(true);
        }
        let advanced = self.advance_slowly();
        if advanced.is_err() {
            // The next call looks again.
            self.cursor = None;
        }
        advanced
    }

    fn advance_slowly(&mut self) -> Result<bool> {
        loop {
            self.look()?;
            if self.cursor.is_none() {
                match self.find_track()? {
                    Way::On => {}
                    Way::Nowhere => return Ok(false),
                    Way::OverAGap => return Ok(true),
                }
            }
            let end = self.end();
            let cursor = self.cursor.as_mut().expect("it was found");
            let id = cursor.track.id;
            match cursor.advance(self.limit) {
                Ok(Some(position)) => {
                    let id = Id::new(id, position);
                    (self.at, self.next) = (At::Item(id), id.after());
                    return Ok(true);
                }
                Ok(None) if id >= end.track() => return Ok(false),
                Ok(None) => {
                    if self.leave_track()? {
                        return Ok(true);
                    }
                }
                Err(Broken::Chunk(chunk, fault)) => {
                    // What was accepted was lost before a rewrite, and is not in its files.
                    let was_accepted = cursor.track.rewritten.is_none()
                        && self.source.is_accepted(Id::new(id, chunk * CHUNK_BYTES as u32))?;
                    let fault = cursor.track.fault(chunk, fault);
                    if !self.accept_loss && !was_accepted {
                        return Err(fault);
                    }
                    self.why_lost = fault.to_string();
                    self.pass_over(chunk)?;
                    return Ok(true);
                }
                Err(broken @ Broken::Io(_)) => return Err(broken.into_error(&cursor.track)),
            }
        }
    }

    /// Up to where it may read.
    fn end(&self) -> Id {
        if self.uncommitted { self.ends.written } else { self.ends.durable }
    }

    /// Looks how far the queue goes by now.
    fn look(&mut self) -> Result<()> {
        let ends = self.source.ends()?;
        self.ends = ends;
        if self.next < ends.first_kept {
            self.next = ends.first_kept;
            self.cursor = None;
        }
        if self.cursor.is_some() {
            self.set_limit()?;
        }
        Ok(())
    }

    /// Opens the track in which it goes on.
    fn find_track(&mut self) -> Result<Way> {
        let end = self.end();
        loop {
            let wanted = self.next.track().max(TrackId(1));
            if wanted > end.track() || self.next >= end {
                return Ok(Way::Nowhere);
            }
            if self.next.track() < wanted {
                self.next = Id::new(wanted, 0);
            }
            if let Some(track) = self.source.open_track(wanted)? {
                self.cursor = Some(Cursor::new(Arc::new(track), self.next.position())?);
                self.track_end = None;
                self.set_limit()?;
                return Ok(Way::On);
            }
            if self.is_behind_truncation()? {
                continue;
            }
            self.accept_missing(wanted)?;
            let behind = self.source.track_behind(wanted)?;
            let from = std::mem::replace(&mut self.next, behind.map_or(end, |id| Id::new(id, 0)));
            self.at = At::Lost(from, self.next);
            self.why_lost = format!("track {wanted} is missing");
            return Ok(Way::OverAGap);
        }
    }

    /// Whether what is missing was truncated meanwhile; goes on behind it.
    fn is_behind_truncation(&mut self) -> Result<bool> {
        let first_kept = self.source.first_kept()?;
        let behind = self.next < first_kept;
        self.next = self.next.max(first_kept);
        Ok(behind)
    }

    /// Fails where a track is missing whose loss was not accepted.
    fn accept_missing(&self, track: TrackId) -> Result<()> {
        self.accept(track, || {
            let path = self.source.dir.join(track.file_name());
            let error = Error::new(ErrorKind::Corruption, "the track is missing");
            error.with_path(&path).with_track(track)
        })
    }

    /// Fails with what is wrong with a track, unless its loss was accepted.
    fn accept(&self, track: TrackId, wrong: impl FnOnce() -> Error) -> Result<()> {
        if self.accept_loss || self.source.is_accepted(Id::new(track, 0))? {
            return Ok(());
        }
        Err(wrong())
    }

    /// Says up to where the cursor may read its track.
    fn set_limit(&mut self) -> Result<()> {
        let track = &self.cursor.as_ref().expect("there is one").track;
        let (id, end) = (track.id, self.end());
        if let Some(of) = track.rewritten {
            // Durable as a whole, also where `ends` is from before that.
            self.limit = of.end;
            if id < end.track() && self.track_end.is_none() {
                self.track_end = self.end_of(id)?;
            }
        } else if id >= end.track() {
            self.limit = if id == end.track() { end.position() } else { 0 };
        } else if self.track_end.is_none() {
            self.track_end = self.end_of(id)?;
            self.limit = self.track_end.map_or(0, |end| end.end);
        }
        Ok(())
    }

    /// Where a track ends that is not the last one, as the next one's header says; `None` if the
    /// next one is gone, and this one with it.
    fn end_of(&self, id: TrackId) -> Result<Option<TrackEnd>> {
        let next = TrackId(id.0 + 1);
        let Some(track) = self.source.open_track(next)? else {
            if self.source.first_kept()?.track() > id {
                return Ok(None);
            }
            self.accept_missing(next)?;
            return self.whole_track();
        };
        match track.header()? {
            Ok(header) => Ok(header.predecessor.filter(|before| before.track == id)),
            Err(fault) => {
                self.accept(next, || track.fault(0, fault))?;
                self.whole_track()
            }
        }
    }

    /// The track as far as it goes: nothing lies behind the end of a track that is not the last.
    fn whole_track(&self) -> Result<Option<TrackEnd>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let end = whole_chunks(cursor.track.len()?);
        Ok(Some(TrackEnd { track: cursor.track.id, end, cut: false }))
    }

    /// Goes on to the next track; whether there is something to say of the way.
    fn leave_track(&mut self) -> Result<bool> {
        let left = self.cursor.take().expect("there is one").track.id;
        self.next = self.next.max(Id::new(TrackId(left.0 + 1), 0));
        let end = self.track_end.take();
        if let Some(end) = end.filter(|end| end.cut) {
            self.at = At::Cut(Id::new(end.track, end.end));
            return Ok(true);
        }
        Ok(false)
    }

    /// Says that a chunk is lost, and goes on behind it.
    fn pass_over(&mut self, chunk: u32) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("there is one");
        let position = cursor.pass_over(chunk, self.limit);
        let position = position.map_err(|broken| broken.into_error(&cursor.track))?;
        let from = self.next;
        self.next = Id::new(cursor.track.id, position).max(from);
        self.at = At::Lost(from, self.next);
        Ok(())
    }
}
