//! `GetObjectTagging`, `PutObjectTagging` and `DeleteObjectTagging`.

use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response};

use super::carried::checked_tags;
use super::told;
use crate::conditions::no_such_key;
use crate::data::buckets::Bucket;
use crate::data::tags::Tags;
use crate::data::{blocking, keys, tags};
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn get(
    service: &Service,
    request: S3Request<GetObjectTaggingInput>,
) -> Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    told::check_version(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let found = blocking(move || {
        let info = bucket.store.head(keys::object(bucket.id, &input.key))?;
        tags::of(&bucket.store, bucket.id, &input.key, &info.ok_or_else(no_such_key)?)
    })
    .await?;
    let tag = |(key, value)| Tag { key: Some(key), value: Some(value) };
    let tag_set = found.into_iter().map(tag).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
}

pub async fn put(
    service: &Service,
    request: S3Request<PutObjectTaggingInput>,
) -> Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    told::check_version(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let given = input.tagging.tag_set.into_iter();
    let given = given.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    set(bucket, input.key, checked_tags(given.collect())?).await?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

pub async fn delete(
    service: &Service,
    request: S3Request<DeleteObjectTaggingInput>,
) -> Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    told::check_version(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    set(bucket, input.key, Tags::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}

async fn set(bucket: Bucket, key: String, given: Tags) -> Result<()> {
    let entered = bucket.enter().await?;
    blocking(move || {
        let info = bucket.store.head(keys::object(bucket.id, &key))?.ok_or_else(no_such_key)?;
        tags::set(&bucket.store, bucket.id, &key, &info, given)?;
        drop(entered);
        Ok::<_, Error>(())
    })
    .await
}
