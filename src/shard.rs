//! Ready-made partition functions for [`Options::shard`](crate::Options::shard).
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let home = dir.path();
//! let store = kogia::Options::new().shard(kogia::shard::by_first_component).open(home)?;
//! # Ok::<_, kogia::Error>(())
//! ```

use crate::format::checksum;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// By size, in powers of two: large objects and small ones seldom die together.
///
/// ```
/// use kogia::shard::by_size;
/// assert_eq!(by_size(b"key", 1000, None), by_size(b"key", 1023, None));
/// assert_ne!(by_size(b"key", 1000, None), by_size(b"key", 1024, None));
/// ```
#[must_use]
pub fn by_size(_key: &[u8], len: u64, _expires_ms: Option<u64>) -> u8 {
    (u64::BITS - len.leading_zeros()) as u8
}

/// By the key's first component, up to the first `/`: a camera, a bucket, a user. Components share
/// 16 shards by their hash.
///
/// ```
/// use kogia::shard::by_first_component;
/// assert_eq!(by_first_component(b"camera-1/a", 1, None), by_first_component(b"camera-1/b", 9, None));
/// ```
#[must_use]
pub fn by_first_component(key: &[u8], _len: u64, _expires_ms: Option<u64>) -> u8 {
    let end = key.iter().position(|byte| *byte == b'/').unwrap_or(key.len());
    (checksum::crc32c(&key[..end]) % 16) as u8
}

/// By the day of expiry (UTC), modulo 64; what never expires has a shard of its own.
///
/// ```
/// use kogia::shard::by_expiry_day;
/// let noon = 1_700_049_600_000;
/// assert_eq!(by_expiry_day(b"a", 1, Some(noon)), by_expiry_day(b"b", 1, Some(noon + 60_000)));
/// assert_ne!(by_expiry_day(b"a", 1, Some(noon)), by_expiry_day(b"a", 1, None));
/// ```
#[must_use]
pub fn by_expiry_day(_key: &[u8], _len: u64, expires_ms: Option<u64>) -> u8 {
    expires_ms.map_or(64, |at| (at / DAY_MS % 64) as u8)
}
