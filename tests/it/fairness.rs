//! Large writes and small ones on one disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::held::{Call, HeldIo};
use crate::machine::{HOME, Machine, put_os, value};

/// It waits for the group under way and for a part of what is queued, however much that is: the sync that
/// makes it durable writes all of that to the device.
#[test]
fn a_small_durable_write_does_not_wait_for_all_large_ones_before_it() {
    const LARGE: usize = 1 << 20;
    let machine = Machine::new(1, 1);
    let held = HeldIo::new(&machine.io);
    let options = machine.options().memory_bytes(256 << 20).track_bytes(64 << 20);
    let store = options.io(Arc::new(held.clone())).open(HOME).unwrap();
    store.put("first", "begins the track").unwrap();
    let write = held.hold_next(Call::Write, Machine::disk(0));
    thread::scope(|scope| {
        let put = |tag: u64| put_os(&store, &format!("large-{tag}"), &value(tag, LARGE));
        scope.spawn(move || put(0));
        write.wait();
        (1..10).for_each(|tag| drop(scope.spawn(move || put(tag))));
        // For them to queue up: whichever comes later makes it easier for the small one.
        thread::sleep(Duration::from_millis(300));
        let sync = held.hold_next(Call::Sync, Machine::disk(0));
        let small = scope.spawn(|| store.put("small", "now"));
        thread::sleep(Duration::from_millis(100));
        write.let_go();
        sync.wait();
        let len = machine.io.read_file(&machine.tracks()[0]).unwrap().len();
        assert!(len < 4 * LARGE, "{len} bytes are synced with it");
        sync.let_go();
        small.join().unwrap().unwrap();
    });
    for tag in 0..10 {
        assert!(store.get(format!("large-{tag}")).unwrap().unwrap() == value(tag, LARGE));
    }
    store.close().unwrap();
}
