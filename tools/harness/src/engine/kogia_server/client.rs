//! What the engine says to a server, over connections that are kept, without a signature.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use base64_simd::STANDARD;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, AsSendBody, Body, SendBody};

use crate::engine::{Failure, Result};

/// No answer takes so long.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The longest body of an answer.
const MAX_BYTES: u64 = 1 << 30;
/// Connections that are kept, at least as many as there are callers at once.
const CONNECTIONS: usize = 16;
/// How long to wait before a job is asked about again, or a request is tried again.
const PAUSE: Duration = Duration::from_millis(2);
/// Who is told to try again that often is not told so because of what goes on at the same time.
const MOST_TRIES: usize = 100;
/// What a value has that means something else in a query.
const ENCODED: [u8; 4] = *b"+/=&";

/// One address of a server.
pub struct Client {
    agent: Agent,
    address: SocketAddr,
    headers: Vec<(&'static str, String)>,
}

/// A header and its value.
pub type Header<'a> = (&'a str, &'a str);

/// An answer, whole.
pub struct Reply {
    response: Response<()>,
    pub body: Vec<u8>,
}

impl Client {
    /// A client for whom no signature is asked.
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_idle_connections(CONNECTIONS)
            .max_idle_connections_per_host(CONNECTIONS)
            .proxy(None)
            .build();
        Client { agent: config.into(), address, headers: Vec::new() }
    }

    /// One with an access key, for the admin address.
    pub fn admin(address: SocketAddr, access_key: &str, secret_key: &str) -> Self {
        let pair = STANDARD.encode_to_string(format!("{access_key}:{secret_key}"));
        let headers = vec![
            ("authorization", format!("Basic {pair}")),
            ("content-type", "application/json".to_owned()),
        ];
        Client { headers, ..Client::new(address) }
    }

    /// A request without a body.
    pub fn call(&self, method: &str, target: &str, headers: &[Header<'_>]) -> Result<Reply> {
        again(|| self.send(method, target, headers, ()))
    }

    /// A request with a body of this length.
    pub fn give(
        &self,
        method: &str,
        target: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Result<Reply> {
        again(|| self.send(method, target, headers, body))
    }

    /// A request whose body nobody knows the length of.
    pub fn pour(
        &self,
        method: &str,
        target: &str,
        headers: &[Header<'_>],
        body: &mut dyn Read,
    ) -> Result<Reply> {
        self.send(method, target, headers, SendBody::from_reader(body))
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[Header<'_>],
        body: impl AsSendBody,
    ) -> Result<Reply> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Failed(format!("{method} {target}: {error}"));
        let uri = format!("http://{}{target}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        let ours = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in ours.chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| failed(&error))?;
        let (head, body) = self.agent.run(request).map_err(|error| failed(&error))?.into_parts();
        let body = read(body).map_err(|error| failed(&error))?;
        Ok(Reply { response: Response::from_parts(head, ()), body })
    }

    /// What the admin address tells.
    pub fn told(&self, target: &str) -> Result<Value> {
        self.call("GET", target, &[])?.expect(200)?.json()
    }

    /// Has a job done, to its end; gives what came of it.
    pub fn job(&self, kind: &str, asked: &Value) -> Result<Value> {
        let asked = asked.to_string();
        let started = self.give("POST", &format!("/api/{kind}"), &[], asked.as_bytes())?;
        let id = started.expect(202)?.json()?["id"].clone();
        loop {
            let job = self.told(&format!("/api/jobs/{id}"))?;
            match (job["ended_ms"].is_null(), job["state"].as_str()) {
                (true, _) => std::thread::sleep(PAUSE),
                (false, Some("done")) => return Ok(job["result"].clone()),
                (false, _) => return Err(Failure::Failed(format!("{kind}: {job}"))),
            }
        }
    }
}

/// Sends until the answer is another than to try again, as clients do.
fn again(send: impl Fn() -> Result<Reply>) -> Result<Reply> {
    for _ in 1..MOST_TRIES {
        let reply = send()?;
        if reply.status() != 503 {
            return Ok(reply);
        }
        std::thread::sleep(PAUSE);
    }
    send()
}

fn read(mut body: Body) -> std::result::Result<Vec<u8>, ureq::Error> {
    body.with_config().limit(MAX_BYTES).read_to_vec()
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer, if it has this status; what it is instead.
    pub fn expect(self, status: u16) -> Result<Self> {
        // What is under way for long may have begun to answer before it fails.
        let is_error = status == 200 && self.body.windows(7).any(|tag| tag == b"<Error>");
        if self.status() == status && !(is_error && self.header("etag").is_none()) {
            return Ok(self);
        }
        let words = format!("{}: {}", self.status(), self.text());
        Err(match self.status() {
            412 => Failure::Refused,
            507 => Failure::Full(words),
            _ => Failure::Failed(words),
        })
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// What stands in the first element of a name.
    pub fn xml(&self, name: &str) -> Option<String> {
        xml(&self.text(), name)
    }

    /// What stands in each element of a name.
    pub fn all_xml(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        let pieces = text.split(&open).skip(1);
        pieces.filter_map(|piece| Some(piece.split_once(&close)?.0.to_owned())).collect()
    }
}

/// What stands in the first element of a name. Whatever is looked for here has no entities but quotes.
pub fn xml(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inside.replace("&quot;", "\""))
}

/// A value as it may stand in a query.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match ENCODED.contains(&byte) {
        true => format!("%{byte:02X}"),
        false => char::from(byte).to_string(),
    };
    text.bytes().map(encode).collect()
}

/// A CRC-32C as S3 writes it.
pub fn crc32c_text(crc32c: u32) -> String {
    STANDARD.encode_to_string(crc32c.to_be_bytes())
}

/// The CRC-32C that S3 has written so.
pub fn crc32c_of(text: &str) -> Option<u32> {
    let bytes = STANDARD.decode_to_vec(text).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_read_as_it_is_written() {
        assert_eq!(crc32c_text(0xe306_9283), "4waSgw==");
        assert_eq!(crc32c_of("4waSgw=="), Some(0xe306_9283));
        // That of parts' checksums, which is none of the bytes.
        assert_eq!(crc32c_of("4waSgw==-2"), None);
    }

    #[test]
    fn elements_are_found_by_their_names() {
        let text = "<A><Key>a</Key><ETag>&quot;1&quot;</ETag></A><A><Key>b</Key></A>";
        assert_eq!(xml(text, "Key").as_deref(), Some("a"));
        assert_eq!(xml(text, "ETag").as_deref(), Some("\"1\""));
        assert_eq!(xml(text, "Size"), None);
    }
}
