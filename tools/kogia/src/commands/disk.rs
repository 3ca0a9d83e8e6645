//! `kogia disks` and `kogia disk`: showing disks, adding them, emptying them, evening them out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{CompactOptions, DiskStats, ErrorKind, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::commands::stat::partitions;
use crate::compaction_view::{self, carry_out};
use crate::console::Console;
use crate::disk_table::{self, Disk};
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server::{self, Server};
use crate::track_table::{Track, TrackRoom};
use crate::{disk_name, escaped};

/// What to do where a directory can't become a disk.
pub const NEW_DISK: &str =
    "an empty or new directory becomes a disk, or one that is a disk of other stores";

#[derive(Args)]
pub struct Disks {
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Add {
    /// An empty directory, or a new one, usually on a disk of its own; or one that another store has
    #[arg(value_parser = server::path())]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Drain {
    /// Directory of the disk, or its id as 'kogia disks' shows it, or how that begins
    #[arg(value_name = "DIR|ID")]
    name: PathBuf,
    /// Only tell what would be moved
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    moving: Moving,
}

#[derive(Args)]
pub struct Keep {
    /// Directory of the disk, or its id as 'kogia disks' shows it, or how that begins
    #[arg(value_name = "DIR|ID")]
    name: PathBuf,
    /// Print the disk as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Forget {
    /// Directory of the disk, or its id as 'kogia disks' shows it, or how that begins
    #[arg(value_name = "DIR|ID")]
    name: PathBuf,
    /// Only tell what is lost, and give up nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: a line for each object, and one with the sums
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Rebalance {
    #[command(flatten)]
    moving: Moving,
}

#[derive(Args)]
struct Moving {
    /// Copy at most so many bytes a second, for example 20MiB
    #[arg(long, value_name = "BYTES", value_parser = quantity::parse_bytes)]
    rate: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Moving {
    fn options(&self, cost_bytes: u64, console: &Console) -> CompactOptions {
        CompactOptions {
            bytes_per_second: self.rate,
            on_progress: compaction_view::on_progress("move", cost_bytes, console),
            ..CompactOptions::default()
        }
    }
}

impl Disks {
    /// Prints the disks.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let (disks, tracks) = (store.stats()?.disks, Track::all(store)?);
        let disks: Vec<_> = disks.iter().map(|disk| Disk::of(disk, &tracks)).collect();
        let out = &mut console.out;
        if self.json {
            return Ok(writeln!(out, "{}", json!({ "disks": disks }))?);
        }
        Ok(disk_table::write(&disks, &tracks, out)?)
    }

    /// Prints those of a server, by partition: all lie on all of them.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let partitions = partitions(server)?;
        let out = &mut console.out;
        if self.json {
            return Ok(writeln!(out, "{}", json!({ "partitions": partitions }))?);
        }
        for (number, partition) in partitions.iter().enumerate() {
            writeln!(out, "{}partition {number}", if number == 0 { "" } else { "\n" })?;
            disk_table::write(&partition.disks, &partition.tracks, out)?;
        }
        Ok(())
    }
}

impl Add {
    /// Adds the disk, for good.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let added = store.add_disk(&self.dir);
        let id = added.map_err(Failure::advised(ErrorKind::Disk, NEW_DISK))?;
        self.tell(&shown(store, &PathBuf::from(id.to_string()))?, console)
    }

    /// Lets a server add it to all its partitions.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let dir = server::absolute(&self.dir)?;
        let added = server.post("add-disk", &json!({ "dir": dir }))?;
        self.tell(&shown_by(server, &added)?, console)
    }

    fn tell(&self, disk: &Disk, console: &mut Console) -> Result<(), Failure> {
        if self.json {
            return Ok(writeln!(console.out, "{}", json!(disk))?);
        }
        Ok(writeln!(console.out, "disk  {} in {}", disk.id, disk.path.display())?)
    }
}

impl Drain {
    /// Moves everything off the disk, which then is the store's no more.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let disk = named(store, &self.name)?;
        let (tracks, id) = (Track::all(store)?, disk.id.to_string());
        let room = TrackRoom::sum(tracks.iter().filter(|track| track.disk == id));
        if self.dry_run {
            return self.tell(store, &disk, room.cost, console);
        }
        let started = Instant::now();
        let report = store.drain_disk(disk.id, &self.moving.options(room.cost, console))?;
        compaction_view::finish(&report, "moved", started, self.moving.json, console)?;
        console.note(format_args!("{} is this store's no more", disk.path.display()));
        Ok(())
    }

    fn tell(
        &self,
        store: &Store,
        disk: &DiskStats,
        cost_bytes: u64,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let others = store.stats()?.disks;
        let others = others.iter().filter(|other| other.id != disk.id && !other.draining);
        let available_bytes: u64 = others.map(|other| other.available_bytes).sum();
        let plan = json!({
            "dry_run": true,
            "tracks": disk.space.tracks,
            "cost_bytes": cost_bytes,
            "available_bytes": available_bytes,
        });
        self.tell_plan(&plan, console)
    }

    /// Lets a server drain it from all its partitions.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let disk = server::disk_name(&self.name)?;
        let body = json!({
            "disk": disk,
            "bytes_per_second": self.moving.rate,
            "dry_run": self.dry_run,
        });
        if self.dry_run {
            let plan = server.carry_out("drain", "drain", &body, console)?;
            return self.tell_plan(&plan, console);
        }
        carry_out(server, "drain", "moved", &body, self.moving.json, console)?;
        console
            .note(format_args!("{disk} is the server's no more; its settings may name it still"));
        Ok(())
    }

    fn tell_plan(&self, plan: &Value, console: &mut Console) -> Result<(), Failure> {
        if self.moving.json {
            return Ok(writeln!(console.out, "{plan}")?);
        }
        let plan: DrainPlan = server::read(plan)?;
        let (tracks, cost) = (count(plan.tracks, "track"), HumanBytes(plan.cost_bytes));
        let available = HumanBytes(plan.available_bytes);
        Ok(writeln!(
            console.out,
            "{tracks}: {cost} would be moved to the other disks, which have {available} available"
        )?)
    }
}

/// What draining would do.
#[derive(Deserialize)]
struct DrainPlan {
    tracks: u64,
    cost_bytes: u64,
    available_bytes: u64,
}

/// A disk, as a server answers.
#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Keep {
    /// Lets a server take it back for all its partitions.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let disk = server::disk_name(&self.name)?;
        let kept = server.post("keep-disk", &json!({ "disk": disk }))?;
        self.tell(|| shown_by(server, &kept), console)
    }

    /// Takes back that the disk is to be drained.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        store.keep_disk(named(store, &self.name)?.id)?;
        self.tell(|| shown(store, &self.name), console)
    }

    fn tell(
        &self,
        disk: impl FnOnce() -> Result<Disk, Failure>,
        console: &mut Console,
    ) -> Result<(), Failure> {
        if self.json {
            writeln!(console.out, "{}", json!(disk()?))?;
        }
        Ok(())
    }
}

impl Forget {
    /// Prints the keys that are lost with the disk, and gives it up.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let disk = named(store, &self.name)?;
        if disk.failure.is_none() {
            let what = format!("{} is there; 'kogia disk drain' empties it", disk.path.display());
            return Err(Failure::Usage(what));
        }
        let (mut bytes, mut printed) = (0, Ok(()));
        let out = &mut console.out;
        let on_object = |key: &[u8], info: &kogia::Info| {
            bytes += info.len;
            let key = escaped::text(key);
            let line =
                if self.json { json!({ "key": key, "len": info.len }).to_string() } else { key };
            let done = writeln!(out, "{line}");
            printed = std::mem::replace(&mut printed, Ok(())).and(done);
        };
        let objects = if self.dry_run {
            store.objects_on(disk.id, on_object)?
        } else {
            store.forget_disk(disk.id, on_object)?
        };
        printed?;
        if self.json {
            let sums = json!({ "dry_run": self.dry_run, "objects": objects, "bytes": bytes });
            return Ok(writeln!(console.out, "{sums}")?);
        }
        let (objects, bytes) = (count(objects, "object"), HumanBytes(bytes));
        let path = disk.path.display();
        console.note(format_args!(
            "{objects} ({bytes}) {} lost with {path}",
            match self.dry_run {
                true => "would be",
                false => "are",
            }
        ));
        Ok(())
    }
}

impl Rebalance {
    /// Lets a server do so in all its partitions.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let body = json!({ "bytes_per_second": self.moving.rate });
        carry_out(server, "rebalance", "moved", &body, self.moving.json, console)
    }

    /// Moves tracks until the disks are about as full as each other.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let started = Instant::now();
        let report = store.rebalance(&self.moving.options(0, console))?;
        compaction_view::finish(&report, "moved", started, self.moving.json, console)
    }
}

/// A disk as it is shown, in a store.
fn shown(store: &Store, name: &Path) -> Result<Disk, Failure> {
    Ok(Disk::of(&named(store, name)?, &Track::all(store)?))
}

/// A disk as it is shown, in the first partition of a server that has it.
fn shown_by(server: &Server, disk: &Named) -> Result<Disk, Failure> {
    let mut disks = partitions(server)?.into_iter().flat_map(|partition| partition.disks);
    disks
        .find(|shown| shown.id == disk.id)
        .ok_or_else(|| Failure::Problems(format!("{} was drained meanwhile", disk.id)))
}

fn named(store: &Store, name: &Path) -> Result<DiskStats, Failure> {
    let disks = store.stats()?.disks;
    let id = disk_name::find(&disks, name)?;
    Ok(disks.into_iter().find(|disk| disk.id == id).expect("it was found among them"))
}
