use kogia::*;
use std::io::{Read, Write};

#[test]
fn puts_are_read_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Options::new()
            .disk(dir.path().join("a"))
            .disk(dir.path().join("b"))
            .track_bytes(4 << 20)
            .open(dir.path().join("home"))
            .unwrap()
    };
    let value = |i: usize, len: usize| -> Vec<u8> {
        (0..len).map(|j| (i * 7 + j * 13 + j / 251) as u8).collect()
    };
    let lens = [0, 1, 100, 4000, 4072, 5000, 16_288, 20_000, 100_000, 1 << 20, 5 << 20, 9_000_001];
    {
        let store = open();
        for (i, len) in lens.iter().enumerate() {
            store.put(format!("k/{i}"), value(i, *len)).unwrap();
        }
        let mut w = store.writer("stream").unwrap();
        w.write_all(&value(99, 20_000_000)).unwrap();
        w.commit().unwrap();
        for (i, len) in lens.iter().enumerate() {
            assert!(store.get(format!("k/{i}")).unwrap().unwrap() == value(i, *len), "{i}");
        }
        println!("{:?}", store.stats().unwrap());
        let r = store.verify(&VerifyOptions::default()).unwrap();
        println!("{r:?}");
        assert!(r.problems.is_empty());
    }
    for round in 0..3 {
        let store = if round == 1 {
            Options::new().rebuild(dir.path().join("home")).unwrap()
        } else {
            open()
        };
        println!("{:?}", store.recovery());
        for (i, len) in lens.iter().enumerate() {
            assert!(store.get(format!("k/{i}")).unwrap().unwrap() == value(i, *len), "{i}");
        }
        let mut all = Vec::new();
        store.reader("stream").unwrap().unwrap().read_to_end(&mut all).unwrap();
        assert!(all == value(99, 20_000_000));
        let r = store.verify(&VerifyOptions::default()).unwrap();
        assert!(r.problems.is_empty(), "{r:?}");
        store.delete("k/9").unwrap();
        store.put("k/9", value(9, 1 << 20)).unwrap();
        store.checkpoint().unwrap();
        let r = store.verify(&VerifyOptions::default()).unwrap();
        assert!(r.problems.is_empty(), "{r:?}");
        println!("{:?}", store.stats().unwrap().total());
    }
}
