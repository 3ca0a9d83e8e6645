//! Counting the objects below each common prefix once more.

use std::collections::HashMap;

use super::Verifier;
use crate::error::Result;
use crate::format::entry::{self, MAX_PREFIX_DEPTH, PrefixRow};
use crate::index::Family;

/// Counts below the prefixes of the keys that are given to it in their order.
pub(super) struct Prefixes {
    /// What the store has counted and not written to the index.
    unwritten: HashMap<Vec<u8>, PrefixRow>,
    last: Vec<u8>,
    /// The prefixes of the last key, by their lengths, the shortest first.
    open: Vec<(usize, PrefixRow)>,
    /// Prefixes that are done with.
    closed: u64,
}

impl Prefixes {
    pub(super) fn new(unwritten: HashMap<Vec<u8>, PrefixRow>) -> Self {
        Prefixes { unwritten, last: Vec::new(), open: Vec::new(), closed: 0 }
    }

    /// Counts a key; gives the prefixes that no further key has.
    fn count(&mut self, key: &[u8], lasts: bool) -> Vec<(Vec<u8>, PrefixRow)> {
        let same = key.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        let closed = self.close(|len| len > same);
        let deepest = self.open.last().map(|(len, _)| *len);
        let new = entry::common_prefixes(key).map(<[u8]>::len).filter(|len| Some(*len) > deepest);
        self.open.extend(new.map(|len| (len, PrefixRow::default())));
        let depth = entry::depth(key);
        for (at, (_, row)) in self.open.iter_mut().enumerate() {
            row.keys += 1;
            row.lasting += u64::from(lasts);
            row.direct += u64::from(at == depth && depth <= MAX_PREFIX_DEPTH.into());
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        closed
    }

    fn close(&mut self, is_over: impl Fn(usize) -> bool) -> Vec<(Vec<u8>, PrefixRow)> {
        let kept = self.open.iter().take_while(|(len, _)| !is_over(*len)).count();
        let over = self.open.drain(kept..).map(|(len, row)| (self.last[..len].to_vec(), row));
        let closed: Vec<_> = over.collect();
        self.closed += closed.len() as u64;
        closed
    }
}

impl Verifier<'_> {
    pub(super) fn count_prefixes(&mut self, key: &[u8], lasts: bool) -> Result<()> {
        let closed = self.prefixes.count(key, lasts);
        self.compare_prefixes(closed)
    }

    /// All keys were counted.
    pub(super) fn end_prefixes(&mut self) -> Result<()> {
        let closed = self.prefixes.close(|_| true);
        self.compare_prefixes(closed)?;
        let mut rows = 0;
        self.rows(Family::Prefixes, |_, _, _| {
            rows += 1;
            Ok(())
        })?;
        self.compare("index, common prefixes", &[("prefixes", rows, self.prefixes.closed)]);
        Ok(())
    }

    fn compare_prefixes(&mut self, counted: Vec<(Vec<u8>, PrefixRow)>) -> Result<()> {
        for (prefix, counted) in counted {
            let row = self.view.prefix(&prefix)?;
            let known = self.prefixes.unwritten.get(&prefix).copied().unwrap_or(row);
            if known != counted || row.kinds() != counted.kinds() {
                let what = format!("{known:?} is known, {row:?} written, and {counted:?} counted");
                self.problem("index, common prefixes", Some(&prefix), what);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_is_counted_once_and_to_its_end() {
        let mut prefixes = Prefixes::new(HashMap::new());
        let mut closed = Vec::new();
        for (key, lasts) in
            [("a", true), ("a/1", true), ("a/b/2", false), ("a0", true), ("c/", true)]
        {
            closed.extend(prefixes.count(key.as_bytes(), lasts));
        }
        closed.extend(prefixes.close(|_| true));
        let row = |keys, lasting, direct| PrefixRow { keys, lasting, direct };
        let expected = [
            ("a/", row(2, 1, 1)),
            ("a/b/", row(1, 0, 1)),
            ("", row(5, 4, 2)),
            ("c/", row(1, 1, 1)),
        ];
        let expected = expected.map(|(prefix, row)| (prefix.as_bytes().to_vec(), row));
        assert_eq!((closed, prefixes.closed), (expected.to_vec(), 4));
    }
}
