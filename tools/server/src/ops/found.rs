//! An object that was found, and the part of it that was asked for.

use std::ops::Range;

use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode, header};
use kogia::Info;
use s3s::dto::{self, Metadata};
use s3s::s3_error;

use super::told;
use crate::conditions::{ReadConditions, Verdict, no_such_key};
use crate::data::buckets::Bucket;
use crate::data::lifecycle::Traits;
use crate::data::locks::{self, Lock};
use crate::data::settings::Versioning;
use crate::data::streams::ObjectReader;
use crate::data::tags::Tags;
use crate::data::versions::{Place, Sought, Which};
use crate::data::{Attributes, keys, tags};
use crate::error::{Error, Result, of_code};

/// How often an object may be replaced between being found and being opened.
const OPEN_ATTEMPTS: usize = 16;

pub struct Found {
    pub info: Info,
    pub attributes: Attributes,
    /// The tags that count.
    pub tags: Tags,
    /// How its version is called, where the bucket has or had any.
    pub version: Option<String>,
    /// When it goes, and by which rule of its bucket, as `x-amz-expiration` says it.
    pub expiration: Option<String>,
    pub lock: Lock,
}

/// What of an object was asked for.
pub struct Selected {
    pub range: Range<u64>,
    /// Of how many bytes, where it is not all.
    pub of: Option<u64>,
    pub parts_count: Option<i32>,
}

impl Found {
    fn new(bucket: &Bucket, key: &str, place: Place) -> Result<Self> {
        let tags = tags::of(&bucket.store, &place)?;
        let version = tell_version(bucket, &place);
        let lock = match bucket.settings().locking {
            Some(_) => locks::of(&bucket.store, &place.row)?,
            None => Lock::default(),
        };
        let Place { info, attributes, .. } = place;
        let (created_ms, len) = (info.created_ms, info.len);
        let object = Traits { key, created_ms, len, tags: &tags };
        let expiration = told::expiration(bucket, object);
        Ok(Found { info, attributes, tags, version, expiration, lock })
    }

    pub fn head(bucket: &Bucket, key: &str, which: Which) -> Result<Self> {
        Found::new(bucket, key, place(bucket, key, which)?)
    }

    /// With a reader of its bytes.
    pub fn open(bucket: &Bucket, key: &str, which: Which) -> Result<(Self, ObjectReader)> {
        if bucket.versioning() == Versioning::Never && which == Which::Current {
            // One look is enough.
            let row = keys::object(bucket.id, key);
            let reader = ObjectReader::open(&bucket.store, &row)?.ok_or_else(no_such_key)?;
            let place = Place::of(bucket.id, key, reader.info())?;
            // Unless versions have come in between.
            if place.row == row {
                return Ok((Found::new(bucket, key, place)?, reader));
            }
        }
        for _ in 0..OPEN_ATTEMPTS {
            let place = place(bucket, key, which)?;
            let reader = ObjectReader::open(&bucket.store, &place.row)?;
            // A version's row has its bytes for ever; another object may be in an object's by now.
            let is_the_one =
                |reader: &ObjectReader| !place.is_plain() || reader.info().seq == place.info.seq;
            if let Some(reader) = reader.filter(is_the_one) {
                return Ok((Found::new(bucket, key, place)?, reader));
            }
        }
        Err(s3_error!(SlowDown, "The object is replaced all the time. Try again.").into())
    }

    pub fn check(&self, conditions: &ReadConditions) -> Result<Verdict> {
        conditions.check(self.attributes.etag, self.info.created_ms)
    }

    pub fn select(&self, range: Option<&dto::Range>, part_number: Option<i32>) -> Result<Selected> {
        let len = self.info.len;
        match (range, part_number) {
            (Some(_), Some(_)) => Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            )
            .into()),
            (Some(range), None) => match range.check(len) {
                Ok(range) if range.start < range.end => {
                    Ok(Selected { range, of: Some(len), parts_count: None })
                }
                _ => Err(not_satisfiable(len)),
            },
            (None, Some(number)) => self.select_part(number),
            (None, None) => Ok(Selected { range: 0..len, of: None, parts_count: None }),
        }
    }

    fn select_part(&self, number: i32) -> Result<Selected> {
        let number = told::part_number(number)?;
        let len = self.info.len;
        let range = match &self.attributes.upload {
            Some((_, sizes)) => sizes.range(number.into()),
            None => (number == 1).then_some(0..len),
        };
        let parts_count = self.attributes.upload.as_ref().map(|(_, sizes)| sizes.count());
        match range {
            Some(range) => Ok(Selected {
                of: (!range.is_empty()).then_some(len),
                range,
                parts_count: parts_count.and_then(|count| i32::try_from(count).ok()),
            }),
            None => {
                let what = "The requested partnumber is not satisfiable";
                Err(of_code("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, what).into())
            }
        }
    }

    pub fn user_metadata(&self) -> Option<Metadata> {
        let user = &self.attributes.headers.user;
        (!user.is_empty()).then(|| user.iter().cloned().collect())
    }
}

/// Where an object is, or a version.
pub fn place(bucket: &Bucket, key: &str, which: Which) -> Result<Place> {
    match bucket.key(key).find(which)? {
        Sought::Object(place) => Ok(*place),
        Sought::Deleted(version) => Err(deleted(which, &version)),
        Sought::Nothing if which == Which::Current => Err(no_such_key().into()),
        Sought::Nothing => Err(told::no_such_version()),
    }
}

/// How an object's version is called, where the bucket has or had any.
pub fn tell_version(bucket: &Bucket, place: &Place) -> Option<String> {
    let is_told = bucket.versioning() != Versioning::Never;
    is_told.then(|| place.version())
}

/// What is answered of a deletion: whoever asks for it by its name may only delete it.
fn deleted(which: Which, version: &str) -> Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::from_str(version) {
        headers.insert("x-amz-version-id", version);
    }
    let mut error = if which == Which::Current {
        no_such_key()
    } else {
        headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
        s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
    };
    error.set_headers(headers);
    error.into()
}

fn not_satisfiable(len: u64) -> Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    if let Ok(value) = format!("bytes */{len}").parse() {
        headers.insert(header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error.into()
}

impl Selected {
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub fn content_range(&self) -> Option<String> {
        let of = self.of?;
        Some(format!("bytes {}-{}/{of}", self.range.start, self.range.end - 1))
    }
}

/// The fields that the outputs of `GetObject` and `HeadObject` have in common.
macro_rules! describe {
    ($output:expr, $found:expr, $selected:expr, $checksum_mode:expr) => {{
        let (found, selected) = (&$found, &$selected);
        let headers = &found.attributes.headers;
        $output.accept_ranges = Some("bytes".into());
        $output.cache_control = headers.cache_control.clone();
        $output.content_disposition = headers.content_disposition.clone();
        $output.content_encoding = headers.content_encoding.clone();
        $output.content_language = headers.content_language.clone();
        $output.content_length = Some($crate::ops::told::len(selected.len()));
        $output.content_range = selected.content_range();
        $output.content_type =
            headers.content_type.clone().or_else(|| Some("binary/octet-stream".into()));
        $output.e_tag = Some($crate::ops::told::etag(found.attributes.etag));
        $output.expires = headers.expires_ms.and_then($crate::ops::found::date);
        $output.last_modified = Some($crate::ops::told::time(found.info.created_ms));
        $output.metadata = found.user_metadata();
        $output.parts_count = selected.parts_count;
        $output.website_redirect_location = headers.website_redirect.clone();
        $output.version_id = found.version.clone();
        $output.expiration = found.expiration.clone();
        $output.object_lock_legal_hold_status =
            found.lock.legal_hold.map($crate::ops::object_lock::told_hold);
        if let Some(kept) = found.lock.retention {
            let mode = $crate::ops::object_lock::told_mode(kept.mode);
            $output.object_lock_mode = Some(mode.as_str().to_owned().into());
            $output.object_lock_retain_until_date = Some($crate::ops::told::time(kept.until_ms));
        }
        // A checksum is of the whole; who asked for a range could not verify it.
        let asked = $checksum_mode.is_some() && selected.of.is_none();
        let checksum = found.attributes.checksum.as_ref().filter(|_| asked);
        $crate::bodies::tell_checksum!($output, checksum);
        $output.checksum_type = checksum.map($crate::ops::told::checksum_type);
    }};
}

pub(super) use describe;

pub fn date(ms: i64) -> Option<dto::Timestamp> {
    u64::try_from(ms).ok().map(told::time)
}
