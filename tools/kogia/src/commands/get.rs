//! `kogia get`: an object's bytes.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use kogia::Store;

use crate::byte_range::ByteRange;
use crate::console::Console;
use crate::escaped::Escaped;
use crate::failure::Failure;
use crate::fresh_file::FreshFile;
use crate::transfer::write_object;

#[derive(Args)]
pub struct Get {
    /// Key of the object
    key: Escaped,
    /// File to write, replaced only when all is read; nothing is standard output
    file: Option<PathBuf>,
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
        let range = self.range.unwrap_or(ByteRange::From(0)).within(reader.info().len)?;
        match &self.file {
            None => {
                write_object(&mut reader, range, &mut console.out, Failure::Output)?;
                Ok(console.out.flush()?)
            }
            Some(path) => {
                let mut file = FreshFile::create(path)?;
                write_object(&mut reader, range, &mut file, |e| Failure::file(path)(e))?;
                file.finish(modified_ms)
            }
        }
    }

    /// Whether the bytes go to standard output.
    pub fn is_to_stdout(&self) -> bool {
        self.file.is_none()
    }
}
