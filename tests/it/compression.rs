//! Compression: what is read is what was put, whatever it lies there as, and it takes less room.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kogia::format::chunk::{CHUNK_BYTES, HEADER_BYTES};
use kogia::format::track_header::TrackHeader;
use kogia::format::{StoreId, TrackId};
use kogia::io::sim::Keep;
use kogia::{Batch, ErrorKind, Options, Store, VerifyOptions};

use crate::machine::{HOME, Machine, assert_sound, assert_value, compact, refused, value};

type Map = BTreeMap<String, Vec<u8>>;

fn options(machine: &Machine) -> Options {
    machine.options().compression(Some(3))
}

/// What a camera says of a frame: most of it is what it said of the last one.
fn note(number: u64) -> Vec<u8> {
    let bright = number.wrapping_mul(2_654_435_761) % 1000;
    format!(
        "{{\"camera\":\"entrance-{}\",\"frame\":{number},\"exposure_us\":{},\
         \"brightness\":0.{bright:03},\"codec\":\"h264\",\"motion\":{}}}",
        number % 7,
        8_000 + bright,
        bright > 500,
    )
    .into_bytes()
}

/// A value that compresses to a twentieth of its length: it shares chunks then.
fn table(number: u64, len: usize) -> Vec<u8> {
    (number..).flat_map(note).take(len).collect()
}

/// A value that compresses to about half: a long one owns its chunks also then.
fn hex(number: u64, len: usize) -> Vec<u8> {
    let digits = value(number, len).into_iter().map(|byte| b"0123456789abcdef"[byte as usize % 16]);
    digits.collect()
}

/// Values of every kind: hex digits, notes, tables, noise, tiny and empty ones.
fn put_all(store: &Store, map: &mut Map, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let bytes = match number % 10 {
            0 if number % 20 == 0 => hex(number, 40_000),
            0 => table(number, 40_000),
            1 => table(number, 9_000),
            2 => value(number, 3_000),
            3 => value(number, (number % 9) as usize),
            _ => note(number),
        };
        let key = format!("k{}", number % 700);
        store.put(&key, &bytes).unwrap();
        map.insert(key, bytes);
    }
}

#[track_caller]
fn assert_holds(store: &Store, map: &Map) {
    let found: Vec<_> = store.iter(..).map(|item| item.unwrap().0).collect();
    let expected: Vec<_> = map.keys().map(|key| key.as_bytes().to_vec()).collect();
    assert_eq!(found, expected);
    map.iter().for_each(|(key, bytes)| assert_value(store, key, bytes));
    assert_sound(store);
}

fn live_bytes(store: &Store) -> u64 {
    store.stats().unwrap().total().live_bytes
}

#[test]
fn values_are_the_same_after_compaction_reopening_and_a_rebuild_with_compression_and_without() {
    let machine = Machine::new(1, 2);
    let (store, mut map) = (options(&machine).open(HOME).unwrap(), Map::new());
    put_all(&store, &mut map, 0..2_000);
    assert_holds(&store, &map);
    compact(&store);
    assert_holds(&store, &map);
    store.close().unwrap();
    // Without compression, what is compressed is read and copied all the same.
    let store = machine.open();
    assert_holds(&store, &map);
    put_all(&store, &mut map, 2_000..2_500);
    compact(&store);
    assert_holds(&store, &map);
    store.close().unwrap();
    let store = options(&machine).rebuild(HOME).unwrap();
    assert_holds(&store, &map);
    put_all(&store, &mut map, 2_500..3_000);
    compact(&store);
    assert_holds(&store, &map);
    let machine = machine.cut(store, Keep::Nothing);
    assert_holds(&machine.open(), &map);
}

#[test]
fn notes_take_half_the_room_once_there_is_a_dictionary_and_compaction_gives_old_ones_one() {
    let machine = Machine::new(2, 1);
    let put = |store: &Store| {
        let notes = (0..4_000).map(|number| (format!("{number:06}"), note(number)));
        for (key, note) in notes {
            store.put(&key, &note).unwrap();
        }
    };
    let plain = machine.open();
    put(&plain);
    let raw_bytes = live_bytes(&plain);
    assert_eq!(raw_bytes, plain.stats().unwrap().object_bytes);
    plain.close().unwrap();
    let store = options(&machine).open(HOME).unwrap();
    put(&store);
    let written_bytes = live_bytes(&store);
    assert!(written_bytes * 10 < raw_bytes * 6, "{raw_bytes} raw, {written_bytes} when written");
    compact(&store);
    let copied_bytes = live_bytes(&store);
    assert!(copied_bytes * 2 < raw_bytes, "{raw_bytes} raw, {copied_bytes} when copied");
    assert_eq!(store.stats().unwrap().object_bytes, raw_bytes);
    store.close().unwrap();
    // What is compressed stays so, or compacting a full disk would take more room than it gives.
    let store = machine.open();
    (0..4_000).step_by(5).for_each(|at| assert!(store.delete(format!("{at:06}")).unwrap()));
    compact(&store);
    let (kept_bytes, object_bytes) = (live_bytes(&store), store.stats().unwrap().object_bytes);
    assert!(kept_bytes * 2 < object_bytes, "{object_bytes} of {raw_bytes} raw, {kept_bytes} live");
}

#[test]
fn nothing_is_stored_larger_than_it_is() {
    let machine = Machine::new(3, 1);
    let store = options(&machine).open(HOME).unwrap();
    let mut len_sum = 0;
    for (number, len) in
        [1, 7, 8, 9, 20, 300, 5_000, 16_287, 16_288, 70_000, 120_000].into_iter().enumerate()
    {
        store.put(format!("{number}"), value(number as u64, len)).unwrap();
        len_sum += len as u64;
    }
    assert_eq!(live_bytes(&store), len_sum);
    compact(&store);
    assert_eq!(live_bytes(&store), len_sum);
}

#[test]
fn ranges_readers_snapshots_and_heads_know_nothing_of_it() {
    let machine = Machine::new(4, 1);
    let store = options(&machine).open(HOME).unwrap();
    put_all(&store, &mut Map::new(), 0..500);
    let (small, large) = (note(77), table(5, 60_000));
    store.put("small", &small).unwrap();
    store.put("large", &large).unwrap();
    let snapshot = store.snapshot().unwrap();
    store.put("small", "other").unwrap();
    compact(&store);
    assert_eq!(snapshot.get("small").unwrap().as_ref(), Some(&small));
    assert_eq!(store.head("large").unwrap().unwrap().len, 60_000);
    for (from, to) in [(0, 60_000), (0, 1), (59_999, 60_000), (4_000, 21_000), (60_000, 60_000)] {
        let found = store.get_range("large", from..to).unwrap().unwrap();
        assert!(found == large[from as usize..to as usize], "{from}..{to}");
    }
    let mut reader = store.reader("large").unwrap().unwrap();
    let (mut head, mut rest) = ([0; 100], Vec::new());
    reader.read_exact(&mut head).unwrap();
    reader.seek(SeekFrom::Start(30_000)).unwrap();
    reader.read_to_end(&mut rest).unwrap();
    assert!(head[..] == large[..100] && rest == large[30_000..]);
    let mut reader = store.reader("large").unwrap().unwrap();
    let mut whole = Vec::new();
    while let Some(slice) = reader.next_slice().unwrap() {
        whole.extend_from_slice(slice);
    }
    assert!(whole == large);
}

/// Tracks of 64 KiB roll all the time, each to a dictionary of its own, while others frame values
/// with the last one. Fails without the check in `append_if_fitting` that a group's dictionary is
/// the track's.
#[test]
fn writers_that_meet_a_new_dictionary_write_again() {
    let machine = Machine::new(5, 2);
    let store = options(&machine).track_bytes(64 << 10).open(HOME).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..6_u64 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..300_u64 {
                    let mut batch = Batch::new();
                    for step in 0..4 {
                        let number = writer * 10_000 + number * 4 + step;
                        batch.put(format!("{number:06}"), note(number));
                    }
                    store.write(batch).unwrap();
                }
            });
        }
    });
    let notes = (0..6).flat_map(|writer| (0..1_200).map(move |number| writer * 10_000 + number));
    let map: Map = notes.map(|number| (format!("{number:06}"), note(number))).collect();
    assert!(store.stats().unwrap().total().tracks > 10);
    assert_holds(&store, &map);
    store.close().unwrap();
    assert_holds(&machine.rebuild(), &map);
}

/// A frame that is read with another dictionary than it was made with may well decode, as something
/// else. Fails without the checksum in `Shared::decompress`, or without that of chunk 0.
#[test]
fn a_track_whose_dictionary_is_damaged_gives_an_error_that_names_it() {
    let machine = Machine::new(6, 1);
    let store = options(&machine).open(HOME).unwrap();
    for number in 0..6_000 {
        store.put(format!("{number:06}"), note(number)).unwrap();
    }
    store.close().unwrap();
    let tracks = machine.tracks();
    assert!(tracks.len() > 2);
    let store = machine.open();
    for track in &tracks {
        machine.flip(track, HEADER_BYTES + 80 + 200, 3);
    }
    let (mut good, mut bad) = (0, 0);
    for number in 0..6_000 {
        match store.get(format!("{number:06}")) {
            Ok(found) => {
                assert_eq!(found, Some(note(number)));
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption);
                assert_eq!(error.track().map(|(_, chunk)| chunk), Some(0));
                bad += 1;
            }
        }
    }
    // Those of the first track had no dictionary yet.
    assert!(good > 0 && bad > 5_000, "{good} good, {bad} bad");
}

#[test]
fn levels_out_of_bounds_are_refused() {
    let machine = Machine::new(7, 1);
    for level in [-8, 20, i32::MAX] {
        let opened = machine.options().compression(Some(level)).open(HOME);
        assert_eq!(refused(opened), ErrorKind::InvalidArgument);
    }
    for level in [-7, 0, 19] {
        let store = machine.options().compression(Some(level)).open(HOME).unwrap();
        let text = table(1, 5_000);
        store.put("text", &text).unwrap();
        assert_value(&store, "text", &text);
        assert!(live_bytes(&store) < 4_000);
        store.close().unwrap();
    }
}

/// A batch may take longer to compress than the others take to fill a track. It was sent back to be
/// framed with the next dictionary each time, and never written while they went on.
#[test]
fn a_batch_that_takes_long_to_compress_is_not_sent_back_for_ever() {
    let machine = Machine::new(8, 1);
    let store = machine.options().compression(Some(19)).track_bytes(64 << 10).open(HOME).unwrap();
    let write = |numbers: std::ops::Range<u64>| {
        let mut batch = Batch::new();
        for number in numbers {
            batch.put(format!("{number:06}"), note(number));
        }
        store.write(batch).unwrap();
    };
    (0..200).for_each(|number| write(number * 20..number * 20 + 20));
    let is_written = AtomicBool::new(false);
    let overtaken = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let began = Instant::now();
            for number in (0..200).cycle() {
                write(number * 20..number * 20 + 20);
                if is_written.load(Ordering::Relaxed) {
                    return false;
                }
                if began.elapsed() > Duration::from_secs(30) {
                    return true;
                }
            }
            unreachable!("it goes on and on")
        });
        write(100_000..120_000);
        is_written.store(true, Ordering::Relaxed);
        others.join().unwrap()
    });
    assert!(!overtaken);
    assert_value(&store, "119999", &note(119_999));
}

/// A header that verifies, with what begins like a dictionary and is none: zstd refuses it, and the
/// reader, and whoever opened the store, panicked.
#[test]
fn a_dictionary_that_zstd_refuses_is_an_error() {
    let machine = Machine::new(10, 1);
    let store = options(&machine).open(HOME).unwrap();
    for number in 0..6_000 {
        store.put(format!("{number:06}"), note(number)).unwrap();
    }
    store.close().unwrap();
    machine.tracks().iter().for_each(|track| forge_dictionary(&machine, track));
    let store = options(&machine).open(HOME).unwrap();
    let refused = (0..6_000).filter_map(|number| store.get(format!("{number:06}")).err());
    let kinds: Vec<_> = refused.map(|error| error.kind()).collect();
    assert!(kinds.len() > 5_000 && kinds.iter().all(|kind| *kind == ErrorKind::Corruption));
    store.put("new", note(1)).unwrap();
    assert_value(&store, "new", &note(1));
}

fn forge_dictionary(machine: &Machine, track: &Path) {
    let mut bytes = machine.io.read_file(track).unwrap();
    let at = |from: usize| &bytes[HEADER_BYTES + from..];
    let store = StoreId(at(12)[..16].try_into().unwrap());
    let id = TrackId(u32::from_le_bytes(at(44)[..4].try_into().unwrap()));
    let header = TrackHeader::from_chunk(&bytes[..CHUNK_BYTES], store, id).unwrap();
    let dictionary = [&0xEC30_A437_u32.to_le_bytes()[..], &[0xFF; 200]].concat();
    bytes[..CHUNK_BYTES].copy_from_slice(&header.to_chunk(&dictionary));
    machine.io.write_file(track, &bytes).unwrap();
}

/// What verifying reads through a map is what memory has. (The simulated map goes on showing what
/// was there.)
#[test]
fn verifying_reads_compressed_values_from_the_file() {
    let machine = Machine::new(11, 1);
    let store = options(&machine).map_tracks(true).open(HOME).unwrap();
    for number in 0..8 {
        store.put(format!("{number}"), hex(number, 100_000)).unwrap();
    }
    assert!((300_000..600_000).contains(&live_bytes(&store)));
    // The first of them lies in a sealed track, which is mapped by being read.
    let tracks = machine.tracks();
    assert!(tracks.len() > 1);
    assert_value(&store, "0", &hex(0, 100_000));
    // Behind the header and the directory lies its frame.
    machine.flip(&tracks[0], 3 * CHUNK_BYTES + HEADER_BYTES + 100, 3);
    assert_value(&store, "0", &hex(0, 100_000));
    let report = store.verify(&VerifyOptions::default()).unwrap();
    assert_eq!(report.problems.len(), 1, "{:#?}", report.problems);
}
