//! A queue: opening, appending, dropping, counting.

#![expect(unsafe_code, reason = "exported names, and arguments that are addresses")]

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::Duration;

use kogia::queue::{Id, QueueReader};

use crate::error::{Error, Failure, Status, guard};
use crate::memory::{self, given};
use crate::options::{self, KOGIA_QUEUE_UNLIMITED, Options};

/// A queue that this process appends to, or reads beside the one that does.
pub struct Queue(Side);

enum Side {
    Owner(kogia::queue::Queue),
    Reader(QueueReader),
}

impl Queue {
    fn owner(&self) -> Result<&kogia::queue::Queue, Failure> {
        match &self.0 {
            Side::Owner(queue) => Ok(queue),
            Side::Reader(_) => Err(Failure::invalid("the queue was opened for reading alone")),
        }
    }

    pub(crate) fn stream(&self, from: Id) -> kogia::Result<kogia::queue::Stream> {
        match &self.0 {
            Side::Owner(queue) => queue.stream(Some(from)),
            Side::Reader(queue) => queue.stream(Some(from)),
        }
    }

    pub(crate) fn consumer(&self, name: &str) -> kogia::Result<kogia::queue::Consumer> {
        match &self.0 {
            Side::Owner(queue) => queue.consumer(name),
            Side::Reader(queue) => queue.consumer(name),
        }
    }

    pub(crate) fn consumers(&self) -> kogia::Result<Vec<(String, Id)>> {
        match &self.0 {
            Side::Owner(queue) => queue.consumers(),
            Side::Reader(queue) => queue.consumers(),
        }
    }

    pub(crate) fn forget_consumer(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.owner()?.forget_consumer(name)?)
    }

    fn stats(&self) -> kogia::Result<kogia::queue::QueueStats> {
        match &self.0 {
            Side::Owner(queue) => queue.stats(),
            Side::Reader(queue) => queue.stats(),
        }
    }
}

/// The given queue.
pub(crate) fn queue(queue: Option<&Queue>) -> Result<&Queue, Failure> {
    given(queue, "queue")
}

/// The given queue, if it takes items.
fn owner(queue: Option<&Queue>) -> Result<&kogia::queue::Queue, Failure> {
    self::queue(queue)?.owner()
}

/// An item of a batch.
#[repr(C)]
pub struct Item {
    /// Its bytes; may be NULL if there are none.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
}

/// What of a queue is durable.
#[repr(C)]
pub struct Stats {
    /// The queue's identity.
    pub queue: [u8; 16],
    /// Items that are kept.
    pub items: u64,
    /// Tracks that there are.
    pub tracks: u64,
    /// Bytes of their files, with what is taken ahead for the last one.
    pub file_bytes: u64,
    /// No item before this id is kept.
    pub first_kept: u64,
    /// No item at this id or behind it is durable.
    pub end: u64,
}

/// Opens the queue in the directory `dir` to append to it, or creates one there.
///
/// `options` may be NULL, for the defaults. `*queue` becomes a handle that kogia_queue_close frees,
/// or NULL where this fails: LOCKED where it is open already, in this process or another; DAMAGED
/// where items that were durable are not what was written; NOT_FOUND and EXISTS as
/// `options->create` says.
///
/// # Safety
/// `dir` ends with a zero byte. `options->size` is the size of what is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_open(
    dir: *const c_char,
    options: *const Options,
    queue: Option<&mut MaybeUninit<Option<Box<Queue>>>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let queue = given(queue, "queue")?.write(None);
        // SAFETY: the caller's.
        let dir = unsafe { memory::path(dir, "dir") }?;
        // SAFETY: the caller's, and the options are numbers.
        let options = unsafe { memory::grown(options, Options::default(), "options") }?;
        *queue = Some(open(dir, options)?);
        Ok(())
    })
}

fn open(dir: &Path, options: Options) -> Result<Box<Queue>, Failure> {
    Ok(Box::new(Queue(Side::Owner(options.to_queue()?.open(dir)?))))
}

/// Opens the queue in the directory `dir` to read it alone, beside the process that appends to it
/// or while nobody does. Everything that would change the queue fails with INVALID_ARGUMENT;
/// consumers commit. `*queue` is as with kogia_queue_open; NOT_FOUND where there is no queue.
///
/// # Safety
/// `dir` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_open_reader(
    dir: *const c_char,
    queue: Option<&mut MaybeUninit<Option<Box<Queue>>>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let queue = given(queue, "queue")?.write(None);
        // SAFETY: the caller's.
        let dir = unsafe { memory::path(dir, "dir") }?;
        *queue = Some(Box::new(Queue(Side::Reader(QueueReader::open(dir)?))));
        Ok(())
    })
}

/// Makes everything durable, closes the queue and frees the handle, also where it fails. Nobody may
/// be using the handle, nor use it again. Streams and consumers stay good: they read what is there,
/// and what whoever opens it next appends. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_close(
    queue: Option<Box<Queue>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        if let Some(Queue(Side::Owner(queue))) = queue.map(|queue| *queue) {
            queue.close()?;
        }
        Ok(())
    })
}

/// Appends an item of at most 1 GiB; returns when it is as durable as the option `durability` says.
/// Those who append at the same time share a sync. `*id` becomes its id; `id` may be NULL.
///
/// FULL where there is no room: the item was not taken, unless the message says so. POISONED after
/// a failed write or sync: what was not acknowledged may or may not be there when the queue is
/// opened again.
///
/// # Safety
/// `data` points to `len` bytes, or is NULL if `len` is 0. They may change when this has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_append(
    queue: Option<&Queue>,
    data: *const c_void,
    len: usize,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        // SAFETY: the caller's.
        let item = unsafe { memory::item(data, len) }?;
        tell(id, owner(queue)?.append(item)?);
        Ok(())
    })
}

/// Like kogia_queue_append, with a durability of its own: one of `enum kogia_queue_durability`.
///
/// # Safety
/// As kogia_queue_append.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_append_with(
    queue: Option<&Queue>,
    data: *const c_void,
    len: usize,
    durability: i32,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        // SAFETY: the caller's.
        let item = unsafe { memory::item(data, len) }?;
        tell(id, owner(queue)?.append_with(item, options::durability(durability)?)?);
        Ok(())
    })
}

/// Like kogia_queue_append, and returns at once: the item is durable with the next
/// kogia_queue_sync, or by itself within the option `sync_interval_ms`. Waits only where the buffer
/// is full. If the process dies, what is in the buffer is lost.
///
/// # Safety
/// As kogia_queue_append.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_append_later(
    queue: Option<&Queue>,
    data: *const c_void,
    len: usize,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        // SAFETY: the caller's.
        let item = unsafe { memory::item(data, len) }?;
        tell(id, owner(queue)?.append_later(item)?);
        Ok(())
    })
}

/// Appends `count` items in order, with one wait for all. `ids` is NULL or has room for as many;
/// where this fails, what is there says nothing. After a crash, or an error, some of the first of
/// them may be in the queue, and not the others.
///
/// # Safety
/// `items` points to `count` items, each of whose data points to as many bytes as its `len` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_append_batch(
    queue: Option<&Queue>,
    items: *const Item,
    count: usize,
    ids: *mut u64,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let queue = owner(queue)?;
        // SAFETY: the caller's, both.
        let (items, ids) =
            unsafe { (memory::array(items, count, "items")?, memory::room(ids, count, "ids")?) };
        // SAFETY: the caller's.
        let items = items.iter().map(|item| unsafe { memory::item(item.data, item.len) });
        // All of them first, or some would be appended before one that cannot be.
        let items = items.collect::<Result<Vec<_>, _>>()?;
        for (place, id) in ids.iter_mut().zip(queue.append_batch(items)?) {
            place.write(id.0);
        }
        Ok(())
    })
}

/// Makes all that was appended durable.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_sync(
    queue: Option<&Queue>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || Ok(owner(queue)?.sync()?))
}

/// `*id` becomes the id that all items before it are durable. Not for a queue that was opened for
/// reading alone: see kogia_queue_get_stats.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_durable_end(
    queue: Option<&Queue>,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        given(id, "id")?.write(owner(queue)?.durable_end().0);
        Ok(())
    })
}

/// Drops the items before `id`, which need not be an item's; durable when it returns. Room comes
/// back a track at a time. Streams that have not come so far go on at the first item that is kept.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_truncate_before(
    queue: Option<&Queue>,
    id: u64,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || Ok(owner(queue)?.truncate_before(Id(id))?))
}

/// Drops what is too old or too much by the options `max_age_ms` and `max_bytes`. Happens by itself
/// when the queue is opened and with each new track.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_apply_retention(
    queue: Option<&Queue>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || Ok(owner(queue)?.apply_retention()?))
}

/// The limits in force, or KOGIA_QUEUE_UNLIMITED. Either may be NULL. Not for a queue that was
/// opened for reading alone.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_get_retention(
    queue: Option<&Queue>,
    max_age_ms: Option<&mut MaybeUninit<u64>>,
    max_bytes: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let (age, bytes) = owner(queue)?.retention();
        let as_ms = |age: Duration| age.as_millis().try_into().unwrap_or(KOGIA_QUEUE_UNLIMITED);
        if let Some(place) = max_age_ms {
            place.write(age.map_or(KOGIA_QUEUE_UNLIMITED, as_ms));
        }
        if let Some(place) = max_bytes {
            place.write(bytes.unwrap_or(KOGIA_QUEUE_UNLIMITED));
        }
        Ok(())
    })
}

/// Counts what is durable.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_get_stats(
    queue: Option<&Queue>,
    stats: Option<&mut MaybeUninit<Stats>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let found = self::queue(queue)?.stats()?;
        given(stats, "stats")?.write(Stats {
            queue: found.id.0,
            items: found.items,
            tracks: found.tracks,
            file_bytes: found.file_bytes,
            first_kept: found.first_kept.0,
            end: found.end.0,
        });
        Ok(())
    })
}

/// Puts an id where it is wanted.
fn tell(place: Option<&mut MaybeUninit<u64>>, id: Id) {
    if let Some(place) = place {
        place.write(id.0);
    }
}
