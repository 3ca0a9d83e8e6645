//! The contents of a disk, shared between all the states that it is looked at in.

use std::sync::Arc;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What images share: the page of every file system that is made here.
const BLOCK_BYTES: usize = 4096;

type Block = [u8; BLOCK_BYTES];

/// The contents of a disk. A copy shares all blocks, and has its own of those that are written to
/// later; a block that was never written is zeroes and takes no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    blocks: Vec<Option<Arc<Block>>>,
}

impl Image {
    /// A disk of zeroes. `len` is a multiple of 4,096 bytes.
    pub fn new(len: u64) -> Self {
        assert_eq!(len % BLOCK_BYTES as u64, 0, "a disk has whole blocks");
        Image { blocks: vec![None; (len / BLOCK_BYTES as u64) as usize] }
    }

    pub fn len(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// Reads what lies at `offset`; nothing lies behind the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = len.min(self.len().saturating_sub(offset) as usize);
        let mut bytes = vec![0; len];
        for (block, within, of_bytes) in pieces(offset, len) {
            if let Some(block) = &self.blocks[block] {
                let piece = within..within + of_bytes.len();
                bytes[of_bytes].copy_from_slice(&block[piece]);
            }
        }
        bytes
    }

    /// Writes `bytes` at `offset`; whether they fit on the disk.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len()) {
            return false;
        }
        for (block, within, of_bytes) in pieces(offset, bytes.len()) {
            let block = self.blocks[block].get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
            let piece = within..within + of_bytes.len();
            Arc::make_mut(block)[piece].copy_from_slice(&bytes[of_bytes]);
        }
        true
    }
}

/// The blocks that a range of a disk touches: number, where in the block it begins, and which of the
/// range's bytes lie there.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let place = offset + at as u64;
        let within = (place % BLOCK_BYTES as u64) as usize;
        let bytes = (len - at).min(BLOCK_BYTES - within);
        let piece = ((place / BLOCK_BYTES as u64) as usize, within, at..at + bytes);
        at += bytes;
        (bytes > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_rest_is_zeroes() {
        let mut image = Image::new(5 * BLOCK_BYTES as u64);
        let bytes: Vec<u8> = (0..9000u32).map(|at| (at % 251) as u8 + 1).collect();
        assert!(image.write(3584, &bytes));
        assert_eq!(image.read(3584, 9000), bytes);
        assert_eq!(image.read(0, 3584), vec![0; 3584]);
        assert_eq!(image.read(3584 + 9000, 100), vec![0; 100]);
        assert_eq!(image.read(image.len() - 10, 100), vec![0; 10]);
        assert!(image.read(image.len() + 10, 100).is_empty());
        assert!(!image.write(image.len() - 10, &[1; 11]), "it does not grow");
    }

    #[test]
    fn a_copy_changes_alone() {
        let mut image = Image::new(2 * BLOCK_BYTES as u64);
        image.write(0, &[1; 512]);
        let mut copy = image.clone();
        copy.write(512, &[2; 512]);
        assert_eq!(image.read(0, 1024), [[1; 512], [0; 512]].concat());
        assert_eq!(copy.read(0, 1024), [[1; 512], [2; 512]].concat());
    }
}
