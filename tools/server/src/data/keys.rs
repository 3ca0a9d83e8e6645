//! Where things are in a partition's store: the first byte of a key says what the row is.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | object | `o/0000002a/` and its S3 key | its bytes; [`Attributes`](super::Attributes) beside them |
//! | tags | `t/0000002a/` and the object's S3 key | [`TagsRow`](super::tags::TagsRow) |
//! | upload | `u/0000002a/`, the S3 key, a zero byte, 32 hexadecimal digits | [`UploadRow`](super::uploads::UploadRow) |
//! | part of one | `p/0000002a/`, 32 hexadecimal digits, `/`, 5 decimal digits | [`PartRow`](super::uploads::PartRow) |
//! | bucket, in partition 0 | `b/` and its name | [`BucketRow`](super::buckets::BucketRow) |
//! | the next bucket's id, in partition 0 | `s/next-bucket` | [`Counter`](super::buckets::Counter) |
//!
//! The eight digits are the bucket's id. A bucket's rows are found by the three prefixes that hold
//! it, wherever they lie, so that they can be moved to another partition. Ids are never used twice.

use std::fmt;

/// A bucket for ever: its name may come to mean another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BucketId(pub u32);

/// An upload's name, which nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UploadId(pub [u8; 16]);

/// The parts of an upload are numbered from 1 to this.
pub const MAX_PART_NUMBER: u16 = 10_000;
pub const BUCKETS: &[u8] = b"b/";
pub const UPLOADS: &[u8] = b"u/";
pub const PARTS: &[u8] = b"p/";
pub const NEXT_BUCKET: &[u8] = b"s/next-bucket";

const UPLOAD_DIGITS: usize = 32;
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
        let is_ours = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != UPLOAD_DIGITS || !text.bytes().all(is_ours) {
            return None;
        }
        Some(UploadId(u128::from_str_radix(text, 16).ok()?.to_be_bytes()))
    }
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

/// What the rows of all tags of a bucket begin with.
#[must_use]
pub fn all_tags(bucket: BucketId) -> Vec<u8> {
    format!("t/{bucket}/").into_bytes()
}

#[must_use]
pub fn tags(bucket: BucketId, key: &str) -> Vec<u8> {
    format!("t/{bucket}/{key}").into_bytes()
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
