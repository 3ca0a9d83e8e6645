//! Early write-back: the device begins with what was written before somebody waits for it.

// No safe interface to `sync_file_range` is at hand.
#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::AsRawFd;

/// When so much was written and not synced, the device begins with it: 8 MiB. A sync that found all of
/// a stream to do would leave the device idle before it, and the writer during it.
const STEP_BYTES: u64 = 8 << 20;

/// How far a file that grows is durable, or on its way to the device.
#[derive(Debug, Default)]
pub(crate) struct WriteBack {
    started: u64,
}

impl WriteBack {
    /// The first bytes are durable.
    pub(crate) fn behind(durable: u64) -> Self {
        WriteBack { started: durable }
    }

    /// So many of the first bytes are durable by now.
    pub(crate) fn is_durable(&mut self, bytes: u64) {
        self.started = self.started.max(bytes);
    }

    /// What [`File::start_write_back`](super::File::start_write_back) is to be told when the file
    /// was written up to `end`, if it is much.
    pub(crate) fn ready(&mut self, end: u64) -> Option<Range<u64>> {
        let is_much = end >= self.started + STEP_BYTES;
        is_much.then(|| self.rest(end))
    }

    /// The same, however little it is.
    pub(crate) fn rest(&mut self, end: u64) -> Range<u64> {
        std::mem::replace(&mut self.started, end)..end
    }
}

/// Has the system begin to write a range of `file` to its device, and does not wait for it. Where that
/// can't be had, nothing happens: the next sync does all.
#[cfg(target_os = "linux")]
pub(super) fn start(file: &std::fs::File, range: Range<u64>) {
    let len = range.end.saturating_sub(range.start);
    let (Ok(offset), Ok(len)) = (i64::try_from(range.start), i64::try_from(len)) else { return };
    // SAFETY: the call takes three numbers and a descriptor, which the borrowed file keeps open, and
    // no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &std::fs::File, _range: Range<u64>) {}
