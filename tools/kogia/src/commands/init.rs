//! `kogia init`: a new store.

use std::io::Write;
use std::path::Path;

use kogia::Create;

use crate::console::Console;
use crate::failure::Failure;
use crate::server;
use crate::store_options::StoreOptions;

/// Creates the store; one that is there already is an error.
pub fn run(home: &Path, options: &StoreOptions, console: &mut Console) -> Result<(), Failure> {
    server::refuse_directory(home)?;
    let store = options.to_options(Create::Always, console).open(home)?;
    writeln!(console.out, "store {} in {}", store.id(), home.display())?;
    for disk in store.stats()?.disks {
        writeln!(console.out, "disk  {} in {}", disk.id, disk.path.display())?;
    }
    Ok(store.close()?)
}
