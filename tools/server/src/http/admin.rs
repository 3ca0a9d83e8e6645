//! For whoever runs the server, on an address of its own: `/health`, `/ready` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::data::{Catalogue, blocking};
use crate::metrics::Metrics;

const CONNECTIONS: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
pub struct Admin {
    pub catalogue: Arc<Catalogue>,
    pub metrics: Arc<Metrics>,
    /// Whether clients are served: not before all is open, nor when the server is about to stop.
    pub ready: Arc<AtomicBool>,
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
            let service = service_fn(move |request| answer(admin.clone(), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
            // Whoever goes away early does not mind.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

async fn answer(
    admin: Admin,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        "/health" => (StatusCode::OK, "ok\n".to_owned()),
        "/ready" => ready(&admin).await,
        "/metrics" => {
            let rendered = blocking(move || admin.metrics.render(&admin.catalogue)).await;
            match rendered {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
            }
        }
        _ => (StatusCode::NOT_FOUND, "/health, /ready or /metrics\n".to_owned()),
    };
    let kind = match request.uri().path() {
        "/metrics" => METRICS_TYPE,
        _ => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
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
