//! A small store with every kind of value on two disks, which tests copy and damage.
//!
//! It is made once a process, as two images: one closed cleanly, and one as a crash leaves it, with
//! chains behind the last checkpoint on both disks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use kogia::{Batch, Options, PutOptions, Store};
use tempfile::TempDir;

/// All versions that each key's value had, in order; `None` where it was deleted.
pub type History = BTreeMap<String, Vec<Option<Vec<u8>>>>;

/// A store's directory, as it was at one moment, and what is in it.
pub struct Image {
    dir: TempDir,
    pub history: History,
}

pub static CLOSED: LazyLock<Image> = LazyLock::new(|| Image::make(true));
pub static CRASHED: LazyLock<Image> = LazyLock::new(|| Image::make(false));

/// Bytes that only this seed and length have.
pub fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 56) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

/// How the sample at `root` is opened: tracks of 64 KiB, so that it has several.
pub fn options(root: &Path) -> Options {
    Options::new()
        .compaction(false)
        .disk(root.join("a"))
        .disk(root.join("b"))
        .track_bytes(64 << 10)
        .segment_bytes(32 << 10)
        .memory_bytes(16 << 20)
        .reserve_bytes(64 << 10)
        .checkpoint_interval(Duration::from_secs(3600))
}

pub fn home(root: &Path) -> PathBuf {
    root.join("home")
}

pub fn open(root: &Path) -> kogia::Result<Store> {
    options(root).open(home(root))
}

/// A copy of a directory and all below it. An open index may remove what it needs no more
/// meanwhile.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if let Err(e) = fs::copy(entry.path(), &target) {
            assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{}", target.display());
        }
    }
}

/// All files below a directory, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The tracks below a directory, sorted by their numbers.
pub fn tracks(root: &Path) -> Vec<PathBuf> {
    let mut tracks = files(root);
    tracks.retain(|path| path.extension().is_some_and(|ext| ext == "track"));
    tracks.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    tracks
}

impl Image {
    fn make(closed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let live = dir.path().join("live");
        let store = open(&live).unwrap();
        let mut history = History::new();
        write_first_half(&store, &mut history);
        store.checkpoint().unwrap();
        write_second_half(&store, &mut history);
        let image = dir.path().join("image");
        if closed {
            store.close().unwrap();
            copy_tree(&live, &image);
        } else {
            copy_tree(&live, &image);
            drop(store);
        }
        fs::remove_dir_all(&live).unwrap();
        Image { dir, history }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// A copy to damage.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&self.path(), copy.path());
        copy
    }

    /// The keys that have a value, with it.
    pub fn live(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.history
            .iter()
            .filter_map(|(key, versions)| Some((key.as_str(), versions.last()?.as_deref()?)))
    }

    /// Fails unless the store has exactly what was written.
    pub fn check(&self, store: &Store) {
        let listed: BTreeSet<String> = keys(store);
        let expected: BTreeSet<String> = self.live().map(|(key, _)| key.to_owned()).collect();
        assert_eq!(listed, expected);
        for (key, value) in self.live() {
            assert!(store.get(key).unwrap().as_deref() == Some(value), "{key} reads wrong");
        }
        let report = store.verify(&kogia::VerifyOptions::default()).unwrap();
        assert_eq!(report.problems, []);
    }
}

/// The keys that a store lists.
pub fn keys(store: &Store) -> BTreeSet<String> {
    let text = |key| String::from_utf8(key).expect("the sample's keys are text");
    store.iter(..).map(|item| text(item.unwrap().0)).collect()
}

fn put(store: &Store, history: &mut History, key: &str, value: Vec<u8>) {
    store.put(key, &value).unwrap();
    history.entry(key.into()).or_default().push(Some(value));
}

fn delete(store: &Store, history: &mut History, key: &str) {
    assert!(store.delete(key).unwrap());
    history.entry(key.into()).or_default().push(None);
}

fn write_first_half(store: &Store, history: &mut History) {
    put(store, history, "empty", Vec::new());
    put(store, history, "tiny", value(1, 100));
    put(store, history, "packed", value(2, 9000));
    put(store, history, "owned", value(3, 20_000));
    put(store, history, "overwritten", value(4, 18_000));
    put(store, history, "overwritten", value(5, 700));
    put(store, history, "deleted", value(6, 300));
    delete(store, history, "deleted");
    let attributes = value(7, 6000);
    let with = PutOptions { attributes, ..PutOptions::default() };
    store.put_with("attributes", b"few", &with).unwrap();
    history.insert("attributes".into(), vec![Some(b"few".to_vec())]);

    let mut stream = store.writer("stream").unwrap();
    stream.write_all(&value(8, 80_000)).unwrap();
    stream.commit().unwrap();
    history.insert("stream".into(), vec![Some(value(8, 80_000))]);
}

/// The key of the batch's put number `i`, of 70.
pub fn batch_key(i: u64) -> String {
    format!("batch/{i:02}/{}", "k".repeat(40))
}

fn write_second_half(store: &Store, history: &mut History) {
    // A directory of two chunks.
    let mut batch = Batch::new();
    for i in 0..70 {
        let key = batch_key(i);
        batch.put(&key, value(100 + i, 40));
        history.insert(key, vec![Some(value(100 + i, 40))]);
    }
    store.write(batch).unwrap();

    let mut part = store.part().unwrap();
    part.write_all(&value(9, 30_000)).unwrap();
    let part = part.finish().unwrap();
    store.assemble("assembled", &[part.id], &PutOptions::default()).unwrap();
    history.insert("assembled".into(), vec![Some(value(9, 30_000))]);

    put(store, history, "overwritten late", value(10, 500));
    put(store, history, "deleted late", value(11, 400));
    delete(store, history, "deleted late");
    put(store, history, "overwritten late", value(12, 17_000));
    for i in 0..4 {
        put(store, history, &format!("last/{i}"), value(20 + i, 1000));
    }
}
