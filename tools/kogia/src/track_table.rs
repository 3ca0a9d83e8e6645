//! Tracks as a table: a bar for each of what lives in it, is dead, is free, and was given back.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::HumanBytes;
use kogia::TrackStats;
use serde_json::{Value, json};

use crate::disk_name;

const BAR_CHARS: u64 = 24;
const LEGEND: &str = "# live  x dead  . free until the next checkpoint  (blank) given back";
const PLAIN: &str = "\x1b[0m";
/// The marks of live, dead, free and punched bytes, each with its colour.
const MARKS: [(char, &str); 4] =
    [('#', "\x1b[32m"), ('x', "\x1b[31m"), ('.', "\x1b[33m"), (' ', PLAIN)];

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
    pub fn of(track: &TrackStats) -> Self {
        let TrackStats { live_bytes, dead_bytes, free_bytes, punched_bytes, .. } = *track;
        TrackRoom {
            file: track.file_bytes,
            parts: [live_bytes, dead_bytes, free_bytes, punched_bytes],
            cost: track.cost_bytes,
            gain: track.gain_bytes,
        }
    }

    /// The room in all of them.
    pub fn sum<'a>(tracks: impl IntoIterator<Item = &'a TrackStats>) -> Self {
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
pub fn write(shown: &[&TrackStats], all: &TrackRoom, out: &mut dyn Write) -> io::Result<()> {
    let has_colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    writeln!(
        out,
        "{:>10}  {:8}  {:12}  {:>10}  {:>7}  {:>10}  {LEGEND}",
        "track", "disk", "kind", "size", "garbage", "gain"
    )?;
    for track in shown {
        write!(out, "{:>10}  {}  {:12}", track.track.0, disk_name::short(track.disk), kind(track))?;
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
fn kind(track: &TrackStats) -> String {
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

/// A track as JSON, sizes in bytes.
pub fn to_json(track: &TrackStats) -> Value {
    json!({
        "track": track.track,
        "disk": track.disk.to_string(),
        "compacted": track.compacted,
        "shard": track.shard,
        "created_ms": track.created_ms,
        "sealed": track.sealed,
        "file_bytes": track.file_bytes,
        "live_bytes": track.live_bytes,
        "dead_bytes": track.dead_bytes,
        "free_bytes": track.free_bytes,
        "punched_bytes": track.punched_bytes,
        "live_records": track.live_records,
        "dead_records": track.dead_records,
        "tombstones": track.tombstones,
        "cost_bytes": track.cost_bytes,
        "gain_bytes": track.gain_bytes,
    })
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
