//! `kogia rm`: deleting objects.

use std::io::Write;

use clap::Args;
use kogia::{Batch, Condition, DeleteOptions, Seq, Store};

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::failure::Failure;
use crate::{listing, quantity, seq_text};

#[derive(Args)]
pub struct Rm {
    /// Keys of the objects
    #[arg(required_unless_present = "prefix", value_name = "KEY")]
    keys: Vec<Escaped>,
    /// Every object whose key begins so; needs --yes or --dry-run
    #[arg(long, conflicts_with_all = ["keys", "if_seq"])]
    prefix: Option<Escaped>,
    /// Really delete everything with the prefix
    #[arg(long, requires = "prefix", conflicts_with = "dry_run")]
    yes: bool,
    /// Print the keys that would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// A key without an object is no error
    #[arg(short, long)]
    force: bool,
    /// Only if the object has this seq, as 'kogia head' shows it; for a single key
    #[arg(long, value_name = "SEQ", value_parser = seq_text::parse)]
    if_seq: Option<Seq>,
}

impl Rm {
    /// Deletes what was named, and gives its room back to the disks: that takes a checkpoint, and
    /// a store that is open for one command only may never come to one by itself.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let result = match &self.prefix {
            None => self.delete_keys(store, console),
            Some(prefix) if self.yes || self.dry_run => self.delete_prefix(store, prefix, console),
            Some(prefix) => return Err(unsure(prefix)),
        };
        if !self.dry_run {
            store.checkpoint()?;
        }
        result
    }

    fn delete_keys(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        if self.if_seq.is_some() && self.keys.len() > 1 {
            return Err(Failure::Usage("--if-seq goes with a single key".into()));
        }
        let mut missing = None;
        for Escaped(key) in &self.keys {
            if !self.delete_key(store, key, console)? && !self.force {
                let failure = Failure::NoSuchKey(key.clone());
                missing.replace(failure).iter().for_each(|earlier| console.problem(earlier));
            }
        }
        missing.map_or(Ok(()), Err)
    }

    /// Deletes one object; says whether it was there.
    fn delete_key(
        &self,
        store: &Store,
        key: &[u8],
        console: &mut Console,
    ) -> Result<bool, Failure> {
        if self.dry_run {
            let exists = store.exists(key)?;
            if exists {
                writeln!(console.out, "{}", escaped::text(key))?;
            }
            return Ok(exists);
        }
        let condition = self.if_seq.map_or(Condition::Always, Condition::IfSeq);
        Ok(store.delete_with(key, &DeleteOptions { condition, ..DeleteOptions::default() })?)
    }

    /// Deletes a page of keys at a time, each page whole or not at all.
    fn delete_prefix(
        &self,
        store: &Store,
        prefix: &Escaped,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let mut count = 0;
        for page in listing::pages(store, &prefix.0) {
            let page = page?;
            count += page.len() as u64;
            let keys = page.iter().map(|(key, _)| key);
            if self.dry_run { print(keys, console)? } else { delete(store, keys)? }
        }
        console.note(format_args!(
            "{} {}",
            if self.dry_run { "would delete" } else { "deleted" },
            quantity::count(count, "object")
        ));
        Ok(())
    }
}

fn unsure(prefix: &Escaped) -> Failure {
    Failure::Usage(format!(
        "everything that begins with '{}' would be deleted: add --yes to do so, or --dry-run to \
         see the keys",
        escaped::text(&prefix.0)
    ))
}

fn print<'a>(
    mut keys: impl Iterator<Item = &'a Vec<u8>>,
    console: &mut Console,
) -> Result<(), Failure> {
    Ok(keys.try_for_each(|key| writeln!(console.out, "{}", escaped::text(key)))?)
}

fn delete<'a>(store: &Store, keys: impl Iterator<Item = &'a Vec<u8>>) -> Result<(), Failure> {
    let mut batch = Batch::new();
    keys.for_each(|key| {
        batch.delete(key);
    });
    if !batch.is_empty() {
        store.write(batch)?;
    }
    Ok(())
}
