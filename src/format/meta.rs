//! The small files: a store's `META` and a disk's `DISK`.
//!
//! Both are one envelope around a bincode value:
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `KOGIAMET` or `KOGIADSK` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | length | bytes of the value |
//! | 16 | length | value | bincode of [`StoreMeta`] or [`DiskMeta`] |
//! | 16 + length | 4 | crc | CRC-32C of everything before |
//!
//! Example: a `DISK` is 36 bytes, and begins `4b 4f 47 49 41 44 53 4b 01 00 00 00 10 00 00 00`,
//! followed by the 16 bytes of the disk's id.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DiskId, Fault, StoreId, TrackId, bytes_at, checksum, codec};

/// The version of `META` and `DISK`.
pub const VERSION: u32 = 1;
/// The largest envelope that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

const VALUE_AT: usize = 16;
const CRC_BYTES: usize = 4;

/// What must be known of a store before its index can be trusted.
///
/// ```
/// use kogia::format::{StoreId, meta::StoreMeta};
///
/// let meta = StoreMeta {
///     store: StoreId([1; 16]),
///     openings: 3,
///     clean: true,
///     next_track: 8,
///     disks: vec![],
///     cuts: vec![],
/// };
/// assert_eq!(StoreMeta::decode(&meta.encode()), Ok(meta));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreMeta {
    /// The store.
    pub store: StoreId,
    /// Openings so far: the number of the present or last one (invariant I7).
    pub openings: u32,
    /// Whether the last opening ended cleanly: then active tracks are continued.
    pub clean: bool,
    /// Tracks have ids below this one.
    pub next_track: u32,
    /// The disks, in the order in which they came.
    pub disks: Vec<DiskState>,
    /// Ends of tracks whose sync failed: what lies behind never counts (invariant I2).
    pub cuts: Vec<(TrackId, u32)>,
}

/// A store's view of one of its disks.
///
/// ```
/// use kogia::format::{DiskId, TrackId, meta::DiskState};
///
/// let active = Some((TrackId(7), 900)); // synced up to chunk 900
/// let disk = DiskState { id: DiskId([2; 16]), path: "/mnt/a/kogia".into(), active };
/// assert_eq!(disk.active.map(|(track, _)| track.file_name()).unwrap(), "0000000007.track");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskState {
    /// The disk.
    pub id: DiskId,
    /// Its directory when it was last opened.
    #[serde(deserialize_with = "codec::text")]
    pub path: String,
    /// The active track, or where there is none the last one that was sealed, and the chunk up to
    /// which it is known to have been synced.
    pub active: Option<(TrackId, u32)>,
}

/// A disk's identity.
///
/// ```
/// use kogia::format::{DiskId, meta::DiskMeta};
///
/// let disk = DiskMeta { id: DiskId([2; 16]) };
/// let file = disk.encode();
/// assert!(file.starts_with(b"KOGIADSK"));
/// assert_eq!(DiskMeta::decode(&file), Ok(disk));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskMeta {
    /// The disk.
    pub id: DiskId,
}

impl StoreMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIAMET", self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        open("META", b"KOGIAMET", bytes)
    }
}

impl DiskMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIADSK", self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        open("DISK", b"KOGIADSK", bytes)
    }
}

fn seal<T: Serialize>(magic: &[u8; 8], value: &T) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    codec::encode_into(value, &mut out);
    let length = (out.len() - VALUE_AT) as u32;
    out[12..VALUE_AT].copy_from_slice(&length.to_le_bytes());
    let crc = checksum::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn open<T: DeserializeOwned>(
    what: &'static str,
    magic: &[u8; 8],
    bytes: &[u8],
) -> Result<T, Fault> {
    if bytes.len() < VALUE_AT + CRC_BYTES {
        let needed = VALUE_AT + CRC_BYTES;
        return Err(Fault::Short { what, needed, found: bytes.len() });
    }
    if &bytes[..8] != magic {
        return Err(Fault::Magic { what });
    }
    let needed = VALUE_AT + CRC_BYTES + u32::from_le_bytes(bytes_at(bytes, 12)) as usize;
    if bytes.len() != needed {
        return Err(Fault::Short { what, needed, found: bytes.len() });
    }
    let (covered, crc) = bytes.split_at(needed - CRC_BYTES);
    let (stored, computed) = (u32::from_le_bytes(bytes_at(crc, 0)), checksum::crc32c(covered));
    if stored != computed {
        return Err(Fault::Checksum { what, stored, computed });
    }
    // After the checksum: a rotten version field is damage, not a newer format.
    let found = u32::from_le_bytes(bytes_at(bytes, 8));
    if found != VERSION {
        return Err(Fault::Version { what, found, known: VERSION });
    }
    codec::decode(what, &covered[VALUE_AT..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> StoreMeta {
        let disk = DiskState {
            id: DiskId([2; 16]),
            path: "/mnt/a/kogia".into(),
            active: Some((TrackId(7), 9)),
        };
        StoreMeta {
            store: StoreId([1; 16]),
            openings: 3,
            clean: true,
            next_track: 8,
            disks: vec![disk],
            cuts: vec![(TrackId(5), 44)],
        }
    }

    #[test]
    fn round_trips_and_the_documented_disk_is_what_is_written() {
        assert_eq!(StoreMeta::decode(&example().encode()), Ok(example()));
        let disk = DiskMeta { id: DiskId([7; 16]) };
        let bytes = disk.encode();
        assert_eq!((bytes.len(), &bytes[..16]), (36, &b"KOGIADSK\x01\0\0\0\x10\0\0\0"[..]));
        assert_eq!(DiskMeta::decode(&bytes), Ok(disk));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_found() {
        let good = example().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(StoreMeta::decode(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(StoreMeta::decode(&good[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = example().encode();
        bytes[8] = 2;
        let end = bytes.len() - CRC_BYTES;
        let crc = checksum::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        let expected = Fault::Version { what: "META", found: 2, known: 1 };
        assert_eq!(StoreMeta::decode(&bytes), Err(expected));
    }
}
