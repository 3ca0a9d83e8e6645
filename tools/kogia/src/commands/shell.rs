//! `kogia shell`: a prompt on one open store.
//!
//! On a terminal there is a prompt, and after an error the next line. From a pipe the first error
//! ends the shell, with the exit code it would have by itself.

use std::io::{self, IsTerminal, Write};

use clap::Parser;
use clap::error::ErrorKind;
use kogia::Store;

use super::{get::Get, head::Head, ls::Ls, rm::Rm, stat::Stat, verify::Verify};
use crate::console::Console;
use crate::escaped::Escaped;
use crate::failure::Failure;
use crate::server;

const PROMPT: &str = "kogia> ";

/// One line. Words are quoted as in a POSIX shell, so escapes of bytes want single quotes: '\x00'.
#[derive(Parser)]
#[command(multicall = true, name = "", about = None, long_about = None)]
#[command(help_template = "{subcommands}")]
enum Line {
    /// Store a value under a key
    Set { key: Escaped, value: Escaped },
    /// Print an object's value
    Get(Get),
    /// Show an object's length, times, checksum and attributes
    Head(Head),
    /// Delete objects
    Rm(Rm),
    /// List objects
    Ls(Ls),
    /// Show what the store holds and how its disks are used
    Stat(Stat),
    /// Read everything and check it
    Verify(Verify),
    /// Leave the shell
    #[command(visible_alias = "quit")]
    Exit,
}

/// Does what each line says until there are no more.
pub fn run(store: &Store, console: &mut Console) -> Result<(), Failure> {
    let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut text = String::new();
    loop {
        if is_interactive {
            write!(console.out, "{PROMPT}")?;
            console.finish()?;
        }
        if !read_line(&mut text)? {
            return Ok(());
        }
        let result = run_line(&text, store, console);
        console.finish()?;
        match result {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => return Ok(()),
            Err(failure) if is_interactive => console.problem(failure),
            Err(failure) => return Err(failure),
        }
    }
}

/// Reads the next line of standard input; `false` at its end.
fn read_line(text: &mut String) -> Result<bool, Failure> {
    text.clear();
    Ok(io::stdin().read_line(text).map_err(Failure::file("standard input"))? > 0)
}

/// What the shell does after a line.
enum Next {
    Line,
    Leave,
}

fn run_line(text: &str, store: &Store, console: &mut Console) -> Result<Next, Failure> {
    let words = shlex::split(text)
        .ok_or_else(|| Failure::Usage(format!("a quote is not closed: {}", text.trim_end())))?;
    if words.is_empty() {
        return Ok(Next::Line);
    }
    match Line::try_parse_from(words) {
        Ok(Line::Exit) => Ok(Next::Leave),
        Ok(line) => line.run(store, console).map(|()| Next::Line),
        Err(help) if help.kind() == ErrorKind::DisplayHelp => {
            write!(console.out, "{help}")?;
            Ok(Next::Line)
        }
        Err(error) => {
            let text = error.to_string();
            Err(Failure::Usage(text.trim_start_matches("error: ").trim_end().into()))
        }
    }
}

impl Line {
    fn run(self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        match self {
            Line::Set { key, value } => {
                server::refuse_changes(store)?;
                store.put(&key.0, &value.0)?;
                Ok(())
            }
            Line::Get(get) => {
                get.run(store, console)?;
                if get.is_to_stdout() {
                    writeln!(console.out)?;
                }
                Ok(())
            }
            Line::Head(head) => head.run(store, console),
            Line::Rm(rm) => rm.run(store, console),
            Line::Ls(ls) => ls.run(store, console),
            Line::Stat(stat) => stat.run(store, console),
            Line::Verify(verify) => verify.run(store, console),
            Line::Exit => Ok(()),
        }
    }
}
