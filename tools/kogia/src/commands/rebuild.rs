//! `kogia rebuild`: the index made anew from the tracks.

use std::io::Write;
use std::path::Path;

use clap::Args;
use indicatif::HumanBytes;
use kogia::{Create, Store};
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity;
use crate::store_options::{StoreOptions, refused};

#[derive(Args)]
pub struct Rebuild {
    /// Print JSON, sizes in bytes
    #[arg(long)]
    json: bool,
}

impl Rebuild {
    /// Rebuilds, and prints what was read and found.
    pub fn run(
        &self,
        home: &Path,
        options: &StoreOptions,
        console: &mut Console,
    ) -> Result<(), Failure> {
        options.check(home)?;
        let rebuilt = options.to_options(Create::Never, console).rebuild(home);
        let store = rebuilt.map_err(|error| refused(home, error))?;
        if self.json {
            write_json(&store, &mut console.out)?;
        } else {
            write_text(&store, &mut console.out)?;
        }
        Ok(store.close()?)
    }
}

fn write_text(store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
    let (stats, report) = (store.stats()?, store.recovery());
    let (chains, records) = (report.replayed_chains, report.replayed_records);
    let (bytes, seconds) = (HumanBytes(report.replayed_bytes), quantity::seconds(report.duration));
    let (objects, object_bytes) = (stats.objects, HumanBytes(stats.object_bytes));
    writeln!(out, "read       {records} records in {chains} chains, {bytes}, in {seconds}")?;
    writeln!(out, "found      {objects} objects ({object_bytes}), {} parts", stats.parts)?;
    for torn in &report.torn {
        let (track, chunk, bytes) = (torn.track, torn.chunk, HumanBytes(torn.bytes));
        writeln!(out, "torn tail  {bytes} dropped from chunk {chunk} of track {track}")?;
    }
    for damage in &report.damage {
        writeln!(out, "damage     {damage}")?;
    }
    Ok(())
}

fn write_json(store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
    let (stats, report) = (store.stats()?, store.recovery());
    let torn = report
        .torn
        .iter()
        .map(|torn| json!({ "track": torn.track.0, "chunk": torn.chunk, "bytes": torn.bytes }));
    let damage = report.damage.iter().map(|damage| {
        json!({
            "track": damage.track.0,
            "chunk": damage.chunk,
            "chunks": damage.chunks,
            "what": damage.what,
        })
    });
    let told = json!({
        "read_records": report.replayed_records,
        "read_chains": report.replayed_chains,
        "read_bytes": report.replayed_bytes,
        "seconds": report.duration.as_secs_f64(),
        "objects": stats.objects,
        "object_bytes": stats.object_bytes,
        "parts": stats.parts,
        "torn": torn.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
    });
    Ok(writeln!(out, "{told}")?)
}
