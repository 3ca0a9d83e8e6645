//! The tags of objects and of buckets.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{checked_bucket_tags, checked_tags};
use super::found::{Found, place, tell_version};
use super::told;
use crate::data::buckets::Bucket;
use crate::data::settings::Settings;
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
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: told(tags), version_id }))
}

pub async fn put(
    service: &Service,
    request: S3Request<PutObjectTaggingInput>,
) -> Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let given = checked_tags(pairs(input.tagging.tag_set))?;
    let version_id = set(bucket, input.key, which, given).await?;
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
        // What has them is not moved meanwhile, nor made longer; and whoever else sets them has found the
        // same, or comes later.
        let _alone = bucket.key(&key).lock();
        let place = place(&bucket, &key, which)?;
        tags::set(&bucket.store, &place, given)?;
        drop(entered);
        Ok::<_, Error>(tell_version(&bucket, &place))
    })
    .await
}

pub async fn of_bucket(
    service: &Service,
    request: S3Request<GetBucketTaggingInput>,
) -> Result<S3Response<GetBucketTaggingOutput>> {
    let tags = service.bucket(&request.input.bucket)?.settings().tags.clone();
    if tags.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist").into());
    }
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: told(tags) }))
}

pub async fn put_of_bucket(
    service: &Service,
    request: S3Request<PutBucketTaggingInput>,
) -> Result<S3Response<PutBucketTaggingOutput>> {
    let given = checked_bucket_tags(pairs(request.input.tagging.tag_set))?;
    set_of_bucket(service, &request.input.bucket, given).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub async fn delete_of_bucket(
    service: &Service,
    request: S3Request<DeleteBucketTaggingInput>,
) -> Result<S3Response<DeleteBucketTaggingOutput>> {
    set_of_bucket(service, &request.input.bucket, Tags::new()).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

async fn set_of_bucket(service: &Service, bucket: &str, tags: Tags) -> Result<()> {
    let set = |settings: &mut Settings| {
        settings.tags = tags;
        Ok(())
    };
    service.catalogue.change_settings(&service.bucket(bucket)?, set).await
}

pub fn pairs(given: Vec<Tag>) -> Tags {
    let tags = given.into_iter();
    tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect()
}

pub fn told(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}
