//! Access control lists, of which there is one: everything belongs to one owner, who may do everything.
//! Who else may do what is in the server's settings.

use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput,
    GetObjectAclOutput, Grant, Grantee, Permission, PutBucketAclInput, PutBucketAclOutput,
    PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::{check_acl, check_grants, not_implemented};
use super::{found, told};
use crate::access::OWNER;
use crate::data::blocking;
use crate::error::Result;
use crate::service::Service;

/// Fails where an input sets another list than the one that there is.
macro_rules! check {
    ($input:expr) => {
        check_acl($input.acl.as_ref().map(|acl| acl.as_str()))?;
        check_policy($input.access_control_policy.as_ref())?;
        check_grants(&[
            &$input.grant_full_control,
            &$input.grant_read,
            &$input.grant_read_acp,
            &$input.grant_write,
            &$input.grant_write_acp,
        ])?;
        if $input.acl.is_none() && $input.access_control_policy.is_none() {
            return Err(s3_error!(
                MissingSecurityHeader,
                "Your request was missing a required header"
            )
            .into());
        }
    };
}

pub async fn of_bucket(
    service: &Service,
    request: S3Request<GetBucketAclInput>,
) -> Result<S3Response<GetBucketAclOutput>> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketAclOutput {
        grants: Some(vec![everything()]),
        owner: Some(told::owner()),
    }))
}

pub async fn of_object(
    service: &Service,
    request: S3Request<GetObjectAclInput>,
) -> Result<S3Response<GetObjectAclOutput>> {
    let input = request.input;
    exists(service, &input.bucket, input.key, input.version_id.as_deref()).await?;
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(vec![everything()]),
        owner: Some(told::owner()),
        ..GetObjectAclOutput::default()
    }))
}

pub async fn set_of_bucket(
    service: &Service,
    request: S3Request<PutBucketAclInput>,
) -> Result<S3Response<PutBucketAclOutput>> {
    let input = request.input;
    service.bucket(&input.bucket)?;
    check!(input);
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

pub async fn set_of_object(
    service: &Service,
    request: S3Request<PutObjectAclInput>,
) -> Result<S3Response<PutObjectAclOutput>> {
    let input = request.input;
    check!(input);
    exists(service, &input.bucket, input.key, input.version_id.as_deref()).await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

async fn exists(service: &Service, bucket: &str, key: String, version: Option<&str>) -> Result<()> {
    let which = told::which(version)?;
    let bucket = service.bucket(bucket)?;
    blocking(move || found::place(&bucket, &key, which).map(drop)).await
}

/// One that says what is so anyway is taken.
fn check_policy(policy: Option<&AccessControlPolicy>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    let grants = policy.grants.as_deref().unwrap_or_default();
    let owner = policy.owner.as_ref().and_then(|owner| owner.id.as_deref());
    let is_of_owner = owner.is_none_or(|id| id == OWNER);
    let is_ours = |grant: &Grant| {
        let to_owner = grant.grantee.as_ref().is_some_and(|to| to.id == told::owner().id);
        to_owner
            && grant.permission.as_ref().is_some_and(|p| p.as_str() == Permission::FULL_CONTROL)
    };
    if is_of_owner && !grants.is_empty() && grants.iter().all(is_ours) {
        Ok(())
    } else {
        Err(not_implemented("access control lists"))
    }
}

fn everything() -> Grant {
    let owner = told::owner();
    Grant {
        grantee: Some(Grantee {
            display_name: owner.display_name,
            email_address: None,
            id: owner.id,
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }
}
