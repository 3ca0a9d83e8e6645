//! `ListObjects` and `ListObjectsV2`. A page costs what it returns, however many keys lie below its
//! common prefixes.

use kogia::{ErrorKind, Item, ListOptions, Page};
use s3s::dto::{
    CommonPrefix, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, ObjectStorageClass,
};
use s3s::{S3Request, S3Response, s3_error};

use super::told::{self, Names};
use crate::data::buckets::Bucket;
use crate::data::versions::Place;
use crate::data::{blocking, keys};
use crate::error::Result;
use crate::service::Service;

const MAX_KEYS: i32 = 1000;

/// What is asked of a listing.
struct Asked {
    prefix: String,
    /// Only what sorts behind this.
    after: Option<String>,
    delimiter: Option<String>,
    max_keys: i32,
    with_owner: bool,
    names: Names,
}

/// A page of it.
#[derive(Default)]
struct Listed {
    objects: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    /// Where the next page goes on.
    next: Option<String>,
}

pub async fn first(
    service: &Service,
    request: S3Request<ListObjectsInput>,
) -> Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let names = Names::new(input.encoding_type.as_ref())?;
    let max_keys = told::page_len(input.max_keys, MAX_KEYS)?;
    let delimiter = told::given(input.delimiter);
    let asked = Asked {
        prefix: input.prefix.clone().unwrap_or_default(),
        after: told::given(input.marker.clone()),
        delimiter: delimiter.clone(),
        max_keys,
        with_owner: true,
        names,
    };
    let listed = listed(bucket, asked).await?;
    let write = |name: String| names.write(name);
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(write(input.prefix.unwrap_or_default())),
        marker: Some(write(input.marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(listed.next.is_some()),
        contents: Some(listed.objects),
        common_prefixes: Some(listed.prefixes),
        // Without a delimiter clients go on from the last key.
        next_marker: listed.next.filter(|_| delimiter.is_some()).map(write),
        delimiter: delimiter.map(write),
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

pub async fn second(
    service: &Service,
    request: S3Request<ListObjectsV2Input>,
) -> Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let names = Names::new(input.encoding_type.as_ref())?;
    let max_keys = told::page_len(input.max_keys, MAX_KEYS)?;
    let after = match &input.continuation_token {
        Some(token) => Some(of_token(token)?),
        None => told::given(input.start_after.clone()),
    };
    let delimiter = told::given(input.delimiter);
    let asked = Asked {
        prefix: input.prefix.clone().unwrap_or_default(),
        after,
        delimiter: delimiter.clone(),
        max_keys,
        with_owner: input.fetch_owner.unwrap_or(false),
        names,
    };
    let listed = listed(bucket, asked).await?;
    let write = |name: String| names.write(name);
    let count = listed.objects.len() + listed.prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(write(input.prefix.unwrap_or_default())),
        max_keys: Some(max_keys),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(listed.next.is_some()),
        next_continuation_token: listed.next.as_deref().map(to_token),
        contents: Some(listed.objects),
        common_prefixes: Some(listed.prefixes),
        delimiter: delimiter.map(write),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(write),
        ..ListObjectsV2Output::default()
    }))
}

/// Tokens are opaque, so that nobody has to escape them.
fn to_token(next: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(next)
}

fn of_token(token: &str) -> Result<String> {
    let decoded = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        s3_error!(InvalidArgument, "The continuation token provided is incorrect").into()
    })
}

async fn listed(bucket: Bucket, asked: Asked) -> Result<Listed> {
    let options = ListOptions {
        prefix: keys::object(bucket.id, &asked.prefix),
        start_after: asked.after.as_ref().map(|after| keys::object(bucket.id, after)),
        delimiter: asked.delimiter.as_ref().map(|delimiter| delimiter.as_bytes().to_vec()),
        max_keys: usize::try_from(asked.max_keys).unwrap_or(0),
    };
    // Common prefixes that the index counts take less than to wake another thread and be woken by it.
    let is_counted = asked.delimiter.as_deref() == Some("/");
    match is_counted.then(|| bucket.store.try_list(&options)) {
        Some(Ok(page)) => list(&bucket, &asked, page),
        Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
        _ => blocking(move || list(&bucket, &asked, bucket.store.list(&options)?)).await,
    }
}

fn list(bucket: &Bucket, asked: &Asked, page: Page) -> Result<Listed> {
    let mut listed = Listed::default();
    for item in page.items {
        match item {
            Item::Object { key, info } => {
                let Place { info, attributes, .. } = Place::of(bucket.id, "", info)?;
                let checksum = attributes.checksum.as_ref();
                listed.objects.push(Object {
                    checksum_algorithm: checksum
                        .map(|checksum| vec![told::checksum_algorithm(checksum.algorithm)]),
                    checksum_type: checksum.map(told::checksum_type),
                    e_tag: Some(told::etag(attributes.etag)),
                    key: Some(asked.names.write(keys::into_object_text(key)?)),
                    last_modified: Some(told::time(info.created_ms)),
                    owner: asked.with_owner.then(told::owner),
                    size: Some(told::len(info.len)),
                    storage_class: Some(ObjectStorageClass::from_static(
                        ObjectStorageClass::STANDARD,
                    )),
                    ..Object::default()
                });
            }
            Item::Prefix(prefix) => {
                let prefix = Some(asked.names.write(keys::into_object_text(prefix)?));
                listed.prefixes.push(CommonPrefix { prefix });
            }
        }
    }
    let next = page.next.as_deref().map(keys::object_text).transpose()?;
    listed.next = next.map(str::to_owned);
    Ok(listed)
}
