//! Early write-back, for which no safe interface is at hand.

#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

/// Has the system begin to write a range of `file` to its device, and does not wait for it. Where that
/// can't be had, nothing happens: the next sync does all.
#[cfg(target_os = "linux")]
pub(super) fn start(file: &std::fs::File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    // SAFETY: the call takes three numbers and a descriptor, which the borrowed file keeps open, and
    // no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn start(_file: &std::fs::File, _offset: u64, _len: u64) {}
