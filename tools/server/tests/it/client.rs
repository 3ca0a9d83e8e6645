//! A client that says exactly what it is told, signed or not, over a plain socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub const REGION: &str = "us-east-1";

/// An access key at an address.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    pub access_key: String,
    pub secret_key: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands between the first `<name>` and its end.
    pub fn xml(&self, name: &str) -> Option<String> {
        self.all_xml(name).into_iter().next()
    }

    pub fn all_xml(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        let pieces = text.split(&open).skip(1);
        pieces.filter_map(|piece| Some(piece.split_once(&close)?.0.to_owned())).collect()
    }

    /// The error's code.
    pub fn code(&self) -> String {
        self.xml("Code").unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}: {}", self.headers, self.text());
        self
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, &*self.code()), (status, code), "{}", self.text());
        self.assert_told();
        self
    }

    /// Whoever is told an error's code is told more than that.
    #[track_caller]
    pub fn assert_told(&self) {
        let is_told = |name| self.xml(name).is_some_and(|text| !text.is_empty());
        let is_error = self.text().contains("<Error><Code>");
        assert!(!is_error || is_told("Message") && is_told("RequestId"), "{}", self.text());
    }
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub method: &'a str,
    /// As it is sent: encoded.
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What `x-amz-content-sha256` says; the body's digest unless given.
    pub payload: Option<String>,
}

impl<'a> Call<'a> {
    pub fn new(method: &'a str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Call {
            method,
            path: path.into(),
            query: query.into(),
            headers: Vec::new(),
            body: Vec::new(),
            payload: None,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.into());
        self
    }
}

/// A moment as signatures have it.
pub fn amz_date(seconds_from_now: i64) -> String {
    let time = time::OffsetDateTime::now_utc() + Duration::from_secs(0);
    let time = time + time::Duration::seconds(seconds_from_now);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub fn encode(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match kept(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A key as it stands in a path.
pub fn path(key: &str) -> String {
    encode(key).replace("%2F", "/")
}

impl Client {
    pub fn call(&self, method: &str, target: &str) -> Reply {
        self.send(&Call::new(method, target))
    }

    pub fn put(&self, target: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(&Call::new("PUT", target).body(body))
    }

    pub fn get(&self, target: &str) -> Reply {
        self.call("GET", target)
    }

    /// Signs and sends.
    pub fn send(&self, call: &Call<'_>) -> Reply {
        self.exchange(&self.signed(call, &amz_date(0)).0)
    }

    /// Sends without a signature.
    pub fn send_unsigned(&self, call: &Call<'_>) -> Reply {
        let headers = [("host".into(), self.address.to_string())];
        self.exchange(&raw(call, &[&headers[..], &call.headers].concat()))
    }

    pub fn signing_key(&self, date: &str) -> Vec<u8> {
        let key = format!("AWS4{}", self.secret_key);
        let parts = [&date[..8], REGION, "s3", "aws4_request"];
        parts.iter().fold(key.into_bytes(), |key, part| hmac(&key, part.as_bytes()))
    }

    pub fn sign(&self, date: &str, what: &str, rest: &str) -> String {
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        let to_sign = format!("{what}\n{date}\n{scope}\n{rest}");
        hex(&hmac(&self.signing_key(date), to_sign.as_bytes()))
    }

    /// The bytes of a signed request, and its signature.
    pub fn signed(&self, call: &Call<'_>, date: &str) -> (Vec<u8>, String) {
        let payload = call.payload.clone().unwrap_or_else(|| sha256(&call.body));
        let mut headers = vec![
            ("host".to_owned(), self.address.to_string()),
            ("x-amz-content-sha256".to_owned(), payload.clone()),
            ("x-amz-date".to_owned(), date.to_owned()),
        ];
        headers.extend(call.headers.iter().cloned());
        let mut signed: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_lowercase(), value.trim())).collect();
        signed.sort();
        let names: Vec<_> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String =
            signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{payload}",
            call.method,
            call.path,
            canonical_query(&call.query)
        );
        let signature = self.sign(date, "AWS4-HMAC-SHA256", &sha256(request.as_bytes()));
        let credential = format!("{}/{}/{REGION}/s3/aws4_request", self.access_key, &date[..8]);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        );
        headers.push(("authorization".into(), authorization));
        (raw(call, &headers), signature)
    }

    /// The query that stands for a signature for some seconds.
    pub fn presigned(&self, method: &str, target: &str, seconds: u32, date: &str) -> String {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let credential = format!("{}/{}/{REGION}/s3/aws4_request", self.access_key, &date[..8]);
        let mut all = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host",
            encode(&credential)
        );
        if !query.is_empty() {
            all = format!("{query}&{all}");
        }
        let request = format!(
            "{method}\n{path}\n{}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD",
            canonical_query(&all),
            self.address
        );
        let signature = self.sign(date, "AWS4-HMAC-SHA256", &sha256(request.as_bytes()));
        format!("{path}?{all}&X-Amz-Signature={signature}")
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes on a connection of their own, and reads one answer.
    pub fn exchange(&self, request: &[u8]) -> Reply {
        self.try_exchange(request).expect("an answer")
    }

    /// `None` where the connection ended without an answer.
    pub fn try_exchange(&self, request: &[u8]) -> Option<Reply> {
        let mut stream = self.connect();
        // The answer may come before all is sent, and the connection end with it.
        let _ = stream.write_all(request);
        let has_body = !request.starts_with(b"HEAD ");
        read_reply(&mut stream, has_body)
    }
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.contains('=') {
            true => pair.to_owned(),
            false => format!("{pair}="),
        })
        .collect();
    pairs.sort();
    pairs.join("&")
}

/// A request as it goes over the wire.
pub fn raw(call: &Call<'_>, headers: &[(String, String)]) -> Vec<u8> {
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    let mut text = format!("{} {}{query} HTTP/1.1\r\n", call.method, call.path);
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let is_framed = headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding")
    });
    if !is_framed && (!call.body.is_empty() || matches!(call.method, "PUT" | "POST")) {
        text += &format!("content-length: {}\r\n", call.body.len());
    }
    text += "\r\n";
    [text.as_bytes(), &call.body].concat()
}

/// Reads an answer; `None` where there is none.
pub fn read_reply(stream: &mut dyn Read, has_body: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let head = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply { status, headers, body: bytes[head + 4..].to_vec() };
    if status == 100 {
        let mut rest = std::mem::take(&mut reply.body);
        let mut chained = std::io::Cursor::new(&mut rest).chain(stream);
        return read_reply(&mut chained, has_body);
    }
    if !has_body || status == 304 || status == 204 {
        return Some(reply);
    }
    let len = reply.header("content-length").and_then(|len| len.parse::<usize>().ok());
    let is_chunked = reply.header("transfer-encoding") == Some("chunked");
    while len.is_none_or(|len| reply.body.len() < len) {
        if is_chunked && reply.body.ends_with(b"0\r\n\r\n") {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => reply.body.extend_from_slice(&buffer[..read]),
        }
    }
    if is_chunked {
        reply.body = unchunk(&reply.body);
    }
    Some(reply)
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = find(bytes, b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    body
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
