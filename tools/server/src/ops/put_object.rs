//! `PutObject`: small bodies are put whole, so that those of many connections share a sync; larger ones
//! are streamed.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use kogia::{Condition, Store};
use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::append::{self, Append};
use super::carried::{self, headers_of, lock_of, refuse_unsupported};
use super::target::{Placed, Target};
use super::told;
use crate::access::Posted;
use crate::bodies::{BodyFault, Expected, Incoming, PIECE_BYTES, given_checksums, tell_checksum};
use crate::conditions::WriteConditions;
use crate::data::attributes::{Etag, Headers};
use crate::data::buckets::Bucket;
use crate::data::locks::Lock;
use crate::data::streams::ObjectStream;
use crate::data::tags::Tags;
use crate::data::{Attributes, blocking, keys};
use crate::digest::Sums;
use crate::error::{Error, Result};
use crate::service::Service;

/// The algorithm of a checksum that is to be computed. s3s does not look at it here.
pub const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";

pub async fn call(
    service: &Service,
    request: S3Request<PutObjectInput>,
) -> Result<S3Response<PutObjectOutput>> {
    let S3Request { input, headers, extensions, trailing_headers, .. } = request;
    refuse_unsupported!(input);
    let bucket = service.bucket(&input.bucket)?;
    let expected = Expected::new(
        input.content_md5.as_deref(),
        &given_checksums!(input),
        text(&headers, "x-amz-trailer"),
        trailing_headers,
        text(&headers, SDK_ALGORITHM),
    )?;
    let fault = extensions.get::<BodyFault>().cloned().unwrap_or_default();
    let announced = announced(input.content_length, &headers)?;
    let incoming = Incoming::new(input.body, fault, announced, service.limits.max_put_bytes)?;
    let tags = carried::tags_of_header(input.tagging.as_deref())?;
    let conditions =
        WriteConditions { if_match: input.if_match, if_none_match: input.if_none_match };
    let lock = lock_of!(bucket, input)?;
    let offset = input.write_offset_bytes;
    let key = input.key.clone();
    let place = || format!("/{}/{}", input.bucket, told::path(&key));
    let form = extensions.get::<Posted>().map(|form| (!form.redirects).then(place));
    if let Some(offset) = offset {
        append::check(&bucket)?;
        let (store, row) = (bucket.store.clone(), keys::object(bucket.id, &key));
        let found = blocking(move || Ok::<_, Error>(store.head(row)?)).await?;
        if let Some(found) = append::target(found, offset)? {
            let append = Append { bucket, key, expected, conditions, found };
            return append.carry_out(incoming).await;
        }
    }
    let put = Put { bucket, key, expected, headers: headers_of!(input)?, tags, lock };
    let Placed { attributes, version, expiration } = match offset {
        Some(_) => {
            conditions.resolve(None)?;
            let begun = put.carry_out(incoming, Condition::IfAbsent).await;
            begun.map_err(append::lost_race)?
        }
        None => {
            let condition = put.resolve(&conditions).await?;
            let carried_out = put.carry_out(incoming, condition).await;
            carried_out.map_err(|error| conditions.lost_race(error))?
        }
    };
    let mut output = PutObjectOutput {
        e_tag: Some(told::etag(attributes.etag)),
        checksum_type: attributes.checksum.as_ref().map(told::checksum_type),
        expiration,
        version_id: version,
        ..PutObjectOutput::default()
    };
    tell_checksum!(output, attributes.checksum.as_ref());
    let mut response = S3Response::new(output);
    if let Some(place) = form {
        tell_form(&mut response, place);
    }
    Ok(response)
}

/// The answer to a form may have no body: s3s tells neither where the object is nor what it is.
fn tell_form(response: &mut S3Response<PutObjectOutput>, place: Option<String>) {
    let PutObjectOutput { e_tag, version_id, .. } = &response.output;
    let etag = e_tag.as_ref().map(|etag| format!("\"{}\"", etag.value()));
    let version = version_id.clone();
    for (name, value) in [("location", place), ("etag", etag), ("x-amz-version-id", version)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            response.headers.insert(name, value);
        }
    }
}

/// The length of a body as the client gave it, without what frames its chunks.
pub fn announced(content_length: Option<i64>, headers: &HeaderMap) -> Result<Option<i64>> {
    match text(headers, "x-amz-decoded-content-length") {
        Some(len) => match len.parse() {
            Ok(len) => Ok(Some(len)),
            Err(_) => Err(s3_error!(InvalidArgument, "a length that is no number").into()),
        },
        None => Ok(content_length),
    }
}

pub fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An object on its way.
struct Put {
    bucket: Bucket,
    key: String,
    expected: Expected,
    headers: Headers,
    tags: Tags,
    lock: Lock,
}

impl Put {
    /// What the store is to check. Nothing of the body is read where that can't hold.
    async fn resolve(&self, conditions: &WriteConditions) -> Result<Condition> {
        if conditions.is_empty() {
            return Ok(Condition::Always);
        }
        resolve(&self.bucket.store, keys::object(self.bucket.id, &self.key), conditions).await
    }

    async fn carry_out(self, incoming: Incoming, condition: Condition) -> Result<Placed> {
        let Put { bucket, key, .. } = &self;
        let (bucket, key, lock) = (bucket.clone(), key.clone(), self.lock);
        if incoming.announced().is_some_and(|len| len <= PIECE_BYTES as u64) {
            let body = incoming.whole().await?;
            let entered = bucket.enter().await?;
            return blocking(move || {
                let mut digests = self.expected.digests();
                digests.update(&body);
                let attributes = self.finish(digests.finish())?;
                let placed = Target::new(bucket, key, lock)?.put(&body, attributes, condition);
                drop(entered);
                placed
            })
            .await;
        }
        let (target, stream) = blocking(move || {
            let target = Target::new(bucket, key, lock)?;
            let stream = ObjectStream::open(&target.bucket.store, &target.row())?;
            Ok::<_, Error>((target, stream))
        })
        .await?;
        let (written, len) = incoming.pour(stream, self.expected.digests()).await?;
        let entered = target.bucket.enter().await?;
        blocking(move || {
            let (stream, digests) = written.into_inner();
            let attributes = self.finish(digests.finish())?;
            let put = |_: &[u8], options| stream.commit(options).map(drop);
            let placed = target.commit(len, attributes, condition, put);
            drop(entered);
            placed
        })
        .await
    }

    fn finish(self, sums: Sums) -> Result<Attributes> {
        self.expected.check(&sums)?;
        Ok(Attributes {
            etag: Etag::Md5(sums.md5),
            headers: self.headers,
            tags: self.tags,
            checksum: sums.checksum,
            ..Attributes::of_nothing()
        })
    }
}

/// What the store is to check of a key before it is written.
pub async fn resolve(
    store: &Arc<Store>,
    row: Vec<u8>,
    conditions: &WriteConditions,
) -> Result<Condition> {
    let store = store.clone();
    let found = blocking(move || Ok::<_, Error>(store.head(row)?)).await?;
    conditions.resolve(found.as_ref())
}
