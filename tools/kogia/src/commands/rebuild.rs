//! `kogia rebuild`: the index made anew from the tracks.

use std::io::Write;
use std::path::Path;

use indicatif::HumanBytes;
use kogia::Create;

use crate::console::Console;
use crate::failure::Failure;
use crate::quantity;
use crate::server;
use crate::store_options::StoreOptions;

/// Rebuilds, and prints what was read and found.
pub fn run(home: &Path, options: &StoreOptions, console: &mut Console) -> Result<(), Failure> {
    server::refuse_directory(home)?;
    let store = options.to_options(Create::Never, console).rebuild(home)?;
    let stats = store.stats()?;
    let report = store.recovery();
    let (chains, records) = (report.replayed_chains, report.replayed_records);
    let (bytes, seconds) = (HumanBytes(report.replayed_bytes), quantity::seconds(report.duration));
    let (objects, object_bytes) = (stats.objects, HumanBytes(stats.object_bytes));
    let out = &mut console.out;
    writeln!(out, "read       {records} records in {chains} chains, {bytes}, in {seconds}")?;
    writeln!(out, "found      {objects} objects ({object_bytes}), {} parts", stats.parts)?;
    for torn in &report.torn {
        let (track, chunk, bytes) = (torn.track, torn.chunk, HumanBytes(torn.bytes));
        writeln!(out, "torn tail  {bytes} dropped from chunk {chunk} of track {track}")?;
    }
    for damage in &report.damage {
        writeln!(out, "damage     {damage}")?;
    }
    Ok(store.close()?)
}
