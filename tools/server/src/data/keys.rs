//! Where things are in a partition's store: the first byte of a key says what the row is.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | object | `o/0000002a/` and its S3 key | its bytes; [`Attributes`](super::Attributes) beside them |
//! | version | `v/0000002a/`, the S3 key, a zero byte, 16 hexadecimal digits | its bytes; [`Attributes`](super::Attributes) beside them |
//! | version that is being added | `n/` and so on | nothing |
//! | lock | `l/` and the rest of the version's or upload's key | [`Lock`](super::locks::Lock) |
//! | tags | `t/` and the rest of the object's or version's key | [`TagsRow`](super::tags::TagsRow) |
//! | upload | `u/0000002a/`, the S3 key, a zero byte, 32 hexadecimal digits | [`UploadRow`](super::uploads::UploadRow) |
//! | part of one | `p/0000002a/`, 32 hexadecimal digits, `/`, 5 decimal digits | [`PartRow`](super::uploads::PartRow) |
//! | a bucket's settings, in partition 0 | `c/0000002a` | [`Settings`](super::settings::Settings) |
//! | bucket, in partition 0 | `b/` and its name | [`BucketRow`](super::buckets::BucketRow) |
//! | the next bucket's id, in partition 0 | `s/next-bucket` | [`Counter`](super::buckets::Counter) |
//!
//! The eight digits are the bucket's id. A bucket's rows are found by the prefixes that hold it,
//! wherever they lie, so that they can be moved to another partition. Ids are never used twice.
//!
//! The digits of a version are smaller the later it was begun, so that of a key's versions the newest
//! is the first. Where a bucket keeps versions, keys have no zero bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A bucket for ever: its name may come to mean another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BucketId(pub u32);

/// An upload's name, which nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UploadId(pub [u8; 16]);

/// A version of an object: greater, the later it was begun. Microseconds since 1970, or a little more.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct VersionId(pub u64);

/// The parts of an upload are numbered from 1 to this.
pub const MAX_PART_NUMBER: u16 = 10_000;
pub const BUCKETS: &[u8] = b"b/";
pub const UPLOADS: &[u8] = b"u/";
pub const PARTS: &[u8] = b"p/";
pub const PENDING: &[u8] = b"n/";
pub const TAGS: &[u8] = b"t/";
pub const LOCKS: &[u8] = b"l/";
/// What the rows of buckets begin with, in the partition that each lies in.
pub const KINDS: [&[u8]; 7] = [b"o/", b"v/", TAGS, LOCKS, PENDING, UPLOADS, PARTS];
pub const NEXT_BUCKET: &[u8] = b"s/next-bucket";

const UPLOAD_DIGITS: usize = 32;
const VERSION_DIGITS: usize = 16;
const BUCKET_PREFIX_BYTES: usize = "o/0000002a/".len();

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::MAX - self.0)
    }
}

impl VersionId {
    /// When it was begun, in milliseconds since 1970, or a little later.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 / 1000
    }

    /// What [`Display`](fmt::Display) has written, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, VERSION_DIGITS)
            .then(|| u64::from_str_radix(text, 16).ok())?
            .map(|id| VersionId(u64::MAX - id))
    }
}

/// Whether a text is so many hexadecimal digits, none of them a capital letter.
fn is_hex(text: &str, digits: usize) -> bool {
    let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == digits && text.bytes().all(is_ours)
}

impl UploadId {
    /// A new one.
    ///
    /// # Panics
    ///
    /// Where the operating system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the operating system has random numbers");
        UploadId(id)
    }

    /// What [`Display`](fmt::Display) has written, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !is_hex(text, UPLOAD_DIGITS) {
            return None;
        }
        Some(UploadId(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
}

/// What the rows of a kind of a bucket begin with.
#[must_use]
pub fn of_bucket(kind: &[u8], bucket: BucketId) -> Vec<u8> {
    [kind, format!("{bucket}/").as_bytes()].concat()
}

#[must_use]
pub fn bucket(name: &str) -> Vec<u8> {
    [BUCKETS, name.as_bytes()].concat()
}

/// What all objects' rows of a bucket begin with.
#[must_use]
pub fn objects(bucket: BucketId) -> Vec<u8> {
    format!("o/{bucket}/").into_bytes()
}

#[must_use]
pub fn object(bucket: BucketId, key: &str) -> Vec<u8> {
    format!("o/{bucket}/{key}").into_bytes()
}

/// The S3 key in an object's or a common prefix's key.
#[must_use]
pub fn object_name(row: &[u8]) -> Option<&[u8]> {
    row.get(BUCKET_PREFIX_BYTES..)
}

#[must_use]
pub fn settings(bucket: BucketId) -> Vec<u8> {
    format!("c/{bucket}").into_bytes()
}

/// What the rows of all versions of a bucket begin with.
#[must_use]
pub fn all_versions(bucket: BucketId) -> Vec<u8> {
    format!("v/{bucket}/").into_bytes()
}

/// What the rows of all versions of a key begin with.
#[must_use]
pub fn versions(bucket: BucketId, key: &str) -> Vec<u8> {
    format!("v/{bucket}/{key}\0").into_bytes()
}

#[must_use]
pub fn version(bucket: BucketId, key: &str, id: VersionId) -> Vec<u8> {
    format!("v/{bucket}/{key}\0{id}").into_bytes()
}

/// The S3 key and the version in a version's key, behind its bucket.
#[must_use]
pub fn parse_version(row: &[u8]) -> Option<(&str, VersionId)> {
    let rest = std::str::from_utf8(object_name(row)?).ok()?;
    let at = rest.len().checked_sub(VERSION_DIGITS)?;
    let (key, id) = (rest.get(..at)?.strip_suffix('\0')?, rest.get(at..)?);
    Some((key, VersionId::parse(id)?))
}

/// The row that says that a version is being added.
#[must_use]
pub fn pending(bucket: BucketId, key: &str, id: VersionId) -> Vec<u8> {
    format!("n/{bucket}/{key}\0{id}").into_bytes()
}

/// The bucket in an object's key, or a version's.
#[must_use]
pub fn bucket_of(row: &[u8]) -> Option<BucketId> {
    parse_bucket(std::str::from_utf8(row.get(2..10)?).ok()?)
}

/// The S3 key in an object's or a common prefix's key, as text.
pub fn object_text(row: &[u8]) -> Result<&str> {
    let name = object_name(row).and_then(|name| std::str::from_utf8(name).ok());
    name.ok_or_else(no_text)
}

/// The same in the memory that its row took.
pub fn into_object_text(mut row: Vec<u8>) -> Result<String> {
    if row.len() < BUCKET_PREFIX_BYTES {
        return Err(no_text());
    }
    row.drain(..BUCKET_PREFIX_BYTES);
    String::from_utf8(row).map_err(|_| no_text())
}

fn no_text() -> Error {
    Error::damaged("an object's name is no text")
}

/// The row of the tags of an object or a version.
#[must_use]
pub fn tags(of: &[u8]) -> Vec<u8> {
    beside(of, TAGS)
}

/// The row of the lock of a version or an upload.
#[must_use]
pub fn lock(of: &[u8]) -> Vec<u8> {
    beside(of, LOCKS)
}

/// The row of another kind with the same name.
fn beside(of: &[u8], kind: &[u8]) -> Vec<u8> {
    [kind, of.get(kind.len()..).unwrap_or_default()].concat()
}

/// What the rows of all uploads of a bucket begin with.
#[must_use]
pub fn uploads(bucket: BucketId) -> Vec<u8> {
    format!("u/{bucket}/").into_bytes()
}

#[must_use]
pub fn upload(bucket: BucketId, key: &str, upload: UploadId) -> Vec<u8> {
    format!("u/{bucket}/{key}\0{upload}").into_bytes()
}

/// Bucket, S3 key and upload of an upload's row.
#[must_use]
pub fn parse_upload(row: &[u8]) -> Option<(BucketId, &str, UploadId)> {
    let row = std::str::from_utf8(row).ok()?.strip_prefix("u/")?;
    let (bucket, rest) = row.split_once('/')?;
    let at = rest.len().checked_sub(UPLOAD_DIGITS)?;
    let (key, upload) = (rest.get(..at)?.strip_suffix('\0')?, rest.get(at..)?);
    Some((parse_bucket(bucket)?, key, UploadId::parse(upload)?))
}

/// What the rows of all parts of a bucket begin with.
#[must_use]
pub fn bucket_parts(bucket: BucketId) -> Vec<u8> {
    format!("p/{bucket}/").into_bytes()
}

/// What the rows of all parts of an upload begin with.
#[must_use]
pub fn parts(bucket: BucketId, upload: UploadId) -> Vec<u8> {
    format!("p/{bucket}/{upload}/").into_bytes()
}

#[must_use]
pub fn part(bucket: BucketId, upload: UploadId, number: u16) -> Vec<u8> {
    format!("p/{bucket}/{upload}/{number:05}").into_bytes()
}

/// Bucket, upload and number of a part's row.
#[must_use]
pub fn parse_part(row: &[u8]) -> Option<(BucketId, UploadId, u16)> {
    let row = std::str::from_utf8(row).ok()?.strip_prefix("p/")?;
    let mut fields = row.split('/');
    let bucket = parse_bucket(fields.next()?)?;
    let upload = UploadId::parse(fields.next()?)?;
    let number = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some((bucket, upload, number))
}

fn parse_bucket(digits: &str) -> Option<BucketId> {
    (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok().map(BucketId))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_the_key() {
        let id = UploadId::random();
        for key in ["a", "a/b", "a\0b", "\0", "ü/0123456789abcdef0123456789abcdef", "a//"] {
            let row = upload(BucketId(42), key, id);
            assert_eq!(parse_upload(&row), Some((BucketId(42), key, id)));
            assert_eq!(object_name(&object(BucketId(42), key)), Some(key.as_bytes()));
        }
        assert_eq!(parse_part(&part(BucketId(42), id, 7)), Some((BucketId(42), id, 7)));
    }

    #[test]
    fn of_the_versions_of_a_key_the_newest_is_the_first() {
        let ids = [0, 1, 255, 256, 1 << 40, u64::MAX].map(VersionId);
        for pair in ids.windows(2) {
            let (older, newer) =
                (version(BucketId(42), "ü/b", pair[0]), version(BucketId(42), "ü/b", pair[1]));
            assert!(newer < older);
            assert_eq!(parse_version(&older), Some(("ü/b", pair[0])));
            assert_eq!(VersionId::parse(&pair[1].to_string()), Some(pair[1]));
            assert_eq!(bucket_of(&older), Some(BucketId(42)));
        }
        for text in ["", "null", "fffffffffffffff", "FFFFFFFFFFFFFFFF", "+fffffffffffffff"] {
            assert_eq!(VersionId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_row_is_none() {
        for row in ["u/", "u/0000002a/", "u/0000002a/key", "u/xx/k\0", "o/0000002a/k"] {
            assert_eq!(parse_upload(row.as_bytes()), None, "{row}");
        }
        assert_eq!(parse_part(b"p/0000002a/1/2"), None);
        for text in
            ["", "0", "+123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789abcdef"]
        {
            assert_eq!(UploadId::parse(text), None, "{text}");
        }
        assert_eq!(object_name(b"o/"), None);
    }
}
