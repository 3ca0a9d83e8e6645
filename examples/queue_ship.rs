//! Ships a queue from one process to another: `cargo run --release --example queue_ship [ITEMS]`.
//!
//! The first process appends items to a queue. The second one follows it as the consumer `ship`, and
//! appends what comes to a queue of its own, each item with the id that it had. It makes them
//! durable there before it commits, so that nothing is lost when it is killed, which the first one
//! does to it on the way; what was not committed comes again, and the id tells.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kogia::queue::{Entry, Id, Queue};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Items between two commits.
const COMMIT_ITEMS: u64 = 100_000;

fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [mode, from, to] if mode == "receive" => receive(from.as_ref(), to.as_ref()),
        [items] => send(items.parse()?),
        _ => send(1_000_000),
    }
}

fn send(items: u64) -> Result {
    let dir = tempfile::tempdir()?;
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let queue = Queue::open(&from)?;
    let mut receiver = Some(start(&from, &to)?);
    let start_time = Instant::now();
    let mut last = Id(0);
    for number in 0..items {
        last = queue.append_later(item(number))?;
        if number == items / 2 {
            // In the middle of something.
            while queue.consumers()?.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            kill(receiver.take())?;
            receiver = Some(start(&from, &to)?);
        }
    }
    queue.sync()?;
    println!("appended {items} items in {:.2} s", start_time.elapsed().as_secs_f64());

    while queue.consumers()?.iter().all(|(_, committed)| *committed < last) {
        if receiver.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
            return Err("the receiver has ended".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("shipped all after {:.2} s", start_time.elapsed().as_secs_f64());
    kill(receiver)?;
    check(&to, items)
}

/// Follows `from` for ever.
fn receive(from: &Path, to: &Path) -> Result {
    let mut consumer = Queue::reader(from)?.consumer("ship")?;
    let shipped = Queue::open(to)?;
    // What was shipped and not committed comes again.
    let mut last = last_shipped(&shipped)?;
    let (mut bytes, mut uncommitted) = (Vec::new(), 0);
    loop {
        let idle = Duration::from_millis(100);
        match consumer.follow(Some(idle))? {
            Some(Entry::Item(id, item)) if id > last => {
                bytes.clear();
                bytes.extend_from_slice(&id.0.to_le_bytes());
                bytes.extend_from_slice(item);
                shipped.append_later(&bytes)?;
                (last, uncommitted) = (id, uncommitted + 1);
            }
            Some(_) => {}
            None if uncommitted == 0 => {}
            None => uncommitted = COMMIT_ITEMS,
        }
        if uncommitted >= COMMIT_ITEMS {
            shipped.sync()?;
            consumer.commit(last)?;
            uncommitted = 0;
        }
    }
}

/// The id that the last item had where it came from.
fn last_shipped(shipped: &Queue) -> Result<Id> {
    let mut stream = shipped.stream(None)?;
    let mut last = Id(0);
    while let Some(entry) = stream.next()? {
        if let Entry::Item(_, item) = entry {
            last = Id(u64::from_le_bytes(item[..8].try_into()?));
        }
    }
    Ok(last)
}

fn check(to: &Path, items: u64) -> Result {
    let reader = Queue::reader(to)?;
    let mut stream = reader.stream(None)?;
    let (mut count, mut cuts) = (0, 0);
    let start = Instant::now();
    while let Some(entry) = stream.next()? {
        match entry {
            Entry::Item(_, bytes) => {
                assert_eq!(bytes[8..], item(count), "item {count}");
                count += 1;
            }
            Entry::Cut(_) => cuts += 1,
            Entry::Lost(from, to) => return Err(format!("{from} to {to} are lost").into()),
        }
    }
    assert_eq!(count, items);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("found all {count} once and in order, {rate:.0} a second; {cuts} cut by a crash");
    Ok(())
}

fn item(number: u64) -> [u8; 50] {
    let mut item = [b'.'; 50];
    item[..8].copy_from_slice(&number.to_le_bytes());
    item
}

fn start(from: &Path, to: &PathBuf) -> Result<Child> {
    let program = std::env::current_exe()?;
    Ok(Command::new(program).arg("receive").arg(from).arg(to).spawn()?)
}

fn kill(child: Option<Child>) -> Result {
    if let Some(mut child) = child {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}
