//! `GetObject`: what fits into a piece is read at once, the rest goes out piece by piece.

use bytes::Bytes;
use hyper::StatusCode;
use s3s::dto::{GetObjectInput, GetObjectOutput, StreamingBlob};
use s3s::{Body, S3Request, S3Response, s3_error};

use super::found::{Found, Selected, describe};
use super::told;
use crate::bodies::{PIECE_BYTES, outgoing};
use crate::conditions::{ReadConditions, Verdict};
use crate::data::blocking;
use crate::data::streams::{ObjectReader, OffRuntime};
use crate::error::{Error, Result};
use crate::service::Service;

enum Answer {
    NotModified(Found),
    Whole(Found, Selected, Vec<u8>),
    Stream(Found, Selected, OffRuntime<ObjectReader>),
}

pub async fn call(
    service: &Service,
    request: S3Request<GetObjectInput>,
) -> Result<S3Response<GetObjectOutput>> {
    let anonymous = request.credentials.is_none();
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    if anonymous && overrides(&input) {
        return Err(s3_error!(
            InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests."
        )
        .into());
    }
    let bucket = service.bucket(&input.bucket)?;
    let conditions = ReadConditions {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let (key, range, part_number) = (input.key, input.range, input.part_number);
    let answer = blocking(move || {
        let (found, mut reader) = Found::open(&bucket, &key, which)?;
        if found.check(&conditions)? == Verdict::NotModified {
            return Ok(Answer::NotModified(found));
        }
        let selected = found.select(range.as_ref(), part_number)?;
        reader.seek(selected.range.start)?;
        if selected.len() > PIECE_BYTES as u64 {
            return Ok(Answer::Stream(found, selected, OffRuntime::new(reader)));
        }
        let len = usize::try_from(selected.len()).unwrap_or(PIECE_BYTES);
        let bytes = reader.read(len)?;
        if bytes.len() < len {
            return Err(Error::damaged("an object ended before its length"));
        }
        Ok::<_, Error>(Answer::Whole(found, selected, bytes))
    })
    .await?;

    let mut output = GetObjectOutput::default();
    let (found, selected) = match answer {
        Answer::NotModified(found) => {
            output.e_tag = Some(told::etag(found.attributes.etag));
            output.last_modified = Some(told::time(found.info.created_ms));
            return Ok(told::with_status(output, StatusCode::NOT_MODIFIED));
        }
        Answer::Whole(found, selected, bytes) => {
            output.body = Some(StreamingBlob::from(Body::from(Bytes::from(bytes))));
            (found, selected)
        }
        Answer::Stream(found, selected, reader) => {
            output.body = Some(outgoing(reader.into_inner(), selected.len()));
            (found, selected)
        }
    };
    describe!(output, found, selected, input.checksum_mode);
    output.tag_count = i32::try_from(found.tags.len()).ok().filter(|&count| count > 0);
    Ok(S3Response::new(output))
}

fn overrides(input: &GetObjectInput) -> bool {
    input.response_cache_control.is_some()
        || input.response_content_disposition.is_some()
        || input.response_content_encoding.is_some()
        || input.response_content_language.is_some()
        || input.response_content_type.is_some()
        || input.response_expires.is_some()
}
