//! What a power cut leaves.
//!
//! A device writes a sector whole or not at all, and takes sectors, lengths and names in any
//! order it likes. Of each sector it holds the state after one of the changes to it, or before
//! all of them: the cache hands out a page with everything that had been written to it so far,
//! so a later change is never there without the earlier ones. Lengths grow write by write,
//! a sector at a time. Names change one operation at a time, and independently. That is more
//! hostile than any one file system, so that a store which survives it survives them all.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{BLOCK_BYTES, Content, SECTOR_BYTES};
use super::inode::{Change, Inode};

/// Which of the legal states a power cut leaves.
///
/// ```
/// use kogia::io::sim::{Keep, SimIo};
/// # use kogia::io::{Io, OpenMode, write_all_at};
/// # use std::{io::IoSlice, path::Path};
/// # let (io, path) = (SimIo::new(1), Path::new("/file"));
/// # let file = io.open(path, OpenMode::CreateNew)?;
///
/// // A file's name was synced, its first write was not.
/// # io.sync_dir(Path::new("/"))?;
/// # write_all_at(&*file, &mut [IoSlice::new(b"media")], 0)?;
/// assert_eq!(io.crash(Keep::Nothing).read_file(path)?, b"");
/// assert_eq!(io.crash(Keep::Everything).read_file(path)?, b"media");
/// let drawn = io.crash(Keep::Random(7)).read_file(path)?;
/// assert_eq!(drawn, io.crash(Keep::Random(7)).read_file(path)?);
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What was synced, and nothing else.
    Nothing,
    /// Everything that was written, as if all had been synced.
    Everything,
    /// Drawn from a seed: each unsynced write kept, lost, or torn at its sectors, each length
    /// somewhere between, each name operation kept or lost.
    Random(u64),
    /// State number `n` of [`SimIo::crash_states`](super::SimIo::crash_states): 0 is `Nothing`,
    /// the last one `Everything`. Greater numbers begin again from 0.
    Nth(u128),
}

/// Draws the states.
#[derive(Debug)]
pub(super) enum Choice {
    First,
    Last,
    Random(Random),
    /// The number of the state among those that are still open.
    Nth(u128),
}

/// What a random cut does with one change.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn fate(&mut self) -> Fate {
        match self.below(5) {
            0 | 1 => Fate::Kept,
            2 | 3 => Fate::Lost,
            _ => Fate::Torn,
        }
    }
}

impl From<Keep> for Choice {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Nothing => Choice::First,
            Keep::Everything => Choice::Last,
            Keep::Random(seed) => Choice::Random(Random(seed)),
            Keep::Nth(n) => Choice::Nth(n),
        }
    }
}

impl Choice {
    /// Whether an operation on a name is kept.
    pub(super) fn keeps_name(&mut self) -> bool {
        match self {
            Choice::First => false,
            Choice::Last => true,
            Choice::Random(random) => random.below(2) == 1,
            Choice::Nth(rest) => pick(rest, &[1, 1]) == 1,
        }
    }

    /// Whether a page that was never synced is there all the same.
    pub(super) fn keeps_page(&mut self) -> bool {
        match self {
            Choice::First => false,
            Choice::Last | Choice::Nth(_) => true,
            Choice::Random(random) => random.below(2) == 1,
        }
    }

    /// A state that a cut leaves of `inode`.
    pub(super) fn cut(&mut self, inode: &Inode) -> Content {
        let futures = Futures::of(inode);
        let len = self.length(&futures);
        let fates = match self {
            Choice::Random(random) => inode.pending.iter().map(|_| random.fate()).collect(),
            _ => Vec::new(),
        };
        let mut content = inode.device.clone();
        content.set_len(len);
        for (&sector, history) in futures.sectors.range(..len.div_ceil(SECTOR_BYTES)) {
            let kept = &history[..self.level(history, &fates)];
            let Some(&last) = kept.last() else { continue };
            let mut bytes = inode.device.sector(sector);
            for &change in kept {
                inode.pending[change].apply_to_sector(sector, &mut bytes);
            }
            // A device writes whole sectors, but what lies behind a file's end reads as zeros.
            bytes[(len - sector * SECTOR_BYTES).min(SECTOR_BYTES) as usize..].fill(0);
            content.set_sector(sector, &bytes);
            if !matches!(inode.pending[last], Change::Write { .. }) {
                content.release_if_zero(sector);
            }
        }
        for change in &inode.pending {
            if let Change::Reserve(reserved) = change
                && *reserved <= len
            {
                content.reserve(*reserved);
            }
        }
        content
    }

    fn length(&mut self, futures: &Futures) -> u64 {
        let lengths = &futures.lengths;
        let index = match self {
            Choice::First => 0,
            Choice::Last => lengths.len() - 1,
            Choice::Random(random) => match random.below(4) {
                0 => 0,
                1 => random.below(lengths.len() as u64) as usize,
                _ => lengths.len() - 1,
            },
            Choice::Nth(rest) => pick(rest, &futures.weights()),
        };
        lengths[index]
    }

    /// How many of the changes in a sector's history have reached it.
    fn level(&mut self, history: &[usize], fates: &[Fate]) -> usize {
        match self {
            Choice::First => 0,
            Choice::Last => history.len(),
            Choice::Random(random) => {
                let kept = |&change: &usize| match fates[change] {
                    Fate::Kept => true,
                    Fate::Lost => false,
                    Fate::Torn => random.below(2) == 1,
                };
                history.iter().rposition(kept).map_or(0, |last| last + 1)
            }
            Choice::Nth(rest) => pick(rest, &vec![1; history.len() + 1]),
        }
    }
}

/// States that a cut can leave of `inode`, those that look alike counted apart.
pub(super) fn states(inode: &Inode) -> u128 {
    Futures::of(inode).weights().iter().fold(0, |sum, &weight| sum.saturating_add(weight))
}

/// Sectors with changes that no sync has made durable, each counted once a change.
pub(super) fn pending_sectors(inode: &Inode) -> u64 {
    Futures::of(inode).sectors.values().map(|history| history.len() as u64).sum()
}

/// What may become of a file in a power cut.
struct Futures {
    /// Lengths it may have: the durable one first, the current one last.
    lengths: Vec<u64>,
    sectors: History,
}

/// For each sector, the pending changes that touch it, in order.
type History = BTreeMap<u64, Vec<usize>>;

impl Futures {
    fn of(inode: &Inode) -> Self {
        let mut sectors = History::new();
        let mut steps = BTreeSet::new();
        let mut len = inode.device.len();
        for (index, change) in inode.pending.iter().enumerate() {
            for sector in touched(change, len, inode, &sectors) {
                sectors.entry(sector).or_default().push(index);
            }
            let longer = change.len(len);
            if matches!(change, Change::Write { .. }) {
                let ends = len / SECTOR_BYTES + 1..longer.div_ceil(SECTOR_BYTES);
                steps.extend(ends.map(|sector| sector * SECTOR_BYTES));
            }
            steps.insert(longer);
            len = longer;
        }
        steps.remove(&inode.device.len());
        steps.remove(&len);
        let is_one = steps.is_empty() && len == inode.device.len();
        let mut lengths = vec![inode.device.len()];
        lengths.extend(steps);
        lengths.extend((!is_one).then_some(len));
        Futures { lengths, sectors }
    }

    /// For each length, the number of states that have it.
    fn weights(&self) -> Vec<u128> {
        let mut product = 1_u128;
        let products: BTreeMap<u64, u128> = self
            .sectors
            .iter()
            .map(|(&sector, history)| {
                product = product.saturating_mul(history.len() as u128 + 1);
                (sector, product)
            })
            .collect();
        let below = |&len: &u64| {
            let last = products.range(..len.div_ceil(SECTOR_BYTES)).next_back();
            last.map_or(1, |(_, &product)| product)
        };
        self.lengths.iter().map(below).collect()
    }
}

/// The sectors that `change` changes in a file of `len` bytes; the others that it covers hold
/// nothing but zeros anyway.
fn touched(change: &Change, len: u64, inode: &Inode, before: &History) -> Vec<u64> {
    let (start, end) = change.range();
    let sectors = start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
    match change {
        Change::Reserve(_) => return Vec::new(),
        Change::SetLen(new) if *new >= len => return Vec::new(),
        Change::Write { .. } => return sectors.filter(|_| start < end).collect(),
        Change::SetLen(_) | Change::Punch { .. } => {}
    }
    let in_block = BLOCK_BYTES / SECTOR_BYTES;
    let durable = inode.device.blocks_from(start / BLOCK_BYTES);
    let durable = durable.take_while(|number| number * BLOCK_BYTES < end);
    let durable = durable.flat_map(|number| number * in_block..(number + 1) * in_block);
    let pending = before.range(sectors.clone()).map(|(&sector, _)| sector);
    let all: BTreeSet<u64> = durable.chain(pending).filter(|s| sectors.contains(s)).collect();
    all.into_iter().collect()
}

/// Takes one decision of state number `rest`, where option `i` leads to `weights[i]` states;
/// leaves the number of the state among those of the option.
fn pick(rest: &mut u128, weights: &[u128]) -> usize {
    let total = weights.iter().fold(0_u128, |sum, &weight| sum.saturating_add(weight));
    let mut local = *rest % total;
    for (index, &weight) in weights.iter().enumerate() {
        if local < weight {
            *rest = (*rest / total).saturating_mul(weight).saturating_add(local);
            return index;
        }
        local -= weight;
    }
    unreachable!("less than the sum of the weights")
}
