//! `PutObject` with `x-amz-write-offset-bytes`, which appends to an object.

use s3s::S3Response;
use s3s::dto::PutObjectOutput;

use super::carried::not_implemented;
use crate::error::Result;

/// Never overwrites: a client that appends has to be told that it has not.
pub fn refuse(_offset: i64) -> Result<S3Response<PutObjectOutput>> {
    Err(not_implemented("appending (x-amz-write-offset-bytes)"))
}
