//! What one types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "Exit status: 0 nothing was lost, 1 something was, 2 the command line is \
                          wrong, 3 the harness could not do its work.";

/// Breaks the world under a storage engine, and checks what is left against what was acknowledged.
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run workloads, break the world under them, and judge what is left
    Run(Run),
    /// List worlds, workloads and engines
    List,
}

#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// What breaks; several with commas
    #[arg(long, value_delimiter = ',', default_value = "sim")]
    pub world: Vec<String>,
    /// What is done meanwhile; several with commas
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub workload: Vec<String>,
    /// Who does it; default the first that is listed and can
    #[arg(long)]
    pub engine: Option<String>,
    /// What everything is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seeds of each workload, this one and those behind it
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seeds: u64,
    /// Broken states of each workload and seed
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub states: u64,
    /// Threads; default two a processor
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// End with the first state that loses something, and do not make it smaller
    #[arg(long)]
    pub first: bool,
    /// The disks say that they have written what they have not: something is lost, and found
    #[arg(long)]
    pub lying_disk: bool,
    /// Only these operations of the workload, by their numbers
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    pub operations: Option<Vec<usize>>,
    /// Only this state, as a failure names it
    #[arg(long)]
    pub state: Option<String>,
    /// Draw the first failing history to a file, as SVG
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// The report as JSON
    #[arg(long)]
    pub json: bool,
}
