//! What requests give an object beside its bytes, and what they ask for that is not to be had.

use s3s::dto::Metadata;
use s3s::s3_error;

use crate::data::tags::Tags;
use crate::error::{self, Error, Result};

/// S3's limit of the user's own headers.
const MAX_USER_BYTES: usize = 2048;
/// And of all that are kept.
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_TAGS: usize = 10;
const MAX_BUCKET_TAGS: usize = 50;
const MAX_TAG_KEY_CHARS: usize = 128;
const MAX_TAG_VALUE_CHARS: usize = 256;

/// [`Headers`](crate::data::attributes::Headers) of a request's input.
macro_rules! headers_of {
    ($input:expr) => {
        $crate::ops::carried::checked($crate::data::attributes::Headers {
            content_type: $input.content_type.map(|value| value.to_string()),
            content_encoding: $input
                .content_encoding
                .and_then(|value| $crate::ops::carried::without_chunks(&value)),
            content_language: $input.content_language,
            content_disposition: $input.content_disposition,
            cache_control: $input.cache_control,
            expires_ms: $input
                .expires
                .map(|time| time::OffsetDateTime::from(time).unix_timestamp().saturating_mul(1000)),
            website_redirect: $input.website_redirect_location,
            user: $crate::ops::carried::user($input.metadata),
        })
    };
}

/// [`Lock`](crate::data::locks::Lock) that a request asks for.
macro_rules! lock_of {
    ($bucket:expr, $input:expr) => {
        $crate::ops::object_lock::asked(
            &$bucket,
            $input.object_lock_mode.as_ref().map(|mode| mode.as_str()),
            $input.object_lock_retain_until_date.clone(),
            $input.object_lock_legal_hold_status.as_ref().map(|hold| hold.as_str()),
        )
    };
}

/// Fails where a request asks that its object be encrypted or shared: nothing of that is done, and nobody
/// is to believe it.
macro_rules! refuse_unsupported {
    ($input:expr) => {{
        let asks = [
            ($input.server_side_encryption.is_some(), "server-side encryption"),
            ($input.sse_customer_algorithm.is_some(), "server-side encryption"),
            ($input.sse_customer_key.is_some(), "server-side encryption"),
            ($input.sse_customer_key_md5.is_some(), "server-side encryption"),
            ($input.ssekms_key_id.is_some(), "server-side encryption"),
            ($input.ssekms_encryption_context.is_some(), "server-side encryption"),
            ($input.bucket_key_enabled.is_some(), "server-side encryption"),
        ];
        $crate::ops::carried::refuse(&asks)?;
        $crate::ops::carried::check_grants(&[
            &$input.grant_full_control,
            &$input.grant_read,
            &$input.grant_read_acp,
            &$input.grant_write_acp,
        ])?;
        $crate::ops::carried::check_acl($input.acl.as_ref().map(|acl| acl.as_str()))?;
        $crate::ops::carried::check_class(
            $input.storage_class.as_ref().map(|class| class.as_str()),
        )?;
    }};
}

pub(super) use {headers_of, lock_of, refuse_unsupported};

use crate::data::attributes::Headers;

pub fn refuse(asks: &[(bool, &str)]) -> Result<()> {
    match asks.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(not_implemented(what)),
        None => Ok(()),
    }
}

pub fn not_implemented(what: &str) -> Error {
    error::not_implemented(what).into()
}

pub fn malformed() -> Error {
    s3_error!(
        MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema"
    )
    .into()
}

/// Everything belongs to whoever has the right; what says just that is taken.
pub fn check_acl(acl: Option<&str>) -> Result<()> {
    match acl {
        None | Some("private" | "bucket-owner-full-control") => Ok(()),
        Some(_) => Err(not_implemented("access control lists")),
    }
}

/// Rights that are given in headers, whoever they are given to.
pub fn check_grants(grants: &[&Option<String>]) -> Result<()> {
    refuse(&[(grants.iter().any(|grant| grant.is_some()), "access control lists")])
}

pub fn check_class(class: Option<&str>) -> Result<()> {
    match class {
        None | Some("STANDARD") => Ok(()),
        Some(_) => {
            Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid")
                .into())
        }
    }
}

/// `Content-Encoding` without what only says how this request was sent.
pub fn without_chunks(value: &str) -> Option<String> {
    let kept: Vec<_> =
        value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    let kept = kept.join(", ");
    (!kept.is_empty()).then_some(kept)
}

pub fn user(metadata: Option<Metadata>) -> Vec<(String, String)> {
    let mut user: Vec<_> = metadata.into_iter().flatten().collect();
    user.sort();
    user
}

pub fn checked(headers: Headers) -> Result<Headers> {
    let user: usize = headers.user.iter().map(|(key, value)| key.len() + value.len()).sum();
    let fields = [
        &headers.content_type,
        &headers.content_encoding,
        &headers.content_language,
        &headers.content_disposition,
        &headers.cache_control,
        &headers.website_redirect,
    ];
    let standard: usize = fields.into_iter().flatten().map(String::len).sum();
    if user > MAX_USER_BYTES || user + standard > MAX_HEADER_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        )
        .into());
    }
    Ok(headers)
}

/// The tags of `x-amz-tagging`.
pub fn tags_of_header(header: Option<&str>) -> Result<Tags> {
    let Some(header) = header else { return Ok(Tags::new()) };
    let pairs = form_urlencoded::parse(header.as_bytes());
    checked_tags(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
}

pub fn checked_tags(tags: Tags) -> Result<Tags> {
    checked_tags_up_to(MAX_TAGS, tags)
}

/// The tags of a bucket.
pub fn checked_bucket_tags(tags: Tags) -> Result<Tags> {
    checked_tags_up_to(MAX_BUCKET_TAGS, tags)
}

fn checked_tags_up_to(most: usize, tags: Tags) -> Result<Tags> {
    if tags.len() > most {
        return Err(s3_error!(InvalidTag, "There cannot be more than {} tags", most).into());
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        let fits = (1..=MAX_TAG_KEY_CHARS).contains(&key.chars().count())
            && value.chars().count() <= MAX_TAG_VALUE_CHARS;
        if !fits {
            return Err(s3_error!(
                InvalidTag,
                "The TagKey or TagValue you have provided is invalid"
            )
            .into());
        }
        if tags[..at].iter().any(|(other, _)| other == key) {
            return Err(
                s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key").into()
            );
        }
    }
    Ok(tags)
}
