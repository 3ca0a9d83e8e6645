//! Streams: a queue's items in order, lent to the caller.

#![expect(unsafe_code, reason = "exported names")]

use std::mem::MaybeUninit;
use std::time::Duration;

use kogia::queue::Id;

use crate::error::{Error, Failure, Status, guard};
use crate::memory::given;
use crate::queue::Queue;

/// For kogia_queue_stream_open: also shows what was written and is not durable yet. A power cut may
/// take it back.
pub const KOGIA_QUEUE_READ_UNCOMMITTED: u32 = 1;

/// For kogia_queue_stream_open: passes over damaged chunks, and says so with a lost entry.
pub const KOGIA_QUEUE_ACCEPT_LOSS: u32 = 2;

/// What a stream comes to.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// Nothing yet: asked again later, there may be something.
    None = 0,
    /// An item.
    Item = 1,
    /// A crash cut writing off here: items that were appended behind this and were not durable are
    /// gone. All behind it was written later.
    Cut = 2,
    /// Items that were durable are gone, from `id` to before `to`: their loss was accepted.
    Lost = 3,
}

/// What a stream has come to.
#[repr(C)]
pub struct Entry {
    /// What it is; the other fields are zero where that says nothing else.
    pub kind: EntryKind,
    /// The item's id, or where the cut is, or where what was lost began.
    pub id: u64,
    /// Behind what was lost.
    pub to: u64,
    /// The item's bytes, lent until the next call with the stream or consumer; not at any
    /// alignment.
    pub data: *const u8,
    /// How many bytes there are.
    pub len: usize,
}

impl Entry {
    const NONE: Entry =
        Entry { kind: EntryKind::None, id: 0, to: 0, data: std::ptr::null(), len: 0 };

    fn lend(entry: kogia::queue::Entry<'_>) -> Self {
        match entry {
            kogia::queue::Entry::Item(id, item) => {
                let (data, len) = (item.as_ptr(), item.len());
                Entry { kind: EntryKind::Item, id: id.0, data, len, ..Entry::NONE }
            }
            kogia::queue::Entry::Cut(id) => Entry { kind: EntryKind::Cut, id: id.0, ..Entry::NONE },
            kogia::queue::Entry::Lost(from, to) => {
                Entry { kind: EntryKind::Lost, id: from.0, to: to.0, ..Entry::NONE }
            }
        }
    }
}

/// Puts the entry that `next` comes to into `place`.
pub(crate) fn step<'a>(
    place: Option<&mut MaybeUninit<Entry>>,
    next: impl FnOnce() -> Result<Option<kogia::queue::Entry<'a>>, Failure>,
) -> Result<(), Failure> {
    let place = given(place, "entry")?.write(Entry::NONE);
    if let Some(entry) = next()? {
        *place = Entry::lend(entry);
    }
    Ok(())
}

/// As a caller says it: below zero, for ever.
pub(crate) fn timeout(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// A way through a queue, in the order of the ids.
pub struct Stream(kogia::queue::Stream);

/// Reads a queue from the item with the id `from` on, or from the first one behind it: it need not
/// be an item's, and 0 is before all. `flags` is 0 or KOGIA_QUEUE_READ_UNCOMMITTED and
/// KOGIA_QUEUE_ACCEPT_LOSS, added up. `*stream` becomes a handle that kogia_queue_stream_free
/// frees, or NULL where this fails. It may outlive the queue's.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_stream_open(
    queue: Option<&Queue>,
    from: u64,
    flags: u32,
    stream: Option<&mut MaybeUninit<Option<Box<Stream>>>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let stream = given(stream, "stream")?.write(None);
        let queue = crate::queue::queue(queue)?;
        if flags & !(KOGIA_QUEUE_READ_UNCOMMITTED | KOGIA_QUEUE_ACCEPT_LOSS) != 0 {
            return Err(Failure::invalid(format!("flags are {flags:#x}, which says nothing")));
        }
        let opened = queue
            .stream(Id(from))?
            .read_uncommitted(flags & KOGIA_QUEUE_READ_UNCOMMITTED != 0)
            .accept_loss(flags & KOGIA_QUEUE_ACCEPT_LOSS != 0);
        *stream = Some(Box::new(Stream(opened)));
        Ok(())
    })
}

/// `*entry` becomes the next entry; its kind is NONE where there is none yet, or where this fails.
///
/// CORRUPTION where a chunk is not what was written. The stream stays there: see
/// KOGIA_QUEUE_ACCEPT_LOSS.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_stream_next(
    stream: Option<&mut Stream>,
    entry: Option<&mut MaybeUninit<Entry>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || step(entry, || Ok(given(stream, "stream")?.0.next()?)))
}

/// Like kogia_queue_stream_next, and where there is no entry yet, waits for one, which it is woken
/// for at once: for `timeout_ms` milliseconds, or for ever if that is negative. The kind is NONE
/// when the time is over. Nothing else ends the wait: who wants to be able to, gives a timeout.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_stream_follow(
    stream: Option<&mut Stream>,
    timeout_ms: i64,
    entry: Option<&mut MaybeUninit<Entry>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || step(entry, || Ok(given(stream, "stream")?.0.follow(timeout(timeout_ms))?)))
}

/// `*id` becomes where the stream goes on: no item that it comes to has a smaller id.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_stream_position(
    stream: Option<&Stream>,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        given(id, "id")?.write(given(stream, "stream")?.0.position().0);
        Ok(())
    })
}

/// Frees a stream, and with it what it has lent. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_stream_free(stream: Option<Box<Stream>>) {
    guard(None, || {
        drop(stream);
        Ok(())
    });
}
