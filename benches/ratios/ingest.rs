//! Objects of 1 MiB under `Durability::Os` and one sync at the end, against `pwrite` of the same
//! bytes into one file and one `fdatasync`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use kogia::{Durability, Options, Store};

use crate::machine::{Result, noise};
use crate::rounds::{Comparison, Timing};

const OBJECTS: usize = 256;
const OBJECT_BYTES: usize = 1 << 20;

pub fn measure(rounds: usize) -> Result<()> {
    // More than the processor's caches hold.
    let values: Vec<_> = (0..64).map(|seed| noise(seed, OBJECT_BYTES)).collect();
    let mut comparison = Comparison::new("ingest: 256 objects of 1 MiB, one sync", "MiB/s")?;
    comparison.add("pwrite, fdatasync", None, |path| {
        let file = File::create_new(path)?;
        timed(|| {
            for at in 0..OBJECTS {
                file.write_all_at(&values[at % values.len()], (at * OBJECT_BYTES) as u64)?;
            }
            Ok(file.sync_data()?)
        })
    });
    for threads in [1, 4] {
        let name = format!("kogia, {threads} threads");
        let values = &values;
        comparison.add(name, Some(0.85), move |home| {
            let store = Options::new().durability(Durability::Os).open(home)?;
            put_all(&store, values, threads)
        });
    }
    comparison.measure(rounds)
}

fn put_all(store: &Store, values: &[Vec<u8>], threads: usize) -> Result<Timing> {
    let put = |thread: usize| -> kogia::Result<()> {
        for at in (thread..OBJECTS).step_by(threads) {
            store.put(format!("camera-{thread}/{at:08}"), &values[at % values.len()])?;
        }
        Ok(())
    };
    timed(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || put(n))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        Ok(store.sync()?)
    })
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Timing> {
    let started = Instant::now();
    work()?;
    Ok(Timing { took: started.elapsed(), amount: OBJECTS as f64, note: String::new() })
}
