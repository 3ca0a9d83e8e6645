//! How many objects lie below each common prefix of their keys, so that a listing by the delimiter
//! goes from prefix to prefix and looks at no key below them.
//!
//! Every put and delete changes the counts of all prefixes of its key. They are kept in memory, and
//! rows are written only when a count becomes 0 or ceases to be (which is all that a listing wants
//! to know, so that a view of any moment is right), and before a flush. What is counted then comes
//! from replay like all else.

use std::collections::{HashMap, hash_map};

use rocksdb::WriteBatch;

use super::rows::{Place, Rows};
use super::{Column, Family, Index, RowCursor, View};
use crate::error::Result;
use crate::format::entry::{self, MAX_PREFIX_DEPTH, PREFIX_DELIMITER, PrefixRow};

/// Counts that are kept over a flush take no more.
const KEPT_BYTES: usize = 1 << 20;

/// What a count takes in memory beside its prefix: here, and in a memtable at the next flush.
const COUNT_BYTES: usize = 192;

/// Changes of counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Change {
    keys: i64,
    lasting: i64,
    direct: i64,
}

/// What a join changes, by the longest prefix of each key. It is dealt out to the shorter ones when
/// all is known.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Of the keys that were looked up together, by their places. In the order of the keys those with
    /// the same prefix come one after the other.
    placed: Vec<Change>,
    /// The prefix that was last counted below, and what came together.
    last: Vec<u8>,
    change: Change,
    changes: HashMap<Vec<u8>, Change>,
    /// About what the prefixes take when they are dealt out.
    bytes: usize,
}

/// The counts since the last flush, and some that did not change.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    counts: HashMap<Vec<u8>, Count>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    now: PrefixRow,
    /// As its row has it; all 0 where there is none.
    written: PrefixRow,
}

impl Change {
    fn add(&mut self, other: Change) {
        self.keys += other.keys;
        self.lasting += other.lasting;
        self.direct += other.direct;
    }

    /// A count that falls below 0 was damaged: then verifying says so.
    fn apply(self, to: PrefixRow) -> PrefixRow {
        PrefixRow {
            keys: to.keys.saturating_add_signed(self.keys),
            lasting: to.lasting.saturating_add_signed(self.lasting),
            direct: to.direct.saturating_add_signed(self.direct),
        }
    }
}

impl Counts {
    /// Counts an object that came (1) or went (-1).
    pub(super) fn count(&mut self, key: &[u8], place: Option<Place>, lasts: bool, sign: i64) {
        let change = Change { keys: sign, lasting: sign * i64::from(lasts), direct: 0 };
        let Some(at) = place.map(Place::at) else { return self.count_below(key, change) };
        if self.placed.len() <= at {
            self.placed.resize(at + 1, Change::default());
        }
        self.placed[at].add(change);
    }

    fn count_below(&mut self, key: &[u8], change: Change) {
        // The last prefix is looked at first: it is mostly the same.
        let below_last = key.strip_prefix(&self.last[..]);
        let is_same = below_last.is_some_and(|rest| !rest.contains(&PREFIX_DELIMITER));
        let is_direct = is_same || {
            let (prefix, is_direct) = deepest(key);
            if *prefix != *self.last {
                self.keep();
                self.last.clear();
                self.last.extend_from_slice(prefix);
            }
            is_direct
        };
        let direct = if is_direct { change.keys } else { 0 };
        self.change.add(Change { direct, ..change });
    }

    /// About the bytes of the prefixes so far, without those of keys with places.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn keep(&mut self) {
        let change = std::mem::take(&mut self.change);
        if change != Change::default() {
            self.bytes += self.last.len() * (entry::depth(&self.last) + 1);
            add(&mut self.changes, &self.last, change);
        }
    }

    /// What changes below each prefix; `rows` are those that were looked up.
    fn dealt_out(mut self, rows: &Rows) -> HashMap<Vec<u8>, Change> {
        for (at, change) in std::mem::take(&mut self.placed).into_iter().enumerate() {
            if change != Change::default() {
                self.count_below(rows.key(at), change);
            }
        }
        self.keep();
        let mut all = HashMap::new();
        for (prefix, change) in &self.changes {
            for above in entry::common_prefixes(prefix) {
                let direct = if above.len() == prefix.len() { change.direct } else { 0 };
                add(&mut all, above, Change { direct, ..*change });
            }
        }
        all
    }
}

fn add(changes: &mut HashMap<Vec<u8>, Change>, prefix: &[u8], change: Change) {
    match changes.get_mut(prefix) {
        Some(sum) => sum.add(change),
        None => drop(changes.insert(prefix.to_vec(), change)),
    }
}

/// The longest prefix of a key that has a row, and whether no delimiter follows it.
fn deepest(key: &[u8]) -> (&[u8], bool) {
    let end = key.iter().rposition(|byte| *byte == PREFIX_DELIMITER).map_or(0, |at| at + 1);
    let prefix = &key[..end];
    if entry::depth(prefix) <= MAX_PREFIX_DEPTH.into() {
        return (prefix, true);
    }
    let counted = entry::common_prefixes(key).last();
    (counted.expect("the empty one at least"), false)
}

impl Index {
    /// Brings changes in; `set` is given the rows that change, and their keys. Gives about the bytes
    /// that it takes in memory, here and when they are flushed.
    pub(super) fn apply_counts(
        &self,
        counts: Counts,
        rows: &Rows,
        mut set: impl FnMut(&[u8], Option<PrefixRow>),
    ) -> Result<usize> {
        let changes = counts.dealt_out(rows);
        let mut prefixes = self.prefixes();
        let mut taken = 0;
        for (prefix, change) in changes {
            let mut known = match prefixes.counts.entry(prefix) {
                hash_map::Entry::Occupied(known) => known,
                hash_map::Entry::Vacant(unknown) => {
                    taken += unknown.key().len() * 2 + COUNT_BYTES;
                    let written = self.view().prefix(unknown.key())?;
                    unknown.insert_entry(Count { now: written, written })
                }
            };
            let count = known.get_mut();
            count.now = change.apply(count.now);
            if count.now.kinds() != count.written.kinds() {
                count.written = count.now;
                set(&entry::prefix_key(known.key()), row_of(known.get().now));
            }
        }
        prefixes.bytes += taken;
        Ok(taken)
    }

    /// Writes the rows of the counts that have changed.
    pub(super) fn write_prefixes(&self) -> Result<()> {
        let mut prefixes = self.prefixes();
        let column = self.column(Column::Prefixes);
        let mut batch = WriteBatch::default();
        for (prefix, count) in prefixes.changed() {
            batch.put_cf(column, entry::prefix_key(prefix), count.now.encode());
        }
        if !batch.is_empty() {
            self.write(batch)?;
        }
        prefixes.counts.values_mut().for_each(|count| count.written = count.now);
        if prefixes.bytes > KEPT_BYTES {
            *prefixes = Prefixes::default();
        }
        Ok(())
    }

    /// The counts whose rows are behind.
    pub(crate) fn unwritten_prefixes(&self) -> HashMap<Vec<u8>, PrefixRow> {
        let prefixes = self.prefixes();
        prefixes.changed().map(|(prefix, count)| (prefix.clone(), count.now)).collect()
    }
}

impl Prefixes {
    /// Where a count has become 0, its row says so already.
    fn changed(&self) -> impl Iterator<Item = (&Vec<u8>, &Count)> {
        self.counts.iter().filter(|(_, count)| count.now != count.written)
    }
}

/// A prefix of no object has no row.
fn row_of(counts: PrefixRow) -> Option<PrefixRow> {
    (counts.keys > 0).then_some(counts)
}

/// Walks the common prefixes that have the same number of delimiters.
pub(crate) struct PrefixCursor<'a> {
    index: &'a Index,
    rows: RowCursor<'a>,
    depth: u8,
}

impl View<'_> {
    /// What was counted below a prefix: truly whether it is 0, and else perhaps something older.
    pub(crate) fn prefix(&self, prefix: &[u8]) -> Result<PrefixRow> {
        let row = self.get(Family::Prefixes, &entry::prefix_key(prefix))?;
        let decode = |row: rocksdb::DBPinnableSlice<'_>| PrefixRow::decode(&row);
        Ok(row.map(decode).transpose().map_err(|fault| self.fault(fault))?.unwrap_or_default())
    }

    /// A cursor over the common prefixes right below one; `None` where those have no rows.
    pub(crate) fn prefixes_below(&self, prefix: &[u8]) -> Option<PrefixCursor<'_>> {
        let depth = entry::depth(prefix) + 1;
        let depth = u8::try_from(depth).ok().filter(|depth| *depth <= MAX_PREFIX_DEPTH)?;
        let rows = self.rows_that_begin(Family::Prefixes, Some(depth));
        Some(PrefixCursor { index: self.index(), rows, depth })
    }
}

impl PrefixCursor<'_> {
    /// To the first prefix at or behind `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.rows.seek(&[&[self.depth], key].concat());
    }

    /// To the next prefix.
    pub(crate) fn next(&mut self) {
        self.rows.next();
    }

    /// The prefix that the cursor is at, and what was counted below it; `None` at the end.
    pub(crate) fn counted(&self) -> Result<Option<(&[u8], PrefixRow)>> {
        let Some((key, row)) = self.rows.row()? else { return Ok(None) };
        let counts = PrefixRow::decode(row).map_err(|fault| self.index.fault(fault))?;
        Ok(Some((&key[1..], counts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(counts: Counts, rows: &Rows) -> Vec<(String, [i64; 3])> {
        let text = |prefix: Vec<u8>| String::from_utf8(prefix).expect("ASCII");
        let sums = counts
            .dealt_out(rows)
            .into_iter()
            .map(|(prefix, change)| (text(prefix), [change.keys, change.lasting, change.direct]));
        let mut sums: Vec<_> = sums.collect();
        sums.sort();
        sums
    }

    #[test]
    fn what_comes_and_goes_is_counted_below_each_prefix() {
        let keys = ["a/b/3", "top", "a/1", "a/2"].map(str::as_bytes);
        let none = |keys: &[&[u8]]| Ok::<_, ()>(keys.iter().map(|_| None).collect());
        let rows = Rows::look_up(&keys, none).unwrap_or_default();
        let mut counts = Counts::default();
        let mut count = |key: &str, lasts, sign| {
            let key = key.as_bytes();
            counts.count(key, rows.place(key), lasts, sign);
        };
        count("top", true, 1);
        count("a/1", true, 1);
        count("a/2", false, 1);
        count("a/b/3", true, 1);
        count("a/2", false, -1);
        count("a/4", false, 1);
        count("c/1", true, 1);
        count("c/1", true, -1);
        let expected = [("", [4, 3, 1]), ("a/", [3, 2, 2]), ("a/b/", [1, 1, 1])];
        assert_eq!(
            changes(counts, &rows),
            expected.map(|(prefix, sums)| (prefix.to_owned(), sums))
        );
    }

    #[test]
    fn keys_that_are_too_deep_count_as_far_as_there_are_rows() {
        let deepest = "/".repeat(MAX_PREFIX_DEPTH.into());
        let mut counts = Counts::default();
        counts.count(format!("{deepest}1").as_bytes(), None, true, 1);
        counts.count(format!("{deepest}/2").as_bytes(), None, true, 1);
        counts.count(format!("{deepest}/").as_bytes(), None, true, 1);
        let sums = changes(counts, &Rows::default());
        assert_eq!(sums.len(), usize::from(MAX_PREFIX_DEPTH) + 1);
        assert_eq!(sums.last(), Some(&(deepest, [3, 3, 1])));
    }
}
