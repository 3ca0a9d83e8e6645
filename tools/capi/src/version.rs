//! Which interface this is.

#![expect(unsafe_code, reason = "an exported name")]

/// The version of the interface that this header describes. It is raised when something in it
/// changes, and not when something is added.
pub const KOGIA_QUEUE_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has: to be compared with
/// KOGIA_QUEUE_ABI_VERSION where the library is found at run time.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_abi_version() -> u32 {
    KOGIA_QUEUE_ABI_VERSION
}
