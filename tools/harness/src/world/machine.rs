//! A simulated machine with an engine's files on it, and the engine's index in a real directory.
//!
//! The index can't be cut call by call: its directory is copied as it is. That is what a power cut
//! leaves of it, as long as the engine runs it without a log and syncs what it flushes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kogia::io::sim::{Keep, SimIo};
use tempfile::TempDir;

use crate::engine::{Clock, Place, Setup};

/// A machine of its own, with nothing running on it.
pub struct Machine {
    pub io: SimIo,
    pub clock: Clock,
    indexes: TempDir,
    disks: usize,
}

/// A machine as it was at one moment; copies share everything.
#[derive(Clone, Debug)]
pub struct Image {
    pub io: SimIo,
    pub indexes: Arc<Files>,
    pub now_ms: u64,
    pub disks: usize,
}

/// A directory's files, in memory.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Files(BTreeMap<PathBuf, Arc<[u8]>>);

/// What changes whenever an index is flushed, and seldom else.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Print(Vec<(PathBuf, u64)>);

impl Machine {
    /// An empty machine.
    pub fn new(seed: u64, setup: &Setup) -> Self {
        let io = SimIo::new(seed);
        for disk in (0..setup.disks).map(disk_dir) {
            if let Some(bytes) = setup.disk_bytes {
                io.set_capacity(disk, bytes);
            }
        }
        let (now_ms, disks) = (Clock::START_MS, setup.disks);
        Machine::of(&Image { io, indexes: Arc::default(), now_ms, disks })
    }

    /// The machine of an image, which must not be used for another.
    pub fn of(image: &Image) -> Self {
        let indexes = scratch_dir();
        image.indexes.write_to(indexes.path());
        let (io, clock) = (image.io.clone(), Clock::at(image.now_ms));
        Machine { io, clock, indexes, disks: image.disks }
    }

    pub fn place(&self) -> Place {
        Place {
            home: "/home/store".into(),
            disks: (0..self.disks).map(disk_dir).collect(),
            index: Some(self.indexes.path().join("index")),
            backup: "/backup/store".into(),
            backup_index: Some(self.indexes.path().join("backup-index")),
            io: Some(Arc::new(self.io.clone())),
            clock: self.clock.clone(),
        }
    }

    pub fn index_dir(&self) -> &Path {
        self.indexes.path()
    }

    /// The machine as a killed process leaves it now.
    pub fn image(&self) -> Image {
        self.image_at().1
    }

    /// The same, and the number of the call that it is before. Threads of the engine may be at work: an
    /// index that they flushed behind a sync must not be taken with the disks as they were before it.
    pub fn image_at(&self) -> (u64, Image) {
        loop {
            let call = self.io.calls();
            let image = Image {
                indexes: Arc::new(Files::of(self.indexes.path())),
                io: self.io.kill(),
                now_ms: self.clock.now_ms(),
                disks: self.disks,
            };
            if self.io.calls() == call {
                return (call, image);
            }
        }
    }
}

impl Image {
    /// The same to be used for another machine.
    pub fn fork(&self) -> Image {
        Image { io: self.io.kill(), ..self.clone() }
    }

    /// The names of all files: paths, those of indexes without a leading `/`.
    pub fn files(&self) -> Vec<String> {
        let on_disks = self.io.files();
        let all = on_disks.iter().chain(self.indexes.0.keys());
        all.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        match name.starts_with('/') {
            true => self.io.read_file(name).ok(),
            false => self.indexes.0.get(Path::new(name)).map(|bytes| bytes.to_vec()),
        }
    }

    /// Replaces a file, or removes it. The image must not share its machine.
    pub fn set_file(&mut self, name: &str, bytes: Option<Vec<u8>>) {
        if !name.starts_with('/') {
            let files = &mut Arc::make_mut(&mut self.indexes).0;
            match bytes {
                Some(bytes) => drop(files.insert(name.into(), bytes.into())),
                None => drop(files.remove(Path::new(name))),
            }
            return;
        }
        let done = match bytes {
            Some(bytes) => self.io.write_file(name, &bytes),
            None => self.io.remove_file(name),
        };
        done.expect("files can be changed from outside");
    }

    /// What a power cut leaves.
    pub fn cut(&self, keep: Keep) -> Image {
        Image { io: self.io.crash(keep), ..self.clone() }
    }
}

/// The directory of a disk.
pub fn disk_dir(disk: usize) -> PathBuf {
    Path::new("/mnt").join(format!("disk-{disk}"))
}

/// In memory where that is possible: an index is flushed a thousand times a minute here.
fn scratch_dir() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a directory can be made")
}

impl Files {
    /// Copies a directory that somebody may be changing: again and again, until nothing was
    /// flushed meanwhile.
    pub fn of(root: &Path) -> Self {
        loop {
            let before = Print::of(root);
            let mut files = BTreeMap::new();
            let is_whole = walk(root, &mut |path| {
                if is_log(path) {
                    return true;
                }
                let read = fs::read(path);
                let name = path.strip_prefix(root).expect("it was found there").to_owned();
                read.is_ok_and(|bytes| files.insert(name, bytes.into()).is_none())
            });
            if is_whole && Print::of(root) == before {
                return Files(files);
            }
        }
    }

    pub fn write_to(&self, root: &Path) {
        for (name, bytes) in &self.0 {
            let path = root.join(name);
            let parent = path.parent().expect("it is below the root");
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, bytes))
                .expect("the scratch directory takes files");
        }
    }
}

impl Print {
    pub fn of(root: &Path) -> Self {
        let mut files = Vec::new();
        walk(root, &mut |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("MANIFEST") || name == "CURRENT" {
                // One that is gone by now is seen next time.
                let len = fs::metadata(path).map_or(0, |data| data.len());
                files.push((path.to_owned(), len));
            }
            true
        });
        files.sort_unstable();
        Print(files)
    }
}

/// Shows each file below a directory; gives whether all of them were there and to its liking.
fn walk(dir: &Path, see: &mut dyn FnMut(&Path) -> bool) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    let mut all = true;
    for entry in entries {
        let Ok(entry) = entry else { return false };
        let path = entry.path();
        all &= match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&path, see),
            Ok(_) => see(&path),
            Err(_) => false,
        };
    }
    all
}

/// Files that say nothing to whoever opens the index.
fn is_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "LOG" || name == "LOCK" || name.starts_with("LOG.old")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use kogia::io::Io;

    use super::*;

    #[test]
    fn an_image_has_the_index_and_the_disks_of_one_moment() {
        let machine = Machine::new(1, &Setup::default());
        let (io, index) = (machine.io.clone(), machine.index_dir().join("MANIFEST-1"));
        let (name, ends) = ("/mnt/disk-0/track", AtomicBool::new(false));
        io.create_dir_all(Path::new("/mnt/disk-0")).unwrap();
        let mut manifest = fs::File::create(index).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    bytes.push(0);
                    io.replace(Path::new(name), &bytes).unwrap();
                    manifest.write_all(&[0]).unwrap();
                }
            });
            let images: Vec<Image> = (0..50).map(|_| machine.image()).collect();
            ends.store(true, Ordering::Relaxed);
            for image in images {
                let len = |name: &str| image.file(name).map_or(0, |bytes| bytes.len());
                let (written, flushed) = (len(name), len("MANIFEST-1"));
                assert!([flushed, flushed + 1].contains(&written), "{written}, {flushed}");
            }
        });
    }
}
