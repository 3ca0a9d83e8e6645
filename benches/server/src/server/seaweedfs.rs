//! SeaweedFS in one process: master, volume server, filer and S3.
//!
//! Its ports are next to each other, HTTP and gRPC of each part in turn, so that the S3 port tells all.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{ACCESS_KEY, SECRET_KEY, START, Sync, endpoint, spawn};
use crate::Result;
use crate::client::Endpoint;

pub const DURABILITY: &str = "`fs.configure -fsync` for all buckets, which is all that there is: data \
     is synced before the answer, **names (the filer's LevelDB) are not**; the machine's death may \
     take the last names";

/// Ports that a server takes, one behind the other: S3, master, volume server, filer, two each.
const PORTS: u16 = 8;

pub fn start(binary: &Path, dir: &Path) -> Result<(Child, Endpoint)> {
    let port = free_ports()?;
    let identities = dir.join("s3.json");
    fs::write(
        &identities,
        format!(
            r#"{{"identities": [{{"name": "bench", "actions": ["Admin", "Read", "Write", "List"],
              "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]}}]}}"#
        ),
    )?;
    let mut command = Command::new(binary);
    command.env("TMPDIR", dir);
    command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]);
    for (part, number) in ["s3", "master", "volume", "filer"].into_iter().zip(0..) {
        let port = port + 2 * number;
        command.arg(format!("-{part}.port={port}")).arg(format!("-{part}.port.grpc={}", port + 1));
    }
    let child = spawn(
        command
            .arg(format!("-dir={}", dir.join("data").display()))
            .arg(format!("-s3.config={}", identities.display()))
            .arg(format!("-s3.localSocket={}", dir.join("s3.sock").display()))
            .arg(format!("-filer.localSocket={}", dir.join("filer.sock").display()))
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"])
            // As many volumes as there is room for; none is allocated in advance.
            .args(["-volume.max=0", "-master.volumeSizeLimitMB=1024"]),
        dir,
    )?;
    Ok((child, endpoint(port)))
}

/// Has all buckets synced, or not, by the filer's settings of paths.
pub fn configure(binary: &Path, dir: &Path, endpoint: &Endpoint, sync: Sync) -> Result<()> {
    let (master, filer) = (endpoint.port + 2, endpoint.port + 6);
    let fsync = sync == Sync::Always;
    let started = Instant::now();
    loop {
        let mut shell = Command::new(binary)
            .env("TMPDIR", dir)
            .arg("shell")
            .arg(format!("-master=127.0.0.1:{master}.{}", master + 1))
            .arg(format!("-filer=127.0.0.1:{filer}.{}", filer + 1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let line = format!("fs.configure -locationPrefix=/buckets/ -fsync={fsync} -apply\n");
        if let Some(mut input) = shell.stdin.take() {
            input.write_all(line.as_bytes())?;
        }
        let said = String::from_utf8_lossy(&shell.wait_with_output()?.stdout).into_owned();
        if said.contains(&format!("\"fsync\":  {fsync}")) {
            return Ok(());
        }
        if started.elapsed() > START {
            return Err(format!("SeaweedFS does not take its settings: {said}").into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The first of `PORTS` ports that nobody listens on now.
fn free_ports() -> Result<u16> {
    (21_000..30_000)
        .step_by(usize::from(PORTS))
        .find(|first| {
            let all: Vec<_> = (*first..first + PORTS).collect();
            all.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        })
        .ok_or_else(|| "no free ports".into())
}
