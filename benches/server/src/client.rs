//! One connection to an S3 server, kept alive, with a request at a time.
//!
//! Requests are signed by version 4 in their URLs, over all but the body: that costs each server
//! the same, and none of them sums bodies only because a client asked for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rusty_s3::actions::ObjectIdentifier;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::net::TcpStream;

use crate::Result;
use crate::object::{Payload, check};

/// How long a signature is good for.
const VALID: Duration = Duration::from_secs(3600);

pub const BUCKET: &str = "bench";
pub const REGION: &str = "us-east-1";

/// Where a server is, and who may ask it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub port: u16,
    pub access_key: String,
    pub secret_key: String,
}

/// A bucket of a server, and a connection to it.
pub struct Client {
    bucket: Bucket,
    credentials: Credentials,
    host: String,
    sender: SendRequest<Payload>,
}

impl Client {
    pub async fn connect(endpoint: &Endpoint) -> Result<Self> {
        let host = format!("127.0.0.1:{}", endpoint.port);
        let url = format!("http://{host}").parse()?;
        Ok(Self {
            bucket: Bucket::new(url, UrlStyle::Path, BUCKET, REGION)?,
            credentials: Credentials::new(&endpoint.access_key, &endpoint.secret_key),
            sender: open(&host).await?,
            host,
        })
    }

    pub async fn create_bucket(&mut self) -> Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(VALID);
        self.send(Method::PUT, url.as_str(), None, Payload::empty()).await.map(drop)
    }

    pub async fn put(&mut self, key: &str, body: Payload) -> Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(VALID);
        self.send(Method::PUT, url.as_str(), None, body).await.map(drop)
    }

    /// Reads an object of `size` bytes to its end.
    pub async fn get(&mut self, key: &str, size: usize) -> Result<()> {
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(VALID);
        let request = self.request(Method::GET, url.as_str(), None, Payload::empty())?;
        self.reopen_if_closed().await?;
        let response = self.sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(failure(response.status(), &response.collect().await?.to_bytes()));
        }
        let (mut body, mut len, mut start) = (response.into_body(), 0, Bytes::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if start.len() < 16 {
                start = [start, data.slice(..data.len().min(16))].concat().into();
            }
            len += data.len();
        }
        check(key, size, len, &start)
    }

    /// Deletes by one DeleteObjects, of 1,000 keys at most.
    pub async fn delete(&mut self, keys: Vec<String>) -> Result<()> {
        let objects: Vec<_> = keys.into_iter().map(ObjectIdentifier::new).collect();
        let mut action = self.bucket.delete_objects(Some(&self.credentials), objects.iter());
        action.set_quiet(true);
        let url = action.sign(VALID);
        let (body, md5) = action.body_with_md5();
        let answer = self.send(Method::POST, url.as_str(), Some(&md5), Payload::text(body)).await?;
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains("<Error>") {
            return Err(answer.chars().take(300).collect::<String>().into());
        }
        Ok(())
    }

    /// A page of ListObjectsV2 as it was sent, and how long that took, to the last byte.
    pub async fn list(
        &mut self,
        prefix: &str,
        delimiter: Option<&str>,
    ) -> Result<(Vec<Bytes>, Duration)> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_max_keys(1000);
        if !prefix.is_empty() {
            action.with_prefix(prefix);
        }
        if let Some(delimiter) = delimiter {
            action.with_delimiter(delimiter);
        }
        let url = action.sign(VALID);
        let request = self.request(Method::GET, url.as_str(), None, Payload::empty())?;
        self.reopen_if_closed().await?;
        let began = Instant::now();
        let response = self.sender.send_request(request).await?;
        let (status, mut body) = (response.status(), response.into_body());
        let mut page = Vec::new();
        while let Some(frame) = body.frame().await {
            page.extend(frame?.into_data());
        }
        let took = began.elapsed();
        if status.is_success() { Ok((page, took)) } else { Err(failure(status, &page.concat())) }
    }

    async fn send(
        &mut self,
        method: Method,
        url: &str,
        md5: Option<&str>,
        body: Payload,
    ) -> Result<Bytes> {
        let request = self.request(method, url, md5, body)?;
        self.reopen_if_closed().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let answer = response.collect().await?.to_bytes();
        if status.is_success() { Ok(answer) } else { Err(failure(status, &answer)) }
    }

    fn request(
        &self,
        method: Method,
        url: &str,
        md5: Option<&str>,
        body: Payload,
    ) -> Result<Request<Payload>> {
        let path = url.strip_prefix("http://").and_then(|url| url.strip_prefix(&*self.host));
        let mut request = Request::builder()
            .method(method)
            .uri(path.ok_or("a URL of another host")?)
            .header(header::HOST, &*self.host);
        if body.len() > 0 {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        if let Some(md5) = md5 {
            request = request.header("content-md5", md5);
        }
        Ok(request.body(body)?)
    }

    async fn reopen_if_closed(&mut self) -> Result<()> {
        if self.sender.ready().await.is_err() {
            self.sender = open(&self.host).await?;
        }
        Ok(())
    }
}

async fn open(host: &str) -> Result<SendRequest<Payload>> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its errors are those of the requests that were on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn failure(status: StatusCode, answer: &[u8]) -> Box<dyn std::error::Error> {
    let text: String = String::from_utf8_lossy(answer).chars().take(300).collect();
    format!("{status}: {text}").into()
}
