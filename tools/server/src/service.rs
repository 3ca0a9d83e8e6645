//! The operations of S3, each in a file of its own below [`ops`]. What has none answers
//! `NotImplemented`.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::access::Access;
use crate::data::{Bucket, Catalogue};
use crate::error::Result;
use crate::ops;

/// What requests may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of an object that is put at once.
    pub max_put_bytes: u64,
    /// Bytes of a part, the last apart, at least.
    pub min_part_bytes: u64,
}

/// Answers S3's operations on a catalogue of buckets.
#[derive(Clone, Debug)]
pub struct Service {
    pub catalogue: Arc<Catalogue>,
    pub access: Access,
    pub limits: Limits,
    pub region: Arc<str>,
}

impl Service {
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        self.catalogue.get(name)
    }
}

macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident, $call:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    Ok($call(self, request).await?)
                }
            )*
        }
    };
}

operations! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, ops::abort_upload::call;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, ops::complete_upload::call;
    copy_object: CopyObjectInput => CopyObjectOutput, ops::copy_object::call;
    create_bucket: CreateBucketInput => CreateBucketOutput, ops::create_bucket::call;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, ops::create_upload::call;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput, ops::cors::delete;
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput, ops::bucket_settings::no_encryption;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, ops::lifecycle::delete;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, ops::bucket_settings::no_policy;
    delete_bucket_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput, ops::bucket_settings::no_replication;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput, ops::tagging::delete_of_bucket;
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, ops::bucket_settings::no_website;
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, ops::bucket_settings::no_public_access_block;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, ops::delete_bucket::call;
    delete_object: DeleteObjectInput => DeleteObjectOutput, ops::delete_object::call;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, ops::delete_objects::call;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, ops::tagging::delete;
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, ops::bucket_settings::accelerate;
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput, ops::acl::of_bucket;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput, ops::cors::get;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, ops::bucket_settings::encryption;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, ops::lifecycle::get;
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, ops::bucket_settings::logging;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, ops::bucket_settings::notifications;
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, ops::bucket_settings::ownership;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, ops::bucket_settings::policy;
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, ops::bucket_settings::policy_status;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput, ops::bucket_settings::replication;
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, ops::bucket_settings::request_payment;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput, ops::tagging::of_bucket;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, ops::bucket_settings::website;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput, ops::acl::of_object;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput, ops::object_lock::get;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput, ops::object_lock::legal_hold;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput, ops::object_lock::retention;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, ops::bucket_settings::public_access_block;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, ops::bucket_facts::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, ops::bucket_facts::versioning;
    get_object: GetObjectInput => GetObjectOutput, ops::get_object::call;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, ops::object_attributes::call;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, ops::tagging::get;
    head_bucket: HeadBucketInput => HeadBucketOutput, ops::bucket_facts::head;
    head_object: HeadObjectInput => HeadObjectOutput, ops::head_object::call;
    list_buckets: ListBucketsInput => ListBucketsOutput, ops::list_buckets::call;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, ops::list_uploads::call;
    list_objects: ListObjectsInput => ListObjectsOutput, ops::list_objects::first;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, ops::list_objects::second;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, ops::list_versions::call;
    list_parts: ListPartsInput => ListPartsOutput, ops::list_parts::call;
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput, ops::acl::set_of_bucket;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput, ops::cors::put;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput, ops::lifecycle::put;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput, ops::tagging::put_of_bucket;
    put_object_acl: PutObjectAclInput => PutObjectAclOutput, ops::acl::set_of_object;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, ops::bucket_facts::set_versioning;
    put_object: PutObjectInput => PutObjectOutput, ops::put_object::call;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput, ops::object_lock::set_legal_hold;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput, ops::object_lock::put;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput, ops::object_lock::set_retention;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, ops::tagging::put;
    upload_part: UploadPartInput => UploadPartOutput, ops::upload_part::call;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, ops::upload_part_copy::call;
}
