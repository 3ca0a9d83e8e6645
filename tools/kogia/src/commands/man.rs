//! `kogia man`: the man pages.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::console::Console;
use crate::failure::Failure;

#[derive(Args)]
pub struct Man {
    /// Write kogia.1 and a page for each command here, instead of printing kogia.1
    dir: Option<PathBuf>,
}

impl Man {
    /// Prints the page, or writes all of them.
    pub fn run(&self, console: &mut Console) -> Result<(), Failure> {
        match &self.dir {
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(Cli::command()).render(&mut page)?;
                console.print(&page)
            }
            Some(dir) => {
                fs::create_dir_all(dir).map_err(Failure::file(dir))?;
                clap_mangen::generate_to(Cli::command(), dir).map_err(Failure::file(dir))
            }
        }
    }
}
