//! Kogia's queue for C: `include/kogia_queue.h`, which is made from this crate's signatures and
//! comments and says what callers need to know.
//!
//! Handles are boxes; arguments are references where C has pointers that may be NULL, so nearly all
//! of this is safe code. Where C's word has to be taken for an address, it is in `memory`. All
//! that can panic runs in `error::guard`: nothing unwinds into C.
//!
//! What is here stays as it is: functions, enumerators and fields of
//! [`Options`](options::Options) are added, and whatever else changes raises
//! [`KOGIA_QUEUE_ABI_VERSION`](version::KOGIA_QUEUE_ABI_VERSION).

#![deny(unsafe_code, missing_docs)]

pub mod consumer;
pub mod error;
mod memory;
pub mod options;
pub mod queue;
pub mod stream;
pub mod version;

/// Many threads may use a queue at once, and a stream may go from one to another.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    const fn is_sent<T: Send>() {}
    is_shared::<queue::Queue>();
    is_shared::<error::Error>();
    is_sent::<stream::Stream>();
    is_sent::<consumer::Consumer>();
};
