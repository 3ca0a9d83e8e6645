//! `ListMultipartUploads`: by key, and by upload id where several are of one key.

use kogia::{Item, ListOptions};
use s3s::dto::{
    CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload,
    StorageClass,
};
use s3s::{S3Request, S3Response};

use super::told::{self, Names};
use crate::data::buckets::Bucket;
use crate::data::keys::UploadId;
use crate::data::uploads::UploadRow;
use crate::data::{blocking, keys, rows};
use crate::error::Result;
use crate::service::Service;

const MAX_UPLOADS: i32 = 1000;

struct Asked {
    prefix: String,
    delimiter: Option<String>,
    key_marker: String,
    upload_marker: Option<UploadId>,
    most: usize,
    names: Names,
}

#[derive(Default)]
struct Listed {
    uploads: Vec<MultipartUpload>,
    prefixes: Vec<CommonPrefix>,
    /// The key, or common prefix, and the upload that the next page is behind.
    next: Option<(String, String)>,
}

pub async fn call(
    service: &Service,
    request: S3Request<ListMultipartUploadsInput>,
) -> Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let names = Names::new(input.encoding_type.as_ref())?;
    let most = told::page_len(input.max_uploads, MAX_UPLOADS)?;
    let delimiter = told::given(input.delimiter);
    let upload_marker = input.upload_id_marker.as_deref().filter(|marker| !marker.is_empty());
    let asked = Asked {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        key_marker: input.key_marker.clone().unwrap_or_default(),
        upload_marker: upload_marker.map(told::upload_id).transpose()?,
        most: usize::try_from(most).unwrap_or(0),
        names,
    };
    let listed = blocking(move || list(&bucket, &asked)).await?;
    let write = |name: String| names.write(&name);
    let (next_key, next_upload) = listed.next.clone().unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(write(input.prefix.unwrap_or_default())),
        delimiter: delimiter.map(write),
        encoding_type: input.encoding_type,
        is_truncated: Some(listed.next.is_some()),
        key_marker: Some(write(input.key_marker.unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(most),
        next_key_marker: next_key.map(write),
        next_upload_id_marker: next_upload,
        uploads: Some(listed.uploads),
        common_prefixes: Some(listed.prefixes),
        ..ListMultipartUploadsOutput::default()
    }))
}

fn list(bucket: &Bucket, asked: &Asked) -> Result<Listed> {
    let mut prefix = keys::uploads(bucket.id);
    prefix.extend_from_slice(asked.prefix.as_bytes());
    let start_after = (!asked.key_marker.is_empty()).then(|| match asked.upload_marker {
        Some(upload) => keys::upload(bucket.id, &asked.key_marker, upload),
        None => behind_all_of(bucket, &asked.key_marker),
    });
    let mut options = ListOptions { prefix, start_after, ..ListOptions::default() };
    let mut listed = Listed::default();
    let mut last: Option<(String, String)> = None;
    loop {
        let page = bucket.store.list(&options)?;
        for item in page.items {
            let Item::Object { key: row, .. } = item else { continue };
            let Some((_, key, upload)) = keys::parse_upload(&row) else { continue };
            let Some(rest) = key.strip_prefix(&*asked.prefix) else { continue };
            let common = common(key, rest, asked.delimiter.as_deref());
            let is_told = common.is_some_and(|common| {
                common == asked.key_marker || last.as_ref().is_some_and(|(last, _)| last == common)
            });
            if is_told {
                continue;
            }
            if listed.uploads.len() + listed.prefixes.len() == asked.most {
                listed.next = last;
                return Ok(listed);
            }
            match common {
                Some(common) => {
                    let prefix = Some(asked.names.write(common));
                    listed.prefixes.push(CommonPrefix { prefix });
                    last = Some((common.to_owned(), String::new()));
                }
                None => {
                    // One that ends meanwhile is none.
                    let Some(found) = bucket.store.get(&row)? else { continue };
                    listed.uploads.push(tell(key, upload, &rows::decode(&found)?, asked.names));
                    last = Some((key.to_owned(), upload.to_string()));
                }
            }
        }
        options.start_after = page.next;
        if options.start_after.is_none() {
            return Ok(listed);
        }
    }
}

/// A row behind those of all uploads of a key: none of their ids begins with a `g`.
fn behind_all_of(bucket: &Bucket, key: &str) -> Vec<u8> {
    let mut row = keys::uploads(bucket.id);
    row.extend_from_slice(key.as_bytes());
    row.extend_from_slice(b"\0g");
    row
}

fn common<'k>(key: &'k str, rest: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter?;
    let at = rest.find(delimiter)?;
    Some(&key[..key.len() - rest.len() + at + delimiter.len()])
}

fn tell(key: &str, upload: UploadId, row: &UploadRow, names: Names) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: row.checksum.map(|(name, _)| told::checksum_algorithm(name)),
        checksum_type: row.checksum.map(|(_, span)| told::span(span)),
        initiated: Some(told::time(row.created_ms)),
        initiator: Some(told::initiator()),
        key: Some(names.write(key)),
        owner: Some(told::owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload.to_string()),
    }
}
