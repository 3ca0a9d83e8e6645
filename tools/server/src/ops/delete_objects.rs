//! `DeleteObjects`: all that have no condition of their own in one batch, with one sync.

use kogia::{Batch, Store};
use s3s::dto::{
    self, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, s3_error};

use super::carried::not_implemented;
use super::{delete_object, told};
use crate::conditions::WriteConditions;
use crate::data::buckets::Bucket;
use crate::data::keys::BucketId;
use crate::data::{blocking, keys, tags};
use crate::error::Result;
use crate::service::Service;

const MAX_KEYS: usize = 1000;
const MAX_KEY_BYTES: usize = 1024;

pub async fn call(
    service: &Service,
    request: S3Request<DeleteObjectsInput>,
) -> Result<S3Response<DeleteObjectsOutput>> {
    let input = request.input;
    let bucket = service.bucket(&input.bucket)?;
    let asked = input.delete.objects;
    if asked.is_empty() || asked.len() > MAX_KEYS {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        )
        .into());
    }
    let entered = bucket.enter().await?;
    let outcomes = blocking(move || {
        let outcomes = delete(&bucket, asked);
        drop(entered);
        outcomes
    })
    .await?;
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, outcome) in outcomes {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
            Err(error) => errors.push(tell(key, error.into())),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

fn tell(key: String, error: S3Error) -> dto::Error {
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id: None,
    }
}

type Outcomes = Vec<(String, Result<()>)>;

fn delete(bucket: &Bucket, asked: Vec<ObjectIdentifier>) -> Result<Outcomes> {
    let (mut batch, mut outcomes) = (Batch::new(), Outcomes::new());
    for object in asked {
        let outcome = match check(&object) {
            Ok(()) if object.e_tag.is_some() => delete_alone(bucket, &object),
            Ok(()) => add(&mut batch, &bucket.store, bucket.id, &object.key),
            Err(error) => Err(error),
        };
        outcomes.push((object.key, outcome));
    }
    bucket.store.write(batch)?;
    Ok(outcomes)
}

fn check(object: &ObjectIdentifier) -> Result<()> {
    told::check_version(object.version_id.as_deref())?;
    if object.key.is_empty() || object.key.len() > MAX_KEY_BYTES {
        return Err(s3_error!(KeyTooLongError, "Your key is too long, or empty").into());
    }
    if object.size.is_some() || object.last_modified_time.is_some() {
        return Err(not_implemented("conditions on size and time"));
    }
    Ok(())
}

/// What is not there needs no tombstone.
fn add(batch: &mut Batch, store: &Store, bucket: BucketId, key: &str) -> Result<()> {
    let row = keys::object(bucket, key);
    if store.exists(&row)? {
        batch.delete(row);
    }
    if tags::has_row(store, bucket, key)? {
        batch.delete(keys::tags(bucket, key));
    }
    Ok(())
}

fn delete_alone(bucket: &Bucket, object: &ObjectIdentifier) -> Result<()> {
    let conditions = WriteConditions {
        if_match: object.e_tag.clone().map(ETagCondition::ETag),
        if_none_match: None,
    };
    let found = bucket.store.head(keys::object(bucket.id, &object.key))?;
    let condition = conditions.resolve(found.as_ref())?;
    delete_object::delete(&bucket.store, bucket.id, &object.key, condition)
        .map_err(|error| conditions.lost_race(error))
}
