//! What a store of a case lies on, and what may happen to that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kogia::io::sim::{Keep, SimIo};
use kogia::{Options, Store};
use tempfile::TempDir;

use super::operation::Tuning;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    Simulated,
    Real,
}

/// A machine with disks. The index is on the real file system in any case.
pub struct Machine {
    dir: TempDir,
    /// In memory where that is possible: an index is flushed a thousand times here, and how its
    /// files get to a disk is not what is tested.
    indexes: TempDir,
    disks: usize,
    clock: Arc<AtomicU64>,
    simulated: Option<SimIo>,
    /// The index is in a directory of its own after every death, as it was flushed last.
    deaths: usize,
}

impl Machine {
    pub fn new(media: Media, disks: usize) -> Self {
        Machine {
            dir: tempfile::tempdir().unwrap(),
            indexes: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            disks,
            clock: Arc::new(AtomicU64::new(1_700_000_000_000)),
            simulated: (media == Media::Simulated).then(|| SimIo::new(1)),
            deaths: 0,
        }
    }

    pub fn open(&self, tuning: Tuning) -> Store {
        self.options(tuning).open(self.root().join("home")).unwrap()
    }

    pub fn rebuild(&self, tuning: Tuning) -> Store {
        self.options(tuning).rebuild(self.root().join("home")).unwrap()
    }

    /// The process dies now. What is left of the store that is open has no effect any more.
    pub fn kill(&mut self) {
        self.die(SimIo::kill);
    }

    /// The power fails now.
    pub fn cut_power(&mut self, keep: Keep) {
        self.die(|simulated| simulated.crash(keep));
    }

    fn die(&mut self, after: impl FnOnce(&SimIo) -> SimIo) {
        let index = self.index_dir();
        self.deaths += 1;
        // First: an index that is older than the tracks is what a death leaves.
        copy_files(&index, &self.index_dir());
        let simulated = self.simulated.as_mut().expect("real machines do not die");
        let next = after(simulated);
        simulated.power_off();
        *simulated = next;
    }

    /// What the store takes for the time, to be set.
    pub fn clock(&self) -> Arc<AtomicU64> {
        self.clock.clone()
    }

    fn options(&self, tuning: Tuning) -> Options {
        let time = self.clock();
        let never = Duration::from_secs(100_000);
        let mut options = Options::new()
            .index_dir(self.index_dir())
            .memory_bytes(16 << 20)
            .segment_bytes(32 << 10)
            .reserve_bytes(64 << 10)
            .checkpoint_interval(never)
            .sync_interval(never)
            .clock(move || time.load(Ordering::Relaxed))
            .track_bytes(tuning.track_bytes)
            .compaction(false)
            .durability(tuning.durability)
            .punch(tuning.punch)
            .refill(tuning.refill)
            .compression(tuning.compression)
            // A simulated map goes on showing what was there before a refill.
            .map_tracks(tuning.map_tracks && !(tuning.refill && self.simulated.is_some()));
        if let Some(simulated) = &self.simulated {
            options = options.io(Arc::new(simulated.clone()));
        }
        for disk in 1..=self.disks {
            options = options.disk(self.root().join(format!("disk-{disk}")));
        }
        options
    }

    fn root(&self) -> &Path {
        if self.simulated.is_some() { Path::new("/machine") } else { self.dir.path() }
    }

    fn index_dir(&self) -> PathBuf {
        self.indexes.path().join(format!("index-{}", self.deaths))
    }
}

/// Copies an index that nobody flushes. RocksDB may still be dropping files of its own accord:
/// then the list of its files, the manifest, has changed, and the copy is made again.
fn copy_files(from: &Path, to: &Path) {
    let manifest = || {
        let current = std::fs::read_to_string(from.join("CURRENT")).unwrap();
        std::fs::read(from.join(current.trim())).unwrap()
    };
    loop {
        let before = manifest();
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir(to).unwrap();
        let copied = std::fs::read_dir(from).unwrap().try_for_each(|file| {
            let file = file?;
            std::fs::copy(file.path(), to.join(file.file_name())).map(drop)
        });
        if copied.is_ok() && before == manifest() {
            return;
        }
    }
}
