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
use crate::object::{Payload, parse_key};

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
    let object = parse_key(request.uri().path()).filter(|_| get);
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let payload =
        object.map_or_else(Payload::empty, |(size, number)| Payload::object(size, number));
    Ok(Response::new(payload))
}
