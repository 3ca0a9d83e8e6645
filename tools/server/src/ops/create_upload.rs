//! `CreateMultipartUpload`.

use s3s::dto::{ChecksumType, CreateMultipartUploadInput, CreateMultipartUploadOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{self, headers_of, lock_of, refuse_unsupported};
use super::told;
use crate::bodies::algorithm_named;
use crate::data::blocking;
use crate::data::buckets::now_ms;
use crate::data::uploads::{self, Span, UploadRow};
use crate::digest::Algorithm;
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<CreateMultipartUploadInput>,
) -> Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    refuse_unsupported!(input);
    let bucket = service.bucket(&input.bucket)?;
    let checksum = checksum(
        algorithm_named(input.checksum_algorithm.as_ref().map(|name| name.as_str()))?,
        input.checksum_type.as_ref().map(ChecksumType::as_str),
    )?;
    let tags = carried::tags_of_header(input.tagging.as_deref())?;
    let lock = lock_of!(bucket, input)?;
    let key = input.key;
    let row = UploadRow { headers: headers_of!(input)?, tags, checksum, created_ms: now_ms() };
    let entered = bucket.enter().await?;
    let (key, upload) = blocking(move || {
        let upload = uploads::create(&bucket.store, bucket.id, &key, &row, lock)?;
        drop(entered);
        Ok::<_, Error>((key, upload))
    })
    .await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(key),
        upload_id: Some(upload.to_string()),
        checksum_algorithm: checksum.map(|(algorithm, _)| told::checksum_algorithm(algorithm)),
        checksum_type: checksum.map(|(_, span)| told::span(span)),
        ..CreateMultipartUploadOutput::default()
    }))
}

fn checksum(algorithm: Option<Algorithm>, span: Option<&str>) -> Result<Option<(Algorithm, Span)>> {
    let Some(algorithm) = algorithm else {
        return match span {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
            .into()),
        };
    };
    let only_whole = algorithm == Algorithm::Crc64Nvme;
    match span {
        None if only_whole => Ok(Some((algorithm, Span::Whole))),
        None => Ok(Some((algorithm, Span::Parts))),
        Some(ChecksumType::FULL_OBJECT) if algorithm.combines() => {
            Ok(Some((algorithm, Span::Whole)))
        }
        Some(ChecksumType::COMPOSITE) if !only_whole => Ok(Some((algorithm, Span::Parts))),
        Some(span) => Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            span,
            algorithm.name()
        )
        .into()),
    }
}
