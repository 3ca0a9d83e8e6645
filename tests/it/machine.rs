//! A store on a simulated machine: its tracks and `META` can lose power and fail, while its index
//! lies in a real directory. RocksDB runs without its log, so that its files hold what was flushed
//! last, also while it is open: just what a power cut leaves of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kogia::io::sim::{Keep, SimIo};
use kogia::{
    CompactOptions, CompactReport, Create, Durability, ErrorKind, Options, PutOptions, Store,
    VerifyOptions,
};
use tempfile::TempDir;

pub const HOME: &str = "/home/kogia";
/// A chunk's bytes on disk.
pub const CHUNK: usize = 4096;
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A machine with a store on it, open or not.
pub struct Machine {
    pub io: SimIo,
    index: TempDir,
    disks: usize,
}

impl Machine {
    /// A machine with a store of so many disks to come.
    pub fn new(seed: u64, disks: usize) -> Self {
        Machine { io: SimIo::new(seed), index: tempfile::tempdir().unwrap(), disks }
    }

    /// Disk number `disk`.
    pub fn disk(disk: usize) -> PathBuf {
        Path::new("/mnt").join(format!("disk-{disk}"))
    }

    /// Small tracks, and nothing that happens by the clock or in a thread of its own.
    pub fn options(&self) -> Options {
        let options = Options::new()
            .io(std::sync::Arc::new(self.io.clone()))
            .index_dir(self.index.path().join("index"))
            .memory_bytes(16 << 20)
            .track_bytes(256 << 10)
            .segment_bytes(32 << 10)
            .reserve_bytes(64 << 10)
            .map_tracks(false)
            .compaction(false)
            .sync_interval(NEVER)
            .checkpoint_interval(NEVER);
        (0..self.disks).fold(options, |options, disk| options.disk(Self::disk(disk)))
    }

    /// The same with these disks only.
    pub fn options_on(&self, disks: &[usize]) -> Options {
        let none = Machine { io: self.io.clone(), index: tempfile::tempdir().unwrap(), disks: 0 };
        let options = none.options().index_dir(self.index.path().join("index"));
        disks.iter().fold(options, |options, disk| options.disk(Self::disk(*disk)))
    }

    /// A machine that was forked from one with a store of so many disks; its index is lost.
    pub fn of(io: SimIo, disks: usize) -> Self {
        Machine { io, index: tempfile::tempdir().unwrap(), disks }
    }

    /// The same for a backup, whose index is in a real directory, too.
    pub fn options_of_backup(&self, index: &Path) -> Options {
        Machine { io: self.io.clone(), index: tempfile::tempdir().unwrap(), disks: 0 }
            .options()
            .index_dir(index)
            .create(Create::Never)
    }

    pub fn open(&self) -> Store {
        self.options().open(HOME).unwrap()
    }

    pub fn rebuild(&self) -> Store {
        self.options().rebuild(HOME).unwrap()
    }

    /// Cuts the power under an open store; the machine as it starts again.
    pub fn cut(self, store: Store, keep: Keep) -> Self {
        let halted = self.halt(Some(store));
        Machine { io: halted.io.crash(keep), ..halted }
    }

    /// Kills the process of an open store; the machine goes on.
    pub fn kill(self, store: Store) -> Self {
        let io = self.io.kill();
        Machine { io, ..self.halt(Some(store)) }
    }

    /// Cuts the power under a store, and leaves the machine off. What the index gets from closing
    /// the store comes too late.
    pub fn halt(self, store: Option<Store>) -> Self {
        self.io.power_off();
        let index = tempfile::tempdir().unwrap();
        copy_index(self.index.path(), index.path());
        drop(store);
        Machine { index, ..self }
    }

    /// The machine after a power cut now, with an index of its own. The store is closed.
    pub fn fork(&self, keep: Keep) -> Self {
        let index = tempfile::tempdir().unwrap();
        copy_index(self.index.path(), index.path());
        Machine { io: self.io.crash(keep), index, disks: self.disks }
    }

    /// Loses the index.
    pub fn lose_index(&self) {
        match std::fs::remove_dir_all(self.index.path().join("index")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{e}"),
            _ => {}
        }
    }

    /// The tracks' files on all disks, in the order of their ids.
    pub fn tracks(&self) -> Vec<PathBuf> {
        let mut tracks = self.io.files();
        tracks.retain(|path| path.extension().is_some_and(|extension| extension == "track"));
        tracks.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        tracks
    }

    /// Flips one bit of a file.
    pub fn flip(&self, file: &Path, byte: usize, bit: u8) {
        let mut bytes = self.io.read_file(file).unwrap();
        bytes[byte] ^= 1 << bit;
        self.io.write_file(file, &bytes).unwrap();
    }
}

/// Copies an index, which may be open: again and again, until RocksDB has changed nothing meanwhile.
fn copy_index(from: &Path, to: &Path) {
    loop {
        let before = files_below(from);
        let copied = before.iter().all(|(path, _)| {
            let target = to.join(path.strip_prefix(from).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(path, target).is_ok()
        });
        if copied && files_below(from) == before {
            return;
        }
        std::fs::remove_dir_all(to).unwrap();
        std::fs::create_dir_all(to).unwrap();
    }
}

/// The files below a directory, with their lengths.
fn files_below(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => files.append(&mut files_below(&path)),
            Ok(found) => drop(files.insert(path, found.len())),
            // Removed since it was listed.
            Err(_) => {}
        }
    }
    files
}

/// `len` bytes that only `tag` gives.
pub fn value(tag: u64, len: usize) -> Vec<u8> {
    let mut state = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// Fails unless verifying finds nothing wrong.
#[track_caller]
pub fn assert_sound(store: &Store) {
    let report = store.verify(&VerifyOptions::default()).unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
}

/// Compacts every track.
#[track_caller]
pub fn compact(store: &Store) -> CompactReport {
    store.compact(&everything()).unwrap()
}

/// Every track, whatever garbage is in it.
pub fn everything() -> CompactOptions {
    CompactOptions { min_garbage: Some(0.0), ..CompactOptions::default() }
}

/// Puts under [`Durability::Os`](kogia::Durability::Os).
#[track_caller]
pub fn put_os(store: &Store, key: &str, bytes: &[u8]) {
    let options = PutOptions { durability: Some(Durability::Os), ..PutOptions::default() };
    store.put_with(key, bytes, &options).unwrap();
}

/// Fails unless the key has this value.
#[track_caller]
pub fn assert_value(store: &Store, key: &str, expected: &[u8]) {
    let found = store.get(key).unwrap();
    assert!(found.as_deref() == Some(expected), "{key}: {:?} bytes", found.map(|v| v.len()));
}

/// The kind of error that a call fails with.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(outcome: kogia::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}
