//! Connections: how many, how long, with TLS or without, and how they end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::answer::Answerer;
use crate::config::Limits;

/// A request's header in memory, whole, at most.
const HEADER_BYTES: usize = 64 << 10;
/// How long to wait after the system had no room for a further connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `stop` is ready; then waits for the requests that are open.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    answerer: Answerer,
    stop: impl Future<Output = ()>,
) {
    let limits = answerer.limits.clone();
    let free = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &free) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on, and end.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, answerer, watcher) = (tls.clone(), answerer.clone(), graceful.watcher());
        tokio::spawn(async move {
            let metrics = answerer.metrics.clone();
            metrics.connections.inc();
            let served = match tls {
                None => converse(stream, peer, answerer, watcher).await,
                Some(tls) => match handshake(&tls, stream, &answerer.limits).await {
                    Ok(stream) => converse(stream, peer, answerer, watcher).await,
                    Err(error) => Err(error.to_string()),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%peer, error, "a connection ended");
            }
            metrics.connections.dec();
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open when the time to stop them was over");
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, when there is one and may be one more.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    limits: &Limits,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    tokio::time::timeout(limits.header_timeout, tls.accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn converse<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    answerer: Answerer,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), String> {
    let limits = &answerer.limits;
    let mut stream = TimeoutStream::new(stream);
    // Who takes nothing of an answer holds a reader open, and with it what was deleted meanwhile.
    stream.set_write_timeout(Some(limits.idle_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // Who has sent all of an object may hang up without waiting for the answer, as ffmpeg does, and
        // means it to be put.
        .half_close(true)
        .max_buf_size(HEADER_BYTES);
    let service = service_fn(move |request| answerer.clone().answer(request, peer));
    let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
    watcher.watch(connection).await.map_err(|error| error.to_string())
}
