//! Settings that no bucket has here. Clients ask for them, and want to be told so in S3's own words.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response};

use crate::error::Result;
use crate::service::Service;

/// What is said of a setting that is not there.
macro_rules! absent {
    ($($name:ident: $input:ident => $output:ident, $code:expr, $what:literal;)*) => {
        $(
            pub async fn $name(
                service: &Service,
                request: S3Request<$input>,
            ) -> Result<S3Response<$output>> {
                service.bucket(&request.input.bucket)?;
                let mut error = S3Error::with_message($code, $what);
                error.set_status_code(hyper::StatusCode::NOT_FOUND);
                Err(error.into())
            }
        )*
    };
}

/// What is said of a setting that is always the same, and of one that goes which was never there.
macro_rules! always {
    ($($name:ident: $input:ident => $output:ident, $said:expr;)*) => {
        $(
            pub async fn $name(
                service: &Service,
                request: S3Request<$input>,
            ) -> Result<S3Response<$output>> {
                service.bucket(&request.input.bucket)?;
                Ok(S3Response::new($said))
            }
        )*
    };
}

absent! {
    encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput,
        S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
        "The server side encryption configuration was not found";
    policy: GetBucketPolicyInput => GetBucketPolicyOutput,
        S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist";
    policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput,
        S3ErrorCode::NoSuchBucketPolicy, "The bucket policy does not exist";
    public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput,
        S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into()),
        "The public access block configuration was not found";
    replication: GetBucketReplicationInput => GetBucketReplicationOutput,
        S3ErrorCode::ReplicationConfigurationNotFoundError,
        "The replication configuration was not found";
    website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
        S3ErrorCode::NoSuchWebsiteConfiguration,
        "The specified bucket does not have a website configuration";
}

always! {
    accelerate: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput,
        GetBucketAccelerateConfigurationOutput::default();
    logging: GetBucketLoggingInput => GetBucketLoggingOutput, GetBucketLoggingOutput::default();
    notifications:
        GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput,
        GetBucketNotificationConfigurationOutput::default();
    ownership: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, owned();
    no_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput,
        DeleteBucketEncryptionOutput::default();
    no_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput,
        DeleteBucketPolicyOutput::default();
    no_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput,
        DeletePublicAccessBlockOutput::default();
    no_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput,
        DeleteBucketReplicationOutput::default();
    no_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput,
        DeleteBucketWebsiteOutput::default();
    request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput,
        GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) };
}

fn owned() -> GetBucketOwnershipControlsOutput {
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let rules = vec![OwnershipControlsRule { object_ownership }];
    GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) }
}
