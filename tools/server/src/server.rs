//! From the configuration to a server that serves, and back.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::access::{Access, AccessKey};
use crate::admin::{Jobs, Recent};
use crate::config::Config;
use crate::data::partitions::{PartitionOptions, check_home};
use crate::data::{Catalogue, Partitions, blocking, buckets, lifecycle, uploads, versions};
use crate::http::admin::{self, Admin};
use crate::http::answer::Answerer;
use crate::http::form::{FIELDS_BYTES, Forms};
use crate::http::listen;
use crate::metrics::Metrics;
use crate::service::{Limits, Service};
use crate::traces::Traces;
use crate::{credentials, tls};

/// How often it is looked whether uploads have aged out.
const AGE_OUT_INTERVAL: Duration = Duration::from_secs(600);

/// How often it is looked whether something is due in buckets with versions.
const LIFECYCLE_INTERVAL: Duration = Duration::from_secs(3600);

/// Where the admin address is told, in the data directory.
const ADMIN_FILE: &str = "admin-address";

/// A server that is open, and listens.
pub struct Server {
    config: Config,
    partitions: Partitions,
    catalogue: Arc<Catalogue>,
    listener: TcpListener,
    admin: TcpListener,
    tls: Option<TlsAcceptor>,
    /// The pair that was made since none was given.
    made: Option<AccessKey>,
}

impl Server {
    /// Opens all partitions, sweeps what a crash has left, and listens.
    pub async fn open(mut config: Config) -> Result<Self, String> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let mut own = config.named_paths();
        own.extend([credentials::path(&config.dir), config.dir.join(ADMIN_FILE)]);
        check_home(&config.dir, &own)?;
        // Before anything is made: who has to give another address may mean another directory, too.
        let listener = bind("--listen", config.listen).await?;
        let admin = bind("--admin", config.admin).await?;
        std::fs::create_dir_all(&config.dir).map_err(|e| in_dir(&config.dir, &e))?;
        let made = match config.keys.is_empty() {
            true => Some(credentials::load_or_make(&config.dir)?),
            false => None,
        };
        config.keys.extend(made.clone());
        let options = PartitionOptions {
            dir: config.dir.clone(),
            disks: config.disks.clone(),
            count: config.partitions,
            memory_bytes: config.memory.0,
        };
        let (partitions, catalogue) = blocking(move || open_data(&options)).await?;
        Ok(Server { config, partitions, catalogue, listener, admin, tls, made })
    }

    /// Where clients are served.
    ///
    /// # Panics
    ///
    /// Never: it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    /// # Panics
    ///
    /// Never: it listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().expect("it listens")
    }

    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The access key that was made since none was given.
    #[must_use]
    pub fn made_key(&self) -> Option<&AccessKey> {
        self.made.as_ref()
    }

    /// Serves until `stop` is ready, then ends what is open, and closes all partitions. What went
    /// wrong of late is told from `recent`.
    pub async fn run(self, recent: Recent, stop: impl Future<Output = ()>) -> Result<(), String> {
        let metrics = Arc::new(Metrics::default());
        let traces = self.config.traces.as_ref().map(Traces::to);
        let ready = Arc::new(AtomicBool::new(true));
        let access = Access::new(self.config.keys.clone(), self.config.anonymous.clone());
        let jobs = Arc::new(Jobs::default());
        let for_admin = Admin {
            catalogue: self.catalogue.clone(),
            metrics: metrics.clone(),
            ready: ready.clone(),
            access: access.clone(),
            jobs: jobs.clone(),
            recent,
        };
        if !self.admin_address().ip().is_loopback() {
            tracing::warn!("the admin address speaks plain HTTP, and is no loopback address");
        }
        let place = Place::leave(&self.config.dir, self.admin_address())?;
        let admin = tokio::spawn(admin::serve(self.admin, for_admin));
        let sweeper = tokio::spawn(age_out(self.catalogue.clone(), self.config.limits.upload_age));
        let lifecycle = tokio::spawn(keep_lifecycle(self.catalogue.clone()));
        let answerer = Answerer {
            s3: s3_service(&self.config, &access, &self.catalogue)?,
            forms: Forms::new(&self.config.limits),
            limits: self.config.limits.clone(),
            metrics,
            number: Arc::new(AtomicU64::new(buckets::now_ms() << 20)),
            catalogue: self.catalogue.clone(),
            domain: self.config.domain.as_deref().map(Arc::from),
            traces: traces.clone(),
        };
        let stopping = async {
            stop.await;
            ready.store(false, Ordering::Relaxed);
            tracing::info!("stopping: open requests are ended, no new ones are taken");
        };
        listen::serve(self.listener, self.tls, answerer, stopping).await;
        if let Some(traces) = traces {
            blocking(move || traces.end()).await;
        }
        let patience = self.config.limits.stop_timeout;
        blocking(move || jobs.stop(patience)).await;
        for task in [admin, sweeper, lifecycle] {
            task.abort();
            let _ = task.await;
        }
        drop(self.catalogue);
        let partitions = self.partitions;
        drop(place);
        blocking(move || partitions.close()).await.map_err(|error| error.to_string())?;
        tracing::info!("stopped");
        Ok(())
    }
}

fn in_dir(dir: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", dir.display())
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("{flag} {address}: {error}; give another address"))
}

fn open_data(options: &PartitionOptions) -> Result<(Partitions, Arc<Catalogue>), String> {
    let partitions = Partitions::open(options)?;
    let catalogue = Catalogue::open(&partitions).map_err(|error| error.to_string())?;
    for (number, store) in (0..).zip(partitions.all()) {
        let there = catalogue.ids_in(number);
        catalogue
            .keep_rules(number)
            .and_then(|()| versions::sweep_start(store, &there))
            .and_then(|()| uploads::sweep_start(store, &there))
            .and_then(|()| buckets::sweep_start(store, &there))
            .map_err(|error| error.to_string())?;
    }
    Ok((partitions, Arc::new(catalogue)))
}

fn s3_service(
    config: &Config,
    access: &Access,
    catalogue: &Arc<Catalogue>,
) -> Result<S3Service, String> {
    let service = Service {
        catalogue: catalogue.clone(),
        access: access.clone(),
        limits: Limits {
            max_put_bytes: config.limits.put_bytes.0,
            min_part_bytes: config.limits.part_bytes.0,
        },
        region: config.region.as_str().into(),
    };
    let mut builder = S3ServiceBuilder::new(service);
    let mut limits = S3Config::default();
    // The guard comes first: s3s would call it an error of the server.
    let whole = config.limits.xml_bytes.0.saturating_add(1 << 20);
    limits.xml_max_body_size = usize::try_from(whole).unwrap_or(usize::MAX);
    limits.post_object_max_file_size = config.limits.form_bytes.0;
    limits.form_max_field_size = FIELDS_BYTES;
    limits.form_max_fields_size = FIELDS_BYTES;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
    builder.set_auth(access.clone());
    builder.set_access(access.clone());
    if let Some(domain) = &config.domain {
        builder.set_host(SingleDomain::new(domain).map_err(|error| format!("{domain}: {error}"))?);
    }
    Ok(builder.build())
}

/// Deletes what is due by the buckets' lifecycles and is not left to their stores, for ever.
async fn keep_lifecycle(catalogue: Arc<Catalogue>) {
    loop {
        tokio::time::sleep(LIFECYCLE_INTERVAL).await;
        for bucket in catalogue.one_by_one() {
            let name = bucket.name.clone();
            match lifecycle::apply(&bucket, buckets::now_ms()).await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(bucket = &*name, gone, "the lifecycle has deleted"),
                Err(error) => tracing::warn!(bucket = &*name, %error, "the lifecycle is late"),
            }
        }
    }
}

/// A file that tells where the admin address is, for whoever finds a store locked; gone when the
/// server stops.
struct Place(PathBuf);

impl Place {
    fn leave(dir: &Path, mut address: SocketAddr) -> Result<Self, String> {
        let path = dir.join(ADMIN_FILE);
        if address.ip().is_unspecified() {
            let loopback: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            address.set_ip(loopback);
        }
        std::fs::write(&path, format!("http://{address}\n")).map_err(|e| in_dir(&path, &e))?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Aborts uploads that are too old, for ever.
async fn age_out(catalogue: Arc<Catalogue>, age: Duration) {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::time::sleep(AGE_OUT_INTERVAL.min(age)).await;
        let before = buckets::now_ms().saturating_sub(age_ms);
        for bucket in catalogue.one_by_one() {
            match lifecycle::end_uploads(&bucket, before).await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "uploads have aged out"),
                Err(error) => tracing::warn!(%error, "old uploads stay for now"),
            }
        }
    }
}
