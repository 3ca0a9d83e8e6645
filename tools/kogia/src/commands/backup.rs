//! `kogia backup`: a copy of the store that is a store.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{BackupOptions, BackupReport, LinkMode, Store};
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};

#[derive(Args)]
pub struct Backup {
    /// Directory of the backup: an empty or new one, or an earlier backup of the same store, of
    /// which what has not changed is kept
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
        let report = store.backup(
            &self.dir,
            &BackupOptions {
                mode: self.mode(),
                dry_run: self.dry_run,
                on_progress: Some(Box::new(console.progress("backup"))),
                ..BackupOptions::default()
            },
        )?;
        if self.json {
            writeln!(console.out, "{}", self.to_json(&report))?;
        } else {
            self.write_text(&report, &mut console.out)?;
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

    fn write_text(&self, report: &BackupReport, out: &mut dyn Write) -> io::Result<()> {
        let (tracks, total) = (count(report.tracks, "track"), HumanBytes(report.total_bytes));
        if self.dry_run {
            let new = HumanBytes(report.total_bytes - report.kept_bytes);
            return writeln!(out, "{new} of {tracks} ({total}) would be brought over");
        }
        writeln!(out, "{tracks} ({total}) in {}", quantity::seconds(report.duration))?;
        let shares = [
            ("kept", report.kept_bytes),
            ("linked", report.linked_bytes),
            ("reflinked", report.reflinked_bytes),
            ("copied", report.copied_bytes),
            ("index", report.index_bytes),
        ];
        for (name, bytes) in shares.into_iter().filter(|(_, bytes)| *bytes > 0) {
            writeln!(out, "{name:<10} {}", HumanBytes(bytes))?;
        }
        Ok(())
    }

    fn to_json(&self, report: &BackupReport) -> Value {
        json!({
            "dry_run": self.dry_run,
            "tracks": report.tracks,
            "removed_tracks": report.removed_tracks,
            "total_bytes": report.total_bytes,
            "kept_bytes": report.kept_bytes,
            "linked_bytes": report.linked_bytes,
            "reflinked_bytes": report.reflinked_bytes,
            "copied_bytes": report.copied_bytes,
            "index_bytes": report.index_bytes,
            "seconds": report.duration.as_secs_f64(),
        })
    }
}
