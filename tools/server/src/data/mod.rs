//! What S3's buckets and objects are in Kogia's stores. Knows nothing of HTTP.
//!
//! ```text
//! DIR/partitions/0/   a store: its objects, and the catalogue of all buckets
//! DIR/partitions/1/   a store: its objects
//! DIR/tracks/         a disk, unless others are given; all partitions lie on all disks
//! ```
//!
//! A bucket lies in one partition, and can be moved to another ([`moving`]). The rows of a store are in [`keys`], what an object carries beside
//! its bytes in [`attributes`], and uploads in [`uploads`].
//!
//! Stores block; the calls here do, too. [`blocking`] takes them off the runtime's threads.

pub mod attributes;
pub mod buckets;
pub mod keys;
pub mod lifecycle;
pub mod locks;
pub mod moving;
pub mod partitions;
pub mod rows;
pub mod scan;
pub mod settings;
pub mod streams;
pub mod tags;
pub mod uploads;
pub mod versions;

pub use attributes::Attributes;
pub use buckets::{Bucket, Catalogue};
pub use keys::BucketId;
pub use partitions::Partitions;

/// Runs what blocks on a thread that may. What it returns is dropped there, too, when nobody waits
/// for it any more.
///
/// # Panics
///
/// Where `work` does, and where the runtime is going down.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => panic!("the server is going down"),
    }
}
