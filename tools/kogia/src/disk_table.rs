//! Disks as a table: what the store has on each, and what each has left.

use std::io::{self, Write};
use std::path::PathBuf;

use indicatif::HumanBytes;
use kogia::DiskStats;
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

/// How the room in tracks is used, in bytes: whole chunks, with what is in them beside values.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Space {
    tracks: u64,
    file_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    free_bytes: u64,
    punched_bytes: u64,
}

impl Disk {
    /// A disk of a store that has these `tracks`.
    pub fn of(stats: &DiskStats, tracks: &[Track]) -> Self {
        let id = stats.id.to_string();
        Disk {
            space: Space::on(&id, tracks),
            id,
            path: stats.path.clone(),
            available_bytes: stats.available_bytes,
            full: stats.full,
            punches: stats.punches,
            draining: stats.draining,
            failure: stats.failure.clone(),
        }
    }

    /// Makes its numbers those of these `tracks`: a server's are of values alone.
    pub fn recount(&mut self, tracks: &[Track]) {
        self.space = Space::on(&self.id, tracks);
    }
}

impl Space {
    /// The room in all of these tracks.
    pub fn of<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Self {
        let tracks: Vec<_> = tracks.into_iter().collect();
        let TrackRoom { file, parts, .. } = TrackRoom::sum(tracks.iter().copied());
        let [live_bytes, dead_bytes, free_bytes, punched_bytes] = parts;
        Space {
            tracks: tracks.len() as u64,
            file_bytes: file,
            live_bytes,
            dead_bytes,
            free_bytes,
            punched_bytes,
        }
    }

    fn on(disk: &str, tracks: &[Track]) -> Self {
        Space::of(tracks.iter().filter(|track| track.disk == disk))
    }
}

/// Prints disks, one a line, and their sum below.
pub fn write(disks: &[Disk], tracks: &[Track], out: &mut dyn Write) -> io::Result<()> {
    write_row(out, HEADINGS.map(String::from), "available  disk")?;
    for disk in disks {
        write_row(out, cells(&disk.space), &disk_text(disk))?;
    }
    write_row(out, cells(&Space::of(tracks)), "           in all")
}

fn write_row(out: &mut dyn Write, cells: [String; 6], last: &str) -> io::Result<()> {
    let [tracks, sizes @ ..] = cells;
    write!(out, "{tracks:>6}")?;
    sizes.iter().try_for_each(|cell| write!(out, "  {cell:>11}"))?;
    writeln!(out, "  {last}")
}

fn cells(space: &Space) -> [String; 6] {
    let Space { tracks, file_bytes, live_bytes, dead_bytes, free_bytes, punched_bytes } = *space;
    let sizes = [file_bytes, live_bytes, dead_bytes, free_bytes, punched_bytes];
    let [file, live, dead, free, punched] = sizes.map(|bytes| HumanBytes(bytes).to_string());
    [tracks.to_string(), file, live, dead, free, punched]
}

fn disk_text(disk: &Disk) -> String {
    let available = HumanBytes(disk.available_bytes).to_string();
    let mut text = format!("{available:<11}{} ({}", disk.path.display(), disk.id);
    let notes = [(disk.full, "full"), (disk.draining, "draining")];
    notes.iter().filter(|(is_so, _)| *is_so).for_each(|(_, note)| text += &format!(", {note}"));
    disk.failure.iter().for_each(|why| text += &format!(", failed: {why}"));
    text + ")"
}
