//! A running `kogia-server`, by its admin address in place of a store that it has open.
//!
//! The address speaks plain HTTP. Work is a job of the server's, which is followed to its end; Ctrl-C
//! cancels it.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use indicatif::HumanBytes;
use kogia::Store;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{Method, Request, Response};

use crate::base64;
use crate::console::Console;
use crate::failure::{Exit, Failure, SERVED};
use crate::quantity::count;
use crate::system;

const SCHEME: &str = "http://";
/// Pairs of variables that credentials are looked for in, in this order.
const VARIABLES: [(&str, &str); 2] =
    [("KOGIA_ACCESS_KEY", "KOGIA_SECRET_KEY"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")];
/// The longest that an answer may take: jobs are started and asked about, not waited for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// An answer, at most: of a server with very many tracks.
const MAX_BYTES: u64 = 1 << 30;
/// A job is asked about so often, at first and later.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// Where a server tells its admin address, in its data directory.
const ADDRESS_FILE: &str = "admin-address";

/// What tells that a directory is a server's.
const FIRST_PARTITION: &str = "partitions/0/META";

/// A server that is asked.
pub struct Server {
    agent: Agent,
    address: String,
    authorization: String,
}

/// A job of the server's.
#[derive(Deserialize)]
struct Job {
    id: u64,
    state: String,
    progress: Progress,
    ended_ms: Option<u64>,
    result: Option<Value>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Progress {
    partition: usize,
    done_bytes: u64,
    total_bytes: u64,
    track: Option<u32>,
    tracks_left: Option<u64>,
    given_back_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Fault,
}

#[derive(Deserialize)]
struct Fault {
    kind: String,
    message: String,
}

/// The server's credentials.toml.
#[derive(Deserialize)]
struct Credentials {
    access_key: String,
    secret_key: String,
}

/// Whether a server is named where a store could be.
pub fn is_address(store: &Path) -> bool {
    store.to_str().is_some_and(|text| text.starts_with(SCHEME) || text.starts_with("https://"))
}

/// Reads a path, which no address is: a directory of its name would be made.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match is_address(&path) {
        true => Err(format!("a server's address, which only {SERVED} take in place of a store")),
        false => Ok(path),
    })
}

/// The admin address of the server that has a store open, and its credentials, as far as it tells.
pub fn of_store(home: &Path) -> Option<(String, PathBuf)> {
    let dir = server_of(home)?;
    let address = fs::read_to_string(dir.join(ADDRESS_FILE)).ok()?;
    Some((address.trim().to_owned(), dir.join("credentials.toml")))
}

/// Refuses a server's data directory, which has stores, and its disk among them, and is none.
pub fn refuse_directory(home: &Path) -> Result<(), Failure> {
    if !home.join(FIRST_PARTITION).is_file() {
        return Ok(());
    }
    let dir = home.display();
    let what = format!(
        "{dir} is the data directory of a kogia-server; its stores are {dir}/partitions/0 and so on, \
         for when it is stopped: while it runs, give its admin address, as in {SCHEME}127.0.0.1:9001"
    );
    Err(Failure::Usage(what))
}

/// Refuses to change objects behind the back of the server that a store belongs to: beside each it keeps rows
/// of its own, which would not be changed.
pub fn refuse_changes(store: &Store) -> Result<(), Failure> {
    let Some(dir) = server_of(store.home()) else { return Ok(()) };
    let (home, dir) = (store.home().display(), dir.display());
    let what = format!(
        "{home} is a part of the kogia-server at {dir}, which alone may change objects in it; start the server, \
         and use an S3 client"
    );
    Err(Failure::Usage(what))
}

/// The data directory that a store lies in as a partition.
fn server_of(home: &Path) -> Option<PathBuf> {
    let home = home.canonicalize().ok()?;
    let dir = home.parent().filter(|dir| dir.ends_with("partitions"))?.parent()?;
    dir.join(FIRST_PARTITION).is_file().then(|| dir.to_owned())
}

impl Server {
    /// The server at an address, with credentials from a file or the environment.
    pub fn at(address: &Path, credentials: Option<&Path>) -> Result<Self, Failure> {
        let address = address.to_str().unwrap_or_default().trim_end_matches('/');
        let Some(host) = address.strip_prefix(SCHEME) else {
            let there = fs::read_to_string(Path::new(address).join(ADDRESS_FILE));
            let what = match there.as_deref().map(str::trim) {
                Ok(there) => format!("{address} is a directory; the server on it is at {there}"),
                Err(_) => format!(
                    "{address} is no admin address, as in {SCHEME}127.0.0.1:9001; a server says its own when \
                     it starts"
                ),
            };
            return Err(Failure::Usage(what));
        };
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            let what = format!("{SCHEME}{host} is no admin address, as in http://127.0.0.1:9001");
            return Err(Failure::Usage(what));
        }
        let Credentials { access_key, secret_key } = match credentials {
            Some(file) => read_credentials(file)?,
            None => from_environment()?,
        };
        let pair = format!("{access_key}:{secret_key}");
        let agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // Nobody else is to see the credentials.
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Server {
            agent: agent.into(),
            address: address.to_owned(),
            authorization: format!("Basic {}", base64::encode(pair.as_bytes())),
        })
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None)
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        self.ask(Method::POST, path, Some(body))
    }

    /// Lets the server do a job, shows how far it is, and gives what came of it; where it was cut
    /// short, that says so with `stopped`, and how far it had come with `done_bytes`. Ctrl-C
    /// cancels it.
    pub fn carry_out(
        &self,
        kind: &'static str,
        message: &'static str,
        body: &Value,
        console: &Console,
    ) -> Result<Value, Failure> {
        system::remember_signals();
        let mut job: Job = self.post(kind, body)?;
        let bar = console.bytes_bar(message, 0);
        let place = format!("jobs/{}", job.id);
        let (mut pause, mut was_cancelled) = (FIRST_PAUSE, false);
        while job.ended_ms.is_none() {
            if system::was_asked_to_end() && !was_cancelled {
                was_cancelled = true;
                self.ask::<Value>(Method::DELETE, &place, None)?;
                console.note("asking the server to cancel it; once more to wait no longer");
            }
            sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
            job = self.get(&place)?;
            bar.set_length(job.progress.total_bytes);
            bar.set_position(job.progress.done_bytes);
            bar.set_message(job.progress.text(message));
        }
        bar.finish_and_clear();
        if let Some(fault) = job.error {
            return Err(fault.into());
        }
        let mut told = job.result.unwrap_or_else(|| json!({ "state": job.state }));
        if job.state == "cancelled" {
            told["stopped"] = true.into();
            told["done_bytes"] = job.progress.done_bytes.into();
        }
        Ok(told)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let url = format!("{}/api/{path}", self.address);
        let failed = |what: &dyn std::fmt::Display| Failure::Server {
            exit: Exit::Io,
            message: format!("{}: {what}", self.address),
        };
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json");
        let answer = match body {
            Some(body) => request.body(body.to_string()).map(|request| self.agent.run(request)),
            None => request.body(()).map(|request| self.agent.run(request)),
        };
        let answer =
            answer.map_err(|error| Failure::Usage(format!("{}: {error}", self.address)))?;
        let mut answer = answer.map_err(|error| match &error {
            ureq::Error::Io(e) if e.kind() == ErrorKind::ConnectionRefused => failed(
                &"nobody listens there: start the server, or give the admin address that it said",
            ),
            _ => failed(&error),
        })?;
        let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
        let body = body.map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(self.refused(&answer, &body));
        }
        serde_json::from_slice(&body).map_err(|error| failed(&error))
    }

    fn refused<B>(&self, answer: &Response<B>, body: &[u8]) -> Failure {
        let Ok(Refusal { error }) = serde_json::from_slice(body) else {
            let message = format!(
                "{} answers {}: is this a kogia-server's admin address, and not that of its clients?",
                self.address,
                answer.status()
            );
            return Failure::Server { exit: Exit::Io, message };
        };
        if answer.status().as_u16() == 401 {
            return Failure::Usage(format!("{}\n  {}", error.message, HOW));
        }
        error.into()
    }
}

/// Where credentials may come from.
const HOW: &str = "the server's credentials.toml is given with --credentials FILE, or an access key \
                   and its secret in KOGIA_ACCESS_KEY and KOGIA_SECRET_KEY";

fn read_credentials(file: &Path) -> Result<Credentials, Failure> {
    let text = fs::read_to_string(file).map_err(Failure::file(file))?;
    toml::from_str(&text).map_err(|_| {
        let what = "not the credentials of a server: access_key and secret_key";
        Failure::Usage(format!("{}: {what}", file.display()))
    })
}

fn from_environment() -> Result<Credentials, Failure> {
    VARIABLES
        .iter()
        .find_map(|(name, secret)| {
            Some(Credentials {
                access_key: env::var(name).ok()?,
                secret_key: env::var(secret).ok()?,
            })
        })
        .ok_or_else(|| Failure::Usage(format!("credentials are needed: {HOW}")))
}

impl Progress {
    fn text(&self, message: &str) -> String {
        let mut text = format!("{message} partition {}", self.partition);
        if let Some(track) = self.track {
            text += &format!(" track {track}");
        }
        if let Some(left @ 1..) = self.tracks_left {
            text += &format!(", {} left", count(left, "track"));
        }
        if let Some(back) = self.given_back_bytes {
            text += &format!(", {} given back", HumanBytes(back));
        }
        text
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = match &*fault.kind {
            "invalid" => Exit::Usage,
            "not_found" | "exists" | "disk" => Exit::NotThisStore,
            "busy" => Exit::Locked,
            "full" => Exit::Full,
            "damage" => Exit::Damage,
            _ => Exit::Io,
        };
        Failure::Server { exit, message: fault.message }
    }
}

/// What a job has told.
pub fn read<T: DeserializeOwned>(told: &Value) -> Result<T, Failure> {
    T::deserialize(told).map_err(|error| Failure::Server {
        exit: Exit::Io,
        message: format!("the server has told {told}, which is not understood: {error}"),
    })
}

/// Refuses a partition's number with a store, which has none.
pub fn check_partition(partition: Option<usize>) -> Result<(), Failure> {
    match partition {
        Some(_) => Err(Failure::Usage("--partition goes with a server's address".into())),
        None => Ok(()),
    }
}

/// A path of this machine as the server takes it, which may be another's.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).map_err(Failure::file(path))?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::Usage(format!("{} is no text", path.display())))
}

/// A disk's name: a path, or an id or how that begins.
pub fn disk_name(name: &Path) -> Result<String, Failure> {
    match name.to_str() {
        Some(text) if !text.contains('/') && !name.exists() => Ok(text.to_owned()),
        _ => absolute(name),
    }
}
