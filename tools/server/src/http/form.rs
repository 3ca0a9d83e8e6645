//! Uploads of forms, as browsers send them. A form's file has no length of its own and is verified
//! against the form's policy before anything is put, so the form is in memory whole: a small one, with
//! a length, and not too many at once.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request};
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use s3s::{Body, S3Result, s3_error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guard::Guarded;
use crate::bodies::BodyFault;
use crate::config::Limits;

const FORM: &[u8] = b"multipart/form-data";
/// Forms of the largest size that are in memory at once, and about as much again while their fields are
/// told from their file.
const FORMS: u64 = 4;
/// All fields of a form but its file.
pub const FIELDS_BYTES: usize = 128 << 10;
/// The fields are looked for anew with each piece; together these are not larger than all fields.
const PIECE_BYTES: usize = FIELDS_BYTES / 4;

/// The room for forms.
#[derive(Clone)]
pub struct Forms {
    /// In KiB.
    room: Arc<Semaphore>,
    limits: Limits,
}

impl Forms {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let room = usize::try_from(kib(FORMS * limits.form_bytes.0)).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        Forms { room, limits: limits.clone() }
    }

    /// Reads a form whole. The room that it takes is free again when the permit is dropped.
    pub async fn read<B>(
        &self,
        request: Request<Guarded<B>>,
        fault: &BodyFault,
    ) -> S3Result<(Request<Body>, OwnedSemaphorePermit)>
    where
        Guarded<B>: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Unpin,
    {
        let Some(len) = request.body().size_hint().exact() else {
            return Err(s3_error!(MissingContentLength, "A form needs a Content-Length"));
        };
        if len > self.limits.form_bytes.0 {
            return Err(s3_error!(
                EntityTooLarge,
                "Your form exceeds the maximum allowed size of {} bytes",
                self.limits.form_bytes.0
            ));
        }
        let taken = self.room.clone().acquire_many_owned(kib(len) as u32);
        let Ok(Ok(taken)) = tokio::time::timeout(self.limits.idle_timeout, taken).await else {
            return Err(s3_error!(SlowDown, "Too many forms come at once"));
        };
        let (head, mut body) = request.into_parts();
        // Of the length that came, not of the one that was announced.
        let mut form = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => form.extend_from_slice(&bytes),
                Ok(Err(_)) => {}
                Err(error) => return Err(fault.to_error(&error)),
            }
        }
        let form = form.freeze();
        check_fields(&form, &head.headers)?;
        let pieces = stream::unfold(form, |mut left| async move {
            let piece = left.split_to(left.len().min(PIECE_BYTES));
            (!piece.is_empty())
                .then(|| (Ok::<_, std::convert::Infallible>(Frame::data(piece)), left))
        });
        let body = Body::http_body_unsync(StreamBody::new(Box::pin(pieces)));
        Ok((Request::from_parts(head, body), taken))
    }
}

/// Fails where a form asks for what s3s does not look at, or has a policy that is good for every bucket
/// in which whoever signed it may write. A form that can't be read is left to s3s.
fn check_fields(form: &[u8], headers: &HeaderMap) -> S3Result<()> {
    let Some(boundary) = boundary(headers) else { return Ok(()) };
    // What lies behind that s3s refuses.
    let form = &form[..form.len().min(2 * FIELDS_BYTES)];
    for (name, value) in fields(form, &boundary) {
        let name = name.to_ascii_lowercase();
        if name == "policy" && !is_for_one_bucket(value) {
            let what = "Invalid according to Policy: Extra input fields: bucket";
            return Err(s3_error!(AccessDenied, "{}", what));
        }
        let asks = match &*name {
            "acl" => !matches!(value, b"private" | b"bucket-owner-full-control"),
            "tagging" => true,
            _ => false,
        };
        if asks {
            return Err(s3_error!(
                NotImplemented,
                "This server does not do what the form asks for: {} (tags may be in x-amz-tagging)",
                name
            ));
        }
    }
    Ok(())
}

/// Whether a policy says which buckets it is for, or can't be read.
fn is_for_one_bucket(policy: &[u8]) -> bool {
    let policy = std::str::from_utf8(policy).ok();
    let Some(policy) = policy.and_then(|policy| PostPolicy::from_base64(policy).ok()) else {
        return true;
    };
    policy.conditions.iter().any(|condition| match condition {
        PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => {
            field == "bucket"
        }
        PostPolicyCondition::ContentLengthRange { .. } => false,
    })
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (_, behind) = kind.split_once("boundary=")?;
    let boundary = behind.split(';').next().unwrap_or_default().trim().trim_matches('"');
    Some(format!("--{boundary}"))
}

/// The names and values of a form's fields, as far as they can be read, up to its file.
fn fields<'f>(form: &'f [u8], boundary: &str) -> Vec<(String, &'f [u8])> {
    let mut fields = Vec::new();
    let mut rest = form;
    while let Some((_, behind)) = split(rest, boundary.as_bytes()) {
        let Some((head, value)) = split(behind, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(head);
        let named = head.split_once(" name=\"").or_else(|| head.split_once(";name=\""));
        let name = named.and_then(|(_, name)| name.split_once('"')).map(|(name, _)| name);
        let Some(name) = name.filter(|name| !name.eq_ignore_ascii_case("file")) else { break };
        let Some((value, _)) = split(value, format!("\r\n{boundary}").as_bytes()) else { break };
        fields.push((name.to_owned(), value));
        rest = &behind[head.len()..];
    }
    fields
}

fn split<'b>(bytes: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..start], &bytes[start + at.len()..]))
}

fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// Whether it is a form that is uploaded.
pub fn is_form<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_form = kind.is_some_and(|kind| {
        kind.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM))
    });
    is_form && request.method() == Method::POST
}
