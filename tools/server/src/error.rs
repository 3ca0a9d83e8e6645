//! What can go wrong, and what a client is told of it.

use std::borrow::Cow;

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

use crate::data::rows::NoRow;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call on buckets and objects was not carried out.
#[derive(Debug)]
pub enum Error {
    NoSuchBucket,
    /// To another partition, by an administrator: at once it is found there.
    BucketMoved,
    /// A disk failed while it was moved or deleted, and what has become of it is known at the next start.
    BucketUnsettled,
    BucketExists,
    BucketNotEmpty,
    NoSuchUpload,
    /// Of the server's own rows one is not what was written.
    Damaged(String),
    Store(kogia::Error),
    /// What the client did wrong.
    S3(S3Error),
}

impl Error {
    pub fn damaged(what: impl Into<String>) -> Self {
        Error::Damaged(what.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoSuchBucket => f.write_str("there is no such bucket"),
            Error::BucketMoved => f.write_str("the bucket was moved meanwhile"),
            Error::BucketUnsettled => f.write_str(
                "a disk failed while the bucket was moved or deleted; the next start finds out what has become of it",
            ),
            Error::BucketExists => f.write_str("the bucket is there already"),
            Error::BucketNotEmpty => f.write_str("the bucket is not empty"),
            Error::NoSuchUpload => f.write_str("there is no such upload"),
            Error::Damaged(what) => f.write_str(what),
            Error::Store(error) => error.fmt(f),
            Error::S3(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<kogia::Error> for Error {
    fn from(error: kogia::Error) -> Self {
        Error::Store(error)
    }
}

impl From<NoRow> for Error {
    fn from(error: NoRow) -> Self {
        Error::Damaged(error.to_string())
    }
}

impl From<S3Error> for Error {
    fn from(error: S3Error) -> Self {
        Error::S3(error)
    }
}

impl From<Error> for S3Error {
    fn from(error: Error) -> Self {
        use S3ErrorCode as Code;
        match error {
            Error::NoSuchBucket => {
                S3Error::with_message(Code::NoSuchBucket, "The specified bucket does not exist")
            }
            Error::BucketMoved => S3Error::with_message(
                Code::ServiceUnavailable,
                "The bucket was just moved to another disk partition; please try again",
            ),
            Error::BucketUnsettled => {
                S3Error::with_message(Code::ServiceUnavailable, Error::BucketUnsettled.to_string())
            }
            Error::BucketExists => S3Error::with_message(
                Code::BucketAlreadyOwnedByYou,
                "A bucket of this name is there already",
            ),
            Error::BucketNotEmpty => S3Error::with_message(
                Code::BucketNotEmpty,
                "The bucket you tried to delete is not empty",
            ),
            Error::NoSuchUpload => S3Error::with_message(
                Code::NoSuchUpload,
                "The specified upload does not exist; it was completed, aborted or has aged out",
            ),
            Error::Damaged(what) => {
                tracing::error!(what, "the server's own rows are damaged");
                S3Error::new(Code::InternalError)
            }
            Error::Store(error) => of_store(&error),
            Error::S3(error) => error,
        }
    }
}

/// What a client does next depends on this: give up, wait, or change its request.
fn of_store(error: &kogia::Error) -> S3Error {
    use kogia::ErrorKind as Kind;
    let (code, what) = match error.kind() {
        Kind::Condition => {
            (S3ErrorCode::PreconditionFailed, "At least one of the preconditions does not hold")
        }
        Kind::InvalidArgument => {
            (S3ErrorCode::InvalidArgument, "The store refuses this as it is given")
        }
        Kind::Full => {
            tracing::warn!(%error, "no room");
            return storage_full();
        }
        Kind::Poisoned => (
            S3ErrorCode::ServiceUnavailable,
            "A disk failed; the partition takes no writes until the server is started again",
        ),
        _ => (S3ErrorCode::InternalError, "The store could not do this; its log says why"),
    };
    if !matches!(error.kind(), Kind::Condition | Kind::InvalidArgument) {
        tracing::error!(%error, "a call on a store failed");
    }
    S3Error::with_message(code, what)
}

/// S3 itself is never full; this is the answer of others that may be. Its status tells clients not
/// to try again at once.
fn storage_full() -> S3Error {
    let what = "There is no room left; delete objects, or add a disk";
    of_code("StorageFull", StatusCode::INSUFFICIENT_STORAGE, what)
}

/// An error whose code s3s does not know, and so no status for it.
pub fn of_code(code: &str, status: StatusCode, what: impl Into<Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), what);
    error.set_status_code(status);
    error
}

/// What is asked for is not to be had here.
pub fn not_implemented(what: &str) -> S3Error {
    s3_error!(NotImplemented, "This server does not do what the request asks for: {}", what)
}
