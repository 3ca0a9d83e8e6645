//! `GetObjectAttributes`.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response};

use super::found::Found;
use super::told;
use crate::bodies::tell_checksum;
use crate::data::attributes::PartSizes;
use crate::data::blocking;
use crate::error::Result;
use crate::service::Service;

const MAX_PARTS: i32 = 1000;

pub async fn call(
    service: &Service,
    request: S3Request<GetObjectAttributesInput>,
) -> Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let which = told::which(input.version_id.as_deref())?;
    let bucket = service.bucket(&input.bucket)?;
    let key = input.key;
    let found = blocking(move || Found::head(&bucket, &key, which)).await?;
    // In headers of their own, or in one.
    let asked = input.object_attributes.iter().flat_map(|asked| asked.as_str().split(','));
    let asked: Vec<_> = asked.map(str::trim).collect();
    let asked = |name: &str| asked.contains(&name);

    let mut output = GetObjectAttributesOutput {
        last_modified: Some(told::time(found.info.created_ms)),
        version_id: found.version.clone(),
        ..GetObjectAttributesOutput::default()
    };
    if asked("ETag") {
        output.e_tag = Some(told::etag(found.attributes.etag));
    }
    if asked("ObjectSize") {
        output.object_size = Some(told::len(found.info.len));
    }
    if asked("StorageClass") {
        output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
    }
    if asked("Checksum")
        && let Some(checksum) = &found.attributes.checksum
    {
        let mut told = Checksum::default();
        tell_checksum!(told, Some(checksum));
        told.checksum_type = Some(told::checksum_type(checksum));
        output.checksum = Some(told);
    }
    if asked("ObjectParts")
        && let Some((_, sizes)) = &found.attributes.upload
    {
        let most = told::page_len(input.max_parts, MAX_PARTS)?;
        let after = input.part_number_marker.unwrap_or(0).max(0);
        output.object_parts = Some(parts(sizes, after, most));
    }
    Ok(S3Response::new(output))
}

fn parts(sizes: &PartSizes, after: i32, most: i32) -> GetObjectAttributesParts {
    let numbered = (1..).zip(sizes.iter()).skip_while(|(number, _)| *number <= after);
    let parts: Vec<_> = numbered
        .take(usize::try_from(most).unwrap_or(0))
        .map(|(number, size)| ObjectPart {
            part_number: Some(number),
            size: Some(told::len(size)),
            ..ObjectPart::default()
        })
        .collect();
    let last = parts.last().and_then(|part| part.part_number).unwrap_or(after);
    let count = i32::try_from(sizes.count()).unwrap_or(i32::MAX);
    GetObjectAttributesParts {
        is_truncated: Some(last < count),
        max_parts: Some(most),
        next_part_number_marker: Some(last),
        part_number_marker: Some(after),
        parts: Some(parts),
        total_parts_count: Some(count),
    }
}
