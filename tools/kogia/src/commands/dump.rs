//! `kogia dump`: track files as text, for debugging a crash. Needs no lock and no index.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use kogia::TrackId;
use kogia::format::meta::{DiskState, StoreMeta};
use walkdir::WalkDir;

use crate::console::Console;
use crate::failure::Failure;
use crate::store_options::StoreOptions;

#[derive(Args)]
pub struct Dump {
    /// Only the track with this number; repeat it for several
    #[arg(long, value_name = "NUMBER")]
    track: Vec<u32>,
    /// Print one line of JSON a finding
    #[arg(long)]
    json: bool,
}

impl Dump {
    /// Prints the track files of the store, which may also be a directory or file of tracks.
    pub fn run(
        &self,
        store: &Path,
        options: &StoreOptions,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let files = self.track_files(store, &options.disk)?;
        if files.is_empty() {
            return Err(Failure::Usage(format!(
                "no such track below {}; tracks on other disks are found with --disk DIR",
                store.display()
            )));
        }
        for file in files {
            if !self.json {
                writeln!(console.out, "# {}", file.display())?;
            }
            self.dump(&file, console)?;
        }
        Ok(())
    }

    fn dump(&self, file: &Path, console: &mut Console) -> Result<(), Failure> {
        let mut printed = Ok(());
        kogia::dump::track(file, |finding| {
            printed = if self.json {
                serde_json::to_writer(&mut console.out, &finding)
                    .map_err(std::io::Error::from)
                    .and_then(|()| writeln!(console.out))
            } else {
                writeln!(console.out, "{finding}")
            };
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(printed?)
    }

    /// The tracks below `store`, below the disks that are given, and below those that `META`
    /// remembers.
    fn track_files(&self, store: &Path, disks: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Failure> {
        let mut files = BTreeSet::new();
        for root in [store.to_path_buf()].iter().chain(disks).chain(&remembered_folders(store)) {
            let root = root.canonicalize().map_err(Failure::file(root))?;
            for entry in WalkDir::new(&root) {
                let entry = entry.map_err(|error| Failure::file(&root)(error.into()))?;
                if entry.file_type().is_file() && self.is_wanted(entry.path()) {
                    files.insert(entry.into_path());
                }
            }
        }
        Ok(files)
    }

    fn is_wanted(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let track = TrackId::from_file_name(&name);
        track.is_some_and(|track| self.track.is_empty() || self.track.contains(&track.0))
    }
}

/// The store's folders on the disks of its `META`, as far as they can be found: what is wrong
/// with a store that is dumped is for its reader to see.
fn remembered_folders(store: &Path) -> Vec<PathBuf> {
    let meta = fs::read(store.join("META")).unwrap_or_default();
    let Ok(meta) = StoreMeta::decode(&meta) else { return Vec::new() };
    // A disk inside the home is remembered relative to it.
    let folder = |disk: &DiskState| store.join(&disk.path).join(meta.store.to_string());
    meta.disks.iter().map(folder).filter(|folder| folder.is_dir()).collect()
}
