//! What an object carries beside its bytes.

use serde::{Deserialize, Serialize};

use super::keys::{UploadId, VersionId};
use super::rows::{self, NoRow};
use crate::digest::Checksum;

/// The digest that is an object's `ETag`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Etag {
    /// MD5 of the bytes.
    Md5([u8; 16]),
    /// MD5 of the parts' MD5s, and how many there are.
    Parts([u8; 16], u32),
}

/// Part sizes in their order, equal ones counted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PartSizes(Vec<(u32, u64)>);

/// Runs of equal sizes that are kept, so that the attributes stay small.
const MAX_RUNS: usize = 1000;

/// Headers that come back with the object as they were given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Headers {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    pub cache_control: Option<String>,
    /// Milliseconds since 1970.
    pub expires_ms: Option<i64>,
    pub website_redirect: Option<String>,
    /// The user's own, without `x-amz-meta-`.
    pub user: Vec<(String, String)>,
}

/// What is known of a version of an object: beside its bytes, and in the row of the one that is
/// current, which has no bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    pub id: VersionId,
    pub kind: VersionKind,
    pub len: u64,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// What a version stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionKind {
    Object,
    /// The object was deleted.
    Marker,
    /// The object of a time in which the bucket kept no versions: of a key there is one at most.
    Null,
    /// The same, deleted.
    NullMarker,
}

impl VersionKind {
    #[must_use]
    pub fn is_marker(self) -> bool {
        matches!(self, VersionKind::Marker | VersionKind::NullMarker)
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        matches!(self, VersionKind::Null | VersionKind::NullMarker)
    }
}

/// Attributes of an object that is a version of several.
const WITH_VERSION: u8 = 2;

/// An object's attributes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attributes {
    pub etag: Etag,
    pub headers: Headers,
    pub tags: Vec<(String, String)>,
    pub checksum: Option<Checksum>,
    /// The upload that made it, so that completing twice is no error, and the sizes of its parts.
    pub upload: Option<([u8; 16], PartSizes)>,
    /// Where the bucket keeps versions, which one it is.
    #[serde(skip)]
    pub version: Option<Version>,
}

impl Attributes {
    /// Those of an object that is gone.
    #[must_use]
    pub fn of_nothing() -> Self {
        Attributes {
            etag: Etag::Md5([0; 16]),
            headers: Headers::default(),
            tags: Vec::new(),
            checksum: None,
            upload: None,
            version: None,
        }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.version {
            Some(version) => rows::encode_as(WITH_VERSION, &(self, version)),
            None => rows::encode(self),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NoRow> {
        if bytes.first() != Some(&WITH_VERSION) {
            return rows::decode(bytes);
        }
        let (attributes, version): (Attributes, Version) = rows::decode_as(WITH_VERSION, bytes)?;
        Ok(Attributes { version: Some(version), ..attributes })
    }

    /// Whether this upload made the object.
    #[must_use]
    pub fn is_of(&self, upload: UploadId) -> bool {
        self.upload.as_ref().is_some_and(|(id, _)| *id == upload.0)
    }
}

impl std::fmt::Display for Etag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Etag::Md5(md5) | Etag::Parts(md5, _)) = self;
        write!(f, "{:032x}", u128::from_be_bytes(*md5))?;
        match self {
            Etag::Md5(_) => Ok(()),
            Etag::Parts(_, count) => write!(f, "-{count}"),
        }
    }
}

impl PartSizes {
    /// Those that are given; none where they are too unlike each other to be kept.
    #[must_use]
    pub fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut runs: Vec<(u32, u64)> = Vec::new();
        for size in sizes {
            match runs.last_mut() {
                Some((count, of)) if *of == size => *count += 1,
                _ => runs.push((1, size)),
            }
            if runs.len() > MAX_RUNS {
                return PartSizes::default();
            }
        }
        PartSizes(runs)
    }

    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().fold(0, |sum, (count, _)| sum.saturating_add(*count))
    }

    /// From where to where the part with this number goes, counted from 1.
    #[must_use]
    pub fn range(&self, number: u32) -> Option<std::ops::Range<u64>> {
        let mut before = number.checked_sub(1)?;
        let mut start = 0u64;
        for &(count, size) in &self.0 {
            if before < count {
                start = start.checked_add(u64::from(before).checked_mul(size)?)?;
                return Some(start..start.checked_add(size)?);
            }
            before -= count;
            start = start.checked_add(u64::from(count).checked_mul(size)?)?;
        }
        None
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|&(count, size)| std::iter::repeat_n(size, count as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_behind_the_other() {
        let sizes = PartSizes::new([5, 5, 5, 7, 5]);
        assert_eq!(sizes.count(), 5);
        let ranges: Vec<_> = (0..7).map(|number| sizes.range(number)).collect();
        let expected =
            [None, Some(0..5), Some(5..10), Some(10..15), Some(15..22), Some(22..27), None];
        assert_eq!(ranges, expected);
        assert_eq!(sizes.iter().collect::<Vec<_>>(), [5, 5, 5, 7, 5]);
    }

    #[test]
    fn the_longest_attributes_fit_into_a_record() {
        let sizes = (0..2 * MAX_RUNS as u64 - 1).map(|i| u64::MAX / 2 - i / 2 * 2 % 4096);
        let attributes = Attributes {
            etag: Etag::Parts([7; 16], 10_000),
            headers: Headers {
                user: vec![("k".repeat(1000), "v".repeat(1048)); 1],
                ..Headers::default()
            },
            tags: vec![("ü".repeat(128), "ü".repeat(256)); 10],
            checksum: None,
            upload: Some(([1; 16], PartSizes::new(sizes))),
            version: Some(Version {
                id: VersionId(u64::MAX),
                kind: VersionKind::Null,
                len: u64::MAX,
                created_ms: u64::MAX,
            }),
        };
        let bytes = attributes.encode();
        assert!(bytes.len() < 48 << 10, "{}", bytes.len());
        assert_eq!(Attributes::decode(&bytes).unwrap(), attributes);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let good = Attributes::of_nothing().encode();
        for cut in 0..good.len() {
            assert!(Attributes::decode(&good[..cut]).is_err(), "{cut}");
        }
        let mut other = good.clone();
        other[0] = 3;
        assert!(Attributes::decode(&other).unwrap_err().to_string().contains("version 3"));
        other[0] = WITH_VERSION;
        assert!(Attributes::decode(&other).is_err());
        assert!(Attributes::decode(&[&good[..], &[0]].concat()).is_err());
    }
}
