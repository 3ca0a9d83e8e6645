//! How the server is told what to do: flags, the environment, a TOML file, in this order; then the
//! defaults.

use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use s3s::host::SingleDomain;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::access::{AccessKey, Rule};
use crate::data::partitions::MIN_MEMORY_BYTES;
use crate::traces::TraceOptions;

/// S3 for any client, on Kogia's stores.
///
/// Without access keys it makes a pair, keeps it in DIR/credentials.toml, and prints it.
#[derive(Parser, Clone, Debug, Default)]
#[command(name = "kogia-server", version)]
pub struct Arguments {
    /// The data directory; made if there is none
    pub dir: PathBuf,
    /// A TOML file with all of this and more
    #[arg(long, env = "KOGIA_SERVER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients are served [default: 127.0.0.1:9000]
    #[arg(long, env = "KOGIA_SERVER_LISTEN", value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// For whoever runs it: the status page, /api, /health, /metrics [default: 127.0.0.1:9001]
    #[arg(long, env = "KOGIA_SERVER_ADMIN", value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// A directory for tracks, once a disk [default: DIR/tracks; later, the same as before]
    #[arg(long = "disk", env = "KOGIA_SERVER_DISKS", value_delimiter = ',', value_name = "DIR")]
    pub disks: Vec<PathBuf>,
    /// Stores that buckets are dealt over, at least [default: 2]
    #[arg(long, env = "KOGIA_SERVER_PARTITIONS", value_name = "N")]
    pub partitions: Option<usize>,
    /// Memory of the stores together [default: 256MiB]
    #[arg(long, env = "KOGIA_SERVER_MEMORY", value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// An access key that may do everything
    #[arg(long, env = "KOGIA_SERVER_ACCESS_KEY", requires = "secret_key", value_name = "NAME")]
    pub access_key: Option<String>,
    /// Its secret; better in the environment or the file than among the flags
    #[arg(
        long,
        env = "KOGIA_SERVER_SECRET_KEY",
        hide_env_values = true,
        requires = "access_key",
        value_name = "SECRET"
    )]
    pub secret_key: Option<String>,
    /// A certificate chain in PEM; with --tls-key clients are served by HTTPS
    #[arg(long, env = "KOGIA_SERVER_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, env = "KOGIA_SERVER_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// A collector that takes traces as OTLP by HTTP, for example http://127.0.0.1:4318
    #[arg(long, env = "KOGIA_SERVER_TRACES", value_name = "URL")]
    pub traces: Option<String>,
    /// How the log is written
    #[arg(long, env = "KOGIA_SERVER_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// The TOML file.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "address_in_file")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "address_in_file")]
    admin: Option<SocketAddr>,
    disks: Vec<PathBuf>,
    partitions: Option<usize>,
    memory: Option<ByteSize>,
    region: Option<String>,
    domain: Option<String>,
    tls: Option<TlsFiles>,
    limits: Limits,
    traces: Option<TraceOptions>,
    #[serde(rename = "key")]
    keys: Vec<AccessKey>,
    anonymous: Vec<Rule>,
}

/// Where certificate and key are.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What clients may take, and how long.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; further ones wait. Each may take 1 MiB or so.
    pub connections: usize,
    /// The longest that a request's header may take, and that a connection may be idle between two.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The longest that a client may neither send of its body, nor take of its answer.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The longest that open requests are waited for when the server stops.
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
    /// The largest body of a put, or of a part.
    pub put_bytes: ByteSize,
    /// The largest body that is XML.
    pub xml_bytes: ByteSize,
    /// The largest chunk of an aws-chunked body: it is in memory whole, to be verified.
    pub chunk_bytes: ByteSize,
    /// The largest form that is uploaded: it is in memory whole, to be verified.
    pub form_bytes: ByteSize,
    /// The smallest part of an upload, the last apart.
    pub part_bytes: ByteSize,
    /// The age at which uploads that were not completed are aborted.
    #[serde(with = "humantime_serde")]
    pub upload_age: Duration,
    /// Threads that wait for disks.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1024,
            header_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(30),
            put_bytes: ByteSize::gib(5),
            xml_bytes: ByteSize::mib(4),
            chunk_bytes: ByteSize::mib(16),
            form_bytes: ByteSize::mib(16),
            part_bytes: ByteSize::mib(5),
            upload_age: Duration::from_secs(7 * 24 * 3600),
            threads: 256,
        }
    }
}

/// All that the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub dir: PathBuf,
    /// The file that some of this was read from.
    pub file: Option<PathBuf>,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub disks: Vec<PathBuf>,
    pub partitions: usize,
    pub memory: ByteSize,
    pub region: String,
    /// Buckets are served as `bucket.domain`, too.
    pub domain: Option<String>,
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
    pub traces: Option<TraceOptions>,
    pub keys: Vec<AccessKey>,
    pub anonymous: Vec<Rule>,
}

impl Config {
    /// The defaults, for a data directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Config {
            dir: dir.into(),
            file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9001)),
            disks: Vec::new(),
            partitions: 2,
            memory: ByteSize::mib(256),
            region: "us-east-1".into(),
            domain: None,
            tls: None,
            limits: Limits::default(),
            traces: None,
            keys: Vec::new(),
            anonymous: Vec::new(),
        }
    }

    /// From flags and environment, and the file that they name.
    pub fn load(arguments: &Arguments) -> Result<Self, String> {
        let file = match &arguments.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let mut config = Config::new(&arguments.dir);
        config.file.clone_from(&arguments.config);
        let set = |to: &mut SocketAddr, from: Option<SocketAddr>| *to = from.unwrap_or(*to);
        set(&mut config.listen, arguments.listen.or(file.listen));
        set(&mut config.admin, arguments.admin.or(file.admin));
        config.disks =
            if arguments.disks.is_empty() { file.disks } else { arguments.disks.clone() };
        config.partitions = arguments.partitions.or(file.partitions).unwrap_or(config.partitions);
        config.memory = arguments.memory.or(file.memory).unwrap_or(config.memory);
        config.region = file.region.unwrap_or(config.region);
        config.domain = file.domain;
        config.tls = match (&arguments.tls_cert, &arguments.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
            _ => file.tls,
        };
        config.limits = file.limits;
        config.traces = match (&arguments.traces, file.traces) {
            (Some(collector), Some(traces)) => {
                Some(TraceOptions { collector: collector.clone(), ..traces })
            }
            (Some(collector), None) => Some(TraceOptions::to(collector)),
            (None, traces) => traces,
        };
        config.keys = file.keys;
        config.anonymous = file.anonymous;
        if let (Some(access_key), Some(secret_key)) = (&arguments.access_key, &arguments.secret_key)
        {
            config.keys.push(AccessKey {
                access_key: access_key.clone(),
                secret_key: secret_key.clone(),
                rules: Vec::new(),
            });
        }
        config.check()?;
        Ok(config)
    }

    /// All files and directories that are named in it.
    #[must_use]
    pub fn named_paths(&self) -> Vec<PathBuf> {
        let tls = self.tls.iter().flat_map(|files| [&files.cert, &files.key]);
        self.disks.iter().chain(&self.file).chain(tls).cloned().collect()
    }

    fn check(&self) -> Result<(), String> {
        self.check_bounds()?;
        self.check_names()?;
        self.traces.as_ref().map_or(Ok(()), TraceOptions::check)?;
        self.check_keys()
    }

    fn check_bounds(&self) -> Result<(), String> {
        let (limits, b, kib) = (&self.limits, ByteSize::b, ByteSize::kib);
        within("partitions", self.partitions, 1, 1024)?;
        within("limits.connections", limits.connections, 1, 1_000_000)?;
        within("limits.threads", limits.threads, 1, 10_000)?;
        let memory = format!("memory of {} partitions", self.partitions);
        let least = b(MIN_MEMORY_BYTES * self.partitions as u64);
        within(&memory, self.memory, least, ByteSize::tib(1))?;
        within("limits.put_bytes", limits.put_bytes, kib(64), ByteSize::tib(5))?;
        // With more an upload could have one part alone.
        let name = "limits.part_bytes, at most limits.put_bytes";
        within(name, limits.part_bytes, b(1), limits.put_bytes)?;
        for (name, in_memory) in [
            ("limits.chunk_bytes", limits.chunk_bytes),
            ("limits.form_bytes", limits.form_bytes),
            ("limits.xml_bytes", limits.xml_bytes),
        ] {
            within(name, in_memory, kib(64), ByteSize::gib(1))?;
        }
        for (name, time, least) in [
            ("header_timeout", limits.header_timeout, Duration::from_millis(1)),
            ("idle_timeout", limits.idle_timeout, Duration::from_millis(1)),
            ("upload_age", limits.upload_age, Duration::from_secs(1)),
        ] {
            if time < least {
                return Err(format!("limits.{name}: {least:?} at least, not {time:?}"));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.region.is_empty() || !self.region.chars().all(is_plain) {
            let region = &self.region;
            return Err(format!("region: letters, digits and -, as in us-east-1, not {region:?}"));
        }
        match &self.domain {
            Some(domain) if SingleDomain::new(domain).is_err() => {
                Err(format!("domain: the name of a host, as in s3.example.org, not {domain:?}"))
            }
            _ => Ok(()),
        }
    }

    fn check_keys(&self) -> Result<(), String> {
        let mut names: Vec<_> = self.keys.iter().map(|key| &key.access_key).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the access key {} is given twice", twice[0]));
        }
        if self.keys.iter().any(|key| key.access_key.is_empty() || key.secret_key.len() < 8) {
            return Err("an access key has a name, and a secret of 8 characters at least".into());
        }
        Ok(())
    }
}

fn within<T: PartialOrd + Display>(name: &str, value: T, least: T, most: T) -> Result<(), String> {
    if value < least || value > most {
        return Err(format!("{name}: {least} to {most}, not {value}"));
    }
    Ok(())
}

/// An address; of a name the first one.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| error.to_string());
    found
        .and_then(|mut all| all.next().ok_or_else(|| "the name has no address".to_owned()))
        .map_err(|why| {
            format!("{why}; it is given as 127.0.0.1:9000, [::1]:9000 or localhost:9000")
        })
}

fn address_in_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<SocketAddr>, D::Error> {
    address(&String::deserialize(file)?).map(Some).map_err(D::Error::custom)
}

fn read(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Right;

    fn load(file: &str, flags: &[&str]) -> Result<Config, String> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let config = path.path().to_str().unwrap();
        let arguments = ["kogia-server", "/data", "--config", config];
        let arguments = arguments.iter().chain(flags);
        Config::load(&Arguments::try_parse_from(arguments).map_err(|e| e.to_string())?)
    }

    const FILE: &str = r#"
        listen = "0.0.0.0:443"
        disks = ["/mnt/a/kogia", "/mnt/b/kogia"]
        memory = "1GiB"
        tls = { cert = "chain.pem", key = "key.pem" }
        anonymous = [{ bucket = "public", access = "read" }]

        [limits]
        connections = 10
        idle_timeout = "5s"
        put_bytes = "1GiB"

        [[key]]
        access_key = "camera"
        secret_key = "0123456789"
        rule = [{ bucket = "camera-*", access = "write" }]
    "#;

    #[test]
    fn flags_count_before_the_file_and_the_file_before_the_defaults() {
        let config = load(FILE, &["--listen", "127.0.0.1:7000", "--disk", "/mnt/c"]).unwrap();
        assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 7000)));
        assert_eq!(config.admin, SocketAddr::from(([127, 0, 0, 1], 9001)));
        assert_eq!(config.disks, [PathBuf::from("/mnt/c")]);
        assert_eq!(config.memory, ByteSize::gib(1));
        assert_eq!(config.limits.connections, 10);
        assert_eq!(config.limits.idle_timeout, Duration::from_secs(5));
        assert_eq!(config.limits.header_timeout, Limits::default().header_timeout);
        assert_eq!(config.keys[0].rules[0].access, Right::Write);
        assert_eq!(config.anonymous[0].bucket, "public");
        assert!(config.tls.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        for (file, what) in [
            ("lissten = 1", "lissten"),
            ("partitions = 0", "partitions: 1 to 1024, not 0"),
            ("memory = 5", "memory of 2 partitions: 32.0 MiB to 1.0 TiB, not 5 B"),
            ("memory = '100TiB'", "memory of 2 partitions"),
            ("partitions = 8\nmemory = '100MiB'", "memory of 8 partitions: 128.0 MiB"),
            ("region = ''", "region: "),
            ("region = 'a b'", "region: "),
            ("domain = 'foo bar'", "domain: the name of a host"),
            ("limits = { put_bytes = '0' }", "limits.put_bytes: 64.0 KiB"),
            ("limits = { put_bytes = '1MiB' }", "limits.part_bytes, at most limits.put_bytes"),
            ("limits = { chunk_bytes = '1' }", "limits.chunk_bytes"),
            (
                "limits = { form_bytes = '2GiB' }",
                "limits.form_bytes: 64.0 KiB to 1.0 GiB, not 2.0 GiB",
            ),
            ("limits = { threads = 0 }", "limits.threads: 1 to"),
            ("limits = { upload_age = '0s' }", "limits.upload_age: 1s at least"),
            ("listen = 'localhost'", "as 127.0.0.1:9000"),
            ("limits = { idle_timeout = '0s' }", "idle_timeout"),
            ("traces = { collector = 'https://c' }", "plain HTTP"),
            ("traces = { collector = 'http://c', sample = 2 }", "sample"),
            ("key = [{ access_key = 'a', secret_key = 'short' }]", "secret"),
            (
                "key = [{ access_key = 'a', secret_key = '01234567', rule = [{ bucket = 'b', access = 'own' }] }]",
                "own",
            ),
            (
                "key = [{ access_key = 'a', secret_key = '01234567' }, { access_key = 'a', secret_key = '01234567' }]",
                "twice",
            ),
        ] {
            let refused = load(file, &[]).unwrap_err();
            assert!(refused.contains(what), "{file}: {refused}");
        }
        for flags in [
            &["--access-key", "a"][..],
            &["--memory", "0"],
            &["--memory", "256"],
            &["--memory", "100TiB"],
            &["--listen", "localhost"],
        ] {
            assert!(load("", flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn an_address_may_be_a_name() {
        let config = load("admin = 'localhost:9412'", &["--listen", "localhost:9411"]).unwrap();
        let ports = [config.listen, config.admin].map(|address| {
            assert!(address.ip().is_loopback());
            address.port()
        });
        assert_eq!(ports, [9411, 9412]);
    }
}
