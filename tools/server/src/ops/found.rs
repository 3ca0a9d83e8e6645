//! An object that was found, and the part of it that was asked for.

use std::ops::Range;
use std::sync::Arc;

use hyper::{HeaderMap, StatusCode, header};
use kogia::{Info, Store};
use s3s::dto::{self, Metadata};
use s3s::s3_error;

use super::told;
use crate::conditions::{ReadConditions, Verdict, no_such_key};
use crate::data::keys::{self, BucketId};
use crate::data::{Attributes, tags};
use crate::error::Result;

pub struct Found {
    pub info: Info,
    pub attributes: Attributes,
    pub tag_count: usize,
}

/// What of an object was asked for.
pub struct Selected {
    pub range: Range<u64>,
    /// Of how many bytes, where it is not all.
    pub of: Option<u64>,
    pub parts_count: Option<i32>,
}

impl Found {
    pub fn new(store: &Arc<Store>, bucket: BucketId, key: &str, info: Info) -> Result<Self> {
        let attributes = Attributes::decode(&info.attributes)?;
        let tag_count = tags::of(store, bucket, key, &info)?.len();
        Ok(Found { info, attributes, tag_count })
    }

    pub fn head(store: &Arc<Store>, bucket: BucketId, key: &str) -> Result<Self> {
        let info = store.head(keys::object(bucket, key))?.ok_or_else(no_such_key)?;
        Found::new(store, bucket, key, info)
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
        let len = self.info.len;
        let range = match &self.attributes.upload {
            Some((_, sizes)) => u32::try_from(number).ok().and_then(|number| sizes.range(number)),
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
                let mut error =
                    s3_error!(InvalidRange, "The requested part number is not satisfiable");
                error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
                Err(error.into())
            }
        }
    }

    pub fn user_metadata(&self) -> Option<Metadata> {
        let user = &self.attributes.headers.user;
        (!user.is_empty()).then(|| user.iter().cloned().collect())
    }
}

fn not_satisfiable(len: u64) -> crate::error::Error {
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
