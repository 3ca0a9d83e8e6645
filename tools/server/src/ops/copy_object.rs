//! `CopyObject`: the bytes are copied, and verified on the way.

use kogia::Condition;
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{self, headers_of, lock_of, refuse_unsupported};
use super::source::{Source, copy, source_conditions};
use super::target::{Placed, Target};
use super::told;
use crate::bodies::{algorithm_named, tell_checksum};
use crate::data::attributes::Etag;
use crate::data::buckets::now_ms;
use crate::data::streams::{ObjectStream, OffRuntime};
use crate::data::{Attributes, blocking};
use crate::digest::Digests;
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<CopyObjectInput>,
) -> Result<S3Response<CopyObjectOutput>> {
    let S3Request { input, credentials, .. } = request;
    refuse_unsupported!(input);
    let replaces = directive(input.metadata_directive.as_ref().map(|d| d.as_str()))?;
    let replaces_tags = directive(input.tagging_directive.as_ref().map(|d| d.as_str()))?;
    let bucket = service.bucket(&input.bucket)?;
    let conditions = source_conditions!(input);
    let asked = algorithm_named(input.checksum_algorithm.as_ref().map(|name| name.as_str()))?;
    let source =
        Source::open(service, credentials.as_ref(), &input.copy_source, conditions).await?;
    // An old version may be made the current one so.
    let onto_itself = source.bucket.id == bucket.id
        && source.key == input.key
        && !matches!(&input.copy_source, CopySource::Bucket { version_id: Some(_), .. });
    if onto_itself && !replaces && !replaces_tags {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata"
        )
        .into());
    }
    let given_tags = match replaces_tags {
        true => Some(carried::tags_of_header(input.tagging.as_deref())?),
        false => None,
    };
    let lock = lock_of!(bucket, input)?;
    let key = input.key;
    let given_headers = match replaces {
        true => Some(headers_of!(input)?),
        false => None,
    };

    let (target, copied) = blocking(move || {
        let Source { found, reader, .. } = source;
        let mut reader = reader.into_inner();
        let algorithm = asked.or(found.attributes.checksum.map(|checksum| checksum.algorithm));
        let mut digests = Digests::new(algorithm);
        let target = Target::new(bucket, key, lock)?;
        let mut stream = ObjectStream::open(&target.bucket.store, &target.row())?;
        copy(&mut reader, 0..found.info.len, &mut stream, &mut digests)?;
        let sums = digests.finish();
        let attributes = Attributes {
            etag: Etag::Md5(sums.md5),
            headers: given_headers.unwrap_or(found.attributes.headers),
            tags: given_tags.unwrap_or(found.tags),
            checksum: sums.checksum,
            ..Attributes::of_nothing()
        };
        let copied = OffRuntime::new((stream, attributes, found.info.len, found.version));
        Ok::<_, Error>((target, copied))
    })
    .await?;
    let entered = target.bucket.enter().await?;
    let (Placed { attributes, version, expiration }, source_version) = blocking(move || {
        let (stream, attributes, len, source_version) = copied.into_inner();
        let put = |_: &[u8], options| stream.commit(options).map(drop);
        let placed = target.commit(len, attributes, Condition::Always, put)?;
        drop(entered);
        Ok::<_, Error>((placed, source_version))
    })
    .await?;

    let mut result = CopyObjectResult {
        e_tag: Some(told::etag(attributes.etag)),
        last_modified: Some(told::time(now_ms())),
        checksum_type: attributes.checksum.as_ref().map(told::checksum_type),
        ..CopyObjectResult::default()
    };
    tell_checksum!(result, attributes.checksum.as_ref());
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: source_version,
        expiration,
        version_id: version,
        ..CopyObjectOutput::default()
    }))
}

/// Whether the new object has what the request gives, in place of what the source has.
fn directive(said: Option<&str>) -> Result<bool> {
    match said {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown metadata directive.").into()),
    }
}
