//! A file's bytes: a length and the blocks that are not holes.
//!
//! Copies share everything until one of them writes, so that keeping what is durable beside what
//! is current, and forking a whole machine, cost little.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are allocated together.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// Bytes that a device writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

type Block = [u8; BLOCK_BYTES as usize];

/// Bytes with holes, which read as zeros. Nothing but zeros lies between the length and the end
/// of the last block.
#[derive(Clone, Default, Debug)]
pub(super) struct Content {
    len: u64,
    blocks: Arc<BTreeMap<u64, Arc<Block>>>,
}

impl Content {
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let mut content = Content::default();
        content.write(0, bytes);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Blocks that take room.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The numbers of the blocks that take room, from block `from` on.
    pub(super) fn blocks_from(&self, from: u64) -> impl Iterator<Item = u64> {
        self.blocks.range(from..).map(|(&number, _)| number)
    }

    /// The first range at or behind `offset` that takes room and lies before the end.
    pub(super) fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        let mut numbers = self.blocks_from(offset / BLOCK_BYTES);
        let first = numbers.next()?;
        let last = numbers.zip(first + 1..).take_while(|(number, next)| number == next).last();
        let end = last.map_or(first, |(number, _)| number) + 1;
        let range = offset.max(first * BLOCK_BYTES)..self.len.min(end * BLOCK_BYTES);
        (range.start < range.end).then_some(range)
    }

    pub(super) fn has_block(&self, number: u64) -> bool {
        self.blocks.contains_key(&number)
    }

    /// Writes `bytes` at `offset`, extending the length if they end beyond it.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, range, piece) in pieces(offset, bytes.len()) {
            self.block_mut(number)[range].copy_from_slice(&bytes[piece]);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Reads into `buffer` from `offset` on; gives how many bytes there were.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let there = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        for (number, range, piece) in pieces(offset, there) {
            match self.blocks.get(&number) {
                Some(block) => buffer[piece].copy_from_slice(&block[range]),
                None => buffer[piece].fill(0),
            }
        }
        there
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes);
        bytes
    }

    /// Cuts the bytes off at `len`, or extends them with a hole.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.punch(len, self.len - len);
            Arc::make_mut(&mut self.blocks).retain(|&number, _| number * BLOCK_BYTES < len);
        }
        self.len = len;
    }

    /// Zeros a range, giving back the blocks that lie wholly in it. The length stays.
    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let touched: Vec<u64> =
            self.blocks_from(offset / BLOCK_BYTES).take_while(|n| n * BLOCK_BYTES < end).collect();
        for number in touched {
            let start = number * BLOCK_BYTES;
            let from = offset.max(start) - start;
            let to = end.min(start + BLOCK_BYTES) - start;
            if to - from == BLOCK_BYTES {
                Arc::make_mut(&mut self.blocks).remove(&number);
            } else {
                self.block_mut(number)[from as usize..to as usize].fill(0);
            }
        }
    }

    /// Fills the holes in the first `len` bytes with zeros that take room, and extends the length
    /// to `len`.
    pub(super) fn reserve(&mut self, len: u64) {
        let zero = Arc::new(zeros());
        let blocks = Arc::make_mut(&mut self.blocks);
        for number in 0..len.div_ceil(BLOCK_BYTES) {
            blocks.entry(number).or_insert_with(|| Arc::clone(&zero));
        }
        self.len = self.len.max(len);
    }

    /// The bytes of a sector; those beyond the length are zero.
    pub(super) fn sector(&self, sector: u64) -> [u8; SECTOR_BYTES as usize] {
        let mut bytes = [0; SECTOR_BYTES as usize];
        self.read(sector * SECTOR_BYTES, &mut bytes);
        bytes
    }

    /// Replaces the bytes of a sector, whatever the length.
    pub(super) fn set_sector(&mut self, sector: u64, bytes: &[u8; SECTOR_BYTES as usize]) {
        let at = (sector * SECTOR_BYTES % BLOCK_BYTES) as usize;
        let number = sector * SECTOR_BYTES / BLOCK_BYTES;
        self.block_mut(number)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Gives back the room of a sector's block if the block holds nothing but zeros.
    pub(super) fn release_if_zero(&mut self, sector: u64) {
        let number = sector * SECTOR_BYTES / BLOCK_BYTES;
        if self.blocks.get(&number).is_some_and(|block| **block == zeros()) {
            Arc::make_mut(&mut self.blocks).remove(&number);
        }
    }

    /// A block to write to, no longer a hole.
    fn block_mut(&mut self, number: u64) -> &mut Block {
        let blocks = Arc::make_mut(&mut self.blocks);
        Arc::make_mut(blocks.entry(number).or_insert_with(|| Arc::new(zeros())))
    }
}

fn zeros() -> Block {
    [0; BLOCK_BYTES as usize]
}

/// The blocks that `len` bytes from `offset` on touch: number, range in the block, range in the
/// bytes.
fn pieces(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % BLOCK_BYTES) as usize;
        let count = (BLOCK_BYTES as usize - start).min(len - done);
        let piece = done..done + count;
        done += count;
        Some((at / BLOCK_BYTES, start..start + count, piece))
    })
}
