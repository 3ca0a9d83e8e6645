//! `DeleteBucket`.

use s3s::dto::{DeleteBucketInput, DeleteBucketOutput};
use s3s::{S3Request, S3Response};

use crate::error::Result;
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<DeleteBucketInput>,
) -> Result<S3Response<DeleteBucketOutput>> {
    service.catalogue.delete(&request.input.bucket).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}
