//! What a server syncs for a few puts, as `strace` sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use crate::Result;
use crate::client::Client;
use crate::object::{Payload, key};
use crate::server::Server;

const CALLS: &str = "fsync,fdatasync,sync_file_range,msync,syncfs,sync";
/// Puts that are counted, one after the other.
const PUTS: u64 = 20;

/// Syncs a put, by call and file.
#[derive(Clone, Debug, Serialize)]
pub struct Syncs {
    pub size: usize,
    pub calls: Vec<(String, f64)>,
}

/// Traces `server` while it is given objects of `size`.
pub async fn count(server: &Server, size: usize) -> Result<Syncs> {
    let mut client = Client::connect(&server.endpoint).await?;
    // What is done once is not counted.
    let warm = key("warm", size, 0);
    client.put(&warm, Payload::object(&warm, size)).await?;
    let out = server.data().with_file_name("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-y", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&out)
        .args(["-p", &server.pid().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("strace: {error}"))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 1..=PUTS {
        let key = key("traced", size, number);
        client.put(&key, Payload::object(&key, size)).await?;
    }
    if let Some(pid) = rustix::process::Pid::from_raw(strace.id() as i32) {
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    }
    strace.wait()?;
    let text = fs::read_to_string(&out)?;
    let mut calls = BTreeMap::<String, u64>::new();
    for call in text.lines().filter_map(|line| called(line, &server.data())) {
        *calls.entry(call).or_default() += 1;
    }
    let calls = calls.into_iter().map(|(call, n)| (call, n as f64 / PUTS as f64)).collect();
    Ok(Syncs { size, calls })
}

/// Call and file of a line such as `7 fdatasync(12</data/tracks/0/3.track>) = 0`; none for files that
/// are not data, as logs.
fn called(line: &str, data: &Path) -> Option<String> {
    let (_, call) = line.split_once(' ')?;
    let (name, arguments) = call.trim_start().split_once('(')?;
    CALLS.split(',').find(|known| *known == name)?;
    let file = match arguments.split_once('<') {
        Some((descriptor, rest)) if descriptor.bytes().all(|byte| byte.is_ascii_digit()) => {
            rest.split('>').next()?.strip_prefix(data.to_str()?)?
        }
        _ => "memory",
    };
    Some(format!("{name} {}", kind_of(file.trim_start_matches('/'))))
}

/// A path with `*` for every number and every hash in it.
fn kind_of(path: &str) -> String {
    let is_hash = |word: &str| {
        let is_long = word.len() > 7 || word.len() == 2;
        is_long && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let word = |word: &str| {
        let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
        match word {
            _ if is_hash(word) => "*".to_owned(),
            // Garage's `.tmp` and a hash.
            _ if word.strip_prefix("tmp").is_some_and(is_hash) => "tmp*".to_owned(),
            _ if name.len() < word.len() => format!("{name}*"),
            _ => word.to_owned(),
        }
    };
    let part = |part: &str| part.split('.').map(word).collect::<Vec<_>>().join(".");
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_what_they_sync() {
        let data = Path::new("/srv");
        let called = |line| called(line, data);
        assert_eq!(
            called("17 fdatasync(12</srv/tracks/0/00000003.track>) = 0").as_deref(),
            Some("fdatasync tracks/*/*.track")
        );
        assert_eq!(
            called("17 msync(0x7f, 4096, MS_SYNC <unfinished ...>").as_deref(),
            Some("msync memory")
        );
        assert_eq!(
            called("17 fsync(9</srv/data/0c/af/0c1f2e3d4c5b6a79.tmpc5b6a790>) = 0").as_deref(),
            Some("fsync data/*/*/*.tmp*")
        );
        assert_eq!(called("17 fsync(9</tmp/server.log>) = 0"), None);
        assert_eq!(called("17 <... fdatasync resumed>) = 0"), None);
        assert_eq!(called("17 +++ exited with 0 +++"), None);
    }
}
