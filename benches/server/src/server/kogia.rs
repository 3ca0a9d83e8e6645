//! kogia-server with the settings that it comes with.

use std::path::Path;
use std::process::{Child, Command};

use super::{ACCESS_KEY, SECRET_KEY, endpoint, free_port, spawn};
use crate::Result;
use crate::client::Endpoint;

pub const DURABILITY: &str = "as it comes: object and name are in one record, which is synced before \
     the answer; survives the machine's death";

pub fn start(binary: &Path, dir: &Path) -> Result<(Child, Endpoint)> {
    let port = free_port()?;
    let child = spawn(
        Command::new(binary)
            .arg(dir.join("data"))
            .args(["--listen", &format!("127.0.0.1:{port}"), "--admin", "127.0.0.1:0"])
            .env("KOGIA_SERVER_ACCESS_KEY", ACCESS_KEY)
            .env("KOGIA_SERVER_SECRET_KEY", SECRET_KEY),
        dir,
    )?;
    Ok((child, endpoint(port)))
}
