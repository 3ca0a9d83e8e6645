//! `kogia stat`: what the store holds, and how its disks are used.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use kogia::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::console::Console;
use crate::disk_table::{self, Disk, Space};
use crate::failure::Failure;
use crate::server::Server;
use crate::track_table::{self, Track, TrackRoom};

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

/// A store, or a server's partition.
#[derive(Serialize, Deserialize)]
pub struct Held {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<usize>,
    store: String,
    home: PathBuf,
    objects: u64,
    object_bytes: u64,
    parts: u64,
    tombstones: u64,
    pub disks: Vec<Disk>,
    total: Space,
    pub tracks: Vec<Track>,
}

/// All partitions of a server.
#[derive(Deserialize)]
struct Partitions {
    partitions: Vec<Held>,
}

/// What the partitions of a server hold.
pub fn partitions(server: &Server) -> Result<Vec<Held>, Failure> {
    let mut partitions = server.get::<Partitions>("stats")?.partitions;
    partitions.iter_mut().for_each(Held::recount);
    Ok(partitions)
}

impl Stat {
    /// Prints the counters, by track, by disk and in all.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let held = Held::of(store)?;
        if self.json {
            return Ok(writeln!(console.out, "{}", held.to_json())?);
        }
        Ok(self.write(&held, &mut console.out)?)
    }

    /// Prints those of a server, partition by partition.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let (partitions, out) = (partitions(server)?, &mut console.out);
        if self.json {
            let partitions: Vec<_> = partitions.iter().map(Held::to_json).collect();
            return Ok(writeln!(out, "{}", json!({ "partitions": partitions }))?);
        }
        for (number, partition) in partitions.iter().enumerate() {
            writeln!(out, "{}partition  {number}", if number == 0 { "" } else { "\n" })?;
            self.write(partition, out)?;
        }
        Ok(())
    }

    fn write(&self, held: &Held, out: &mut dyn Write) -> io::Result<()> {
        held.write_table(out)?;
        self.write_tracks(&held.tracks, out)
    }

    fn write_tracks(&self, tracks: &[Track], out: &mut dyn Write) -> io::Result<()> {
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

impl Held {
    fn of(store: &Store) -> kogia::Result<Self> {
        let (stats, tracks) = (store.stats()?, Track::all(store)?);
        Ok(Held {
            partition: None,
            store: store.id().to_string(),
            home: store.home().to_owned(),
            objects: stats.objects,
            object_bytes: stats.object_bytes,
            parts: stats.parts,
            tombstones: stats.tombstones,
            disks: stats.disks.iter().map(|disk| Disk::of(disk, &tracks)).collect(),
            total: Space::of(&tracks),
            tracks,
        })
    }

    fn recount(&mut self) {
        self.disks.iter_mut().for_each(|disk| disk.recount(&self.tracks));
        self.total = Space::of(&self.tracks);
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let room = TrackRoom::sum(&self.tracks);
        let (used, needed) = (HumanBytes(room.used()), HumanBytes(room.cost));
        writeln!(out, "store      {} in {}", self.store, self.home.display())?;
        writeln!(out, "objects    {} ({})", self.objects, HumanBytes(self.object_bytes))?;
        writeln!(out, "parts      {}", self.parts)?;
        writeln!(out, "tombstones {}", self.tombstones)?;
        writeln!(out, "space      {used} for {needed} needed ({:.2})", room.amplification())?;
        writeln!(out)?;
        disk_table::write(&self.disks, &self.tracks, out)
    }

    fn to_json(&self) -> Value {
        let room = TrackRoom::sum(&self.tracks);
        let mut told = json!(self);
        told["used_bytes"] = room.used().into();
        told["needed_bytes"] = room.cost.into();
        told["amplification"] = room.amplification().into();
        told
    }
}
