//! Durable puts of 4 KiB from 32 threads, against one write and one `fdatasync` for each 32.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kogia::Options;

use crate::counting::CountingIo;
use crate::machine::{Result, noise};
use crate::rounds::{Comparison, Timing};

const THREADS: usize = 32;
const PUTS_A_THREAD: usize = 400;
const OBJECT_BYTES: usize = 4 << 10;

pub fn measure(rounds: usize) -> Result<()> {
    let value = noise(1, OBJECT_BYTES);
    let group = value.repeat(THREADS);
    let mut comparison = Comparison::new("durable: 12,800 puts of 4 KiB, 32 at a time", "puts/s")?;
    comparison.add("one pwrite, one fdatasync for 32", None, |path| {
        let file = File::create_new(path)?;
        let started = Instant::now();
        for at in 0..PUTS_A_THREAD {
            file.write_all_at(&group, (at * group.len()) as u64)?;
            file.sync_data()?;
        }
        Ok(timing(started, format!("{PUTS_A_THREAD} writes, {PUTS_A_THREAD} syncs")))
    });
    comparison.add("kogia, 32 threads", Some(0.25), |home| put_all(home, &value));
    comparison.measure(rounds)
}

fn put_all(home: &Path, value: &[u8]) -> Result<Timing> {
    let io = Arc::new(CountingIo::default());
    let store = Options::new().io(io.clone()).open(home)?;
    let before = io.calls();
    let put = |thread: usize| -> kogia::Result<()> {
        (0..PUTS_A_THREAD)
            .try_for_each(|at| store.put(format!("camera-{thread}/{at:08}"), value).map(drop))
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || put(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    let calls = io.calls().since(before);
    Ok(timing(started, format!("{} writes, {} syncs", calls.writes, calls.syncs)))
}

fn timing(started: Instant, note: String) -> Timing {
    Timing { took: started.elapsed(), amount: (THREADS * PUTS_A_THREAD) as f64, note }
}
