//! Warm reads of whole objects of 1 MiB into a buffer that is used again, every byte verified,
//! against `pread` of the same bytes, which verifies nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use kogia::format::checksum::crc32c;
use kogia::{Durability, Options, Store};

use crate::machine::{Result, data_dir, noise};
use crate::rounds::{Comparison, Timing};

const OBJECTS: usize = 128;
const OBJECT_BYTES: usize = 1 << 20;
const PASSES: usize = 16;

pub fn measure(rounds: usize) -> Result<()> {
    let dir = data_dir()?;
    let values: Vec<_> = (0..OBJECTS as u64).map(|seed| noise(seed, OBJECT_BYTES)).collect();
    let raw = raw_file(&dir.path().join("raw"), &values)?;
    // Tracks of 16 objects: one more track of them, and all that is read is sealed.
    let sealed = store(&dir.path().join("sealed"), 17 << 20, &values)?;
    for value in &values[..17] {
        sealed.put("later", value)?;
    }
    let active = store(&dir.path().join("active"), 1 << 30, &values)?;

    let (raw, mut one, mut other) = (&raw, vec![0; OBJECT_BYTES], vec![0; OBJECT_BYTES]);
    let mut comparison = Comparison::new("read: 128 objects of 1 MiB, warm", "MiB/s")?;
    comparison.add("pread", None, |_| {
        each_object(|at| Ok(raw.read_exact_at(&mut one, (at * OBJECT_BYTES) as u64)?))
    });
    comparison.add("pread, then CRC-32C", None, |_| {
        each_object(|at| {
            raw.read_exact_at(&mut other, (at * OBJECT_BYTES) as u64)?;
            std::hint::black_box(crc32c(&other));
            Ok(())
        })
    });
    for (name, store) in [("kogia, sealed and mapped", &sealed), ("kogia, active", &active)] {
        let mut buffer = Vec::new();
        comparison.add(name, Some(0.6), move |_| {
            each_object(|at| {
                let found = store.get_into(key(at), &mut buffer)?;
                assert_eq!(found.expect("it was put").len, OBJECT_BYTES as u64);
                Ok(())
            })
        });
    }
    comparison.measure(rounds)
}

fn raw_file(path: &Path, values: &[Vec<u8>]) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    for (at, value) in values.iter().enumerate() {
        file.write_all_at(value, (at * OBJECT_BYTES) as u64)?;
    }
    file.sync_data()?;
    Ok(file)
}

fn store(home: &Path, track_bytes: u64, values: &[Vec<u8>]) -> Result<Store> {
    let store = Options::new().durability(Durability::Os).track_bytes(track_bytes).open(home)?;
    for (at, value) in values.iter().enumerate() {
        store.put(key(at), value)?;
    }
    store.checkpoint()?;
    Ok(store)
}

fn key(at: usize) -> String {
    format!("camera-1/{at:08}")
}

/// Reads all objects some times over, in an order that no read-ahead foresees.
fn each_object(mut read: impl FnMut(usize) -> Result<()>) -> Result<Timing> {
    const STRIDE: usize = 37;
    let started = Instant::now();
    for at in 0..OBJECTS * PASSES {
        read(at * STRIDE % OBJECTS)?;
    }
    let took = started.elapsed();
    Ok(Timing { took, amount: (OBJECTS * PASSES) as f64, note: String::new() })
}
