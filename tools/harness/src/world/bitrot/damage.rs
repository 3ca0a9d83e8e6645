//! What rot does to files, and its names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::super::machine::Image;

/// What a device writes at once, and what is misplaced as a whole.
pub const CHUNK: usize = 4096;

/// One thing that has happened to the files of a store. Files are named by their paths, those of
/// indexes without a leading `/`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    Flip {
        file: Arc<str>,
        at: usize,
        bit: u8,
    },
    Zero {
        file: Arc<str>,
        chunk: usize,
    },
    Swap {
        one: Chunk,
        other: Chunk,
    },
    /// A chunk is written to another place, too.
    Copy {
        from: Chunk,
        to: Chunk,
    },
    /// A chunk has the content that it had before a call.
    Old {
        chunk: Chunk,
        call: u64,
    },
    Shorten {
        file: Arc<str>,
        len: usize,
    },
    Remove {
        file: Arc<str>,
    },
}

/// A chunk of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    pub file: Arc<str>,
    pub number: usize,
}

impl Damage {
    /// Does it to a machine; `before` gives the machine as it was before a call.
    pub fn apply(&self, image: &Image, before: impl Fn(u64) -> Option<Image>) -> Option<Image> {
        let mut image = image.fork();
        match self {
            Damage::Flip { file, at, bit } => {
                change(&mut image, file, |bytes| {
                    *bytes.get_mut(*at)? ^= 1 << bit;
                    Some(())
                })?;
            }
            Damage::Zero { file, chunk } => {
                let chunk = Chunk { file: file.clone(), number: *chunk };
                write(&mut image, &chunk, &[0; CHUNK])?;
            }
            Damage::Swap { one, other } => {
                let (left, right) = (read(&image, one)?, read(&image, other)?);
                write(&mut image, one, &right)?;
                write(&mut image, other, &left)?;
            }
            Damage::Copy { from, to } => {
                let bytes = read(&image, from)?;
                write(&mut image, to, &bytes)?;
            }
            Damage::Old { chunk, call } => {
                let bytes = read(&before(*call)?, chunk)?;
                write(&mut image, chunk, &bytes)?;
            }
            Damage::Shorten { file, len } => {
                change(&mut image, file, |bytes| {
                    bytes.truncate(*len);
                    Some(())
                })?;
            }
            Damage::Remove { file } => image.set_file(file, None),
        }
        Some(image)
    }
}

fn change(
    image: &mut Image,
    file: &str,
    change: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    let mut bytes = image.file(file)?;
    change(&mut bytes)?;
    image.set_file(file, Some(bytes));
    Some(())
}

pub fn read(image: &Image, chunk: &Chunk) -> Option<Vec<u8>> {
    let bytes = image.file(&chunk.file)?;
    let from = chunk.number * CHUNK;
    bytes.get(from..bytes.len().min(from + CHUNK)).map(<[u8]>::to_vec)
}

fn write(image: &mut Image, chunk: &Chunk, with: &[u8]) -> Option<()> {
    change(image, &chunk.file, |bytes| {
        let from = chunk.number * CHUNK;
        let there = bytes.get_mut(from..)?;
        let count = there.len().min(with.len());
        there[..count].copy_from_slice(&with[..count]);
        Some(())
    })
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.file, self.number)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Flip { file, at, bit } => write!(f, "flip,{file},{at},{bit}"),
            Damage::Zero { file, chunk } => write!(f, "zero,{file},{chunk}"),
            Damage::Swap { one, other } => write!(f, "swap,{one},{other}"),
            Damage::Copy { from, to } => write!(f, "copy,{from},{to}"),
            Damage::Old { chunk, call } => write!(f, "old,{chunk},{call}"),
            Damage::Shorten { file, len } => write!(f, "shorten,{file},{len}"),
            Damage::Remove { file } => write!(f, "remove,{file}"),
        }
    }
}

impl FromStr for Chunk {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (file, number) = text.rsplit_once('@').ok_or(())?;
        Ok(Chunk { file: file.into(), number: number.parse().map_err(drop)? })
    }
}

impl FromStr for Damage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(',').collect();
        let damage = match words[..] {
            ["flip", file, at, bit] => at
                .parse()
                .ok()
                .zip(bit.parse().ok())
                .map(|(at, bit)| Damage::Flip { file: file.into(), at, bit }),
            ["zero", file, chunk] => {
                chunk.parse().ok().map(|chunk| Damage::Zero { file: file.into(), chunk })
            }
            ["swap", one, other] => one
                .parse()
                .ok()
                .zip(other.parse().ok())
                .map(|(one, other)| Damage::Swap { one, other }),
            ["copy", from, to] => {
                from.parse().ok().zip(to.parse().ok()).map(|(from, to)| Damage::Copy { from, to })
            }
            ["old", chunk, call] => chunk
                .parse()
                .ok()
                .zip(call.parse().ok())
                .map(|(chunk, call)| Damage::Old { chunk, call }),
            ["shorten", file, len] => {
                len.parse().ok().map(|len| Damage::Shorten { file: file.into(), len })
            }
            ["remove", file] => Some(Damage::Remove { file: file.into() }),
            _ => None,
        };
        damage.ok_or_else(|| format!("`{text}` is no damage; one is `flip,/home/store/META,0,7`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damage_is_read_as_it_is_written() {
        for text in [
            "flip,/home/store/META,10,7",
            "zero,/a.track,3",
            "swap,/a.track@0,/b.track@9",
            "copy,/a.track@0,index/CURRENT@9",
            "old,/a.track@4,77",
            "shorten,/a,0",
            "remove,index/MANIFEST-000005",
        ] {
            assert_eq!(text.parse::<Damage>().unwrap().to_string(), text);
        }
        assert!("flip,/a,1".parse::<Damage>().is_err());
    }
}
