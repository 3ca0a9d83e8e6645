//! The report: what was to be reached, then a section a workload, in Markdown with charts beside it.

use std::fmt::Write;
use std::fs;

use crate::charts;
use crate::engines::Kind;
use crate::measure::Row;
use crate::results::{Contender, Results};
use crate::run::TOUCH_SECONDS;
use crate::summary::{Measured, Spread};
use crate::workloads::{self, Aim, Workload};
use crate::{Place, Result};

pub const FILE: &str = "RESULTS.md";
/// What the queue's bench printed.
const QUEUE: &str = "queue.txt";
const CHARTS: &str = "charts";
const NONE: &str = "–";
const KOGIA: Contender = Contender::Engine(Kind::Kogia);
/// Versions are those that are locked.
const LOCK: &str = include_str!("../../../Cargo.lock");

const INTRODUCTION: &str = "# Kogia beside other engines

Written by `make bench-peers` (hours), or `make bench-peers-short` (ten minutes, once, and smaller); single
workloads and engines by `FLAGS=\"--only ingest,put-4k-32 --engines kogia,rocksdb\"`, and more after an
interruption by `FLAGS=--resume`. `kogia-peers list` names all workloads.

Every figure of every engine comes from a process of its own, in a fresh directory, in rounds of turned
order. Before each what was not written yet is written, and as much memory as the page cache will take is
touched. Figures are medians of the rounds (least to greatest). Ratios are made round by round, and more is
better in all: **B** is to the best other engine that promises as much, **L** to raw calls that do the same work. Bodies differ
and can't be compressed. Written: bytes given to write calls for each byte put, until the store is closed;
charged: what the kernel counts for the process, which is more where it keeps pages together, and less
where files go before they are written. Processor time is of the whole process, the bench's part included.
Memory is the most that was resident, without the bench's bodies: all of it, mapped files included, and
what no file is behind.
";

/// Makes tables and charts of the results that are there.
pub fn write(place: &Place) -> Result<()> {
    let results = Results::load(&place.results)?;
    let workloads = workloads::all();
    let measured: Vec<_> =
        workloads.iter().filter_map(|workload| Measured::new(&results, &**workload)).collect();
    let charts = place.results.join(CHARTS);
    fs::create_dir_all(&charts)?;
    let mut text = INTRODUCTION.to_owned();
    let queue = fs::read_to_string(place.results.join(QUEUE)).ok();
    let _ = write!(text, "\n{}\n{}\n{}", run(&results, &measured), settings(), aims(&measured));
    let growth = charts::growth(&measured, &charts)?;
    if !growth.is_empty() {
        let _ = writeln!(text, "\n## Growth\n");
        for (title, file) in growth {
            let _ = writeln!(text, "![{title}]({CHARTS}/{file})");
        }
    }
    for measured in &measured {
        let name = measured.workload.name();
        charts::workload(measured, &charts.join(format!("{name}.svg")))?;
        let _ = write!(text, "\n{}", section(measured));
    }
    if let Some(queue) = queue {
        let _ = write!(text, "\n## The queue\n\n```text\n{}\n```\n", queue.trim());
    }
    let path = place.results.join(FILE);
    Ok(fs::write(path, text)?)
}

/// Machine, build and circumstances.
fn run(results: &Results, measured: &[Measured<'_>]) -> String {
    let loads = Spread::of(results.samples.iter().map(|sample| sample.load));
    let touched = Spread::of(results.samples.iter().map(|sample| sample.touch_seconds));
    let mut text = format!(
        "{}. Commit {}. {} rounds{}. Load average {}; a GiB of memory was touched in {} s",
        results.machine,
        results.commit,
        results.rounds,
        if results.short { ", a short run" } else { "" },
        spread(loads, |load| format!("{load:.2}")),
        spread(touched, |seconds| format!("{seconds:.2}")),
    );
    let discarded: usize = measured.iter().map(|measured| measured.discarded).sum();
    let _ = write!(
        text,
        ", and rounds in which it took more than {TOUCH_SECONDS} s ({discarded}) are left out if no more \
         than half of a workload's are of that kind.\n\n"
    );
    let crc = if cfg!(all(target_feature = "sse4.2", target_feature = "pclmulqdq")) {
        "by the processor: built for one that has the instructions"
    } else if cfg!(target_arch = "x86_64") {
        "in software, as by default (`RUSTFLAGS=-Ctarget-cpu=native` builds all of this for the processor \
         at hand, in a target directory of its own)"
    } else {
        "as built by default"
    };
    let _ = writeln!(
        text,
        "RocksDB (Kogia's index as well) sums its log by CRC-32C {crc}; its tables have XXH3."
    );
    text
}

fn settings() -> String {
    let mut text =
        "## Engines and settings\n\n| engine | version | settings | durable: a put that \
                    returned survives | synced at the end: a put that returned survives |\n\
                    | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for kind in Kind::ALL {
        let [settings, durable, at_sync] = kind.settings();
        let version = kind.package().and_then(version).unwrap_or(NONE);
        let _ =
            writeln!(text, "| {} | {version} | {settings} | {durable} | {at_sync} |", kind.title());
    }
    text
}

/// The version of a package that is locked.
fn version(package: &str) -> Option<&'static str> {
    let name = format!("name = \"{package}\"");
    let behind = LOCK.lines().skip_while(|line| *line != name).nth(1)?;
    behind.strip_prefix("version = \"")?.strip_suffix('"')
}

/// What was to be reached, and what was.
fn aims(all: &[Measured<'_>]) -> String {
    let mut text = "## Kogia, in short\n\n\
                    | workload | figure | Kogia | best peer | B | L | aims |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for measured in all {
        let aims = measured.workload.aims();
        for row in measured.figures() {
            let Some(value) = measured.value(&KOGIA, &row.what) else { continue };
            let aim = aims.iter().find(|(what, _)| *what == row.what).map(|(_, aim)| *aim);
            let best = measured.best_peer(&row.what, |_| true);
            let ratio = best.as_ref().and_then(|best| measured.ratio(&KOGIA, best, &row.what));
            let limits = measured.workload.limits().iter().map(|name| {
                let limit = Contender::Limit((*name).to_owned());
                spread_2(measured.ratio(&KOGIA, &limit, &row.what))
            });
            let limits: Vec<_> = limits.collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {} | {} | {} | {} |",
                measured.workload.name(),
                row.what,
                spread(Some(value), number),
                row.unit,
                best.map_or_else(|| NONE.to_owned(), |best| best.to_string()),
                spread_2(ratio),
                if limits.is_empty() { NONE.to_owned() } else { limits.join("; ") },
                aim.map_or_else(|| NONE.to_owned(), |aim| judged(measured, row, &aim).join("; ")),
            );
        }
    }
    text
}

/// Each aim, and whether it was reached.
fn judged(measured: &Measured<'_>, row: &Row, aim: &Aim) -> Vec<String> {
    let what = &row.what;
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    let mut judged = Vec::new();
    let mut judge = |name: &str, aim: f64, reached: Option<f64>, is_most: bool| {
        let Some(reached) = reached else { return };
        let is_met = if is_most { reached <= aim } else { reached >= aim };
        let verdict = if is_met { "met" } else { "**missed**" };
        let sign = if is_most { "≤" } else { "≥" };
        judged.push(format!("{name} {sign} {aim}: {reached:.2}, {verdict}"));
    };
    if let Some(to_best) = aim.to_best {
        // Where one without an order has an aim of its own, the others that count have ordered keys.
        let counts = |kind: Kind| aim.to_engine.is_none() || kind.is_ordered();
        let best = measured.best_peer(what, counts);
        let ratio = best.and_then(|best| median(measured.ratio(&KOGIA, &best, what)));
        judge("B", to_best, ratio, false);
    }
    if let Some((kind, to_engine)) = aim.to_engine {
        let engine = Contender::Engine(kind);
        judge(kind.title(), to_engine, median(measured.ratio(&KOGIA, &engine, what)), false);
    }
    for (name, to_limit) in measured.workload.limits().iter().zip(aim.to_limits) {
        let limit = Contender::Limit((*name).to_owned());
        judge("L", *to_limit, median(measured.ratio(&KOGIA, &limit, what)), false);
    }
    if let Some(most) = aim.written {
        judge("written", most, median(measured.spread(&KOGIA, what, written)), true);
    }
    for (notes, is_most) in [(aim.at_most, true), (aim.at_least, false)] {
        for (name, aim) in notes {
            let note = measured.spread(&KOGIA, what, |row| row.notes.get(*name).copied());
            judge(name, *aim, median(note), is_most);
        }
    }
    if let Some(most) = aim.more_than_rocksdb {
        let of = |kind| median(measured.value(&Contender::Engine(kind), what));
        let more = of(Kind::Kogia).zip(of(Kind::RocksDb)).map(|(one, other)| one - other);
        judge("more than RocksDB", most, more, true);
    }
    judged
}

fn section(measured: &Measured<'_>) -> String {
    let workload: &dyn Workload = measured.workload;
    let name = workload.name();
    let mut text = format!("## {name}\n\n{}\n\n![{name}]({CHARTS}/{name}.svg)\n", workload.about());
    for row in measured.figures() {
        let _ = write!(text, "\n{}", table(measured, row));
    }
    for (sample, why) in measured.failures() {
        let _ = writeln!(text, "\n{} failed in round {}: {why}", sample.contender, sample.round);
    }
    text
}

/// The contenders of a figure.
fn table(measured: &Measured<'_>, row: &Row) -> String {
    let what = &row.what;
    let notes: Vec<_> = row.notes.keys().collect();
    let has_cost = row.user_bytes > 0;
    let mut header = vec![format!("{what}, {}", row.unit), "median".to_owned(), "B".to_owned()];
    header.extend(measured.workload.limits().iter().map(|limit| format!("L: {limit}")));
    if row.percentiles.is_some() {
        header.push("µs of the 50th / 99th / 99.9th of 100".to_owned());
    }
    header.extend(notes.iter().map(ToString::to_string));
    if has_cost {
        header.extend(["written", "charged", "CPU s/GiB"].map(str::to_owned));
    }
    header.push("MiB resident (no file)".to_owned());
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), " --- |".repeat(header.len()));
    let best = measured.best_peer(what, |_| true);
    for contender in measured.contenders() {
        let Some(value) = measured.value(&contender, what) else { continue };
        let is_limit = matches!(contender, Contender::Limit(_));
        let is_weaker = matches!(contender, Contender::Engine(kind) if measured.is_weaker(kind));
        let mark = if is_weaker { " (promises less)" } else { "" };
        let mut cells = vec![format!("{contender}{mark}"), spread(Some(value), number)];
        let best = best.as_ref().filter(|_| !is_limit);
        cells.push(spread_2(best.and_then(|best| measured.ratio(&contender, best, what))));
        for limit in measured.workload.limits() {
            let limit = Contender::Limit((*limit).to_owned());
            cells.push(spread_2(measured.ratio(&contender, &limit, what)));
        }
        let median = |value: &dyn Fn(&Row) -> Option<f64>| {
            measured.spread(&contender, what, value).map(|spread| spread.median)
        };
        if row.percentiles.is_some() {
            let of = |at: usize| median(&|row| row.percentiles.map(|all| all[at]));
            cells.push([of(0), of(1), of(2)].map(|at| at.map_or_else(none, number)).join(" / "));
        }
        for note in &notes {
            let note = measured.spread(&contender, what, |row| row.notes.get(*note).copied());
            cells.push(spread_2(note));
        }
        if has_cost {
            let gib = |row: &Row| row.user_bytes as f64 / f64::from(1 << 30);
            cells.push(two(median(&written)));
            cells.push(two(median(&|row| Some(row.device_bytes as f64 / row.user_bytes as f64))));
            cells.push(two(median(&|row| Some(row.cpu_seconds / gib(row)))));
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let peak = Spread::of(measured.outcomes(&contender).map(|o| mib(o.peak_bytes)));
        let own = Spread::of(measured.outcomes(&contender).map(|o| mib(o.anonymous_bytes)));
        let whole = |spread: Option<Spread>| spread.map_or_else(none, |s| number(s.median));
        cells.push(format!("{} ({})", whole(peak), whole(own)));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn written(row: &Row) -> Option<f64> {
    (row.user_bytes > 0).then(|| row.written_bytes as f64 / row.user_bytes as f64)
}

fn spread(spread: Option<Spread>, show: impl Fn(f64) -> String) -> String {
    let Some(Spread { median, least, greatest }) = spread else { return none() };
    if least == greatest {
        return show(median);
    }
    format!("{} ({} to {})", show(median), show(least), show(greatest))
}

fn spread_2(value: Option<Spread>) -> String {
    spread(value, |value| if value < 0.1 { format!("{value:.3}") } else { format!("{value:.2}") })
}

fn two(value: Option<f64>) -> String {
    value.map_or_else(none, |value| format!("{value:.2}"))
}

fn none() -> String {
    NONE.to_owned()
}

/// Three digits at least, thousands apart.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_groups() {
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }

    #[test]
    fn every_engine_has_a_locked_version() {
        for package in Kind::ALL.into_iter().filter_map(Kind::package) {
            assert!(version(package).is_some(), "{package}");
        }
    }
}
