//! `DeleteObjects`: all that have no condition of their own in one batch, with one sync.

use kogia::Batch;
use s3s::dto::{
    self, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, s3_error};

use super::carried::{malformed, not_implemented};
use super::delete_object::{self, Deleted};
use super::object_lock::bypasses;
use super::told;
use crate::conditions::WriteConditions;
use crate::data::buckets::Bucket;
use crate::data::settings::Versioning;
use crate::data::versions::Which;
use crate::data::{blocking, tags};
use crate::error::Result;
use crate::service::Service;

const MAX_KEYS: usize = 1000;
const MAX_KEY_BYTES: usize = 1024;

pub async fn call(
    service: &Service,
    request: S3Request<DeleteObjectsInput>,
) -> Result<S3Response<DeleteObjectsOutput>> {
    let S3Request { input, credentials, .. } = request;
    let said = input.bypass_governance_retention;
    let bypasses = bypasses(service, credentials.as_ref(), &input.bucket, said);
    let bucket = service.bucket(&input.bucket)?;
    let asked = input.delete.objects;
    if asked.is_empty() || asked.len() > MAX_KEYS {
        return Err(malformed());
    }
    let entered = bucket.enter().await?;
    let outcomes = blocking(move || {
        let outcomes = delete(&bucket, asked, bypasses);
        drop(entered);
        outcomes
    })
    .await?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(Deleted { is_marker, version }) => deleted.push(DeletedObject {
                delete_marker: is_marker.then_some(true),
                delete_marker_version_id: version.filter(|_| is_marker),
                key: Some(object.key),
                version_id: object.version_id,
            }),
            Err(error) => errors.push(tell(object, error.into())),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

fn tell(object: ObjectIdentifier, error: S3Error) -> dto::Error {
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(object.key),
        message: error.message().map(str::to_owned),
        version_id: object.version_id,
    }
}

type Outcomes = Vec<(ObjectIdentifier, Result<Deleted>)>;

fn delete(bucket: &Bucket, asked: Vec<ObjectIdentifier>, bypasses: bool) -> Result<Outcomes> {
    let (mut batch, mut outcomes) = (Batch::new(), Outcomes::new());
    let is_plain = bucket.versioning() == Versioning::Never;
    for object in asked {
        let outcome = check(&object).and_then(|which| {
            if is_plain && object.e_tag.is_none() && !matches!(which, Which::Id(_)) {
                tags::delete_with(&bucket.store, &mut batch, &bucket.key(&object.key).row())?;
                return Ok(Deleted::default());
            }
            let condition = object.e_tag.clone().map(ETagCondition::ETag);
            let conditions = WriteConditions { if_match: condition, if_none_match: None };
            delete_object::delete(bucket, &object.key, which, &conditions, bypasses)
        });
        outcomes.push((object, outcome));
    }
    bucket.store.write(batch)?;
    Ok(outcomes)
}

fn check(object: &ObjectIdentifier) -> Result<Which> {
    let which = told::which(object.version_id.as_deref())?;
    if object.key.is_empty() || object.key.len() > MAX_KEY_BYTES {
        return Err(s3_error!(KeyTooLongError, "Your key is too long, or empty").into());
    }
    if object.size.is_some() || object.last_modified_time.is_some() {
        return Err(not_implemented("conditions on size and time"));
    }
    Ok(which)
}
