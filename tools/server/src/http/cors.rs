//! What pages of other origins are told: by the rules of the bucket that they ask for something.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{Method, Request, StatusCode};
use s3s::S3Error;

use crate::data::Catalogue;
use crate::data::settings::CorsRule;
use crate::error::of_code;

/// What a page asks for.
#[derive(Debug)]
pub struct Asked {
    origin: String,
    method: String,
    headers: Vec<String>,
    bucket: Option<String>,
    /// Whether it only asks whether it may.
    pub is_preflight: bool,
}

impl Asked {
    /// `None` where no page of another origin asks.
    pub fn of<B>(request: &Request<B>, domain: Option<&str>) -> Option<Self> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let origin = text(ORIGIN)?.to_owned();
        let wanted = text(ACCESS_CONTROL_REQUEST_METHOD);
        let is_preflight = request.method() == Method::OPTIONS;
        let method = match is_preflight {
            true => wanted?.to_owned(),
            false => request.method().as_str().to_owned(),
        };
        let headers = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().split(',');
        let headers = headers.map(|name| name.trim().to_ascii_lowercase());
        let headers = headers.filter(|name| is_preflight && !name.is_empty()).collect();
        let bucket = bucket(request, domain);
        Some(Asked { origin, method, headers, bucket, is_preflight })
    }

    /// The headers that say what it may; `None` where it may not.
    pub fn allowed(&self, catalogue: &Catalogue) -> Option<HeaderMap> {
        let bucket = catalogue.get(self.bucket.as_deref()?).ok()?;
        let settings = bucket.settings();
        let rule = settings.cors.iter().find(|rule| self.is_allowed_by(rule))?;
        let any = rule.origins.iter().any(|origin| origin == "*");
        let mut headers = HeaderMap::new();
        let mut say = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        say(ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*" } else { &self.origin });
        say(ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
        if !any {
            say(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if !self.headers.is_empty() {
            say(ACCESS_CONTROL_ALLOW_HEADERS, &self.headers.join(", "));
        }
        if !rule.exposed.is_empty() {
            say(ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
        }
        if let Some(seconds) = rule.max_age_seconds.filter(|_| self.is_preflight) {
            say(ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        say(VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        Some(headers)
    }

    fn is_allowed_by(&self, rule: &CorsRule) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|p| matches(p, text));
        any(&rule.origins, &self.origin)
            && rule.methods.contains(&self.method)
            && self.headers.iter().all(|name| {
                rule.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name))
            })
    }
}

/// What whoever sends `OPTIONS` is told who does not say what for.
pub fn insufficient() -> S3Error {
    let what = "Insufficient information. Origin and Access-Control-Request-Method headers needed.";
    of_code("BadRequest", StatusCode::BAD_REQUEST, what)
}

/// What a page is told that may not.
pub fn forbidden() -> S3Error {
    let what = "CORSResponse: This CORS request is not allowed. This is usually because the \
                evaluation of Origin, request method / Access-Control-Request-Method or \
                Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
    of_code("AccessForbidden", StatusCode::FORBIDDEN, what)
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, behind)) => {
            text.len() >= before.len() + behind.len()
                && text.starts_with(before)
                && text.ends_with(behind)
        }
    }
}

/// The bucket in a request's host or path.
fn bucket<B>(request: &Request<B>, domain: Option<&str>) -> Option<String> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let in_host = host.zip(domain).and_then(|(host, domain)| {
        host.strip_suffix(domain)?.strip_suffix('.').filter(|bucket| !bucket.is_empty())
    });
    let in_path = || request.uri().path().trim_start_matches('/').split('/').next();
    in_host.or_else(in_path).filter(|bucket| !bucket.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_nothing_twice() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("https://*.example.org", "https://a.example.org", true),
            ("https://*.example.org", "https://.example.org", true),
            ("https://*.example.org", "https://example.org", false),
            ("https://*.example.org", "http://a.example.org", false),
            ("https://example.org", "https://example.org", true),
            ("https://example.org", "https://example.org.evil", false),
            ("aba*aba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_bucket_is_in_the_host_or_in_the_path() {
        for (host, path, expected) in [
            ("127.0.0.1:9000", "/bucket/key", Some("bucket")),
            ("s3.example.org", "/bucket", Some("bucket")),
            ("bucket.s3.example.org:9000", "/key", Some("bucket")),
            ("bucket.s3.evil.org", "/other/key", Some("other")),
            ("127.0.0.1", "/", None),
        ] {
            let request = Request::builder().uri(path).header(HOST, host).body(()).unwrap();
            assert_eq!(
                bucket(&request, Some("s3.example.org")).as_deref(),
                expected,
                "{host} {path}"
            );
        }
    }
}
