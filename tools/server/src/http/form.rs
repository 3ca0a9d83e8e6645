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
/// in which whoever signed it may write.
fn check_fields(form: &[u8], headers: &HeaderMap) -> S3Result<()> {
    // s3s refuses a form without a boundary.
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return Ok(());
    };
    // What lies behind that s3s refuses.
    let form = &form[..form.len().min(2 * FIELDS_BYTES)];
    let fields = boundary(kind).and_then(|boundary| fields(form, &boundary));
    // s3s takes forms that others would read differently: nothing may hide in one.
    let Some(fields) = fields else {
        return Err(s3_error!(
            MalformedPOSTRequest,
            "The body of your POST request is not well-formed multipart/form-data."
        ));
    };
    for (name, value) in fields {
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

/// What a form's parts begin with; `None` where it may be one thing or another.
fn boundary(kind: &str) -> Option<String> {
    const NAMED: &str = "boundary=";
    let at = kind.to_ascii_lowercase().find(NAMED)? + NAMED.len();
    let behind = &kind[at..];
    if behind.to_ascii_lowercase().contains(NAMED) {
        return None;
    }
    let boundary = behind.split(';').next()?.trim();
    let quoted = boundary.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let boundary = quoted.unwrap_or(boundary);
    (!boundary.contains(['"', '\\'])).then(|| format!("--{boundary}"))
}

/// The names and values of a form's fields, up to its file; `None` where it can be read in several ways.
fn fields<'f>(form: &'f [u8], boundary: &str) -> Option<Vec<(&'f str, &'f [u8])>> {
    let end = format!("\r\n{boundary}");
    let mut rest = form.strip_prefix(b"\r\n").unwrap_or(form).strip_prefix(boundary.as_bytes())?;
    let mut fields = Vec::new();
    loop {
        let (head, behind) = split(rest.strip_prefix(b"\r\n")?, b"\r\n\r\n")?;
        let name = name(std::str::from_utf8(head).ok()?)?;
        if name.eq_ignore_ascii_case("file") {
            return Some(fields);
        }
        let (value, next) = split(behind, end.as_bytes())?;
        fields.push((name, value));
        rest = next;
    }
}

/// The name in the head of a part.
fn name(head: &str) -> Option<&str> {
    let mut named = None;
    for line in head.split("\r\n") {
        let (field, value) = line.split_once(':').filter(|_| !line.contains(['\r', '\n']))?;
        if field.eq_ignore_ascii_case("content-disposition") && named.replace(value).is_some() {
            return None;
        }
    }
    let mut parameters = named?.split(';').map(str::trim);
    parameters.next().filter(|kind| *kind == "form-data")?;
    let name = parameters.next()?.strip_prefix("name=\"")?.strip_suffix('"')?;
    (!name.contains(['"', '\\'])).then_some(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_in_one_way_or_not_at_all() {
        let head = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
        let form = |parts: &[(&str, &str)]| {
            let part = |(head, value): &(&str, &str)| format!("--b\r\n{head}\r\n\r\n{value}\r\n");
            parts.iter().map(part).chain(["--b--\r\n".to_owned()]).collect::<String>()
        };
        let (key, policy, file) = (head("key"), head("Policy"), head("file") + "; filename=\"f\"");
        let good = form(&[(&key, "k"), (&policy, ""), (&file, "x")]);
        let expected = Some(vec![("key", &b"k"[..]), ("Policy", b"")]);
        assert_eq!(fields(good.as_bytes(), "--b"), expected);
        assert_eq!(fields(format!("\r\n{good}").as_bytes(), "--b"), expected);
        let typed = format!("{key}\r\nContent-Type: text/plain");
        assert!(fields(form(&[(&typed, "k"), (&file, "x")]).as_bytes(), "--b").is_some());
        for (what, bad) in [
            ("no file", form(&[(&key, "k")])),
            ("a name without quotes", good.replace("\"Policy\"", "Policy")),
            ("lines that end otherwise", good.replacen("\r\n\r\n", "\n\n", 1)),
            ("half a line's end in a head", good.replacen("key\"", "key\"\nx: y", 1)),
            ("two names", good.replacen("key\"", &format!("key\"\r\n{policy}"), 1)),
            ("another boundary in front", good.replacen("--b", "--c", 1)),
            ("a boundary that goes on", good.replacen("k\r\n--b", "k\r\n--bc", 1)),
            ("something in front", format!("x{good}")),
        ] {
            assert_eq!(fields(bad.as_bytes(), "--b"), None, "{what}");
        }
    }

    #[test]
    fn a_form_has_one_boundary() {
        let of = |rest: &str| boundary(&format!("multipart/form-data{rest}"));
        for rest in
            ["; boundary=b", "; BOUNDARY=b", ";boundary=\"b\"", "; boundary=b; charset=utf-8"]
        {
            assert_eq!(of(rest).as_deref(), Some("--b"), "{rest}");
        }
        for rest in [
            "",
            "; boundary=b; boundary=c",
            "; x=\"boundary=c\"; Boundary=b",
            "; boundary=\"b\\c\"",
        ] {
            assert_eq!(of(rest), None, "{rest}");
        }
    }
}
