//! Servers as processes: each in a directory of its own, on ports of its own, until it is dropped.

mod garage;
mod kogia;
mod limit;
mod s3s_fs;
mod seaweedfs;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::client::{Client, Endpoint};
use crate::{Result, Settings};

/// How long a server may take until it serves.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(60);

/// Garage wants keys of this form; the others take any.
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Kind {
    Limit,
    Kogia,
    SeaweedFs,
    Garage,
    S3sFs,
}

impl Kind {
    pub const PEERS: [Kind; 3] = [Kind::SeaweedFs, Kind::Garage, Kind::S3sFs];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Limit => "limit",
            Kind::Kogia => "Kogia",
            Kind::SeaweedFs => "SeaweedFS",
            Kind::Garage => "Garage",
            Kind::S3sFs => "s3s-fs",
        }
    }

    /// The name that flags have for it.
    pub fn flag(self) -> &'static str {
        match self {
            Kind::Limit => "limit",
            Kind::Kogia => "kogia",
            Kind::SeaweedFs => "seaweedfs",
            Kind::Garage => "garage",
            Kind::S3sFs => "s3s-fs",
        }
    }

    pub fn binary(self, settings: &Settings) -> Option<PathBuf> {
        match self {
            Kind::Limit => std::env::current_exe().ok(),
            Kind::Kogia => Some(settings.kogia.clone()),
            Kind::SeaweedFs => settings.seaweedfs.clone(),
            Kind::Garage => settings.garage.clone(),
            Kind::S3sFs => settings.s3s_fs.clone(),
        }
    }

    /// How it is set up, and what an acknowledged put survives by that.
    pub fn durability(self, sync: Sync) -> &'static str {
        match (self, sync) {
            (Kind::Limit, _) => "stores nothing",
            (Kind::Kogia, _) => kogia::DURABILITY,
            (Kind::SeaweedFs, Sync::Always) => seaweedfs::DURABILITY,
            (Kind::Garage, Sync::Always) => garage::DURABILITY,
            (Kind::S3sFs, _) => s3s_fs::DURABILITY,
            (Kind::SeaweedFs | Kind::Garage, Sync::Never) => "not synced",
        }
    }

    /// Whether a put that was acknowledged survives the machine, data and name.
    pub fn is_durable(self) -> bool {
        matches!(self, Kind::Kogia | Kind::Garage)
    }

    /// What the binary says of its version.
    pub fn version(self, settings: &Settings) -> String {
        let Some(binary) = self.binary(settings) else { return String::new() };
        let flag = if self == Kind::SeaweedFs { "version" } else { "--version" };
        let said = Command::new(binary).arg(flag).env("TMPDIR", &settings.dir).output();
        let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
        said.unwrap_or_default().lines().next().unwrap_or("").to_owned()
    }
}

/// Whether a server that can choose syncs what it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Always,
    Never,
}

/// A server that runs, with a bucket in it.
pub struct Server {
    pub kind: Kind,
    pub endpoint: Endpoint,
    child: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub async fn start(kind: Kind, settings: &Settings, sync: Sync) -> Result<Self> {
        let binary = kind.binary(settings).ok_or("no binary")?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("bench-{}-", kind.flag()))
            .tempdir_in(&settings.dir)?;
        fs::create_dir(dir.path().join("data"))?;
        let (child, endpoint) = match kind {
            Kind::Limit => limit::start(&binary, dir.path()),
            Kind::Kogia => kogia::start(&binary, dir.path()),
            Kind::SeaweedFs => seaweedfs::start(&binary, dir.path()),
            Kind::Garage => garage::start(&binary, dir.path(), sync),
            Kind::S3sFs => s3s_fs::start(&binary, dir.path()),
        }?;
        let mut server = Self { kind, endpoint, child, dir };
        if kind == Kind::SeaweedFs {
            seaweedfs::configure(&binary, server.dir.path(), &server.endpoint, sync)?;
        }
        server.wait().await?;
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its data is; its log is beside it.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Waits until a bucket could be made: not every server that listens serves already.
    async fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let made = match Client::connect(&self.endpoint).await {
                Ok(mut client) => client.create_bucket().await,
                Err(error) => Err(error),
            };
            let Err(error) = made else { return Ok(()) };
            if started.elapsed() > START || self.child.try_wait()?.is_some() {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                let end: Vec<_> = log.lines().rev().take(5).collect();
                return Err(format!("{} does not serve: {error}; {end:?}", self.kind.name()).into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Server {
    /// Stops it as a user would, and by force if it does not.
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > STOP {
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Starts `command` with its output in files of `dir`.
fn spawn(command: &mut Command, dir: &Path) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("out"))?)
        .stderr(File::create(dir.join("log"))?);
    Ok(command.spawn().map_err(|error| format!("{command:?}: {error}"))?)
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server at a port of its choosing, with the keys that all have.
fn endpoint(port: u16) -> Endpoint {
    Endpoint { port, access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() }
}
