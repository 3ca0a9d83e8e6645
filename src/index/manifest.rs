//! A look at RocksDB's list of files before RocksDB reads it.
//!
//! Where a bit flips in the type of a record, so that it seems to be one of a log file that is used
//! again, RocksDB's reader goes round and round, and opening never ends. Whatever else is wrong with
//! the file, RocksDB says so.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Records lie in blocks of this size, and none begins in less than a header before the end of one.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum, length (2 bytes, little-endian) and type.
const HEADER_BYTES: usize = 7;
/// Whole, first, middle and last pieces of records; 0 is room that was taken in advance.
const TYPES: std::ops::RangeInclusive<u8> = 0..=4;

/// Fails where RocksDB would not come to an end with what is in `dir`.
pub(super) fn check(dir: &Path) -> Result<()> {
    // What can't be read RocksDB can't read either, and says so.
    let Some((path, mut manifest)) = open(dir) else { return Ok(()) };
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while manifest
        .by_ref()
        .take(BLOCK_BYTES as u64)
        .read_to_end(&mut block)
        .is_ok_and(|len| len > 0)
    {
        if !are_known(&block) {
            let what =
                "the index's list of files is damaged; a rebuild makes it anew from the tracks";
            return Err(Error::new(ErrorKind::Corruption, what).with_path(&path));
        }
        block.clear();
    }
    Ok(())
}

fn open(dir: &Path) -> Option<(PathBuf, File)> {
    let current = fs::read_to_string(dir.join("CURRENT")).ok()?;
    let name = current.strip_suffix('\n')?;
    let number = name.strip_prefix("MANIFEST-")?;
    let path = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| dir.join(name))?;
    Some((path.clone(), File::open(path).ok()?))
}

/// Whether the records of a block are of types that a list of files has.
fn are_known(mut block: &[u8]) -> bool {
    while let Some((header, rest)) = block.split_first_chunk::<HEADER_BYTES>() {
        let (len, kind) = (u16::from_le_bytes([header[4], header[5]]), header[6]);
        if !TYPES.contains(&kind) {
            return false;
        }
        // Behind what was cut off, and in room taken in advance, nothing follows.
        block = rest.get(usize::from(len)..).filter(|_| kind != 0).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, len: u16) -> Vec<u8> {
        let len_bytes = len.to_le_bytes();
        [&[9, 9, 9, 9, len_bytes[0], len_bytes[1], kind], &vec![5; usize::from(len)][..]].concat()
    }

    #[test]
    fn records_of_other_types_are_found_wherever_they_are() {
        let before = [record(1, 20), record(2, 300)].concat();
        for kind in 0..=u8::MAX {
            let block = [&before[..], &record(kind, 7), &record(4, 0)].concat();
            assert_eq!(are_known(&block), kind <= 4, "{kind}");
        }
    }

    #[test]
    fn what_was_cut_off_and_what_was_taken_in_advance_is_left_to_rocksdb() {
        let whole = [record(1, 20), record(1, 30)].concat();
        assert!((0..whole.len()).all(|len| are_known(&whole[..len])));
        assert!(are_known(&[whole, vec![0; 100], record(9, 3)].concat()));
        assert!(check(Path::new("/nowhere/kogia")).is_ok());
    }
}
