//! Disks as a table: what the store has on each, and what each has left.

use std::io::{self, Write};

use indicatif::HumanBytes;
use kogia::{DiskStats, SpaceStats, TrackStats};
use serde_json::{Value, json};

use crate::track_table::TrackRoom;

const HEADINGS: [&str; 6] = ["tracks", "in files", "live", "dead", "free", "punched"];

/// Prints disks, one a line, and their sum below.
pub fn write(disks: &[DiskStats], tracks: &[TrackStats], out: &mut dyn Write) -> io::Result<()> {
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

fn disk_text(disk: &DiskStats) -> String {
    let available = HumanBytes(disk.available_bytes).to_string();
    let mut text = format!("{available:<11}{} ({}", disk.path.display(), disk.id);
    let notes = [(disk.full, "full"), (disk.draining, "draining")];
    notes.iter().filter(|(is_so, _)| *is_so).for_each(|(_, note)| text += &format!(", {note}"));
    disk.failure.iter().for_each(|why| text += &format!(", failed: {why}"));
    text + ")"
}

/// A disk as JSON, sizes in bytes.
pub fn to_json(disk: &DiskStats) -> Value {
    json!({
        "id": disk.id.to_string(),
        "path": disk.path,
        "available_bytes": disk.available_bytes,
        "full": disk.full,
        "punches": disk.punches,
        "draining": disk.draining,
        "failure": disk.failure,
        "space": space_json(&disk.space),
    })
}

/// Counters of room as JSON, in bytes.
pub fn space_json(space: &SpaceStats) -> Value {
    json!({
        "tracks": space.tracks,
        "file_bytes": space.file_bytes,
        "live_bytes": space.live_bytes,
        "dead_bytes": space.dead_bytes,
        "free_bytes": space.free_bytes,
        "punched_bytes": space.punched_bytes,
    })
}
