//! Bytes into the store and out of it, in bounded memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use indicatif::ProgressBar;
use kogia::{Info, PutOptions, Reader, Store, Writer};

use crate::failure::Failure;
use crate::system;

const BUFFER_BYTES: usize = 1 << 20;

/// Stores all that `source`, called `name` in errors, has to give; advances `bar` by each read.
pub fn store_object(
    store: &Store,
    key: &[u8],
    source: &mut dyn Read,
    name: &Path,
    options: PutOptions,
    bar: &ProgressBar,
) -> Result<Info, Failure> {
    let mut writer = store.writer_with(key, options)?;
    fill(&mut writer, source, name, bar)?;
    Ok(writer.commit()?)
}

/// Writes all that `source`, called `name` in errors, has to give; advances `bar` by each read.
pub fn fill(
    writer: &mut Writer<'_>,
    source: &mut dyn Read,
    name: &Path,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = read_some(source, &mut buffer).map_err(Failure::file(name))?;
        if count == 0 {
            return Ok(());
        }
        writer.write_all(&buffer[..count]).map_err(Failure::stream)?;
        bar.inc(count as u64);
    }
}

/// Writes a range of an object; `failure` turns an error of `target` into the caller's.
pub fn write_object(
    reader: &mut Reader<'_>,
    range: Range<u64>,
    target: &mut dyn Write,
    failure: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    reader.seek(SeekFrom::Start(range.start)).map_err(Failure::stream)?;
    let mut left = range.end - range.start;
    while left > 0 {
        check_signals()?;
        let Some(slice) = reader.next_slice()? else { break };
        let wanted = slice.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        target.write_all(&slice[..wanted]).map_err(&failure)?;
        left -= wanted as u64;
    }
    Ok(())
}

/// Fails where the command was asked to end, if signals are remembered.
pub fn check_signals() -> Result<(), Failure> {
    if system::was_asked_to_end() {
        let what = "interrupted; a file that was not whole yet is not there";
        return Err(Failure::Interrupted(what.into()));
    }
    Ok(())
}

/// Whether the file at `path` has the length and checksum of the object `info`. A file that
/// cannot be read is not the same; what is wrong with it shows when it is used.
pub fn is_same(path: &Path, info: &Info) -> bool {
    let same_length = path.metadata().is_ok_and(|found| found.is_file() && found.len() == info.len);
    same_length && checksum(path).is_ok_and(|found| found == (info.len, info.crc32c))
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut len, mut crc) = (0, 0);
    loop {
        let count = read_some(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok((len, crc));
        }
        crc = crc32c::crc32c_append(crc, &buffer[..count]);
        len += count as u64;
    }
}

fn read_some(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
