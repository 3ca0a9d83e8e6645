//! `kogia rm`: deleting objects.

use std::io::Write;

use clap::Args;
use kogia::{Batch, Condition, DeleteOptions, Seq, Store};
use serde_json::json;

use crate::console::Console;
use crate::escaped::{self, Escaped};
use crate::failure::Failure;
use crate::{listing, quantity, seq_text, server};

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
    /// Print JSON: with --dry-run a line for each object, and one with the result
    #[arg(long)]
    json: bool,
}

/// What was deleted, or would be.
#[derive(Default)]
struct Deleted {
    objects: u64,
    /// Keys that were named, and have no object.
    missing: Vec<Vec<u8>>,
}

impl Rm {
    /// Deletes what was named, and gives its room back to the disks: that takes a checkpoint, and
    /// a store that is open for one command only may never come to one by itself.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        if !self.dry_run {
            server::refuse_changes(store)?;
        }
        let deleted = match &self.prefix {
            None => self.delete_keys(store, console),
            Some(prefix) if prefix.0.is_empty() => return Err(everything()),
            Some(prefix) if self.yes || self.dry_run => self.delete_prefix(store, prefix, console),
            Some(prefix) => return Err(unsure(prefix)),
        };
        if !self.dry_run {
            store.checkpoint()?;
        }
        self.tell(deleted?, console)
    }

    fn tell(&self, deleted: Deleted, console: &mut Console) -> Result<(), Failure> {
        let Deleted { objects, mut missing } = deleted;
        if self.json {
            let result = json!({
                "dry_run": self.dry_run,
                "deleted_objects": objects,
                "missing_keys": missing.iter().map(|key| escaped::text(key)).collect::<Vec<_>>(),
            });
            writeln!(console.out, "{result}")?;
        } else if self.prefix.is_some() {
            let what = if self.dry_run { "would delete" } else { "deleted" };
            console.note(format_args!("{what} {}", quantity::count(objects, "object")));
        }
        let last = missing.pop().filter(|_| !self.force);
        let Some(last) = last else { return Ok(()) };
        missing.into_iter().for_each(|key| console.problem(Failure::NoSuchKey(key)));
        Err(Failure::NoSuchKey(last))
    }

    fn delete_keys(&self, store: &Store, console: &mut Console) -> Result<Deleted, Failure> {
        if self.if_seq.is_some() && self.keys.len() > 1 {
            return Err(Failure::Usage("--if-seq goes with a single key".into()));
        }
        let mut deleted = Deleted::default();
        for Escaped(key) in &self.keys {
            match self.delete_key(store, key, console)? {
                true => deleted.objects += 1,
                false => deleted.missing.push(key.clone()),
            }
        }
        Ok(deleted)
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
                self.print(key, console)?;
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
    ) -> Result<Deleted, Failure> {
        let mut deleted = Deleted::default();
        for page in listing::pages(store, &prefix.0) {
            let page = page?;
            deleted.objects += page.len() as u64;
            let mut keys = page.iter().map(|(key, _)| key);
            if self.dry_run {
                keys.try_for_each(|key| self.print(key, console))?;
            } else {
                delete(store, keys)?;
            }
        }
        Ok(deleted)
    }

    fn print(&self, key: &[u8], console: &mut Console) -> Result<(), Failure> {
        let key = escaped::text(key);
        let line = if self.json { json!({ "key": key }).to_string() } else { key };
        Ok(writeln!(console.out, "{line}")?)
    }
}

fn everything() -> Failure {
    let what = "--prefix is empty, so that everything would be deleted; give a prefix, or keys";
    Failure::Usage(what.into())
}

fn unsure(prefix: &Escaped) -> Failure {
    Failure::Usage(format!(
        "everything that begins with '{}' would be deleted: add --yes to do so, or --dry-run to \
         see the keys",
        escaped::text(&prefix.0)
    ))
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
