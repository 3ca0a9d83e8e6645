//! `UploadPartCopy`: a part from an object, or a range of one.

use s3s::dto::{CopyPartResult, Range, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::source::{Source, copy, source_conditions};
use super::told;
use super::upload_part::Place;
use crate::bodies::tell_checksum;
use crate::data::attributes::Etag;
use crate::data::blocking;
use crate::data::buckets::now_ms;
use crate::data::streams::{OffRuntime, PartStream};
use crate::digest::Digests;
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<UploadPartCopyInput>,
) -> Result<S3Response<UploadPartCopyOutput>> {
    let S3Request { input, credentials, .. } = request;
    let place =
        Place::new(service, &input.bucket, input.key.clone(), &input.upload_id, input.part_number)?;
    let upload = place.upload().await?;
    let conditions = source_conditions!(input);
    let source =
        Source::open(service, credentials.as_ref(), &input.copy_source, conditions).await?;
    let range = match input.copy_source_range.as_deref() {
        Some(range) => source_range(range, source.found.info.len)?,
        None => 0..source.found.info.len,
    };
    if range.end - range.start > service.limits.max_put_bytes {
        return Err(s3_error!(EntityTooLarge, "The range is larger than a part may be").into());
    }
    let store = place.bucket.store.clone();
    let copied = blocking(move || {
        let mut digests = Digests::new(upload.checksum.map(|(algorithm, _)| algorithm));
        let mut stream = PartStream::open(&store)?;
        copy(&mut source.reader.into_inner(), range, &mut stream, &mut digests)?;
        Ok::<_, Error>(OffRuntime::new((stream, digests.finish())))
    })
    .await?;
    let entered = place.bucket.enter().await?;
    let sums = blocking(move || {
        let (stream, sums) = copied.into_inner();
        place.add(stream, sums, entered)
    })
    .await?;
    let mut result = CopyPartResult {
        e_tag: Some(told::etag(Etag::Md5(sums.md5))),
        last_modified: Some(told::time(now_ms())),
        ..CopyPartResult::default()
    };
    tell_checksum!(result, sums.checksum.as_ref());
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    }))
}

/// Unlike a range that is read, this one has to lie in the object, whole.
fn source_range(text: &str, len: u64) -> Result<std::ops::Range<u64>> {
    match Range::parse(text) {
        Ok(Range::Int { first, last: Some(last) }) if first <= last && last < len => {
            Ok(first..last + 1)
        }
        Ok(_) => Err(s3_error!(
            InvalidRange,
            "Range specified is not valid for source object of size: {}",
            len
        )
        .into()),
        Err(_) => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last"
        )
        .into()),
    }
}
