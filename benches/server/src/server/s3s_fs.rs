//! s3s-fs: objects are files, by the crate that kogia-server has its protocol from.

use std::path::Path;
use std::process::{Child, Command};

use super::{ACCESS_KEY, SECRET_KEY, endpoint, free_port, spawn};
use crate::Result;
use crate::client::Endpoint;

pub const DURABILITY: &str = "**never syncs** and has no setting for it: writes a file, renames it, \
     answers; the machine's death may take the last half minute, and leave files of a right name and \
     no bytes";

pub fn start(binary: &Path, dir: &Path) -> Result<(Child, Endpoint)> {
    let port = free_port()?;
    let child = spawn(
        Command::new(binary)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
            .arg(dir.join("data")),
        dir,
    )?;
    Ok((child, endpoint(port)))
}
