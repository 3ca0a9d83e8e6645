//! Writers of all kinds and readers of all kinds, on one store.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use kogia::{
    Batch, CompactOptions, Condition, Durability, Info, Item, ListOptions, PartId, PutOptions,
    Snapshot, Store, VerifyOptions,
};

use super::value::value;

/// Keys that are written one by one; each of these threads owns as many.
const SINGLE_WRITERS: u64 = 3;
const KEYS_A_WRITER: u64 = 8;
/// Keys that are always written together.
const BATCH_KEYS: u64 = 6;
const KEYS: u64 = SINGLE_WRITERS * KEYS_A_WRITER + BATCH_KEYS;
const FIRST_BATCH_KEY: u64 = SINGLE_WRITERS * KEYS_A_WRITER;

/// What is known of the keys while threads write and read them.
pub struct Race {
    keys: Vec<Versions>,
    steps: u64,
    is_over: AtomicBool,
    compacts: bool,
}

/// A key's versions: of each it is fixed what it is, so that readers know what to expect.
#[derive(Default)]
struct Versions {
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

/// What a version of a key is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Version {
    Absent,
    Put { len: usize },
}

fn name(key: u64) -> String {
    format!("{}/key-{key}", key % 3)
}

fn version_of(key: u64, version: u64) -> Version {
    const LENS: [usize; 8] = [0, 100, 4072, 16_288, 20_000, 70_000, 140_000, 300_000];
    let draw = (key * 31 + version * 17) % 11;
    match (version, draw) {
        (0, _) | (_, 8..) => Version::Absent,
        (_, draw) => Version::Put { len: LENS[draw as usize] },
    }
}

/// Batches are put or deleted as a whole, and are small.
fn batch_version_of(version: u64) -> Version {
    let len = (version * 1999 % 20_000) as usize;
    if version.is_multiple_of(4) { Version::Absent } else { Version::Put { len } }
}

fn expected(key: u64, version: u64) -> Version {
    if key < FIRST_BATCH_KEY { version_of(key, version) } else { batch_version_of(version) }
}

/// The version, in the attributes of what is put, so that listings tell it, too.
fn put_options(version: u64) -> PutOptions {
    PutOptions { attributes: version.to_le_bytes().to_vec(), ..PutOptions::default() }
}

fn version_in(info: &Info) -> u64 {
    u64::from_le_bytes(info.attributes[..].try_into().unwrap())
}

impl Race {
    pub fn new(steps: u64) -> Self {
        let keys = std::iter::repeat_with(Versions::default).take(KEYS as usize).collect();
        Race { keys, steps, is_over: AtomicBool::new(false), compacts: false }
    }

    /// The same, with callers who compact all that they find, and who keep the disks' own threads awake.
    pub fn compacting(steps: u64) -> Self {
        Race { compacts: true, ..Race::new(steps) }
    }

    /// Lets all threads loose, until the writers have done their steps.
    pub fn run(&self, store: &Store) {
        self.is_over.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            let mut writers = Vec::new();
            for writer in 0..SINGLE_WRITERS {
                writers.push(scope.spawn(move || self.write_singly(store, writer)));
            }
            writers.push(scope.spawn(|| self.write_batches(store)));
            writers.push(scope.spawn(|| self.drop_streams_and_parts(store)));
            let readers: [fn(&Self, &Store, u64); 6] = [
                Self::get_one,
                Self::read_one,
                Self::list_all,
                Self::look_twice,
                Self::checkpoint,
                Self::verify,
            ];
            let compactors: &[fn(&Self, &Store, u64)] =
                if self.compacts { &[Self::compact, Self::wake_compaction] } else { &[] };
            for &read in readers.iter().chain(compactors) {
                scope.spawn(move || {
                    for step in 0.. {
                        if self.is_over.load(Ordering::SeqCst) {
                            break;
                        }
                        read(self, store, step);
                    }
                });
            }
            let outcomes: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            self.is_over.store(true, Ordering::SeqCst);
            outcomes.into_iter().for_each(|outcome| outcome.expect("a writer"));
        });
    }

    /// Checks that every key has its last version, and that nothing else is there.
    pub fn check_end(&self, store: &Store) {
        let mut objects = 0;
        for key in 0..KEYS {
            let version = self.keys[key as usize].acknowledged.load(Ordering::SeqCst);
            let found = store.get(name(key)).unwrap();
            match expected(key, version) {
                Version::Absent => assert!(found.is_none(), "{}", name(key)),
                Version::Put { len } => {
                    objects += 1;
                    assert!(found == Some(value(key, version, len)), "{}", name(key));
                }
            }
        }
        let stats = store.stats().unwrap();
        assert_eq!((stats.objects, stats.parts), (objects, 0));
        assert_eq!(store.iter(..).count() as u64, objects);
    }

    // Writers.

    fn write_singly(&self, store: &Store, writer: u64) {
        for step in 0..self.steps {
            let key = writer * KEYS_A_WRITER + step * 5 % KEYS_A_WRITER;
            self.advance(&[key], |version| match version_of(key, version) {
                Version::Absent => drop(store.delete(name(key)).unwrap()),
                Version::Put { len } => put(store, key, version, len, step),
            });
        }
    }

    fn write_batches(&self, store: &Store) {
        let keys: Vec<_> = (FIRST_BATCH_KEY..KEYS).collect();
        for step in 0..self.steps {
            self.advance(&keys, |version| {
                let mut batch = Batch::new();
                for &key in &keys {
                    match batch_version_of(version) {
                        Version::Absent => batch.delete(name(key)),
                        Version::Put { len } => {
                            let value = value(key, version, len);
                            batch.put_with(name(key), value, &put_options(version))
                        }
                    };
                }
                let durability = if step % 8 == 0 { Durability::Sync } else { Durability::Os };
                store.write_with(batch, durability).unwrap();
            });
        }
    }

    /// Leaves nothing, however it goes about it.
    fn drop_streams_and_parts(&self, store: &Store) {
        for step in 0..self.steps / 4 {
            let bytes = value(KEYS, step, 50_000 + step as usize);
            let mut writer = store.writer(name(0)).unwrap();
            writer.write_all(&bytes).unwrap();
            drop(writer);
            let mut part = store.part().unwrap();
            part.write_all(&bytes).unwrap();
            if step % 2 == 0 {
                let id = part.finish().unwrap().id;
                assert!(store.discard_part(id).unwrap());
            }
        }
    }

    /// Writes the next version of keys that only this thread writes.
    fn advance(&self, keys: &[u64], write: impl FnOnce(u64)) {
        let of = |key: u64| &self.keys[key as usize];
        let version = of(keys[0]).begun.load(Ordering::SeqCst) + 1;
        keys.iter().for_each(|&key| of(key).begun.store(version, Ordering::SeqCst));
        write(version);
        keys.iter().for_each(|&key| of(key).acknowledged.store(version, Ordering::SeqCst));
    }

    // Readers.

    /// Reads a key, and checks that what it gave was there while it read.
    fn observe(&self, key: u64, read: impl FnOnce() -> Option<u64>) {
        let versions = &self.keys[key as usize];
        let oldest = versions.acknowledged.load(Ordering::SeqCst);
        let found = read();
        let newest = versions.begun.load(Ordering::SeqCst);
        let was_there = match found {
            Some(version) => (oldest..=newest).contains(&version),
            None => (oldest..=newest).any(|v| expected(key, v) == Version::Absent),
        };
        assert!(was_there, "{} had {found:?}, not {oldest} to {newest}", name(key));
    }

    fn get_one(&self, store: &Store, step: u64) {
        let key = step * 7 % KEYS;
        self.observe(key, || {
            let mut bytes = Vec::new();
            let info = store.get_into(name(key), &mut bytes).unwrap()?;
            check(key, &info, &bytes);
            Some(version_in(&info))
        });
    }

    fn read_one(&self, store: &Store, step: u64) {
        let key = step * 11 % KEYS;
        self.observe(key, || {
            let mut reader = store.reader(name(key)).unwrap()?;
            let info = reader.info().clone();
            let half = info.len / 2;
            let (mut back, mut front) = (Vec::new(), Vec::new());
            reader.seek(SeekFrom::Start(half)).unwrap();
            reader.read_to_end(&mut back).unwrap();
            reader.rewind().unwrap();
            reader.take(half).read_to_end(&mut front).unwrap();
            check(key, &info, &[front, back].concat());
            Some(version_in(&info))
        });
    }

    fn list_all(&self, store: &Store, step: u64) {
        let oldest = self.acknowledged();
        let mut options = ListOptions { max_keys: 1 + step as usize % 9, ..Default::default() };
        options.prefix = format!("{}/", step % 3).into_bytes();
        let mut last = Vec::new();
        loop {
            let page = store.list(&options).unwrap();
            for item in page.items {
                let Item::Object { key, info } = item else { panic!("{item:?}") };
                assert!(key > last, "out of order");
                let number = (0..KEYS).find(|&number| name(number).as_bytes() == key).unwrap();
                let newest = self.keys[number as usize].begun.load(Ordering::SeqCst);
                let range = oldest[number as usize]..=newest;
                assert!(range.contains(&version_in(&info)), "{} of {range:?}", name(number));
                last = key;
            }
            options.start_after = page.next;
            if options.start_after.is_none() {
                return;
            }
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.keys.iter().map(|versions| versions.acknowledged.load(Ordering::SeqCst)).collect()
    }

    /// A snapshot shows one moment, however often one looks: with whole batches, too.
    fn look_twice(&self, store: &Store, _step: u64) {
        let oldest = self.acknowledged();
        let snapshot = store.snapshot().unwrap();
        let first = contents(&snapshot);
        for (key, version) in (0..).zip(&first) {
            let newest = self.keys[key as usize].begun.load(Ordering::SeqCst);
            let mut versions = oldest[key as usize]..=newest;
            let was_there = versions.any(|v| match version {
                Some(version) => *version == v,
                None => expected(key, v) == Version::Absent,
            });
            assert!(was_there, "{} had {version:?}", name(key));
        }
        let batch = &first[FIRST_BATCH_KEY as usize..];
        assert!(batch.iter().all(|version| *version == batch[0]), "torn batch: {batch:?}");
        assert_eq!(contents(&snapshot), first);
        let listed = snapshot.iter(..).map(|item| version_in(&item.unwrap().1));
        let mut listed: Vec<_> = listed.collect();
        let mut got: Vec<_> = first.into_iter().flatten().collect();
        listed.sort_unstable();
        got.sort_unstable();
        assert_eq!(listed, got);
    }

    fn checkpoint(&self, store: &Store, step: u64) {
        if step.is_multiple_of(3) {
            store.sync().unwrap();
        }
        store.checkpoint().unwrap();
    }

    fn compact(&self, store: &Store, step: u64) {
        let min_garbage = Some(if step.is_multiple_of(3) { 0.0 } else { 0.3 });
        let options = CompactOptions { min_garbage, ..CompactOptions::default() };
        let report = store.compact(&options).unwrap();
        assert!(report.blocked.is_empty(), "{report:?}");
    }

    /// Changing the rate makes the disks' threads look for work.
    fn wake_compaction(&self, store: &Store, step: u64) {
        if step.is_multiple_of(20) {
            store.pause_compaction();
            store.resume_compaction();
        }
        store.set_compaction_rate(None);
        thread::sleep(Duration::from_millis(5));
    }

    fn verify(&self, store: &Store, _step: u64) {
        let report = store.verify(&VerifyOptions::default()).unwrap();
        assert!(report.problems.is_empty(), "{:#?}", report.problems);
    }
}

/// Puts in one way or another.
fn put(store: &Store, key: u64, version: u64, len: usize, step: u64) {
    let (bytes, options) = (value(key, version, len), put_options(version));
    match step % 4 {
        0 => {
            let mut writer = store.writer_with(name(key), options).unwrap();
            bytes.chunks(10_000).for_each(|some| writer.write_all(some).unwrap());
            writer.commit().unwrap();
        }
        1 => {
            let (front, back) = bytes.split_at(len / 3);
            let parts = [front, back].map(|some| part(store, some));
            store.assemble(name(key), &parts, &options).unwrap();
        }
        2 => {
            // Nobody else writes this key, so what is found stays.
            let seq = store.head(name(key)).unwrap().map(|info| info.seq);
            let condition = seq.map_or(Condition::IfAbsent, Condition::IfSeq);
            let options = PutOptions { condition, ..options };
            store.put_with(name(key), bytes, &options).unwrap();
        }
        _ => {
            let durability = Some(if step % 16 == 3 { Durability::Sync } else { Durability::Os });
            let options = PutOptions { durability, ..options };
            store.put_with(name(key), bytes, &options).unwrap();
        }
    }
}

fn part(store: &Store, bytes: &[u8]) -> PartId {
    let mut part = store.part().unwrap();
    part.write_all(bytes).unwrap();
    part.finish().unwrap().id
}

fn contents(snapshot: &Snapshot<'_>) -> Vec<Option<u64>> {
    let version = |key| {
        let bytes = snapshot.get(name(key)).unwrap()?;
        let info = snapshot.head(name(key)).unwrap().unwrap();
        check(key, &info, &bytes);
        Some(version_in(&info))
    };
    (0..KEYS).map(version).collect()
}

/// Checks that a value is what its version says.
fn check(key: u64, info: &Info, bytes: &[u8]) {
    let version = version_in(info);
    let Version::Put { len } = expected(key, version) else {
        panic!("{} was deleted in version {version}", name(key));
    };
    assert!(bytes == value(key, version, len), "{}, version {version}", name(key));
    assert_eq!((info.len, info.crc32c), (len as u64, crc32c::crc32c(bytes)));
}
