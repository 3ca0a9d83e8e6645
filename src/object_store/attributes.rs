//! What an object carries beside its bytes, in the attributes that the store keeps with it.
//!
//! An object without attributes and tags has none in the store either. Otherwise they are
//!
//! | offset | bytes | meaning |
//! | --- | --- | --- |
//! | 0 | 15 | `object_store/1\n`: whose they are, and the version of what follows |
//! | 15 | the rest | [`Carried`], by bincode |
//!
//! `Content-Type: a/b` alone is `object_store/1\n`, 1 attribute, of kind 3, 3 bytes `a/b`, 0 bytes of
//! tags: `... 01 03 03 61 2f 62 00`. Attributes that begin otherwise are somebody else's, as of what
//! `kogia watch` has stored, and are not shown.

use object_store::{Attribute, Attributes, Result, TagSet};
use serde::{Deserialize, Serialize};

use super::error::generic;

const OURS: &[u8] = b"object_store/";
const VERSION: &[u8] = b"1\n";
/// What decoding may take, so that none makes a reader allocate more: several times what a store takes,
/// since each length counts for more than it is written with.
const MAX_BYTES: usize = 1 << 20;

/// The tags that an object was put with, URL-encoded, as
/// [`TagSet::encoded`](::object_store::TagSet::encoded) gives them. The crate has no call that reads
/// tags; they are among the extensions of a
/// [`GetResult`](::object_store::GetResult).
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use kogia::object_store::{KogiaStore, Tags};
/// use object_store::path::Path;
/// use object_store::{ObjectStore, ObjectStoreExt, TagSet};
///
/// let store = KogiaStore::open(dir.path())?;
/// let mut tags = TagSet::default();
/// tags.push("camera", "1");
/// store.put_opts(&Path::from("1.jpg"), "an image".into(), tags.into()).await?;
/// let found = store.get(&Path::from("1.jpg")).await?;
/// assert_eq!(found.extensions.get::<Tags>().unwrap().0, "camera=1");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tags(pub String);

/// Attributes and tags, as they are written.
#[derive(Serialize, Deserialize)]
struct Carried {
    /// In the order of their kinds.
    attributes: Vec<(Kind, String)>,
    /// URL-encoded.
    tags: String,
}

/// Which attribute; the number of each is written, so that new ones come last.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentType,
    CacheControl,
    StorageClass,
    Metadata(String),
}

impl Kind {
    fn of(attribute: &Attribute) -> Option<Self> {
        Some(match attribute {
            Attribute::ContentDisposition => Kind::ContentDisposition,
            Attribute::ContentEncoding => Kind::ContentEncoding,
            Attribute::ContentLanguage => Kind::ContentLanguage,
            Attribute::ContentType => Kind::ContentType,
            Attribute::CacheControl => Kind::CacheControl,
            Attribute::StorageClass => Kind::StorageClass,
            Attribute::Metadata(name) => Kind::Metadata(name.to_string()),
            _ => return None,
        })
    }

    fn attribute(self) -> Attribute {
        match self {
            Kind::ContentDisposition => Attribute::ContentDisposition,
            Kind::ContentEncoding => Attribute::ContentEncoding,
            Kind::ContentLanguage => Attribute::ContentLanguage,
            Kind::ContentType => Attribute::ContentType,
            Kind::CacheControl => Attribute::CacheControl,
            Kind::StorageClass => Attribute::StorageClass,
            Kind::Metadata(name) => Attribute::Metadata(name.into()),
        }
    }
}

/// What the store is to keep with the object. Not supported is an attribute of a kind that the crate
/// did not have when this was written.
pub(super) fn encode(attributes: &Attributes, tags: &TagSet) -> Result<Vec<u8>> {
    if attributes.is_empty() && tags.is_empty() {
        return Ok(Vec::new());
    }
    let mut kinds = Vec::with_capacity(attributes.len());
    for (attribute, value) in attributes {
        let kind = Kind::of(attribute).ok_or_else(|| object_store::Error::NotSupported {
            source: format!("the attribute {attribute:?}").into(),
        })?;
        kinds.push((kind, value.to_string()));
    }
    kinds.sort();
    let carried = Carried { attributes: kinds, tags: tags.encoded().to_owned() };
    let mut bytes = [OURS, VERSION].concat();
    bincode::serde::encode_into_std_write(&carried, &mut bytes, bincode::config::standard())
        .expect("text is written into memory");
    Ok(bytes)
}

/// What is said of an object whose attributes in the store are these.
pub(super) fn decode(bytes: &[u8]) -> Result<(Attributes, Option<Tags>)> {
    let Some(versioned) = bytes.strip_prefix(OURS) else { return Ok((Attributes::new(), None)) };
    let written = versioned
        .strip_prefix(VERSION)
        .ok_or_else(|| generic("attributes of a version that this build does not know"))?;
    let config = bincode::config::standard().with_limit::<MAX_BYTES>();
    let (carried, _): (Carried, _) =
        bincode::serde::decode_from_slice(written, config).map_err(generic)?;
    let attributes = carried.attributes.into_iter().map(|(kind, value)| (kind.attribute(), value));
    let tags = Some(carried.tags).filter(|tags| !tags.is_empty());
    Ok((attributes.collect(), tags.map(Tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader's bound counts is more than what is written.
    #[test]
    fn as_many_attributes_as_a_store_takes_are_read() {
        let pair = |n| (Attribute::Metadata(format!("{n:05}").into()), "");
        let attributes = Attributes::from_iter((0..8000).map(pair));
        let bytes = encode(&attributes, &TagSet::default()).unwrap();
        assert!((60 << 10..64 << 10).contains(&bytes.len()), "{}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), (attributes, None));
    }

    #[test]
    fn what_is_carried_is_written_as_it_is_documented() {
        let attributes = Attributes::from_iter([(Attribute::ContentType, "a/b")]);
        let bytes = encode(&attributes, &TagSet::default()).unwrap();
        assert_eq!(bytes, b"object_store/1\n\x01\x03\x03a/b\x00");
        assert_eq!(decode(&bytes).unwrap(), (attributes, None));
    }

    #[test]
    fn every_kind_and_the_tags_come_back() {
        let attributes = Attributes::from_iter([
            (Attribute::ContentDisposition, "inline"),
            (Attribute::ContentEncoding, "gzip"),
            (Attribute::ContentLanguage, "de"),
            (Attribute::ContentType, "video/mp4"),
            (Attribute::CacheControl, "no-store"),
            (Attribute::StorageClass, "cold"),
            (Attribute::Metadata("ü".into()), ""),
        ]);
        let mut tags = TagSet::default();
        tags.push("a b", "c&d");
        let bytes = encode(&attributes, &tags).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (attributes, Some(Tags("a+b=c%26d".into()))));
    }

    #[test]
    fn what_is_not_ours_is_not_shown_and_a_later_version_is_named() {
        assert_eq!(encode(&Attributes::new(), &TagSet::default()).unwrap(), b"");
        for theirs in [&b""[..], b"object", b"\x01\x02"] {
            assert_eq!(decode(theirs).unwrap(), (Attributes::new(), None));
        }
        assert!(decode(b"object_store/2\n").unwrap_err().to_string().contains("version"));
        assert!(decode(b"object_store/1\n\x01\x03").is_err());
    }
}
