//! Things that answers say in many places.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, ETag, EncodingType, Initiator, Owner, Timestamp,
    TimestampFormat,
};
use s3s::{S3Response, s3_error};

use crate::access::OWNER;
use crate::data::attributes::Etag;
use crate::data::buckets::Bucket;
use crate::data::keys::{MAX_PART_NUMBER, UploadId};
use crate::data::lifecycle::{self, Traits};
use crate::data::uploads::Span;
use crate::data::versions::Which;
use crate::digest::{Algorithm, Checksum};
use crate::error::{Error, Result};

/// The last of the year 9999, beyond which no date can be written.
const LAST_SECOND: u64 = 253_402_300_799;

/// What is left as it is in a listing with `encoding-type=url`, and in a path.
const KEPT: &AsciiSet = &{
    let [a, b, c, d, e] = KEPT_MARKS;
    NON_ALPHANUMERIC.remove(a).remove(b).remove(c).remove(d).remove(e)
};
/// What of that is neither letter nor digit.
const KEPT_MARKS: [u8; 5] = *b"-_.~/";

/// An answer with a status of its own: s3s takes none from an operation, so it is set when s3s is done.
pub fn with_status<T>(output: T, status: StatusCode) -> S3Response<T> {
    let mut response = S3Response::new(output);
    response.extensions.insert(status);
    response
}

pub fn owner() -> Owner {
    Owner { display_name: Some(OWNER.into()), id: Some(OWNER.into()) }
}

pub fn initiator() -> Initiator {
    Initiator { display_name: Some(OWNER.into()), id: Some(OWNER.into()) }
}

pub fn time(ms: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(ms.min(LAST_SECOND * 1000))).into()
}

/// `x-amz-expiration` of an object, where a rule of its bucket says when it goes.
pub fn expiration(bucket: &Bucket, object: Traits<'_>) -> Option<String> {
    let settings = bucket.settings();
    let (ms, rule) = lifecycle::expiry(&settings, object)?;
    let mut date = Vec::new();
    // It is gone by then: dates are of whole seconds.
    time(ms.saturating_add(999)).format(TimestampFormat::HttpDate, &mut date).ok()?;
    let rule = utf8_percent_encode(rule, NON_ALPHANUMERIC);
    Some(format!("expiry-date=\"{}\", rule-id=\"{rule}\"", String::from_utf8(date).ok()?))
}

pub fn etag(etag: Etag) -> ETag {
    ETag::Strong(etag.to_string())
}

pub fn checksum_type(checksum: &Checksum) -> ChecksumType {
    ChecksumType::from_static(match checksum.parts {
        Some(_) => ChecksumType::COMPOSITE,
        None => ChecksumType::FULL_OBJECT,
    })
}

pub fn span(span: Span) -> ChecksumType {
    ChecksumType::from_static(match span {
        Span::Whole => ChecksumType::FULL_OBJECT,
        Span::Parts => ChecksumType::COMPOSITE,
    })
}

pub fn checksum_algorithm(algorithm: Algorithm) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from_static(algorithm.name())
}

/// A key as the path of a URL has it.
pub fn path(key: &str) -> String {
    Cow::from(utf8_percent_encode(key, KEPT)).into_owned()
}

/// How the names in a listing are written.
#[derive(Clone, Copy)]
pub struct Names(bool);

impl Names {
    pub fn new(encoding: Option<&EncodingType>) -> Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Names(false)),
            Some("url") => Ok(Names(true)),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")
                    .into())
            }
        }
    }

    pub fn write(self, name: impl AsRef<str> + Into<String>) -> String {
        // Nearly all names: it takes less than to encode them.
        let is_kept = |byte: &u8| byte.is_ascii_alphanumeric() || KEPT_MARKS.contains(byte);
        if !self.0 || name.as_ref().as_bytes().iter().all(is_kept) {
            return name.into();
        }
        match utf8_percent_encode(name.as_ref(), KEPT).into() {
            Cow::Owned(encoded) => encoded,
            Cow::Borrowed(_) => name.into(),
        }
    }
}

/// How many entries a page of a listing has: `asked` for at most, and never more than `most`.
pub fn page_len(asked: Option<i32>, most: i32) -> Result<i32> {
    match asked {
        None => Ok(most),
        Some(asked @ 0..) => Ok(asked.min(most)),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647"
        )
        .into()),
    }
}

/// The number of a part that a request names.
pub fn part_number(number: i32) -> Result<u16> {
    let number = u16::try_from(number).ok().filter(|n| (1..=MAX_PART_NUMBER).contains(n));
    let what = "Part number must be an integer between 1 and 10000, inclusive";
    number.ok_or_else(|| s3_error!(InvalidArgument, "{}", what).into())
}

/// A text of a request; to S3 an empty one is none.
pub fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

pub fn len(len: u64) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

pub fn upload_id(text: &str) -> Result<UploadId> {
    UploadId::parse(text).ok_or(Error::NoSuchUpload)
}

pub fn which(version: Option<&str>) -> Result<Which> {
    Which::parse(version).ok_or_else(no_such_version)
}

pub fn no_such_version() -> Error {
    s3_error!(NoSuchVersion, "The specified version does not exist.").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_or_as_in_a_url() {
        for byte in 0..=0x7f_u8 {
            let name = format!("a{}", char::from(byte));
            assert_eq!(Names(false).write(&name), name);
            assert_eq!(Names(true).write(&name), utf8_percent_encode(&name, KEPT).to_string());
        }
        assert_eq!(Names(true).write("cam/1 ü"), "cam/1%20%C3%BC");
    }
}
