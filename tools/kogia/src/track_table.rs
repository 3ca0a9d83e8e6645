//! Tracks as a table: a bar for each of what lives in it, is dead, is free, and was given back.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::HumanBytes;
use kogia::{Store, TrackStats};
use serde::{Deserialize, Serialize};

use crate::disk_name;

const BAR_CHARS: u64 = 24;
const LEGEND: &str = "# live  x dead  . free until the next checkpoint  (blank) given back";
const PLAIN: &str = "\x1b[0m";
/// The marks of live, dead, free and punched bytes, each with its colour.
const MARKS: [(char, &str); 4] =
    [('#', "\x1b[32m"), ('x', "\x1b[31m"), ('.', "\x1b[33m"), (' ', PLAIN)];

/// A track, of a store or of a server's partition; sizes in bytes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Track {
    pub track: u32,
    pub disk: String,
    compacted: bool,
    shard: u8,
    created_ms: u64,
    sealed: bool,
    file_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    free_bytes: u64,
    punched_bytes: u64,
    live_records: u64,
    dead_records: u64,
    tombstones: u64,
    cost_bytes: u64,
    pub gain_bytes: u64,
}

impl From<&TrackStats> for Track {
    fn from(stats: &TrackStats) -> Self {
        Track {
            track: stats.track.0,
            disk: stats.disk.to_string(),
            compacted: stats.compacted,
            shard: stats.shard,
            created_ms: stats.created_ms,
            sealed: stats.sealed,
            file_bytes: stats.file_bytes,
            live_bytes: stats.live_bytes,
            dead_bytes: stats.dead_bytes,
            free_bytes: stats.free_bytes,
            punched_bytes: stats.punched_bytes,
            live_records: stats.live_records,
            dead_records: stats.dead_records,
            tombstones: stats.tombstones,
            cost_bytes: stats.cost_bytes,
            gain_bytes: stats.gain_bytes,
        }
    }
}

impl Track {
    /// All tracks of a store.
    pub fn all(store: &Store) -> kogia::Result<Vec<Self>> {
        Ok(store.tracks()?.iter().map(Track::from).collect())
    }
}

/// Room in one or more tracks, in bytes.
#[derive(Clone, Copy, Default)]
pub struct TrackRoom {
    /// Files, holes included.
    pub file: u64,
    /// Live, dead, free and punched.
    pub parts: [u64; 4],
    /// What compaction would copy.
    pub cost: u64,
    /// What compaction would bring back.
    pub gain: u64,
}

impl TrackRoom {
    /// The room in one track.
    pub fn of(track: &Track) -> Self {
        let Track { live_bytes, dead_bytes, free_bytes, punched_bytes, .. } = *track;
        TrackRoom {
            file: track.file_bytes,
            parts: [live_bytes, dead_bytes, free_bytes, punched_bytes],
            cost: track.cost_bytes,
            gain: track.gain_bytes,
        }
    }

    /// The room in all of them.
    pub fn sum<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Self {
        tracks.into_iter().map(TrackRoom::of).fold(TrackRoom::default(), |sum, room| TrackRoom {
            file: sum.file + room.file,
            parts: std::array::from_fn(|at| sum.parts[at] + room.parts[at]),
            cost: sum.cost + room.cost,
            gain: sum.gain + room.gain,
        })
    }

    /// What is taken of the file system.
    pub fn used(&self) -> u64 {
        self.file - self.parts[3]
    }

    /// What is used for each byte that is needed; 1 where nothing is.
    pub fn amplification(&self) -> f64 {
        if self.used() == 0 { 1.0 } else { self.used() as f64 / self.cost.max(1) as f64 }
    }

    /// What compaction would bring back, as a share of what is used.
    fn garbage(&self) -> f64 {
        if self.used() == 0 { 0.0 } else { self.gain as f64 / self.used() as f64 }
    }
}

/// Prints tracks, one a line, the legend above them and the sum of `all` below.
pub fn write(shown: &[&Track], all: &TrackRoom, out: &mut dyn Write) -> io::Result<()> {
    let has_colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    writeln!(
        out,
        "{:>10}  {:8}  {:12}  {:>10}  {:>7}  {:>10}  {LEGEND}",
        "track", "disk", "kind", "size", "garbage", "gain"
    )?;
    for track in shown {
        write!(out, "{:>10}  {}  {:12}", track.track, disk_name::short(&track.disk), kind(track))?;
        write_room(&TrackRoom::of(track), has_colour, out)?;
    }
    write!(out, "{:>10}  {:8}  {:12}", "in all", "", "")?;
    write_room(all, has_colour, out)
}

fn write_room(room: &TrackRoom, has_colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let (size, gain) = (HumanBytes(room.file).to_string(), HumanBytes(room.gain).to_string());
    let (garbage, bar) = (room.garbage() * 100.0, bar(&room.parts, has_colour));
    writeln!(out, "  {size:>10}  {garbage:>5.1} %  {gain:>10}  [{bar}]")
}

/// How the track came to be, and whether it still grows.
fn kind(track: &Track) -> String {
    match (track.compacted, track.sealed, track.shard) {
        (true, _, 0) => "compacted".into(),
        (true, _, shard) => format!("compacted/{shard}"),
        (false, true, _) => "append".into(),
        (false, false, _) => "active".into(),
    }
}

/// The parts as a run of marks each. Ends are rounded, not lengths, so that all bars are as long.
fn bar(parts: &[u64; 4], has_colour: bool) -> String {
    let whole = parts.iter().sum::<u64>().max(1);
    let (mut bar, mut bytes, mut at) = (String::new(), 0, 0);
    for (part, (mark, colour)) in parts.iter().zip(MARKS) {
        bytes += part;
        let end = (u128::from(bytes) * u128::from(BAR_CHARS) * 2 / u128::from(whole)) as u64;
        let end = end.div_ceil(2);
        let run: String = (at..end).map(|_| mark).collect();
        let _ = if has_colour { write!(bar, "{colour}{run}{PLAIN}") } else { write!(bar, "{run}") };
        at = end;
    }
    (at..BAR_CHARS).for_each(|_| bar.push(' '));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_as_long_and_in_proportion() {
        assert_eq!(bar(&[1, 1, 1, 1], false), "######xxxxxx......      ");
        assert_eq!(bar(&[2, 1, 0, 0], false), "################xxxxxxxx");
        for parts in [[0; 4], [0, 0, 0, 9], [u64::MAX / 4; 4], [1, 1, 1, 0], [99, 1, 1, 1]] {
            assert_eq!(bar(&parts, false).len() as u64, BAR_CHARS, "{parts:?}");
        }
    }
}
