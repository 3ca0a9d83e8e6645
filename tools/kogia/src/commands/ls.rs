//! `kogia ls`: keys in byte order.

mod tree;

use std::io::Write;

use clap::Args;
use kogia::{Item, ListOptions, Store};
use serde_json::json;

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::failure::Failure;
use crate::object_view::ObjectView;

const PAGE_ENTRIES: usize = 1000;

#[derive(Args)]
pub struct Ls {
    /// Only keys that begin so
    #[arg(default_value = "", hide_default_value = true)]
    prefix: Escaped,
    /// Show keys with this text after the prefix as one entry, up to it; '/' shows one folder
    #[arg(long, value_name = "TEXT")]
    delimiter: Option<Escaped>,
    /// Begin behind this key or entry
    #[arg(long, value_name = "KEY")]
    start_after: Option<Escaped>,
    /// Stop after so many entries, and say how to go on
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    max_keys: Option<u64>,
    /// Draw the folders below the prefix as a tree; --delimiter is '/' unless given
    #[arg(long, conflicts_with_all = ["start_after", "max_keys", "json"])]
    tree: bool,
    /// With --tree: do not look into folders below so many levels
    #[arg(long, value_name = "LEVELS", requires = "tree")]
    depth: Option<usize>,
    /// Show length, modification time, checksum and seq, too
    #[arg(short, long, conflicts_with = "json")]
    long: bool,
    /// Print one line of JSON an entry, and one with 'next' if --max-keys cut the list
    #[arg(long)]
    json: bool,
}

impl Ls {
    /// Prints the list, or the tree.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        if self.delimiter.as_ref().is_some_and(|delimiter| delimiter.0.is_empty()) {
            return Err(Failure::Usage("--delimiter is empty".into()));
        }
        if self.tree {
            let delimiter = self.delimiter.as_ref().map_or(&b"/"[..], |delimiter| &delimiter.0);
            tree::Tree::new(store, delimiter, self.depth, self.long)
                .print(&self.prefix.0, &mut console.out)
        } else {
            self.list(store, console)
        }
    }

    fn list(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let mut left = self.max_keys.unwrap_or(u64::MAX);
        let mut options = ListOptions {
            prefix: self.prefix.0.clone(),
            start_after: self.start_after.as_ref().map(|key| key.0.clone()),
            delimiter: self.delimiter.as_ref().map(|delimiter| delimiter.0.clone()),
            max_keys: PAGE_ENTRIES,
        };
        loop {
            options.max_keys = PAGE_ENTRIES.min(usize::try_from(left).unwrap_or(usize::MAX));
            let page = store.list(&options)?;
            left -= page.items.len() as u64;
            page.items.iter().try_for_each(|item| self.print(item, &mut console.out))?;
            match page.next {
                None => return Ok(()),
                Some(next) if left == 0 => return self.print_next(&next, console),
                next => options.start_after = next,
            }
        }
    }

    fn print(&self, item: &Item, out: &mut dyn Write) -> Result<(), Failure> {
        match item {
            Item::Object { key, info } if self.json => {
                ObjectView::new(key, info).write_json(out)?
            }
            Item::Object { key, info } if self.long => {
                ObjectView::new(key, info).write_line(out)?
            }
            Item::Prefix(prefix) if self.json => {
                writeln!(out, "{}", json!({ "prefix": escaped::text(prefix) }))?;
            }
            Item::Prefix(prefix) if self.long => {
                writeln!(out, "{:>58}  {}", "", escaped::text(prefix))?;
            }
            Item::Object { key, .. } | Item::Prefix(key) => {
                writeln!(out, "{}", escaped::text(key))?;
            }
        }
        Ok(())
    }

    fn print_next(&self, next: &[u8], console: &mut Console) -> Result<(), Failure> {
        let next = escaped::text(next);
        if self.json {
            writeln!(console.out, "{}", json!({ "next": next }))?;
        } else {
            console.note(format_args!("there is more: go on with --start-after '{next}'"));
        }
        Ok(())
    }
}
