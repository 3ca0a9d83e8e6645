//! The stores that the server opens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kogia::{Create, ErrorKind, Options, Store, StoreId};

/// Where the partitions lie below the data directory.
const FOLDER: &str = "partitions";
/// Lies in a backup while it is made: some of its partitions may be older than others.
pub const UNFINISHED: &str = "BACKUP-UNFINISHED";
/// The disk that is used where none is given.
const DEFAULT_DISK: &str = "tracks";
/// What a store needs at least.
pub const MIN_MEMORY_BYTES: u64 = 16 << 20;
/// A new file system has it.
const LOST_AND_FOUND: &str = "lost+found";

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
    /// Those that are not there yet are made.
    pub fn open(options: &PartitionOptions) -> Result<Self, String> {
        let count = options.count.max(present(&options.dir)).max(1);
        let share = (options.memory_bytes / count as u64).max(MIN_MEMORY_BYTES);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let mut opened = Vec::with_capacity(count);
        for number in 0..count {
            forget_unfinished(options, number, &opened)?;
            let store = open_one(options, number, share).map_err(|error| error.to_string())?;
            opened.push(Arc::new(store));
        }
        Ok(Partitions(opened))
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

/// Fails unless a directory is new, empty, or a data directory, or has nothing but `own` paths in it: one
/// that was given by mistake stays as it is.
pub fn check_home(dir: &Path, own: &[PathBuf]) -> Result<(), String> {
    let fail = |what: String| Err(format!("{}: {what}", dir.display()));
    if dir.join(UNFINISHED).exists() {
        return fail("a backup that was cut off; make it again, and start on it then".into());
    }
    if is_data(dir) {
        return Ok(());
    }
    let is_own = |name: &String| {
        // Of a first start that was cut off, with credentials that were half written.
        [FOLDER, DEFAULT_DISK, LOST_AND_FOUND].contains(&&**name)
            || name.starts_with(".tmp")
            || own.iter().any(|path| lies_at(path, &dir.join(name)))
    };
    let entries = entries(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let Some(strange) = entries.iter().find(|name| !is_own(name)) else { return Ok(()) };
    let has = |file: &str| entries.iter().any(|name| name == file);
    let what = match (has("META"), has("QUEUE")) {
        (true, _) => "a store, for the kogia commands".to_owned(),
        (_, true) => "a queue".to_owned(),
        _ => format!("neither empty nor a server's data: {strange:?} is in it"),
    };
    let real = dir.canonicalize().unwrap_or_default();
    match real.ancestors().skip(1).take(2).find(|above| is_data(above)) {
        Some(above) => fail(format!("{what}; it belongs to {}: give that", above.display())),
        None => fail(format!("{what}; give a new or empty directory, or one a server has made")),
    }
}

/// Whether a backup may be made there: into what is new or empty, or an earlier one, whole or not.
pub fn takes_backup(dir: &Path) -> std::io::Result<bool> {
    if is_data(dir) || dir.join(UNFINISHED).exists() {
        return Ok(true);
    }
    Ok(entries(dir)?.iter().all(|name| name == LOST_AND_FOUND))
}

fn is_data(dir: &Path) -> bool {
    home(dir, 0).is_dir()
}

/// The names in a directory; none, where there is no such directory.
fn entries(dir: &Path) -> std::io::Result<Vec<String>> {
    let names = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    names.map(|name| Ok(name?.file_name().to_string_lossy().into_owned())).collect()
}

/// Whether a path is another one, or below it.
fn lies_at(path: &Path, other: &Path) -> bool {
    match (std::path::absolute(path), std::path::absolute(other)) {
        (Ok(path), Ok(other)) => path.starts_with(other),
        _ => false,
    }
}

/// Where a partition lies.
#[must_use]
pub fn home(dir: &Path, number: usize) -> PathBuf {
    dir.join(FOLDER).join(number.to_string())
}

/// How many there are already: they are numbered without gaps.
fn present(dir: &Path) -> usize {
    (0..).take_while(|&number| is_there(&home(dir, number))).count()
}

/// Whether a partition's first opening has come so far that anything can be on its disks.
fn is_there(home: &Path) -> bool {
    home.join("META").exists()
}

/// Puts aside what a first opening that was cut off has left of a partition behind the first. Nothing else
/// tells it from a store that has lost its `META`, of which the disks would hold tracks: of the others'
/// they do, and so a store that opens there alone would refuse.
///
/// Nobody else opens it meanwhile: the first partition is locked.
fn forget_unfinished(
    options: &PartitionOptions,
    number: usize,
    opened: &[Arc<Store>],
) -> Result<(), String> {
    let home = home(&options.dir, number);
    if opened.is_empty() || is_there(&home) || !home.exists() {
        return Ok(());
    }
    let is_opened = |id: StoreId| opened.iter().any(|store| store.id() == id);
    for disk in disks_of(options, opened)?.iter().chain([&home.join(DEFAULT_DISK)]) {
        if stores_on(disk)?.into_iter().any(|id| !is_opened(id)) {
            // It may be this one's, which has lost its `META`: the store says so.
            return Ok(());
        }
    }
    // Not deleted: disks may have been changed behind our back.
    let names = (0..).map(|n| home.with_file_name(format!("{number}-unfinished-{n}")));
    let aside = names.into_iter().find(|aside| !aside.exists()).expect("names do not end");
    tracing::warn!(number, aside = %aside.display(), "a partition that was never opened is made anew");
    std::fs::rename(&home, aside).map_err(|error| format!("{}: {error}", home.display()))
}

/// All disks that are given, or were.
fn disks_of(
    options: &PartitionOptions,
    opened: &[Arc<Store>],
) -> Result<BTreeSet<PathBuf>, String> {
    let mut disks = BTreeSet::from_iter(options.disks.iter().cloned());
    disks.insert(options.dir.join(DEFAULT_DISK));
    for store in opened {
        let stats = store.stats().map_err(|error| error.to_string())?;
        disks.extend(stats.disks.into_iter().map(|disk| disk.path));
    }
    Ok(disks)
}

/// The stores that have a folder on a disk; none, where there is no such directory.
fn stores_on(disk: &Path) -> Result<Vec<StoreId>, String> {
    let names = entries(disk).map_err(|error| format!("{}: {error}", disk.display()))?;
    Ok(names.iter().filter_map(|name| StoreId::parse(name)).collect())
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
    let default = [options.dir.join(DEFAULT_DISK)];
    if !is_there(&home) && default[0].exists() {
        // Where `META` is not there yet, nothing else says that this was given.
        return with(&default).open(home);
    }
    match plain.clone().create(Create::Never).open(&home) {
        Err(error) if error.kind() == ErrorKind::NotFound => with(&default).open(home),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, disks: &[PathBuf], count: usize) -> PartitionOptions {
        PartitionOptions { dir: dir.into(), disks: disks.into(), count, memory_bytes: 32 << 20 }
    }

    /// Makes so many partitions, each with an object.
    fn fill(options: &PartitionOptions) {
        let partitions = Partitions::open(options).unwrap();
        for store in partitions.all() {
            store.put("key", "value").unwrap();
        }
        partitions.close().unwrap();
    }

    fn values(partitions: &Partitions) -> Vec<Option<Vec<u8>>> {
        partitions.all().iter().map(|store| store.get("key").unwrap()).collect()
    }

    /// Whoever was killed while the second partition was made left a directory that was a store's, by
    /// its lock. On the disks lay the first partition alone, and the second took that for what it had
    /// lost: no server started there any more. A folder on the disks comes behind `META`.
    #[test]
    fn a_partition_whose_first_opening_was_cut_off_is_made_anew() {
        for disks in [&[][..], &["disk"]] {
            let dir = tempfile::tempdir().unwrap();
            let disks: Vec<_> = disks.iter().map(|disk| dir.path().join(disk)).collect();
            fill(&options(dir.path(), &disks, 1));
            std::fs::create_dir(home(dir.path(), 1)).unwrap();
            std::fs::write(home(dir.path(), 1).join("LOCK"), "").unwrap();
            let partitions = Partitions::open(&options(dir.path(), &disks, 2)).unwrap();
            assert_eq!(values(&partitions), [Some(b"value".to_vec()), None]);
            partitions.close().unwrap();
        }
    }

    #[test]
    fn a_partition_that_has_lost_what_names_it_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let two = options(dir.path(), &[dir.path().join("disk")], 2);
        fill(&two);
        std::fs::remove_file(home(dir.path(), 1).join("META")).unwrap();
        std::fs::remove_dir_all(home(dir.path(), 1).join("index")).unwrap();
        let refused = Partitions::open(&two).unwrap_err();
        assert!(refused.contains("META is lost"), "{refused}");
        assert!(home(dir.path(), 1).join("LOCK").exists());
    }

    #[test]
    fn the_default_disk_is_found_without_what_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let one = options(dir.path(), &[], 1);
        fill(&one);
        std::fs::remove_file(home(dir.path(), 0).join("META")).unwrap();
        let partitions = Partitions::open(&one).unwrap();
        assert_eq!(values(&partitions), [Some(b"value".to_vec())]);
        let disks = partitions.first().stats().unwrap().disks;
        assert_eq!(disks[0].path.file_name(), Some(DEFAULT_DISK.as_ref()));
        partitions.close().unwrap();
    }
}
