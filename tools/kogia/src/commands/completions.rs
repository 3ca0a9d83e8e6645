//! `kogia completions`: what a shell needs to complete Kogia's commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::console::Console;
use crate::failure::Failure;

#[derive(Args)]
pub struct Completions {
    /// The shell that will read the script
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self, console: &mut Console) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kogia", &mut script);
        console.print(&script)
    }
}
