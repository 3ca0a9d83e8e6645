//! What is counted, for Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use crate::data::Catalogue;
use crate::data::buckets::now_ms;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Request {
    operation: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OperationLabel {
    operation: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct PartitionLabel {
    partition: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DiskLabel {
    partition: u64,
    disk: String,
}

type PerPartition = Family<PartitionLabel, Gauge<u64, AtomicU64>>;
type PerDisk = Family<DiskLabel, Gauge<u64, AtomicU64>>;

/// All of it. Operations are S3's, and so their number is bounded.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<OperationLabel, Histogram>,
    requests_answered: AtomicU64,
    requests_failed: AtomicU64,
    received: Counter,
    sent: Counter,
    pub connections: Gauge,
    buckets: Gauge,
    objects: PerPartition,
    object_bytes: PerPartition,
    parts: PerPartition,
    available: PerDisk,
    failed: PerDisk,
}

/// What clients did since the start, in all.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    pub time_ms: u64,
    pub requests: u64,
    /// Of these, by a fault of the server's own, or of its disks.
    pub failed: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub connections: i64,
}

/// Whether a status says that the server failed, or its disks; what it does not do is no failure.
#[must_use]
pub fn is_failure(status: u16) -> bool {
    status >= 500 && status != 501
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kogia_server");
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            requests_answered: AtomicU64::default(),
            requests_failed: AtomicU64::default(),
            received: Counter::default(),
            sent: Counter::default(),
            connections: Gauge::default(),
            buckets: Gauge::default(),
            objects: Family::default(),
            object_bytes: Family::default(),
            parts: Family::default(),
            available: Family::default(),
            failed: Family::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests that were answered", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request's header to the end of its answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "received",
            "Of requests' bodies",
            Unit::Bytes,
            metrics.received.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Of answers' bodies",
            Unit::Bytes,
            metrics.sent.clone(),
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("buckets", "Buckets", metrics.buckets.clone());
        registry.register("objects", "Objects and small rows", metrics.objects.clone());
        registry.register_with_unit(
            "object",
            "Of objects and small rows",
            Unit::Bytes,
            metrics.object_bytes.clone(),
        );
        registry.register("parts", "Parts of unfinished uploads", metrics.parts.clone());
        registry.register_with_unit(
            "disk_available",
            "Room on the disk",
            Unit::Bytes,
            metrics.available.clone(),
        );
        registry.register("disk_failed", "Whether the disk failed", metrics.failed.clone());
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    /// A request that was answered to the end, or as far as its client took it.
    pub fn answered(&self, operation: &str, status: u16, took: Duration, sent: u64) {
        let operation = operation.to_owned();
        self.requests_answered.fetch_add(1, Ordering::Relaxed);
        self.requests_failed.fetch_add(u64::from(is_failure(status)), Ordering::Relaxed);
        self.sent.inc_by(sent);
        self.seconds
            .get_or_create(&OperationLabel { operation: operation.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { operation, status }).inc();
    }

    pub fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            time_ms: now_ms(),
            requests: self.requests_answered.load(Ordering::Relaxed),
            failed: self.requests_failed.load(Ordering::Relaxed),
            received_bytes: self.received.get(),
            sent_bytes: self.sent.get(),
            connections: self.connections.get(),
        }
    }

    /// Everything as text; asks the stores for theirs. Blocks.
    pub fn render(&self, catalogue: &Catalogue) -> Result<String, String> {
        self.ask(catalogue).map_err(|error| error.to_string())?;
        let mut out = String::new();
        text::encode(&mut out, &self.registry).map_err(|error| error.to_string())?;
        Ok(out)
    }

    fn ask(&self, catalogue: &Catalogue) -> kogia::Result<()> {
        self.buckets.set(i64::try_from(catalogue.all().len()).unwrap_or(i64::MAX));
        for (partition, store) in (0u64..).zip(catalogue.partitions().all()) {
            let (stats, of) = (store.stats()?, PartitionLabel { partition });
            self.objects.get_or_create(&of).set(stats.objects);
            self.object_bytes.get_or_create(&of).set(stats.object_bytes);
            self.parts.get_or_create(&of).set(stats.parts);
            for disk in &stats.disks {
                let of = DiskLabel { partition, disk: disk.id.to_string() };
                self.available.get_or_create(&of).set(disk.available_bytes);
                self.failed.get_or_create(&of).set(u64::from(disk.failure.is_some()));
            }
        }
        Ok(())
    }
}
