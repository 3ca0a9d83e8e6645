//! `kogia get`: an object's bytes.

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use kogia::{Reader, Store};

use crate::byte_range::ByteRange;
use crate::console::Console;
use crate::escaped::Escaped;
use crate::failure::Failure;
use crate::fresh_file::{self, FreshFile};
use crate::transfer::write_object;
use crate::{places, system};

#[derive(Args)]
pub struct Get {
    /// Key of the object
    key: Escaped,
    /// File to write, replaced only when all is read; '-' or nothing is standard output
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Only these bytes, as in HTTP: A-B (both included), A- (from A on) or -N (the last N)
    #[arg(long, allow_hyphen_values = true)]
    range: Option<ByteRange>,
}

impl Get {
    /// Writes the object, or a range of it.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let mut reader =
            store.reader(&self.key.0)?.ok_or_else(|| Failure::NoSuchKey(self.key.0.clone()))?;
        let modified_ms = reader.info().modified_ms;
        let len = reader.info().len;
        let range = self.range.map_or(Ok(0..len), |range| range.within(len))?;
        if self.is_to_stdout() {
            write_object(&mut reader, range, &mut console.out, Failure::Output)?;
            return Ok(console.out.flush()?);
        }
        places::refuse_own(&self.file, store)?;
        if fresh_file::is_written_directly(&self.file) {
            return self.write_file(&mut reader, range, modified_ms);
        }
        system::remember_signals();
        let written = self.write_file(&mut reader, range, modified_ms);
        // The shell goes on.
        system::forget_signals();
        written
    }

    fn write_file(
        &self,
        reader: &mut Reader<'_>,
        range: Range<u64>,
        modified_ms: u64,
    ) -> Result<(), Failure> {
        let mut file = FreshFile::create(&self.file)?;
        write_object(reader, range, &mut file, |error| Failure::file(&self.file)(error))?;
        file.finish(modified_ms)
    }

    /// Whether the bytes go to standard output.
    pub fn is_to_stdout(&self) -> bool {
        self.file == Path::new("-")
    }
}
