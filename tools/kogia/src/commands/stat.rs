//! `kogia stat`: what the store holds, and how its disks are used.

use std::io::{self, Write};

use clap::Args;
use indicatif::HumanBytes;
use kogia::{Stats, Store, TrackStats};
use serde_json::{Value, json};

use crate::console::Console;
use crate::disk_table;
use crate::failure::Failure;
use crate::track_table::{self, TrackRoom};

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
    disk_table::write(&stats.disks, tracks, out)
}

fn to_json(store: &Store, stats: &Stats, tracks: &[TrackStats]) -> Value {
    let room = TrackRoom::sum(tracks);
    let disks: Vec<_> = stats.disks.iter().map(disk_table::to_json).collect();
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
        "total": disk_table::space_json(&stats.total()),
        "tracks": tracks.iter().map(track_table::to_json).collect::<Vec<_>>(),
    })
}
