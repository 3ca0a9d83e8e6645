//! Pages of keys over any engine that can seek: common prefixes are sought past, not walked.

use crate::Result;

pub const DELIMITER: u8 = b'/';

/// A page of a listing.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: usize,
    /// Where the next one goes on; none behind the last.
    pub last: Option<Vec<u8>>,
}

/// Keys in their order.
pub trait Cursor {
    /// To the first key at or behind `key`.
    fn seek(&mut self, key: &[u8]) -> Result<()>;
    fn next(&mut self) -> Result<()>;
    fn key(&self) -> Option<&[u8]>;
}

pub fn page(
    cursor: &mut impl Cursor,
    after: Option<&[u8]>,
    delimited: bool,
    limit: usize,
) -> Result<Page> {
    cursor.seek(&after.map(|after| behind(after, delimited)).unwrap_or_default())?;
    let mut page = Page::default();
    let mut last = Vec::new();
    while let Some(key) = cursor.key() {
        if page.entries == limit {
            page.last = Some(last);
            break;
        }
        let common = key.iter().position(|byte| delimited && *byte == DELIMITER);
        last = key[..common.map_or(key.len(), |at| at + 1)].to_vec();
        page.entries += 1;
        match common {
            Some(_) => cursor.seek(&behind(&last, true))?,
            None => cursor.next()?,
        }
    }
    Ok(page)
}

/// The least key behind `entry`, and behind all below it if it is a common prefix.
fn behind(entry: &[u8], delimited: bool) -> Vec<u8> {
    let mut next = entry.to_vec();
    match next.last_mut() {
        Some(last) if delimited && *last == DELIMITER => *last += 1,
        _ => next.push(0),
    }
    next
}

/// A cursor over an engine whose ranges are iterators: a seek makes a new one.
pub struct Ranges<F, I> {
    range: F,
    iter: Option<I>,
    key: Option<Vec<u8>>,
}

impl<F, I> Ranges<F, I>
where
    F: Fn(&[u8]) -> Result<I>,
    I: Iterator<Item = Result<Vec<u8>>>,
{
    /// `range` gives the keys from one on.
    pub fn new(range: F) -> Self {
        Ranges { range, iter: None, key: None }
    }
}

impl<F, I> Cursor for Ranges<F, I>
where
    F: Fn(&[u8]) -> Result<I>,
    I: Iterator<Item = Result<Vec<u8>>>,
{
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.iter = Some((self.range)(key)?);
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        self.key = self.iter.as_mut().and_then(Iterator::next).transpose()?;
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn common_prefixes_are_counted_once_and_pages_go_on() {
        let keys: BTreeSet<Vec<u8>> =
            ["a", "b/1", "b/2", "c/1", "d"].iter().map(|key| key.as_bytes().to_vec()).collect();
        let range = |from: &[u8]| Ok(keys.range(from.to_vec()..).cloned().map(Ok));
        let first = page(&mut Ranges::new(range), None, true, 2).expect("no I/O");
        assert_eq!((first.entries, first.last.as_deref()), (2, Some(&b"b/"[..])));
        let rest = page(&mut Ranges::new(range), first.last.as_deref(), true, 9).expect("no I/O");
        assert_eq!((rest.entries, rest.last), (2, None));
        assert_eq!(page(&mut Ranges::new(range), None, false, 9).expect("no I/O").entries, 5);
    }
}
