//! `HeadBucket`, `GetBucketLocation` and `GetBucketVersioning`: what is true of every bucket.

use s3s::dto::{
    BucketLocationConstraint, GetBucketLocationInput, GetBucketLocationOutput,
    GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput,
};
use s3s::{S3Request, S3Response};

use crate::error::Result;
use crate::service::Service;

/// Has no location constraint, for ever.
const FIRST_REGION: &str = "us-east-1";

pub async fn head(
    service: &Service,
    request: S3Request<HeadBucketInput>,
) -> Result<S3Response<HeadBucketOutput>> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(service.region.to_string()),
        ..HeadBucketOutput::default()
    }))
}

pub async fn location(
    service: &Service,
    request: S3Request<GetBucketLocationInput>,
) -> Result<S3Response<GetBucketLocationOutput>> {
    service.bucket(&request.input.bucket)?;
    let region = Some(service.region.to_string()).filter(|region| region != FIRST_REGION);
    let location_constraint = region.map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// No bucket has versions, and none ever had.
pub async fn versioning(
    service: &Service,
    request: S3Request<GetBucketVersioningInput>,
) -> Result<S3Response<GetBucketVersioningOutput>> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}
