//! Up to where the keys of objects below a prefix reach, as far as that is known: what is put behind it is new,
//! and need not be looked up. Cameras and recorders put keys in ascending order.

use std::collections::HashMap;

use rocksdb::ReadOptions;

use super::{Column, Index};
use crate::error::Result;
use crate::format::entry::PREFIX_DELIMITER;

/// For fewer keys below a prefix, looking for its bound takes longer than looking them up.
const MIN_KEYS: usize = 8;
/// For so many bounds one looks at a time: where prefixes come once and never again, it is in vain.
const MOST_FOUND: usize = 32;
/// Rows that were deleted lately over which one goes for a bound. Where there are more, all is looked up.
const MOST_DELETED: u64 = 1000;
/// Bounds take no more memory than this, about; then one begins anew.
const MOST_BYTES: usize = 1 << 20;
/// What a bound takes beside its bytes.
const BOUND_BYTES: usize = 96;

/// Bounds by prefix: all of a key up to its last delimiter, and with it.
///
/// A bound is no less than any key of the index right below its prefix. What is put raises it before
/// RocksDB has it, and new ones are learnt only under the apply lock, while the index is as it was when they
/// were found; so that whoever looks up what a change replaces, and knows that no other came between, may pass over
/// all keys behind it.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    known: HashMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

/// Bounds that were found, by prefix.
pub(super) type Found = Vec<(Vec<u8>, Vec<u8>)>;

impl Bounds {
    /// Under the apply lock, and nothing has changed since they were found.
    pub(super) fn learn(&mut self, found: Found) {
        for (prefix, bound) in found {
            self.bytes += bytes_of(&prefix, &bound);
            if let Some(before) = self.known.insert(prefix.clone(), bound) {
                self.bytes -= bytes_of(&prefix, &before);
            }
        }
        self.keep_small();
    }

    fn keep_small(&mut self) {
        if self.bytes > MOST_BYTES {
            *self = Bounds::default();
        }
    }

    /// These keys are about to be put. They may come in any order; where those below one prefix come one after the
    /// other, it takes less.
    pub(super) fn raise<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>) {
        if self.known.is_empty() {
            return;
        }
        let mut greatest: Option<(&[u8], &[u8])> = None;
        for key in keys {
            match &mut greatest {
                Some((prefix, most)) if is_right_below(prefix, key) => *most = key.max(most),
                _ => {
                    let before = greatest.replace((prefix_of(key), key));
                    before.into_iter().for_each(|(prefix, most)| self.raise_to(prefix, most));
                }
            }
        }
        greatest.into_iter().for_each(|(prefix, most)| self.raise_to(prefix, most));
        self.keep_small();
    }

    fn raise_to(&mut self, prefix: &[u8], key: &[u8]) {
        if let Some(bound) = self.known.get_mut(prefix)
            && **bound < *key
        {
            self.bytes = self.bytes + key.len() - bound.len();
            key.clone_into(bound);
        }
    }
}

fn bytes_of(prefix: &[u8], bound: &[u8]) -> usize {
    prefix.len() + bound.len() + BOUND_BYTES
}

/// What a key is right below.
fn prefix_of(key: &[u8]) -> &[u8] {
    let end = key.iter().rposition(|byte| *byte == PREFIX_DELIMITER).map_or(0, |at| at + 1);
    &key[..end]
}

fn is_right_below(prefix: &[u8], key: &[u8]) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| !rest.contains(&PREFIX_DELIMITER))
}

impl Index {
    /// The rows of objects' keys in ascending order, as they are now, and the bounds that were found.
    pub(super) fn get_sorted(&self, keys: &[&[u8]]) -> Result<(Vec<Option<Vec<u8>>>, Found)> {
        let (mut found, mut maybe_there, mut runs) = (Found::new(), Vec::new(), Vec::new());
        let mut rest = keys;
        while let Some(first) = rest.first() {
            let prefix = prefix_of(first);
            let len = rest.iter().take_while(|key| is_right_below(prefix, key)).count();
            let (run, behind) = rest.split_at(len);
            let old = self.count_up_to_bound(prefix, run, &mut found)?;
            maybe_there.extend_from_slice(&run[..old]);
            runs.push((old, len - old));
            rest = behind;
        }
        let mut looked_up = self.get_each(&maybe_there)?.into_iter();
        let mut rows = Vec::with_capacity(keys.len());
        for (old, new) in runs {
            rows.extend(looked_up.by_ref().take(old));
            rows.extend(std::iter::repeat_n(None, new));
        }
        Ok((rows, found))
    }

    /// How many of these keys, which ascend, are not behind the bound of their prefix.
    fn count_up_to_bound(&self, prefix: &[u8], keys: &[&[u8]], found: &mut Found) -> Result<usize> {
        let count = |bound: &[u8]| keys.partition_point(|key| *key <= bound);
        if let Some(bound) = self.bounds().known.get(prefix) {
            return Ok(count(bound));
        }
        if keys.len() < MIN_KEYS || found.len() == MOST_FOUND {
            return Ok(keys.len());
        }
        let bound = self.find_bound(prefix)?;
        let old = count(&bound);
        found.push((prefix.to_vec(), bound));
        Ok(old)
    }

    /// The greatest key below a prefix, at whatever depth; the prefix where there is none.
    fn find_bound(&self, prefix: &[u8]) -> Result<Vec<u8>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        // All keys below a prefix are before this; what has none ends where keys do.
        let end = prefix.split_last().map(|(delimiter, above)| [above, &[delimiter + 1]].concat());
        if let Some(end) = &end {
            options.set_iterate_upper_bound(&end[..]);
        }
        options.set_max_skippable_internal_keys(MOST_DELETED);
        let objects = self.column(Column::Objects);
        let mut rows = self.db.raw_iterator_cf_opt(objects, options);
        rows.seek_to_last();
        if let Some(key) = rows.key() {
            return Ok(key.to_vec());
        }
        match rows.status() {
            Ok(()) => Ok(prefix.to_vec()),
            // Up to where the rows reach that were deleted. None is known that is less.
            Err(e) if e.kind() == rocksdb::ErrorKind::Incomplete => {
                Ok(end.unwrap_or_else(|| vec![u8::MAX; crate::format::record::MAX_KEY_BYTES + 1]))
            }
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) fn learn_bounds(&self, found: Found) {
        if !found.is_empty() {
            self.bounds().learn(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(bounds: &Bounds, prefix: &str) -> Option<String> {
        let bound = bounds.known.get(prefix.as_bytes());
        bound.map(|bound| String::from_utf8(bound.clone()).expect("ASCII"))
    }

    #[test]
    fn what_is_put_raises_the_bound_of_its_prefix_in_any_order() {
        let mut bounds = Bounds::default();
        bounds.raise([&b"a/1"[..]]);
        assert_eq!(bound(&bounds, "a/"), None);
        bounds.learn(["", "a/", "a/b/"].map(|prefix| (prefix.into(), prefix.into())).to_vec());
        let keys = ["a/3", "a/1", "a/b/2", "a/2", "7", "c/9", "5", "a/b/1"];
        bounds.raise(keys.map(str::as_bytes));
        let known = ["", "a/", "a/b/", "c/"].map(|prefix| bound(&bounds, prefix));
        let expected = [Some("7"), Some("a/3"), Some("a/b/2"), None];
        assert_eq!(known, expected.map(|bound| bound.map(str::to_owned)));
    }

    #[test]
    fn many_bounds_do_not_take_more_and_more_memory() {
        let mut bounds = Bounds::default();
        for number in 0..100_000 {
            let prefix = format!("{number}/").into_bytes();
            bounds.learn(vec![(prefix.clone(), prefix)]);
            bounds.raise([format!("{number}/{}", number % 9 * 1111).as_bytes()]);
            let taken = bounds.known.iter().map(|(prefix, bound)| bytes_of(prefix, bound));
            let taken: usize = taken.sum();
            assert!(number % 1000 > 0 || (taken == bounds.bytes && taken <= MOST_BYTES));
        }
        assert!(bound(&bounds, "99999/").is_some());
        let long = [&b"99999/"[..], &vec![b'z'; MOST_BYTES]].concat();
        bounds.raise([&long[..]]);
        assert_eq!((bounds.known.len(), bounds.bytes), (0, 0));
    }
}
