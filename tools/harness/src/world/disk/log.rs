//! What was done to a disk, and every state that a power cut may leave it in.
//!
//! A disk has what was written before the last flush. Of what came behind it, it may have any part,
//! in any order: each write whole, torn between two sectors, or not at all.

use std::collections::BTreeSet;

use super::image::{Image, SECTOR_BYTES};

/// What was asked of a disk, in the order in which it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Everything before is on the disk for good.
    Flush,
}

/// A run of a disk, from a first image on.
#[derive(Debug, Clone)]
pub struct Log {
    pub first: Image,
    pub events: Vec<Event>,
}

/// A power cut: where it comes, and what the disk has of the writes since the last flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Events that were answered before it.
    pub events: usize,
    pub kept: Vec<Kept>,
}

/// A write that the disk has, though no flush came behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The event's number.
    pub event: usize,
    /// Its sectors that the disk has; all without.
    pub sectors: Option<BTreeSet<usize>>,
}

impl Log {
    pub fn new(first: Image) -> Self {
        Log { first, events: Vec::new() }
    }

    /// Numbers of all flushes.
    pub fn flushes(&self) -> Vec<usize> {
        let numbered = self.events.iter().enumerate();
        numbered.filter(|(_, event)| **event == Event::Flush).map(|(number, _)| number).collect()
    }

    /// The events of which nothing is certain when the power is cut behind `events`.
    pub fn unflushed(&self, events: usize) -> std::ops::Range<usize> {
        let before = self.events[..events].iter().rposition(|event| *event == Event::Flush);
        before.map_or(0, |flush| flush + 1)..events
    }
}

/// A disk that follows a log: states of ascending cuts cost what lies between them.
#[derive(Debug)]
pub struct Follower<'a> {
    log: &'a Log,
    /// The disk as of the last flush before `at`.
    image: Image,
    at: usize,
}

impl<'a> Follower<'a> {
    pub fn new(log: &'a Log) -> Self {
        Follower { log, image: log.first.clone(), at: 0 }
    }

    /// The disk after a cut that does not come before an earlier one's.
    pub fn state(&mut self, cut: &Cut) -> Image {
        let unflushed = self.log.unflushed(cut.events);
        assert!(self.at <= unflushed.start, "cuts come in their order");
        for event in &self.log.events[self.at..unflushed.start] {
            if let Event::Write { offset, bytes } = event {
                self.image.write(*offset, bytes);
            }
        }
        self.at = unflushed.start;
        let mut state = self.image.clone();
        for kept in &cut.kept {
            assert!(unflushed.contains(&kept.event), "what was flushed is kept anyway");
            if let Event::Write { offset, bytes } = &self.log.events[kept.event] {
                apply(&mut state, *offset, bytes, kept.sectors.as_ref());
            }
        }
        state
    }
}

fn apply(image: &mut Image, offset: u64, bytes: &[u8], sectors: Option<&BTreeSet<usize>>) {
    match sectors {
        None => drop(image.write(offset, bytes)),
        Some(sectors) => {
            for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                if sectors.contains(&number) {
                    image.write(offset + (number * SECTOR_BYTES) as u64, sector);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 * 4096;

    fn write(sector: u64, sectors: usize, byte: u8) -> Event {
        let bytes = vec![byte; sectors * SECTOR_BYTES];
        Event::Write { offset: sector * SECTOR_BYTES as u64, bytes }
    }

    fn log() -> Log {
        let mut log = Log::new(Image::new(BYTES));
        log.events =
            vec![write(0, 8, 1), Event::Flush, write(2, 4, 2), write(9, 3, 3), write(4, 1, 4)];
        log
    }

    fn bytes_of_sectors(image: &Image) -> Vec<u8> {
        (0..16).map(|sector| image.read(sector * SECTOR_BYTES as u64, 1)[0]).collect()
    }

    fn state(cut: &Cut) -> Vec<u8> {
        bytes_of_sectors(&Follower::new(&log()).state(cut))
    }

    fn whole(event: usize) -> Kept {
        Kept { event, sectors: None }
    }

    #[test]
    fn all_writes_of_a_log_make_the_image_that_was_written() {
        let mut written = Image::new(BYTES);
        for event in &log().events {
            if let Event::Write { offset, bytes } = event {
                written.write(*offset, bytes);
            }
        }
        let all = Cut { events: 5, kept: vec![whole(2), whole(3), whole(4)] };
        assert_eq!(Follower::new(&log()).state(&all), written);
    }

    #[test]
    fn what_was_flushed_is_there_and_what_was_not_is_there_as_the_cut_says() {
        let none = Cut { events: 5, kept: vec![] };
        assert_eq!(state(&none), [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let one = Cut { events: 5, kept: vec![whole(3)] };
        assert_eq!(state(&one), [1, 1, 1, 1, 1, 1, 1, 1, 0, 3, 3, 3, 0, 0, 0, 0]);
        let before_the_flush = Cut { events: 1, kept: vec![] };
        assert_eq!(state(&before_the_flush), [0; 16]);
    }

    #[test]
    fn a_torn_write_is_there_in_the_sectors_that_the_cut_says() {
        let torn = Kept { event: 2, sectors: Some([0, 3].into()) };
        let cut = Cut { events: 4, kept: vec![torn] };
        assert_eq!(state(&cut), [1, 1, 2, 1, 1, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_follower_gives_the_states_of_cuts_one_behind_the_other() {
        let log = log();
        let mut follower = Follower::new(&log);
        for events in 0..=log.events.len() {
            let cut = Cut { events, kept: vec![] };
            assert_eq!(follower.state(&cut), Follower::new(&log).state(&cut));
        }
    }
}
