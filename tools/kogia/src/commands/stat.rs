//! `kogia stat`: what the store holds, and how its disks are used.

use std::io::{self, Write};

use clap::Args;
use indicatif::HumanBytes;
use kogia::{DiskStats, SpaceStats, Stats, Store, TrackStats};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::track_table::{self, TrackRoom};

const HEADINGS: [&str; 6] = ["tracks", "in files", "live", "dead", "free", "punched"];
/// Tracks that are shown unless all are asked for.
const SHOWN_TRACKS: usize = 20;

#[derive(Args)]
pub struct Stat {
    /// Show all tracks, and not only the 20 with the most to gain from compaction
    #[arg(long)]
    tracks: bool,
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

impl Stat {
    /// Prints the counters, by track, by disk and in all.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let (stats, tracks) = (store.stats()?, store.tracks()?);
        if self.json {
            writeln!(console.out, "{}", to_json(store, &stats, &tracks))?;
        } else {
            write_table(store, &stats, &tracks, &mut console.out)?;
            self.write_tracks(&tracks, &mut console.out)?;
        }
        Ok(())
    }

    fn write_tracks(&self, tracks: &[TrackStats], out: &mut dyn Write) -> io::Result<()> {
        if tracks.is_empty() {
            return Ok(());
        }
        let mut shown: Vec<_> = tracks.iter().collect();
        if !self.tracks && tracks.len() > SHOWN_TRACKS {
            shown.sort_by_key(|track| (std::cmp::Reverse(track.gain_bytes), track.track));
            shown.truncate(SHOWN_TRACKS);
            shown.sort_by_key(|track| track.track);
        }
        writeln!(out)?;
        track_table::write(&shown, &TrackRoom::sum(tracks), out)?;
        match tracks.len() - shown.len() {
            0 => Ok(()),
            more => writeln!(out, "and {more} more with less to gain: --tracks shows them"),
        }
    }
}

fn write_table(
    store: &Store,
    stats: &Stats,
    tracks: &[TrackStats],
    out: &mut dyn Write,
) -> io::Result<()> {
    let room = TrackRoom::sum(tracks);
    let (used, needed) = (HumanBytes(room.used()), HumanBytes(room.cost));
    writeln!(out, "store      {} in {}", store.id(), store.home().display())?;
    writeln!(out, "objects    {} ({})", stats.objects, HumanBytes(stats.object_bytes))?;
    writeln!(out, "parts      {}", stats.parts)?;
    writeln!(out, "tombstones {}", stats.tombstones)?;
    writeln!(out, "space      {used} for {needed} needed ({:.2})", room.amplification())?;
    writeln!(out)?;
    write_row(out, HEADINGS.map(String::from), "available  disk")?;
    for disk in &stats.disks {
        let here = TrackRoom::sum(tracks.iter().filter(|track| track.disk == disk.id));
        write_row(out, cells(disk.space.tracks, &here), &disk_text(disk))?;
    }
    write_row(out, cells(tracks.len() as u64, &room), "           in all")
}

fn write_row(out: &mut dyn Write, cells: [String; 6], last: &str) -> io::Result<()> {
    let [tracks, sizes @ ..] = cells;
    write!(out, "{tracks:>6}")?;
    sizes.iter().try_for_each(|cell| write!(out, "  {cell:>11}"))?;
    writeln!(out, "  {last}")
}

fn cells(tracks: u64, room: &TrackRoom) -> [String; 6] {
    let size = |bytes| HumanBytes(bytes).to_string();
    let [live, dead, free, punched] = room.parts.map(size);
    [tracks.to_string(), size(room.file), live, dead, free, punched]
}

fn disk_text(disk: &DiskStats) -> String {
    let full = if disk.full { ", full" } else { "" };
    let available = HumanBytes(disk.available_bytes).to_string();
    format!("{available:<11}{} ({}{full})", disk.path.display(), disk.id)
}

fn to_json(store: &Store, stats: &Stats, tracks: &[TrackStats]) -> Value {
    let room = TrackRoom::sum(tracks);
    let disks: Vec<_> = stats.disks.iter().map(disk_json).collect();
    json!({
        "store": store.id().to_string(),
        "home": store.home(),
        "objects": stats.objects,
        "object_bytes": stats.object_bytes,
        "parts": stats.parts,
        "tombstones": stats.tombstones,
        "used_bytes": room.used(),
        "needed_bytes": room.cost,
        "amplification": room.amplification(),
        "disks": disks,
        "total": space_json(&stats.total()),
        "tracks": tracks.iter().map(track_table::to_json).collect::<Vec<_>>(),
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
