//! `UploadPart`.

use s3s::dto::{UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::put_object::{SDK_ALGORITHM, announced, text};
use super::told;
use crate::bodies::{BodyFault, Expected, Incoming, given_checksums, tell_checksum};
use crate::data::attributes::Etag;
use crate::data::blocking;
use crate::data::buckets::{Bucket, Entered};
use crate::data::keys::UploadId;
use crate::data::streams::PartStream;
use crate::data::uploads::{self, PartRow, UploadRow};
use crate::digest::{Algorithm, Sums};
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<UploadPartInput>,
) -> Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, extensions, trailing_headers, .. } = request;
    let place =
        Place::new(service, &input.bucket, input.key.clone(), &input.upload_id, input.part_number)?;
    let upload = place.upload().await?;
    let expected = Expected::new(
        input.content_md5.as_deref(),
        &given_checksums!(input),
        text(&headers, "x-amz-trailer"),
        trailing_headers,
        text(&headers, SDK_ALGORITHM),
    )?
    .or_computed(upload.checksum.map(|(algorithm, _)| algorithm));
    check_algorithm(&upload, expected.algorithm())?;
    let fault = extensions.get::<BodyFault>().cloned().unwrap_or_default();
    let announced = announced(input.content_length, &headers)?;
    let incoming = Incoming::new(input.body, fault, announced, service.limits.max_put_bytes)?;

    let store = place.bucket.store.clone();
    let stream = blocking(move || PartStream::open(&store)).await?;
    let (written, _) = incoming.pour(stream, expected.digests()).await?;
    let entered = place.bucket.enter().await?;
    let sums = blocking(move || {
        let (stream, digests) = written.into_inner();
        let sums = digests.finish();
        expected.check(&sums)?;
        place.add(stream, sums, entered)
    })
    .await?;
    let mut output = UploadPartOutput {
        e_tag: Some(told::etag(Etag::Md5(sums.md5))),
        ..UploadPartOutput::default()
    };
    tell_checksum!(output, sums.checksum.as_ref());
    Ok(S3Response::new(output))
}

/// Where a part belongs.
pub struct Place {
    pub bucket: Bucket,
    pub key: String,
    pub id: UploadId,
    pub number: u16,
}

impl Place {
    pub fn new(
        service: &Service,
        bucket: &str,
        key: String,
        upload_id: &str,
        number: i32,
    ) -> Result<Self> {
        let bucket = service.bucket(bucket)?;
        let id = told::upload_id(upload_id)?;
        let number = told::part_number(number)?;
        Ok(Place { bucket, key, id, number })
    }

    pub async fn upload(&self) -> Result<UploadRow> {
        let (bucket, key, id) = (self.bucket.clone(), self.key.clone(), self.id);
        blocking(move || uploads::find(&bucket.store, bucket.id, &key, id)).await
    }

    /// Makes what was written the part. Blocks.
    pub fn add(&self, stream: PartStream, sums: Sums, entered: Entered) -> Result<Sums> {
        let part = stream.finish()?;
        let row = PartRow {
            part: part.id.0,
            len: part.len,
            md5: sums.md5,
            checksum: sums.checksum.clone(),
            modified_ms: part.created_ms,
        };
        let store = &self.bucket.store;
        uploads::add_part(store, self.bucket.id, &self.key, self.id, self.number, &row)?;
        drop(entered);
        Ok::<_, Error>(sums)
    }
}

/// All parts of an upload with a checksum have one of that kind.
pub fn check_algorithm(upload: &UploadRow, algorithm: Option<Algorithm>) -> Result<()> {
    match (upload.checksum, algorithm) {
        (Some((expected, _)), Some(given)) if expected != given => Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            expected.name(),
            given.name()
        )
        .into()),
        _ => Ok(()),
    }
}
