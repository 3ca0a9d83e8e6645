//! A bucket's lifecycle: when its objects, versions and uploads go by themselves.
//!
//! By prefix and by days. A rule that asks for more is refused as a whole: who gave it would wait for
//! ever for what it does.

use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput,
    ExpirationStatus, GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::not_implemented;
use crate::data::keys::UploadId;
use crate::data::settings::{self, Noncurrent, Settings};
use crate::error::{Error, Result};
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
    let (prefix, prefix_alone) = match (given.prefix, given.filter) {
        (Some(_), Some(_)) => return Err(malformed()),
        (Some(prefix), None) => (prefix, true),
        (None, Some(filter)) => (filtered(filter)?, false),
        (None, None) => return Err(malformed()),
    };
    let (mut days, mut lone_markers) = (None, false);
    if let Some(expiration) = given.expiration {
        if expiration.date.is_some() {
            return Err(not_implemented("expiration at a date"));
        }
        days = expiration.days.map(positive).transpose()?;
        lone_markers = expiration.expired_object_delete_marker.unwrap_or(false);
        if days.is_some() && lone_markers {
            return Err(malformed());
        }
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
    if days.is_none() && !lone_markers && noncurrent.is_none() && upload_days.is_none() {
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
    let rule = settings::LifecycleRule {
        id,
        enabled,
        prefix,
        prefix_alone,
        days,
        lone_markers,
        noncurrent,
        upload_days,
    };
    Ok(rule)
}

/// The prefix of a filter, where it asks for nothing else.
fn filtered(filter: LifecycleRuleFilter) -> Result<String> {
    let asks_more = filter.tag.is_some()
        || filter.object_size_greater_than.is_some()
        || filter.object_size_less_than.is_some();
    if asks_more || filter.and.is_some() {
        return Err(not_implemented("lifecycle filters by tag or size"));
    }
    Ok(filter.prefix.unwrap_or_default())
}

fn positive(number: i32) -> Result<u32> {
    match u32::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(s3_error!(InvalidArgument, "Days and counts must be positive integers").into()),
    }
}

fn told(rule: &settings::LifecycleRule) -> LifecycleRule {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let prefix = Some(rule.prefix.clone());
    let (prefix, filter) = match rule.prefix_alone {
        true => (prefix, None),
        false => (None, Some(LifecycleRuleFilter { prefix, ..LifecycleRuleFilter::default() })),
    };
    let expires = rule.days.is_some() || rule.lone_markers;
    LifecycleRule {
        abort_incomplete_multipart_upload: rule.upload_days.map(|days| {
            AbortIncompleteMultipartUpload { days_after_initiation: Some(number(days)) }
        }),
        expiration: expires.then(|| LifecycleExpiration {
            days: rule.days.map(number),
            expired_object_delete_marker: rule.lone_markers.then_some(true),
            ..LifecycleExpiration::default()
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

fn malformed() -> Error {
    s3_error!(
        MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema"
    )
    .into()
}
