//! Kogia against raw system calls, against RocksDB, and against itself without compression, doing the
//! same work in the same run.
//!
//! ```text
//! cargo bench --bench ratios              # all
//! cargo bench --bench ratios -- small     # those whose name has "small" in it
//! ```
//!
//! Data goes below `KOGIA_BENCH_DIR` (default: cargo's target directory), at most 3 GiB at a
//! time, and is removed at the end. `KOGIA_BENCH_ROUNDS` (default 5) is how often each contender
//! takes its turn. Ratios are of rates, contender to reference, round by round: more is better.

mod compression;
#[path = "../counting/mod.rs"]
mod counting;
mod durable;
mod ingest;
mod listing;
#[path = "../machine/mod.rs"]
mod machine;
mod read;
mod rounds;
mod small;

use machine::Result;

type Bench = fn(rounds: usize) -> Result<()>;

const BENCHES: [(&str, Bench); 6] = [
    ("ingest", ingest::measure),
    ("read", read::measure),
    ("durable", durable::measure),
    ("small", small::measure),
    ("listing", listing::measure),
    ("compression", compression::measure),
];

fn main() -> Result<()> {
    // Cargo passes `--bench`; whatever else begins with a dash is for other harnesses.
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let rounds = machine::setting("KOGIA_BENCH_ROUNDS", 5).max(1);
    for (name, bench) in BENCHES {
        if filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str())) {
            bench(rounds)?;
        }
    }
    Ok(())
}
