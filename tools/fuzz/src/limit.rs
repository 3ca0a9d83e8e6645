//! An allocator that ends the process when one allocation is far larger than any input, so that
//! an allocation by a length that the bytes claim is a finding, although its pages are never
//! touched.

use std::alloc::{GlobalAlloc, Layout, System};

/// Inputs have at most 64 KiB, and serde allocates at most 1 MiB ahead.
const LARGEST_BYTES: usize = 4 << 20;

struct Limited;

#[global_allocator]
static LIMITED: Limited = Limited;

fn check(bytes: usize) {
    // A panic's backtrace may take what it likes.
    if bytes > LARGEST_BYTES && !std::thread::panicking() {
        // Not a panic: an allocator must not unwind.
        eprintln!("an allocation of {bytes} bytes, which the input must have claimed");
        std::process::abort();
    }
}

// SAFETY: every method passes its arguments on to the system's allocator unchanged, so the
// caller's promises hold for that one, and its promises are what the caller gets.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        check(bytes);
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}
