//! What the buckets hold: pages of their objects, and facts about one.

use kogia::{Item, ListOptions};
use serde_json::{Value, json};

use super::Fault;
use crate::data::streams::ObjectReader;
use crate::data::versions::{Place, Sought, Which};
use crate::data::{Bucket, Catalogue, keys, tags};
use crate::error::Result;

/// Objects and prefixes on a page, at most.
pub const MAX_KEYS: usize = 1000;

/// What is asked of a bucket's listing.
#[derive(Debug, Default)]
pub struct Asked {
    pub prefix: String,
    pub delimiter: Option<String>,
    /// Only what sorts behind this.
    pub after: Option<String>,
    pub max_keys: usize,
}

#[must_use]
pub fn buckets(catalogue: &Catalogue) -> Value {
    let told = |bucket: &Bucket| {
        let (created_ms, partition) = (bucket.created_ms, bucket.partition());
        json!({ "name": *bucket.name, "created_ms": created_ms, "partition": partition })
    };
    json!({ "buckets": catalogue.all().iter().map(told).collect::<Vec<_>>() })
}

/// A page, which costs what it tells.
pub fn objects(bucket: &Bucket, asked: &Asked) -> Result<Value> {
    let page = bucket.store.list(&ListOptions {
        prefix: keys::object(bucket.id, &asked.prefix),
        start_after: asked.after.as_ref().map(|after| keys::object(bucket.id, after)),
        delimiter: asked.delimiter.as_ref().map(|delimiter| delimiter.as_bytes().to_vec()),
        max_keys: asked.max_keys.min(MAX_KEYS),
    })?;
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for item in page.items {
        match item {
            Item::Prefix(prefix) => prefixes.push(keys::object_text(&prefix)?.to_owned()),
            Item::Object { key, info } => {
                // A version's length and time are not those of the row.
                let Place { info, .. } = Place::of(bucket.id, "", info)?;
                objects.push(json!({
                    "key": keys::object_text(&key)?,
                    "len": info.len,
                    "modified_ms": info.created_ms,
                }));
            }
        }
    }
    let next = page.next.as_deref().map(keys::object_text).transpose()?;
    Ok(json!({ "objects": objects, "prefixes": prefixes, "next": next }))
}

/// All that is known of an object; `None` where there is none.
pub fn object(bucket: &Bucket, key: &str) -> Result<Option<Value>> {
    let Some(place) = find(bucket, key)? else { return Ok(None) };
    let Place { info, attributes, .. } = &place;
    let headers = &attributes.headers;
    let pairs = |pairs: &[(String, String)]| {
        pairs.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>()
    };
    let checksum = attributes.checksum.as_ref();
    Ok(Some(json!({
        "bucket": *bucket.name,
        "key": key,
        "len": info.len,
        "modified_ms": info.created_ms,
        "etag": attributes.etag.to_string(),
        "checksum": checksum.map(|checksum| {
            json!({ "algorithm": checksum.algorithm.name(), "value": checksum.text() })
        }),
        "version": attributes.version.as_ref().map(|_| place.version()),
        "parts": attributes.upload.as_ref().map(|(_, sizes)| sizes.count()),
        "content_type": headers.content_type,
        "content_encoding": headers.content_encoding,
        "content_language": headers.content_language,
        "content_disposition": headers.content_disposition,
        "cache_control": headers.cache_control,
        "metadata": pairs(&headers.user),
        "tags": pairs(&tags::of(&bucket.store, &place)?),
    })))
}

/// A reader of an object, at its beginning.
pub fn open(bucket: &Bucket, key: &str) -> Result<ObjectReader, Fault> {
    let opened = match find(bucket, key)? {
        Some(place) => ObjectReader::open(&bucket.store, &place.row)?,
        None => None,
    };
    opened.ok_or_else(|| Fault::not_found("there is no such object"))
}

/// The current version, unless that is a deletion.
fn find(bucket: &Bucket, key: &str) -> Result<Option<Place>> {
    match bucket.key(key).find(Which::Current)? {
        Sought::Object(place) => Ok(Some(*place)),
        Sought::Deleted(_) | Sought::Nothing => Ok(None),
    }
}
