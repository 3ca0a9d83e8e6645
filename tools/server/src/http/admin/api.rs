//! The JSON interface.
//!
//! | | |
//! | --- | --- |
//! | `GET /api/stats` | what the partitions hold: counters, disks, tracks, compaction |
//! | `GET /api/counters` | what clients did since the start |
//! | `GET /api/errors` | the last warnings and errors |
//! | `POST /api/compact`, `drain`, `rebalance`, `backup`, `verify`, `move-bucket` | starts a job, and tells its id (202) |
//! | `GET /api/jobs`, `GET /api/jobs/7` | jobs: state, progress, and in the end result or error |
//! | `DELETE /api/jobs/7` | cancels one |
//! | `POST /api/add-disk`, `keep-disk` | does so at once |
//! | `GET /api/buckets` | all buckets |
//! | `GET /api/objects?bucket=` | a page: `prefix`, `delimiter`, `after`, `max_keys` |
//! | `GET /api/object?bucket=&key=` | facts about an object |
//! | `GET /api/download?bucket=&key=` | its bytes |
//!
//! What goes wrong is `{"error": {"kind": ..., "message": ...}}`, with [`FaultKind`]'s names.

use std::collections::HashMap;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::Body;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Admin;
use crate::admin::browse::{self, Asked};
use crate::admin::work::Task;
use crate::admin::{Fault, FaultKind, disks, told};
use crate::bodies::outgoing;
use crate::data::blocking;

/// A request's body, at most.
const BODY_BYTES: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Result<Response<Body>, Fault>;
type Query = HashMap<String, String>;

pub async fn answer(admin: &Admin, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let name = path.strip_prefix("/api/").unwrap_or_default();
    let Some(allowed) = allowed(name) else {
        return refused(&Fault::not_found(format!("there is no {path}")));
    };
    if !allowed.split(", ").any(|method| method == request.method().as_str()) {
        let fault = Fault::invalid(format!("{path} takes {allowed}"));
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &fault);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return response;
    }
    let answered = match *request.method() {
        Method::GET | Method::HEAD => tell(admin, name, request.uri().query()).await,
        Method::DELETE => job_id(name).and_then(|id| Ok(ok(&json!(admin.jobs.cancel(id)?)))),
        _ => act(admin, name, request).await,
    };
    answered.unwrap_or_else(|fault| refused(&fault))
}

/// The methods that a path takes; `None` for one that there is not.
fn allowed(name: &str) -> Option<&'static str> {
    match name {
        "stats" | "counters" | "errors" | "jobs" | "buckets" | "objects" | "object"
        | "download" => Some("GET, HEAD"),
        "compact" | "drain" | "rebalance" | "backup" | "verify" | "move-bucket" | "add-disk"
        | "keep-disk" => Some("POST"),
        _ if name.starts_with("jobs/") => Some("GET, HEAD, DELETE"),
        _ => None,
    }
}

async fn tell(admin: &Admin, name: &str, query: Option<&str>) -> Answer {
    let catalogue = admin.catalogue.clone();
    match name {
        "stats" => Ok(ok(&blocking(move || told::stats(catalogue.partitions())).await?)),
        "counters" => Ok(ok(&json!(admin.metrics.counts()))),
        "errors" => Ok(ok(&json!({ "errors": admin.recent.all() }))),
        "jobs" => Ok(ok(&json!({ "jobs": admin.jobs.all() }))),
        "buckets" => Ok(ok(&browse::buckets(&catalogue))),
        "objects" => objects(admin, query).await,
        "object" => object(admin, query).await,
        "download" => download(admin, query).await,
        _ => Ok(ok(&json!(admin.jobs.get(job_id(name)?)?))),
    }
}

async fn act(admin: &Admin, name: &str, request: Request<Incoming>) -> Answer {
    let body = read(request.into_body()).await?;
    let task = match name {
        "compact" => Task::Compact(parse(&body)?),
        "drain" => Task::Drain(parse(&body)?),
        "rebalance" => Task::Rebalance(parse(&body)?),
        "backup" => Task::Backup(parse(&body)?),
        "verify" => Task::Verify(parse(&body)?),
        "move-bucket" => Task::MoveBucket(parse(&body)?, admin.catalogue.clone()),
        _ => return change_disks(admin, name, &body).await,
    };
    let (catalogue, jobs) = (admin.catalogue.clone(), admin.jobs.clone());
    let job = blocking(move || {
        task.check(catalogue.partitions())?;
        jobs.start(task, catalogue.partitions())
    })
    .await?;
    let mut response = with_status(StatusCode::ACCEPTED, &json!(job));
    if let Ok(place) = HeaderValue::from_str(&format!("/api/jobs/{}", job.id)) {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AddDisk {
    /// An absolute path on the server's machine.
    dir: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepDisk {
    /// Its directory, or its id or how that begins.
    disk: String,
}

async fn change_disks(admin: &Admin, name: &str, body: &[u8]) -> Answer {
    let catalogue = admin.catalogue.clone();
    let id = match name {
        "add-disk" => {
            let AddDisk { dir } = parse(body)?;
            let id = blocking(move || disks::add(catalogue.partitions(), &dir)).await?;
            tracing::info!(%id, "a disk was added");
            id
        }
        _ => {
            let KeepDisk { disk } = parse(body)?;
            blocking(move || disks::keep(catalogue.partitions(), &disk)).await?
        }
    };
    Ok(ok(&json!({ "id": id.to_string() })))
}

async fn objects(admin: &Admin, query: Option<&str>) -> Answer {
    let mut query = fields(query, &["bucket", "prefix", "delimiter", "after", "max_keys"])?;
    let bucket = admin.catalogue.get(&required(&mut query, "bucket")?)?;
    let max_keys = match query.remove("max_keys") {
        None => browse::MAX_KEYS,
        Some(number) => number
            .parse()
            .ok()
            .filter(|number| (1..=browse::MAX_KEYS).contains(number))
            .ok_or_else(|| Fault::invalid(format!("max_keys is 1 to {}", browse::MAX_KEYS)))?,
    };
    let mut given = |name: &str| query.remove(name).filter(|value| !value.is_empty());
    let asked = Asked {
        prefix: given("prefix").unwrap_or_default(),
        delimiter: given("delimiter"),
        after: given("after"),
        max_keys,
    };
    Ok(ok(&blocking(move || browse::objects(&bucket, &asked)).await?))
}

async fn object(admin: &Admin, query: Option<&str>) -> Answer {
    let mut query = fields(query, &["bucket", "key"])?;
    let bucket = admin.catalogue.get(&required(&mut query, "bucket")?)?;
    let key = required(&mut query, "key")?;
    let found = blocking(move || browse::object(&bucket, &key)).await?;
    Ok(ok(&found.ok_or_else(|| Fault::not_found("there is no such object"))?))
}

/// Always to be saved, and of no type: what clients have put is not shown in this origin.
async fn download(admin: &Admin, query: Option<&str>) -> Answer {
    let mut query = fields(query, &["bucket", "key"])?;
    let bucket = admin.catalogue.get(&required(&mut query, "bucket")?)?;
    let key = required(&mut query, "key")?;
    let name = key.rsplit('/').find(|part| !part.is_empty()).unwrap_or("object");
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    let (reader, len) = blocking(move || {
        let reader = browse::open(&bucket, &key)?;
        let len = reader.info().len;
        Ok::<_, Fault>((reader, len))
    })
    .await?;
    let mut response = Response::new(Body::from(outgoing(reader, len)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    if let Ok(saved) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(CONTENT_DISPOSITION, saved);
    }
    Ok(response)
}

async fn read(body: Incoming) -> Result<Bytes, Fault> {
    let whole = Limited::new(body, BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(Fault::invalid(format!("the body: {error}"))),
        Err(_) => Err(Fault::invalid("the body did not come to its end in time")),
    }
}

/// No body is as good as `{}`; an array, which serde takes as well, is not.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice::<serde_json::Map<String, Value>>(body)
        .and_then(|fields| serde_json::from_value(fields.into()))
        .map_err(|error| Fault::invalid(format!("the body: {error}")))
}

fn fields(query: Option<&str>, known: &[&str]) -> Result<Query, Fault> {
    let mut fields = Query::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !known.contains(&&*name) {
            return Err(Fault::invalid(format!("{name:?} is none of {}", known.join(", "))));
        }
        fields.insert(name.into_owned(), value.into_owned());
    }
    Ok(fields)
}

fn required(query: &mut Query, name: &str) -> Result<String, Fault> {
    let given = query.remove(name).filter(|value| !value.is_empty());
    given.ok_or_else(|| Fault::invalid(format!("{name} is needed")))
}

fn job_id(name: &str) -> Result<u64, Fault> {
    let id = name.strip_prefix("jobs/").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Fault::not_found("a job is named by its number"))
}

fn ok(told: &Value) -> Response<Body> {
    with_status(StatusCode::OK, told)
}

fn with_status(status: StatusCode, told: &Value) -> Response<Body> {
    super::text(status, "application/json", format!("{told}\n"))
}

fn refused(fault: &Fault) -> Response<Body> {
    let status = match fault.kind {
        FaultKind::Invalid => StatusCode::BAD_REQUEST,
        FaultKind::NotFound => StatusCode::NOT_FOUND,
        FaultKind::Exists | FaultKind::Busy | FaultKind::Disk => StatusCode::CONFLICT,
        FaultKind::Full => StatusCode::INSUFFICIENT_STORAGE,
        FaultKind::Damage | FaultKind::Io => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(status, fault)
}

pub(super) fn refusal(status: StatusCode, fault: &Fault) -> Response<Body> {
    with_status(status, &json!({ "error": fault }))
}
