//! Object lock: which buckets have it, and what their versions are kept by.

use hyper::StatusCode;
use s3s::auth::Credentials;
use s3s::dto::{
    DefaultRetention, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput, Timestamp,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::malformed;
use super::found::place;
use super::told;
use crate::access::Right;
use crate::data::buckets::{Bucket, now_ms};
use crate::data::locks::{
    self, DefaultRetention as ByDefault, Lock, Locking, Mode, Period, Retention,
};
use crate::data::settings::{Settings, Versioning};
use crate::data::{blocking, versions};
use crate::error::{Error, Result, of_code};
use crate::service::Service;

const ON: &str = ObjectLockLegalHoldStatus::ON;
const OFF: &str = ObjectLockLegalHoldStatus::OFF;
/// S3's own bounds are no tighter.
const MAX_DAYS: u32 = 36_500;
const MAX_YEARS: u32 = 100;

pub async fn get(
    service: &Service,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> Result<S3Response<GetObjectLockConfigurationOutput>> {
    let settings = service.bucket(&request.input.bucket)?.settings();
    let Some(locking) = settings.locking else {
        return Err(s3_error!(
            ObjectLockConfigurationNotFoundError,
            "Object Lock configuration does not exist for this bucket"
        )
        .into());
    };
    let number = |number: u32| Some(i32::try_from(number).unwrap_or(i32::MAX));
    let rule = locking.default.map(|ByDefault { mode, period }| {
        let (days, years) = match period {
            Period::Days(days) => (number(days), None),
            Period::Years(years) => (None, number(years)),
        };
        let default_retention = Some(DefaultRetention { days, mode: Some(told_mode(mode)), years });
        ObjectLockRule { default_retention }
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    Ok(S3Response::new(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration {
            object_lock_enabled: enabled,
            rule,
        }),
    }))
}

/// From then on versions can be locked, for good: whoever could end that could delete them.
pub async fn put(
    service: &Service,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> Result<S3Response<PutObjectLockConfigurationOutput>> {
    let input = request.input;
    let given = input.object_lock_configuration.ok_or_else(malformed)?;
    let enabled = given.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str);
    if enabled != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed());
    }
    let default = given.rule.map(default_retention).transpose()?;
    let set = |settings: &mut Settings| {
        if settings.versioning != Versioning::Enabled {
            return Err(s3_error!(
                InvalidBucketState,
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
            )
            .into());
        }
        settings.locking = Some(Locking { default });
        Ok(())
    };
    service.catalogue.change_settings(&service.bucket(&input.bucket)?, set).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

pub async fn retention(
    service: &Service,
    request: S3Request<GetObjectRetentionInput>,
) -> Result<S3Response<GetObjectRetentionOutput>> {
    let input = request.input;
    let lock = found(service, &input.bucket, input.key, input.version_id).await?;
    let Retention { mode, until_ms } = lock.retention.ok_or_else(no_lock)?;
    Ok(S3Response::new(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(told_mode(mode)),
            retain_until_date: Some(told::time(until_ms)),
        }),
    }))
}

/// Keeps a version for longer, or by leave of who may for less long.
pub async fn set_retention(
    service: &Service,
    request: S3Request<PutObjectRetentionInput>,
) -> Result<S3Response<PutObjectRetentionOutput>> {
    let S3Request { input, credentials, .. } = request;
    let given = input.retention.ok_or_else(malformed)?;
    let new = match (given.mode, given.retain_until_date) {
        // What is taken back is said to be: elements of another spelling look like none.
        (None, None) if input.bypass_governance_retention == Some(true) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_named(mode.as_str()).ok_or_else(malformed)?;
            Some(Retention { mode, until_ms: in_future(until)? })
        }
        _ => return Err(malformed()),
    };
    let bypasses =
        bypasses(service, credentials.as_ref(), &input.bucket, input.bypass_governance_retention);
    change(service, &input.bucket, input.key, input.version_id, move |lock| {
        if !lock.yields_to(new, now_ms(), bypasses) {
            return Err(versions::denied());
        }
        lock.retention = new;
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub async fn legal_hold(
    service: &Service,
    request: S3Request<GetObjectLegalHoldInput>,
) -> Result<S3Response<GetObjectLegalHoldOutput>> {
    let input = request.input;
    let lock = found(service, &input.bucket, input.key, input.version_id).await?;
    let status = Some(told_hold(lock.legal_hold.ok_or_else(no_lock)?));
    Ok(S3Response::new(GetObjectLegalHoldOutput {
        legal_hold: Some(ObjectLockLegalHold { status }),
    }))
}

pub async fn set_legal_hold(
    service: &Service,
    request: S3Request<PutObjectLegalHoldInput>,
) -> Result<S3Response<PutObjectLegalHoldOutput>> {
    let S3Request { input, credentials, .. } = request;
    let status = input.legal_hold.and_then(|hold| hold.status).ok_or_else(malformed)?;
    let on = hold_named(status.as_str()).ok_or_else(malformed)?;
    // Whoever may put may hold; to let go is for those who may end retentions.
    let lets_go = service.access.allows(credentials.as_ref(), &input.bucket, Right::Admin);
    change(service, &input.bucket, input.key, input.version_id, move |lock| {
        if lock.legal_hold == Some(true) && !on && !lets_go {
            return Err(versions::denied());
        }
        lock.legal_hold = Some(on);
        Ok(())
    })
    .await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// What a request asks of the lock of the version that it puts: the values of its three headers.
pub fn asked(
    bucket: &Bucket,
    mode: Option<&str>,
    until: Option<Timestamp>,
    hold: Option<&str>,
) -> Result<Lock> {
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(Lock::default());
    }
    locking(bucket)?;
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let unknown = || s3_error!(InvalidArgument, "Unknown wormMode directive");
            Some(Retention {
                mode: mode_named(mode).ok_or_else(unknown)?,
                until_ms: in_future(until)?,
            })
        }
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
            )
            .into());
        }
    };
    let legal_hold = match hold.map(hold_named) {
        None => None,
        Some(Some(on)) => Some(on),
        Some(None) => {
            return Err(
                s3_error!(InvalidArgument, "Legal Hold must be either of 'ON' or 'OFF'").into()
            );
        }
    };
    Ok(Lock { retention, legal_hold })
}

/// Whether a request that says so passes over retentions that may be passed over.
pub fn bypasses(
    service: &Service,
    credentials: Option<&Credentials>,
    bucket: &str,
    said: Option<bool>,
) -> bool {
    said == Some(true) && service.access.allows(credentials, bucket, Right::Admin)
}

pub fn told_mode(mode: Mode) -> ObjectLockRetentionMode {
    ObjectLockRetentionMode::from_static(match mode {
        Mode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        Mode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    })
}

pub fn told_hold(on: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(if on { ON } else { OFF })
}

async fn found(
    service: &Service,
    bucket: &str,
    key: String,
    version: Option<String>,
) -> Result<Lock> {
    let which = told::which(version.as_deref())?;
    let bucket = service.bucket(bucket)?;
    locking(&bucket)?;
    blocking(move || locks::of(&bucket.store, &place(&bucket, &key, which)?.row)).await
}

async fn change(
    service: &Service,
    bucket: &str,
    key: String,
    version: Option<String>,
    change: impl FnOnce(&mut Lock) -> Result<()> + Send + 'static,
) -> Result<()> {
    let which = told::which(version.as_deref())?;
    let bucket = service.bucket(bucket)?;
    locking(&bucket)?;
    let entered = bucket.enter().await?;
    blocking(move || {
        // Nobody deletes it meanwhile.
        let _alone = bucket.key(&key).lock();
        let place = place(&bucket, &key, which)?;
        if let Some(id) = place.id()
            && bucket.key(&key).is_pending(id)?
        {
            return Err(s3_error!(OperationAborted, "The version is not put yet. Try again.").into());
        }
        if place.is_plain() || place.version() == versions::NULL {
            return Err(s3_error!(
                InvalidRequest,
                "This object is from before its bucket kept versions, and can't be locked; copy its version `null` onto it"
            )
            .into());
        }
        let mut lock = locks::of(&bucket.store, &place.row)?;
        change(&mut lock)?;
        locks::set(&bucket.store, &place.row, lock)?;
        drop(entered);
        Ok(())
    })
    .await
}

fn locking(bucket: &Bucket) -> Result<Locking> {
    let missing = || s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration");
    Ok(bucket.settings().locking.ok_or_else(missing)?)
}

fn default_retention(rule: ObjectLockRule) -> Result<ByDefault> {
    let given = rule.default_retention.ok_or_else(malformed)?;
    let mode = given.mode.as_ref().and_then(|mode| mode_named(mode.as_str()));
    let period = match (given.days, given.years) {
        (Some(days), None) => Period::Days(period(days, MAX_DAYS)?),
        (None, Some(years)) => Period::Years(period(years, MAX_YEARS)?),
        _ => return Err(malformed()),
    };
    Ok(ByDefault { mode: mode.ok_or_else(malformed)?, period })
}

fn period(number: i32, most: u32) -> Result<u32> {
    match u32::try_from(number) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            let what = format!("Default retention period must be from 1 to {most}");
            Err(of_code("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, what).into())
        }
    }
}

fn in_future(until: Timestamp) -> Result<u64> {
    let ms = time::OffsetDateTime::from(until).unix_timestamp_nanos() / 1_000_000;
    match u64::try_from(ms) {
        Ok(ms) if ms > now_ms() => Ok(ms),
        _ => Err(s3_error!(InvalidArgument, "The retain until date must be in the future!").into()),
    }
}

fn mode_named(name: &str) -> Option<Mode> {
    match name {
        ObjectLockRetentionMode::GOVERNANCE => Some(Mode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(Mode::Compliance),
        _ => None,
    }
}

fn hold_named(name: &str) -> Option<bool> {
    match name {
        ON => Some(true),
        OFF => Some(false),
        _ => None,
    }
}

fn no_lock() -> Error {
    s3_error!(
        NoSuchObjectLockConfiguration,
        "The specified object does not have a ObjectLock configuration"
    )
    .into()
}
