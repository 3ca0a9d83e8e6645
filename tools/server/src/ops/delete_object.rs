//! `DeleteObject`.

use kogia::{Batch, Condition, Store};
use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response};

use super::carried::refuse;
use super::told;
use crate::conditions::WriteConditions;
use crate::data::keys::BucketId;
use crate::data::{blocking, keys, tags};
use crate::error::Result;
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<DeleteObjectInput>,
) -> Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    told::check_version(input.version_id.as_deref())?;
    refuse(&[
        (input.if_match_last_modified_time.is_some(), "x-amz-if-match-last-modified-time"),
        (input.if_match_size.is_some(), "x-amz-if-match-size"),
    ])?;
    let bucket = service.bucket(&input.bucket)?;
    let conditions = WriteConditions { if_match: input.if_match, if_none_match: None };
    let entered = bucket.enter().await?;
    blocking(move || {
        let condition = if conditions.is_empty() {
            Condition::Always
        } else {
            conditions.resolve(bucket.store.head(keys::object(bucket.id, &input.key))?.as_ref())?
        };
        let deleted = delete(&bucket.store, bucket.id, &input.key, condition);
        drop(entered);
        deleted.map_err(|error| conditions.lost_race(error))
    })
    .await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

/// Deletes an object, and its row of tags with it. One that is not there is none to delete.
pub fn delete(store: &Store, bucket: BucketId, key: &str, condition: Condition) -> Result<()> {
    let row = keys::object(bucket, key);
    if tags::has_row(store, bucket, key)? {
        let mut batch = Batch::new();
        batch.delete_with(row, condition).delete(keys::tags(bucket, key));
        store.write(batch)?;
        return Ok(());
    }
    let options = kogia::DeleteOptions { condition, ..kogia::DeleteOptions::default() };
    store.delete_with(row, &options)?;
    Ok(())
}
