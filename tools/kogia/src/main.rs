//! `kogia`: a store from the command line.
//!
//! Knows the store only through the library's public interface; [`cli`] says what can be typed,
//! each file of [`commands`] does one of these things, [`failure`] says how it may end.

#![deny(unsafe_code)]

mod base64;
mod byte_range;
mod cli;
mod commands;
mod compaction_view;
mod console;
mod disk_name;
mod disk_table;
mod escaped;
mod expiry;
mod failure;
mod fresh_file;
mod given_disks;
mod listing;
mod object_view;
mod places;
mod quantity;
mod seq_text;
mod server;
mod store_options;
mod system;
mod tally;
mod track_table;
mod transfer;
mod workers;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
