//! Streams, parts and large objects.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use kogia::{ErrorKind, Options, PutOptions, Store, VerifyOptions};

fn bytes(tag: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + tag * 7 + i / 4099) as u8).collect()
}

fn two_disks(dir: &tempfile::TempDir) -> Store {
    let disk = |name| dir.path().join(name);
    let options = Options::new().disk(disk("a")).disk(disk("b")).track_bytes(4 << 20);
    options.open(disk("home")).expect("it opens")
}

/// Symptom: a put waited for ever while many uploads were open and idle. Cause: their segments'
/// share of the memory was given back only when their owner went on writing. Rule: the share goes
/// with the request, and is given back when that is written.
#[test]
fn idle_streams_hold_no_other_writer_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = two_disks(&dir);
    let mut idle: Vec<_> = (0..40)
        .map(|i| {
            let mut stream = store.writer(format!("stream{i}")).expect("a stream");
            stream.write_all(&bytes(i, 3 << 20)).expect("it writes");
            stream
        })
        .collect();
    store.put("key", bytes(99, 1 << 20)).expect("it puts");
    idle.pop().expect("forty").commit().expect("it commits");
    drop(idle);
    assert!(store.get("stream39").expect("it reads").expect("it is there") == bytes(39, 3 << 20));
    assert_eq!(store.stats().expect("stats").objects, 2);
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
}

#[test]
fn what_is_known_at_the_end_of_a_stream_is_given_with_its_commit() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = two_disks(&dir);
    // Put whole in the end, and in segments.
    for len in [100, 5 << 20] {
        let mut stream = store.writer("key").expect("a stream");
        stream.write_all(&bytes(1, len)).expect("it writes");
        assert_eq!(stream.written(), len as u64);
        let options = PutOptions { attributes: b"digest".to_vec(), ..PutOptions::default() };
        let info = stream.commit_with(options.clone()).expect("it commits");
        assert_eq!(store.head("key").expect("it reads"), Some(info.clone()));
        assert_eq!(info.attributes, b"digest");
        assert!(store.get("key").expect("it reads").expect("it is there") == bytes(1, len));

        let stream = store.writer("key").expect("a stream");
        let once = PutOptions { condition: kogia::Condition::IfAbsent, ..options.clone() };
        let refused = stream.commit_with(once).expect_err("it is there already");
        assert_eq!(refused.kind(), ErrorKind::Condition);
        let stream = store.writer("key").expect("a stream");
        let long = PutOptions { attributes: vec![0; 70_000], ..options };
        let refused = stream.commit_with(long).expect_err("they are too long");
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert_eq!(store.head("key").expect("it reads"), Some(info));
    }
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
}

#[test]
fn objects_larger_than_a_track_are_dealt_over_all_disks_and_read_back_anywhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let value = bytes(1, 20_000_001);
    let check = |store: &Store| {
        assert!(store.get("large").expect("it reads").expect("it is there") == value);
        let mut reader = store.reader("large").expect("it reads").expect("it is there");
        for at in [0_u64, 4071, 4072, 1 << 20, 9_999_999, 20_000_000, 20_000_001, 30_000_000] {
            reader.seek(SeekFrom::Start(at)).expect("it seeks");
            let mut found = vec![0; 100_000];
            let expected = &value[(at as usize).min(value.len())..];
            let expected = &expected[..expected.len().min(found.len())];
            let len = (&mut reader).take(100_000).read(&mut found).expect("it reads");
            assert!(found[..len] == expected[..len] && (len > 0 || expected.is_empty()));
            let range = store.get_range("large", at..at + 100_000);
            if at <= value.len() as u64 {
                assert!(range.expect("it reads").expect("it is there") == expected);
            } else {
                assert_eq!(range.expect_err("behind the end").kind(), ErrorKind::InvalidArgument);
            }
        }
        reader.rewind().expect("it seeks");
        let mut whole = Vec::new();
        while let Some(slice) = reader.next_slice().expect("it reads") {
            whole.extend_from_slice(slice);
        }
        assert!(whole == value && reader.fill_buf().expect("it reads").is_empty());
        let stats = store.stats().expect("stats");
        assert!(stats.disks.iter().all(|disk| disk.space.live_bytes > 5_000_000), "{stats:?}");
    };
    let store = two_disks(&dir);
    store.put("large", &value).expect("it puts");
    check(&store);
    drop(store);
    check(&two_disks(&dir));
    check(&Options::new().rebuild(dir.path().join("home")).expect("a rebuild"));
}

#[test]
fn parts_become_an_object_without_a_byte_written_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = two_disks(&dir);
    let parts: Vec<_> = (0..5)
        .map(|i| {
            let mut part = store.part().expect("a part");
            part.write_all(&bytes(i, 700_000 * i)).expect("it writes");
            part.finish().expect("it finishes")
        })
        .collect();
    assert_eq!(store.parts().expect("parts"), parts);
    for (i, part) in parts.iter().enumerate() {
        let mut whole = Vec::new();
        let mut reader = store.part_reader(part.id).expect("it opens").expect("it is there");
        reader.read_to_end(&mut whole).expect("it reads");
        assert!(whole == bytes(i, 700_000 * i) && reader.info().crc32c == part.crc32c);
    }
    let before = store.stats().expect("stats").total().file_bytes;
    let ids: Vec<_> = parts.iter().rev().map(|part| part.id).collect();
    store.assemble("object", &ids, &PutOptions::default()).expect("it assembles");
    let written = store.stats().expect("stats").total().file_bytes - before;
    assert!(written <= 2 * 4096, "{written} bytes");
    let expected: Vec<u8> = (0..5).rev().flat_map(|i| bytes(i, 700_000 * i)).collect();
    assert!(store.get("object").expect("it reads").expect("it is there") == expected);
    assert_eq!(store.parts().expect("parts"), []);
    assert!(store.part_reader(parts[1].id).expect("it looks").is_none());
    let again = store.assemble("other", &ids, &PutOptions::default());
    assert_eq!(again.expect_err("they are used up").kind(), ErrorKind::NotFound);
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
}

/// Segments go over from one put of a key to the next, which no overwrite does: what the one before
/// had must neither be freed with it, nor come back with a rebuild, nor be left when the last is gone.
#[test]
fn an_object_grows_by_parts_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = |name: &str| dir.path().join(name);
    let options = Options::new().disk(disk("a")).disk(disk("b")).track_bytes(1 << 20);
    let mut store = options.clone().open(disk("home")).expect("it opens");
    let part = |store: &Store, tag: usize, len: usize| {
        let mut part = store.part().expect("a part");
        part.write_all(&bytes(tag, len)).expect("it writes");
        part.finish().expect("it finishes").id
    };
    let defaults = PutOptions::default();
    let mut seq = store.assemble("key", &[part(&store, 0, 100)], &defaults).expect("it assembles");
    let mut whole = bytes(0, 100);
    for round in 1..=30 {
        let len = [0, 5, 5000, 300_000][round % 4];
        let parts = [part(&store, round, len), part(&store, round + 100, 10)];
        let attributes = vec![round as u8];
        let given = PutOptions { attributes, ..PutOptions::default() };
        let before = seq;
        seq = store.extend("key", seq, &parts, &given).expect("it extends").expect("segments");
        whole.extend([bytes(round, len), bytes(round + 100, 10)].concat());
        let again = store.extend("key", before, &[part(&store, 1, 1)], &given);
        assert_eq!(again.expect_err("another one by now").kind(), ErrorKind::Condition);
        match round % 10 {
            3 => store.checkpoint().expect("it checkpoints"),
            5 => {
                store.close().expect("it closes");
                store = options.clone().open(disk("home")).expect("it opens");
            }
            7 => drop(store.maintain().expect("it compacts")),
            9 => {
                store.close().expect("it closes");
                store = options.clone().rebuild(disk("home")).expect("it rebuilds");
            }
            _ => {}
        }
        assert!(store.get("key").expect("it reads").expect("it is there") == whole, "{round}");
        let info = store.head("key").expect("it reads").expect("it is there");
        assert_eq!((info.len, info.attributes), (whole.len() as u64, vec![round as u8]));
        let report = store.verify(&VerifyOptions::default()).expect("it verifies");
        assert_eq!(report.problems, [], "{round}");
    }
    // What lies beside its record goes over to nobody.
    let put = store.put("key", bytes(1, 1000)).expect("it puts");
    let extended = store.extend("key", put, &[part(&store, 1, 1)], &defaults);
    assert_eq!(extended.expect("it says so"), None);
    assert_eq!(store.parts().expect("parts").len(), 31);
    assert!(store.delete("key").expect("it deletes"));
    let report = store.verify(&VerifyOptions::default()).expect("it verifies");
    assert_eq!(report.problems, []);
    store.close().expect("it closes");
    let store = options.rebuild(disk("home")).expect("it rebuilds");
    assert!(!store.exists("key").expect("it reads"));
}
