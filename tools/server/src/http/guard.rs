//! What a request's body passes before anybody parses it: it may not stop for too long, a chunk of an
//! aws-chunked one may not be larger than is taken, nor a body that is parsed whole.
//!
//! A chunk is verified whole, so it is in memory whole, and its length is what the client says.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::bodies::{BodyFault, Fault};
use crate::config::Limits;

/// A body that is watched.
pub struct Guarded<B> {
    body: B,
    timeout: Duration,
    asleep: Pin<Box<Sleep>>,
    waits: bool,
    chunks: Option<Chunks>,
    max_document_bytes: u64,
    fault: BodyFault,
    /// Bytes that have come, told when it is dropped.
    received: u64,
    on_end: Box<dyn Fn(u64) + Send>,
}

/// Why a body was ended. The reader of the body finds out through [`BodyFault`].
#[derive(Debug)]
pub enum Ended {
    Fault(Fault),
    Connection(hyper::Error),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Fault(Fault::Idle) => f.write_str("nothing came for too long"),
            Ended::Fault(Fault::HugeChunk) => f.write_str("a chunk is too large"),
            Ended::Fault(Fault::NoLastChunk) => f.write_str("the last chunk is missing"),
            Ended::Fault(Fault::LongDocument) => f.write_str("the body is too long to be parsed"),
            Ended::Connection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Ended {}

impl<B> Guarded<B> {
    pub fn new(
        body: B,
        limits: &Limits,
        is_chunked: bool,
        fault: BodyFault,
        on_end: impl Fn(u64) + Send + 'static,
    ) -> Self {
        Guarded {
            body,
            timeout: limits.idle_timeout,
            asleep: Box::pin(sleep(limits.idle_timeout)),
            waits: false,
            chunks: is_chunked.then(|| Chunks::new(limits.chunk_bytes.0)),
            max_document_bytes: limits.xml_bytes.0,
            fault,
            received: 0,
            on_end: Box::new(on_end),
        }
    }

    fn end(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        self.fault.set(fault);
        Poll::Ready(Some(Err(Ended::Fault(fault))))
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Guarded<B> {
    type Data = Bytes;
    type Error = Ended;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() {
            // From when the body is first waited for: the server's own time does not count.
            if !std::mem::replace(&mut this.waits, true) {
                this.asleep.as_mut().reset(Instant::now() + this.timeout);
            }
            ready!(this.asleep.as_mut().poll(cx));
            return this.end(Fault::Idle);
        }
        this.waits = false;
        let Some(frame) = ready!(polled) else {
            return match this.chunks.take() {
                Some(chunks) if !chunks.are_complete() => this.end(Fault::NoLastChunk),
                _ => Poll::Ready(None),
            };
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(Ended::Connection(error)))),
        };
        if let Some(bytes) = frame.data_ref() {
            this.received += bytes.len() as u64;
            if this.chunks.as_mut().is_some_and(|chunks| !chunks.accept(bytes)) {
                return this.end(Fault::HugeChunk);
            }
            if this.received > this.max_document_bytes && this.fault.is_document() {
                return this.end(Fault::LongDocument);
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Guarded<B> {
    fn drop(&mut self) {
        (self.on_end)(self.received);
    }
}

/// Follows the framing of an aws-chunked body, `SIZE;chunk-signature=...\r\n` and SIZE bytes and
/// `\r\n`, as far as sizes go. What is malformed in other ways is left to whoever parses it.
struct Chunks {
    most: u64,
    state: State,
}

enum State {
    /// In the digits of a size.
    Size(u64),
    /// Behind them, up to the end of the line.
    Line(u64),
    /// This many bytes before the next size, the line's end behind the data among them.
    Data(u64),
    /// Behind the last chunk.
    Trailer,
}

const LINE_END: u64 = 2;

impl Chunks {
    fn new(most: u64) -> Self {
        Chunks { most, state: State::Size(0) }
    }

    /// Whether the last chunk has come. s3s takes a body that ends before it for a whole one.
    fn are_complete(&self) -> bool {
        matches!(self.state, State::Trailer)
    }

    /// Whether no chunk that begins in these bytes is too large.
    fn accept(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(&byte) = bytes.first() {
            match &mut self.state {
                State::Trailer => return true,
                State::Data(left) => {
                    let skip = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= skip as u64;
                    bytes = &bytes[skip..];
                    if *left == 0 {
                        self.state = State::Size(0);
                    }
                    continue;
                }
                State::Line(size) => {
                    if byte == b'\n' {
                        self.state = match *size {
                            0 => State::Trailer,
                            size => State::Data(size + LINE_END),
                        };
                    }
                }
                State::Size(size) => match char::from(byte).to_digit(16) {
                    Some(digit) => {
                        *size = *size << 4 | u64::from(digit);
                        if *size > self.most {
                            return false;
                        }
                    }
                    None if byte == b'\n' => self.state = State::Trailer,
                    None => self.state = State::Line(*size),
                },
            }
            bytes = &bytes[1..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(most: u64, body: &[u8], step: usize) -> bool {
        let mut chunks = Chunks::new(most);
        body.chunks(step).all(|bytes| chunks.accept(bytes))
    }

    #[test]
    fn chunks_up_to_the_limit_pass_however_they_are_cut() {
        let signature = "0".repeat(64);
        let mut body = Vec::new();
        for size in [16, 1, 15] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'f', size));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nx-amz-checksum-crc32:ffffff==\r\n\r\n");
        for step in 1..body.len() {
            assert!(accepts(16, &body, step), "{step}");
            assert!(!accepts(14, &body, step), "{step}");
        }
    }

    #[test]
    fn only_the_empty_chunk_ends_a_body() {
        let complete = |body: &[u8]| {
            let mut chunks = Chunks::new(16);
            assert!(chunks.accept(body));
            chunks.are_complete()
        };
        assert!(complete(b"5\r\n01234\r\n0\r\n"));
        for cut in ["", "5\r\n01234", "5\r\n01234\r\n", "5\r\n01234\r\n0", "5\r\n01234\r\n0\r"] {
            assert!(!complete(cut.as_bytes()), "{cut}");
        }
    }

    #[test]
    fn a_size_that_does_not_end_is_too_large() {
        assert!(!accepts(1 << 20, &[b'f'; 1000], 1));
        assert!(accepts(1 << 20, &[b'0'; 1000], 7));
        assert!(accepts(1 << 20, b"zzz\r\n", 1));
    }
}
