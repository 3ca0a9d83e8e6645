//! What the store's errors are in the crate's kinds.

use std::io;

use object_store::Error;
use object_store::path::Path;

use crate::error::ErrorKind;

/// The store's name in errors.
const STORE: &str = "Kogia";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error that the crate has no kind for. Where it is the store's, its kind is in the source.
pub(super) fn generic(source: impl Into<Source>) -> Error {
    Error::Generic { store: STORE, source: source.into() }
}

pub(super) fn not_found(location: &Path, source: impl Into<Source>) -> Error {
    Error::NotFound { path: location.to_string(), source: source.into() }
}

pub(super) fn already_exists(location: &Path, source: impl Into<Source>) -> Error {
    Error::AlreadyExists { path: location.to_string(), source: source.into() }
}

pub(super) fn precondition(location: &Path, source: impl Into<Source>) -> Error {
    Error::Precondition { path: location.to_string(), source: source.into() }
}

/// An error of reading `location`: what can't be a key is not there.
pub(super) fn of_reading(error: crate::Error, location: &Path) -> Error {
    match error.kind() {
        ErrorKind::InvalidArgument => not_found(location, error),
        _ => generic(error),
    }
}

/// The store's own error, which its readers and writers wrap.
pub(super) fn of_io(error: io::Error) -> Error {
    match error.downcast::<crate::Error>() {
        Ok(error) => generic(error),
        Err(error) => generic(error),
    }
}
