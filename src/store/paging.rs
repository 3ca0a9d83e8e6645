//! A page of a listing, over any ordered keys. Knows nothing of objects or RocksDB.
//!
//! A common prefix is sought past, not walked: the cost of a page depends on what it returns, not
//! on what lies below the prefixes.

/// What to list.
///
/// ```
/// let day = kogia::ListOptions {
///     prefix: b"camera-1/2026-11-20/".to_vec(),
///     delimiter: Some(b"/".to_vec()),
///     ..kogia::ListOptions::default()
/// };
/// assert_eq!(day.max_keys, 1000);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListOptions {
    /// Only keys that begin with this; default all.
    pub prefix: Vec<u8>,
    /// Only what sorts behind this: a key, or what the page before gave as
    /// [`Page::next`](crate::Page::next). A common prefix is behind it if any of its keys is,
    /// unless it is the very prefix.
    pub start_after: Option<Vec<u8>>,
    /// Keys that are the same up to the first occurrence of this behind the prefix are counted as
    /// one entry, their common prefix, which ends with the delimiter; default none.
    pub delimiter: Option<Vec<u8>>,
    /// Entries in a page at most; default 1,000.
    pub max_keys: usize,
}

impl Default for ListOptions {
    fn default() -> Self {
        ListOptions { prefix: Vec::new(), start_after: None, delimiter: None, max_keys: 1000 }
    }
}

/// Keys in byte order. A common prefix may stand for those that begin with it.
pub(crate) trait Walk {
    /// Why a key can't be had.
    type Error;

    /// To the first key at or behind `key`. It goes forward, never back.
    fn seek(&mut self, key: &[u8]);

    /// To the next key.
    fn next(&mut self);

    /// From a common prefix, or a key below it, to the first key that is not below it: to the first at
    /// or behind `behind`, the least key that can be.
    fn pass(&mut self, behind: &[u8]) {
        self.seek(behind);
    }

    /// The key it is at; `None` at the end.
    fn key(&self) -> Result<Option<&[u8]>, Self::Error>;
}

/// The entries of one page, and where the next one goes on.
pub(crate) type Entries<T> = (Vec<T>, Option<Vec<u8>>);

/// One page, from where [`seek_start`] has brought the walk. `take` makes an entry of the key that it is at,
/// and `common` one of a common prefix.
pub(crate) fn page<W: Walk, T>(
    walk: &mut W,
    options: &ListOptions,
    mut take: impl FnMut(&W) -> Result<T, W::Error>,
    mut common: impl FnMut(&[u8]) -> T,
) -> Result<Entries<T>, W::Error> {
    let mut entries = Vec::new();
    if options.max_keys == 0 {
        return Ok((entries, None));
    }
    // Both in the same memory for all of the page.
    let (mut last, mut behind) = (Vec::new(), Vec::new());
    loop {
        let Some(key) = walk.key()?.filter(|key| key.starts_with(&options.prefix)) else {
            return Ok((entries, None));
        };
        if entries.len() == options.max_keys {
            return Ok((entries, Some(last)));
        }
        last.clear();
        if let Some(prefix) = common_prefix(key, options) {
            last.extend_from_slice(prefix);
            entries.push(common(prefix));
            if !successor(&last, &mut behind) {
                return Ok((entries, None));
            }
            walk.pass(&behind);
        } else {
            last.extend_from_slice(key);
            entries.push(take(walk)?);
            walk.next();
        }
    }
}

/// Moves to the first key that may be listed; whether there can be any.
pub(crate) fn seek_start<W: Walk>(walk: &mut W, options: &ListOptions) -> bool {
    let Some(after) = options.start_after.as_ref().filter(|after| **after >= options.prefix) else {
        walk.seek(&options.prefix);
        return true;
    };
    if common_prefix(after, options).is_some_and(|common| common.len() == after.len()) {
        let mut behind = Vec::new();
        let is_there = successor(after, &mut behind);
        if is_there {
            walk.seek(&behind);
        }
        return is_there;
    }
    walk.seek(&[&after[..], &[0]].concat());
    true
}

/// The common prefix that a key is counted under.
pub(super) fn common_prefix<'k>(key: &'k [u8], options: &ListOptions) -> Option<&'k [u8]> {
    let delimiter = options.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.strip_prefix(&options.prefix[..])?;
    let at = match delimiter {
        [byte] => rest.iter().position(|other| other == byte)?,
        _ => rest.windows(delimiter.len()).position(|window| window == delimiter)?,
    };
    Some(&key[..options.prefix.len() + at + delimiter.len()])
}

/// Makes `next` the least key that is greater than all that begin with `prefix`; whether there is one.
fn successor(prefix: &[u8], next: &mut Vec<u8>) -> bool {
    let Some(kept) = prefix.iter().rposition(|&byte| byte != u8::MAX) else { return false };
    next.clear();
    next.extend_from_slice(&prefix[..=kept]);
    next[kept] += 1;
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;

    /// Keys in memory, which count the moves made over them.
    struct Keys<'a> {
        keys: &'a BTreeSet<Vec<u8>>,
        at: Option<&'a Vec<u8>>,
        moves: usize,
    }

    impl<'a> Keys<'a> {
        fn new(keys: &'a BTreeSet<Vec<u8>>) -> Self {
            Keys { keys, at: None, moves: 0 }
        }
    }

    impl Walk for Keys<'_> {
        type Error = Infallible;

        fn seek(&mut self, key: &[u8]) {
            self.moves += 1;
            self.at = self.keys.range(key.to_vec()..).next();
        }

        fn next(&mut self) {
            let mut behind = self.at.expect("not at the end").clone();
            behind.push(0);
            self.seek(&behind);
        }

        fn key(&self) -> Result<Option<&[u8]>, Infallible> {
            Ok(self.at.map(|key| &key[..]))
        }
    }

    /// An entry of a page.
    #[derive(Clone, PartialEq, Eq, Debug)]
    enum Step {
        Key(Vec<u8>),
        Prefix(Vec<u8>),
    }

    fn list(keys: &BTreeSet<Vec<u8>>, options: &ListOptions) -> Entries<Step> {
        let take = |walk: &Keys<'_>| Ok(Step::Key(walk.at.expect("at a key").clone()));
        let common = |prefix: &[u8]| Step::Prefix(prefix.to_vec());
        let mut walk = Keys::new(keys);
        if !seek_start(&mut walk, options) {
            return (Vec::new(), None);
        }
        let Ok(steps) = page(&mut walk, options, take, common);
        steps
    }

    /// The listing by its definition, walking every key.
    fn reference(keys: &BTreeSet<Vec<u8>>, options: &ListOptions) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(&options.prefix)) {
            let step = match common_prefix(key, options) {
                Some(common) => Step::Prefix(common.to_vec()),
                None => Step::Key(key.clone()),
            };
            if steps.last() != Some(&step) {
                steps.push(step);
            }
        }
        steps
    }

    fn sample() -> BTreeSet<Vec<u8>> {
        let mut keys: BTreeSet<Vec<u8>> =
            ["a", "a/", "a/b", "a/b/c", "a//", "ab", "b", "b/x", "c/"]
                .into_iter()
                .map(|key| key.as_bytes().to_vec())
                .collect();
        keys.extend([vec![0xff], vec![0xff, b'/', 1], vec![0xff, 0xff, b'/', 2], vec![0]]);
        keys
    }

    #[test]
    fn pages_continue_exactly_where_the_last_one_ended() {
        let keys = sample();
        for prefix in ["", "a", "a/", "b", "zz"] {
            for delimiter in [None, Some("/"), Some("//"), Some("b"), Some("")] {
                for max_keys in 1..6 {
                    let mut options = ListOptions {
                        prefix: prefix.into(),
                        delimiter: delimiter.map(|d| d.as_bytes().to_vec()),
                        start_after: None,
                        max_keys,
                    };
                    let expected = reference(&keys, &options);
                    let mut found = Vec::new();
                    loop {
                        let (steps, next) = list(&keys, &options);
                        assert!(steps.len() <= max_keys);
                        found.extend(steps);
                        if next.is_none() {
                            break;
                        }
                        options.start_after = next;
                    }
                    assert_eq!(found, expected, "{options:?}");
                }
            }
        }
    }

    #[test]
    fn a_prefix_of_the_greatest_bytes_ends_the_listing() {
        let keys: BTreeSet<_> = [vec![0xff, 0xff, 0xff, 1], vec![0xff, 0xff, 0xff, 2]].into();
        let delimiter = Some(vec![0xff, 0xff, 0xff]);
        let options = ListOptions { delimiter, ..ListOptions::default() };
        assert_eq!(list(&keys, &options), (vec![Step::Prefix(vec![0xff; 3])], None));
    }

    #[test]
    fn a_page_of_prefixes_costs_a_move_each_whatever_lies_below() {
        let keys: BTreeSet<Vec<u8>> =
            (0..10_000).map(|i| format!("{:02}/{i}", i % 10).into_bytes()).collect();
        let options = ListOptions { delimiter: Some(b"/".to_vec()), ..ListOptions::default() };
        let mut walk = Keys::new(&keys);
        assert!(seek_start(&mut walk, &options));
        let Ok((steps, _)) = page(&mut walk, &options, |_| Ok(()), |_| ());
        assert_eq!((steps.len(), walk.moves), (10, 11));
    }
}
