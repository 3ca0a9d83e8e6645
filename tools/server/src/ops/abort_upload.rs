//! `AbortMultipartUpload`.

use std::collections::HashSet;

use s3s::dto::{AbortMultipartUploadInput, AbortMultipartUploadOutput};
use s3s::{S3Request, S3Response};

use super::carried::refuse;
use super::told;
use crate::data::{blocking, uploads};
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<AbortMultipartUploadInput>,
) -> Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    refuse(&[(input.if_match_initiated_time.is_some(), "x-amz-if-match-initiated-time")])?;
    let bucket = service.bucket(&input.bucket)?;
    let id = told::upload_id(&input.upload_id)?;
    let entered = bucket.enter().await?;
    blocking(move || {
        let was_there = uploads::end(&bucket.store, bucket.id, &input.key, id, &HashSet::new())?;
        drop(entered);
        if was_there { Ok(()) } else { Err(Error::NoSuchUpload) }
    })
    .await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}
