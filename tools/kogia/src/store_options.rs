//! Options that every command shares, and opening the store with them.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use kogia::{Create, ErrorKind, Options, RecoveryReport, Store};

use crate::console::Console;
use crate::failure::Failure;
use crate::{given_disks, quantity, server};

/// How a store is opened.
#[derive(Args, Clone)]
pub struct StoreOptions {
    /// A data directory, usually one a disk; repeat it to name several. With 'init' the disks of
    /// the new store, with 'compact' the disks to compact, else where a disk of the store is now
    /// that has moved; 'disk add' adds one
    #[arg(long, value_name = "DIR", global = true, value_parser = server::path())]
    pub disk: Vec<PathBuf>,
    /// Open the store even where acknowledged data is damaged, and go on without it
    #[arg(long, global = true)]
    pub accept_loss: bool,
    /// Open the store although disks are missing, and go on with the others
    #[arg(long, global = true)]
    pub accept_missing: bool,
    /// When a write counts as done
    #[arg(long, value_enum, default_value_t, global = true)]
    pub durability: Durability,
    /// Compress what is put, and with 'compact' what is copied, with zstd at this level (-7 to 19; 3
    /// where none is given)
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "3")]
    #[arg(require_equals = true, allow_negative_numbers = true, global = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-7..=19))]
    pub compress: Option<i32>,
    /// Print no notes and no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Whether the disks are compacted in the background, while the command runs.
    #[arg(skip)]
    compaction: bool,
}

/// The command line's names for [`kogia::Durability`].
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Durability {
    /// When the disk has it: nothing is lost if the machine loses power
    #[default]
    Sync,
    /// When the operating system has it: nothing is lost if the process dies, the last moments
    /// are if the machine does
    Os,
}

impl StoreOptions {
    /// The same where `disk` means disks that the store has, and adds none.
    pub fn without_disks(&self) -> Self {
        StoreOptions { disk: Vec::new(), ..self.clone() }
    }

    /// The same, also where disks are missing.
    pub fn without_missing(&self) -> Self {
        StoreOptions { accept_missing: true, ..self.clone() }
    }

    /// The same for a command that stays, and has to keep garbage within its bound. The others do
    /// what they say and end.
    pub fn with_compaction(&self) -> Self {
        StoreOptions { compaction: true, ..self.clone() }
    }

    /// Refuses what says how to open a store, with a server that has done so already.
    pub fn check_for_server(&self) -> Result<(), Failure> {
        if !self.disk.is_empty()
            || self.accept_loss
            || self.accept_missing
            || self.compress.is_some()
        {
            let what = "--disk, --accept-loss, --accept-missing and --compress say how a store is \
                        opened; a server has done so already";
            return Err(Failure::Usage(what.into()));
        }
        Ok(())
    }

    /// The library's options; `create` says what to do where there is no store.
    pub fn to_options(&self, create: Create, console: &Console) -> Options {
        let durability = match self.durability {
            Durability::Sync => kogia::Durability::Sync,
            Durability::Os => kogia::Durability::Os,
        };
        let options = Options::new()
            .create(create)
            .durability(durability)
            .accept_loss(self.accept_loss)
            .accept_missing(self.accept_missing)
            .compaction(self.compaction)
            .compression(self.compress)
            .on_progress(console.progress("opening"));
        self.disk.iter().fold(options, |options, dir| options.disk(dir))
    }

    /// Opens a store that is there, and tells what had to be recovered.
    pub fn open(&self, home: &Path, console: &Console) -> Result<Store, Failure> {
        self.check(home)?;
        let opened = self.to_options(Create::Never, console).open(home);
        let store = opened.map_err(|error| refused(home, error))?;
        note_recovery(store.recovery(), console);
        Ok(store)
    }

    /// Refuses what only looks like a store, and disks that it does not have.
    pub fn check(&self, home: &Path) -> Result<(), Failure> {
        server::refuse_directory(home)?;
        given_disks::check(home, &self.disk)
    }
}

/// What to do about a store that can't be opened.
pub fn refused(home: &Path, error: kogia::Error) -> Failure {
    match error.kind() {
        ErrorKind::Locked => match server::of_store(home) {
            Some((address, credentials)) => Failure::Served { error, address, credentials },
            None => error.into(),
        },
        ErrorKind::NotFound if home.join("UNFINISHED").is_file() => Failure::Advised {
            error,
            advice: "a backup into it was cut off: 'kogia backup STORE DIR' again makes it one",
        },
        _ => error.into(),
    }
}

/// Prints what opening had to do, if there was anything.
pub fn note_recovery(report: &RecoveryReport, console: &Console) {
    if !report.clean || report.rebuilt {
        console.note(format_args!(
            "{}: {} records ({}) read from the tracks, {} unfinished tails dropped, in {}",
            if report.rebuilt { "index rebuilt" } else { "recovered after a crash" },
            report.replayed_records,
            HumanBytes(report.replayed_bytes),
            report.torn.len(),
            quantity::seconds(report.duration),
        ));
    }
    for path in &report.missing {
        console.problem(format_args!("disk missing: {}", path.display()));
    }
    for damage in &report.damage {
        console.problem(format_args!("loss accepted: {damage}"));
    }
}
