//! `kogia stat`: what the store holds, and how its disks are used.

use std::io::{self, Write};

use clap::Args;
use indicatif::HumanBytes;
use kogia::{DiskStats, SpaceStats, Stats, Store};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;

const HEADINGS: [&str; 6] = ["tracks", "in files", "live", "dead", "free", "punched"];

#[derive(Args)]
pub struct Stat {
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

impl Stat {
    /// Prints the counters, by disk and in all.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let stats = store.stats()?;
        if self.json {
            writeln!(console.out, "{}", to_json(store, &stats))?;
        } else {
            write_table(store, &stats, &mut console.out)?;
        }
        Ok(())
    }
}

fn write_table(store: &Store, stats: &Stats, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "store      {} in {}", store.id(), store.home().display())?;
    writeln!(out, "objects    {} ({})", stats.objects, HumanBytes(stats.object_bytes))?;
    writeln!(out, "parts      {}", stats.parts)?;
    writeln!(out, "tombstones {}", stats.tombstones)?;
    writeln!(out)?;
    write_row(out, HEADINGS.map(String::from), "available  disk")?;
    for disk in &stats.disks {
        write_row(out, cells(&disk.space), &disk_text(disk))?;
    }
    write_row(out, cells(&stats.total()), "           in all")
}

fn write_row(out: &mut dyn Write, cells: [String; 6], last: &str) -> io::Result<()> {
    let [tracks, sizes @ ..] = cells;
    write!(out, "{tracks:>6}")?;
    sizes.iter().try_for_each(|cell| write!(out, "  {cell:>11}"))?;
    writeln!(out, "  {last}")
}

fn cells(space: &SpaceStats) -> [String; 6] {
    let size = |bytes| HumanBytes(bytes).to_string();
    [
        space.tracks.to_string(),
        size(space.file_bytes),
        size(space.live_bytes),
        size(space.dead_bytes),
        size(space.free_bytes),
        size(space.punched_bytes),
    ]
}

fn disk_text(disk: &DiskStats) -> String {
    let full = if disk.full { ", full" } else { "" };
    let available = HumanBytes(disk.available_bytes).to_string();
    format!("{available:<11}{} ({}{full})", disk.path.display(), disk.id)
}

fn to_json(store: &Store, stats: &Stats) -> Value {
    let disks: Vec<_> = stats.disks.iter().map(disk_json).collect();
    json!({
        "store": store.id().to_string(),
        "home": store.home(),
        "objects": stats.objects,
        "object_bytes": stats.object_bytes,
        "parts": stats.parts,
        "tombstones": stats.tombstones,
        "disks": disks,
        "total": space_json(&stats.total()),
    })
}

fn disk_json(disk: &DiskStats) -> Value {
    json!({
        "id": disk.id.to_string(),
        "path": disk.path,
        "available_bytes": disk.available_bytes,
        "full": disk.full,
        "punches": disk.punches,
        "space": space_json(&disk.space),
    })
}

fn space_json(space: &SpaceStats) -> Value {
    json!({
        "tracks": space.tracks,
        "file_bytes": space.file_bytes,
        "live_bytes": space.live_bytes,
        "dead_bytes": space.dead_bytes,
        "free_bytes": space.free_bytes,
        "punched_bytes": space.punched_bytes,
    })
}
