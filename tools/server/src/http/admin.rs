//! For whoever runs the server, on an address of its own.
//!
//! `/health`, `/ready` and `/metrics` are open to all who can connect. All else is behind `gate`: the
//! JSON interface below `/api/` (`api`), and the status page at `/` (`page`).

mod api;
mod gate;
mod page;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::access::Access;
use crate::admin::{Jobs, Recent};
use crate::data::{Catalogue, blocking};
use crate::metrics::Metrics;

const CONNECTIONS: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's header in memory, whole, at most.
const HEADER_BYTES: usize = 16 << 10;
/// Who takes nothing of an answer for so long holds a connection, and a reader, for nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// What comes back from here shows what is in buckets, or may: no page of another origin has it, and
/// nothing in it is carried out.
const GUARDED: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (hyper::header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
];

#[derive(Clone)]
pub struct Admin {
    pub catalogue: Arc<Catalogue>,
    pub metrics: Arc<Metrics>,
    /// Whether clients are served: not before all is open, nor when the server is about to stop.
    pub ready: Arc<AtomicBool>,
    pub access: Access,
    pub jobs: Arc<Jobs>,
    pub recent: Recent,
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            converse(stream, admin).await;
            drop(permit);
        });
    }
}

async fn converse(stream: TcpStream, admin: Admin) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(IDLE_TIMEOUT));
    let service = service_fn(move |request| answer(admin.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .keep_alive(false);
    // Whoever goes away early does not mind.
    let _ = http.serve_connection(TokioIo::new(Box::pin(stream)), service).await;
}

async fn answer(admin: Admin, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let response = match path {
        "/health" | "/ready" | "/metrics" if !is_read => {
            text(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET\n")
        }
        "/health" => text(StatusCode::OK, TEXT_TYPE, "ok\n"),
        "/ready" => {
            let (status, said) = ready(&admin).await;
            text(status, TEXT_TYPE, said)
        }
        "/metrics" => metrics(admin).await,
        _ if path == "/" || path.starts_with("/api/") => guarded(&admin, request).await,
        _ => text(StatusCode::NOT_FOUND, TEXT_TYPE, "/, /api/, /health, /ready or /metrics\n"),
    };
    Ok(response)
}

async fn guarded(admin: &Admin, request: Request<Incoming>) -> Response<Body> {
    let mut response = match gate::check(&admin.access, &request).await {
        Err(refused) => refused,
        Ok(()) if request.uri().path() == "/" => page::answer(&request),
        Ok(()) => api::answer(admin, request).await,
    };
    for (name, value) in GUARDED {
        // The page has a policy of its own.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn text(
    status: StatusCode,
    kind: &'static str,
    text: impl Into<std::borrow::Cow<'static, str>>,
) -> Response<Body> {
    let bytes = match text.into() {
        std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn metrics(admin: Admin) -> Response<Body> {
    let rendered = blocking(move || admin.metrics.render(&admin.catalogue)).await;
    match rendered {
        Ok(rendered) => text(StatusCode::OK, METRICS_TYPE, rendered),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT_TYPE, error),
    }
}

/// Whether it serves, and has a disk that takes writes in every partition.
async fn ready(admin: &Admin) -> (StatusCode, String) {
    if !admin.ready.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let catalogue = admin.catalogue.clone();
    let stats = blocking(move || {
        let all = catalogue.partitions().all();
        all.iter().map(|store| store.stats()).collect::<Result<Vec<_>, _>>()
    })
    .await;
    match stats {
        Ok(stats) => {
            let takes = |disk: &kogia::DiskStats| !disk.full && disk.failure.is_none();
            match stats.iter().position(|stats| !stats.disks.iter().any(takes)) {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(number) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("no disk of partition {number} takes writes\n"),
                ),
            }
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}
