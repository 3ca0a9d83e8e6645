//! The status page: one file, which asks the JSON interface for all that it shows.

use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;

use crate::admin::Fault;

const PAGE: &str = include_str!("page.html");
/// Stands in the page where the nonce belongs.
const NONCE: &str = "{{nonce}}";

pub fn answer<B>(request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let fault = Fault::invalid("/ takes GET, HEAD");
        let mut response = super::api::refusal(StatusCode::METHOD_NOT_ALLOWED, &fault);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        let text = format!("no random numbers: {error}\n");
        return super::text(StatusCode::INTERNAL_SERVER_ERROR, super::TEXT_TYPE, text);
    }
    let nonce = hex_simd::encode_to_string(random, hex_simd::AsciiCase::Lower);
    let page = PAGE.replace(NONCE, &nonce);
    let mut response = super::text(StatusCode::OK, "text/html; charset=utf-8", page);
    // Only what stands in the page itself is carried out, and only this server is asked.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
