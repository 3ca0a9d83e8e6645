//! `kogia compact`: garbage copied away from, and its room given back.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{CompactOptions, Store, TrackId, TrackStats};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::track_table::{self, TrackRoom};
use crate::{compaction_view, disk_name};

/// --disk takes the directory of a disk, or its id, and leaves the others alone.
#[derive(Args)]
pub struct Compact {
    /// Only the track with this number, whatever garbage is in it; repeat it for several
    #[arg(long, value_name = "NUMBER")]
    track: Vec<u32>,
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
        let options = self.to_options(store, disks)?;
        let plan = store.plan_compaction(&options)?;
        if self.dry_run {
            self.tell(&plan, console)
        } else {
            self.compact(store, options, &plan, console)
        }
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

    fn tell(&self, plan: &[TrackStats], console: &mut Console) -> Result<(), Failure> {
        let all = TrackRoom::sum(plan);
        let out = &mut console.out;
        if self.json {
            return Ok(writeln!(out, "{}", plan_json(plan, &all))?);
        }
        if !plan.is_empty() {
            track_table::write(&plan.iter().collect::<Vec<_>>(), &all, out)?;
        }
        let (tracks, cost) = (count(plan.len() as u64, "track"), HumanBytes(all.cost));
        let gain = HumanBytes(all.gain);
        Ok(writeln!(out, "{tracks} would be compacted: {cost} copied, {gain} given back")?)
    }

    fn compact(
        &self,
        store: &Store,
        options: CompactOptions,
        plan: &[TrackStats],
        console: &mut Console,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        let cost_bytes = TrackRoom::sum(plan).cost;
        let on_progress = compaction_view::on_progress("compact", cost_bytes, console);
        let report = store.compact(&CompactOptions { on_progress, ..options })?;
        compaction_view::finish(&report, "compacted", started, self.json, console)
    }
}

fn plan_json(plan: &[TrackStats], all: &TrackRoom) -> Value {
    json!({
        "dry_run": true,
        "cost_bytes": all.cost,
        "gain_bytes": all.gain,
        "tracks": plan.iter().map(track_table::to_json).collect::<Vec<_>>(),
    })
}
