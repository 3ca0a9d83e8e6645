//! What a store does on a disk of which the last byte is taken: `tests/full-disk.sh` runs it on
//! file systems of its own.
//!
//! ```text
//! full_disk DIR VALUE_BYTES deleted|overwritten
//! ```
//!
//! `DIR` is on a file system that may be filled up. The store there is filled until a put is
//! refused, and a file beside it until the file system has nothing left. Half of what is in the
//! store is garbage then: it was overwritten on the way, or it is deleted now. Compaction has to come
//! to its end, writing has to resume, and nothing that was acknowledged may be lost: not now, not
//! after a reopen, not after a rebuild.

use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kogia::{Batch, CompactOptions, Durability, ErrorKind, Options, Store, VerifyOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of values that are written in one batch.
const BATCH_BYTES: usize = 256 << 10;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, value_bytes, way] = &args[..] else {
        return Err("usage: full_disk DIR VALUE_BYTES deleted|overwritten".into());
    };
    let overwrites = match &way[..] {
        "overwritten" => true,
        "deleted" => false,
        other => return Err(format!("neither deleted nor overwritten: {other}").into()),
    };
    let dir = Path::new(dir);
    let mut scene = Scene::new(dir, value_bytes.parse()?);
    let store = scene.open()?;
    scene.fill(&store, overwrites)?;
    let neighbour = take_the_rest(dir)?;
    scene.say("the file system is full");
    if !overwrites {
        scene.to_delete = 0..scene.versions.len();
        scene.delete_half(&store)?;
    }
    drop(store);

    let store = scene.open()?;
    scene.compact(&store)?;
    while !scene.to_delete.is_empty() {
        let before = scene.to_delete.len();
        scene.delete_half(&store)?;
        require(scene.to_delete.len() < before, "deletes are refused after a compaction")?;
        scene.compact(&store)?;
    }
    scene.resume(&store)?;
    scene.check(&store, "compacted")?;
    store.close()?;
    let store = scene.open()?;
    scene.check(&store, "opened again")?;
    store.close()?;
    let store = scene.options().rebuild(&scene.home)?;
    scene.check(&store, "rebuilt")?;
    store.close()?;
    std::fs::remove_file(neighbour)?;
    Ok(())
}

/// A store, and what was acknowledged of it.
struct Scene {
    home: PathBuf,
    value_bytes: usize,
    /// The version that each key holds; `None` where it was deleted.
    versions: Vec<Option<u8>>,
    /// The keys that deleting has still to pass over.
    to_delete: Range<usize>,
    started: Instant,
}

impl Scene {
    fn new(dir: &Path, value_bytes: usize) -> Self {
        let (versions, started) = (Vec::new(), Instant::now());
        Scene { home: dir.join("store"), value_bytes, versions, to_delete: 0..0, started }
    }

    /// The defaults, but that nothing is compacted before it is asked for, and that a power cut may
    /// lose the last second.
    fn options(&self) -> Options {
        Options::new().compaction(false).durability(Durability::Os)
    }

    fn open(&self) -> Result<Store> {
        Ok(self.options().open(&self.home)?)
    }

    fn say(&self, what: &str) {
        let parent = self.home.parent().expect("it is in a directory");
        let left = fs2::available_space(parent).unwrap_or(0);
        let seconds = self.started.elapsed().as_secs_f64();
        println!("  {seconds:>6.1} s  {:>9} KiB left  {what}", left / 1024);
    }

    /// Puts until one is refused: new keys, or new keys up to half of the room and then those again.
    fn fill(&mut self, store: &Store, overwrites: bool) -> Result<()> {
        let parent = self.home.parent().expect("it is in a directory");
        let room = fs2::available_space(parent)?;
        let half = room * 9 / 20 / (self.value_bytes as u64 + 100);
        let keys = if overwrites { half as usize } else { usize::MAX };
        let mut written = 0;
        while self.put_some(store, written, keys)? {
            written += self.batch_len();
        }
        require(self.versions.len() > 100, "hardly anything fitted")?;
        self.say(&format!("{written} puts of {} keys", self.versions.len()));
        Ok(())
    }

    fn batch_len(&self) -> usize {
        BATCH_BYTES / self.value_bytes
    }

    /// Puts a batch of keys, the `at`-th of all; gives whether there was room for it.
    fn put_some(&mut self, store: &Store, at: usize, keys: usize) -> Result<bool> {
        let put: Vec<usize> = (at..at + self.batch_len()).map(|at| at % keys).collect();
        let mut batch = Batch::new();
        for &key in &put {
            let version =
                self.versions.get(key).copied().flatten().map_or(0, |v| v.wrapping_add(1));
            batch.put(name(key), value(key, version, self.value_bytes));
        }
        match store.write(batch) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Full => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        for key in put {
            if key >= self.versions.len() {
                self.versions.resize(key + 1, None);
            }
            self.versions[key] = Some(self.versions[key].map_or(0, |v| v.wrapping_add(1)));
        }
        Ok(true)
    }

    /// Deletes every other key, until that is refused.
    fn delete_half(&mut self, store: &Store) -> Result<()> {
        let keys_at_once = 2 * self.batch_len();
        while !self.to_delete.is_empty() {
            let start = self.to_delete.start;
            let end = self.to_delete.end.min(start + keys_at_once);
            let mut batch = Batch::new();
            let odd = (start..end).filter(|key| key % 2 == 1);
            for key in odd.clone() {
                batch.delete(name(key));
            }
            match store.write(batch) {
                Ok(_) => odd.for_each(|key| self.versions[key] = None),
                Err(error) if error.kind() == ErrorKind::Full => {
                    self.say(&format!("deletes are refused after {} keys: {error}", start / 2));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
            self.to_delete.start = end;
        }
        self.say("half of it is deleted");
        Ok(())
    }

    fn compact(&self, store: &Store) -> Result<()> {
        self.say("compacting");
        let report = store.compact(&CompactOptions::default())?;
        require(!report.held_back && report.blocked.is_empty(), "compaction did not finish")?;
        self.say(&format!(
            "compacted {} tracks of {} MiB to {} MiB; {} MiB copied",
            report.tracks,
            report.before_bytes >> 20,
            report.after_bytes >> 20,
            report.copied_bytes >> 20,
        ));
        Ok(())
    }

    /// Puts an eighth of what there was as new keys.
    fn resume(&mut self, store: &Store) -> Result<()> {
        let first = self.versions.len();
        while self.versions.len() < first + first / 8 {
            let at = self.versions.len();
            require(self.put_some(store, at, usize::MAX)?, "writing did not resume")?;
        }
        self.say(&format!("{} keys more", self.versions.len() - first));
        Ok(())
    }

    fn check(&self, store: &Store, when: &str) -> Result<()> {
        for (key, version) in self.versions.iter().enumerate() {
            let expected = version.map(|version| value(key, version, self.value_bytes));
            if store.get(name(key))? != expected {
                return Err(format!("{when}: {} is not what was acknowledged", name(key)).into());
            }
        }
        let there = self.versions.iter().flatten().count() as u64;
        require(store.stats()?.objects == there, "there are other objects than were put")?;
        let report = store.verify(&VerifyOptions::default())?;
        if let Some(problem) = report.problems.first() {
            return Err(format!("{when}: {problem:?}").into());
        }
        self.say(&format!("{when}: all of {there} objects are there, and verify finds no problem"));
        Ok(())
    }
}

fn require(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// Writes a file until the file system has no byte left.
fn take_the_rest(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("neighbour");
    let mut file = File::create(&path)?;
    for len in [1 << 20, 4096, 512, 1] {
        let bytes = vec![7; len];
        loop {
            match file.write_all(&bytes).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == IoErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(path)
}

fn name(key: usize) -> String {
    format!("camera-{:02}/{key:08}", key % 16)
}

/// The value of a key's version: of any two they differ.
fn value(key: usize, version: u8, len: usize) -> Vec<u8> {
    let mut state = (((key as u64) << 9 | u64::from(version)) << 1 | 1) * 0x9e37_79b9;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
