//! `CreateBucket`.

use s3s::dto::{CreateBucketInput, CreateBucketOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{check_acl, check_grants};
use crate::data::locks::Locking;
use crate::data::settings::{Settings, Versioning};
use crate::error::Result;
use crate::service::Service;

pub async fn call(
    service: &Service,
    request: S3Request<CreateBucketInput>,
) -> Result<S3Response<CreateBucketOutput>> {
    let input = request.input;
    check_acl(input.acl.as_ref().map(|acl| acl.as_str()))?;
    check_grants(&[
        &input.grant_full_control,
        &input.grant_read,
        &input.grant_read_acp,
        &input.grant_write,
        &input.grant_write_acp,
    ])?;
    let asked = input.create_bucket_configuration.and_then(|asked| asked.location_constraint);
    if asked.is_some_and(|asked| *asked.as_str() != *service.region) {
        return Err(s3_error!(
            IllegalLocationConstraintException,
            "The location constraint is not the region of this server, which is {}",
            service.region
        )
        .into());
    }
    let mut settings = Settings::default();
    if input.object_lock_enabled_for_bucket == Some(true) {
        // Only versions can be locked.
        settings.versioning = Versioning::Enabled;
        settings.locking = Some(Locking::default());
    }
    service.catalogue.create_with(&input.bucket, settings).await?;
    let location = Some(format!("/{}", input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}
