//! Tables of what was measured, in Markdown.

use std::fmt::Write;

use crate::Settings;
use crate::compare::{Outcome, SIZES, Sample, Subject, Work, works};
use crate::listing::{Listing, Pages};
use crate::server::{Kind, Sync};

const INTRODUCTION: &str = "# S3 servers side by side

Written by `make bench-server`. One client, with one thread and keep-alive connections, asks every server
in turn for the same work: PUT of objects for a time, GET of them at random, DeleteObjects of 1,000 keys a
request. All servers run throughout, on loopback, each in a fresh directory on the same file system; their
order turns with the rounds, and what one of them left unwritten is written before the next is measured.
Bodies are all different and can't be compressed. Requests are signed by version 4 in their URLs, bodies
are not signed. `limit` swallows and makes up bodies without storing any: what the client can do at most.
Read the ratios: other work runs on the machine, too.
";

/// All tables of a run.
pub fn report(settings: &Settings, outcome: &Outcome) -> String {
    let mut text = INTRODUCTION.to_owned();
    let tables = Tables { settings, outcome };
    for table in [
        tables.run(),
        tables.durability(),
        tables.rates(),
        tables.ratios(),
        tables.latencies(),
        tables.processor(),
        tables.memory(),
        tables.disk(),
        tables.listings(),
        tables.missing(),
    ] {
        if !table.is_empty() {
            let _ = write!(text, "\n{table}");
        }
    }
    text
}

struct Tables<'a> {
    settings: &'a Settings,
    outcome: &'a Outcome,
}

impl Tables<'_> {
    fn run(&self) -> String {
        let Settings { rounds, seconds, connections, put_mib, .. } = self.settings;
        let Outcome { machine, load_before, load_after, touch_seconds, .. } = self.outcome;
        format!(
            "{machine}. Rounds: {rounds}, of {seconds} s a measurement (a PUT stores {put_mib} MiB at \
             most), {connections} connections. Load average {load_before} before, {load_after} after; a \
             GiB of memory was touched in {touch_seconds:.2} s.\n"
        )
    }

    fn durability(&self) -> String {
        let mut text =
            "## Durability\n\nSyncs a put, counted by `strace` over 20 puts one after the \
             other; of many connections some share theirs.\n\n\
             | server | set up | syncs a put |\n| --- | --- | --- |\n"
                .to_owned();
        for subject in self.subjects().filter(|subject| subject.kind != Kind::Limit) {
            let calls = subject.syncs.iter().map(|syncs| {
                let calls: Vec<_> =
                    syncs.calls.iter().map(|(call, n)| format!("{n:.2} `{call}`")).collect();
                let calls = if calls.is_empty() { "none".to_owned() } else { calls.join(", ") };
                format!("{}: {calls}", size(syncs.size))
            });
            let _ = writeln!(
                text,
                "| {} ({}) | {} | {} |",
                subject.kind.name(),
                subject.version,
                subject.kind.durability(Sync::Always),
                calls.collect::<Vec<_>>().join("<br>"),
            );
        }
        text
    }

    fn rates(&self) -> String {
        let cell =
            |kind, work| spread(self.values(kind, work, |sample| sample.rate.per_second()), rate);
        format!("## Objects a second\n\nMedian (least to most).\n\n{}", self.by_work(cell))
    }

    fn ratios(&self) -> String {
        let mut text =
            "## Kogia's rate to that of each\n\nMedian of the rounds' ratios (least to most). PUT to a \
             server that is not durable compares what is not the same.\n\n"
                .to_owned();
        let peers: Vec<_> =
            self.kinds().filter(|kind| !matches!(kind, Kind::Kogia | Kind::Limit)).collect();
        header(&mut text, "", peers.iter().map(|kind| mark(*kind)));
        for work in shown() {
            let ratios = peers.iter().map(|peer| {
                let ratios = (0..self.settings.rounds).filter_map(|round| {
                    let of = |kind| {
                        self.values_in(kind, work, |sample| sample.rate.per_second(), round).next()
                    };
                    Some(of(Kind::Kogia)? / of(*peer)?)
                });
                spread(ratios.collect(), |ratio| format!("{ratio:.2}"))
            });
            row(&mut text, &named(work), ratios);
        }
        text
    }

    fn latencies(&self) -> String {
        let cell = |kind, work| {
            let median = median(self.values(kind, work, |sample| sample.rate.median_ms));
            let p99 = self::median(self.values(kind, work, |sample| sample.rate.p99_ms));
            median.zip(p99).map_or_else(none, |(median, p99)| format!("{median:.1} / {p99:.1}"))
        };
        format!(
            "## Milliseconds of a request\n\nMedian and 99th of 100. 40 ms and some are a wait for an \
             acknowledgement that is held back: a server that leaves Nagle's algorithm on and answers in \
             more than one write has them, on any system; it is as it comes, and no measure of its \
             store.\n\n{}",
            self.by_work(cell)
        )
    }

    fn processor(&self) -> String {
        let cell = |kind, work| {
            let per = |cpu: fn(&Sample) -> f64| {
                median(self.values(kind, work, |sample| {
                    cpu(sample) / sample.rate.objects.max(1) as f64 * 1e6
                }))
            };
            per(|sample| sample.server_cpu)
                .zip(per(|sample| sample.rate.client_cpu))
                .map_or_else(none, |(server, client)| format!("{server:.0} + {client:.0}"))
        };
        format!(
            "## Processor time an object\n\nMicroseconds of the server and of the client.\n\n{}",
            self.by_work(cell)
        )
    }

    fn memory(&self) -> String {
        let mut text =
            "## Resident memory\n\nMiB, with what is mapped. `listings` is another process, with \
             the keys that are listed.\n\n\
             | server | idle | most in the rounds | listings | most |\n\
             | --- | --- | --- | --- | --- |\n"
                .to_owned();
        for subject in self.subjects() {
            let listing = self.listing(subject.kind);
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.0} | {} | {} |",
                subject.kind.name(),
                mib(subject.idle_bytes),
                mib(subject.hwm_bytes),
                listing.map_or_else(none, |listing| format!("{:.0}", mib(listing.rss_bytes))),
                listing.map_or_else(none, |listing| format!("{:.0}", mib(listing.hwm_bytes))),
            );
        }
        text
    }

    fn disk(&self) -> String {
        let mut text =
            "## Disk\n\nBy how much the server's directory grew in the first round, and what the \
             server sent to the disk, to the bytes of the objects that were put.\n\n"
                .to_owned();
        let kinds: Vec<_> = self.kinds().filter(|kind| *kind != Kind::Limit).collect();
        header(&mut text, "", kinds.iter().map(|kind| mark(*kind)));
        for size in SIZES {
            let work = Work::Put(size);
            let cells = kinds.iter().map(|kind| {
                let to_put = |sample: &Sample, bytes: f64| {
                    bytes / (sample.rate.objects.max(1) as f64 * size as f64)
                };
                let grew = |sample: &Sample| to_put(sample, sample.disk_bytes as f64);
                let sent = |sample: &Sample| to_put(sample, sample.device_bytes as f64);
                self.values_in(*kind, work, grew, 0)
                    .next()
                    .zip(median(self.values(*kind, work, sent)))
                    .map_or_else(none, |(grew, sent)| format!("{grew:.2}, {sent:.2}"))
            });
            row(&mut text, &named(work), cells);
        }
        text
    }

    fn listings(&self) -> String {
        if self.outcome.listings.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "## Listings\n\nMilliseconds from a request for a page of ListObjectsV2 of up to 1,000 entries to \
             the last byte of its answer, by one connection: median of the turns' medians (least to most); in \
             a turn each of the servers, all of them loaded, is asked for up to 1,000 pages, and what was \
             on it. {} keys of 16 bytes each below {} prefixes, if they could be put within {:.0} s; SeaweedFS and Garage were loaded without \
             syncs.\n\n",
            grouped(self.settings.listing_keys),
            grouped(self.settings.listing_prefixes),
            self.settings.listing_seconds
        );
        let listings = &self.outcome.listings;
        header(&mut text, "", listings.iter().map(|listing| mark(listing.kind)));
        row(&mut text, "keys", listings.iter().map(|l| grouped(l.loaded.objects)));
        row(&mut text, "loaded a second", listings.iter().map(|l| rate(l.loaded.per_second())));
        let per_key = |l: &Listing| format!("{:.0}", l.disk_bytes as f64 / l.loaded.objects as f64);
        row(&mut text, "bytes of disk a key", listings.iter().map(per_key));
        let mut pages = |name: &str, pages: fn(&Listing) -> &Pages| {
            let cells = listings.iter().map(|listing| {
                let Pages { keys, prefixes, .. } = pages(listing);
                let ms = spread(by_turns(pages(listing)), |ms| format!("{ms:.2}"));
                format!("{ms}: {prefixes} prefixes, {keys} keys")
            });
            row(&mut text, name, cells);
        };
        pages("the root by delimiter", |listing| &listing.delimiter);
        pages("below one prefix", |listing| &listing.below);
        pages("keys without a delimiter", |listing| &listing.flat);
        let to_kogia = |peer: &Listing| {
            let ours = by_turns(&self.listing(Kind::Kogia)?.delimiter);
            let ratios = by_turns(&peer.delimiter).into_iter().zip(ours).map(|(it, we)| it / we);
            Some(spread(ratios.collect(), |ratio| format!("{ratio:.2}")))
        };
        row(
            &mut text,
            "Kogia's rate to it, the root",
            listings.iter().map(|listing| to_kogia(listing).unwrap_or_else(none)),
        );
        text
    }

    fn missing(&self) -> String {
        let mut text = String::new();
        for (name, why) in &self.outcome.missing {
            let _ = writeln!(text, "- {name}: {}", why.replace('\n', " "));
        }
        if text.is_empty() { text } else { format!("## Not measured\n\n{text}") }
    }

    fn by_work(&self, cell: impl Fn(Kind, Work) -> String) -> String {
        let mut text = String::new();
        header(&mut text, "", self.kinds().map(mark));
        for work in shown() {
            row(&mut text, &named(work), self.kinds().map(|kind| cell(kind, work)));
        }
        text
    }

    fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.outcome.subjects.iter()
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.subjects().map(|subject| subject.kind)
    }

    fn listing(&self, kind: Kind) -> Option<&Listing> {
        self.outcome.listings.iter().find(|listing| listing.kind == kind)
    }

    fn values(&self, kind: Kind, work: Work, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        let rounds = 0..self.settings.rounds;
        rounds.flat_map(|round| self.values_in(kind, work, &value, round)).collect()
    }

    fn values_in(
        &self,
        kind: Kind,
        work: Work,
        value: impl Fn(&Sample) -> f64,
        round: usize,
    ) -> impl Iterator<Item = f64> {
        self.outcome
            .samples
            .iter()
            .filter(move |s| s.kind == kind && s.work == work && s.round == round)
            .map(value)
    }
}

/// What tables have: the largest objects are too few for a rate of DeleteObjects.
fn shown() -> impl Iterator<Item = Work> {
    works().filter(|work| !SIZES.last().is_some_and(|most| *work == Work::Delete(*most)))
}

fn named(work: Work) -> String {
    match work {
        Work::Put(bytes) => format!("PUT {}", size(bytes)),
        Work::Get(bytes) => format!("GET {}", size(bytes)),
        Work::Delete(bytes) => format!("DeleteObjects {}", size(bytes)),
    }
}

/// A name, with a note where acknowledged puts are not durable.
fn mark(kind: Kind) -> String {
    let note = match kind {
        Kind::Limit => "",
        kind if kind.is_durable() => "",
        Kind::SeaweedFs => " (names not synced)",
        _ => " (not durable)",
    };
    format!("{}{note}", kind.name())
}

fn header(text: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(text, "| {first} | {} |", cells.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(cells.len() + 1));
}

fn row(text: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let _ = writeln!(text, "| {first} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// The median of each turn.
fn by_turns(pages: &Pages) -> Vec<f64> {
    pages.turns.iter().filter_map(|ms| median(ms.clone())).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Median, least and most.
fn spread(values: Vec<f64>, show: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    median(values)
        .map_or_else(none, |median| format!("{} ({} to {})", show(median), show(least), show(most)))
}

fn none() -> String {
    "–".to_owned()
}

fn rate(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { grouped(value as u64) }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_between_the_middle_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
