//! `kogia ls --tree`: folders as a tree.
//!
//! Each level is a list of its own with the delimiter, read by pages and one entry ahead, so
//! that memory depends on the depth and not on how many objects there are. Levels are kept on a
//! stack of our own: a key may have 65,535 of them.

use std::collections::VecDeque;
use std::io::Write;

use indicatif::HumanBytes;
use kogia::{Item, ListOptions, Store};

use crate::escaped;
use crate::failure::Failure;
use crate::quantity::{self, utc};

const PAGE_ENTRIES: usize = 256;

/// How to draw a tree.
pub struct Tree<'a> {
    store: &'a Store,
    delimiter: &'a [u8],
    depth: Option<usize>,
    long: bool,
}

#[derive(Default)]
struct Count {
    objects: u64,
    bytes: u64,
    folders: u64,
}

impl<'a> Tree<'a> {
    /// A tree of folders that end with `delimiter`; those below `depth` levels stay closed.
    pub fn new(store: &'a Store, delimiter: &'a [u8], depth: Option<usize>, long: bool) -> Self {
        Tree { store, delimiter, depth, long }
    }

    /// Draws everything below `prefix`, then a line of totals.
    pub fn print(&self, prefix: &[u8], out: &mut dyn Write) -> Result<(), Failure> {
        let mut count = Count::default();
        let mut levels = vec![self.level(prefix.to_vec())];
        writeln!(out, "{}", if prefix.is_empty() { ".".into() } else { escaped::text(prefix) })?;
        while let Some(level) = levels.last_mut() {
            let Some(item) = level.next(self.store)? else {
                levels.pop();
                continue;
            };
            self.print_item(&item, &levels, &mut count, out)?;
            if let Item::Prefix(folder) = item
                && self.depth.is_none_or(|depth| levels.len() < depth)
            {
                levels.push(self.level(folder));
            }
        }
        self.print_count(&count, out)
    }

    fn level(&self, prefix: Vec<u8>) -> Level {
        let options = ListOptions {
            prefix,
            start_after: None,
            delimiter: Some(self.delimiter.to_vec()),
            max_keys: PAGE_ENTRIES,
        };
        Level { options, ahead: VecDeque::new(), is_read: false, is_last: false }
    }

    fn print_item(
        &self,
        item: &Item,
        levels: &[Level],
        count: &mut Count,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let (level, above) = levels.split_last().expect("an item is of some level");
        for level in above {
            write!(out, "{}", if level.is_last { "    " } else { "│   " })?;
        }
        write!(out, "{}", if level.is_last { "└── " } else { "├── " })?;
        let name = |key: &[u8]| match &key[level.options.prefix.len()..] {
            // An object with the very name of its folder.
            b"" => ".".into(),
            name => escaped::text(name),
        };
        match item {
            Item::Prefix(prefix) => {
                count.folders += 1;
                writeln!(out, "{}", name(prefix))?;
            }
            Item::Object { key, info } => {
                count.objects += 1;
                count.bytes += info.len;
                write!(out, "{}", name(key))?;
                if self.long {
                    write!(out, "  {}  {}", HumanBytes(info.len), utc(info.modified_ms))?;
                }
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn print_count(&self, count: &Count, out: &mut dyn Write) -> Result<(), Failure> {
        let folders = quantity::count(count.folders, "folder");
        let objects = quantity::count(count.objects, "object");
        let closed = if self.depth.is_some() { ", not counting closed folders" } else { "" };
        writeln!(out, "{folders}, {objects}, {}{closed}", HumanBytes(count.bytes))?;
        Ok(())
    }
}

/// The entries of one folder, from the next one on.
struct Level {
    options: ListOptions,
    ahead: VecDeque<Item>,
    /// Whether `ahead` holds all that is left.
    is_read: bool,
    /// Whether the entry given out last was the folder's last one.
    is_last: bool,
}

impl Level {
    fn next(&mut self, store: &Store) -> Result<Option<Item>, Failure> {
        while self.ahead.len() < 2 && !self.is_read {
            let page = store.list(&self.options)?;
            self.ahead.extend(page.items);
            self.is_read = page.next.is_none();
            self.options.start_after = page.next;
        }
        let item = self.ahead.pop_front();
        self.is_last = self.ahead.is_empty();
        Ok(item)
    }
}
