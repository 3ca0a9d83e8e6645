//! Consumers: streams with a name, whose position is durable.

#![expect(unsafe_code, reason = "exported names, and arguments that are addresses")]

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use kogia::queue::Id;

use crate::error::{Error, Status, guard};
use crate::memory::{self, given};
use crate::queue::{Queue, queue};
use crate::stream::{Entry, step, timeout};

/// A reader with a name, which goes on behind the last item that it has committed: each item is
/// delivered at least once.
pub struct Consumer(kogia::queue::Consumer);

/// The names of a queue's consumers, each with the id that it has committed.
pub struct ConsumerList(Vec<(CString, u64)>);

/// Opens the consumer of that name. A name is 1 to 200 letters, digits, '-', '_' and '.', the first
/// of which is no '.'. `*consumer` becomes a handle that kogia_queue_consumer_free frees, or NULL
/// where this fails. It may outlive the queue's. One process at a time should use a name; of two,
/// the one that commits last counts.
///
/// # Safety
/// `name` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_consumer_open(
    queue: Option<&Queue>,
    name: *const c_char,
    consumer: Option<&mut MaybeUninit<Option<Box<Consumer>>>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let consumer = given(consumer, "consumer")?.write(None);
        // SAFETY: the caller's.
        let name = unsafe { memory::text(name, "name") }?;
        let opened = self::queue(queue)?.consumer(name)?;
        *consumer = Some(Box::new(Consumer(opened)));
        Ok(())
    })
}

/// Like kogia_queue_stream_next.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_next(
    consumer: Option<&mut Consumer>,
    entry: Option<&mut MaybeUninit<Entry>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || step(entry, || Ok(given(consumer, "consumer")?.0.next()?)))
}

/// Like kogia_queue_stream_follow.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_follow(
    consumer: Option<&mut Consumer>,
    timeout_ms: i64,
    entry: Option<&mut MaybeUninit<Entry>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        step(entry, || Ok(given(consumer, "consumer")?.0.follow(timeout(timeout_ms))?))
    })
}

/// Says that all items up to this one were dealt with; durable when it returns. One that was
/// committed before, or lies before that, is no news. Costs some syncs: every so many items, or so
/// often, will do. What was lent last stays lent.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_commit(
    consumer: Option<&mut Consumer>,
    id: u64,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || Ok(given(consumer, "consumer")?.0.commit(Id(id))?))
}

/// `*id` becomes the id that was committed last, or 0, which is no item's.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_committed(
    consumer: Option<&Consumer>,
    id: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let committed = given(consumer, "consumer")?.0.committed();
        given(id, "id")?.write(committed.unwrap_or_default().0);
        Ok(())
    })
}

/// Frees a consumer, and with it what it has lent. What it has committed stays. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_free(consumer: Option<Box<Consumer>>) {
    guard(None, || {
        drop(consumer);
        Ok(())
    });
}

/// Forgets the consumer of that name; `*was_there`, which may be NULL, becomes 1 or 0. Not for a
/// queue that was opened for reading alone.
///
/// # Safety
/// `name` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kogia_queue_forget_consumer(
    queue: Option<&Queue>,
    name: *const c_char,
    was_there: Option<&mut MaybeUninit<i32>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        // SAFETY: the caller's.
        let name = unsafe { memory::text(name, "name") }?;
        let forgotten = self::queue(queue)?.forget_consumer(name)?;
        if let Some(place) = was_there {
            place.write(forgotten.into());
        }
        Ok(())
    })
}

/// `*list` becomes a list of the consumers that have committed something: who truncates can keep
/// what the last of them lacks. kogia_queue_consumer_list_free frees it; NULL where this fails.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_list_consumers(
    queue: Option<&Queue>,
    list: Option<&mut MaybeUninit<Option<Box<ConsumerList>>>>,
    error: Option<&mut Option<Box<Error>>>,
) -> Status {
    guard(error, || {
        let list = given(list, "list")?.write(None);
        let found = self::queue(queue)?.consumers()?.into_iter();
        let found = found.map(|(name, id)| (CString::new(name).expect("a file's name"), id.0));
        *list = Some(Box::new(ConsumerList(found.collect())));
        Ok(())
    })
}

/// How many consumers are in the list; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_list_count(list: Option<&ConsumerList>) -> usize {
    list.map_or(0, |list| list.0.len())
}

/// The name of the list's consumer at `index`, from 0 on, there until the list is freed; NULL where
/// there is none.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_list_name(
    list: Option<&ConsumerList>,
    index: usize,
) -> *const c_char {
    let found = list.and_then(|list| list.0.get(index));
    found.map_or(std::ptr::null(), |(name, _)| name.as_ptr())
}

/// What the list's consumer at `index` has committed; 0 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_list_committed(
    list: Option<&ConsumerList>,
    index: usize,
) -> u64 {
    list.and_then(|list| list.0.get(index)).map_or(0, |(_, committed)| *committed)
}

/// Frees a list. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_consumer_list_free(list: Option<Box<ConsumerList>>) {
    drop(list);
}
