//! `GetObjectTagging`, `PutObjectTagging` and `DeleteObjectTagging`.

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response};

use super::carried::checked_tags;
use super::found::{Found, place, tell_version};
use super::told;
use crate::data::buckets::Bucket;
use crate::data::tags::Tags;
use crate::data::versions::Which;
use crate::data::{blocking, tags};
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn get(
    service: &Service,
    request: S3Request<GetObjectTaggingInput>,
) -> Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let Found { tags, version: version_id, .. } =
        blocking(move || Found::head(&bucket, &input.key, which)).await?;
    let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
    let tag_set = tags.into_iter().map(tag).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
}

pub async fn put(
    service: &Service,
    request: S3Request<PutObjectTaggingInput>,
) -> Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let given = input.tagging.tag_set.into_iter();
    let given = given.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    let version_id = set(bucket, input.key, which, checked_tags(given.collect())?).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

pub async fn delete(
    service: &Service,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let version_id = set(bucket, input.key, which, Tags::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Gives how the version is called that has them now.
async fn set(bucket: Bucket, key: String, which: Which, given: Tags) -> Result<Option<String>> {
    let entered = bucket.enter().await?;
    blocking(move || {
        let place = place(&bucket, &key, which)?;
        tags::set(&bucket.store, &place, given)?;
        drop(entered);
        Ok::<_, Error>(tell_version(&bucket, &place))
    })
    .await
}
