//! `If-Match` and its relatives.

use kogia::Condition;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, s3_error};

use crate::data::Attributes;
use crate::data::attributes::Etag;
use crate::error::Result;

/// What must hold of an object for it to be read.
#[derive(Clone, Debug, Default)]
pub struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

/// What a read under conditions comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Read,
    NotModified,
}

impl ReadConditions {
    /// As RFC 9110 says: an entity tag counts before its date.
    pub fn check(&self, etag: Etag, created_ms: u64) -> Result<Verdict> {
        // Dates have whole seconds.
        let modified_s = i64::try_from(created_ms / 1000).unwrap_or(i64::MAX);
        let unmodified = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => names(condition, etag),
            (None, Some(since)) => modified_s <= seconds(since),
            (None, None) => true,
        };
        if !unmodified {
            return Err(precondition_failed().into());
        }
        let modified = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !names(condition, etag),
            (None, Some(since)) => modified_s > seconds(since),
            (None, None) => true,
        };
        Ok(if modified { Verdict::Read } else { Verdict::NotModified })
    }
}

/// What must hold of a key for it to be put or deleted.
#[derive(Clone, Debug, Default)]
pub struct WriteConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
}

impl WriteConditions {
    /// What the store is to check with the write, so that nothing comes in between. What it finds
    /// already that cannot hold fails here.
    pub fn resolve(&self, found: Option<&kogia::Info>) -> Result<Condition> {
        match (&self.if_match, &self.if_none_match) {
            (None, None) => Ok(Condition::Always),
            (None, Some(ETagCondition::Any)) if found.is_some() => Err(precondition_failed().into()),
            (None, Some(ETagCondition::Any)) => Ok(Condition::IfAbsent),
            (None, Some(ETagCondition::ETag(_))) => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: If-None-Match of a write can only be *"
            )
            .into()),
            (Some(condition), None) => {
                let Some(info) = found else { return Err(no_such_key().into()) };
                let etag = Attributes::decode(&info.attributes)?.etag;
                if !names(condition, etag) {
                    return Err(precondition_failed().into());
                }
                Ok(Condition::IfSeq(info.seq))
            }
            (Some(_), Some(_)) => Err(s3_error!(
                InvalidRequest,
                "If-Match and If-None-Match can't be given with one write"
            )
            .into()),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// What a write whose condition held when it was resolved, and did not when it was carried out, is
    /// answered.
    #[must_use]
    pub fn lost_race(&self, error: crate::error::Error) -> crate::error::Error {
        match &error {
            crate::error::Error::Store(inner)
                if inner.kind() == kogia::ErrorKind::Condition && self.if_match.is_some() =>
            {
                s3_error!(
                    ConditionalRequestConflict,
                    "The object was changed by another request while this one was under way"
                )
                .into()
            }
            _ => error,
        }
    }
}

fn names(condition: &ETagCondition, etag: Etag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(text) | ETag::Weak(text)) => *text == etag.to_string(),
    }
}

fn seconds(time: &Timestamp) -> i64 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp()
}

#[must_use]
pub fn precondition_failed() -> S3Error {
    S3Error::with_message(
        S3ErrorCode::PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold",
    )
}

#[must_use]
pub fn no_such_key() -> S3Error {
    S3Error::with_message(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const ETAG: Etag = Etag::Md5([0xab; 16]);

    fn tag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(text.into())))
    }

    fn at(seconds: u64) -> Option<Timestamp> {
        Some((UNIX_EPOCH + Duration::from_secs(seconds)).into())
    }

    #[test]
    fn entity_tags_count_before_dates() {
        let (ours, other) = (ETAG.to_string(), "00".repeat(16));
        let none = ReadConditions::default;
        let cases = [
            (none(), Some(Verdict::Read)),
            (ReadConditions { if_match: tag(&ours), ..none() }, Some(Verdict::Read)),
            (ReadConditions { if_match: tag(&other), ..none() }, None),
            (
                ReadConditions { if_match: tag(&ours), if_unmodified_since: at(1), ..none() },
                Some(Verdict::Read),
            ),
            (ReadConditions { if_unmodified_since: at(999), ..none() }, None),
            (ReadConditions { if_unmodified_since: at(1000), ..none() }, Some(Verdict::Read)),
            (ReadConditions { if_none_match: tag(&ours), ..none() }, Some(Verdict::NotModified)),
            (
                ReadConditions { if_none_match: Some(ETagCondition::Any), ..none() },
                Some(Verdict::NotModified),
            ),
            (
                ReadConditions {
                    if_none_match: tag(&other),
                    if_modified_since: at(2000),
                    ..none()
                },
                Some(Verdict::Read),
            ),
            (ReadConditions { if_modified_since: at(1000), ..none() }, Some(Verdict::NotModified)),
            (ReadConditions { if_modified_since: at(999), ..none() }, Some(Verdict::Read)),
        ];
        for (conditions, expected) in cases {
            // Some milliseconds into that second.
            assert_eq!(conditions.check(ETAG, 1_000_777).ok(), expected, "{conditions:?}");
        }
    }
}
