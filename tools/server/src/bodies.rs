//! The bytes of requests and answers, in pieces: bounded memory, and no thread waits for a client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::StatusCode;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, TrailingHeaders, s3_error};

use crate::data::blocking;
use crate::data::streams::{ObjectReader, OffRuntime, Sink};
use crate::digest::{Algorithm, Checksum, Digests, Sums};
use crate::error::{Error, Result, of_code};

/// What is read from a client, or for one, at once. A request has two of these in memory at most: one
/// that comes in or goes out, and one that is written or read.
pub const PIECE_BYTES: usize = 256 << 10;

/// Why a body ended early, told by whoever ended it to whoever reads it: the error itself passes
/// through layers that keep only its text.
#[derive(Clone, Default, Debug)]
pub struct BodyFault(Arc<Told>);

#[derive(Default, Debug)]
struct Told {
    fault: OnceLock<Fault>,
    is_document: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing came for too long.
    Idle,
    /// A chunk of an aws-chunked body is larger than is taken.
    HugeChunk,
    /// An aws-chunked body ended without its last chunk, the empty one.
    NoLastChunk,
    /// A body that is read whole, to be parsed, is longer than is taken.
    LongDocument,
}

impl BodyFault {
    pub fn set(&self, fault: Fault) {
        let _ = self.0.fault.set(fault);
    }

    /// Says that the body is read whole.
    pub fn expect_document(&self) {
        self.0.is_document.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_document(&self) -> bool {
        self.0.is_document.load(Ordering::Relaxed)
    }

    /// What the client is told, if the body was ended.
    #[must_use]
    pub fn error(&self) -> Option<S3Error> {
        Some(match self.0.fault.get()? {
            Fault::Idle => s3_error!(
                RequestTimeout,
                "Your socket connection to the server was not written to within the timeout period"
            ),
            Fault::HugeChunk => {
                s3_error!(EntityTooLarge, "A chunk of the body is larger than this server takes")
            }
            Fault::NoLastChunk => {
                s3_error!(IncompleteBody, "The body ended without its last chunk")
            }
            Fault::LongDocument => {
                s3_error!(MaxMessageLengthExceeded, "Your request was too big.")
            }
        })
    }

    pub fn to_error(&self, source: &(dyn std::error::Error + Send + Sync)) -> S3Error {
        self.error().unwrap_or_else(|| {
            let what = format!("The body is not what was announced or signed: {source}");
            S3Error::with_message(S3ErrorCode::BadDigest, what)
        })
    }
}

/// A request's body.
pub struct Incoming {
    body: Option<StreamingBlob>,
    fault: BodyFault,
    left: Bytes,
    received: u64,
    announced: Option<u64>,
    most: u64,
}

impl Incoming {
    /// `announced` is the length that the client gave, `most` what is taken.
    pub fn new(
        body: Option<StreamingBlob>,
        fault: BodyFault,
        announced: Option<i64>,
        most: u64,
    ) -> Result<Self> {
        let announced = match announced.map(u64::try_from) {
            None => None,
            Some(Ok(len)) if len <= most => Some(len),
            Some(Ok(_)) => return Err(too_large(most)),
            Some(Err(_)) => return Err(s3_error!(InvalidArgument, "a negative length").into()),
        };
        Ok(Incoming { body, fault, left: Bytes::new(), received: 0, announced, most })
    }

    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// The next piece, full unless it is the last; empty at the end. The end is the one that was
    /// announced, and the body is verified then.
    async fn piece(&mut self) -> Result<Vec<u8>> {
        let expected = self.announced.map_or(PIECE_BYTES as u64, |len| len - self.received);
        let room = usize::try_from(expected).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut piece = Vec::with_capacity(room);
        while piece.len() < PIECE_BYTES {
            if self.left.is_empty() && !self.fetch().await? {
                break;
            }
            let take = (PIECE_BYTES - piece.len()).min(self.left.len());
            piece.extend_from_slice(&self.left.split_to(take));
        }
        Ok(piece)
    }

    async fn fetch(&mut self) -> Result<bool> {
        let Some(body) = &mut self.body else { return Ok(false) };
        match body.next().await {
            Some(Ok(bytes)) => {
                self.received += bytes.len() as u64;
                let most = self.announced.unwrap_or(self.most);
                if self.received > most {
                    return Err(match self.announced {
                        Some(_) => {
                            s3_error!(IncompleteBody, "more bytes than were announced").into()
                        }
                        None => too_large(most),
                    });
                }
                self.left = bytes;
                Ok(true)
            }
            Some(Err(error)) => Err(self.fault.to_error(&*error).into()),
            None => {
                self.body = None;
                match self.announced {
                    Some(len) if len != self.received => Err(s3_error!(
                        IncompleteBody,
                        "You did not provide the number of bytes specified by the Content-Length header"
                    )
                    .into()),
                    _ => Ok(false),
                }
            }
        }
    }

    /// The whole body, which is no longer than a piece.
    pub async fn whole(mut self) -> Result<Vec<u8>> {
        let piece = self.piece().await?;
        // The end verifies it.
        if piece.len() == PIECE_BYTES && self.fetch().await? {
            return Err(too_large(PIECE_BYTES as u64));
        }
        Ok(piece)
    }

    /// Pours the body into a sink; gives it back with the digests and the length of what it got.
    pub async fn pour<S: Sink>(
        mut self,
        sink: S,
        digests: Digests,
    ) -> Result<(OffRuntime<(S, Digests)>, u64)> {
        let mut state = OffRuntime::new((sink, digests));
        let mut piece = self.piece().await?;
        while !piece.is_empty() {
            let last = piece.len() < PIECE_BYTES;
            let writing = blocking(move || {
                let (mut sink, mut digests) = state.into_inner();
                digests.update(&piece);
                sink.write(&piece)?;
                Ok::<_, Error>(OffRuntime::new((sink, digests)))
            });
            if last {
                state = writing.await?;
                break;
            }
            let (written, next) = tokio::join!(writing, self.piece());
            state = written?;
            piece = next?;
        }
        Ok((state, self.received))
    }
}

fn too_large(most: u64) -> Error {
    let what = format!("Your proposed upload exceeds the maximum allowed size of {most} bytes");
    S3Error::with_message(S3ErrorCode::EntityTooLarge, what).into()
}

/// What a client said that the digests of its body are.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    md5: Option<[u8; 16]>,
    checksum: Option<(Algorithm, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Given(Vec<u8>),
    /// Comes behind the body.
    Trailer(Option<TrailingHeaders>),
    /// Only to be computed and kept.
    Any,
}

impl Expected {
    /// From `Content-MD5`, the `x-amz-checksum-` headers, `x-amz-trailer` and
    /// `x-amz-sdk-checksum-algorithm`.
    pub fn new(
        md5: Option<&str>,
        given: &[(Algorithm, Option<&str>)],
        trailer: Option<&str>,
        trailers: Option<TrailingHeaders>,
        algorithm: Option<&str>,
    ) -> Result<Self> {
        let md5 = md5.map(parse_md5).transpose()?;
        let mut said = given.iter().filter_map(|(algorithm, value)| Some((*algorithm, (*value)?)));
        let checksum = match (said.next(), said.next()) {
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
                )
                .into());
            }
            (Some((algorithm, value)), None) => {
                let digest = algorithm.parse_digest(value).ok_or_else(|| {
                    s3_error!(InvalidRequest, "Value for {} header is invalid.", algorithm.header())
                })?;
                Some((algorithm, Value::Given(digest)))
            }
            (None, _) => match trailer.and_then(Algorithm::of_header) {
                Some(algorithm) => Some((algorithm, Value::Trailer(trailers))),
                None => algorithm_named(algorithm)?.map(|algorithm| (algorithm, Value::Any)),
            },
        };
        Ok(Expected { md5, checksum })
    }

    /// To be kept with what has no checksum of its own.
    #[must_use]
    pub fn or_computed(mut self, algorithm: Option<Algorithm>) -> Self {
        if self.checksum.is_none() {
            self.checksum = algorithm.map(|algorithm| (algorithm, Value::Any));
        }
        self
    }

    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    #[must_use]
    pub fn digests(&self) -> Digests {
        Digests::new(self.algorithm())
    }

    /// Fails unless the body, which was read to its end, has these digests.
    pub fn check(&self, sums: &Sums) -> Result<()> {
        if self.md5.is_some_and(|md5| md5 != sums.md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received"
            )
            .into());
        }
        let Some((algorithm, value)) = &self.checksum else { return Ok(()) };
        let expected = match value {
            Value::Any => return Ok(()),
            Value::Given(digest) => digest.clone(),
            Value::Trailer(trailers) => trailing(*algorithm, trailers.as_ref())?,
        };
        if sums.checksum.as_ref().map(|checksum| &checksum.value) == Some(&expected) {
            return Ok(());
        }
        Err(s3_error!(
            BadDigest,
            "The {} you specified did not match the calculated checksum.",
            algorithm.name()
        )
        .into())
    }
}

/// The digest that came behind the body.
fn trailing(algorithm: Algorithm, trailers: Option<&TrailingHeaders>) -> Result<Vec<u8>> {
    let value = trailers.and_then(|trailers| {
        trailers.read(|headers| headers.get(algorithm.header()).map(|v| v.as_bytes().to_vec()))?
    });
    let text = value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    text.and_then(|text| algorithm.parse_digest(text)).ok_or_else(|| {
        let what = "The checksum that was to come behind the body did not, or is none";
        of_code("MalformedTrailerError", StatusCode::BAD_REQUEST, what).into()
    })
}

/// The algorithm of this name, if one is named.
pub fn algorithm_named(name: Option<&str>) -> Result<Option<Algorithm>> {
    name.map(|name| {
        Algorithm::parse(name).ok_or_else(|| {
            s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported.").into()
        })
    })
    .transpose()
}

fn parse_md5(text: &str) -> Result<[u8; 16]> {
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid.").into()
    })
}

/// The bytes of an object from where its reader is, `len` of them, as an answer's body. The next piece
/// is read while one goes out.
#[must_use]
pub fn outgoing(reader: ObjectReader, len: u64) -> StreamingBlob {
    let first = tokio::task::spawn_blocking(move || read_piece(reader, len));
    let pieces = stream::unfold(Some(first), |reading| async {
        let (read, next) = match reading?.await {
            Ok(Ok(Some((reader, bytes, left)))) => {
                let read_on =
                    || tokio::task::spawn_blocking(move || read_piece(reader.into_inner(), left));
                (Ok(Frame::data(Bytes::from(bytes))), (left > 0).then(read_on))
            }
            Ok(Ok(None)) => return None,
            Ok(Err(error)) => {
                tracing::error!(%error, "an object could not be read to its end");
                (Err(Box::new(error) as s3s::StdError), None)
            }
            Err(error) => (Err(Box::new(error) as s3s::StdError), None),
        };
        Some((read, next))
    });
    StreamingBlob::from(s3s::Body::http_body_unsync(StreamBody::new(pieces)))
}

type Read = (OffRuntime<ObjectReader>, Vec<u8>, u64);

fn read_piece(mut reader: ObjectReader, left: u64) -> Result<Option<Read>> {
    let len = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    if len == 0 {
        return Ok(None);
    }
    let bytes = reader.read(len)?;
    if bytes.len() < len {
        return Err(Error::damaged("an object ended before its length"));
    }
    Ok(Some((OffRuntime::new(reader), bytes, left - len as u64)))
}

/// The whole of a checksum's text in the field of its algorithm; `None` in the others.
#[must_use]
pub fn text_of(checksum: Option<&Checksum>, algorithm: Algorithm) -> Option<String> {
    checksum.filter(|checksum| checksum.algorithm == algorithm).map(Checksum::text)
}

/// The five fields that a request's input has for checksums.
macro_rules! given_checksums {
    ($input:expr) => {
        [
            ($crate::digest::Algorithm::Crc32, $input.checksum_crc32.as_deref()),
            ($crate::digest::Algorithm::Crc32c, $input.checksum_crc32c.as_deref()),
            ($crate::digest::Algorithm::Crc64Nvme, $input.checksum_crc64nvme.as_deref()),
            ($crate::digest::Algorithm::Sha1, $input.checksum_sha1.as_deref()),
            ($crate::digest::Algorithm::Sha256, $input.checksum_sha256.as_deref()),
        ]
    };
}

/// Sets that one of an output's five fields that the checksum belongs to.
macro_rules! tell_checksum {
    ($output:expr, $checksum:expr) => {{
        let checksum: Option<&$crate::digest::Checksum> = $checksum;
        use $crate::bodies::text_of;
        use $crate::digest::Algorithm;
        $output.checksum_crc32 = text_of(checksum, Algorithm::Crc32);
        $output.checksum_crc32c = text_of(checksum, Algorithm::Crc32c);
        $output.checksum_crc64nvme = text_of(checksum, Algorithm::Crc64Nvme);
        $output.checksum_sha1 = text_of(checksum, Algorithm::Sha1);
        $output.checksum_sha256 = text_of(checksum, Algorithm::Sha256);
    }};
}

pub(crate) use {given_checksums, tell_checksum};
