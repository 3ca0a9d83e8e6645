//! The small files: a store's `META`, a disk's `DISK`, a backup's `BACKUP` and its store's
//! `BACKUPS`.
//!
//! All are one envelope around a bincode value:
//!
//! | offset | size | field | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `KOGIAMET`, `KOGIADSK`, `KOGIABAK` or `KOGIABKS` |
//! | 8 | 4 | version | 2 for `META`, 1 for the others |
//! | 12 | 4 | length | bytes of the value |
//! | 16 | length | value | bincode of [`StoreMeta`], [`DiskMeta`], [`BackupMeta`] or [`BackupMarks`] |
//! | 16 + length | 4 | crc | CRC-32C of everything before |
//!
//! Example: a `DISK` is 36 bytes, and begins `4b 4f 47 49 41 44 53 4b 01 00 00 00 10 00 00 00`,
//! followed by the 16 bytes of the disk's id.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::entry::TrackRow;
use super::{DiskId, Fault, Seq, StoreId, TrackId, bytes_at, checksum, codec};

/// The version of `META`. Version 1 had no `outputs`, `draining` and `trims`; it is still read.
pub const META_VERSION: u32 = 2;
/// The version of the other files.
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
///     trims: vec![],
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
    /// Tracks of whose front compaction has moved all that lived, and the chunk that their chains
    /// begin with now: what lies before may be punched, and is not scanned.
    pub trims: Vec<(TrackId, u32)>,
}

/// A store's view of one of its disks.
///
/// ```
/// use kogia::format::{DiskId, TrackId, meta::DiskState};
///
/// let active = Some((TrackId(7), 900)); // synced up to chunk 900
/// let path = "/mnt/a/kogia".into();
/// let disk = DiskState { id: DiskId([2; 16]), path, active, outputs: vec![], draining: false };
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
    /// Tracks that compaction wrote and no later track's header vouches for, and the chunk up to
    /// which each is known to have been synced.
    pub outputs: Vec<(TrackId, u32)>,
    /// Whether everything on it is to move to the other disks.
    pub draining: bool,
}

impl DiskState {
    /// A disk on which there is nothing yet.
    #[must_use]
    pub fn new(id: DiskId, path: String) -> Self {
        DiskState { id, path, active: None, outputs: Vec::new(), draining: false }
    }

    /// The tracks that are named here, each with the chunk up to which it is known to have been
    /// synced.
    pub fn tracks(&self) -> impl Iterator<Item = (TrackId, u32)> {
        self.active.iter().chain(&self.outputs).copied()
    }
}

/// `META` as it was in version 1.
#[derive(Deserialize)]
struct StoreMetaV1 {
    store: StoreId,
    openings: u32,
    clean: bool,
    next_track: u32,
    disks: Vec<DiskStateV1>,
    cuts: Vec<(TrackId, u32)>,
}

#[derive(Deserialize)]
struct DiskStateV1 {
    id: DiskId,
    #[serde(deserialize_with = "codec::text")]
    path: String,
    active: Option<(TrackId, u32)>,
}

impl From<StoreMetaV1> for StoreMeta {
    fn from(old: StoreMetaV1) -> Self {
        let disk =
            |DiskStateV1 { id, path, active }| DiskState { active, ..DiskState::new(id, path) };
        StoreMeta {
            store: old.store,
            openings: old.openings,
            clean: old.clean,
            next_track: old.next_track,
            disks: old.disks.into_iter().map(disk).collect(),
            cuts: old.cuts,
            trims: Vec::new(),
        }
    }
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

/// What a backup wrote: lies beside its tracks, so that the next backup into the same directory
/// knows which of them it may keep, and whether anybody has written to it.
///
/// ```
/// use kogia::format::{Seq, StoreId, meta::BackupMeta};
///
/// let (store, refilled_from) = (StoreId([1; 16]), Seq::first_of(3));
/// let (mark, tracks) = ([7; 16], vec![]);
/// let backup = BackupMeta { store, mark, made_ms: 0, next_track: 8, refilled_from, tracks };
/// assert_eq!(BackupMeta::decode(&backup.encode()), Ok(backup));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupMeta {
    /// The store.
    pub store: StoreId,
    /// 16 random bytes, which the store has in its [`BackupMarks`].
    pub mark: [u8; 16],
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// [`StoreMeta::next_track`] as it was written: a greater one has been written to.
    pub next_track: u32,
    /// Refilled segments that it does not have are of this seq or a greater one.
    pub refilled_from: Seq,
    /// The tracks.
    pub tracks: Vec<BackupTrack>,
}

/// The marks of a store's backups, in its home. A store that was itself taken back to an earlier
/// time does not have those of backups that were made later, and so does not build on them.
///
/// ```
/// use kogia::format::meta::BackupMarks;
///
/// let marks = BackupMarks { marks: vec![[7; 16]] };
/// assert_eq!(BackupMarks::decode(&marks.encode()), Ok(marks));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BackupMarks {
    /// The newest ones, in the order in which they came.
    pub marks: Vec<[u8; 16]>,
}

/// A track in a backup.
///
/// ```
/// use kogia::format::{TrackId, entry::TrackRow, meta::BackupTrack, track_header::TrackKind};
/// # use kogia::format::{DiskId, Seq};
///
/// # let row = TrackRow::new(DiskId([2; 16]), TrackKind::Append, 0, 0, Seq(4));
/// let track = BackupTrack::new(TrackId(7), 1, &row);
/// assert_eq!((track.chunks, track.head_chunks), (1, row.head_chunks));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupTrack {
    /// The track.
    pub track: TrackId,
    /// Chunks of its file.
    pub chunks: u32,
    /// [`TrackRow::head_chunks`] at the time of the backup.
    pub head_chunks: u32,
    /// [`TrackRow::lost_chunks`] at that time.
    pub lost_chunks: u32,
    /// [`TrackRow::dead_records`] at that time.
    pub dead_records: u64,
}

impl BackupTrack {
    /// What is to be remembered of a track whose file in the backup has so many chunks.
    #[must_use]
    pub fn new(track: TrackId, chunks: u32, row: &TrackRow) -> Self {
        let TrackRow { head_chunks, lost_chunks, dead_records, .. } = *row;
        BackupTrack { track, chunks, head_chunks, lost_chunks, dead_records }
    }
}

impl StoreMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIAMET", META_VERSION, self)
    }

    /// Says up to where a disk's track, which compaction wrote, was synced.
    pub fn vouch_for(&mut self, disk: DiskId, output: (TrackId, u32)) {
        if let Some(state) = self.disks.iter_mut().find(|state| state.id == disk) {
            state.outputs.retain(|(track, _)| *track != output.0);
            state.outputs.push(output);
        }
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        match open("META", b"KOGIAMET", bytes)? {
            (1, value) => codec::decode::<StoreMetaV1>("META", value).map(Self::from),
            (META_VERSION, value) => codec::decode("META", value),
            (found, _) => Err(Fault::Version { what: "META", found, known: META_VERSION }),
        }
    }
}

impl DiskMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIADSK", VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        open_first("DISK", b"KOGIADSK", bytes)
    }
}

impl BackupMeta {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIABAK", VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        open_first("BACKUP", b"KOGIABAK", bytes)
    }
}

impl BackupMarks {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(b"KOGIABKS", VERSION, self)
    }

    /// Decodes the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        open_first("BACKUPS", b"KOGIABKS", bytes)
    }
}

pub(super) fn seal<T: Serialize>(magic: &[u8; 8], version: u32, value: &T) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    codec::encode_into(value, &mut out);
    let length = (out.len() - VALUE_AT) as u32;
    out[12..VALUE_AT].copy_from_slice(&length.to_le_bytes());
    let crc = checksum::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Decodes a file of which there is one version.
pub(super) fn open_first<T: DeserializeOwned>(
    what: &'static str,
    magic: &[u8; 8],
    bytes: &[u8],
) -> Result<T, Fault> {
    match open(what, magic, bytes)? {
        (VERSION, value) => codec::decode(what, value),
        (found, _) => Err(Fault::Version { what, found, known: VERSION }),
    }
}

/// Opens an envelope: its version and the value's bytes.
pub(super) fn open<'a>(
    what: &'static str,
    magic: &[u8; 8],
    bytes: &'a [u8],
) -> Result<(u32, &'a [u8]), Fault> {
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
    Ok((u32::from_le_bytes(bytes_at(bytes, 8)), &covered[VALUE_AT..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> StoreMeta {
        let disk = DiskState {
            id: DiskId([2; 16]),
            path: "/mnt/a/kogia".into(),
            active: Some((TrackId(7), 9)),
            outputs: vec![(TrackId(6), 20)],
            draining: true,
        };
        StoreMeta {
            store: StoreId([1; 16]),
            openings: 3,
            clean: true,
            next_track: 8,
            disks: vec![disk],
            cuts: vec![(TrackId(5), 44)],
            trims: vec![(TrackId(4), 12)],
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
        bytes[8] = 3;
        let end = bytes.len() - CRC_BYTES;
        let crc = checksum::crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        let expected = Fault::Version { what: "META", found: 3, known: 2 };
        assert_eq!(StoreMeta::decode(&bytes), Err(expected));
    }
}
