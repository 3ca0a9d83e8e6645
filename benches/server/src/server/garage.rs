//! Garage as a cluster of one node, which keeps one copy.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use super::{ACCESS_KEY, SECRET_KEY, Sync, endpoint, free_port, spawn};
use crate::Result;
use crate::client::{Endpoint, REGION};

pub const DURABILITY: &str = "`metadata_fsync = true`, `data_fsync = true`, one copy, LMDB, no \
     compression: data and name are synced before the answer; survives the machine's death";

pub fn start(binary: &Path, dir: &Path, sync: Sync) -> Result<(Child, Endpoint)> {
    let (port, rpc, admin) = (free_port()?, free_port()?, free_port()?);
    let (data, sync) = (dir.join("data"), sync == Sync::Always);
    let settings = dir.join("garage.toml");
    // What can't be compressed is not tried to be, which is to Garage's advantage.
    fs::write(
        &settings,
        format!(
            "metadata_dir = '{data}/meta'\ndata_dir = '{data}/data'\ndb_engine = 'lmdb'\n\
             metadata_fsync = {sync}\ndata_fsync = {sync}\nreplication_factor = 1\n\
             compression_level = 'none'\nrpc_secret = '{SECRET_KEY}'\n\
             rpc_bind_addr = '127.0.0.1:{rpc}'\nrpc_public_addr = '127.0.0.1:{rpc}'\n\
             [s3_api]\ns3_region = '{REGION}'\napi_bind_addr = '127.0.0.1:{port}'\n\
             [admin]\napi_bind_addr = '127.0.0.1:{admin}'\n",
            data = data.display(),
        ),
    )?;
    let child = spawn(
        Command::new(binary)
            .arg("-c")
            .arg(settings)
            .args(["server", "--single-node", "--default-access-key"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY),
        dir,
    )?;
    Ok((child, endpoint(port)))
}
