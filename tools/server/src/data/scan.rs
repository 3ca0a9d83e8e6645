//! Rows below a prefix, in their order and in bounded memory.

use std::collections::VecDeque;

use kogia::{Info, Item, ListOptions, Store};

use crate::error::Result;

/// Rows that are read at once.
const PAGE_ROWS: usize = 128;

/// Rows below a prefix, read page by page: whoever goes over them may delete what he was given.
pub struct Scan<'a> {
    store: &'a Store,
    options: ListOptions,
    read: VecDeque<(Vec<u8>, Info)>,
    is_at_end: bool,
}

impl<'a> Scan<'a> {
    #[must_use]
    pub fn new(store: &'a Store, prefix: Vec<u8>) -> Self {
        let options = ListOptions { prefix, max_keys: PAGE_ROWS, ..ListOptions::default() };
        Scan { store, options, read: VecDeque::new(), is_at_end: false }
    }

    /// Begins behind a row, where one is given.
    #[must_use]
    pub fn behind(mut self, row: Option<Vec<u8>>) -> Self {
        self.options.start_after = row;
        self
    }

    /// The next row, which stays the next one.
    pub fn peek(&mut self) -> Result<Option<&(Vec<u8>, Info)>> {
        while self.read.is_empty() && !self.is_at_end {
            let page = self.store.list(&self.options)?;
            self.read.extend(page.items.into_iter().filter_map(|item| match item {
                Item::Object { key, info } => Some((key, info)),
                Item::Prefix(_) => None,
            }));
            self.is_at_end = page.next.is_none();
            self.options.start_after = page.next;
        }
        Ok(self.read.front())
    }

    /// Goes on behind `row`.
    pub fn skip_to(&mut self, row: Vec<u8>) {
        while self.read.front().is_some_and(|(key, _)| *key <= row) {
            self.read.pop_front();
        }
        if self.read.is_empty() && !self.is_at_end {
            self.options.start_after = Some(row);
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Info)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.peek() {
            Ok(_) => self.read.pop_front().map(Ok),
            Err(error) => {
                // Whoever goes on in spite of it is at the end.
                self.is_at_end = true;
                Some(Err(error))
            }
        }
    }
}
