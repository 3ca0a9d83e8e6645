use std::collections::BTreeSet;

use super::*;
use crate::io::{RealIo, read_exact_at};

const SECTOR: usize = content::SECTOR_BYTES as usize;
const BLOCK: usize = content::BLOCK_BYTES as usize;

fn root() -> &'static Path {
    Path::new("/")
}

fn write(file: &dyn File, offset: u64, bytes: &[u8]) {
    write_all_at(file, &mut [IoSlice::new(bytes)], offset).unwrap();
}

fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_exact_at(file, &mut bytes, 0).unwrap();
    bytes
}

/// A machine with one open file, `/file`, whose name and `bytes` are durable.
fn with_file(bytes: &[u8]) -> (SimIo, Arc<dyn File>) {
    let io = SimIo::new(1);
    io.write_file("/file", bytes).unwrap();
    let file = io.open(Path::new("/file"), OpenMode::ReadWrite).unwrap();
    (io, file)
}

fn after(io: &SimIo, keep: Keep) -> Vec<u8> {
    io.crash(keep).read_file("/file").unwrap()
}

/// Every state that a power cut leaves of `/file`.
fn all_after(io: &SimIo) -> BTreeSet<Vec<u8>> {
    let states = io.crash_states();
    assert!(states < 100_000, "too many to try: {states}");
    (0..states).map(|n| after(io, Keep::Nth(n))).collect()
}

// What the simulation and the operating system agree on.

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("must fail").kind()
}

fn conforms(io: &dyn Io, dir: &Path) {
    names_conform(io, dir);
    bytes_conform(io, dir);
    ranges_conform(io, dir);
    replacing_conforms(io, dir);
    locks_conform(io, dir);
    links_conform(io, dir);
}

fn links_conform(io: &dyn Io, dir: &Path) {
    let (one, other) = (dir.join("links/one"), dir.join("links/other"));
    io.create_dir_all(&dir.join("links")).unwrap();
    let file = io.open(&one, OpenMode::CreateNew).unwrap();
    write(&*file, 0, &[1; 3 * BLOCK]);
    assert_eq!(file.link_count().unwrap(), 1);
    io.hard_link(&one, &other).unwrap();
    assert_eq!(kind(io.hard_link(&one, &other)), ErrorKind::AlreadyExists);
    assert_eq!(kind(io.hard_link(&dir.join("links/no"), &dir.join("x"))), ErrorKind::NotFound);
    assert_eq!(file.link_count().unwrap(), 2);
    file.punch(BLOCK as u64, BLOCK as u64).unwrap();
    let linked = io.open(&other, OpenMode::Read).unwrap();
    assert_eq!(read_all(&*linked)[BLOCK..2 * BLOCK], [0; BLOCK]);
    assert_eq!(linked.next_data(0).unwrap(), Some(0..BLOCK as u64));
    let rest = 2 * BLOCK as u64..3 * BLOCK as u64;
    assert_eq!(linked.next_data(BLOCK as u64).unwrap(), Some(rest.clone()));
    assert_eq!(linked.next_data(rest.start + 7).unwrap(), Some(rest.start + 7..rest.end));
    assert_eq!(linked.next_data(rest.end).unwrap(), None);
    file.set_len(rest.end + 5 * BLOCK as u64).unwrap();
    assert_eq!(linked.next_data(rest.end + 1).unwrap(), None);
    assert_eq!(kind(io.remove_dir(&dir.join("links"))), ErrorKind::DirectoryNotEmpty);
    io.remove(&one).unwrap();
    assert_eq!(linked.link_count().unwrap(), 1);
    match io.reflink(&other, &one) {
        Ok(()) => {
            let copy = io.open(&one, OpenMode::ReadWrite).unwrap();
            assert!(read_all(&*copy) == read_all(&*linked));
            write(&*copy, 0, b"changed");
            assert_eq!(read_all(&*linked)[..7], [1; 7]);
            io.remove(&one).unwrap();
        }
        Err(e) => assert_eq!(e.kind(), ErrorKind::Unsupported),
    }
    assert!(!io.exists(&one).unwrap());
    io.remove(&other).unwrap();
    io.remove_dir(&dir.join("links")).unwrap();
    assert_eq!(kind(io.remove_dir(&dir.join("links"))), ErrorKind::NotFound);
}

fn names_conform(io: &dyn Io, dir: &Path) {
    let below = dir.join("a/b/c");
    io.create_dir_all(&below).unwrap();
    io.create_dir_all(&below).unwrap();
    assert!(io.exists(&below).unwrap() && !io.exists(&below.join("x")).unwrap());
    assert_eq!(io.list(&below).unwrap(), Vec::<String>::new());
    for name in ["z", "a", "m"] {
        io.open(&below.join(name), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(io.list(&below).unwrap(), ["a", "m", "z"]);
    assert_eq!(io.list(&dir.join("a")).unwrap(), ["b"]);
    io.remove(&below.join("m")).unwrap();
    io.sync_dir(&below).unwrap();
    assert_eq!(io.list(&below).unwrap(), ["a", "z"]);
    assert_eq!(io.canonicalize(&below.join("../c/./a")).unwrap(), below.join("a"));
    assert!(io.available_space(&below).unwrap() > 0);
    assert_ne!(io.random_id().unwrap(), io.random_id().unwrap());

    let file = below.join("a");
    assert_eq!(kind(io.open(&file, OpenMode::CreateNew)), ErrorKind::AlreadyExists);
    assert_eq!(kind(io.open(&below.join("m"), OpenMode::Read)), ErrorKind::NotFound);
    assert_eq!(kind(io.open(&below.join("m"), OpenMode::ReadWrite)), ErrorKind::NotFound);
    assert_eq!(kind(io.open(&dir.join("no/file"), OpenMode::CreateNew)), ErrorKind::NotFound);
    assert_eq!(kind(io.open(&file.join("x"), OpenMode::Read)), ErrorKind::NotADirectory);
    assert_eq!(kind(io.open(&below, OpenMode::ReadWrite)), ErrorKind::IsADirectory);
    assert_eq!(kind(io.remove(&below.join("m"))), ErrorKind::NotFound);
    assert_eq!(kind(io.remove(&below)), ErrorKind::IsADirectory);
    assert_eq!(kind(io.list(&dir.join("no"))), ErrorKind::NotFound);
    assert_eq!(kind(io.list(&file)), ErrorKind::NotADirectory);
    assert_eq!(kind(io.sync_dir(&dir.join("no"))), ErrorKind::NotFound);
    assert_eq!(kind(io.create_dir_all(&file)), ErrorKind::AlreadyExists);
    assert_eq!(kind(io.create_dir_all(&file.join("x"))), ErrorKind::NotADirectory);
    assert_eq!(kind(io.canonicalize(&dir.join("no"))), ErrorKind::NotFound);
    assert_eq!(kind(io.available_space(&dir.join("no"))), ErrorKind::NotFound);
}

fn bytes_conform(io: &dyn Io, dir: &Path) {
    let path = dir.join("bytes");
    let file = io.open(&path, OpenMode::CreateNew).unwrap();
    assert!(file.is_empty().unwrap());
    let buffers = [IoSlice::new(b"hello"), IoSlice::new(b""), IoSlice::new(b", world")];
    assert_eq!(file.write_vectored_at(&buffers, 10_000).unwrap(), 12);
    assert_eq!(file.write_vectored_at(&[IoSlice::new(b"")], 90_000).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 10_012);

    let (mut first, mut second) = ([9; 7], [9; 30]);
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(file.read_vectored_at(&mut buffers, 9_998).unwrap(), 14);
    assert_eq!((&first[..], &second[..7]), (&b"\0\0hello"[..], &b", world"[..]));
    for past_end in [10_012, 10_013, 1 << 40] {
        let mut buffer = [0; 10];
        let got = file.read_vectored_at(&mut [IoSliceMut::new(&mut buffer)], past_end);
        assert_eq!(got.unwrap(), 0, "at {past_end}");
    }
    assert_eq!(kind(read_exact_at(&*file, &mut [0; 20], 10_000)), ErrorKind::UnexpectedEof);

    file.sync_data().unwrap();
    file.drop_cache().unwrap();
    file.will_need(0, 100);
    file.start_write_back(0..10_005);
    let map = file.map(10_005).unwrap().expect("both can map");
    assert_eq!((map.len(), &map[9_999..]), (10_005, &b"\0hello"[..]));

    let reader = io.open(&path, OpenMode::Read).unwrap();
    write(&*file, 0, b"seen at once");
    assert_eq!(&read_all(&*reader)[..12], b"seen at once");
    assert!(reader.write_vectored_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(reader.set_len(0).is_err() && reader.punch(0, 1).is_err());
    assert!(reader.allocate(20_000).is_err());
    reader.sync_data().unwrap();

    io.remove(&path).unwrap();
    assert_eq!(&read_all(&*reader)[..4], b"seen", "an open file outlives its name");
    assert_eq!(io.read_small(&dir.join("a/b/c/a"), 0).unwrap(), b"");
}

fn ranges_conform(io: &dyn Io, dir: &Path) {
    let file = io.open(&dir.join("ranges"), OpenMode::CreateNew).unwrap();
    let bytes: Vec<u8> = (0..20_000).map(|i| (i % 251) as u8 + 1).collect();
    write(&*file, 0, &bytes);
    let mut expected = bytes.clone();
    for (offset, len) in [(4096, 8192), (100, 50), (19_000, 5_000), (30_000, 10)] {
        file.punch(offset, len).unwrap();
        let end = (offset + len).min(20_000) as usize;
        expected[(offset as usize).min(end)..end].fill(0);
        assert!(read_all(&*file) == expected, "punched {offset} and {len} on");
    }
    assert!(file.punch(0, 0).is_err());

    file.set_len(5_000).unwrap();
    file.set_len(9_000).unwrap();
    expected.truncate(5_000);
    expected.resize(9_000, 0);
    assert!(read_all(&*file) == expected, "cut off, then extended with a hole");
    file.set_len(9_000).unwrap();

    file.allocate(12_000).unwrap();
    file.allocate(100).unwrap();
    expected.resize(12_000, 0);
    assert!(read_all(&*file) == expected, "room reads as zeros");
}

fn replacing_conforms(io: &dyn Io, dir: &Path) {
    let path = dir.join("small");
    for contents in [&b"first"[..], b"", b"the third, which is longer"] {
        io.replace(&path, contents).unwrap();
        assert_eq!(io.read_small(&path, 26).unwrap(), contents);
    }
    assert_eq!(kind(io.read_small(&path, 25)), ErrorKind::FileTooLarge);
    assert_eq!(kind(io.read_small(&dir.join("no"), 25)), ErrorKind::NotFound);
    assert!(!io.list(dir).unwrap().iter().any(|name| name.starts_with(".replace-")));

    let before = io.open(&path, OpenMode::Read).unwrap();
    io.replace(&path, b"fourth").unwrap();
    assert_eq!(&read_all(&*before)[..9], b"the third", "an open file is not replaced under it");
    assert_eq!(kind(io.replace(&dir.join("no/file"), b"")), ErrorKind::NotFound);
    assert!(io.replace(&dir.join("a"), b"").is_err(), "a directory is not replaced");
    assert!(!io.list(dir).unwrap().iter().any(|name| name.starts_with(".replace-")));
}

fn locks_conform(io: &dyn Io, dir: &Path) {
    let path = dir.join("LOCK");
    let held = io.lock(&path).unwrap();
    assert_eq!(kind(io.lock(&path)), ErrorKind::WouldBlock);
    let other = io.lock(&dir.join("LOCK2")).unwrap();
    drop(held);
    drop(io.lock(&path).unwrap());
    assert!(io.exists(&path).unwrap());
    drop(other);
    assert_eq!(kind(io.lock(&dir.join("no/LOCK"))), ErrorKind::NotFound);
}

#[test]
fn the_operating_system_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&RealIo, &dir.path().canonicalize().unwrap());
}

#[test]
fn the_simulation_conforms() {
    let io = SimIo::new(1);
    io.create_dir_all(Path::new("/some/dir")).unwrap();
    conforms(&io, Path::new("/some/dir"));
    io.let_files_be_reflinked();
    links_conform(&io, Path::new("/some/dir"));
    conforms(&SimIo::new(2), root());
}

// Power cuts: bytes.

#[test]
fn synced_bytes_survive_every_cut_and_others_need_not() {
    let (io, file) = with_file(b"");
    write(&*file, 0, b"synced");
    file.sync_data().unwrap();
    write(&*file, 6, b" or not");
    assert_eq!(after(&io, Keep::Nothing), b"synced");
    assert_eq!(after(&io, Keep::Everything), b"synced or not");
    for seed in 0..100 {
        let left = after(&io, Keep::Random(seed));
        assert!(left.starts_with(b"synced"), "seed {seed} left {left:?}");
    }
    file.sync_data().unwrap();
    assert_eq!(io.crash_states(), 1);
    assert_eq!(after(&io, Keep::Nothing), b"synced or not");
}

#[test]
fn every_subset_of_unsynced_sectors_is_a_state_and_no_sector_is_torn() {
    let (io, file) = with_file(&[1; 4 * SECTOR]);
    write(&*file, SECTOR as u64 / 2, &[2; 2 * SECTOR]);
    let states = all_after(&io);
    assert_eq!((io.crash_states(), states.len(), io.pending_sectors()), (8, 8, 3));
    let new = io.read_file("/file").unwrap();
    for state in &states {
        for (at, sector) in state.chunks(SECTOR).enumerate() {
            let range = at * SECTOR..(at + 1) * SECTOR;
            assert!(sector == [1; SECTOR] || sector == &new[range], "sector {at} is torn");
        }
    }
    assert!(after(&io, Keep::Nth(0)) == after(&io, Keep::Nothing));
    assert!(after(&io, Keep::Nth(7)) == after(&io, Keep::Everything));
}

#[test]
fn random_cuts_find_every_state_of_a_small_write() {
    let (io, file) = with_file(&[1; 2 * SECTOR]);
    write(&*file, 0, &[2; 2 * SECTOR]);
    let found: BTreeSet<_> = (0..200).map(|seed| after(&io, Keep::Random(seed))).collect();
    assert_eq!(found, all_after(&io));
}

#[test]
fn a_later_write_to_a_sector_is_never_there_without_an_earlier_one() {
    let (io, file) = with_file(&[0; SECTOR]);
    for at in 0..3 {
        write(&*file, at, &[at as u8 + 1]);
    }
    let heads: Vec<_> = all_after(&io).iter().map(|state| state[..3].to_vec()).collect();
    assert_eq!(heads, [[0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 2, 3]]);
}

#[test]
fn an_append_is_left_at_any_length_with_any_of_its_sectors() {
    let (io, file) = with_file(&[1; 100]);
    write(&*file, 100, &[2; 1000]);
    let states = all_after(&io);
    let lengths: BTreeSet<_> = states.iter().map(Vec::len).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [100, 512, 1024, 1100]);
    // Of length 1100: old or new in each of three sectors, the first beginning with old bytes.
    assert_eq!(states.iter().filter(|state| state.len() == 1100).count(), 8);
    let mut lost = vec![1; 100];
    lost.resize(1100, 0);
    assert!(states.contains(&lost), "length without bytes reads as zeros");
}

#[test]
fn what_was_written_behind_a_kept_length_never_shows_up_later() {
    let (io, file) = with_file(&[1; 100]);
    write(&*file, 100, &[2; 300]);
    for state in 0..io.crash_states() {
        let after = io.crash(Keep::Nth(state));
        let file = after.open(Path::new("/file"), OpenMode::ReadWrite).unwrap();
        let len = file.len().unwrap() as usize;
        file.set_len(1000).unwrap();
        assert!(read_all(&*file)[len..] == vec![0; 1000 - len], "state {state}");
    }
}

#[test]
fn a_length_that_only_grows_changes_at_once() {
    let (io, file) = with_file(&[1; 100]);
    file.set_len(200).unwrap();
    assert_eq!((io.crash_states(), all_after(&io).len()), (2, 2));
}

#[test]
fn punches_and_truncations_may_be_undone_sector_by_sector() {
    let (io, file) = with_file(&[1; 3 * SECTOR]);
    file.punch(0, 2 * SECTOR as u64).unwrap();
    assert_eq!(all_after(&io).len(), 4);
    file.sync_data().unwrap();
    file.set_len(2 * SECTOR as u64 + 10).unwrap();
    let lengths: BTreeSet<_> = all_after(&io).iter().map(Vec::len).collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [2 * SECTOR + 10, 3 * SECTOR]);
    assert_eq!(after(&io, Keep::Nothing)[2 * SECTOR..], [1; SECTOR]);
    file.set_len(3 * SECTOR as u64).unwrap();
    let everything = after(&io, Keep::Everything);
    assert_eq!(everything[2 * SECTOR + 9..2 * SECTOR + 12], [1, 0, 0]);
}

#[test]
fn the_state_of_everything_is_what_readers_saw() {
    for seed in 0..200 {
        let (io, file) = with_file(&[7; 3000]);
        let mut random = crash::Random(seed);
        for _ in 0..12 {
            let (offset, len) = (random.below(9000), random.below(3000) + 1);
            match random.below(8) {
                0 => file.set_len(offset).unwrap(),
                1 => file.punch(offset, len).unwrap(),
                2 => file.allocate(offset + 1).unwrap(),
                3 => file.sync_data().unwrap(),
                4 => file.drop_cache().unwrap(),
                _ => write(&*file, offset, &vec![random.below(255) as u8 + 1; len as usize]),
            }
        }
        let seen = read_all(&*file);
        assert!(after(&io, Keep::Everything) == seen, "seed {seed}");
        assert!(after(&io, Keep::Nth(io.crash_states().wrapping_sub(1))) == seen, "seed {seed}");
        file.sync_data().unwrap();
        assert!(after(&io, Keep::Nothing) == seen, "seed {seed}");
    }
}

// Power cuts: names.

#[test]
fn a_name_is_lost_until_its_directory_is_synced_even_if_its_file_was_synced() {
    let io = SimIo::new(1);
    let file = io.open(Path::new("/file"), OpenMode::CreateNew).unwrap();
    write(&*file, 0, b"bytes");
    file.sync_data().unwrap();
    assert_eq!(io.crash(Keep::Nothing).files(), Vec::<PathBuf>::new());
    io.sync_dir(root()).unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"bytes");
}

#[test]
fn a_name_may_be_there_without_the_bytes() {
    let io = SimIo::new(1);
    let file = io.open(Path::new("/file"), OpenMode::CreateNew).unwrap();
    write(&*file, 0, b"bytes");
    io.sync_dir(root()).unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"");
}

#[test]
fn a_removed_name_comes_back_until_its_directory_is_synced() {
    let (io, _file) = with_file(b"back");
    io.remove(Path::new("/file")).unwrap();
    assert!(!io.exists(Path::new("/file")).unwrap());
    assert_eq!(after(&io, Keep::Nothing), b"back");
    assert!(io.crash(Keep::Everything).files().is_empty());
    io.sync_dir(root()).unwrap();
    assert!(io.crash(Keep::Nothing).files().is_empty());
}

#[test]
fn name_operations_are_kept_independently() {
    let io = SimIo::new(1);
    for name in ["/a", "/b", "/c"] {
        io.open(Path::new(name), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(io.crash_states(), 8);
    let left: BTreeSet<_> = (0..8).map(|n| io.crash(Keep::Nth(n)).files()).collect();
    assert_eq!(left.len(), 8);
}

#[test]
fn a_lost_directory_takes_its_files_with_it() {
    let io = SimIo::new(1);
    io.write_file("/a/b/file", b"bytes").unwrap();
    let before = io.calls();
    io.create_dir_all(Path::new("/a/new")).unwrap();
    let calls = io.calls() - before;
    assert_eq!(calls, 3, "a directory, a sync of the one above, and one of the one above that");
    assert!(io.crash(Keep::Nothing).exists(Path::new("/a/new")).unwrap());

    let cut = SimIo::new(1);
    cut.power_off_at_call(1);
    assert!(cut.create_dir_all(Path::new("/a/b")).is_err());
    assert!(!cut.crash(Keep::Nothing).exists(Path::new("/a")).unwrap());
}

#[test]
fn directories_that_are_made_at_the_second_attempt_are_as_durable_as_any() {
    let path = Path::new("/a/b/c");
    for call in 0.. {
        let io = SimIo::new(1);
        io.fail_call(call, Fail::Eio);
        let is_made = io.create_dir_all(path).is_ok();
        io.heal();
        io.create_dir_all(path).unwrap();
        assert!(io.crash(Keep::Nothing).exists(path).unwrap(), "failed at call {call}");
        if is_made {
            break;
        }
    }
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all_wherever_the_power_goes() {
    let path = Path::new("/dir/small");
    let mut outcomes = BTreeSet::new();
    for call in 0..20 {
        let io = SimIo::new(1);
        io.write_file(path, b"old").unwrap();
        io.power_off_at_call(call);
        let done = io.replace(path, b"new contents").is_ok();
        for state in 0..io.crash_states() {
            let left = io.crash(Keep::Nth(state)).read_file(path).unwrap();
            assert!(left == b"new contents" || left == b"old" && !done, "call {call}: {left:?}");
            outcomes.insert((done, left.len()));
        }
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [(false, 3), (false, 12), (true, 12)]);
}

#[test]
fn a_replacement_that_fails_leaves_the_old_contents_and_no_other_file() {
    let path = Path::new("/small");
    for call in 0..4 {
        for fail in [Fail::Eio, Fail::Enospc] {
            let io = SimIo::new(1);
            io.write_file(path, b"old").unwrap();
            io.fail_call(call, fail);
            assert!(io.replace(path, b"new").is_err(), "call {call}");
            assert_eq!(io.files(), [path], "call {call}");
            assert_eq!(io.read_file(path).unwrap(), b"old", "call {call}");
        }
    }
}

// Failing calls.

#[test]
fn a_failed_sync_loses_bytes_that_reading_still_shows_and_the_next_sync_does_not_save() {
    let (io, file) = with_file(b"durable");
    write(&*file, 0, b"written");
    io.fail_next(CallKind::Sync, Fail::Eio);
    assert!(file.sync_data().is_err());
    assert_eq!(read_all(&*file), b"written");
    file.sync_data().unwrap();
    assert_eq!(read_all(&*file), b"written");
    for keep in [Keep::Nothing, Keep::Everything, Keep::Random(3)] {
        assert_eq!(after(&io, keep), b"durable");
    }
    file.drop_cache().unwrap();
    assert_eq!(read_all(&*file), b"durable");
    write(&*file, 0, b"again");
    file.sync_data().unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"againle");
}

#[test]
fn a_failed_sync_of_an_append_leaves_zeros_under_the_new_length() {
    let (io, file) = with_file(b"");
    write(&*file, 0, &[1; BLOCK]);
    io.fail_next(CallKind::Sync, Fail::Enospc);
    assert!(file.sync_data().is_err());
    assert!(after(&io, Keep::Nothing).is_empty());
    assert!(after(&io, Keep::Everything) == [0; BLOCK], "a journal keeps the length");
    write(&*file, BLOCK as u64, &[2; BLOCK]);
    file.drop_cache().unwrap();
    let expected = [vec![0; BLOCK], vec![2; BLOCK]].concat();
    assert!(read_all(&*file) == expected, "the dirty page stays, the clean one goes");
    file.sync_data().unwrap();
    assert!(after(&io, Keep::Nothing) == expected);
}

#[test]
fn a_failed_sync_may_keep_some_of_the_writes() {
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let io = SimIo::new(seed);
        io.let_failed_syncs_keep_some();
        io.write_file("/file", &[1; 2 * SECTOR]).unwrap();
        let file = io.open(Path::new("/file"), OpenMode::ReadWrite).unwrap();
        write(&*file, 0, &[2; 2 * SECTOR]);
        io.fail_next(CallKind::Sync, Fail::Eio);
        assert!(file.sync_data().is_err());
        assert!(read_all(&*file) == [2; 2 * SECTOR]);
        let left = after(&io, Keep::Nothing);
        assert!(left == after(&io, Keep::Everything), "nothing is pending any more");
        kept.insert((left[0], left[SECTOR]));
    }
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(1, 1), (1, 2), (2, 1), (2, 2)]);
}

#[test]
fn an_interrupted_call_has_done_nothing() {
    let (io, file) = with_file(b"old");
    write(&*file, 0, b"new");
    io.fail_next(CallKind::Sync, Fail::Eintr);
    assert_eq!(kind(file.sync_data()), ErrorKind::Interrupted);
    file.sync_data().unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"new");
}

#[test]
fn short_reads_and_writes_move_what_they_say() {
    let (io, file) = with_file(b"0123456789");
    io.fail_next(CallKind::Write, Fail::Short(3));
    let buffers = [IoSlice::new(b"ab"), IoSlice::new(b"cdef")];
    assert_eq!(file.write_vectored_at(&buffers, 0).unwrap(), 3);
    io.fail_next(CallKind::Read, Fail::Short(4));
    let (mut first, mut second) = ([0; 3], [0; 3]);
    let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(file.read_vectored_at(&mut buffers, 0).unwrap(), 4);
    assert_eq!((&first, &second), (b"abc", b"3\0\0"));
    assert_eq!(read_all(&*file), b"abc3456789");
}

#[test]
fn faults_hit_by_number_by_kind_by_place_once_or_from_then_on() {
    let (io, file) = with_file(b"x");
    let next = io.calls();
    io.fail_call(next + 1, Fail::Eio);
    assert!(file.len().is_ok() && file.len().is_err() && file.len().is_ok());

    io.fail(Fault::nth(CallKind::Sync, 2, Fail::Eio).lasting());
    assert!(file.sync_data().is_ok() && file.sync_data().is_ok());
    assert!(file.sync_data().is_err() && file.sync_data().is_err());
    assert!(file.len().is_ok());
    io.heal();
    assert!(file.sync_data().is_ok());

    io.write_file("/b/file", b"").unwrap();
    let other = io.open(Path::new("/b/file"), OpenMode::ReadWrite).unwrap();
    io.fail(Fault::next(CallKind::Punch, Fail::Unsupported).under("/b").lasting());
    assert!(file.punch(0, 1).is_ok());
    assert_eq!(kind(other.punch(0, 1)), ErrorKind::Unsupported);

    io.fail(Fault::call(io.calls() + 1, Fail::Enospc).lasting());
    assert!(file.len().is_ok());
    assert_eq!(kind(file.len()), ErrorKind::StorageFull);
    assert_eq!(kind(io.list(root())), ErrorKind::StorageFull);
}

#[test]
fn without_power_every_call_fails_and_nothing_changes() {
    let (io, file) = with_file(b"x");
    write(&*file, 0, b"y");
    io.power_off();
    assert!(io.is_off());
    assert!(file.sync_data().is_err() && file.write_vectored_at(&[], 0).is_err());
    assert!(io.list(root()).is_err() && io.remove(Path::new("/file")).is_err());
    assert!(io.create_dir_all(root()).is_err() && io.create_dir_all(Path::new("/a")).is_err());
    assert!(io.random_id().is_err() && io.lock(Path::new("/LOCK")).is_err());
    assert_eq!(after(&io, Keep::Nothing), b"x");
    assert_eq!(after(&io, Keep::Everything), b"y");
}

#[test]
fn the_power_goes_at_the_named_call() {
    let (io, file) = with_file(b"old");
    io.power_off_at_call(io.calls() + 1);
    write(&*file, 0, b"new");
    assert!(file.sync_data().is_err() && file.len().is_err());
    assert_eq!(after(&io, Keep::Nothing), b"old");
    assert_eq!(after(&io, Keep::Everything), b"new");
}

// Room.

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_and_no_more() {
    let io = SimIo::new(1);
    io.write_file("/a/file", b"").unwrap();
    io.write_file("/b/file", b"").unwrap();
    io.set_capacity("/a", 3 * BLOCK as u64);
    let file = io.open(Path::new("/a/file"), OpenMode::ReadWrite).unwrap();
    let count = file.write_vectored_at(&[IoSlice::new(&[1; 4 * BLOCK])], 10).unwrap();
    assert_eq!(count, 3 * BLOCK - 10);
    assert_eq!(io.available_space(Path::new("/a/file")).unwrap(), 0);
    let more = file.write_vectored_at(&[IoSlice::new(b"x")], 3 * BLOCK as u64);
    assert_eq!(kind(more), ErrorKind::StorageFull);
    assert_eq!(kind(file.allocate(4 * BLOCK as u64)), ErrorKind::StorageFull);
    write(&*file, 0, &[2; 3 * BLOCK]);
    file.set_len(100 * BLOCK as u64).unwrap();

    let other = io.open(Path::new("/b/file"), OpenMode::ReadWrite).unwrap();
    write(&*other, 0, &[1; 4 * BLOCK]);
    file.set_len(BLOCK as u64 + 1).unwrap();
    assert_eq!(io.available_space(Path::new("/a")).unwrap(), BLOCK as u64);
    file.set_len(0).unwrap();
    assert_eq!(io.available_space(Path::new("/a")).unwrap(), 3 * BLOCK as u64);
    write(&*file, 0, &[1; 3 * BLOCK]);
    let left = io.crash(Keep::Everything);
    assert_eq!(left.available_space(Path::new("/a")).unwrap(), 0, "capacities outlive a crash");
}

#[test]
fn punching_and_the_last_close_of_a_removed_file_give_room_back() {
    let io = SimIo::new(1);
    io.write_file("/a/file", &[1; 3 * BLOCK]).unwrap();
    io.set_capacity("/a", 4 * BLOCK as u64);
    let room = || io.available_space(Path::new("/a")).unwrap() / BLOCK as u64;
    let file = io.open(Path::new("/a/file"), OpenMode::ReadWrite).unwrap();
    assert_eq!(room(), 1);
    file.punch(100, 2 * BLOCK as u64).unwrap();
    assert_eq!(room(), 2, "only the one block that is punched whole");
    file.allocate(4 * BLOCK as u64).unwrap();
    assert_eq!(room(), 0);
    io.remove(Path::new("/a/file")).unwrap();
    assert_eq!(room(), 0);
    drop(file);
    assert_eq!(room(), 4);
}

#[test]
fn room_comes_and_goes_with_the_state_that_a_crash_leaves() {
    let io = SimIo::new(1);
    io.write_file("/file", &[1; 4 * BLOCK]).unwrap();
    io.set_capacity("/", 8 * BLOCK as u64);
    let room = |io: &SimIo| io.available_space(root()).unwrap() / BLOCK as u64;
    let file = io.open(Path::new("/file"), OpenMode::ReadWrite).unwrap();
    file.punch(0, 3 * BLOCK as u64).unwrap();
    assert_eq!((room(&io.crash(Keep::Nothing)), room(&io.crash(Keep::Everything))), (4, 7));
    file.sync_data().unwrap();
    file.allocate(6 * BLOCK as u64).unwrap();
    assert_eq!((room(&io.crash(Keep::Nothing)), room(&io.crash(Keep::Everything))), (7, 2));

    io.remove(Path::new("/file")).unwrap();
    io.sync_dir(root()).unwrap();
    assert_eq!((room(&io), room(&io.kill())), (2, 8), "handles die with their process");
}

// Everything else.

#[test]
fn a_killed_process_leaves_its_bytes_readable_and_not_durable() {
    let (io, file) = with_file(b"synced");
    write(&*file, 6, b" not");
    let held = io.lock(Path::new("/LOCK")).unwrap();
    let restarted = io.kill();
    let _lock = restarted.lock(Path::new("/LOCK")).expect("locks die with their process");
    assert_eq!(restarted.read_file("/file").unwrap(), b"synced not");
    assert_eq!(after(&restarted, Keep::Nothing), b"synced");
    assert_eq!(restarted.crash(Keep::Nothing).files(), [Path::new("/file")]);
    drop(held);
}

#[test]
fn a_crash_leaves_the_machine_that_it_was_taken_from_alone() {
    let (io, file) = with_file(b"old");
    write(&*file, 0, b"new");
    let crashed = io.crash(Keep::Nothing);
    crashed.write_file("/file", b"else").unwrap();
    file.sync_data().unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"new");
    assert_eq!(after(&crashed, Keep::Nothing), b"else");
}

#[test]
fn the_same_seed_gives_the_same_machine() {
    let run = |seed| {
        let io = SimIo::new(seed);
        io.replace(Path::new("/small"), b"contents").unwrap();
        let left = io.crash(Keep::Random(seed)).files();
        (io.random_id().unwrap(), left, io.calls())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn calls_and_bytes_are_counted() {
    let (io, file) = with_file(b"");
    io.reset_counters();
    let calls = io.calls();
    write(&*file, 0, &[0; 1000]);
    write(&*file, 0, &[0; 24]);
    file.sync_data().unwrap();
    read_exact_at(&*file, &mut [0; 100], 0).unwrap();
    io.fail_next(CallKind::Sync, Fail::Eio);
    assert!(file.sync_data().is_err());
    let counters = io.counters();
    assert_eq!((counters.of(CallKind::Write), counters.bytes_written), (2, 1024));
    assert_eq!((counters.of(CallKind::Read), counters.bytes_read), (1, 100));
    assert_eq!((counters.of(CallKind::Sync), counters.all()), (2, 5));
    assert_eq!(io.calls() - calls, 5);
}

#[test]
fn tests_may_change_files_behind_the_machines_back() {
    let (io, file) = with_file(b"right");
    io.write_file("/file", b"wrong").unwrap();
    assert_eq!(read_all(&*file), b"wrong");
    io.open(Path::new("/other"), OpenMode::CreateNew).unwrap();
    io.write_file("/deep/in/a/tree", b"x").unwrap();
    io.remove_file("/file").unwrap();
    assert_eq!(io.crash(Keep::Nothing).files(), [Path::new("/deep/in/a/tree")]);
    assert_eq!(io.files(), [Path::new("/deep/in/a/tree"), Path::new("/other")]);
}

#[test]
fn threads_may_share_a_machine() {
    let (io, file) = with_file(b"");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (io, file) = (&io, &file);
            scope.spawn(move || {
                for i in 0..50 {
                    write(&**file, (u64::from(thread) * 50 + i) * 10, &[thread + 1; 10]);
                    drop(io.open(Path::new("/file"), OpenMode::Read).unwrap());
                    file.sync_data().unwrap();
                }
            });
        }
    });
    let bytes = after(&io, Keep::Nothing);
    assert!(bytes.chunks(500).zip(1..).all(|(part, thread)| part == [thread; 500]));
}

#[test]
fn a_witness_sees_the_machine_before_each_call_whatever_comes_of_it() {
    let (io, file) = with_file(b"");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    io.witness(move |moment| {
        let whole = moment.fork().crash(Keep::Everything).read_file("/file").unwrap();
        notes.lock().unwrap().push((moment.call, moment.kind, whole));
    });
    let first = io.calls();
    write(&*file, 0, b"me");
    io.fail_next(CallKind::Sync, Fail::Eio);
    file.sync_data().unwrap_err();
    write(&*file, 2, b"dia");
    io.dismiss_witness();
    file.sync_data().unwrap();
    let expected = [
        (first, CallKind::Write, b"".to_vec()),
        (first + 1, CallKind::Sync, b"me".to_vec()),
        (first + 2, CallKind::Write, b"\0\0".to_vec()),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_fork_is_as_little_durable_as_the_machine_was_and_has_no_witness() {
    let (io, file) = with_file(b"old");
    let forks = Arc::new(Mutex::new(Vec::new()));
    let kept = forks.clone();
    io.witness(move |moment| kept.lock().unwrap().push(moment.fork()));
    write(&*file, 0, b"new");
    file.sync_data().unwrap();
    let forks = std::mem::take(&mut *forks.lock().unwrap());
    assert_eq!(all_after(&forks[0]), [b"old".to_vec()].into());
    assert_eq!(all_after(&forks[1]), [b"old".to_vec(), b"new".to_vec()].into());
    assert_eq!(all_after(&io), [b"new".to_vec()].into());
    let fork = forks[1].open(Path::new("/file"), OpenMode::ReadWrite).unwrap();
    write(&*fork, 0, b"more");
    assert_eq!(forks[1].calls(), 2);
}

#[test]
fn a_sync_that_lies_makes_nothing_durable() {
    let (io, file) = with_file(b"old");
    io.let_syncs_lie();
    write(&*file, 0, b"new");
    file.sync_data().unwrap();
    io.sync_dir(root()).unwrap();
    assert_eq!(after(&io, Keep::Nothing), b"old");
    assert_eq!(after(&io, Keep::Everything), b"new");
}
