//! `DeleteObject`.

use kogia::Condition;
use s3s::dto::{DeleteObjectInput, DeleteObjectOutput};
use s3s::{S3Request, S3Response};

use super::carried::refuse;
use super::object_lock::bypasses;
use super::told;
use crate::conditions::WriteConditions;
use crate::data::blocking;
use crate::data::buckets::Bucket;
use crate::data::settings::Versioning;
use crate::data::versions::{self, Which};
use crate::error::Result;
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<DeleteObjectInput>,
) -> Result<S3Response<DeleteObjectOutput>> {
    let S3Request { input, credentials, .. } = request;
    let said = input.bypass_governance_retention;
    let bypasses = bypasses(service, credentials.as_ref(), &input.bucket, said);
    let which = told::which(input.version_id.as_deref())?;
    refuse(&[
        (input.if_match_last_modified_time.is_some(), "x-amz-if-match-last-modified-time"),
        (input.if_match_size.is_some(), "x-amz-if-match-size"),
    ])?;
    let bucket = service.bucket(&input.bucket)?;
    let conditions = WriteConditions { if_match: input.if_match, if_none_match: None };
    let entered = bucket.enter().await?;
    let deleted = blocking(move || {
        let deleted = delete(&bucket, &input.key, which, &conditions, bypasses);
        drop(entered);
        deleted
    })
    .await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.is_marker.then_some(true),
        version_id: deleted.version,
        ..DeleteObjectOutput::default()
    }))
}

/// What was deleted, or put in its place.
#[derive(Default)]
pub struct Deleted {
    /// Whether the version below is a deletion.
    pub is_marker: bool,
    pub version: Option<String>,
}

/// Deletes an object as its bucket is set to, or one version of it for good, which `bypasses` locks that
/// allow it.
pub fn delete(
    bucket: &Bucket,
    key: &str,
    which: Which,
    conditions: &WriteConditions,
    bypasses: bool,
) -> Result<Deleted> {
    let (key, versioning) = (bucket.key(key), bucket.versioning());
    if which != Which::Current && (versioning, which) != (Versioning::Never, Which::Null) {
        refuse(&[(!conditions.is_empty(), "a condition on the deletion of a version")])?;
        let is_marker = key.delete_version(which, bypasses)?.unwrap_or(false);
        let version = match which {
            Which::Id(id) => id.to_string(),
            _ => versions::NULL.to_owned(),
        };
        return Ok(Deleted { is_marker, version: Some(version) });
    }
    let condition = if conditions.is_empty() {
        Condition::Always
    } else {
        conditions.resolve(key.store.head(key.row())?.as_ref())?
    };
    if versioning == Versioning::Never {
        key.delete_plain(condition).map_err(|error| conditions.lost_race(error))?;
        return Ok(Deleted::default());
    }
    let named = versioning == Versioning::Enabled;
    let version = key.delete(condition, named)?;
    Ok(Deleted { is_marker: true, version: Some(version) })
}
