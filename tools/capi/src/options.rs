//! How a queue is opened, as a structure that can grow: zero is the default of every field.

use std::time::Duration;

use kogia::queue::QueueOptions;

use crate::error::Failure;

/// In `max_age_ms` and `max_bytes`: no limit.
pub const KOGIA_QUEUE_UNLIMITED: u64 = u64::MAX;

/// What to do where there is no queue, or one already.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum Create {
    /// Create one where there is none.
    IfMissing = 0,
    /// Only open one.
    Never = 1,
    /// Only create one.
    Always = 2,
}

/// When an append returns, by what its item then survives.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum Durability {
    /// When the device has it: the death of the process, and of the machine.
    Sync = 0,
    /// When the operating system has it: the death of the process. If the machine dies, the last
    /// `sync_interval_ms` may be lost, always from some item on.
    Os = 1,
}

/// How a queue is opened. Set `size` to sizeof(struct kogia_queue_options) and what is of no
/// interest to zero, which is the default of every field. Only the retention is remembered: all
/// else is as each opening says.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Size of this structure in bytes, as the caller knows it.
    pub size: usize,
    /// One of `enum kogia_queue_create`.
    pub create: i32,
    /// One of `enum kogia_queue_durability`: what kogia_queue_append and its batch wait for.
    pub durability: i32,
    /// How long an item that was not synced may stay so, in milliseconds. 0: 1,000.
    pub sync_interval_ms: u64,
    /// When a track is full, in bytes: what is dropped is dropped a track at a time. 8 KiB to
    /// 2 GiB. 0: 128 MiB.
    pub track_bytes: u32,
    /// If not 0, a queue is opened although items that were durable are damaged or missing: what
    /// can be read is kept, and readers are told of the gap.
    pub accept_loss: i32,
    /// What may wait to be written, in bytes; who appends more waits, too. 4 KiB to 1 GiB. 0: 1 MiB.
    pub buffer_bytes: u64,
    /// Tracks all of whose items are older than this are dropped, in milliseconds. 0: as it was
    /// (with a new queue, unlimited). KOGIA_QUEUE_UNLIMITED: no longer.
    pub max_age_ms: u64,
    /// The oldest tracks are dropped when all together have more bytes than this, but never the
    /// last one. 0: as it was (with a new queue, unlimited). KOGIA_QUEUE_UNLIMITED: no longer.
    pub max_bytes: u64,
}

impl Options {
    /// The queue's own.
    pub(crate) fn to_queue(self) -> Result<QueueOptions, Failure> {
        let mut options = QueueOptions::new()
            .create(create(self.create)?)
            .durability(durability(self.durability)?)
            .accept_loss(self.accept_loss != 0);
        if self.sync_interval_ms > 0 {
            options = options.sync_interval(Duration::from_millis(self.sync_interval_ms));
        }
        if self.track_bytes > 0 {
            options = options.track_bytes(self.track_bytes);
        }
        if self.buffer_bytes > 0 {
            // What is too much for an address is too much for a buffer.
            options = options.buffer_bytes(self.buffer_bytes.try_into().unwrap_or(usize::MAX));
        }
        if let Some(limit) = limit(self.max_age_ms) {
            options = options.max_age(limit.map(Duration::from_millis));
        }
        if let Some(limit) = limit(self.max_bytes) {
            options = options.max_bytes(limit);
        }
        Ok(options)
    }
}

fn create(number: i32) -> Result<kogia::Create, Failure> {
    const IF_MISSING: i32 = Create::IfMissing as i32;
    const NEVER: i32 = Create::Never as i32;
    const ALWAYS: i32 = Create::Always as i32;
    match number {
        IF_MISSING => Ok(kogia::Create::IfMissing),
        NEVER => Ok(kogia::Create::Never),
        ALWAYS => Ok(kogia::Create::Always),
        _ => Err(Failure::invalid(format!("create is {number}, which is none"))),
    }
}

pub(crate) fn durability(number: i32) -> Result<kogia::Durability, Failure> {
    const SYNC: i32 = Durability::Sync as i32;
    const OS: i32 = Durability::Os as i32;
    match number {
        SYNC => Ok(kogia::Durability::Sync),
        OS => Ok(kogia::Durability::Os),
        _ => Err(Failure::invalid(format!("durability is {number}, which is none"))),
    }
}

/// A limit to set, if any.
fn limit(number: u64) -> Option<Option<u64>> {
    match number {
        0 => None,
        KOGIA_QUEUE_UNLIMITED => Some(None),
        limit => Some(Some(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &std::path::Path, options: Options) -> kogia::queue::Queue {
        options.to_queue().ok().unwrap().open(dir).unwrap()
    }

    #[test]
    fn a_limit_stays_where_none_is_given_and_goes_where_it_is_lifted() {
        let dir = tempfile::tempdir().unwrap();
        let limited = Options { max_age_ms: 5_000, max_bytes: 1 << 30, ..Options::default() };
        let limits = (Some(Duration::from_secs(5)), Some(1 << 30));
        for options in [limited, Options::default()] {
            assert_eq!(open(dir.path(), options).retention(), limits);
        }
        let lifted = Options { max_age_ms: KOGIA_QUEUE_UNLIMITED, ..Options::default() };
        assert_eq!(open(dir.path(), lifted).retention(), (None, limits.1));
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        for number in [-1, 2, 3, i32::MAX] {
            assert!(Options { durability: number, ..Options::default() }.to_queue().is_err());
        }
        for number in [-1, 3, i32::MIN] {
            assert!(Options { create: number, ..Options::default() }.to_queue().is_err());
        }
    }
}
