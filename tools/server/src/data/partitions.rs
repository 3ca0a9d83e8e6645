//! The stores that the server opens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kogia::{Create, ErrorKind, Options, Store};

/// Where the partitions lie below the data directory.
const FOLDER: &str = "partitions";
/// Lies in a backup while it is made: some of its partitions may be older than others.
pub const UNFINISHED: &str = "BACKUP-UNFINISHED";
/// The disk that is used where none is given.
const DEFAULT_DISK: &str = "tracks";
/// What a store needs at least.
const MIN_MEMORY_BYTES: u64 = 16 << 20;

/// How the partitions are opened.
#[derive(Clone, Debug)]
pub struct PartitionOptions {
    pub dir: PathBuf,
    /// Directories for tracks; none is `tracks` in the data directory. Those that were given once are
    /// remembered.
    pub disks: Vec<PathBuf>,
    /// How many there are at least; those that are there stay.
    pub count: usize,
    /// Memory of all together.
    pub memory_bytes: u64,
}

/// All partitions, open.
#[derive(Clone, Debug)]
pub struct Partitions(Vec<Arc<Store>>);

impl Partitions {
    pub fn open(options: &PartitionOptions) -> kogia::Result<Self> {
        let count = options.count.max(present(&options.dir)).max(1);
        let share = (options.memory_bytes / count as u64).max(MIN_MEMORY_BYTES);
        let open =
            |number: usize| open_one(options, number, usize::try_from(share).unwrap_or(usize::MAX));
        Ok(Partitions(
            (0..count).map(|number| open(number).map(Arc::new)).collect::<Result<_, _>>()?,
        ))
    }

    #[must_use]
    pub fn all(&self) -> &[Arc<Store>] {
        &self.0
    }

    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Arc<Store>> {
        self.0.get(number as usize)
    }

    /// The one with the catalogue.
    ///
    /// # Panics
    ///
    /// Never: there is one at least.
    #[must_use]
    pub fn first(&self) -> &Arc<Store> {
        self.0.first().expect("there is one at least")
    }

    /// Closes them; whoever still holds one keeps it from being closed cleanly, and is told of. The
    /// next opening recovers it then.
    pub fn close(self) -> kogia::Result<()> {
        for (number, store) in self.0.into_iter().enumerate() {
            match Arc::into_inner(store) {
                Some(store) => store.close()?,
                None => tracing::warn!(number, "a partition is in use still, and not closed"),
            }
        }
        Ok(())
    }
}

/// Where a partition lies.
#[must_use]
pub fn home(dir: &Path, number: usize) -> PathBuf {
    dir.join(FOLDER).join(number.to_string())
}

/// How many there are already: they are numbered without gaps.
fn present(dir: &Path) -> usize {
    (0..).take_while(|&number| home(dir, number).join("META").exists()).count()
}

fn open_one(
    options: &PartitionOptions,
    number: usize,
    memory_bytes: usize,
) -> kogia::Result<Store> {
    let home = home(&options.dir, number);
    let plain = Options::new()
        .memory_bytes(memory_bytes)
        // Ours are named by their uploads' rows, and age with those.
        .part_max_age(None);
    let with =
        |disks: &[PathBuf]| disks.iter().fold(plain.clone(), |options, disk| options.disk(disk));
    if !options.disks.is_empty() {
        return with(&options.disks).open(home);
    }
    match plain.clone().create(Create::Never).open(&home) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            with(&[options.dir.join(DEFAULT_DISK)]).open(home)
        }
        opened => opened,
    }
}
