//! `HeadBucket`, `GetBucketLocation`, and whether a bucket keeps versions.

use s3s::dto::{
    BucketLocationConstraint, BucketVersioningStatus, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput,
    HeadBucketOutput, MFADelete, PutBucketVersioningInput, PutBucketVersioningOutput,
    VersioningConfiguration,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::refuse;
use crate::data::settings::{Settings, Versioning};
use crate::error::Result;
use crate::service::Service;

/// Has no location constraint, for ever.
const FIRST_REGION: &str = "us-east-1";

pub async fn head(
    service: &Service,
    request: S3Request<HeadBucketInput>,
) -> Result<S3Response<HeadBucketOutput>> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(service.region.to_string()),
        ..HeadBucketOutput::default()
    }))
}

pub async fn location(
    service: &Service,
    request: S3Request<GetBucketLocationInput>,
) -> Result<S3Response<GetBucketLocationOutput>> {
    service.bucket(&request.input.bucket)?;
    let region = Some(service.region.to_string()).filter(|region| region != FIRST_REGION);
    let location_constraint = region.map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

pub async fn versioning(
    service: &Service,
    request: S3Request<GetBucketVersioningInput>,
) -> Result<S3Response<GetBucketVersioningOutput>> {
    let status = match service.bucket(&request.input.bucket)?.versioning() {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    }))
}

/// Begins to keep versions, or suspends it; those that are there stay.
pub async fn set_versioning(
    service: &Service,
    request: S3Request<PutBucketVersioningInput>,
) -> Result<S3Response<PutBucketVersioningOutput>> {
    let VersioningConfiguration { status, mfa_delete } = request.input.versioning_configuration;
    let wants_mfa = mfa_delete.is_some_and(|delete| delete.as_str() == MFADelete::ENABLED);
    refuse(&[(wants_mfa, "MFA delete")])?;
    let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            let what = "The Versioning element must be specified";
            return Err(s3_error!(IllegalVersioningConfigurationException, "{}", what).into());
        }
    };
    let bucket = service.bucket(&request.input.bucket)?;
    let set = |settings: &mut Settings| {
        if settings.locking.is_some() && versioning != Versioning::Enabled {
            return Err(s3_error!(
                InvalidBucketState,
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
            )
            .into());
        }
        settings.versioning = versioning;
        Ok(())
    };
    service.catalogue.change_settings(&bucket, set).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
