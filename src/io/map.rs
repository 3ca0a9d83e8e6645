//! Mapped files.

#![allow(unsafe_code)]

use std::ops::Deref;

/// The first bytes of a file, mapped for reading, or held in memory by a simulated disk.
#[derive(Debug)]
pub struct Map(Backing);

#[derive(Debug)]
enum Backing {
    Mapped(memmap2::Mmap),
    Memory(Vec<u8>),
}

impl Map {
    /// Maps the first `len` bytes of `file`.
    ///
    /// Callers keep the promise of [`super::File::map`].
    pub(super) fn of_file(file: &std::fs::File, len: u64) -> std::io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        // SAFETY: a `&[u8]` over a map is sound only while nobody changes the bytes below it. A
        // track is mapped only up to its sealed end or, while it is active, as far as it has been
        // synced; the file is never cut off before that, and nothing writes there again except
        // hole punching and refilling, both of which wait until every reader pinned before the
        // chunks were freed is gone (invariant I4). The store's directory is locked against other
        // processes of ours; that foreign programs leave it alone is asked of the user, and
        // `Options::map_tracks(false)` does without maps.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Map(Backing::Mapped(map)))
    }

    /// Stands for a map of `bytes`.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Map(Backing::Memory(bytes))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Mapped(map) => map,
            Backing::Memory(bytes) => bytes,
        }
    }
}

/// Bytes that the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Has the processor fetch bytes that are read next: by itself it does not see beyond a page, and
/// waits for memory at the begin of each.
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which changes nothing that the program sees, and never faults, whatever
        // it points to.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
