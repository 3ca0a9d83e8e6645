//! `PutObject` with `x-amz-write-offset-bytes`, which makes an object longer, as S3 Express One Zone has
//! it: the offset has to be the object's length, and 0 begins one that is not there.
//!
//! Nothing of what is there already is copied, once it lies in segments: a small object that was put
//! whole is rewritten as one with its first append. Headers and tags stay those that the object has.
//! Its `ETag` changes with each append, and is no MD5 of the bytes.

use hyper::StatusCode;
use kogia::{Condition, Info, PartId, PutOptions, Store};
use s3s::dto::PutObjectOutput;
use s3s::{S3Error, S3ErrorCode, S3Response};

use super::source::copy;
use super::told;
use crate::bodies::{Expected, Incoming, tell_checksum};
use crate::conditions::WriteConditions;
use crate::data::attributes::Etag;
use crate::data::buckets::Bucket;
use crate::data::settings::Versioning;
use crate::data::streams::{ObjectReader, PartStream};
use crate::data::versions::Place;
use crate::data::{Attributes, blocking, keys, tags};
use crate::digest::{self, Checksum, Digests, Sums};
use crate::error::{Error, Result, of_code};

/// The most parts of an object that is appended to. Each append names all of them anew.
const MAX_PARTS: u32 = 10_000;

/// An append, before its body was read.
pub struct Append {
    pub bucket: Bucket,
    pub key: String,
    pub expected: Expected,
    pub conditions: WriteConditions,
    /// What is to be made longer.
    pub found: Info,
}

/// A version is never changed.
pub fn check(bucket: &Bucket) -> Result<()> {
    if bucket.versioning() == Versioning::Never {
        return Ok(());
    }
    let what = "Objects of a bucket with versions can't be appended to";
    Err(S3Error::with_message(S3ErrorCode::InvalidRequest, what).into())
}

/// The object that an append with this offset is to; `None` if it begins one.
pub fn target(found: Option<Info>, offset: i64) -> Result<Option<Info>> {
    match found {
        None if offset == 0 => Ok(None),
        Some(info) if u64::try_from(offset) == Ok(info.len) => Ok(Some(info)),
        other => Err(invalid_offset(Some(other.map_or(0, |info| info.len)))),
    }
}

/// S3's own code for it, which s3s does not know.
fn invalid_offset(len: Option<u64>) -> Error {
    let len = len.map(|len| format!(" of {len} bytes")).unwrap_or_default();
    let what = format!(
        "The write offset value that you specified does not match the current object size{len}."
    );
    of_code("InvalidWriteOffset", StatusCode::BAD_REQUEST, what).into()
}

/// S3's own code for it and its words, which s3s does not know either.
fn too_many_parts() -> Error {
    let what = "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can use the CopyObject operation to copy this object to another and then add more data to the newly copied object.";
    of_code("TooManyParts", StatusCode::BAD_REQUEST, what).into()
}

/// Of how many parts an object was made, those that were appended among them.
fn parts(etag: Etag) -> u32 {
    match etag {
        Etag::Md5(_) => 1,
        Etag::Parts(_, count) => count,
    }
}

impl Append {
    pub async fn carry_out(self, incoming: Incoming) -> Result<S3Response<PutObjectOutput>> {
        self.conditions.resolve(Some(&self.found))?;
        let before = Attributes::decode(&self.found.attributes)?;
        if parts(before.etag) >= MAX_PARTS {
            return Err(too_many_parts());
        }
        let kept = before.checksum.as_ref().filter(|sum| sum.parts.is_none());
        let expected = self.expected.clone().or_computed(kept.map(|sum| sum.algorithm));
        let store = self.bucket.store.clone();
        let stream = blocking(move || PartStream::open(&store)).await?;
        let (written, len) = incoming.pour(stream, expected.digests()).await?;
        let entered = self.bucket.enter().await?;
        check(&self.bucket)?;
        let size = self.found.len + len;
        let attributes = blocking(move || {
            let (stream, digests) = written.into_inner();
            let sums = digests.finish();
            expected.check(&sums)?;
            let part = stream.finish()?.id;
            let appended = self.append(part, before, &sums, len);
            if appended.is_err() {
                discard(&self.bucket.store, part);
            }
            drop(entered);
            appended.map_err(lost_race)
        })
        .await?;
        let mut output = PutObjectOutput {
            e_tag: Some(told::etag(attributes.etag)),
            size: Some(told::len(size)),
            checksum_type: attributes.checksum.as_ref().map(told::checksum_type),
            ..PutObjectOutput::default()
        };
        tell_checksum!(output, attributes.checksum.as_ref());
        Ok(S3Response::new(output))
    }

    /// Those of the object before, with what the new bytes change.
    fn attributes(&self, before: Attributes, sums: &Sums, len: u64) -> Result<Attributes> {
        let (Etag::Md5(md5) | Etag::Parts(md5, _)) = before.etag;
        let checksum = match (&before.checksum, &sums.checksum) {
            (Some(old), Some(new)) if old.algorithm == new.algorithm && old.parts.is_none() => {
                let both = [(old.value.clone(), self.found.len), (new.value.clone(), len)];
                Checksum::combined(old.algorithm, &both)
            }
            _ => None,
        };
        Ok(Attributes {
            etag: Etag::Parts(digest::md5(&[md5, sums.md5].concat()), parts(before.etag) + 1),
            tags: tags::of(
                &self.bucket.store,
                &Place::of(self.bucket.id, &self.key, self.found.clone())?,
            )?,
            headers: before.headers,
            checksum,
            ..Attributes::of_nothing()
        })
    }

    /// Makes the object longer by a part. Gives its attributes.
    fn append(
        &self,
        part: PartId,
        before: Attributes,
        sums: &Sums,
        len: u64,
    ) -> Result<Attributes> {
        // Tags that were set behind this would be those of an object that is no more.
        let _alone = self.bucket.key(&self.key).lock();
        let attributes = self.attributes(before, sums, len)?;
        let store = &*self.bucket.store;
        let row = keys::object(self.bucket.id, &self.key);
        let options = PutOptions {
            attributes: attributes.encode(),
            condition: Condition::IfSeq(self.found.seq),
            ..PutOptions::default()
        };
        if store.extend(&row, self.found.seq, &[part], &options)?.is_none() {
            self.assemble_with(part, &row, &options)?;
        }
        Ok(attributes)
    }

    /// The same for an object whose bytes don't lie in segments yet.
    fn assemble_with(&self, part: PartId, row: &[u8], options: &PutOptions) -> Result<()> {
        let store = &self.bucket.store;
        let Some(mut reader) = ObjectReader::open(store, row)? else {
            return Err(invalid_offset(None));
        };
        let mut stream = PartStream::open(store)?;
        // What another has put meanwhile is found out when both are assembled.
        let len = reader.info().len;
        copy(&mut reader, 0..len, &mut stream, &mut Digests::new(None))?;
        let before = stream.finish()?.id;
        let assembled = store.assemble(row, &[before, part], options);
        if assembled.is_err() {
            discard(store, before);
        }
        assembled?;
        Ok(())
    }
}

/// Whoever was first has made it longer, or another object.
pub fn lost_race(error: Error) -> Error {
    match &error {
        Error::Store(inner) if inner.kind() == kogia::ErrorKind::Condition => invalid_offset(None),
        _ => error,
    }
}

fn discard(store: &Store, part: PartId) {
    if let Err(error) = store.discard_part(part) {
        tracing::warn!(%error, "a part stays until the next start");
    }
}
