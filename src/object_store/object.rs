//! Paths and keys, infos and metas: the same object on both sides.
//!
//! A path is the key, byte by byte. Keys that are no paths (not UTF-8, with empty segments, `.`, `..`
//! or control characters, with a slash at an end) were put by others; they can't be named here.

use std::str;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectMeta, PutResult};

use crate::Info;
use crate::format::Seq;

pub(super) fn key(location: &Path) -> &[u8] {
    location.as_ref().as_bytes()
}

/// The path that a key is; `None` if it is none.
pub(super) fn path(key: &[u8]) -> Option<Path> {
    let text = str::from_utf8(key).ok()?;
    Path::parse(text).ok().filter(|path| path.as_ref() == text && !text.is_empty())
}

pub(super) fn meta(location: Path, info: &Info) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: time(info.created_ms),
        size: info.len,
        e_tag: Some(e_tag(info.seq)),
        version: None,
    }
}

pub(super) fn put_result(seq: Seq) -> PutResult {
    PutResult { e_tag: Some(e_tag(seq)), version: None, extensions: Default::default() }
}

/// The seq is given out once in a store's life, so that no two puts have the same.
fn e_tag(seq: Seq) -> String {
    seq.0.to_string()
}

/// The seq that an e-tag is of; `None` if it is none of ours.
pub(super) fn seq(text: &str) -> Option<Seq> {
    text.parse().ok().map(Seq).filter(|seq| e_tag(*seq) == text)
}

/// A clock that is off by more than the calendar has is shown as the calendar's end.
fn time(ms: u64) -> DateTime<Utc> {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_path_only_if_the_path_is_that_key() {
        for good in ["a", "a/b", "a b/%2F", "ü/🙀", "a/...", "~$&'"] {
            assert_eq!(key(&path(good.as_bytes()).unwrap()), good.as_bytes());
        }
        for bad in [&b""[..], b"/", b"/a", b"a/", b"a//b", b"a/./b", b"..", b"a\n", b"\xff"] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times_beyond_the_calendar_are_its_end() {
        assert_eq!(time(1_000).timestamp(), 1);
        assert_eq!(time(u64::MAX), DateTime::<Utc>::MAX_UTC);
    }
}
