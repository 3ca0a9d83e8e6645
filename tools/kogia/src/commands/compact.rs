//! `kogia compact`: garbage copied away from, and its room given back.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{CompactOptions, Store, TrackId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compaction_view::{self, carry_out};
use crate::console::Console;
use crate::disk_name;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server::{self, Server};
use crate::track_table::{self, Track, TrackRoom};

/// --disk takes the directory of a disk, or its id, and leaves the others alone.
#[derive(Args)]
pub struct Compact {
    /// Only the track with this number, whatever garbage is in it; repeat it for several
    #[arg(long, value_name = "NUMBER")]
    track: Vec<u32>,
    /// Of a server, only the partition with this number; --track takes it
    #[arg(long, value_name = "NUMBER")]
    partition: Option<usize>,
    /// Only tracks of which at least this share is garbage
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = quantity::parse_share)]
    min_garbage: f64,
    /// Copy at most so many bytes a second, for example 20MiB
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    rate: Option<u64>,
    /// Only tell which tracks would be compacted, what would be copied and what come back
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Compact {
    /// Compacts what is named, or worth it, on the disks of the store that are named, or all.
    pub fn run(
        &self,
        store: &Store,
        disks: &[PathBuf],
        console: &mut Console,
    ) -> Result<(), Failure> {
        server::check_partition(self.partition)?;
        let options = self.to_options(store, disks)?;
        let plan: Vec<_> = store.plan_compaction(&options)?.iter().map(Track::from).collect();
        if !self.dry_run {
            return self.compact(store, options, &plan, console);
        }
        if self.json {
            let all = TrackRoom::sum(&plan);
            return Ok(writeln!(console.out, "{}", plan_json(&plan, &all))?);
        }
        tell(&plan, console)
    }

    /// Lets a server do the same in all its partitions, or one.
    pub fn ask(
        &self,
        server: &Server,
        disks: &[PathBuf],
        console: &mut Console,
    ) -> Result<(), Failure> {
        let disks: Vec<_> =
            disks.iter().map(|disk| server::disk_name(disk)).collect::<Result<_, _>>()?;
        let body = json!({
            "partition": self.partition,
            "tracks": Some(&self.track).filter(|tracks| !tracks.is_empty()),
            "disks": Some(disks).filter(|disks| !disks.is_empty()),
            "min_garbage": self.min_garbage,
            "bytes_per_second": self.rate,
            "dry_run": self.dry_run,
        });
        if !self.dry_run {
            return carry_out(server, "compact", "compacted", &body, self.json, console);
        }
        let plan = server.carry_out("compact", "compact", &body, console)?;
        if self.json {
            return Ok(writeln!(console.out, "{plan}")?);
        }
        tell(&server::read::<Plan>(&plan)?.tracks, console)
    }

    fn to_options(&self, store: &Store, disks: &[PathBuf]) -> Result<CompactOptions, Failure> {
        let there = store.tracks()?;
        if let Some(number) = self.track.iter().find(|id| there.iter().all(|t| t.track.0 != **id)) {
            let what = format!("there is no track {number}; 'kogia stat --tracks STORE' shows all");
            return Err(Failure::Usage(what));
        }
        let stats = store.stats()?.disks;
        let ids =
            disks.iter().map(|name| disk_name::find(&stats, name)).collect::<Result<_, _>>()?;
        Ok(CompactOptions {
            tracks: Some(self.track.iter().copied().map(TrackId).collect::<Vec<_>>())
                .filter(|tracks| !tracks.is_empty()),
            disks: Some(ids).filter(|_| !disks.is_empty()),
            min_garbage: Some(self.min_garbage),
            bytes_per_second: self.rate,
            ..CompactOptions::default()
        })
    }

    fn compact(
        &self,
        store: &Store,
        options: CompactOptions,
        plan: &[Track],
        console: &mut Console,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let cost_bytes = TrackRoom::sum(plan).cost;
        let on_progress = compaction_view::on_progress("compact", cost_bytes, console);
        let report = store.compact(&CompactOptions { on_progress, ..options })?;
        compaction_view::finish(&report, "compacted", started, self.json, console)
    }
}

/// A server's plan.
#[derive(Deserialize)]
struct Plan {
    tracks: Vec<Track>,
}

fn tell(plan: &[Track], console: &mut Console) -> Result<(), Failure> {
    let all = TrackRoom::sum(plan);
    let out = &mut console.out;
    if !plan.is_empty() {
        track_table::write(&plan.iter().collect::<Vec<_>>(), &all, out)?;
    }
    let (tracks, cost) = (count(plan.len() as u64, "track"), HumanBytes(all.cost));
    let gain = HumanBytes(all.gain);
    Ok(writeln!(out, "{tracks} would be compacted: {cost} copied, {gain} given back")?)
}

fn plan_json(plan: &[Track], all: &TrackRoom) -> Value {
    json!({
        "dry_run": true,
        "cost_bytes": all.cost,
        "gain_bytes": all.gain,
        "tracks": plan,
    })
}
