//! A server of its own for each test, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::client::Client;

pub const SERVER: &str = env!("CARGO_BIN_EXE_kogia-server");
pub const ACCESS_KEY: &str = "TESTKEY";
pub const SECRET_KEY: &str = "not-much-of-a-secret";

/// A server that runs.
pub struct Running {
    pub child: Child,
    log: std::path::PathBuf,
    pub client: Client,
    pub admin: Client,
}

/// A directory for the test's data.
pub fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Starts a server on what is in `dir`, with a file of settings.
pub fn start_with(dir: &Path, settings: &str) -> Running {
    start_by(Command::new(SERVER), dir, settings)
}

/// The same by a command that takes the server's arguments.
pub fn start_by(mut command: Command, dir: &Path, settings: &str) -> Running {
    let file = dir.join("settings.toml");
    let key = format!("[[key]]\naccess_key = \"{ACCESS_KEY}\"\nsecret_key = \"{SECRET_KEY}\"\n");
    std::fs::write(&file, format!("memory = \"64MiB\"\n{settings}\n{key}")).unwrap();
    let log = dir.join("log");
    let mut child = command
        .arg(dir.join("data"))
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"])
        .arg(&file)
        .env("KOGIA_SERVER_LOG", "warn,s3s=off")
        .stdout(Stdio::piped())
        .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut address = |name: &str| {
        let line = lines.next().expect("the server said where it listens").unwrap();
        let (said, url) = line.split_once(' ').unwrap();
        assert_eq!(said, name);
        url.trim().split_once("://").unwrap().1.parse().unwrap()
    };
    let client = Client {
        address: address("endpoint"),
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
    };
    let admin = Client { address: address("admin"), ..client.clone() };
    Running { child, log, client, admin }
}

pub fn start(dir: &Path) -> Running {
    start_with(dir, "")
}

impl Running {
    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; fails unless it ends well, and no request made it panic.
    #[track_caller]
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(status.success(), "{status}\n{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
