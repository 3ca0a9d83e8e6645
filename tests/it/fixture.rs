//! A store written by format version 1, opened by every later build.
//!
//! `tests/fixtures/v1` was written by the generator here, with `KOGIA_WRITE_FIXTURE=tests/fixtures/v1
//! cargo test --release --test it -- fixture`. A later format gets a directory, a generator and
//! tests of its own; what is here stays as it is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use kogia::{Batch, Options, PutOptions, Store};

use crate::sample::copy_tree;

/// An object of the fixture: key, seed and length of its value, attributes, time of modification.
struct Object {
    key: Vec<u8>,
    seed: u32,
    len: usize,
    attributes: Vec<u8>,
    modified_ms: u64,
}

/// The bytes of a seed. Never to be changed: the fixture's values are these.
fn bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(&mut next).take(len).collect()
}

impl Object {
    fn new(key: impl AsRef<[u8]>, seed: u32, len: usize) -> Self {
        let key = key.as_ref().to_vec();
        Object { key, seed, len, attributes: Vec::new(), modified_ms: 1_000 + u64::from(seed) }
    }

    fn with_attributes(self, len: usize) -> Self {
        Object { attributes: bytes(self.seed + 1000, len), ..self }
    }

    fn value(&self) -> Vec<u8> {
        bytes(self.seed, self.len)
    }

    fn options(&self) -> PutOptions {
        PutOptions {
            attributes: self.attributes.clone(),
            modified_ms: Some(self.modified_ms),
            ..PutOptions::default()
        }
    }
}

fn single() -> Vec<Object> {
    vec![
        Object::new("empty", 1, 0),
        Object::new("one byte", 2, 1),
        Object::new("packed", 3, 5000),
        Object::new("largest that is packed", 4, 16_287),
        Object::new("smallest that is owned", 5, 16_288),
        Object::new("attributes", 6, 10).with_attributes(100),
        Object::new("attributes of several chunks", 7, 10).with_attributes(9000),
        Object::new([0, 0xff, b'/', 0x80], 8, 20),
        Object::new(bytes(9, 5000), 9, 20),
        Object::new("overwritten", 10, 300),
    ]
}

fn batch() -> Vec<Object> {
    (0..90).map(|i| Object::new(format!("batch/{i:03}"), 100 + i, 10 + i as usize)).collect()
}

fn stream() -> Object {
    Object::new("stream", 11, 70_000).with_attributes(30)
}

/// Assembled of two parts, of 6,000 and 4,000 bytes.
fn assembled() -> Object {
    Object::new("assembled", 12, 10_000)
}

/// Length and seed of the part that waits.
const WAITING: (usize, u32) = (5000, 13);

fn generate(home: &Path) {
    let store = Options::new()
        .track_bytes(64 << 10)
        .segment_bytes(32 << 10)
        .memory_bytes(16 << 20)
        .reserve_bytes(0)
        .punch(false)
        .open(home)
        .unwrap();
    store.put("overwritten", bytes(50, 4000)).unwrap();
    store.put("deleted", bytes(51, 4000)).unwrap();
    for object in single() {
        store.put_with(&object.key, object.value(), &object.options()).unwrap();
    }
    assert!(store.delete("deleted").unwrap());
    let mut puts = Batch::new();
    for object in batch() {
        puts.put_with(&object.key, object.value(), &object.options());
    }
    store.write(puts).unwrap();
    let mut writer = store.writer_with(stream().key, stream().options()).unwrap();
    writer.write_all(&stream().value()).unwrap();
    writer.commit().unwrap();
    let part = |bytes: &[u8]| {
        let mut part = store.part().unwrap();
        part.write_all(bytes).unwrap();
        part.finish().unwrap().id
    };
    let object = assembled();
    let parts = [part(&object.value()[..6000]), part(&object.value()[6000..])];
    store.assemble(&object.key, &parts, &object.options()).unwrap();
    part(&bytes(WAITING.1, WAITING.0));
    store.close().unwrap();
    for entry in fs::read_dir(home.join("index")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // Large, and not read: RocksDB's own log, and the options that it saved.
        if name.starts_with("LOG") || name.starts_with("OPTIONS") {
            fs::remove_file(&path).unwrap();
        }
    }
}

/// Fails unless the store has exactly what the generator put.
fn check(store: &Store) {
    let mut expected = single();
    expected.extend(batch());
    expected.extend([stream(), assembled()]);
    expected.sort_by(|one, other| one.key.cmp(&other.key));
    let listed: Vec<Vec<u8>> = store.iter(..).map(|item| item.unwrap().0).collect();
    assert!(listed.iter().eq(expected.iter().map(|object| &object.key)));
    for object in expected {
        let key = object.key.escape_ascii();
        let mut value = Vec::new();
        let info = store.get_into(&object.key, &mut value).unwrap().unwrap();
        assert!(value == object.value(), "{key}");
        assert_eq!(info.len, object.len as u64, "{key}");
        assert!(info.attributes == object.attributes, "{key}");
        assert_eq!(info.modified_ms, object.modified_ms, "{key}");
        assert_eq!(store.head(&object.key).unwrap(), Some(info), "{key}");
    }
    let parts = store.parts().unwrap();
    assert_eq!(parts.iter().map(|part| part.len).collect::<Vec<_>>(), [WAITING.0 as u64]);
    assert_eq!(store.verify(&kogia::VerifyOptions::default()).unwrap().problems, []);
    let options = PutOptions::default();
    store.assemble("the part", &[parts[0].id], &options).unwrap();
    assert!(store.get("the part").unwrap() == Some(bytes(WAITING.1, WAITING.0)));
}

/// A copy of the saved store, opened after a change; the part that waits never ages out.
fn open_saved(change: impl FnOnce(&Path)) {
    let saved = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&saved, copy.path());
    change(copy.path());
    let store = Options::new().part_max_age(None).open(copy.path()).unwrap();
    check(&store);
}

#[test]
fn a_store_of_format_1_opens_with_its_index() {
    open_saved(|_| {});
}

#[test]
fn a_store_of_format_1_is_rebuilt_from_its_tracks() {
    open_saved(|home| fs::remove_dir_all(home.join("index")).unwrap());
}

#[test]
fn a_store_of_format_1_is_rebuilt_without_its_meta() {
    open_saved(|home| {
        fs::remove_dir_all(home.join("index")).unwrap();
        fs::remove_file(home.join("META")).unwrap();
    });
}

#[test]
fn the_generator_writes_what_the_fixture_is_to_hold() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    generate(&home);
    if let Some(target) = std::env::var_os("KOGIA_WRITE_FIXTURE") {
        copy_tree(&home, Path::new(&target));
    }
    check(&Options::new().open(&home).unwrap());
}
