//! `kogia init`: a new store.

use std::io::Write;
use std::path::Path;

use clap::Args;
use kogia::{Create, ErrorKind};
use serde_json::json;

use super::disk::NEW_DISK;
use crate::console::Console;
use crate::disk_table::Disk;
use crate::failure::Failure;
use crate::server;
use crate::store_options::{StoreOptions, refused};

#[derive(Args)]
pub struct Init {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Init {
    /// Creates the store; one that is there already is an error.
    pub fn run(
        &self,
        home: &Path,
        options: &StoreOptions,
        console: &mut Console,
    ) -> Result<(), Failure> {
        server::refuse_directory(home)?;
        let created = options.to_options(Create::Always, console).open(home);
        let store = created.map_err(|error| failure(home, error))?;
        let (id, disks) = (store.id().to_string(), store.stats()?.disks);
        let disks: Vec<_> = disks.iter().map(|disk| Disk::of(disk, &[])).collect();
        let out = &mut console.out;
        if self.json {
            let told = json!({ "store": id, "home": store.home(), "disks": disks });
            writeln!(out, "{told}")?;
        } else {
            writeln!(out, "store {id} in {}", home.display())?;
            for disk in disks {
                writeln!(out, "disk  {} in {}", disk.id, disk.path.display())?;
            }
        }
        Ok(store.close()?)
    }
}

fn failure(home: &Path, error: kogia::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::Disk => NEW_DISK,
        // Of another thing that is there the error says what to do.
        ErrorKind::Exists if home.join("META").is_file() => {
            "the store is ready for use; 'kogia stat STORE' shows it"
        }
        _ => return refused(home, error),
    };
    Failure::Advised { error, advice }
}
