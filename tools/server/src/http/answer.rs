//! A request, from its header to the end of its answer: what is refused here, and the access log.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, EXPECT, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, S3Error, StdError, s3_error};

use super::cors::{self, Asked};
use super::form::{Forms, is_form};
use super::guard::Guarded;
use super::messages;
use crate::access::Operation;
use crate::bodies::BodyFault;
use crate::config::Limits;
use crate::data::Catalogue;
use crate::metrics::{Metrics, is_failure};
use crate::traces::{Answered, Traces};

/// Answers the requests of all connections.
#[derive(Clone)]
pub struct Answerer {
    pub s3: S3Service,
    pub limits: Limits,
    pub forms: Forms,
    pub metrics: Arc<Metrics>,
    pub number: Arc<AtomicU64>,
    /// Whose buckets say which pages may ask for what.
    pub catalogue: Arc<Catalogue>,
    /// Below which hosts are buckets.
    pub domain: Option<Arc<str>>,
    pub traces: Option<Traces>,
}

impl Answerer {
    pub async fn answer(
        self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Logged>, Infallible> {
        let (operation, waits) = (Operation::default(), waits_to_continue(&request));
        let entry = Entry {
            began: Instant::now(),
            peer,
            id: format!("{:016X}", self.number.fetch_add(1, Ordering::Relaxed)),
            method: request.method().clone(),
            // Without its query, which may carry a signature.
            path: request.uri().path().to_owned(),
            operation: operation.clone(),
            status: hung_up(),
            error: None,
            sent: 0,
            metrics: self.metrics.clone(),
            trace: self.traces.clone().map(|traces| Trace {
                traces,
                began: SystemTime::now(),
                parent: Traces::parent(request.headers()),
            }),
        };
        let asked = Asked::of(&request, self.domain.as_deref());
        let allowed = asked.as_ref().and_then(|asked| asked.allowed(&self.catalogue));
        let response = match refusal(&request) {
            Some(error) => of_error(error),
            None if asked.is_some_and(|asked| asked.is_preflight) => match allowed {
                Some(_) => Ok(Response::new(Body::empty())),
                None => of_error(cors::forbidden()),
            },
            None if request.method() == Method::OPTIONS => of_error(cors::insufficient()),
            None => self.ask(request, operation).await,
        };
        let mut response = entry.log(response);
        response.headers_mut().extend(allowed.into_iter().flatten());
        let is_empty = |len: Option<u64>| len == Some(0);
        if waits.is_some_and(|len| is_empty(len) || response.status().is_client_error()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    async fn ask(
        &self,
        mut request: Request<Incoming>,
        operation: Operation,
    ) -> Result<Response<Body>, String> {
        let fault = BodyFault::default();
        request.extensions_mut().insert(fault.clone());
        request.extensions_mut().insert(operation);
        let (is_chunked, metrics) = (is_chunked(&request), self.metrics.clone());
        let request = request.map(|body| {
            let count = move |bytes| metrics.received(bytes);
            Guarded::new(body, &self.limits, is_chunked, fault.clone(), count)
        });
        let (request, _room) = if is_form(&request) {
            match self.forms.read(request, &fault).await {
                Ok((request, room)) => (request, Some(room)),
                Err(error) => return of_error(error),
            }
        } else {
            (request.map(Body::http_body_unsync), None)
        };
        let response = self.s3.call(request).await;
        let response = response.map_err(|error| StdError::from(error).to_string())?;
        // s3s takes whatever ends a body for an error of the server, where it reads it whole.
        match fault.error() {
            Some(error) if response.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                of_error(error)
            }
            _ => Ok(response),
        }
    }
}

fn of_error(error: S3Error) -> Result<Response<Body>, String> {
    error.to_http_response().map_err(|error| error.to_string())
}

/// What is refused before it is parsed.
fn refusal<B>(request: &Request<B>) -> Option<S3Error> {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    // In headers, signatures of version 2 are good for ever, and cover no body. (In URLs they end, and
    // some clients make no others.)
    let is_old = header(AUTHORIZATION).is_some_and(|value| !value.starts_with(ALGORITHM));
    if is_old {
        return Some(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    if let Some(error) = unsigned_lock(request) {
        return Some(error);
    }
    let query = request.uri().query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_long = |seconds: &str| seconds.parse().is_ok_and(|s: u64| s > WEEK_SECONDS);
        if name == "X-Amz-Signature" && header(AUTHORIZATION).is_some() {
            return Some(s3_error!(
                InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
            ));
        }
        if name == "X-Amz-Expires" && is_long(&value) {
            return Some(s3_error!(
                AuthorizationQueryParametersError,
                "X-Amz-Expires must be less than a week (in seconds); that is, it must be less than 604801"
            ));
        }
    }
    None
}

/// What a request asks of locks without having signed it: s3s does not look.
fn unsigned_lock<B>(request: &Request<B>) -> Option<S3Error> {
    let denied = |what| Some(s3_error!(AccessDenied, "{}", what));
    let query = request.uri().query().unwrap_or_default();
    let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let of_query = |name: &str| query.iter().find(|(key, _)| key == name);
    // Version 2 does not cover these parameters: whoever may put an object could lock it.
    if of_query("Signature").is_some()
        && let Some((name, _)) = of_query("legal-hold").or(of_query("retention"))
    {
        return denied(format!("A signature of version 2 does not cover `{name}`; use version 4"));
    }
    let by_header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let by_header = by_header
        .and_then(|value| value.split_once("SignedHeaders="))
        .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default());
    let by_query = of_query("X-Amz-SignedHeaders").map(|(_, value)| &**value);
    let signed = by_header.or(by_query)?;
    let is_signed = |name: &str| signed.split(';').any(|other| other.eq_ignore_ascii_case(name));
    let is_of_lock = |name: &str| name == BYPASS || name.starts_with(OF_LOCK);
    let mut names = request.headers().keys().map(HeaderName::as_str);
    match names.find(|name| is_of_lock(name) && !is_signed(name)) {
        Some(name) => denied(format!(
            "There were headers present in the request which were not signed: {name}"
        )),
        None => None,
    }
}

const BYPASS: &str = "x-amz-bypass-governance-retention";
const OF_LOCK: &str = "x-amz-object-lock-";

/// For how long a signed URL may be good at most: s3s does not look.
const WEEK_SECONDS: u64 = 7 * 24 * 3600;
const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256 ";

/// The body's length, where the client waits to be told that it may send it.
///
/// It is told so when the body is read. Where there is none, or it is refused unread, the answer comes
/// at once, and botocore, which has seen one before it was told to continue, takes the connection for
/// one that has been answered for good: it sends nothing of the next request, and waits.
fn waits_to_continue(request: &Request<Incoming>) -> Option<Option<u64>> {
    let expects = request.headers().get(EXPECT)?;
    expects
        .as_bytes()
        .eq_ignore_ascii_case(b"100-continue")
        .then(|| request.body().size_hint().exact())
}

/// Whether the body is aws-chunked.
fn is_chunked<B>(request: &Request<B>) -> bool {
    let said = request.headers().get("x-amz-content-sha256").map(HeaderValue::as_bytes);
    said.is_some_and(|value| value.starts_with(b"STREAMING-"))
}

/// A line of the access log in the making; written when the answer's body is at its end, or dropped.
struct Entry {
    began: Instant,
    peer: SocketAddr,
    id: String,
    method: Method,
    path: String,
    operation: Operation,
    status: StatusCode,
    /// What the client was told went wrong.
    error: Option<String>,
    sent: u64,
    metrics: Arc<Metrics>,
    trace: Option<Trace>,
}

/// Where a request's span goes, and what it belongs to.
struct Trace {
    traces: Traces,
    began: SystemTime,
    parent: opentelemetry::Context,
}

impl Entry {
    fn log(mut self, response: Result<Response<Body>, String>) -> Response<Logged> {
        let mut response = response.unwrap_or_else(|error| {
            tracing::error!(id = self.id, error, "a request could not be answered");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        if let Some(status) = response.extensions_mut().remove::<StatusCode>() {
            *response.status_mut() = status;
        }
        if self.operation.name() == "GetObjectAttributes" {
            response = messages::without_quotes(response);
        }
        response = messages::complete(response, &self.id);
        self.status = response.status();
        self.error = messages::error(&response);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert("x-amz-request-id", id);
        }
        headers.insert(hyper::header::SERVER, HeaderValue::from_static("kogia-server"));
        response.map(|body| Logged { body, entry: self })
    }
}

/// What is logged of a request whose client was gone before there was an answer.
fn hung_up() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (operation, took) = (self.operation.name(), self.began.elapsed());
        let (status, error) = (self.status.as_u16(), self.error.as_deref());
        self.metrics.answered(operation, status, took, self.sent);
        if is_failure(status) {
            tracing::warn!(
                id = self.id,
                operation,
                status,
                error,
                path = self.path,
                "a request failed"
            );
        }
        tracing::info!(
            target: "access",
            id = self.id,
            peer = %self.peer,
            method = %self.method,
            path = self.path,
            operation,
            status,
            error,
            sent = self.sent,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        );
        if let Some(Trace { traces, began, parent }) = &self.trace {
            let answered = Answered {
                began: *began,
                method: self.method.as_str(),
                path: &self.path,
                operation,
                id: &self.id,
                peer: self.peer.ip().to_string(),
                status,
                sent: self.sent,
            };
            traces.record(parent, answered);
        }
    }
}

/// An answer's body with its entry.
pub struct Logged {
    body: Body,
    entry: Entry,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.entry.sent += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
