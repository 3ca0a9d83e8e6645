//! Traces for OpenTelemetry, where a collector is named: a span for each request, from its header to
//! the end of its answer, in the trace that the client says it belongs to (`traceparent`).
//!
//! Spans are sent by a thread of their own, in batches. Where the collector is away they are dropped;
//! no request waits for it.
//!
//! They go as OTLP in its JSON form, which is written here: the crate that does so needs one for
//! protobuf in any case, with which RocksDB would be compiled twice.

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, SpanId, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use serde::Deserialize;
use serde_json::json;

use crate::metrics::is_failure;

/// Where spans go, and how many.
#[derive(Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct TraceOptions {
    /// A collector that takes OTLP by HTTP, for example `http://127.0.0.1:4318`.
    pub collector: String,
    /// The share of requests that are traced, 0 to 1; those whose clients have decided go by that.
    #[serde(default = "all")]
    pub sample: f64,
}

/// The longest that a batch may take to be sent, and what is left at the end.
const TIMEOUT: Duration = Duration::from_secs(5);
const SCHEME: &str = "http://";
const SERVICE: &str = "kogia-server";
/// Numbers of OTLP.
const SERVER_KIND: u8 = 2;
const ERROR_STATUS: u8 = 2;
/// Where collectors take spans, unless they are told otherwise.
const PATH: &str = "/v1/traces";

/// Makes spans of requests.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request that is over.
pub struct Answered<'a> {
    pub began: SystemTime,
    pub method: &'a str,
    pub path: &'a str,
    pub operation: &'a str,
    pub id: &'a str,
    pub peer: String,
    pub status: u16,
    pub sent: u64,
}

fn all() -> f64 {
    1.0
}

impl TraceOptions {
    /// All spans, to a collector.
    #[must_use]
    pub fn to(collector: &str) -> Self {
        TraceOptions { collector: collector.to_owned(), sample: all() }
    }

    /// Refuses what can't be.
    pub fn check(&self) -> Result<(), String> {
        let host = self.collector.strip_prefix(SCHEME).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') {
            let what = "a collector speaks plain HTTP, as in http://127.0.0.1:4318";
            return Err(format!("traces.collector {}: {what}", self.collector));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            return Err(format!("traces.sample is a share, 0 to 1, not {}", self.sample));
        }
        Ok(())
    }

    fn endpoint(&self) -> String {
        let (_, host) = self.collector.split_at(SCHEME.len());
        match host.split_once('/') {
            Some((_, path)) if !path.is_empty() => self.collector.clone(),
            _ => format!("{}{PATH}", self.collector.trim_end_matches('/')),
        }
    }
}

/// Sends batches, in the thread that makes them.
#[derive(Debug)]
struct Collector {
    agent: ureq::Agent,
    endpoint: String,
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans: Vec<_> = batch.iter().map(span).collect();
        let service = attribute("service.name", &Value::from(SERVICE));
        let sent = json!({
            "resourceSpans": [{
                "resource": { "attributes": [service] },
                "scopeSpans": [{ "scope": { "name": SERVICE }, "spans": spans }],
            }],
        });
        let request = self.agent.post(&self.endpoint).header("content-type", "application/json");
        let answer = request.send(sent.to_string());
        answer.map(drop).map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
    }
}

/// A span as OTLP has it in JSON: ids in hexadecimal, 64-bit numbers as text.
fn span(span: &SpanData) -> serde_json::Value {
    let nanos = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        since.as_nanos().to_string()
    };
    let context = &span.span_context;
    let parent = Some(span.parent_span_id).filter(|parent| *parent != SpanId::INVALID);
    let attributes =
        span.attributes.iter().map(|given| attribute(given.key.as_str(), &given.value));
    json!({
        "traceId": context.trace_id().to_string(),
        "spanId": context.span_id().to_string(),
        "parentSpanId": parent.map_or_else(String::new, |parent| parent.to_string()),
        "flags": context.trace_flags().to_u8(),
        "name": span.name,
        "kind": SERVER_KIND,
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes.collect::<Vec<_>>(),
        "status": match span.status {
            Status::Error { .. } => json!({ "code": ERROR_STATUS }),
            Status::Ok | Status::Unset => json!({}),
        },
    })
}

fn attribute(key: &str, value: &Value) -> serde_json::Value {
    let value = match value {
        Value::I64(number) => json!({ "intValue": number.to_string() }),
        other => json!({ "stringValue": other.as_str() }),
    };
    json!({ "key": key, "value": value })
}

impl Traces {
    /// Begins to send spans.
    #[must_use]
    pub fn to(options: &TraceOptions) -> Self {
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build();
        let collector = Collector { agent: agent.into(), endpoint: options.endpoint() };
        let own = Sampler::TraceIdRatioBased(options.sample);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(collector)
            .with_sampler(Sampler::ParentBased(Box::new(own)))
            .build();
        Traces { tracer: provider.tracer(SERVICE), provider }
    }

    /// The trace that a request belongs to, by its headers.
    #[must_use]
    pub fn parent(headers: &HeaderMap) -> Context {
        TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(headers))
    }

    /// Makes a span of a request that is over.
    pub fn record(&self, parent: &Context, request: Answered<'_>) {
        let builder = self
            .tracer
            .span_builder(request.operation.to_owned())
            .with_kind(SpanKind::Server)
            .with_start_time(request.began)
            .with_attributes([
                KeyValue::new("http.request.method", request.method.to_owned()),
                KeyValue::new("url.path", request.path.to_owned()),
                KeyValue::new("http.response.status_code", i64::from(request.status)),
                KeyValue::new(
                    "http.response.body.size",
                    i64::try_from(request.sent).unwrap_or(i64::MAX),
                ),
                KeyValue::new("client.address", request.peer),
                KeyValue::new("rpc.system", "aws-api"),
                KeyValue::new("rpc.service", "S3"),
                KeyValue::new("rpc.method", request.operation.to_owned()),
                KeyValue::new("aws.request_id", request.id.to_owned()),
            ]);
        let mut span = self.tracer.build_with_context(builder, parent);
        if is_failure(request.status) {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Sends what is left.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_take_spans_at_a_path_of_their_own_or_the_usual_one() {
        for (collector, endpoint) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("http://c/otlp/v1/traces", "http://c/otlp/v1/traces"),
        ] {
            assert_eq!(TraceOptions::to(collector).check(), Ok(()));
            assert_eq!(TraceOptions::to(collector).endpoint(), endpoint);
        }
        for wrong in ["c:4318", "https://c:4318", "http://", "http:///v1/traces", ""] {
            assert!(TraceOptions::to(wrong).check().is_err(), "{wrong}");
        }
        assert!(TraceOptions { sample: 1.5, ..TraceOptions::to("http://c") }.check().is_err());
    }
}
