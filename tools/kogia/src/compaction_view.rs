//! How a compaction, or a move between disks, is shown and ended: progress, report, exit code.

use std::io::{self, Write};
use std::time::Instant;

use indicatif::HumanBytes;
use kogia::{CompactReport, OnCompaction};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity::{self, count};
use crate::server::{self, Server};
use crate::system;

/// Shows how far it is; Ctrl-C ends it after the slice that is being copied. About `cost_bytes`
/// are to be copied.
pub fn on_progress(
    message: &'static str,
    cost_bytes: u64,
    console: &Console,
) -> Option<Box<OnCompaction>> {
    system::remember_signals();
    let bar = console.bytes_bar(message, cost_bytes);
    Some(Box::new(move |report| {
        if let Some(track) = report.track {
            let left = match report.tracks_left {
                0 => String::new(),
                left => format!(", {} left", count(left, "track")),
            };
            let back = HumanBytes(report.before_bytes.saturating_sub(report.after_bytes));
            bar.set_message(format!("{message} track {}{left}, {back} given back", track.0));
        }
        bar.set_position(report.copied_bytes);
        !system::was_asked_to_end()
    }))
}

/// What a server has done in all its partitions.
#[derive(Deserialize)]
struct Moved {
    tracks: u64,
    copied_bytes: u64,
    copied_records: u64,
    before_bytes: u64,
    after_bytes: u64,
    tracks_left: u64,
    stopped: bool,
    held_back: bool,
    blocked: Vec<Blocked>,
}

#[derive(Deserialize)]
struct Blocked {
    partition: usize,
    track: u32,
}

/// Lets a server compact or move, prints its report, and fails as [`finish`] does.
pub fn carry_out(
    server: &Server,
    kind: &'static str,
    verb: &str,
    body: &Value,
    as_json: bool,
    console: &mut Console,
) -> Result<(), Failure> {
    let started = Instant::now();
    let told = server.carry_out(kind, kind, body, console)?;
    let moved: Moved = server::read(&told)?;
    if as_json {
        writeln!(console.out, "{told}")?;
    }
    let mut report = CompactReport::default();
    report.tracks = moved.tracks;
    report.copied_bytes = moved.copied_bytes;
    report.copied_records = moved.copied_records;
    report.before_bytes = moved.before_bytes;
    report.after_bytes = moved.after_bytes;
    report.tracks_left = moved.tracks_left;
    report.stopped = moved.stopped;
    report.held_back = moved.held_back;
    if !as_json {
        write_text(&report, verb, started, &mut console.out)?;
    }
    if !moved.blocked.is_empty() && !moved.stopped {
        let place = |blocked: &Blocked| format!("{} of {}", blocked.track, blocked.partition);
        let places: Vec<_> = moved.blocked.iter().map(place).collect();
        return Err(Failure::Damage(format!(
            "can't be read to the end: tracks {} (track of partition); what lives there stays where \
             it is. 'kogia verify' names the objects that are damaged; put them again, or remove \
             them, and compact those tracks then",
            places.join(", ")
        )));
    }
    outcome(&report)
}

/// Prints the report, and fails with what kept it from its end, if anything did.
pub fn finish(
    report: &CompactReport,
    verb: &str,
    started: Instant,
    as_json: bool,
    console: &mut Console,
) -> Result<(), Failure> {
    if as_json {
        writeln!(console.out, "{}", json!(report))?;
    } else {
        write_text(report, verb, started, &mut console.out)?;
    }
    outcome(report)
}

fn write_text(
    report: &CompactReport,
    verb: &str,
    started: Instant,
    out: &mut dyn Write,
) -> io::Result<()> {
    let CompactReport { tracks, copied_bytes, copied_records, before_bytes, after_bytes, .. } =
        *report;
    let (tracks, seconds) = (count(tracks, "track"), quantity::seconds(started.elapsed()));
    let records = count(copied_records, "record");
    let back = HumanBytes(before_bytes.saturating_sub(after_bytes));
    writeln!(out, "{verb:<11} {tracks} in {seconds}")?;
    writeln!(out, "copied      {} ({records})", HumanBytes(copied_bytes))?;
    writeln!(out, "given back  {back}")?;
    writeln!(out, "tracks take {}, {} before", HumanBytes(after_bytes), HumanBytes(before_bytes))
}

fn outcome(report: &CompactReport) -> Result<(), Failure> {
    let left = count(report.tracks_left, "track");
    if report.stopped {
        return Err(Failure::Interrupted(format!(
            "interrupted with {left} left; what was done stays done, and the next run goes on"
        )));
    }
    if let Some(first) = report.blocked.first() {
        let tracks: Vec<_> = report.blocked.iter().map(|track| track.0.to_string()).collect();
        return Err(Failure::Damage(format!(
            "can't be read to the end: {} {}; what lives there stays where it is. 'kogia verify \
             STORE' names the objects that are damaged; put them again, or remove them, and \
             then 'kogia compact --track {} STORE' brings the room back",
            if tracks.len() == 1 { "track" } else { "tracks" },
            tracks.join(", "),
            first.0
        )));
    }
    if report.held_back {
        return Err(Failure::Problems(format!("{left} left: readers hold the room back")));
    }
    Ok(())
}
