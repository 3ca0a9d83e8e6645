//! This program's own server, as a process like the others.

use std::path::Path;
use std::process::{Child, Command};

use super::{endpoint, free_port, spawn};
use crate::Result;
use crate::client::Endpoint;

pub fn start(binary: &Path, dir: &Path) -> Result<(Child, Endpoint)> {
    let port = free_port()?;
    let child = spawn(Command::new(binary).args(["limit", "--port", &port.to_string()]), dir)?;
    Ok((child, endpoint(port)))
}
