//! `kogia backup`: a copy of the store that is a store.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{BackupOptions, BackupReport, ErrorKind, LinkMode, Store};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::count;
use crate::server::{self, Server};

#[derive(Args)]
pub struct Backup {
    /// Directory of the backup: an empty or new one, or an earlier backup of the same store, of
    /// which what has not changed is kept
    #[arg(value_parser = server::path())]
    dir: PathBuf,
    /// Read and write everything, so that nothing is shared with the store
    #[arg(long, group = "mode")]
    copy: bool,
    /// Share full track files as they are, or fail: quick, takes no room, and what damages one
    /// damages both. Room in a shared track comes back only with all of it
    #[arg(long, group = "mode")]
    hard_link: bool,
    /// Share what neither side changes, or fail; for btrfs, XFS and their like
    #[arg(long, group = "mode")]
    reflink: bool,
    /// Only tell how much would be brought over
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Backs up, and prints how.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let options = BackupOptions {
            mode: self.mode(),
            dry_run: self.dry_run,
            on_progress: Some(Box::new(console.steps("backup"))),
            ..BackupOptions::default()
        };
        let made = store.backup(&self.dir, &options);
        let report = made.map_err(Failure::advised(
            ErrorKind::Exists,
            "a backup goes into an empty or new directory, or into an earlier one of this store \
             that nobody has written to",
        ))?;
        let made = Made::of(&report, self.dry_run);
        if self.json {
            return Ok(writeln!(console.out, "{}", json!(made))?);
        }
        Ok(made.write_text(&mut console.out)?)
    }

    /// Lets a server back up all its partitions, to where a server can be started on them.
    pub fn ask(&self, server: &Server, console: &mut Console) -> Result<(), Failure> {
        let mode = match self.mode() {
            LinkMode::Auto => "auto",
            LinkMode::Reflink => "reflink",
            LinkMode::HardLink => "hard_link",
            LinkMode::Copy => "copy",
        };
        let dir = server::absolute(&self.dir)?;
        let body = json!({ "dir": dir, "mode": mode, "dry_run": self.dry_run });
        let told = server.carry_out("backup", "backup", &body, console)?;
        let made: Made = server::read(&told)?;
        if self.json {
            writeln!(console.out, "{}", json!(made))?;
        } else {
            made.write_text(&mut console.out)?;
        }
        if made.stopped {
            let what = format!("interrupted; {dir} is of no use until it is made again");
            return Err(Failure::Interrupted(what));
        }
        Ok(())
    }

    fn mode(&self) -> LinkMode {
        match (self.copy, self.hard_link, self.reflink) {
            (true, _, _) => LinkMode::Copy,
            (_, true, _) => LinkMode::HardLink,
            (_, _, true) => LinkMode::Reflink,
            _ => LinkMode::Auto,
        }
    }
}

/// What a backup is made of, or all those of a server's partitions.
#[derive(Serialize, Deserialize)]
struct Made {
    dry_run: bool,
    tracks: u64,
    removed_tracks: u64,
    total_bytes: u64,
    kept_bytes: u64,
    linked_bytes: u64,
    reflinked_bytes: u64,
    copied_bytes: u64,
    index_bytes: u64,
    seconds: f64,
    #[serde(default)]
    stopped: bool,
}

impl Made {
    fn of(report: &BackupReport, dry_run: bool) -> Self {
        Made {
            dry_run,
            tracks: report.tracks,
            removed_tracks: report.removed_tracks,
            total_bytes: report.total_bytes,
            kept_bytes: report.kept_bytes,
            linked_bytes: report.linked_bytes,
            reflinked_bytes: report.reflinked_bytes,
            copied_bytes: report.copied_bytes,
            index_bytes: report.index_bytes,
            seconds: report.duration.as_secs_f64(),
            stopped: false,
        }
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (tracks, total) = (count(self.tracks, "track"), HumanBytes(self.total_bytes));
        if self.dry_run {
            let new = HumanBytes(self.total_bytes.saturating_sub(self.kept_bytes));
            return writeln!(out, "{new} of {tracks} ({total}) would be brought over");
        }
        writeln!(out, "{tracks} ({total}) in {:.2} s", self.seconds)?;
        let shares = [
            ("kept", self.kept_bytes),
            ("linked", self.linked_bytes),
            ("reflinked", self.reflinked_bytes),
            ("copied", self.copied_bytes),
            ("index", self.index_bytes),
        ];
        for (name, bytes) in shares.into_iter().filter(|(_, bytes)| *bytes > 0) {
            writeln!(out, "{name:<10} {}", HumanBytes(bytes))?;
        }
        Ok(())
    }
}
