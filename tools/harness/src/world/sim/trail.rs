//! The name of a broken state: where the power was cut, what the cut left, and so on into recovery.
//!
//! `17:random-5/3:nothing` is a cut before call 17 that left what seed 5 draws, and another before
//! call 3 of the machine that came up then, which left nothing unsynced. `17:killed/3:nothing` is
//! one where at first only the process was killed. Only calls that change something are counted.
//! `17<` is the same call with the index from before its last flush.

use std::fmt;
use std::str::FromStr;

use kogia::io::sim::Keep;

use crate::oracle::Break;
use crate::world::machine::Image;

/// What breaks, and what that leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// The process was killed: everything, durable or not.
    Killed,
    /// The power was cut.
    Cut(Keep),
}

/// One cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// The number of the call among those that change something.
    pub change: u64,
    pub is_before_flush: bool,
    pub left: Left,
}

impl Left {
    pub fn broke(self) -> Break {
        match self {
            Left::Killed => Break::Process,
            Left::Cut(_) => Break::Power,
        }
    }

    /// What is left of a machine.
    pub fn of(self, image: &Image) -> Image {
        match self {
            Left::Killed => image.fork(),
            Left::Cut(keep) => image.cut(keep),
        }
    }
}

/// One cut behind the other, each on the machine that the one before has left.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Trail(pub Vec<Turn>);

impl Trail {
    pub fn then(&self, turn: Turn) -> Trail {
        Trail(self.0.iter().copied().chain([turn]).collect())
    }

    /// A number that hardly another trail has.
    pub fn seed(&self) -> u64 {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        self.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, fold)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.is_before_flush { "<" } else { "" };
        write!(f, "{}{before}:", self.change)?;
        match self.left {
            Left::Killed => f.write_str("killed"),
            Left::Cut(Keep::Nothing) => f.write_str("nothing"),
            Left::Cut(Keep::Everything) => f.write_str("everything"),
            Left::Cut(Keep::Random(seed)) => write!(f, "random-{seed}"),
            Left::Cut(Keep::Nth(n)) => write!(f, "nth-{n}"),
        }
    }
}

impl FromStr for Turn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no cut; one is `17:random-5`");
        let (change, left) = text.split_once(':').ok_or_else(wrong)?;
        let (change, is_before_flush) = match change.strip_suffix('<') {
            Some(change) => (change, true),
            None => (change, false),
        };
        let left = match left.split_once('-') {
            None if left == "killed" => Left::Killed,
            None if left == "nothing" => Left::Cut(Keep::Nothing),
            None if left == "everything" => Left::Cut(Keep::Everything),
            Some(("random", seed)) => Left::Cut(Keep::Random(seed.parse().map_err(|_| wrong())?)),
            Some(("nth", n)) => Left::Cut(Keep::Nth(n.parse().map_err(|_| wrong())?)),
            _ => return Err(wrong()),
        };
        Ok(Turn { change: change.parse().map_err(|_| wrong())?, is_before_flush, left })
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turns: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&turns.join("/"))
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').map(str::parse).collect::<Result<_, _>>().map(Trail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_read_as_it_is_written() {
        for text in
            ["17:random-5/3:nothing", "8:killed", "0<:everything", "4:nth-340282366920938463463"]
        {
            assert_eq!(text.parse::<Trail>().unwrap().to_string(), text);
        }
        for wrong in ["", "17", "17:some", "x:nothing", "17:nth-x", "17:nothing/"] {
            assert!(wrong.parse::<Trail>().is_err(), "{wrong}");
        }
    }
}
