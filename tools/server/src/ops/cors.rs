//! Which pages of other origins may ask a bucket for what. What comes of it is in
//! [`http::cors`](crate::http::cors).

use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Request, S3Response, s3_error};

use super::carried::malformed;
use crate::data::settings::{CorsRule, Settings};
use crate::error::{Error, Result};
use crate::service::Service;

const MAX_RULES: usize = 100;
/// Of all names together.
const MAX_BYTES: usize = 64 << 10;
const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

pub async fn get(
    service: &Service,
    request: S3Request<GetBucketCorsInput>,
) -> Result<S3Response<GetBucketCorsOutput>> {
    let settings = service.bucket(&request.input.bucket)?.settings();
    if settings.cors.is_empty() {
        let what = "The CORS configuration does not exist";
        return Err(s3_error!(NoSuchCORSConfiguration, "{}", what).into());
    }
    let cors_rules = Some(settings.cors.iter().map(told).collect());
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
}

pub async fn put(
    service: &Service,
    request: S3Request<PutBucketCorsInput>,
) -> Result<S3Response<PutBucketCorsOutput>> {
    let given = request.input.cors_configuration.cors_rules;
    if given.is_empty() || given.len() > MAX_RULES {
        return Err(malformed());
    }
    let rules = given.into_iter().map(rule).collect::<Result<Vec<_>>>()?;
    let texts =
        rules.iter().flat_map(|r| [&r.origins, &r.methods, &r.headers, &r.exposed]).flatten();
    if texts.map(|text| text.len() + 1).sum::<usize>() > MAX_BYTES {
        return Err(invalid("The CORS configuration is longer than 64 KiB".into()));
    }
    set(service, &request.input.bucket, rules).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub async fn delete(
    service: &Service,
    request: S3Request<DeleteBucketCorsInput>,
) -> Result<S3Response<DeleteBucketCorsOutput>> {
    set(service, &request.input.bucket, Vec::new()).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

async fn set(service: &Service, bucket: &str, rules: Vec<CorsRule>) -> Result<()> {
    let set = |settings: &mut Settings| {
        settings.cors = rules;
        Ok(())
    };
    service.catalogue.change_settings(&service.bucket(bucket)?, set).await
}

fn rule(given: CORSRule) -> Result<CorsRule> {
    let (headers, exposed) =
        (given.allowed_headers.unwrap_or_default(), given.expose_headers.unwrap_or_default());
    if let Some(method) = given.allowed_methods.iter().find(|m| !METHODS.contains(&m.as_str())) {
        return Err(invalid(format!("Found unsupported HTTP method in CORS config: {method}")));
    }
    if given.allowed_origins.is_empty() || given.allowed_methods.is_empty() {
        return Err(invalid("A CORS rule needs an origin and a method".into()));
    }
    let patterns = given.allowed_origins.iter().chain(&headers);
    if let Some(pattern) = patterns.into_iter().find(|text| text.matches('*').count() > 1) {
        return Err(invalid(format!("\"{pattern}\" can not have more than one wildcard")));
    }
    // They come back in headers.
    let texts = given.allowed_origins.iter().chain(&headers).chain(&exposed);
    if texts.into_iter().any(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(invalid("A CORS rule has a name that is none".into()));
    }
    let max_age_seconds = given.max_age_seconds.map(u32::try_from).transpose();
    Ok(CorsRule {
        id: given.id,
        origins: given.allowed_origins,
        methods: given.allowed_methods,
        headers,
        exposed,
        max_age_seconds: max_age_seconds
            .map_err(|_| invalid("MaxAgeSeconds can not be negative".into()))?,
    })
}

fn told(rule: &CorsRule) -> CORSRule {
    let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    CORSRule {
        allowed_headers: list(&rule.headers),
        allowed_methods: rule.methods.clone(),
        allowed_origins: rule.origins.clone(),
        expose_headers: list(&rule.exposed),
        id: rule.id.clone(),
        max_age_seconds: rule.max_age_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}

fn invalid(what: String) -> Error {
    s3_error!(InvalidRequest, "{}", what).into()
}
