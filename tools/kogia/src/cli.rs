//! What can be typed: the one definition behind parsing, `--help`, completions and the man pages.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    backup::Backup, bucket, compact::Compact, completions::Completions, disk, dump::Dump,
    expire::Expire, export::Export, get::Get, head::Head, import::Import, init::Init, ls::Ls,
    man::Man, put::Put, queue, rebuild::Rebuild, rm::Rm, shell, stat::Stat, verify::Verify,
    watch::Watch,
};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::server::{self, Server};
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
    #[arg(value_parser = server::path())]
    store: PathBuf,
    #[command(flatten)]
    command: A,
}

/// A command that a server carries out as well, on the stores that it has open.
#[derive(Args)]
struct At<A: Args> {
    /// Directory of the store, or the admin address of the server that has it open, for example
    /// http://127.0.0.1:9001
    store: PathBuf,
    /// With a server: its credentials.toml; else KOGIA_ACCESS_KEY and KOGIA_SECRET_KEY are taken,
    /// or those of AWS
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    command: A,
}

/// A command that only a server can carry out.
#[derive(Args)]
struct Of<A: Args> {
    /// Admin address of the server, for example http://127.0.0.1:9001
    #[arg(value_name = "ADDRESS")]
    address: PathBuf,
    /// The server's credentials.toml; else KOGIA_ACCESS_KEY and KOGIA_SECRET_KEY are taken, or those
    /// of AWS
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    #[command(flatten)]
    command: A,
}

/// Nothing more to say than the command and its store.
#[derive(Args)]
struct Nothing {}

#[derive(Subcommand)]
enum Command {
    /// Create a store, on the disks given with --disk or in its own directory
    Init(On<Init>),
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
    Stat(At<Stat>),
    /// Show the disks of the store
    Disks(At<disk::Disks>),
    /// Add a disk, empty one, give one up, or even them out
    #[command(subcommand)]
    Disk(Disk),
    /// Show the buckets of a server, and the partitions that they lie in
    Buckets(Of<bucket::Buckets>),
    /// Move a bucket of a server
    #[command(subcommand)]
    Bucket(Bucket),
    /// Copy what lives away from the garbage, and give the garbage's room back
    Compact(At<Compact>),
    /// Read everything and check every checksum and every cross-reference
    #[command(visible_alias = "check")]
    Verify(At<Verify>),
    /// Copy the store as it is into a directory, which is then a store of its own
    Backup(At<Backup>),
    /// Throw the index away and make it anew from the tracks
    Rebuild(On<Rebuild>),
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
    Add(At<disk::Add>),
    /// Move everything that lives on a disk to the others, until it is the store's no more
    ///
    /// No new object goes to it meanwhile, also where this is cut off: run it again to go on, or
    /// 'kogia disk keep' to stay with the disk.
    Drain(At<disk::Drain>),
    /// Let new objects go to a disk again whose draining was cut off
    Keep(At<disk::Keep>),
    /// Give up a disk that is missing and will not be back: what lay on it is deleted
    ///
    /// Should the disk come back all the same, it is refused: the store has gone on without it. For a
    /// disk that is only away, use --accept-missing meanwhile.
    Forget(On<disk::Forget>),
    /// Move tracks from the fullest disks to the emptiest, until they are about as full
    Rebalance(At<disk::Rebalance>),
}

#[derive(Subcommand)]
enum Bucket {
    /// Move a bucket to another partition, while it is in use
    ///
    /// Clients may be told to try again at the moment when it is moved, which they do by themselves. What
    /// was copied is taken back where this is cut off.
    Move(Of<bucket::Move>),
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
            Command::Init(on) => on.command.run(&on.store, options, console),
            Command::Rebuild(on) => on.command.run(&on.store, options, console),
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
            Command::Stat(at) => at.run(options, console, Stat::run, Stat::ask),
            Command::Verify(at) => at.run(options, console, Verify::run, Verify::ask),
            Command::Backup(at) => at.run(options, console, Backup::run, Backup::ask),
            Command::Disks(at) => at.run(options, console, disk::Disks::run, disk::Disks::ask),
            Command::Disk(command) => command.run(&options.without_disks(), console),
            Command::Buckets(of) => of.ask(options, console, bucket::Buckets::ask),
            Command::Bucket(Bucket::Move(of)) => of.ask(options, console, bucket::Move::ask),
            Command::Compact(at) => {
                let (opened, disks) = (options.without_disks(), &options.disk);
                at.run(
                    &opened,
                    console,
                    |compact, store, console| compact.run(store, disks, console),
                    |compact, server, console| compact.ask(server, disks, console),
                )
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
            Disk::Add(at) => at.run(options, console, disk::Add::run, disk::Add::ask),
            Disk::Drain(at) => at.run(options, console, disk::Drain::run, disk::Drain::ask),
            Disk::Keep(at) => at.run(options, console, disk::Keep::run, disk::Keep::ask),
            Disk::Forget(on) => on.open_and(&options.without_missing(), console, disk::Forget::run),
            Disk::Rebalance(at) => {
                at.run(options, console, disk::Rebalance::run, disk::Rebalance::ask)
            }
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
        open_and(&self.store, options, console, |store, console| run(&self.command, store, console))
    }
}

impl<A: Args> At<A> {
    /// Opens the store and lets the command work on it, or lets it ask the server.
    fn run(
        &self,
        options: &StoreOptions,
        console: &mut Console,
        run: impl FnOnce(&A, &kogia::Store, &mut Console) -> Result<(), Failure>,
        ask: impl FnOnce(&A, &Server, &mut Console) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if server::is_address(&self.store) {
            options.check_for_server()?;
            let server = Server::at(&self.store, self.credentials.as_deref())?;
            return ask(&self.command, &server, console);
        }
        if self.credentials.is_some() {
            return Err(Failure::Usage("--credentials goes with a server's address".into()));
        }
        open_and(&self.store, options, console, |store, console| run(&self.command, store, console))
    }
}

impl<A: Args> Of<A> {
    fn ask(
        &self,
        options: &StoreOptions,
        console: &mut Console,
        ask: impl FnOnce(&A, &Server, &mut Console) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        options.check_for_server()?;
        let server = Server::at(&self.address, self.credentials.as_deref())?;
        ask(&self.command, &server, console)
    }
}

fn open_and(
    home: &Path,
    options: &StoreOptions,
    console: &mut Console,
    run: impl FnOnce(&kogia::Store, &mut Console) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let store = options.open(home, console)?;
    run(&store, console)?;
    Ok(store.close()?)
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
