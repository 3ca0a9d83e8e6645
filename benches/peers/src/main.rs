//! Kogia beside other engines and raw system calls, doing the same work in the same run.
//!
//! `run` measures each engine in each workload, by a process of its own, in rounds of turned order, and
//! writes what came out as JSON, after every measurement; `report` makes tables and charts of that.
//! Knows Kogia as one engine among others. The queue has a bench of its own, in `benches/`.

mod charts;
mod data;
mod engines;
#[path = "../../server/src/machine.rs"]
#[allow(dead_code, reason = "the bench of the server uses the rest of it")]
mod machine;
mod measure;
mod report;
mod results;
mod run;
mod summary;
mod workloads;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use engines::Kind;

/// What goes wrong here is read by people alone.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Failure>;

#[derive(Parser)]
#[command(about = "Kogia beside other storage engines")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, and writes results and report
    Run(Settings),
    /// Makes the report from results that are there
    Report(Place),
    /// Names workloads, and says what they do
    List,
    /// One measurement, as JSON
    #[command(hide = true)]
    Child(run::Child),
    /// Fills a store for a measurement
    #[command(hide = true)]
    Fill(workloads::Fill),
}

/// What is measured, and where.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Smaller and once, in some ten minutes
    #[arg(long)]
    pub short: bool,
    /// Rounds, each with all contenders in turned order [default: 5, 1 if short]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Workloads by name, or by the beginning of it, as `ingest,put-4k-32`
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Engines, as `kogia,rocksdb`; limits are always measured
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<Kind>,
    /// With workloads of twenty million objects
    #[arg(long)]
    pub growth: bool,
    /// Where data goes; a disk, not memory [default: the system's place for temporary files]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// What data may take at a time
    #[arg(long, default_value_t = 12)]
    pub max_gib: u64,
    /// Goes on with results that are there, instead of beginning anew
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub place: Place,
}

/// Where results are.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The directory of RESULTS.md, results.json and charts/
    #[arg(long, default_value = "benches/peers")]
    pub results: PathBuf,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run(settings) => run::run(&settings),
        Command::Report(place) => report::write(&place),
        Command::List => {
            for workload in workloads::all() {
                println!("{:22} {}", workload.name(), workload.about());
            }
            Ok(())
        }
        Command::Child(child) => child.run(),
        Command::Fill(fill) => fill.run(),
    }
}
