//! A page of numbers that processes share, and on which they wait for one another.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::thread::futex::{self, Timespec};

/// Numbers of a page.
pub const PAGE_WORDS: usize = 62;
/// Bytes of a page's file.
pub(super) const PAGE_BYTES: u64 = 4096;

/// Numbers that one process writes and any number of them read, and a bell.
///
/// Each number is read and written whole; nothing holds several of them together. What is read is
/// what some process wrote, whatever that was: it is not to be trusted for a size.
///
/// ```
/// use kogia::io::Page;
/// use std::time::Duration;
///
/// let page = Page::in_memory();
/// let rung = page.rung();
/// page.store(0, 7);
/// page.ring();
/// page.wait(rung, Some(Duration::from_secs(9))); // returns at once: it rang since
/// assert_eq!(page.load(0), 7);
/// ```
#[derive(Debug)]
pub struct Page(Backing);

#[derive(Debug)]
enum Backing {
    Mapped { map: MmapRaw, writable: bool },
    Memory { layout: Arc<Layout>, writable: bool },
}

/// What a page holds; the file of one is as long as [`PAGE_BYTES`], and zero behind this.
#[derive(Debug)]
#[repr(C)]
struct Layout {
    rung: AtomicU32,
    reserved: u32,
    words: [AtomicU64; PAGE_WORDS],
}

const _: () = assert!(size_of::<Layout>() as u64 <= PAGE_BYTES);

impl Page {
    /// A page of zeros that only this process sees.
    #[must_use]
    pub fn in_memory() -> Self {
        MemoryPage::default().open(true)
    }

    /// The page in a file of at least [`PAGE_BYTES`].
    pub(super) fn of_file(file: &File, writable: bool) -> Result<Self> {
        if file.metadata()?.len() < PAGE_BYTES {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut options = MmapOptions::new();
        options.len(PAGE_BYTES as usize);
        let map =
            if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        Ok(Page(Backing::Mapped { map, writable }))
    }

    fn layout(&self) -> &Layout {
        match &self.0 {
            Backing::Memory { layout, .. } => layout,
            // SAFETY: the map is as long as a page, which a layout fits into, is aligned to a page,
            // and lives as long as `self`. All that is ever made of its bytes are references to
            // atomics, of which every bit pattern is one, so that writers in other processes do no
            // harm. A map that is not writable is only read, and with relaxed loads of up to 64
            // bits, which are plain ones. The file is never made shorter by Kogia; that others leave
            // it alone is asked of the user.
            Backing::Mapped { map, .. } => unsafe { &*map.as_ptr().cast::<Layout>() },
        }
    }

    /// A number. What was written before it was stored is seen after this.
    #[must_use]
    pub fn load(&self, word: usize) -> u64 {
        let value = self.layout().words[word].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Sets a number.
    ///
    /// # Panics
    /// If the page was opened for reading only.
    pub fn store(&self, word: usize, value: u64) {
        self.assert_writable();
        self.layout().words[word].store(value, Ordering::Release);
    }

    /// How often the bell was rung; to be asked before looking for what is then waited for.
    #[must_use]
    pub fn rung(&self) -> u32 {
        let value = self.layout().rung.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Wakes all who wait, in every process.
    ///
    /// # Panics
    /// If the page was opened for reading only.
    pub fn ring(&self) {
        self.assert_writable();
        let rung = &self.layout().rung;
        rung.fetch_add(1, Ordering::Release);
        // It fails only where there is no such call.
        let _ = futex::wake(rung, futex::Flags::empty(), u32::MAX >> 1);
    }

    /// Waits until the bell was rung more than `rung` times, or for so long; may return early.
    pub fn wait(&self, rung: u32, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(1 << 40) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let _ = futex::wait(&self.layout().rung, futex::Flags::empty(), rung, timeout.as_ref());
    }

    fn assert_writable(&self) {
        let (Backing::Mapped { writable, .. } | Backing::Memory { writable, .. }) = self.0;
        assert!(writable, "a page that was opened for reading is written to");
    }
}

/// The memory of a page that is no file's: all who open it share it.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryPage(Arc<Layout>);

impl MemoryPage {
    pub(super) fn open(&self, writable: bool) -> Page {
        Page(Backing::Memory { layout: self.0.clone(), writable })
    }

    /// Another one of the same content.
    pub(super) fn copy(&self) -> Self {
        let words = self.0.words.each_ref().map(|word| word.load(Ordering::Relaxed).into());
        let rung = self.0.rung.load(Ordering::Relaxed).into();
        MemoryPage(Arc::new(Layout { rung, reserved: 0, words }))
    }
}

impl Default for Layout {
    fn default() -> Self {
        let words = [const { AtomicU64::new(0) }; PAGE_WORDS];
        Layout { rung: AtomicU32::new(0), reserved: 0, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_map_of_a_file_writes_another_reads_and_is_woken() {
        let file = tempfile::tempfile().expect("a file");
        assert!(Page::of_file(&file, true).is_err(), "it is too short");
        file.set_len(PAGE_BYTES).expect("it grows");
        let writer = Page::of_file(&file, true).expect("a map");
        let reader = Page::of_file(&file, false).expect("a map");
        let rung = reader.rung();
        let waiting = std::thread::spawn(move || {
            while reader.load(PAGE_WORDS - 1) == 0 {
                reader.wait(rung, None);
            }
            reader.load(PAGE_WORDS - 1)
        });
        std::thread::sleep(Duration::from_millis(20));
        writer.store(PAGE_WORDS - 1, 7);
        writer.ring();
        assert_eq!(waiting.join().expect("it is woken"), 7);
    }

    #[test]
    fn waiting_ends_with_its_time() {
        let page = Page::in_memory();
        page.wait(page.rung(), Some(Duration::from_millis(1)));
    }
}
