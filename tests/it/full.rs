//! Full disks: puts are refused by name, everything else goes on, and writing resumes by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kogia::io::sim::{CallKind, Fail, Fault, Keep, SimIo};
use kogia::{Error, ErrorKind, Options, Store};
use tempfile::TempDir;

use crate::sample::value;

const RESERVE: u64 = 128 << 10;

/// A store on a simulated machine, and what was acknowledged of it.
struct Filled {
    io: SimIo,
    /// The index, which is on the operating system's file system.
    index: TempDir,
    disks: &'static [&'static str],
    store: Option<Store>,
    acknowledged: BTreeMap<String, Vec<u8>>,
    puts: u64,
}

impl Filled {
    fn new(disks: &'static [&'static str]) -> Self {
        let (io, index) = (SimIo::new(7), tempfile::tempdir().unwrap());
        let acknowledged = BTreeMap::new();
        let mut filled = Filled { io, index, disks, store: None, acknowledged, puts: 0 };
        filled.store = Some(filled.open(&filled.io, filled.index.path()));
        filled
    }

    fn open(&self, io: &SimIo, index: &Path) -> Store {
        let options = Options::new()
            .io(Arc::new(io.clone()))
            .index_dir(index)
            .track_bytes(128 << 10)
            .segment_bytes(32 << 10)
            .memory_bytes(16 << 20)
            .reserve_bytes(RESERVE)
            .checkpoint_interval(Duration::from_secs(3600));
        self.disks.iter().fold(options, |options, disk| options.disk(disk)).open("/home").unwrap()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn put(&mut self, len: usize) -> Result<(), Error> {
        let (key, value) = (format!("key/{:04}", self.puts), value(self.puts, len));
        self.puts += 1;
        self.store().put(&key, &value)?;
        self.acknowledged.insert(key, value);
        Ok(())
    }

    /// Puts until one is refused; gives the error.
    fn fill(&mut self, len: usize) -> Error {
        (0..1000).find_map(|_| self.put(len).err()).expect("the disk is bounded")
    }

    fn delete(&mut self, keys: usize) {
        let keys: Vec<_> = self.acknowledged.keys().take(keys).cloned().collect();
        for key in keys {
            assert!(self.store().delete(&key).unwrap());
            self.acknowledged.remove(&key);
        }
    }

    fn check(&self) {
        self.check_store(self.store());
    }

    fn check_store(&self, store: &Store) {
        for (key, value) in &self.acknowledged {
            assert!(store.get(key).unwrap().as_ref() == Some(value), "{key}");
        }
        assert_eq!(store.stats().unwrap().objects, self.acknowledged.len() as u64);
        assert_eq!(store.verify(&Default::default()).unwrap().problems, []);
    }

    /// The power goes, and the store is opened anew.
    fn check_after_crash(mut self) {
        let crashed = self.io.crash(Keep::Random(self.puts));
        let index = tempfile::tempdir().unwrap();
        crate::sample::copy_tree(self.index.path(), index.path());
        // What the reserve took is there again.
        for disk in self.disks {
            crashed.set_capacity(disk, 1 << 30);
        }
        crashed.set_capacity("/home", 1 << 30);
        self.store = None;
        self.check_store(&self.open(&crashed, index.path()));
    }
}

#[test]
fn a_full_disk_refuses_puts_by_name_and_goes_on_reading_and_deleting() {
    let mut filled = Filled::new(&["/a"]);
    filled.io.set_capacity("/a", 1 << 20);
    for len in [20_000, 3000] {
        let error = filled.fill(len);
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(error.to_string().contains("/a"), "{error}");
    }
    assert!(filled.store().stats().unwrap().disks[0].full);
    filled.check();
    filled.delete(5);
    filled.check();
    filled.check_after_crash();
}

#[test]
fn streams_and_batches_are_refused_whole_by_a_full_disk() {
    let mut filled = Filled::new(&["/a"]);
    filled.io.set_capacity("/a", 1 << 20);
    filled.fill(20_000);
    let error = filled.store().put("stream", value(1, 500_000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let mut batch = kogia::Batch::new();
    batch.put("one", value(1, 20_000)).delete("key/0000").put("two", value(2, 20_000));
    assert_eq!(filled.store().write(batch).unwrap_err().kind(), ErrorKind::Full);
    // A batch of deletes needs no room for values.
    let mut batch = kogia::Batch::new();
    batch.delete("key/0000").delete("key/0001");
    filled.store().write(batch).unwrap();
    filled.acknowledged.remove("key/0000");
    filled.acknowledged.remove("key/0001");
    filled.check();
    filled.check_after_crash();
}

/// Symptom: puts took of the room that is kept for deletes. Cause: what they take was counted
/// without the rest of their chains' last chunks. Rule: counted is what is written.
#[test]
fn puts_leave_the_reserve_alone() {
    for len in [1, 3000, 17_000] {
        let mut filled = Filled::new(&["/a"]);
        filled.io.set_capacity("/a", 4 << 20);
        // Often enough that the disk fills up between two answers of the file system.
        let error = (0..2000).find_map(|_| filled.put(len).err()).expect("the disk is bounded");
        assert_eq!(error.kind(), ErrorKind::Full);
        let left = kogia::io::Io::available_space(&filled.io, Path::new("/a")).unwrap();
        assert!((RESERVE..RESERVE + (64 << 10)).contains(&left), "{left} bytes are left");
    }
}

/// Symptom: on a full disk deletes failed once they had used up the reserve. Cause: what they freed
/// waited for the next checkpoint. Rule: a delete that finds no room makes it.
#[test]
fn more_deletes_than_the_reserve_has_room_for_go_on() {
    let mut filled = Filled::new(&["/a"]);
    filled.io.set_capacity("/a", 2 << 20);
    filled.fill(17_000);
    let keys = filled.acknowledged.len();
    assert!(keys as u64 * 4096 > 2 * RESERVE);
    filled.delete(keys);
    filled.check();
    filled.put(20_000).unwrap();
    filled.check_after_crash();
}

#[test]
fn deletes_and_a_checkpoint_make_room_and_writing_resumes_without_reopening() {
    let mut filled = Filled::new(&["/a"]);
    filled.io.set_capacity("/a", 2 << 20);
    // Twice: chunks are punched out, and whole tracks are unlinked.
    for _ in 0..2 {
        filled.fill(20_000);
        let before = filled.acknowledged.len();
        filled.delete(before / 2);
        filled.store().checkpoint().unwrap();
        let mut more = 0;
        while filled.put(20_000).is_ok() {
            more += 1;
        }
        assert!(more >= before / 4, "{more} puts after {} deletes", before / 2);
        filled.check();
    }
    filled.check_after_crash();
}

#[test]
fn writing_resumes_without_reopening_when_the_disk_has_room_again() {
    let mut filled = Filled::new(&["/a"]);
    filled.io.set_capacity("/a", 1 << 20);
    for _ in 0..3 {
        filled.fill(20_000);
    }
    filled.io.set_capacity("/a", 4 << 20);
    for _ in 0..20 {
        filled.put(20_000).unwrap();
    }
    assert!(!filled.store().stats().unwrap().disks[0].full);
    filled.check();
    filled.check_after_crash();
}

#[test]
fn puts_go_on_on_the_other_of_two_disks() {
    let mut filled = Filled::new(&["/a", "/b"]);
    filled.io.set_capacity("/a", 1 << 20);
    filled.io.set_capacity("/b", 8 << 20);
    for _ in 0..150 {
        filled.put(20_000).unwrap();
    }
    let stats = filled.store().stats().unwrap();
    assert!(stats.disks[0].space.file_bytes <= 1 << 20);
    assert!(stats.disks[1].space.file_bytes >= 2 << 20);
    let error = filled.fill(20_000);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("/a") || error.to_string().contains("/b"), "{error}");
    filled.check();
    filled.check_after_crash();
}

/// The file system says that it is full although it had room to the last answer: a write stops
/// anywhere in a chain.
#[test]
fn an_append_that_is_cut_off_anywhere_leaves_no_garbage() {
    let mut filled = Filled::new(&["/a"]);
    for bytes in [1, 23, 4095, 4096, 4097, 8192, 15_000, 20_479] {
        filled.put(9000).unwrap();
        filled.io.fail(Fault::next(CallKind::Write, Fail::Short(bytes)).under("/a"));
        filled.io.fail(Fault::nth(CallKind::Write, 1, Fail::Enospc).under("/a"));
        let refused = filled.put(20_000);
        filled.io.heal();
        if let Err(error) = refused {
            assert_eq!(error.kind(), ErrorKind::Full, "{bytes} bytes: {error}");
        }
        // Smaller than what was cut off, so that garbage would lie behind it.
        filled.put(100).unwrap();
        filled.check();
    }
    filled.check_after_crash();
}

/// Symptom: on a full home each refused put left a track file on the disk. Cause: a track whose
/// creation META could not be told of was given up, and the next put made another. Rule: it is
/// used by the next chain.
#[test]
fn a_full_home_refuses_puts_leaves_no_litter_and_resumes() {
    let mut filled = Filled::new(&["/a"]);
    filled.put(20_000).unwrap();
    filled.io.fail(Fault::next(CallKind::Create, Fail::Enospc).under("/home").lasting());
    // The active track has room; the next one needs META.
    let error = filled.fill(20_000);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("/home"), "{error}");
    let tracks = || filled_tracks(&filled.io);
    let before = tracks();
    let refused = (0..10).filter(|i| {
        let put = filled.store().put(format!("refused/{i}"), value(*i, 20_000));
        put.is_err_and(|error| error.kind() == ErrorKind::Full)
    });
    assert_eq!(refused.count(), 10);
    assert_eq!(tracks(), before);
    filled.check();
    filled.io.heal();
    for _ in 0..20 {
        filled.put(20_000).unwrap();
    }
    filled.check();
    filled.check_after_crash();
}

/// Takes all that the file system has left.
fn take_the_rest(io: &SimIo, dir: &str) {
    let left = kogia::io::Io::available_space(io, Path::new(dir)).unwrap();
    let neighbour = Path::new(dir).join("neighbour");
    io.write_file(&neighbour, &vec![1; left as usize]).unwrap();
    assert_eq!(kogia::io::Io::available_space(io, Path::new(dir)).unwrap(), 0);
}

/// Symptom: a store on a file system that had nothing left could not be opened, or gave nothing back
/// when it was compacted. Cause: the reserve was released by deletes and checkpoints alone, and where a
/// hole could not be tried for want of room, none were punched. Rule: opening releases the reserve, and
/// what has no room is not what can't be done.
#[test]
fn a_store_on_a_file_system_with_nothing_left_opens_and_compacts() {
    // In its home, as it is with a single disk.
    let mut filled = Filled::new(&["/home/disk"]);
    filled.io.set_capacity("/home", 2 << 20);
    filled.fill(17_000);
    let reserve = filled.io.files().into_iter().filter(|path| path.ends_with("reserve"));
    assert_eq!(reserve.count(), 1);
    take_the_rest(&filled.io, "/home");
    filled.store.take().unwrap().close().unwrap();
    filled.store = Some(filled.open(&filled.io, filled.index.path()));
    assert!(filled.store().stats().unwrap().disks[0].punches);
    let keys = filled.acknowledged.len();
    filled.delete(keys / 2);
    filled.store().maintain().unwrap();
    filled.put(20_000).unwrap();
    filled.check();
}

/// Symptom: deletes took the last byte, and what they freed could not be compacted. Rule: they leave a
/// slice of compaction.
#[test]
fn deletes_leave_room_to_compact_what_they_free() {
    let mut filled = Filled::new(&["/home/disk"]);
    filled.io.set_capacity("/home", 4 << 20);
    // Its slices may take the room that deletes have to leave.
    filled.store().pause_compaction();
    filled.fill(500);
    take_the_rest(&filled.io, "/home");
    // Small values share chunks, so that nothing is freed before it is compacted.
    let keys: Vec<_> = filled.acknowledged.keys().cloned().collect();
    let left = |io: &SimIo| kogia::io::Io::available_space(io, Path::new("/home")).unwrap();
    for key in keys.iter().step_by(2) {
        match filled.store().delete(key) {
            Ok(_) => drop(filled.acknowledged.remove(key)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
        assert!(left(&filled.io) == 0 || left(&filled.io) >= RESERVE / 4);
    }
    filled.store().maintain().unwrap();
    filled.put(20_000).unwrap();
    filled.check();
}

fn filled_tracks(io: &SimIo) -> usize {
    io.files().iter().filter(|path| path.extension().is_some_and(|ext| ext == "track")).count()
}

/// Concurrent writers on a disk that fills up: each put is either acknowledged and kept, or refused.
#[test]
fn nothing_acknowledged_is_lost_by_concurrent_writers_on_a_full_disk() {
    let mut filled = Filled::new(&["/a", "/b"]);
    filled.io.set_capacity("/a", 1 << 20);
    filled.io.set_capacity("/b", 1 << 20);
    let store = filled.store();
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for i in 0..60 {
                        let (key, value) =
                            (format!("{writer}/{i}"), value(writer * 100 + i, 12_000));
                        match store.put(&key, &value) {
                            Ok(_) => kept.push((key, value)),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Full, "{error}"),
                        }
                    }
                    kept
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(acknowledged.len() < 240 && acknowledged.len() > 60);
    filled.acknowledged.extend(acknowledged);
    filled.check();
    filled.check_after_crash();
}

/// Symptom: on btrfs, a store that had been written full could neither be opened nor compacted: the
/// index found no room. Cause: there a disk is full before `statvfs` says so, and the put that found
/// out was refused, but the reserve was given up for it first, and went to whoever wrote next. Rule:
/// the reserve is for deletes, checkpoints and compaction, and a put that is refused leaves it alone.
#[test]
fn a_put_that_finds_the_disk_full_unexpectedly_leaves_the_reserve() {
    let mut filled = Filled::new(&["/a"]);
    filled.put(3000).unwrap();
    filled.store().checkpoint().unwrap();
    let reserve = Path::new("/home/reserve");
    assert_eq!(filled.io.read_file(reserve).unwrap().len() as u64, RESERVE);
    filled.io.fail(Fault::next(CallKind::Write, Fail::Enospc).under("/a").lasting());
    assert_eq!(filled.put(3000).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(filled.io.read_file(reserve).unwrap().len() as u64, RESERVE);
    filled.io.heal();
    filled.io.fail(Fault::next(CallKind::Write, Fail::Enospc).under("/a"));
    filled.delete(1);
    assert!(filled.io.read_file(reserve).is_err(), "a delete may have it");
    filled.check();
}
