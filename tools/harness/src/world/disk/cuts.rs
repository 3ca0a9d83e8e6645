//! Which power cuts are tried.

use std::collections::BTreeSet;
use std::fmt;

use super::image::SECTOR_BYTES;
use super::log::{Cut, Event, Kept, Log};
use crate::random::Random;

/// A quarter of the cuts come right behind a flush: nothing is uncertain there but what the store
/// believed to be flushed.
const BEHIND_A_FLUSH: u64 = 4;

/// Draws cuts of a log, in their order, whose torn writes have whole pieces of `unit` bytes.
pub fn draw(log: &Log, count: u64, unit: usize, random: &mut Random) -> Vec<Cut> {
    let flushes = log.flushes();
    let mut cuts: Vec<Cut> = (0..count)
        .map(|_| {
            if !flushes.is_empty() && random.one_in(BEHIND_A_FLUSH) {
                let flush = flushes[random.below(flushes.len() as u64) as usize];
                return Cut { events: flush + 1, kept: Vec::new() };
            }
            let events = random.below(log.events.len() as u64 + 1) as usize;
            Cut { events, kept: keep(log, events, unit, random) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.events);
    cuts
}

/// What is kept of the writes since the last flush: nothing, everything, or any part.
fn keep(log: &Log, events: usize, unit: usize, random: &mut Random) -> Vec<Kept> {
    let share = random.pick(&[0, 25, 50, 75, 100]);
    let tears = random.one_in(2);
    let mut kept = Vec::new();
    for event in log.unflushed(events) {
        let Event::Write { bytes, .. } = &log.events[event] else { continue };
        if random.below(100) >= share {
            continue;
        }
        let sectors = (tears && random.one_in(2)).then(|| tear(bytes.len(), unit, random));
        kept.push(Kept { event, sectors });
    }
    kept
}

/// A beginning of a write, an end, or any of its pieces.
fn tear(len: usize, unit: usize, random: &mut Random) -> BTreeSet<usize> {
    let pieces = len.div_ceil(unit) as u64;
    let middle = random.below(pieces + 1);
    let has = |piece: u64, how: u64, random: &mut Random| match how {
        0 => piece < middle,
        1 => piece >= middle,
        _ => random.one_in(2),
    };
    let how = random.below(3);
    let kept: Vec<u64> = (0..pieces).filter(|&piece| has(piece, how, random)).collect();
    let sectors = (unit / SECTOR_BYTES) as u64;
    kept.iter()
        .flat_map(|piece| piece * sectors..(piece + 1) * sectors)
        .map(|s| s as usize)
        .collect()
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}", self.events)?;
        let torn = self.kept.iter().filter(|kept| kept.sectors.is_some()).count();
        match (self.kept.len(), torn) {
            (0, _) => f.write_str(", with nothing written since the last flush"),
            (kept, 0) => write!(f, ", with {kept} writes since the last flush"),
            (kept, torn) => write!(f, ", with {kept} writes since the last flush, {torn} torn"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Image;
    use super::super::log::Follower;
    use super::*;

    #[test]
    fn drawn_cuts_are_of_all_kinds_and_can_be_followed() {
        let mut log = Log::new(Image::new(1 << 20));
        for number in 0..200u64 {
            let bytes = vec![number as u8; 4096];
            log.events.push(Event::Write { offset: number % 50 * 4096, bytes });
            if number % 9 == 0 {
                log.events.push(Event::Flush);
            }
        }
        let cuts = draw(&log, 500, SECTOR_BYTES, &mut Random::of(3, "cuts"));
        let mut follower = Follower::new(&log);
        cuts.iter().for_each(|cut| drop(follower.state(cut)));
        let torn = |cut: &Cut| cut.kept.iter().any(|kept| kept.sectors.is_some());
        assert!(cuts.iter().any(torn) && !cuts.iter().all(torn));
        assert!(cuts.iter().any(|cut| cut.kept.is_empty()));
        assert!(cuts.iter().any(|cut| cut.kept.len() == log.unflushed(cut.events).len()));
    }

    #[test]
    fn writes_are_torn_between_pieces() {
        for seed in 0..200 {
            let sectors = tear(32 << 10, 4096, &mut Random::of(seed, "tears"));
            let whole = |piece: usize| (piece * 8..piece * 8 + 8).filter(|s| sectors.contains(s));
            assert!((0..8).all(|piece| matches!(whole(piece).count(), 0 | 8)), "{sectors:?}");
        }
    }
}
