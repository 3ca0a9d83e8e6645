//! What is damaged: every chunk and file in every way, and as many bytes as there are states for.

use std::sync::Arc;

use super::super::machine::Image;
use super::super::recording::Recording;
use super::damage::{CHUNK, Chunk, Damage, read};
use crate::random::Random;

/// All that is damaged as a whole, drawn where there is a choice, and places in the files.
pub struct Plan {
    pub whole: Vec<Damage>,
    files: Vec<(Arc<str>, usize)>,
}

/// A bit that is flipped: byte so and so of all, and whether that byte was left alone so far.
#[derive(Debug, PartialEq)]
pub struct Flip {
    pub byte: u64,
    pub bit: u8,
    pub is_first: bool,
}

impl Plan {
    pub fn of(image: &Image, recording: &Recording, seed: u64) -> Self {
        let files: Vec<(Arc<str>, usize)> = image
            .files()
            .into_iter()
            .map(|file| {
                let len = image.file(&file).map_or(0, |bytes| bytes.len());
                (file.into(), len)
            })
            .collect();
        let mut random = Random::of(seed, "rot");
        let chunks: Vec<Chunk> = files.iter().flat_map(|(file, len)| chunks(file, *len)).collect();
        let mut whole = Vec::new();
        for (file, len) in &files {
            whole.push(Damage::Remove { file: file.clone() });
            let lens = lens(*len, &mut random).into_iter();
            whole.extend(lens.map(|len| Damage::Shorten { file: file.clone(), len }));
        }
        // Few of the bytes, and each of them counts at every opening. (Not so the index's.)
        let is_own = |(file, len): &&(Arc<str>, usize)| file.starts_with('/') && *len < CHUNK;
        for (file, len) in files.iter().filter(is_own) {
            let flip = |at| Damage::Flip { file: file.clone(), at, bit: random.below(8) as u8 };
            whole.extend((0..*len).map(flip));
        }
        for chunk in &chunks {
            whole.push(Damage::Zero { file: chunk.file.clone(), chunk: chunk.number });
            let mut other = || chunks[random.below(chunks.len() as u64) as usize].clone();
            let (swapped, from) = (other(), other());
            whole.push(Damage::Swap { one: chunk.clone(), other: swapped });
            whole.push(Damage::Copy { from, to: chunk.clone() });
            whole.extend(older(image, recording, chunk));
        }
        Plan { whole, files }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, len)| *len as u64).sum()
    }

    /// As many flips as are wanted, evenly over all bytes; where there are more than bytes, each byte is
    /// flipped before any of them is flipped again, in another bit.
    pub fn flips(&self, wanted: u64, seed: u64) -> impl Iterator<Item = Flip> {
        let bytes = self.bytes();
        let rounds = (wanted / bytes.max(1)).clamp(1, 8);
        let first_bit = Random::of(seed, "bits").below(8);
        (0..rounds).flat_map(move |round| {
            spread(bytes, wanted / rounds).map(move |byte| {
                let bit = ((first_bit + round + byte) % 8) as u8;
                Flip { byte, bit, is_first: round == 0 }
            })
        })
    }

    /// A flip of byte so and so of all.
    pub fn flip(&self, mut number: u64, bit: u8) -> Option<Damage> {
        for (file, len) in &self.files {
            if number < *len as u64 {
                return Some(Damage::Flip { file: file.clone(), at: number as usize, bit });
            }
            number -= *len as u64;
        }
        None
    }
}

/// So many numbers below `count`, evenly, or all.
pub fn spread(count: u64, wanted: u64) -> impl Iterator<Item = u64> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |n| n * count / wanted)
}

fn chunks(file: &Arc<str>, len: usize) -> impl Iterator<Item = Chunk> {
    (0..len.div_ceil(CHUNK)).map(move |number| Chunk { file: file.clone(), number })
}

/// Lengths that files are left with when something went wrong.
fn lens(len: usize, random: &mut Random) -> Vec<usize> {
    let drawn = random.below(len.max(1) as u64) as usize;
    let mut lens = vec![0, 1, 511, 512, CHUNK - 1, CHUNK, CHUNK + 1, len / 2, drawn];
    lens.push(len.saturating_sub(1));
    lens.push(len.saturating_sub(CHUNK));
    lens.retain(|shorter| *shorter < len);
    lens.sort_unstable();
    lens.dedup();
    lens
}

/// The last content of a chunk that was another one.
fn older(image: &Image, recording: &Recording, chunk: &Chunk) -> Option<Damage> {
    let now = read(image, chunk)?;
    let another = |bytes: &Vec<u8>| *bytes != now && bytes.len() == now.len();
    let mut cuts = recording.cuts.iter().rev();
    let cut = cuts.find(|cut| read(&cut.image, chunk).is_some_and(|bytes| another(&bytes)))?;
    Some(Damage::Old { chunk: chunk.clone(), call: cut.call })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan() -> Plan {
        Plan { whole: Vec::new(), files: vec![("one".into(), 300), ("other".into(), 700)] }
    }

    /// What `Coverage` counts as hit is bytes, each once, however often it is flipped.
    #[test]
    fn where_there_are_as_many_flips_as_bytes_each_byte_is_flipped() {
        for (wanted, flipped) in
            [(999, 999), (1000, 1000), (1999, 1000), (2000, 2000), (2500, 2000)]
        {
            let flips: Vec<Flip> = plan().flips(wanted, 1).collect();
            assert_eq!(flips.len(), flipped, "of {wanted}");
            let bytes: BTreeSet<u64> = flips.iter().map(|flip| flip.byte).collect();
            assert_eq!(bytes.len() as u64, wanted.min(1000));
            assert_eq!(flips.iter().filter(|flip| flip.is_first).count(), bytes.len());
            assert!(bytes.iter().all(|byte| plan().flip(*byte, 0).is_some()));
        }
        let bits: BTreeSet<(u64, u8)> = plan().flips(1 << 20, 1).map(|f| (f.byte, f.bit)).collect();
        assert_eq!(bits.len(), 8000, "and in the end each bit of it");
    }
}
