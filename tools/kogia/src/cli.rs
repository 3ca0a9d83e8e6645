//! What can be typed: the one definition behind parsing, `--help`, completions and the man pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    backup::Backup, compact::Compact, completions::Completions, disk, dump::Dump, expire::Expire,
    export::Export, get::Get, head::Head, import::Import, init, ls::Ls, man::Man, put::Put, queue,
    rebuild, rm::Rm, shell, stat::Stat, verify::Verify, watch::Watch,
};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::store_options::StoreOptions;

const KEYS: &str = "\
Keys are bytes. Kogia prints them as UTF-8 text in which a backslash is written \\\\ and a byte \
that is no printable text \\x and two hexadecimal digits, and reads them in the same way: what \
it prints can be given back to it. The same goes for prefixes, delimiters and attributes.";

/// Keep objects in a Kogia store: put, get, list, import, check and repair
#[derive(Parser)]
#[command(name = "kogia", version, max_term_width = 100)]
#[command(after_help = Exit::table(), after_long_help = format!("{KEYS}\n\n{}", Exit::table()))]
#[command(disable_help_subcommand = true, subcommand_required = true)]
pub struct Cli {
    #[command(flatten)]
    store_options: StoreOptions,
    #[command(subcommand)]
    command: Command,
}

/// A command and the store it works on, which always comes first.
#[derive(Args)]
struct On<A: Args> {
    /// Directory of the store
    store: PathBuf,
    #[command(flatten)]
    command: A,
}

/// Nothing more to say than the command and its store.
#[derive(Args)]
struct Nothing {}

#[derive(Subcommand)]
enum Command {
    /// Create a store, on the disks given with --disk or in its own directory
    Init(On<Nothing>),
    /// Store a file, or standard input, under a key
    Put(On<Put>),
    /// Write an object, or a range of it, to a file or standard output
    Get(On<Get>),
    /// Show an object's length, times, checksum and attributes, without reading it
    Head(On<Head>),
    /// Delete objects
    Rm(On<Rm>),
    /// List objects in the order of their keys
    Ls(On<Ls>),
    /// Store the files of a directory, with their paths as keys
    Import(On<Import>),
    /// Store the files that are dropped into a directory, as they are closed
    ///
    /// Files that are hidden (.name) or unfinished (name.tmp, name.part) are left alone, and so are
    /// folders of such names. Links are not followed.
    ///
    /// An object is durable before its file counts, whatever --durability says.
    ///
    /// Without --remove, a file whose object was deleted, or has expired, is stored again when the
    /// command is started again.
    Watch(On<Watch>),
    /// Write objects into a directory, with their keys as paths
    Export(On<Export>),
    /// Delete what has expired, and what is over the limits of rules
    Expire(On<Expire>),
    /// Show what the store holds and how its disks are used
    Stat(On<Stat>),
    /// Show the disks of the store
    Disks(On<disk::Disks>),
    /// Add a disk, empty one, give one up, or even them out
    #[command(subcommand)]
    Disk(Disk),
    /// Copy what lives away from the garbage, and give the garbage's room back
    Compact(On<Compact>),
    /// Read everything and check every checksum and every cross-reference
    Verify(On<Verify>),
    /// Copy the store as it is into a directory, which is then a store of its own
    Backup(On<Backup>),
    /// Throw the index away and make it anew from the tracks
    Rebuild(On<Nothing>),
    /// Print track files chunk by chunk, without opening the store
    Dump(On<Dump>),
    /// Append to a queue, read it, and look after it
    #[command(subcommand)]
    Queue(queue::Command),
    /// Work on a store from a prompt, or with commands from standard input
    Shell(On<Nothing>),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the man page, or write all of them into a directory
    Man(Man),
}

#[derive(Subcommand)]
enum Disk {
    /// Make a directory a further disk of the store, for good
    Add(On<disk::Add>),
    /// Move everything that lives on a disk to the others, until it is the store's no more
    ///
    /// No new object goes to it meanwhile, also where this is cut off: run it again to go on, or
    /// 'kogia disk keep' to stay with the disk.
    Drain(On<disk::Drain>),
    /// Let new objects go to a disk again whose draining was cut off
    Keep(On<disk::Keep>),
    /// Give up a disk that is missing and will not be back: what lay on it is deleted
    ///
    /// Should the disk come back all the same, it is refused: the store has gone on without it. For a
    /// disk that is only away, use --accept-missing meanwhile.
    Forget(On<disk::Forget>),
    /// Move tracks from the fullest disks to the emptiest, until they are about as full
    Rebalance(On<disk::Rebalance>),
}

impl Cli {
    /// Does what was typed.
    pub fn run(self) -> Result<(), Failure> {
        let options = self.store_options;
        let mut console = Console::new(options.quiet);
        self.command.run(&options, &mut console)?;
        console.finish()
    }
}

impl Command {
    fn run(self, options: &StoreOptions, console: &mut Console) -> Result<(), Failure> {
        match self {
            Command::Init(on) => init::run(&on.store, options, console),
            Command::Rebuild(on) => rebuild::run(&on.store, options, console),
            Command::Dump(on) => on.command.run(&on.store, options, console),
            Command::Completions(command) => command.run(console),
            Command::Man(command) => command.run(console),
            Command::Queue(command) => command.run(options.accept_loss, console),
            Command::Put(on) => on.open_and(options, console, Put::run),
            Command::Get(on) => on.open_and(options, console, Get::run),
            Command::Head(on) => on.open_and(options, console, Head::run),
            Command::Rm(on) => on.open_and(options, console, Rm::run),
            Command::Ls(on) => on.open_and(options, console, Ls::run),
            Command::Import(on) => on.open_and(options, console, Import::run),
            Command::Watch(on) => on.open_and(&options.with_compaction(), console, Watch::run),
            Command::Export(on) => on.open_and(options, console, Export::run),
            Command::Expire(on) => on.open_and(options, console, Expire::run),
            Command::Stat(on) => on.open_and(options, console, Stat::run),
            Command::Verify(on) => on.open_and(options, console, Verify::run),
            Command::Backup(on) => on.open_and(options, console, Backup::run),
            Command::Disks(on) => on.open_and(options, console, disk::Disks::run),
            Command::Disk(command) => command.run(&options.without_disks(), console),
            Command::Compact(on) => {
                let opened = options.without_disks();
                on.open_and(&opened, console, |compact, store, console| {
                    compact.run(store, &options.disk, console)
                })
            }
            Command::Shell(on) => {
                on.open_and(options, console, |_, store, console| shell::run(store, console))
            }
        }
    }
}

impl Disk {
    fn run(self, options: &StoreOptions, console: &mut Console) -> Result<(), Failure> {
        match self {
            Disk::Add(on) => on.open_and(options, console, disk::Add::run),
            Disk::Drain(on) => on.open_and(options, console, disk::Drain::run),
            Disk::Keep(on) => on.open_and(options, console, disk::Keep::run),
            Disk::Forget(on) => on.open_and(&options.without_missing(), console, disk::Forget::run),
            Disk::Rebalance(on) => on.open_and(options, console, disk::Rebalance::run),
        }
    }
}

impl<A: Args> On<A> {
    /// Opens the store, lets the command work on it, and closes it, so that an error of the last
    /// sync is not lost.
    fn open_and(
        &self,
        options: &StoreOptions,
        console: &mut Console,
        run: impl FnOnce(&A, &kogia::Store, &mut Console) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let store = options.open(&self.store, console)?;
        run(&self.command, &store, console)?;
        Ok(store.close()?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
