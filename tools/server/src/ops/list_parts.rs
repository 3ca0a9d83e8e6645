//! `ListParts`.

use s3s::dto::{ListPartsInput, ListPartsOutput, Part, StorageClass};
use s3s::{S3Request, S3Response};

use super::told;
use crate::bodies::tell_checksum;
use crate::data::attributes::Etag;
use crate::data::blocking;
use crate::data::uploads::{self, PartRow};
use crate::error::{Error, Result};
use crate::service::Service;

const MAX_PARTS: i32 = 1000;

pub async fn call(
    service: &Service,
    request: S3Request<ListPartsInput>,
) -> Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let id = told::upload_id(&input.upload_id)?;
    let most = told::page_len(input.max_parts, MAX_PARTS)?;
    let limit = usize::try_from(most).unwrap_or(0);
    let after = u16::try_from(input.part_number_marker.unwrap_or(0).max(0)).unwrap_or(u16::MAX);
    let key = input.key.clone();
    let (upload, mut parts) = blocking(move || {
        let upload = uploads::find(&bucket.store, bucket.id, &key, id)?;
        let parts = uploads::parts(&bucket.store, bucket.id, id, after, limit + 1)?;
        Ok::<_, Error>((upload, parts))
    })
    .await?;
    let is_truncated = parts.len() > limit;
    parts.truncate(limit);
    let last = parts.last().map_or(after, |(number, _)| *number);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_algorithm: upload.checksum.map(|(name, _)| told::checksum_algorithm(name)),
        checksum_type: upload.checksum.map(|(_, span)| told::span(span)),
        initiator: Some(told::initiator()),
        owner: Some(told::owner()),
        is_truncated: Some(is_truncated),
        max_parts: Some(most),
        part_number_marker: Some(after.into()),
        next_part_number_marker: is_truncated.then(|| last.into()),
        parts: Some(parts.into_iter().map(tell).collect()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    }))
}

fn tell((number, row): (u16, PartRow)) -> Part {
    let mut part = Part {
        e_tag: Some(told::etag(Etag::Md5(row.md5))),
        last_modified: Some(told::time(row.modified_ms)),
        part_number: Some(number.into()),
        size: Some(told::len(row.len)),
        ..Part::default()
    };
    tell_checksum!(part, row.checksum.as_ref());
    part
}
