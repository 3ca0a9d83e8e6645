//! Who gets in: an access key that may do everything, by HTTP basic, and no page of another origin.
//!
//! A browser sends along the password that it was given once, whoever wrote the page that makes it send
//! a request. So what it says of that page counts (`Origin`, `Sec-Fetch-Site`), and a POST is of JSON,
//! which no form is. No answer allows other origins anything (CORS), so none can read one, either.

use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;

use super::api::refusal;
use crate::access::Access;
use crate::admin::{Fault, FaultKind};

/// How long whoever has a wrong password waits to be told so: long enough that guessing is of no use.
const PAUSE: Duration = Duration::from_millis(500);

/// The answer to whoever may not come in.
pub async fn check<B>(access: &Access, request: &Request<B>) -> Result<(), Response<Body>> {
    check_origin(request).map_err(|what| refused(StatusCode::FORBIDDEN, what))?;
    let Some(given) = request.headers().get(AUTHORIZATION) else {
        return Err(unknown("credentials are needed: an access key that may do everything"));
    };
    match basic(given) {
        Some((name, secret)) if access.has_all_rights(&name, &secret) => {}
        _ => {
            tokio::time::sleep(PAUSE).await;
            return Err(unknown(
                "these are not the credentials of an access key that may do everything",
            ));
        }
    }
    if request.method() == Method::POST && !is_json(request) {
        let what = "the content type of a POST is application/json";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    Ok(())
}

fn refused(status: StatusCode, what: &str) -> Response<Body> {
    refusal(status, &Fault::new(FaultKind::Invalid, what))
}

fn unknown(what: &str) -> Response<Body> {
    let mut response = refused(StatusCode::UNAUTHORIZED, what);
    let how = HeaderValue::from_static("Basic realm=\"kogia-server\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, how);
    response
}

fn check_origin<B>(request: &Request<B>) -> Result<(), &'static str> {
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    if let Some(origin) = header(ORIGIN.as_str()) {
        // Without the scheme: what stands in front of it may speak HTTPS.
        let host = origin.windows(3).position(|at| at == b"://").map(|at| &origin[at + 3..]);
        if host.is_none() || host != header(HOST.as_str()) {
            return Err("this comes from a page of another origin");
        }
    }
    // The page itself may be linked to; it tells nothing to whoever links.
    let is_page = request.method() == Method::GET && request.uri().path() == "/";
    match header("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if is_page => Ok(()),
        Some(_) => Err("this comes from a page of another site"),
    }
}

fn is_json<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Name and secret.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64_simd::STANDARD.decode_to_vec(encoded.trim()).ok()?;
    let (name, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}
