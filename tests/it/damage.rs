//! Damage: whatever becomes of a store's bytes, reading gives what was written or an error that
//! names the place; with `accept_loss` only what was hit is lost.
//!
//! `KOGIA_TEST_EVERY_BYTE=1` takes every byte where a sample is taken by default; that is hours.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use kogia::format::chunk::CHUNK_BYTES;
use kogia::{Error, ErrorKind, Result, Store};

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
                let hit = hit.values.contains(key) || lost(key);
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

/// Damages each chunk of an image's tracks in turn; those with directories, and a share of the
/// others, are opened in every way.
fn damage_each_chunk(image: &Image, damage: impl Fn(&Path, u32, usize)) {
    let chart = Chart::of(&image.path());
    let mut turn = 0;
    for path in sample::tracks(&image.path()) {
        let (_, track) = names(&path);
        let inside = path.strip_prefix(image.path()).unwrap();
        for chunk in 0..(fs::metadata(&path).unwrap().len() / CHUNK) as u32 {
            let held = chart.chunks.get(&(track, chunk)).cloned().unwrap_or_default();
            let is_head = chunk == 0 || !held.records.is_empty() || !held.segments.is_empty();
            turn += 1;
            let ways = if is_head || every_byte() { &WAYS[..] } else { &WAYS[turn % 4..][..1] };
            let hit = Hit::of(&chart, [(track, chunk)]);
            for way in ways {
                examine(image, *way, &hit, |root| damage(&root.join(inside), chunk, turn));
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_any_chunk_of_a_closed_store_costs_only_what_it_hits() {
    damage_each_chunk(&CLOSED, |path, chunk, turn| {
        flip(path, u64::from(chunk) * CHUNK + (turn * 5 % 40) as u64);
    });
}

#[test]
fn a_flipped_byte_in_any_chunk_of_a_crashed_store_costs_only_what_it_hits() {
    damage_each_chunk(&CRASHED, |path, chunk, turn| {
        flip(path, u64::from(chunk) * CHUNK + (turn * 5 % 40) as u64);
    });
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
