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
