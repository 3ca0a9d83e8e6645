//! `ListBuckets`: those that the caller may read.

use s3s::dto::{Bucket, ListBucketsInput, ListBucketsOutput};
use s3s::{S3Request, S3Response, s3_error};

use super::told;
use crate::access::Right;
use crate::error::Result;
use crate::service::Service;

const MAX_BUCKETS: i32 = 10_000;

pub async fn call(
    service: &Service,
    request: S3Request<ListBucketsInput>,
) -> Result<S3Response<ListBucketsOutput>> {
    let S3Request { input, credentials, .. } = request;
    let most = match input.max_buckets {
        Some(most) if !(1..=MAX_BUCKETS).contains(&most) => {
            return Err(s3_error!(InvalidArgument, "max-buckets is 1 to 10000").into());
        }
        most => usize::try_from(most.unwrap_or(MAX_BUCKETS)).unwrap_or(usize::MAX),
    };
    let prefix = input.prefix.unwrap_or_default();
    let after = input.continuation_token.unwrap_or_default();
    let all = service.catalogue.all();
    let mut shown = all
        .iter()
        .filter(|bucket| bucket.name.starts_with(&prefix) && *bucket.name > *after)
        .filter(|bucket| service.access.allows(credentials.as_ref(), &bucket.name, Right::Read));
    let buckets: Vec<_> = shown
        .by_ref()
        .take(most)
        .map(|bucket| Bucket {
            bucket_region: Some(service.region.to_string()),
            creation_date: Some(told::time(bucket.created_ms)),
            name: Some(bucket.name.to_string()),
        })
        .collect();
    let continuation_token = match shown.next() {
        Some(_) => buckets.last().and_then(|bucket| bucket.name.clone()),
        None => None,
    };
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token,
        owner: Some(told::owner()),
        prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
    }))
}
