//! Why something was not done.

use kogia::ErrorKind;
use serde::Serialize;

use crate::error::Error;

/// What whoever asked does next depends on this.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It can't be done as it was asked for.
    Invalid,
    NotFound,
    /// There is something else already.
    Exists,
    /// The same is being done already, or something is held by another process.
    Busy,
    /// A disk is missing, or belongs to others.
    Disk,
    Full,
    Damage,
    Io,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Fault { kind, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(FaultKind::NotFound, message)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<kogia::Error> for Fault {
    fn from(error: kogia::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::InvalidArgument | ErrorKind::Condition => FaultKind::Invalid,
            ErrorKind::NotFound => FaultKind::NotFound,
            ErrorKind::Exists => FaultKind::Exists,
            ErrorKind::Locked => FaultKind::Busy,
            ErrorKind::Disk | ErrorKind::Version => FaultKind::Disk,
            ErrorKind::Full => FaultKind::Full,
            ErrorKind::Corruption | ErrorKind::Damaged => FaultKind::Damage,
            _ => FaultKind::Io,
        };
        Fault::new(kind, error.to_string())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::NoSuchBucket | Error::NoSuchUpload => Self::not_found(error.to_string()),
            Error::BucketMoved => Fault::new(FaultKind::Busy, error.to_string()),
            Error::BucketUnsettled => Fault::new(FaultKind::Io, error.to_string()),
            Error::BucketExists | Error::BucketNotEmpty => {
                Fault::new(FaultKind::Exists, error.to_string())
            }
            Error::Damaged(what) => Fault::new(FaultKind::Damage, what),
            Error::S3(error) => Self::invalid(error.to_string()),
        }
    }
}
