//! `kogia put`: one object.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use kogia::{Condition, PutOptions, Seq, Store};

use crate::console::Console;
use crate::escaped::Escaped;
use crate::expiry::Expiry;
use crate::failure::Failure;
use crate::object_view::ObjectView;
use crate::{seq_text, server, transfer};

#[derive(Args)]
pub struct Put {
    /// Key to store under; an object that is there is replaced
    key: Escaped,
    /// File with the value; '-' or nothing is standard input
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Only if there is no object under the key
    #[arg(long, conflicts_with = "if_seq")]
    if_absent: bool,
    /// Only if the object under the key has this seq, as 'kogia head' shows it
    #[arg(long, value_name = "SEQ", value_parser = seq_text::parse)]
    if_seq: Option<Seq>,
    /// Bytes to keep beside the value, shown by 'kogia head'
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    attributes: Escaped,
    #[command(flatten)]
    expiry: Expiry,
    /// Print the new object as JSON
    #[arg(long)]
    json: bool,
}

impl Put {
    /// Streams the file into the store.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        server::refuse_changes(store)?;
        let bar = ProgressBar::hidden();
        let mut source = open(&self.file)?;
        let options = self.put_options()?;
        let info =
            transfer::store_object(store, &self.key.0, source.as_mut(), &self.file, options, &bar)?;
        if self.json {
            ObjectView::new(&self.key.0, &info).write_json(&mut console.out)?;
        }
        Ok(())
    }

    fn put_options(&self) -> Result<PutOptions, Failure> {
        let condition = match self.if_seq {
            Some(seq) => Condition::IfSeq(seq),
            None if self.if_absent => Condition::IfAbsent,
            None => Condition::Always,
        };
        Ok(PutOptions {
            attributes: self.attributes.0.clone(),
            expires_ms: self.expiry.of_now()?,
            condition,
            ..PutOptions::default()
        })
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(Failure::file(path))?;
    Ok(Box::new(file))
}
