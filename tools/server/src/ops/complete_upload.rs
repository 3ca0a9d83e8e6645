//! `CompleteMultipartUpload`: one record of the store makes the object of its parts, and nothing is
//! copied.

use std::collections::{HashMap, HashSet};

use kogia::{ErrorKind, PartId};
use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::malformed;
use super::found::tell_version;
use super::target::{Placed, Target};
use super::told;
use crate::bodies::{given_checksums, tell_checksum};
use crate::conditions::WriteConditions;
use crate::data::attributes::{Etag, PartSizes};
use crate::data::buckets::Bucket;
use crate::data::keys::{MAX_PART_NUMBER, UploadId};
use crate::data::lifecycle::Traits;
use crate::data::uploads::{self, PartRow, Span, UploadRow};
use crate::data::{Attributes, blocking, keys, locks, tags, versions};
use crate::digest::{self, Algorithm, Checksum};
use crate::error::{Error, Result};
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let given = given_checksums!(input);
    let given = given.iter().find_map(|(algorithm, text)| Some((*algorithm, (*text)?.to_owned())));
    let completion = Completion {
        bucket: bucket.clone(),
        key: input.key.clone(),
        id: told::upload_id(&input.upload_id)?,
        asked: input.multipart_upload.and_then(|asked| asked.parts).unwrap_or_default(),
        given,
        size: input.mpu_object_size,
        conditions: WriteConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        },
        min_part_bytes: service.limits.min_part_bytes,
    };
    let entered = bucket.enter().await?;
    let Placed { attributes, version, expiration } = blocking(move || {
        let completed = completion.carry_out();
        drop(entered);
        completed
    })
    .await?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(told::etag(attributes.etag)),
        checksum_type: attributes.checksum.as_ref().map(told::checksum_type),
        expiration,
        version_id: version,
        ..CompleteMultipartUploadOutput::default()
    };
    tell_checksum!(output, attributes.checksum.as_ref());
    Ok(S3Response::new(output))
}

struct Completion {
    bucket: Bucket,
    key: String,
    id: UploadId,
    asked: Vec<CompletedPart>,
    given: Option<(Algorithm, String)>,
    size: Option<i64>,
    conditions: WriteConditions,
    min_part_bytes: u64,
}

impl Completion {
    /// Completes the upload; one that was completed already is as well as one that is now.
    fn carry_out(&self) -> Result<Placed> {
        match self.complete() {
            Err(Error::NoSuchUpload) => self.completed_before()?.ok_or(Error::NoSuchUpload),
            Err(Error::Store(error)) if error.kind() == ErrorKind::NotFound => {
                self.completed_before()?.ok_or_else(invalid_part)
            }
            outcome => outcome,
        }
    }

    fn completed_before(&self) -> Result<Option<Placed>> {
        let Some(place) = self.bucket.key(&self.key).current()? else { return Ok(None) };
        if !place.attributes.is_of(self.id) {
            return Ok(None);
        }
        let version = tell_version(&self.bucket, &place).filter(|name| name != versions::NULL);
        let tags = &*tags::of(&self.bucket.store, &place)?;
        let (created_ms, len) = (place.info.created_ms, place.info.len);
        let object = Traits { key: &self.key, created_ms, len, tags };
        let expiration = told::expiration(&self.bucket, object);
        Ok(Some(Placed { attributes: place.attributes, version, expiration }))
    }

    fn complete(&self) -> Result<Placed> {
        let (store, bucket) = (&self.bucket.store, self.bucket.id);
        // Before it is seen that the upload is there: whoever ends it takes both away.
        let lock = locks::of(store, &keys::upload(bucket, &self.key, self.id))?;
        let upload = uploads::find(store, bucket, &self.key, self.id)?;
        let parts = self.chosen()?;
        let row = keys::object(bucket, &self.key);
        let condition = self.conditions.resolve(store.head(&row)?.as_ref())?;
        let attributes = self.attributes(upload, &parts)?;
        let ids: Vec<_> = parts.iter().map(|part| PartId(part.part)).collect();
        let len = parts.iter().map(|part| part.len).sum();
        let put = |row: &[u8], options| Ok(store.assemble(row, &ids, &options).map(drop)?);
        let placed = Target::new(self.bucket.clone(), self.key.clone(), lock)?
            .commit(len, attributes, condition, put)
            .map_err(|error| self.conditions.lost_race(error))?;
        let used: HashSet<_> = parts.iter().map(|part| part.part).collect();
        // The object is there: whatever comes now, the answer is yes. What stays is swept.
        if let Err(error) = uploads::end(store, bucket, &self.key, self.id, &used) {
            tracing::warn!(%error, "rows of a completed upload stay until the next start");
        }
        Ok(placed)
    }

    /// The parts that are asked for, in their order, each as it was uploaded.
    fn chosen(&self) -> Result<Vec<PartRow>> {
        if self.asked.is_empty() || self.asked.len() > usize::from(MAX_PART_NUMBER) {
            return Err(malformed());
        }
        let (store, bucket) = (&self.bucket.store, self.bucket.id);
        let uploaded = uploads::parts(store, bucket, self.id, 0, MAX_PART_NUMBER.into())?;
        let mut uploaded: HashMap<_, _> = uploaded.into_iter().collect();
        let mut before = 0;
        let mut chosen = Vec::with_capacity(self.asked.len());
        for asked in &self.asked {
            let number = asked.part_number.and_then(|number| u16::try_from(number).ok());
            let number = number.ok_or_else(invalid_part)?;
            if number <= before {
                return Err(s3_error!(
                    InvalidPartOrder,
                    "The list of parts was not in ascending order. Parts must be ordered by part number."
                )
                .into());
            }
            before = number;
            let part = uploaded.remove(&number).filter(|part| is_the_one(part, asked));
            chosen.push(part.ok_or_else(invalid_part)?);
        }
        let (_, all_but_last) = chosen.split_last().expect("there is one at least");
        if all_but_last.iter().any(|part| part.len < self.min_part_bytes) {
            return Err(s3_error!(
                EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size"
            )
            .into());
        }
        let size: u64 = chosen.iter().map(|part| part.len).sum();
        if self.size.is_some_and(|said| said != told::len(size)) {
            return Err(s3_error!(
                InvalidRequest,
                "The provided x-amz-mp-object-size header does not match the parts' sizes"
            )
            .into());
        }
        Ok(chosen)
    }

    fn attributes(&self, upload: UploadRow, parts: &[PartRow]) -> Result<Attributes> {
        let md5s: Vec<u8> = parts.iter().flat_map(|part| part.md5).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let checksum = match upload.checksum {
            Some((algorithm, span)) => checksum_of(algorithm, span, parts),
            None => None,
        };
        if let Some((algorithm, text)) = &self.given
            && !checksum
                .as_ref()
                .is_some_and(|ours| ours.algorithm == *algorithm && same(ours, text))
        {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            )
            .into());
        }
        Ok(Attributes {
            etag: Etag::Parts(digest::md5(&md5s), count),
            headers: upload.headers,
            tags: upload.tags,
            checksum,
            upload: Some((self.id.0, PartSizes::new(parts.iter().map(|part| part.len)))),
            version: None,
        })
    }
}

/// With the number of parts behind it or without.
fn same(ours: &Checksum, text: &str) -> bool {
    let ours = ours.text();
    ours == text || ours.rsplit_once('-').is_some_and(|(digest, _)| digest == text)
}

/// Parts that were uploaded without a checksum leave the object without one.
fn checksum_of(algorithm: Algorithm, span: Span, parts: &[PartRow]) -> Option<Checksum> {
    let digests = parts.iter().map(|part| {
        let checksum = part.checksum.as_ref().filter(|sum| sum.algorithm == algorithm)?;
        Some((checksum.value.clone(), part.len))
    });
    let digests = digests.collect::<Option<Vec<_>>>()?;
    match span {
        Span::Whole => Checksum::combined(algorithm, &digests),
        Span::Parts => {
            let digests: Vec<_> = digests.into_iter().map(|(digest, _)| digest).collect();
            Some(Checksum::composite(algorithm, &digests))
        }
    }
}

fn is_the_one(part: &PartRow, asked: &CompletedPart) -> bool {
    let etag =
        asked.e_tag.as_ref().is_some_and(|etag| etag.value() == Etag::Md5(part.md5).to_string());
    etag && given_checksums!(asked).iter().all(|(algorithm, text)| match text {
        Some(text) => part
            .checksum
            .as_ref()
            .is_some_and(|checksum| checksum.algorithm == *algorithm && checksum.text() == *text),
        None => true,
    })
}

fn invalid_part() -> Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    )
    .into()
}
