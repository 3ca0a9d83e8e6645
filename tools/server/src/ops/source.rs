//! The source of a copy.

use std::ops::Range;

use s3s::auth::Credentials;
use s3s::dto::CopySource;
use s3s::s3_error;

use super::found::Found;
use super::told;
use crate::access::Right;
use crate::bodies::PIECE_BYTES;
use crate::conditions::{ReadConditions, Verdict, precondition_failed};
use crate::data::blocking;
use crate::data::buckets::Bucket;
use crate::data::streams::{ObjectReader, OffRuntime, Sink};
use crate::digest::Digests;
use crate::error::{Error, Result};
use crate::service::Service;

/// The fields of an input that say which source, and under which conditions.
macro_rules! source_conditions {
    ($input:expr) => {
        $crate::conditions::ReadConditions {
            if_match: $input.copy_source_if_match.clone(),
            if_none_match: $input.copy_source_if_none_match.clone(),
            if_modified_since: $input.copy_source_if_modified_since.clone(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.clone(),
        }
    };
}

pub(super) use source_conditions;

pub struct Source {
    pub bucket: Bucket,
    pub key: String,
    pub found: Found,
    pub reader: OffRuntime<ObjectReader>,
}

impl Source {
    pub async fn open(
        service: &Service,
        credentials: Option<&Credentials>,
        named: &CopySource,
        conditions: ReadConditions,
    ) -> Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = named else {
            return Err(s3_error!(NotImplemented, "Copies from access points").into());
        };
        let which = told::which(version_id.as_deref())?;
        service.access.check(credentials, bucket, Right::Read)?;
        let (bucket, key) = (service.bucket(bucket)?, key.to_string());
        blocking(move || {
            let (found, reader) = Found::open(&bucket, &key, which)?;
            if found.check(&conditions)? == Verdict::NotModified {
                return Err(precondition_failed().into());
            }
            Ok(Source { bucket, key, found, reader: OffRuntime::new(reader) })
        })
        .await
    }
}

/// Reads a range of an object into a sink. Blocks.
pub fn copy(
    reader: &mut ObjectReader,
    range: Range<u64>,
    sink: &mut impl Sink,
    digests: &mut Digests,
) -> Result<()> {
    reader.seek(range.start)?;
    let mut left = range.end - range.start;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = reader.read(len)?;
        if piece.len() < len {
            return Err(Error::damaged("an object ended before its length"));
        }
        digests.update(&piece);
        sink.write(&piece)?;
        left -= len as u64;
    }
    Ok(())
}
