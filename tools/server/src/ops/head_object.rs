//! `HeadObject`. No track is touched.

use hyper::StatusCode;
use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response};

use super::found::{Found, describe};
use super::told;
use crate::conditions::{ReadConditions, Verdict};
use crate::data::blocking;
use crate::error::Result;
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<HeadObjectInput>,
) -> Result<S3Response<HeadObjectOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let key = input.key;
    let found = blocking(move || Found::head(&bucket, &key, which)).await?;
    let mut output = HeadObjectOutput::default();
    if found.check(&conditions)? == Verdict::NotModified {
        output.e_tag = Some(told::etag(found.attributes.etag));
        output.last_modified = Some(told::time(found.info.created_ms));
        return Ok(told::with_status(output, StatusCode::NOT_MODIFIED));
    }
    let selected = found.select(input.range.as_ref(), input.part_number)?;
    describe!(output, found, selected, input.checksum_mode);
    let mut response = match selected.of {
        Some(_) => told::with_status(output, StatusCode::PARTIAL_CONTENT),
        None => S3Response::new(output),
    };
    if !found.tags.is_empty() {
        // The output has no field for it.
        response.headers.insert("x-amz-tagging-count", found.tags.len().into());
    }
    Ok(response)
}
