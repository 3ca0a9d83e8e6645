//! `kogia compact`: garbage copied away from, and its room given back.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{CompactOptions, CompactReport, OnCompaction, Store, TrackId, TrackStats};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::track_table::{self, TrackRoom};
use crate::{disk_name, system};

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
        let on_progress = Some(on_progress(TrackRoom::sum(plan).cost, console));
        let report = store.compact(&CompactOptions { on_progress, ..options })?;
        if self.json {
            writeln!(console.out, "{}", json!(report))?;
        } else {
            write_text(&report, &quantity::seconds(started.elapsed()), &mut console.out)?;
        }
        outcome(&report)
    }
}

/// Shows how far the compaction is; Ctrl-C ends it after the slice that is being copied.
fn on_progress(cost_bytes: u64, console: &Console) -> Box<OnCompaction> {
    system::remember_signals();
    let bar = console.bytes_bar("compact", cost_bytes);
    Box::new(move |report| {
        let back = HumanBytes(report.before_bytes.saturating_sub(report.after_bytes));
        if let Some(track) = report.track {
            let left = count(report.tracks_left, "track");
            bar.set_message(format!("track {}, {left} left, {back} given back", track.0));
        }
        bar.set_position(report.copied_bytes);
        !system::was_asked_to_end()
    })
}

fn write_text(report: &CompactReport, seconds: &str, out: &mut dyn Write) -> io::Result<()> {
    let CompactReport { tracks, copied_bytes, copied_records, before_bytes, after_bytes, .. } =
        *report;
    let records = count(copied_records, "record");
    let back = HumanBytes(before_bytes.saturating_sub(after_bytes));
    writeln!(out, "compacted   {} in {seconds}", count(tracks, "track"))?;
    writeln!(out, "copied      {} ({records})", HumanBytes(copied_bytes))?;
    writeln!(out, "given back  {back}")?;
    writeln!(out, "tracks take {}, {} before", HumanBytes(after_bytes), HumanBytes(before_bytes))
}

/// What kept it from its end, if anything did.
fn outcome(report: &CompactReport) -> Result<(), Failure> {
    let left = count(report.tracks_left, "track");
    if report.stopped {
        return Err(Failure::Interrupted(format!(
            "interrupted with {left} left; what was done stays done, and the next run goes on"
        )));
    }
    if let Some(first) = report.blocked.first() {
        let tracks: Vec<_> = report.blocked.iter().map(|track| track.0.to_string()).collect();
        return Err(Failure::Damage(format!(
            "can't be read to the end: {} {}; what lives there stays where it is. 'kogia verify \
             STORE' names the objects that are damaged; once they are put again, or removed, \
             'kogia compact --track {} STORE' brings the room back",
            if tracks.len() == 1 { "track" } else { "tracks" },
            tracks.join(", "),
            first.0
        )));
    }
    if report.held_back {
        return Err(Failure::Problems(format!("{left} left: readers hold the room back")));
    }
    Ok(())
}

fn plan_json(plan: &[TrackStats], all: &TrackRoom) -> Value {
    json!({
        "dry_run": true,
        "cost_bytes": all.cost,
        "gain_bytes": all.gain,
        "tracks": plan.iter().map(track_table::to_json).collect::<Vec<_>>(),
    })
}
