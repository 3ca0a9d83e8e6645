//! How calls end: a status, and an error object that says more. Nothing unwinds past `guard`.

#![expect(unsafe_code, reason = "exported names")]

use std::any::Any;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use kogia::ErrorKind;

/// How a call ended. What a caller does next depends on this, never on a message's text.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// All went well.
    Ok = 0,
    /// What was named is not there.
    NotFound = 1,
    /// The call cannot be carried out as given (a NULL, a name, a number); nothing was done.
    InvalidArgument = 2,
    /// A condition does not hold. No function of the queue says so.
    Condition = 3,
    /// Bytes are not what was written; the message names track and chunk.
    Corruption = 4,
    /// Items that were durable are damaged or missing, found while opening. Passed with the
    /// option `accept_loss`.
    Damaged = 5,
    /// The operating system failed a call.
    Io = 6,
    /// No room. Reading and truncating go on, and appending resumes when room is back.
    Full = 7,
    /// The queue is open already, in this process or another.
    Locked = 8,
    /// A write or sync failed: this queue takes nothing more. Close it and open it again.
    Poisoned = 9,
    /// Written by a format that this library does not know.
    Version = 10,
    /// A disk is missing or swapped. No function of the queue says so.
    Disk = 11,
    /// The queue is there already.
    Exists = 12,
    /// The library has a defect and gave up the call. What the handle is good for is not known:
    /// close it.
    Panic = 13,
    /// Something that this version of the interface has no name for.
    Other = 14,
}

impl From<ErrorKind> for Status {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Status::NotFound,
            ErrorKind::InvalidArgument => Status::InvalidArgument,
            ErrorKind::Condition => Status::Condition,
            ErrorKind::Corruption => Status::Corruption,
            ErrorKind::Damaged => Status::Damaged,
            ErrorKind::Io => Status::Io,
            ErrorKind::Full => Status::Full,
            ErrorKind::Locked => Status::Locked,
            ErrorKind::Poisoned => Status::Poisoned,
            ErrorKind::Version => Status::Version,
            ErrorKind::Disk => Status::Disk,
            ErrorKind::Exists => Status::Exists,
            _ => Status::Other,
        }
    }
}

/// Why a call failed, in words.
pub struct Error {
    status: Status,
    message: CString,
}

/// The status of the call that failed; KOGIA_QUEUE_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_error_status(error: Option<&Error>) -> Status {
    error.map_or(Status::Ok, |error| error.status)
}

/// What went wrong, in UTF-8, with the file, track and chunk where there are any; "" for NULL. It
/// is there until the error is freed or replaced.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_error_message(error: Option<&Error>) -> *const c_char {
    error.map_or(c"", |error| &error.message).as_ptr()
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn kogia_queue_error_free(error: Option<Box<Error>>) {
    drop(error);
}

/// What a call gives up with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Failure { status: Status::InvalidArgument, message: message.into() }
    }

    fn panic(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = format!("a defect of the library: {}", text.unwrap_or("it panicked"));
        Failure { status: Status::Panic, message }
    }
}

impl From<kogia::Error> for Failure {
    fn from(error: kogia::Error) -> Self {
        Failure { status: error.kind().into(), message: error.to_string() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let mut message = failure.message.into_bytes();
        message.retain(|byte| *byte != 0);
        let message = CString::new(message).expect("it has no zero");
        Error { status: failure.status, message }
    }
}

/// Carries out a call. If it fails, that is put into `error`, where there is one, and what was
/// there before is freed.
pub(crate) fn guard(
    error: Option<&mut Option<Box<Error>>>,
    call: impl FnOnce() -> Result<(), Failure>,
) -> Status {
    // Unwind safe: a handle that a panic went through holds locks that fail from then on.
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::panic(&*payload),
    };
    let status = failure.status;
    if let Some(error) = error {
        *error = Some(Box::new(failure.into()));
    }
    status
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn message(error: &Option<Box<Error>>) -> &str {
        // SAFETY: it is a string that is there as long as the error.
        unsafe { CStr::from_ptr(kogia_queue_error_message(error.as_deref())) }.to_str().unwrap()
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_message() {
        let mut error = None;
        let status = guard(Some(&mut error), || panic!("number {}", 7));
        assert_eq!((status, kogia_queue_error_status(error.as_deref())), (Status::Panic, status));
        assert_eq!(message(&error), "a defect of the library: number 7");
        assert_eq!(guard(None, || panic!("nobody asks")), Status::Panic);
    }

    #[test]
    fn a_failure_replaces_the_one_before_and_success_leaves_it() {
        let mut error = None;
        assert_eq!(message(&error), "");
        for text in ["first", "sec\0ond"] {
            let failed = guard(Some(&mut error), || Err(Failure::invalid(text)));
            assert_eq!(failed, Status::InvalidArgument);
        }
        assert_eq!(guard(Some(&mut error), || Ok(())), Status::Ok);
        assert_eq!(message(&error), "second");
        kogia_queue_error_free(error);
        kogia_queue_error_free(None);
    }

    #[test]
    fn an_error_keeps_its_kind() {
        let error = kogia::queue::Queue::reader("/no/such/queue").unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.status, Status::NotFound);
        assert!(failure.message.contains("/no/such/queue"), "{}", failure.message);
    }
}
