//! Disks as a table: what the store has on each, and what each has left.

use std::io::{self, Write};
use std::path::PathBuf;

use indicatif::HumanBytes;
use kogia::{DiskStats, SpaceStats};
use serde::{Deserialize, Serialize};

use crate::track_table::{Track, TrackRoom};

const HEADINGS: [&str; 6] = ["tracks", "in files", "live", "dead", "free", "punched"];

/// A disk of a store or of a server's partition; sizes in bytes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Disk {
    pub id: String,
    pub path: PathBuf,
    available_bytes: u64,
    full: bool,
    punches: bool,
    draining: bool,
    failure: Option<String>,
    space: Space,
}

/// How the room in tracks is used, in bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Space {
    tracks: u64,
    file_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    free_bytes: u64,
    punched_bytes: u64,
}

impl From<&DiskStats> for Disk {
    fn from(stats: &DiskStats) -> Self {
        Disk {
            id: stats.id.to_string(),
            path: stats.path.clone(),
            available_bytes: stats.available_bytes,
            full: stats.full,
            punches: stats.punches,
            draining: stats.draining,
            failure: stats.failure.clone(),
            space: stats.space.into(),
        }
    }
}

impl From<SpaceStats> for Space {
    fn from(stats: SpaceStats) -> Self {
        Space {
            tracks: stats.tracks,
            file_bytes: stats.file_bytes,
            live_bytes: stats.live_bytes,
            dead_bytes: stats.dead_bytes,
            free_bytes: stats.free_bytes,
            punched_bytes: stats.punched_bytes,
        }
    }
}

/// Prints disks, one a line, and their sum below.
pub fn write(disks: &[Disk], tracks: &[Track], out: &mut dyn Write) -> io::Result<()> {
    write_row(out, HEADINGS.map(String::from), "available  disk")?;
    for disk in disks {
        let here = TrackRoom::sum(tracks.iter().filter(|track| track.disk == disk.id));
        write_row(out, cells(disk.space.tracks, &here), &disk_text(disk))?;
    }
    write_row(out, cells(tracks.len() as u64, &TrackRoom::sum(tracks)), "           in all")
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

fn disk_text(disk: &Disk) -> String {
    let available = HumanBytes(disk.available_bytes).to_string();
    let mut text = format!("{available:<11}{} ({}", disk.path.display(), disk.id);
    let notes = [(disk.full, "full"), (disk.draining, "draining")];
    notes.iter().filter(|(is_so, _)| *is_so).for_each(|(_, note)| text += &format!(", {note}"));
    disk.failure.iter().for_each(|why| text += &format!(", failed: {why}"));
    text + ")"
}
