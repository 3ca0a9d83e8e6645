//! A bucket's lifecycle: when its objects, versions and uploads go by themselves.
//!
//! By prefix, tags and size, after days or from a date on. A rule that asks for more is refused as a
//! whole: who gave it would wait for ever for what it does.

use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag, Timestamp,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{checked_tags, malformed, not_implemented};
use super::{tagging, told};
use crate::data::keys::UploadId;
use crate::data::settings::{self, DAY_MS, Filter, Noncurrent, Settings};
use crate::error::Result;
use crate::service::Service;

const MAX_RULES: usize = 1000;
const MAX_ID_BYTES: usize = 255;

pub async fn get(
    service: &Service,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let settings = service.bucket(&request.input.bucket)?.settings();
    if settings.lifecycle.is_empty() {
        return Err(s3_error!(
            NoSuchLifecycleConfiguration,
            "The lifecycle configuration does not exist"
        )
        .into());
    }
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(settings.lifecycle.iter().map(told).collect()),
        ..GetBucketLifecycleConfigurationOutput::default()
    }))
}

pub async fn put(
    service: &Service,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let given = request.input.lifecycle_configuration.map(|given| given.rules).unwrap_or_default();
    if given.is_empty() || given.len() > MAX_RULES {
        return Err(malformed());
    }
    let rules = given.into_iter().map(rule).collect::<Result<Vec<_>>>()?;
    for (at, rule) in rules.iter().enumerate() {
        if rules[..at].iter().any(|other| other.id == rule.id) {
            return Err(s3_error!(InvalidArgument, "Rule ID must be unique").into());
        }
    }
    set(service, &request.input.bucket, rules).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

pub async fn delete(
    service: &Service,
    request: S3Request<DeleteBucketLifecycleInput>,
) -> Result<S3Response<DeleteBucketLifecycleOutput>> {
    set(service, &request.input.bucket, Vec::new()).await?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

async fn set(service: &Service, bucket: &str, rules: Vec<settings::LifecycleRule>) -> Result<()> {
    let set = |settings: &mut Settings| {
        settings.lifecycle = rules;
        Ok(())
    };
    service.catalogue.change_settings(&service.bucket(bucket)?, set).await
}

fn rule(given: LifecycleRule) -> Result<settings::LifecycleRule> {
    let has = |list: Option<usize>| list.is_some_and(|len| len > 0);
    if has(given.transitions.as_ref().map(Vec::len))
        || has(given.noncurrent_version_transitions.as_ref().map(Vec::len))
    {
        return Err(not_implemented("transitions to other storage classes"));
    }
    let ((prefix, filter), prefix_alone) = match (given.prefix, given.filter) {
        (Some(_), Some(_)) | (None, None) => return Err(malformed()),
        (Some(prefix), None) => ((prefix, Filter::default()), true),
        (None, Some(filter)) => (filtered(filter)?, false),
    };
    let (mut days, mut date_ms, mut lone_markers) = (None, None, false);
    if let Some(expiration) = given.expiration {
        days = expiration.days.map(positive).transpose()?;
        date_ms = expiration.date.map(midnight_ms).transpose()?;
        lone_markers = expiration.expired_object_delete_marker.unwrap_or(false);
        one_at_most(&[days.is_some(), date_ms.is_some(), lone_markers])?;
    }
    let noncurrent = match given.noncurrent_version_expiration {
        Some(given) => Some(Noncurrent {
            days: positive(given.noncurrent_days.ok_or_else(malformed)?)?,
            keep: given.newer_noncurrent_versions.map(positive).transpose()?.unwrap_or(0),
        }),
        None => None,
    };
    let upload_days = match given.abort_incomplete_multipart_upload {
        Some(given) => Some(positive(given.days_after_initiation.ok_or_else(malformed)?)?),
        None => None,
    };
    if days.is_none()
        && date_ms.is_none()
        && !lone_markers
        && noncurrent.is_none()
        && upload_days.is_none()
    {
        return Err(s3_error!(
            InvalidRequest,
            "At least one action needs to be specified in a rule"
        )
        .into());
    }
    let enabled = match given.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed()),
    };
    let id = given.id.filter(|id| !id.is_empty()).unwrap_or_else(|| UploadId::random().to_string());
    if id.len() > MAX_ID_BYTES {
        return Err(
            s3_error!(InvalidArgument, "ID length should not exceed allowed limit of 255").into()
        );
    }
    if filter != Filter::default() && (upload_days.is_some() || lone_markers) {
        return Err(s3_error!(
            InvalidRequest,
            "Uploads and delete markers have neither tags nor a size: give \
             AbortIncompleteMultipartUpload and ExpiredObjectDeleteMarker in a rule of their own"
        )
        .into());
    }
    let rule = settings::LifecycleRule {
        id,
        enabled,
        prefix,
        prefix_alone,
        days,
        lone_markers,
        noncurrent,
        upload_days,
        filter,
        date_ms,
    };
    Ok(rule)
}

/// The prefix of a filter, and what else it asks for.
fn filtered(given: LifecycleRuleFilter) -> Result<(String, Filter)> {
    let LifecycleRuleFilter {
        and,
        object_size_greater_than,
        object_size_less_than,
        prefix,
        tag,
        ..
    } = given;
    one_at_most(&[
        prefix.is_some(),
        tag.is_some(),
        object_size_greater_than.is_some(),
        object_size_less_than.is_some(),
        and.is_some(),
    ])?;
    let all = and.unwrap_or(LifecycleRuleAndOperator {
        object_size_greater_than,
        object_size_less_than,
        prefix,
        tags: tag.map(|tag| vec![tag]),
    });
    let filter = Filter {
        tags: checked_tags(tagging::pairs(all.tags.unwrap_or_default()))?,
        larger_than: all.object_size_greater_than.map(size).transpose()?,
        smaller_than: all.object_size_less_than.map(size).transpose()?,
    };
    if let (Some(least), Some(most)) = (filter.larger_than, filter.smaller_than)
        && least >= most
    {
        return Err(s3_error!(
            InvalidRequest,
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'"
        )
        .into());
    }
    Ok((all.prefix.unwrap_or_default(), filter))
}

/// Of elements that exclude each other, which are given.
fn one_at_most(given: &[bool]) -> Result<()> {
    match given.iter().filter(|is_given| **is_given).count() {
        0 | 1 => Ok(()),
        _ => Err(malformed()),
    }
}

fn size(bytes: i64) -> Result<u64> {
    u64::try_from(bytes)
        .map_err(|_| s3_error!(InvalidArgument, "Sizes of objects can't be negative").into())
}

/// A date, which has to be the beginning of a day.
fn midnight_ms(date: Timestamp) -> Result<u64> {
    let date = time::OffsetDateTime::from(date);
    let since_1970 = u64::try_from(date.unix_timestamp());
    match since_1970.map(|seconds| seconds.saturating_mul(1000)) {
        Ok(ms) if ms % DAY_MS == 0 && date.nanosecond() == 0 => Ok(ms),
        _ => Err(s3_error!(InvalidArgument, "'Date' must be at midnight GMT").into()),
    }
}

fn positive(number: i32) -> Result<u32> {
    match u32::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(s3_error!(InvalidArgument, "Days and counts must be positive integers").into()),
    }
}

fn told(rule: &settings::LifecycleRule) -> LifecycleRule {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let (prefix, filter) = match rule.prefix_alone {
        true => (Some(rule.prefix.clone()), None),
        false => (None, Some(told_filter(rule))),
    };
    let expires = rule.days.is_some() || rule.date_ms.is_some() || rule.lone_markers;
    LifecycleRule {
        abort_incomplete_multipart_upload: rule.upload_days.map(|days| {
            AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }
        }),
        expiration: expires.then(|| LifecycleExpiration {
            days: rule.days.map(number),
            date: rule.date_ms.map(told::time),
            expired_object_delete_marker: rule.lone_markers.then_some(true),
        }),
        filter,
        id: Some(rule.id.clone()),
        noncurrent_version_expiration: rule.noncurrent.map(|rule| NoncurrentVersionExpiration {
            newer_noncurrent_versions: (rule.keep > 0).then(|| number(rule.keep)),
            noncurrent_days: Some(number(rule.days)),
        }),
        noncurrent_version_transitions: None,
        prefix,
        status: ExpirationStatus::from_static(match rule.enabled {
            true => ExpirationStatus::ENABLED,
            false => ExpirationStatus::DISABLED,
        }),
        transitions: None,
    }
}

/// What is asked for, in an `And` where it is more than one thing.
fn told_filter(rule: &settings::LifecycleRule) -> LifecycleRuleFilter {
    let Filter { tags, larger_than, smaller_than } = &rule.filter;
    let mut tags: Vec<Tag> = tagging::told(tags.clone());
    let (object_size_greater_than, object_size_less_than) =
        (larger_than.map(told::len), smaller_than.map(told::len));
    let prefix = Some(rule.prefix.clone());
    let more =
        tags.len() + usize::from(larger_than.is_some()) + usize::from(smaller_than.is_some());
    if more + usize::from(!rule.prefix.is_empty()) > 1 {
        let tags = (!tags.is_empty()).then_some(tags);
        let prefix = prefix.filter(|prefix| !prefix.is_empty());
        let and = LifecycleRuleAndOperator {
            object_size_greater_than,
            object_size_less_than,
            prefix,
            tags,
        };
        return LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() };
    }
    LifecycleRuleFilter {
        object_size_greater_than,
        object_size_less_than,
        prefix: prefix.filter(|_| more == 0),
        tag: tags.pop(),
        ..LifecycleRuleFilter::default()
    }
}
