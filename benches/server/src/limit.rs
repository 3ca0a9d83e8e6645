//! A server that swallows what is put and makes up what is got: what the client does with it is what
//! the client can do at most.

use std::convert::Infallible;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Result;
use crate::client::BUCKET;
use crate::object::{Payload, size_of};

/// Serves until it is killed.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(request: Request<Incoming>) -> std::result::Result<Response<Payload>, Infallible> {
    let get = request.method() == Method::GET;
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let key = path.strip_prefix(BUCKET).map(|key| key.trim_start_matches('/')).filter(|_| get);
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let object = key.and_then(|key| Some(Payload::object(key, size_of(key)?)));
    let payload = object.unwrap_or_else(Payload::empty);
    Ok(Response::new(payload))
}
