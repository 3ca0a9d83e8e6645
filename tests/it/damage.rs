//! Damage: whatever becomes of a store's bytes, reading gives what was written or an error that
//! names the place; with `accept_loss` only what was hit is lost.
//!
//! `KOGIA_TEST_EVERY_BYTE=1` takes every byte where a sample is taken by default; that is hours.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kogia::format::chunk::{self, CHUNK_BYTES, ChunkHeader, ChunkKind, ChunkPlace, HEADER_BYTES};
use kogia::{Error, ErrorKind, Options, PutOptions, Result, Seq, Store};

use crate::chart::{Chart, Held, Place, names};
use crate::sample::{self, CLOSED, CRASHED, Image, options};

const CHUNK: u64 = CHUNK_BYTES as u64;

/// How a damaged store is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Open,
    OpenAccepting,
    Rebuild,
    RebuildAccepting,
}

const WAYS: [Way; 4] = [Way::Open, Way::OpenAccepting, Way::Rebuild, Way::RebuildAccepting];

impl Way {
    fn accepts_loss(self) -> bool {
        matches!(self, Way::OpenAccepting | Way::RebuildAccepting)
    }

    fn open(self, root: &Path) -> Result<Store> {
        let options = options(root).accept_loss(self.accepts_loss());
        match self {
            Way::Open | Way::OpenAccepting => options.open(sample::home(root)),
            Way::Rebuild | Way::RebuildAccepting => options.rebuild(sample::home(root)),
        }
    }
}

/// What damage may cost.
#[derive(Default, Clone, Debug)]
struct Hit {
    /// Keys whose value may not be readable.
    values: BTreeSet<String>,
    /// Keys of which records may be lost where damage is reported.
    records: BTreeSet<String>,
    /// Keys of which records may be lost as a torn end: no later chain vouches for them.
    torn: BTreeSet<String>,
}

impl Hit {
    fn of(chart: &Chart, places: impl IntoIterator<Item = Place>) -> Self {
        let mut hit = Hit::default();
        for place in places {
            let Some(held) = chart.chunks.get(&place) else { continue };
            hit.values.extend(held.values.iter().chain(&held.segments).cloned());
            hit.records.extend(held.records.iter().cloned());
            if !held.witnessed {
                let of_track = chart.chunks.range((place.0, 0)..=(place.0, u32::MAX));
                for (_, end) in of_track.filter(|(_, held)| !held.witnessed) {
                    hit.torn.extend(end.records.iter().chain(&end.segments).cloned());
                }
            }
        }
        hit
    }
}

/// Copies the image, damages the copy, opens it in one way, and reads everything.
fn examine(image: &Image, way: Way, hit: &Hit, damage: impl FnOnce(&Path)) {
    let copy = image.copy();
    damage(copy.path());
    match way.open(copy.path()) {
        Ok(store) => read_all(image, &store, way, hit),
        Err(error) => {
            assert!(!way.accepts_loss(), "{way:?}: refused in spite of accept_loss: {error}");
            let kinds = [ErrorKind::Damaged, ErrorKind::Corruption];
            assert!(kinds.contains(&error.kind()), "{way:?}: {error:?}");
            assert_names_place(&error);
        }
    }
}

fn read_all(image: &Image, store: &Store, way: Way, hit: &Hit) {
    let damage = &store.recovery().damage;
    assert!(damage.is_empty() || way.accepts_loss(), "{way:?}: {damage:?} was passed over");
    let lost = if damage.is_empty() { &hit.torn } else { &hit.records };
    let lost = |key: &str| lost.contains(key) || hit.torn.contains(key);
    for (key, versions) in &image.history {
        let last = versions.last().expect("a version");
        match store.get(key) {
            Ok(found) if found == *last => {}
            Ok(found) => {
                assert!(lost(key), "{way:?}: {key} reads wrong, and was not hit by {hit:?}");
                assert!(found.is_none() || versions.contains(&found), "{way:?}: {key} reads wrong");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{way:?}: {key}: {error}");
                assert_names_place(&error);
                let hit = hit.values.contains(key) || hit.records.contains(key) || lost(key);
                assert!(hit, "{way:?}: {key} was not hit, and fails: {error}");
            }
        }
    }
    for key in sample::keys(store) {
        let there = image.history[&key].last().is_some_and(Option::is_some);
        assert!(there || lost(&key), "{way:?}: {key} is back");
    }
}

/// An error about damage says which file, track or segment it is about.
fn assert_names_place(error: &Error) {
    let text = error.to_string();
    let named = error.path().is_some() || error.track().is_some() || text.contains("segment ");
    assert!(named, "no place in: {text}");
}

fn every_byte() -> bool {
    std::env::var_os("KOGIA_TEST_EVERY_BYTE").is_some()
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << (at % 8);
    file.write_all_at(&byte, at).unwrap();
}

/// Flips one bit of every byte of every track, one by one, under an open store; reads the keys
/// that have bytes there, and at each chunk all the others.
fn flip_under_open_store(mapped: bool, stride: usize) {
    let copy = CLOSED.copy();
    let chart = Chart::of(copy.path());
    let store = options(copy.path()).map_tracks(mapped).open(sample::home(copy.path())).unwrap();
    let nothing = Held::default();
    for path in sample::tracks(copy.path()) {
        let len = fs::metadata(&path).unwrap().len();
        for at in (0..len).step_by(stride) {
            let place = (names(&path).1, (at / CHUNK) as u32);
            let held = chart.chunks.get(&place).unwrap_or(&nothing);
            let covered = ((at % CHUNK) as usize) < held.covered;
            flip(&path, at);
            for key in &held.values {
                let read = store.get(key);
                if covered {
                    let error = read.expect_err("a bad checksum");
                    assert_eq!((error.kind(), error.track()), (ErrorKind::Corruption, Some(place)));
                } else {
                    assert!(read.unwrap() == *CLOSED.history[key].last().unwrap(), "{key}");
                }
            }
            if at % CHUNK < stride as u64 {
                for (key, value) in CLOSED.live().filter(|(key, _)| !held.values.contains(*key)) {
                    assert!(store.get(key).unwrap().as_deref() == Some(value), "{key}");
                }
            }
            flip(&path, at);
        }
    }
    CLOSED.check(&store);
}

#[test]
fn a_flipped_byte_in_any_track_fails_only_the_keys_it_hits_and_names_the_chunk() {
    flip_under_open_store(false, 1);
}

#[test]
fn a_flipped_byte_under_a_map_fails_only_the_keys_it_hits_and_names_the_chunk() {
    flip_under_open_store(true, if every_byte() { 1 } else { 7 });
}

/// Damages the chunks of an image's tracks in turn: those with directories, opened in the way that
/// is given, and a share of all, opened in all ways by turns.
fn damage_each_chunk(image: &Image, way: Way, damage: impl Fn(&Path, u32, usize)) {
    let chart = Chart::of(&image.path());
    for (turn, (path, (track, chunk))) in chunks_of(image, 0).into_iter().enumerate() {
        let inside = path.strip_prefix(image.path()).unwrap();
        let held = chart.chunks.get(&(track, chunk)).cloned().unwrap_or_default();
        let is_head = chunk == 0 || !held.records.is_empty() || !held.segments.is_empty();
        let hit = Hit::of(&chart, [(track, chunk)]);
        let mut ways = if every_byte() { WAYS.to_vec() } else { Vec::new() };
        if is_head {
            ways.push(way);
        }
        if turn % 3 == 0 {
            ways.push(WAYS[turn / 3 % 4]);
        }
        for way in ways {
            examine(image, way, &hit, |root| damage(&root.join(inside), chunk, turn));
        }
    }
}

fn flip_in_chunk(path: &Path, chunk: u32, turn: usize) {
    flip(path, u64::from(chunk) * CHUNK + (turn * 5 % 40) as u64);
}

#[test]
fn a_flipped_byte_in_any_chunk_of_a_closed_store_costs_only_what_it_hits() {
    damage_each_chunk(&CLOSED, Way::RebuildAccepting, flip_in_chunk);
}

#[test]
fn a_flipped_byte_in_any_chunk_of_a_crashed_store_costs_only_what_it_hits() {
    damage_each_chunk(&CRASHED, Way::OpenAccepting, flip_in_chunk);
}

#[test]
fn a_zeroed_chunk_costs_only_what_was_in_it() {
    damage_each_chunk(&CRASHED, Way::Open, |path, chunk, _| {
        write_chunk(path, chunk, &[0; CHUNK_BYTES]);
    });
}

/// Damages each whole track in turn, of both images, opened in every way.
fn damage_each_track(
    images: &[&Image],
    hit: impl Fn(&Chart, Place) -> Hit,
    damage: impl Fn(&Path),
) {
    for image in images {
        let chart = Chart::of(&image.path());
        for path in sample::tracks(&image.path()) {
            let inside = path.strip_prefix(image.path()).unwrap();
            let hit = hit(&chart, (names(&path).1, 0));
            for way in WAYS {
                examine(image, way, &hit, |root| damage(&root.join(inside)));
            }
        }
    }
}

/// All that is in a track from one of its chunks on. With it go the chains that vouched for the one
/// before them.
fn from_chunk(chart: &Chart, (track, chunk): Place) -> Hit {
    let end = (track, u32::MAX);
    let mut hit = Hit::of(chart, chart.chunks.range((track, chunk)..=end).map(|(place, _)| *place));
    let chain = chart.chunks.get(&(track, chunk)).map_or(chunk, |held| held.chain);
    for (_, held) in chart.chunks.range((track, chain)..=end).filter(|(_, held)| !held.marked) {
        hit.torn.extend(held.records.iter().chain(&held.segments).cloned());
    }
    hit
}

/// Without index, nothing tells a track that was lost from one that was unlinked.
fn of_missing_track(chart: &Chart, place: Place) -> Hit {
    let mut hit = from_chunk(chart, place);
    hit.torn.extend(hit.records.iter().chain(&hit.values).cloned());
    hit
}

#[test]
fn a_missing_track_costs_only_what_was_in_it() {
    damage_each_track(&[&CLOSED, &CRASHED], of_missing_track, |path| {
        fs::remove_file(path).unwrap()
    });
}

#[test]
fn a_track_replaced_by_an_empty_file_costs_only_what_was_in_it() {
    damage_each_track(&[&CLOSED, &CRASHED], from_chunk, |path| fs::write(path, b"").unwrap());
}

#[test]
fn garbage_behind_a_track_costs_nothing() {
    for (image, garbage) in [(&*CLOSED, 5000), (&*CRASHED, 100)] {
        let append = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.extend(sample::value(1, garbage));
            fs::write(path, bytes).unwrap();
        };
        damage_each_track(&[image], |_, _| Hit::default(), append);
    }
}

/// Truncates each track at every byte of its last two chains, or a sample of them, and at every
/// chunk before.
fn truncate_each_track(image: &Image, ways: &[Way]) {
    let chart = Chart::of(&image.path());
    let mut turn = 0;
    for path in sample::tracks(&image.path()) {
        let inside = path.strip_prefix(image.path()).unwrap();
        let (track, len) = (names(&path).1, fs::metadata(&path).unwrap().len());
        let dense_from = len.saturating_sub(2 * CHUNK);
        for cut in 0..len {
            let dense = cut > dense_from && (every_byte() || cut % 3989 == 0);
            if cut % CHUNK != 0 && !dense {
                continue;
            }
            turn += 1;
            let hit = from_chunk(&chart, (track, (cut / CHUNK) as u32));
            examine(image, ways[turn % ways.len()], &hit, |root| {
                let file = OpenOptions::new().write(true).open(root.join(inside)).unwrap();
                file.set_len(cut).unwrap();
            });
        }
    }
}

#[test]
fn a_truncated_track_of_a_closed_store_costs_only_what_was_cut_off() {
    truncate_each_track(&CLOSED, &WAYS);
}

#[test]
fn a_truncated_track_of_a_crashed_store_costs_only_what_was_cut_off() {
    truncate_each_track(&CRASHED, &[Way::Open, Way::OpenAccepting, Way::Open]);
}

/// The chunks of all tracks from number `first` on, with the tracks they are in.
fn chunks_of(image: &Image, first: u32) -> Vec<(PathBuf, Place)> {
    let chunks = |path: &Path| first..(fs::metadata(path).unwrap().len() / CHUNK) as u32;
    let all = sample::tracks(&image.path());
    let all = all.into_iter().flat_map(|path| {
        let places: Vec<_> = chunks(&path).map(|chunk| (names(&path).1, chunk)).collect();
        places.into_iter().map(move |place| (path.clone(), place))
    });
    all.collect()
}

fn read_chunk(path: &Path, chunk: u32) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK_BYTES];
    let file = fs::File::open(path).unwrap();
    file.read_exact_at(&mut bytes, u64::from(chunk) * CHUNK).unwrap();
    bytes
}

fn write_chunk(path: &Path, chunk: u32, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, u64::from(chunk) * CHUNK).unwrap();
}

/// A body chunk that belongs to its place, but to an earlier chain: what a lost write leaves.
#[test]
fn a_stale_chunk_of_an_earlier_chain_is_not_taken_for_a_later_one() {
    damage_each_chunk(&CRASHED, Way::Open, |path, chunk, _| {
        let (store, track) = names(path);
        let place = ChunkPlace { store, track, chunk };
        let mut bytes = read_chunk(path, chunk);
        let Ok((header, _)) = chunk::open(&bytes, place) else { return };
        if header.kind != ChunkKind::Body {
            return;
        }
        bytes[HEADER_BYTES] ^= 1;
        ChunkHeader { seq: Seq(header.seq.0 - 1), ..header }.seal_whole(&mut bytes, place);
        write_chunk(path, chunk, &bytes);
    });
}

#[test]
fn two_swapped_chunks_cost_only_what_was_in_them() {
    let chart = Chart::of(&CLOSED.path());
    let chunks = chunks_of(&CLOSED, 1);
    for (turn, pair) in chunks.windows(8).step_by(5).enumerate() {
        let ((first, one), (second, other)) = (&pair[0], &pair[7 - turn % 7]);
        let hit = Hit::of(&chart, [*one, *other]);
        examine(&CLOSED, WAYS[turn % 4], &hit, |root| {
            let path = |path: &Path| root.join(path.strip_prefix(CLOSED.path()).unwrap());
            let (bytes, others) = (read_chunk(first, one.1), read_chunk(second, other.1));
            write_chunk(&path(first), one.1, &others);
            write_chunk(&path(second), other.1, &bytes);
        });
    }
}

/// The crashed image is another store that wrote the same: its chunks are like those of the closed
/// one but for the store's id.
#[test]
fn a_chunk_of_another_store_is_not_taken_for_one_of_this() {
    let chart = Chart::of(&CLOSED.path());
    let foreign = sample::tracks(&CRASHED.path());
    for (turn, (path, place)) in chunks_of(&CLOSED, 1).into_iter().step_by(5).enumerate() {
        let like = |other: &&PathBuf| other.file_name() == path.file_name();
        let Some(other) = foreign.iter().find(like) else { continue };
        if fs::metadata(other).unwrap().len() <= u64::from(place.1) * CHUNK {
            continue;
        }
        let bytes = read_chunk(other, place.1);
        let inside = path.strip_prefix(CLOSED.path()).unwrap();
        examine(&CLOSED, WAYS[turn % 4], &Hit::of(&chart, [place]), |root| {
            write_chunk(&root.join(inside), place.1, &bytes);
        });
    }
}

/// Flips one bit of a small file's bytes, and expects the store to be whole all the same, or an
/// error that names the file and that `accept_loss` passes over.
fn flip_small_file(name: &str, is_vital: bool) {
    let len = fs::metadata(CLOSED.path().join(name)).unwrap().len();
    let stride = if every_byte() { 1 } else { 13 };
    for at in (0..len).step_by(stride) {
        for way in [WAYS[at as usize % 4], WAYS[(at as usize + 1) % 4]] {
            let copy = CLOSED.copy();
            flip(&copy.path().join(name), at);
            match way.open(copy.path()) {
                Ok(store) => CLOSED.check(&store),
                Err(error) => {
                    assert!(is_vital && !way.accepts_loss(), "{way:?}: {error}");
                    assert_eq!(error.path(), Some(&*copy.path().join(name)), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_meta_costs_nothing() {
    flip_small_file("home/META", false);
}

#[test]
fn a_flipped_byte_in_a_disks_identity_is_named_and_made_good_with_accept_loss() {
    flip_small_file("a/DISK", true);
}

#[test]
fn a_lost_disks_identity_is_named_and_made_good_with_accept_loss() {
    for way in WAYS {
        let copy = CLOSED.copy();
        fs::remove_file(copy.path().join("b/DISK")).unwrap();
        match way.open(copy.path()) {
            Ok(store) => CLOSED.check(&store),
            Err(error) => {
                assert!(!way.accepts_loss(), "{way:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::Disk);
                assert_eq!(error.path(), Some(&*copy.path().join("b")));
            }
        }
    }
}

#[test]
fn contents_of_lock_and_reserve_do_not_matter() {
    let copy = CLOSED.copy();
    fs::write(copy.path().join("home/LOCK"), b"rubbish").unwrap();
    flip(&copy.path().join("home/reserve"), 1000);
    CLOSED.check(&sample::open(copy.path()).unwrap());
    for name in ["home/LOCK", "home/reserve"] {
        let copy = CLOSED.copy();
        fs::remove_file(copy.path().join(name)).unwrap();
        CLOSED.check(&sample::open(copy.path()).unwrap());
    }
}

/// Every file of the index, at a sample of its bytes.
#[test]
fn a_flipped_byte_in_the_index_never_gives_wrong_data_and_a_rebuild_makes_it_good() {
    let index = CLOSED.path().join("home/index");
    for (turn, path) in sample::files(&index).into_iter().enumerate() {
        let inside = path.strip_prefix(CLOSED.path()).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        // RocksDB reads neither its own log nor the options it saved.
        let name = path.file_name().unwrap().to_str().unwrap();
        let samples = if name.starts_with("LOG") || name.starts_with("OPTIONS") { 1 } else { 3 };
        let step = if every_byte() { 1 } else { (len / samples).max(1) };
        for at in (turn as u64 % step..len).step_by(step as usize) {
            let copy = CLOSED.copy();
            flip(&copy.path().join(inside), at);
            match sample::open(copy.path()) {
                Ok(store) => read_with_damaged_index(&store),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{name}, byte {at}: {error}");
                    assert_names_place(&error);
                    CLOSED.check(&Way::Rebuild.open(copy.path()).unwrap());
                }
            }
        }
    }
}

fn read_with_damaged_index(store: &Store) {
    for (key, versions) in &CLOSED.history {
        match store.get(key) {
            Ok(found) => assert!(found == *versions.last().unwrap(), "{key} reads wrong"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{key}: {error}");
                assert_names_place(&error);
            }
        }
    }
}

/// Symptom: one rotten chunk cost all keys of a batch, also those in its other directory chunks.
/// Cause: a scan went on from a bad first chunk to the next chain. Rule: each directory chunk
/// decodes alone, so that a bad one costs only the keys in it.
#[test]
fn a_rotten_first_directory_chunk_costs_only_the_keys_in_it() {
    let chart = Chart::of(&CLOSED.path());
    let recorded = |key: &str| {
        let (place, _) = chart.chunks.iter().find(|(_, held)| held.records.contains(key)).unwrap();
        *place
    };
    let (first, last) = (sample::batch_key(0), sample::batch_key(69));
    let (track, chunk) = recorded(&first);
    assert_eq!((track, chunk + 1), recorded(&last));

    let copy = CLOSED.copy();
    let path = sample::tracks(copy.path()).into_iter().find(|path| names(path).1 == track).unwrap();
    flip(&path, u64::from(chunk) * CHUNK + 1000);
    let store = Way::RebuildAccepting.open(copy.path()).unwrap();
    assert_eq!(store.get(first).unwrap(), None);
    assert_eq!(store.get(&last).unwrap(), CLOSED.history[&last][0]);
}

/// Symptom: after an active track had lost its end and the loss was accepted, what was written next
/// was gone after a crash. Cause: the track was gone on with below what the index had of it, and
/// replay began behind. Rule: a track that lost its end is sealed.
#[test]
fn writes_after_an_accepted_truncation_survive_a_crash() {
    let copy = CLOSED.copy();
    for path in sample::tracks(copy.path()) {
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(fs::metadata(&path).unwrap().len() - CHUNK).unwrap();
    }
    let store = Way::OpenAccepting.open(copy.path()).unwrap();
    assert!(!store.recovery().damage.is_empty());
    for i in 0..4 {
        store.put(format!("after/{i}"), sample::value(i, 3000)).unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    sample::copy_tree(copy.path(), crashed.path());
    let store = sample::open(crashed.path()).unwrap();
    for i in 0..4 {
        assert!(store.get(format!("after/{i}")).unwrap() == Some(sample::value(i, 3000)), "{i}");
    }
}

/// Symptom: verifying a truncated track named up to 64 chunks before its end as bad, too. Cause: they
/// were read together with what is gone. Rule: only what was hit is named.
#[test]
fn verifying_names_where_a_truncated_track_ends_and_only_the_keys_behind() {
    let chart = Chart::of(&CLOSED.path());
    let copy = CLOSED.copy();
    let path = sample::tracks(copy.path()).remove(0);
    let (track, cut) = (names(&path).1, 10);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(cut * CHUNK).unwrap();
    let store = sample::open(copy.path()).unwrap();
    let problems = store.verify(&kogia::VerifyOptions::default()).unwrap().problems;
    let end = format!("track {track}, chunk {cut}");
    assert!(problems.iter().any(|problem| problem.place == end), "{problems:?}");
    let hit = from_chunk(&chart, (track, cut as u32));
    for problem in &problems {
        let key = problem.key.as_ref().map(|key| String::from_utf8(key.clone()).unwrap());
        assert!(key.is_none_or(|key| hit.values.contains(&key)), "{problem}");
        let before = |chunk| problem.place == format!("track {track}, chunk {chunk}");
        assert!(!(0..cut).any(before), "{problem}");
    }
}

/// Symptom: half of a chain was applied, and nobody said so: a put that did not decode was passed over,
/// and the deletes behind it counted. Cause: only chunks that did not verify were named. Rule: a record
/// that does not decode is damage, however good its chunk's checksum.
#[test]
fn a_record_that_does_not_decode_is_named_although_its_chunk_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put("before", "1").unwrap();
    store.put("mangled", "2").unwrap();
    let id = store.id();
    store.close().unwrap();
    let path = sample::tracks(dir.path()).remove(0);
    let place = ChunkPlace { store: id, track: names(&path).1, chunk: 2 };
    let mut chunk = read_chunk(&path, place.chunk);
    let (header, payload) = chunk::open(&chunk, place).unwrap();
    let key = payload.windows(7).position(|bytes| bytes == b"mangled").unwrap();
    // What kind of record it is stands before the key's space and length.
    chunk[HEADER_BYTES + key - 3] = 99;
    header.seal_whole(&mut chunk, place);
    write_chunk(&path, place.chunk, &chunk);

    let refused = Options::new().rebuild(dir.path()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    let store = Options::new().accept_loss(true).rebuild(dir.path()).unwrap();
    assert_eq!(store.recovery().damage.len(), 1);
    assert_eq!(store.get("before").unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get("mangled").unwrap(), None);
}

/// Symptom: after a rebuild that accepted a loss, an object lost its bytes when parts that were no longer
/// wanted were discarded. Cause: the end of the chain that made it of the parts was rotten, so that some
/// of them were there again, and these were given the segments. Rule: they are the object's.
#[test]
fn an_object_keeps_the_segments_of_parts_that_are_back() {
    const PARTS: u64 = 600;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes = |number| sample::value(number, 100);
    let part = |number| {
        let mut part = store.part().unwrap();
        part.write_all(&bytes(number)).unwrap();
        part.finish().unwrap().id
    };
    let parts: Vec<_> = (0..PARTS).map(part).collect();
    let whole: Vec<u8> = (0..PARTS).flat_map(bytes).collect();
    store.assemble("whole", &parts, &PutOptions::default()).unwrap();
    store.close().unwrap();
    let path = sample::tracks(dir.path()).remove(0);
    let chunks = fs::metadata(&path).unwrap().len() / CHUNK;
    flip(&path, (chunks - 1) * CHUNK + 1000);

    let store = Options::new().accept_loss(true).rebuild(dir.path()).unwrap();
    let back = store.parts().unwrap();
    assert!(!back.is_empty() && back.len() < PARTS as usize / 2, "{}", back.len());
    for part in back {
        assert!(store.discard_part(part.id).unwrap());
    }
    assert!(store.get("whole").unwrap() == Some(whole));
    let problems = store.verify(&kogia::VerifyOptions::default()).unwrap().problems;
    assert_eq!(problems.len(), 1, "the rotten chunk: {problems:?}");
}
