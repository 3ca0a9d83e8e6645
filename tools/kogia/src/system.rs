//! Two things that the operating system has and neither the standard library nor rustix gives:
//! being told to end, and asking whether anybody writes to a file. The only unsafe code here.

#![expect(unsafe_code, reason = "C functions, which have to be declared to be called")]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIGIO: c_int = 29;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const F_SETLEASE: c_int = 1024;
const F_RDLCK: c_int = 0;
const F_UNLCK: c_int = 2;

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(number: c_int) {
    ASKED_TO_END.store(true, Ordering::Relaxed);
    // SAFETY: signal() is one of the functions that a handler may call, and this handler is the
    // default one.
    unsafe { signal(number, SIG_DFL) };
}

/// From now on Ctrl-C and SIGTERM do not end the process but are remembered, each once: a second
/// one ends it.
pub fn remember_signals() {
    let handler = on_signal as extern "C" fn(c_int);
    for number in [SIGINT, SIGTERM] {
        // SAFETY: the handler touches an atomic flag and calls signal(), which handlers may.
        unsafe { signal(number, handler as usize) };
    }
    // SAFETY: ignoring a signal calls nothing. It comes when somebody opens a file for writing at
    // the moment at which it is asked about.
    unsafe { signal(SIGIO, SIG_IGN) };
}

/// From now on they end the process again, whether they came before or not.
pub fn forget_signals() {
    for number in [SIGINT, SIGTERM] {
        // SAFETY: the default handler calls nothing of ours.
        unsafe { signal(number, SIG_DFL) };
    }
    ASKED_TO_END.store(false, Ordering::Relaxed);
}

/// Whether Ctrl-C or SIGTERM came since [`remember_signals`].
pub fn was_asked_to_end() -> bool {
    ASKED_TO_END.load(Ordering::Relaxed)
}

/// Whether any process has the file open for writing; `None` where that can't be told, as for
/// files of other users, or on a network. The file is open for reading only.
pub fn is_written_to(file: &File) -> Option<bool> {
    // A lease for reading can only be had while nobody has the file open for writing.
    let lease = |kind: c_int| {
        // SAFETY: the descriptor is open, and the command takes an int.
        match unsafe { fcntl(file.as_raw_fd(), F_SETLEASE, kind) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    match lease(F_RDLCK) {
        Ok(()) => {
            // Closing the file gives it back as well.
            let _ = lease(F_UNLCK);
            Some(false)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(true),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_to_while_somebody_has_it_open_for_that() {
        let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        let reading = File::open(&path).expect("it opens");
        assert_eq!(is_written_to(&reading), Some(false));
        let writing = File::options().append(true).open(&path).expect("it opens");
        assert_eq!(is_written_to(&reading), Some(true));
        drop(writing);
        assert_eq!(is_written_to(&reading), Some(false));
    }
}
