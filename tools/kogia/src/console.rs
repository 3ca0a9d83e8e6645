//! The three streams of a command: results on standard output, notes and progress on standard
//! error.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use indicatif::{ProgressBar, ProgressStyle};
use kogia::Progress;

use crate::failure::Failure;

const BYTES_BAR: &str =
    "{msg:8} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";

/// Where a command prints.
pub struct Console {
    /// Results, buffered. An error on it is [`Failure::Output`].
    pub out: BufWriter<Stdout>,
    quiet: bool,
}

impl Console {
    /// The process's streams; `quiet` leaves out notes and progress.
    pub fn new(quiet: bool) -> Self {
        Console { out: BufWriter::new(io::stdout()), quiet }
    }

    /// Prints something worth knowing that is no result.
    pub fn note(&self, what: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "note: {what}");
        }
    }

    /// Prints something that went wrong and does not end the command.
    pub fn problem(&self, what: impl Display) {
        let _ = writeln!(io::stderr(), "kogia: {what}");
    }

    /// A bar of bytes with rate and time left, on terminals only.
    pub fn bytes_bar(&self, message: &'static str, total_bytes: u64) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(BYTES_BAR).expect("a valid template");
        ProgressBar::new(total_bytes).with_style(style).with_message(message)
    }

    /// A function that shows the library's reports of progress as a bar.
    pub fn progress(&self, message: &'static str) -> impl Fn(&Progress) + Send + Sync + 'static {
        let bar = self.bytes_bar(message, 0);
        move |progress| {
            bar.set_length(progress.total_bytes);
            bar.set_position(progress.done_bytes);
            if progress.done_bytes >= progress.total_bytes {
                bar.finish_and_clear();
            }
        }
    }

    /// The same for what could be called off, and is not: an interrupt ends the process.
    pub fn steps(
        &self,
        message: &'static str,
    ) -> impl Fn(&Progress) -> bool + Send + Sync + 'static {
        let progress = self.progress(message);
        move |now| {
            progress(now);
            true
        }
    }

    /// Prints bytes that were made elsewhere.
    pub fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Prints what is still buffered.
    pub fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}
