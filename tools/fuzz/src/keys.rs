//! Keys in memory, to list by the store's own paging.

use std::collections::BTreeSet;
use std::convert::Infallible;

pub use crate::paging::ListOptions;
use crate::paging::{Walk, page, seek_start};

/// An entry of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A key.
    Key(Vec<u8>),
    /// What all keys up to a delimiter have in common.
    Prefix(Vec<u8>),
}

/// A page, and what it took.
#[derive(Debug)]
pub struct Page {
    /// The entries, in order.
    pub items: Vec<Item>,
    /// Where the next page goes on.
    pub next: Option<Vec<u8>>,
    /// Moves over the keys.
    pub moves: usize,
}

struct Keys<'a> {
    keys: &'a BTreeSet<Vec<u8>>,
    at: Option<&'a Vec<u8>>,
    moves: usize,
}

impl Walk for Keys<'_> {
    type Error = Infallible;

    fn seek(&mut self, key: &[u8]) {
        self.moves += 1;
        self.at = self.keys.range(key.to_vec()..).next();
    }

    fn next(&mut self) {
        let mut behind = self.at.expect("nobody moves on from the end").clone();
        behind.push(0);
        self.seek(&behind);
    }

    fn key(&self) -> Result<Option<&[u8]>, Infallible> {
        Ok(self.at.map(|key| &key[..]))
    }
}

/// Lists one page of `keys`.
#[must_use]
pub fn list(keys: &BTreeSet<Vec<u8>>, options: &ListOptions) -> Page {
    let mut walk = Keys { keys, at: None, moves: 0 };
    let take = |walk: &Keys<'_>| Ok(Item::Key(walk.at.expect("an entry is a key").clone()));
    let common = |prefix: &[u8]| Item::Prefix(prefix.to_vec());
    let Ok((items, next)) = match seek_start(&mut walk, options) {
        true => page(&mut walk, options, take, common),
        false => Ok((Vec::new(), None)),
    };
    Page { items, next, moves: walk.moves }
}
