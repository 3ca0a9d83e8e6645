//! Whether what a queue shows is what may be left of what was asked.

use super::ledger::{Item, Ledger, Reach, or_none};
use super::{Seen, Shown, name};
use crate::operation::Print;
use crate::oracle::{Break, Loss, LossKind};

/// When a queue is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// It goes on.
    Live,
    /// It was opened after this.
    After(Break),
}

/// The items that are shown, each with its place among those that were appended.
#[derive(Debug)]
pub(super) struct Matched {
    pub(super) pairs: Vec<(usize, u64)>,
}

impl Matched {
    /// The place behind the last item.
    pub(super) fn end(&self) -> usize {
        self.pairs.last().map_or(0, |(at, _)| at + 1)
    }
}

impl Ledger {
    pub(super) fn compare(
        &self,
        seen: &Seen,
        moment: Moment,
        now_ms: u64,
    ) -> Result<Matched, Vec<Loss>> {
        let (durable, written) = match moment {
            Moment::Live => (self.durable, self.written),
            Moment::After(Break::Power) => (self.durable, self.durable),
            // Whoever opens it makes durable what it finds.
            Moment::After(Break::Process) => (self.written, self.written),
        };
        let matched = self.matches(&seen.durable, durable, now_ms)?;
        let ahead = self.matches(&seen.written, written, now_ms)?;
        if matched.end() > ahead.end() {
            let words = "less is shown to who reads ahead than to everybody";
            return Err(vec![Loss::new(LossKind::Contradiction, words)]);
        }
        let losses = self.wrong_consumers(seen, &matched);
        if losses.is_empty() { Ok(matched) } else { Err(losses) }
    }

    /// Finds each item that is shown among those that were appended, of which the first `required`
    /// have to be there.
    pub(super) fn matches(
        &self,
        shown: &[Shown],
        required: usize,
        now_ms: u64,
    ) -> Result<Matched, Vec<Loss>> {
        let matched = self.find(shown).map_err(|loss| vec![loss])?;
        let ends = self.wrong_front(&matched, required, now_ms);
        let losses: Vec<Loss> = ends
            .into_iter()
            .chain(self.wrong_middle(&matched))
            .chain(self.wrong_end(&matched, required))
            .chain(self.wrong_cuts(shown, &matched))
            .collect();
        if losses.is_empty() { Ok(matched) } else { Err(losses) }
    }

    fn find(&self, shown: &[Shown]) -> Result<Matched, Loss> {
        let mut pairs: Vec<(usize, u64)> = Vec::new();
        for (id, print) in super::items(shown) {
            let (at, before) = pairs.last().map_or((0, None), |(at, id)| (at + 1, Some(*id)));
            if before.is_some_and(|before| before >= id) {
                let words = format!("{} is shown behind {}", name(id), or_none(before));
                return Err(Loss::new(LossKind::Contradiction, words));
            }
            let found = self.place(at, id, print).ok_or_else(|| self.stranger(id, print))?;
            if !self.items[found].may_be(print) {
                let (was, words) = (self.items[found].print, self.words(found));
                let words = format!("{words} has {print:?}, and was {was:?}");
                return Err(Loss::new(LossKind::WrongBytes, words));
            }
            pairs.push((found, id));
        }
        Ok(Matched { pairs })
    }

    /// The place of an item that is shown, at `from` or behind it. One that nobody has acknowledged is
    /// known by its bytes, unless the id is another's.
    fn place(&self, from: usize, id: u64, print: Print) -> Option<usize> {
        let behind = || self.items.iter().enumerate().skip(from).filter(|(_, i)| !i.is_dropped);
        if let Some((at, _)) = behind().find(|(_, item)| item.id == Some(id)) {
            return Some(at);
        }
        for (at, item) in behind() {
            match item.id {
                Some(own) if own > id => return None,
                None if item.may_be(print) => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// An item that is shown and has no place.
    fn stranger(&self, id: u64, print: Print) -> Loss {
        let is_known = |item: &&Item| item.print == print && print.len > 8;
        match self.items.iter().find(is_known) {
            Some(item) => {
                let (id, own) = (name(id), or_none(item.id));
                let words = format!(
                    "{id} has the bytes of what operation {} appended as {own}",
                    item.operation
                );
                Loss::new(LossKind::Contradiction, words)
            }
            None => {
                let words =
                    format!("{} is there ({print:?}), which is gone or was never", name(id));
                Loss::new(LossKind::Resurrected, words)
            }
        }
    }

    /// What is wrong with where it begins.
    fn wrong_front(&self, matched: &Matched, required: usize, now_ms: u64) -> Option<Loss> {
        let starts = self.starts(matched, now_ms);
        let Some((first, _)) = matched.pairs.first() else {
            let most = starts.into_iter().max().unwrap_or(0);
            let is_lost = |at: &usize| self.items[*at].is_sure();
            let lost = (most..required).find(is_lost)?;
            return Some(self.lost(lost, "nothing is there"));
        };
        if *first < self.dropped {
            let words = format!("{} is there, and was truncated", self.words(*first));
            return Some(Loss::new(LossKind::Resurrected, words));
        }
        let is_sure = |at: usize| self.items[at].is_sure();
        let fits = |start: &usize| start <= first && !(*start..*first).any(is_sure);
        let Some(start) = starts.into_iter().filter(fits).max() else {
            let at = (0..*first).rev().find(|at| is_sure(*at)).unwrap_or(0);
            let words =
                format!("it begins with {}, and nobody has truncated that", self.words(*first));
            return Some(self.lost(at, &words));
        };
        if self.items[*first].operation < self.truncated_by {
            // Where those were of which no answer has come, nobody knows.
            return None;
        }
        let part = self.part(start..*first, *first)?;
        Some(self.half(part, *first))
    }

    /// Where it may begin: so many items may be gone.
    fn starts(&self, matched: &Matched, now_ms: u64) -> Vec<usize> {
        let mut starts = vec![self.dropped];
        if self.retention.drops() {
            let last = matched.pairs.last().map_or(0, |(_, id)| *id).max(self.highest) >> 32;
            let goes = |item: &Item| item.id.is_none_or(|id| self.may_go(item, id, last, now_ms));
            let most = self.items.iter().take_while(|item| goes(item)).count();
            starts.extend(self.dropped..=most.max(self.dropped));
        }
        for doubt in &self.doubts {
            let furthest = starts.iter().copied().max().unwrap_or(self.dropped);
            match doubt.reach {
                Reach::To(to) => starts.push(to),
                // It counts from wherever it was, and of what nobody knows whether it is there, nothing.
                Reach::Items(items) => starts.extend(self.dropped..=self.behind(furthest, items)),
            }
        }
        starts
    }

    /// The place behind so many items for sure, and behind those that may not be there.
    fn behind(&self, from: usize, items: usize) -> usize {
        let (mut at, mut left) = (from, items);
        while let Some(item) = self.items.get(at).filter(|item| left > 0 || !item.is_sure()) {
            left -= usize::from(item.is_sure());
            at += 1;
        }
        at
    }

    /// Whether an item may be dropped because of its age or of what lies behind it, where `last` is
    /// the last track of which anybody knows. Behind that there may be empty ones: one that a crash has
    /// ended, and the next.
    fn may_go(&self, item: &Item, id: u64, last: u64, now_ms: u64) -> bool {
        let too_old = |age| item.begun_ms.saturating_add(age) < now_ms;
        let too_much = |max: u64| (id >> 32) + max / self.file_bytes.max(1) <= last + 2;
        self.retention.max_age_ms.is_some_and(too_old)
            || self.retention.max_bytes.is_some_and(too_much)
    }

    /// What is missing between others.
    fn wrong_middle(&self, matched: &Matched) -> Option<Loss> {
        matched.pairs.windows(2).find_map(|pair| {
            let [(before, _), (behind, _)] = pair else { return None };
            let between = *before + 1..*behind;
            let gap = between.clone().find(|at| self.items[*at].is_sure());
            if let Some(gap) = gap {
                let words = format!(
                    "{} is there, and {}, before it, is lost",
                    self.words(*behind),
                    self.words(gap)
                );
                return Some(Loss::new(LossKind::Hole, words));
            }
            let part = self.part(between, *behind)?;
            Some(self.half(part, *behind))
        })
    }

    /// Of these places one of an item that is missing, of the same batch as one behind it, and that no
    /// rewrite may have dropped.
    fn part(&self, mut of: std::ops::Range<usize>, behind: usize) -> Option<usize> {
        let operation = self.items[behind].operation;
        let is_part = |item: &Item| {
            item.id.is_none() && item.operation == operation && item.unclear.is_none()
        };
        of.find(|at| is_part(&self.items[*at]))
    }

    fn wrong_end(&self, matched: &Matched, required: usize) -> Option<Loss> {
        let (last, _) = matched.pairs.last()?;
        let lost = (last + 1..required).find(|at| self.items[*at].is_sure())?;
        Some(self.lost(lost, &format!("it ends behind {}", self.words(*last))))
    }

    /// Readers are told where something was cut off, and nowhere else.
    fn wrong_cuts(&self, shown: &[Shown], matched: &Matched) -> Option<Loss> {
        let mut pairs = matched.pairs.iter();
        let (mut before, mut cuts): (Option<&(usize, u64)>, Vec<u64>) = (None, Vec::new());
        for entry in shown {
            match entry {
                Shown::Lost(from, to) => {
                    let words = format!("what lies from {} to {} is lost", name(*from), name(*to));
                    return Some(Loss::new(LossKind::Lost, words));
                }
                Shown::Cut(at) => cuts.push(*at),
                Shown::Item(..) => {
                    let behind = pairs.next().expect("each item that is shown was found");
                    if let Some(words) = self.wrong_between(before, &cuts, behind) {
                        return Some(Loss::new(LossKind::Contradiction, words));
                    }
                    (before, cuts) = (Some(behind), Vec::new());
                }
            }
        }
        let is_wrong = !cuts.is_empty() && self.life == 0 && !matched.pairs.is_empty();
        is_wrong.then(|| {
            Loss::new(LossKind::Contradiction, "it ends with a cut, and nothing has broken yet")
        })
    }

    fn wrong_between(
        &self,
        before: Option<&(usize, u64)>,
        cuts: &[u64],
        behind: &(usize, u64),
    ) -> Option<String> {
        let (before, id) = before?;
        let way = || format!("from {} to {}", self.words(*before), self.words(behind.0));
        let [one, other] = [*before, behind.0].map(|at| self.items[at].life);
        if !cuts.is_empty() && one == other {
            return Some(format!("{} there is a cut, and nothing has broken there", way()));
        }
        if cuts.iter().any(|cut| cut <= id || *cut > behind.1) {
            return Some(format!("{} there is a cut that is elsewhere", way()));
        }
        let untold =
            |lost: &&u64| (*id..behind.1).contains(*lost) && !cuts.iter().any(|cut| cut <= *lost);
        let lost = self.lost.iter().find(untold)?;
        Some(format!("{} nobody says that {} was lost there", way(), name(*lost)))
    }

    fn wrong_consumers(&self, seen: &Seen, matched: &Matched) -> Vec<Loss> {
        let found =
            |name: &str| seen.consumers.iter().find(|(of, _)| of == name).map(|(_, id)| *id);
        let names = self.consumers.keys().chain(seen.consumers.iter().map(|(name, _)| name));
        let mut names: Vec<&String> = names.collect();
        names.sort_unstable();
        names.dedup();
        let wrong = |consumer: &String| {
            let (found, known) = (found(consumer), self.consumers.get(consumer.as_str()));
            let committed = known.and_then(|known| known.committed);
            let ahead = known.map_or(0, |known| known.may_be_ahead());
            if found == committed || self.may_be_at(found, committed, ahead, matched) {
                return None;
            }
            let kind = if found < committed { LossKind::Lost } else { LossKind::Contradiction };
            let (found, committed) = (or_none(found), or_none(committed));
            let words = format!("{consumer} has committed {found}, and it has to be {committed}");
            Some(Loss::new(kind, words))
        };
        names.into_iter().filter_map(wrong).collect()
    }

    /// Whether a consumer may have got on to an item by at most so many.
    fn may_be_at(
        &self,
        found: Option<u64>,
        committed: Option<u64>,
        ahead: usize,
        matched: &Matched,
    ) -> bool {
        let Some(found) = found.filter(|found| committed.is_none_or(|id| id < *found)) else {
            return false;
        };
        // It has seen what it commits, so that this is durable, unless it was truncated.
        let first = matched.pairs.first().map_or(u64::MAX, |(_, id)| *id);
        let is_there = matched.pairs.iter().any(|(_, id)| *id == found);
        let of_matched =
            |at: usize| matched.pairs.iter().find(|pair| pair.0 == at).map(|pair| pair.1);
        let id = |at: usize, item: &Item| item.id.or(of_matched(at));
        let on_the_way = |(at, item): &(usize, &Item)| {
            *at >= self.dropped
                && !item.is_dropped
                && id(*at, item).is_some_and(|id| Some(id) > committed && id < found)
        };
        let before = self.items.iter().enumerate().filter(on_the_way).count();
        let is_known = self.doubts.is_empty() && !self.retention.drops();
        (is_there || found < first) && (before < ahead || ahead > 0 && !is_known)
    }

    fn lost(&self, at: usize, words: &str) -> Loss {
        Loss::new(LossKind::Lost, format!("{} is not there: {words}", self.words(at)))
    }

    fn half(&self, missing: usize, there: usize) -> Loss {
        let operation = self.items[there].operation;
        let (missing, there) = (self.items[missing].print.len, self.words(there));
        let words = format!(
            "of the batch of operation {operation} an item of {missing} bytes is missing, and \
             {there}, behind it, is there"
        );
        Loss::new(LossKind::Half, words)
    }

    fn words(&self, at: usize) -> String {
        let Item { operation, print, id, .. } = &self.items[at];
        let id = id.map_or_else(|| "an item".to_owned(), name);
        format!("{id} (operation {operation}, {} bytes)", print.len)
    }
}
