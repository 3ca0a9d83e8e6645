//! kogia-server beside SeaweedFS, Garage and s3s-fs: the same client does the same work with each,
//! in turns, on loopback, with data of each on the same file system.
//!
//! Knows S3 and processes, and nothing of Kogia. `benches/server/run` brings the servers;
//! `RESULTS.md` is what a run wrote.

mod client;
mod compare;
mod limit;
mod listing;
mod load;
mod machine;
mod object;
mod report;
mod server;
mod syncs;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// What the bench gives; its errors are read by people alone.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "S3 servers side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares servers, prints tables, and writes them to a file
    Compare(Box<Settings>),
    /// One measurement of any S3 server, as JSON
    Load(One),
    /// Serves requests without storing anything: what the client can do at most
    Limit {
        /// Where it listens
        #[arg(long)]
        port: u16,
    },
}

/// What is compared, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The kogia-server that is measured
    #[arg(long)]
    pub kogia: PathBuf,
    /// SeaweedFS's `weed`; left out if not given, as are the others
    #[arg(long)]
    pub seaweedfs: Option<PathBuf>,
    /// Garage's `garage`
    #[arg(long)]
    pub garage: Option<PathBuf>,
    /// The `s3s-fs` of the crate of that name
    #[arg(long)]
    pub s3s_fs: Option<PathBuf>,
    /// Why a server is left out, as NAME=TEXT
    #[arg(long, value_name = "NAME=TEXT")]
    pub missing: Vec<String>,
    /// Where the servers' directories are made
    #[arg(long)]
    pub dir: PathBuf,
    /// Rounds, each with all servers in turned order
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Connections of the client
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// What one measurement of PUT stores at most, in MiB
    #[arg(long, default_value_t = 768)]
    pub put_mib: u64,
    /// Objects below the delimiter that is listed; 0 leaves listings out
    #[arg(long, default_value_t = 1_000_000)]
    pub listing_keys: u64,
    /// Common prefixes that they have
    #[arg(long, default_value_t = PREFIXES)]
    pub listing_prefixes: u64,
    /// Connections that put them
    #[arg(long, default_value_t = 64)]
    pub listing_connections: usize,
    /// Seconds after which a server is loaded no further
    #[arg(long, default_value_t = 600.0)]
    pub listing_seconds: f64,
    /// The tables
    #[arg(long, default_value = "RESULTS.md")]
    pub results: PathBuf,
    /// All measurements, as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Common prefixes of the keys that are listed.
const PREFIXES: u64 = 1_000;

/// One measurement. Keys come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Args)]
struct One {
    /// Where the server listens on loopback
    #[arg(long)]
    port: u16,
    /// What is done with objects 0, 1, ...; the bucket is made if there is none
    #[arg(value_enum)]
    work: Verb,
    /// Bytes of an object
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Objects that are put at most, or that there are
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Seconds after which puts and gets end
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Verb {
    Put,
    Get,
    Delete,
    /// Puts what is listed
    Names,
    /// Lists it: the milliseconds of each page
    List,
}

impl One {
    async fn measure(&self) -> Result<serde_json::Value> {
        let endpoint = client::Endpoint {
            port: self.port,
            access_key: std::env::var("AWS_ACCESS_KEY_ID")?,
            secret_key: std::env::var("AWS_SECRET_ACCESS_KEY")?,
        };
        let mut load = load::Load::connect(&endpoint, self.connections).await?;
        // A bucket that is there already is as good.
        drop(client::Client::connect(&endpoint).await?.create_bucket().await);
        let group = load::Group { name: "load", size: self.size };
        let time = std::time::Duration::from_secs_f64(self.seconds);
        let rate = match self.work {
            Verb::Put => load.put(&group, self.count, time).await?,
            Verb::Get => load.get(&group, self.count, time).await?,
            Verb::Delete => load.delete(&group, self.count).await?,
            Verb::Names => listing::load(&mut load, self.count, PREFIXES, time).await?,
            Verb::List => return Ok(serde_json::to_value(listing::list(&endpoint).await?)?),
        };
        Ok(serde_json::to_value(rate)?)
    }
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Compare(settings) => compare::compare(&settings),
        Command::Load(one) => {
            println!("{}", runtime()?.block_on(one.measure())?);
            Ok(())
        }
        Command::Limit { port } => runtime()?.block_on(limit::serve(port)),
    }
}

/// One thread: the client takes one of two cores at most, and wakes no other thread.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
