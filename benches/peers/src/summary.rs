//! Medians, spreads and ratios of what was measured. Ratios are made round by round, and more is better
//! in all of them.

use std::collections::BTreeSet;

use crate::engines::{Kind, Promise};
use crate::measure::Row;
use crate::results::{Contender, Outcome, Results, Sample};
use crate::run::TOUCH_SECONDS;
use crate::workloads::Workload;

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let median = f64::midpoint(values[last / 2], values[values.len() / 2]);
        Some(Spread { median, least: values[0], greatest: values[last] })
    }
}

/// What was measured in a workload, without the rounds whose memory was not there.
pub struct Measured<'a> {
    pub workload: &'a dyn Workload,
    samples: Vec<&'a Sample>,
    pub discarded: usize,
}

impl<'a> Measured<'a> {
    /// `None` if it was not measured at all.
    pub fn new(results: &'a Results, workload: &'a dyn Workload) -> Option<Self> {
        let name = workload.name();
        let of_it = results.samples.iter().filter(|sample| sample.workload == name);
        let mut samples: Vec<_> = of_it.collect();
        let rounds: BTreeSet<_> = samples.iter().map(|sample| sample.round).collect();
        let is_slow = |sample: &&&Sample| sample.touch_seconds > TOUCH_SECONDS;
        let slow: BTreeSet<_> = samples.iter().filter(is_slow).map(|sample| sample.round).collect();
        // A machine that never has its memory at hand is told about at the top.
        let discarded = if slow.len() * 2 > rounds.len() { 0 } else { slow.len() };
        if discarded > 0 {
            samples.retain(|sample| !slow.contains(&sample.round));
        }
        (!samples.is_empty()).then_some(Measured { workload, samples, discarded })
    }

    /// Those that took part: limits in their order, then engines.
    pub fn contenders(&self) -> Vec<Contender> {
        let limits = self.workload.limits().iter().map(|name| Contender::Limit((*name).to_owned()));
        let all = limits.chain(Kind::ALL.map(Contender::Engine));
        let took_part = |contender: &Contender| {
            self.samples.iter().any(|sample| sample.contender == *contender)
        };
        all.filter(took_part).collect()
    }

    /// Figures, in their order, each with one of its rows.
    pub fn figures(&self) -> Vec<&'a Row> {
        let mut figures: Vec<&Row> = Vec::new();
        for row in self.samples.iter().filter_map(|s| s.outcome.as_ref()).flat_map(|o| &o.rows) {
            if figures.iter().all(|known| known.what != row.what) {
                figures.push(row);
            }
        }
        figures
    }

    pub fn failures(&self) -> impl Iterator<Item = (&'a Sample, &'a str)> {
        self.samples.iter().filter_map(|sample| Some((*sample, sample.failure.as_deref()?)))
    }

    pub fn outcomes(&self, contender: &Contender) -> impl Iterator<Item = &'a Outcome> {
        self.rounds(contender).map(|(_, outcome)| outcome)
    }

    fn rounds(&self, contender: &Contender) -> impl Iterator<Item = (usize, &'a Outcome)> {
        let of_it = self.samples.iter().filter(move |sample| sample.contender == *contender);
        of_it.filter_map(|sample| Some((sample.round, sample.outcome.as_ref()?)))
    }

    fn rows(&self, contender: &Contender, what: &str) -> impl Iterator<Item = (usize, &'a Row)> {
        self.rounds(contender).filter_map(move |(round, outcome)| {
            Some((round, outcome.rows.iter().find(|row| row.what == what)?))
        })
    }

    /// A number that rows give.
    pub fn spread(
        &self,
        contender: &Contender,
        what: &str,
        value: impl Fn(&Row) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.rows(contender, what).filter_map(|(_, row)| value(row)))
    }

    pub fn value(&self, contender: &Contender, what: &str) -> Option<Spread> {
        self.spread(contender, what, |row| Some(row.value))
    }

    /// How many times as good the first is as the second.
    pub fn ratio(&self, one: &Contender, other: &Contender, what: &str) -> Option<Spread> {
        let ratios = self.rows(one, what).filter_map(|(round, row)| {
            let (_, other) = self.rows(other, what).find(|(known, _)| *known == round)?;
            Some(if row.less { other.value / row.value } else { row.value / other.value })
        });
        Spread::of(ratios)
    }

    /// Whether an engine promises less than it was asked to.
    pub fn is_weaker(&self, kind: Kind) -> bool {
        self.workload.promise() == Promise::Durable && !kind.syncs()
    }

    /// The best engine but Kogia, of those that are asked for and promise as much.
    pub fn best_peer(&self, what: &str, asked: impl Fn(Kind) -> bool) -> Option<Contender> {
        let counts = |kind: Kind| kind != Kind::Kogia && !self.is_weaker(kind) && asked(kind);
        let peers = Kind::ALL.into_iter().filter(|kind| counts(*kind));
        let goodness = |peer: &Contender| {
            let spread =
                self.spread(peer, what, |row| Some(if row.less { -row.value } else { row.value }));
            spread.map(|spread| spread.median)
        };
        let known = peers.map(Contender::Engine).filter(|peer| goodness(peer).is_some());
        known.max_by(|a, b| {
            f64::total_cmp(&goodness(a).unwrap_or(f64::NAN), &goodness(b).unwrap_or(f64::NAN))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_between_the_middle_two() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of([4.0, 1.0, f64::NAN, 2.0, 3.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
    }
}
