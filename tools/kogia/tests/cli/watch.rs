//! watch: what is dropped into a folder, stored as it is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Run, Workplace, json_lines};

/// A watcher that runs, and the keys that it has printed.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
}

impl Watcher {
    fn start(place: &Workplace, args: &[&str]) -> Self {
        let args = [&["watch", "s", "in"], args].concat();
        let mut child = place.command(args).spawn().expect("the command starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Watcher { child, lines }
    }

    #[track_caller]
    fn expect(&self, key: &str) {
        let line = self.lines.recv_timeout(Duration::from_secs(30));
        assert_eq!(line.as_deref(), Ok(key));
    }

    #[track_caller]
    fn expect_nothing(&self) {
        let line = self.lines.recv_timeout(Duration::from_millis(400));
        assert_eq!(line, Err(RecvTimeoutError::Timeout));
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// Presses Ctrl-C; gives the last line.
    #[track_caller]
    fn interrupt(self) -> String {
        self.signal("-INT");
        let run: Run = self.child.wait_with_output().expect("it ends").into();
        assert_eq!(run.code, 0, "{}", run.stderr);
        self.lines.iter().last().expect("the result")
    }

    /// Kills it; gives what it had printed.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        self.lines.iter().collect()
    }
}

fn place() -> Workplace {
    let place = Workplace::with_store();
    fs::create_dir(place.path("in")).expect("a folder");
    place
}

/// Files stored and files that were there already.
fn once(place: &Workplace, args: &[&str]) -> (u64, u64) {
    let args = [&["watch", "s", "in", "--once", "--json"], args].concat();
    let result = json_lines(&place.ok(args)).pop().expect("the result");
    (result["stored_files"].as_u64().unwrap(), result["same_files"].as_u64().unwrap())
}

/// How often each key was put, by the records in the tracks.
fn puts(place: &Workplace) -> BTreeMap<String, usize> {
    let mut puts = BTreeMap::new();
    for line in place.ok(["dump", "s"]).lines() {
        if let Some(put) = line.trim_start().strip_prefix("put ") {
            let key = put.split('"').nth(1).expect("a key").to_owned();
            *puts.entry(key).or_default() += 1;
        }
    }
    puts
}

#[test]
fn once_stores_what_is_there_and_knows_it_the_next_time() {
    let place = place();
    place.write("in/a.ts", "one");
    place.write("in/cam/day/b.ts", "two");
    for skipped in [".hidden", "c.tmp", "c.part", ".git/x", "d.tmp/x"] {
        place.write(&format!("in/{skipped}"), "no");
    }
    std::os::unix::fs::symlink("a.ts", place.path("in/link")).expect("a link");
    assert_eq!(once(&place, &["--prefix", "x/"]), (2, 0));
    assert_eq!(place.ok(["ls", "s"]), "x/a.ts\nx/cam/day/b.ts\n");
    assert_eq!(place.get("x/cam/day/b.ts"), b"two");
    assert_eq!(once(&place, &["--prefix", "x/"]), (0, 2));
    // As long as before, and at once.
    place.write("in/a.ts", "eno");
    assert_eq!(once(&place, &["--prefix", "x/"]), (1, 1));
    assert_eq!(place.get("x/a.ts"), b"eno");
    // Written again, and the same: known by its checksum.
    place.write("in/a.ts", "eno");
    assert_eq!(once(&place, &["--prefix", "x/"]), (0, 2));
    assert_eq!(once(&place, &["--prefix", "all/", "--hidden"]), (7, 0));
    assert_eq!(place.read("in/a.ts"), b"eno");
    place.run(["watch", "s", "nowhere"]).fails(8, "nowhere");
    place.run(["watch", "s", "."]).fails(2, "the store itself");
}

#[test]
fn a_file_is_stored_whole_when_it_is_closed_or_moved_into_place() {
    let place = place();
    let mut early = File::create(place.path("in/early")).expect("a file");
    early.write_all(b"open before it ").expect("it writes");
    let watcher = Watcher::start(&place, &[]);
    watcher.expect_nothing();
    early.write_all(b"was watched").expect("it writes");
    drop(early);
    watcher.expect("early");
    let mut pieces = File::create(place.path("in/pieces")).expect("a file");
    for _ in 0..5 {
        pieces.write_all(&[7; 100_000]).expect("it writes");
        sleep(Duration::from_millis(150));
    }
    watcher.expect_nothing();
    drop(pieces);
    watcher.expect("pieces");
    place.write("in/renamed.part", "moved");
    place.write("outside", "linked");
    watcher.expect_nothing();
    fs::rename(place.path("in/renamed.part"), place.path("in/renamed")).expect("it moves");
    watcher.expect("renamed");
    fs::hard_link(place.path("outside"), place.path("in/linked")).expect("it links");
    watcher.expect("linked");
    // Folders that come with files in them, by the time that they are watched.
    place.write("in/new/deep/1", "made");
    watcher.expect("new/deep/1");
    place.write("other/2", "moved with its folder");
    fs::rename(place.path("other"), place.path("in/moved")).expect("it moves");
    watcher.expect("moved/2");
    place.write("in/moved/3", "later");
    watcher.expect("moved/3");
    place.write("in/pieces", "again");
    watcher.expect("pieces");
    assert!(watcher.interrupt().starts_with("stored 8 files ("));
    assert_eq!(place.get("early"), b"open before it was watched");
    assert_eq!(place.get("pieces"), b"again");
    assert_eq!(place.get("moved/2"), b"moved with its folder");
    assert!(puts(&place).iter().all(|(key, count)| *count == 1 + usize::from(key == "pieces")));
    assert_eq!(once(&place, &[]), (0, 7));
}

#[test]
fn with_remove_a_file_goes_when_it_is_stored_and_not_while_somebody_writes_to_it() {
    let place = place();
    place.write("in/before", "there before");
    assert_eq!(once(&place, &[]), (1, 0));
    let watcher = Watcher::start(&place, &["--remove"]);
    place.write("in/sub/after", "there after");
    watcher.expect("sub/after");
    let mut open = File::create(place.path("in/open")).expect("a file");
    open.write_all(b"not ").expect("it writes");
    sleep(Duration::from_millis(500));
    assert!(place.path("in/open").exists());
    open.write_all(b"yet").expect("it writes");
    drop(open);
    watcher.expect("open");
    let given_up = Instant::now() + Duration::from_secs(30);
    while ["before", "sub/after", "open"].iter().any(|n| place.path("in").join(n).exists()) {
        assert!(Instant::now() < given_up, "the files are still there");
        sleep(Duration::from_millis(5));
    }
    watcher.interrupt();
    assert_eq!(place.get("open"), b"not yet");
    assert!(place.path("in/sub").is_dir());
    assert_eq!(puts(&place).into_values().collect::<Vec<_>>(), [1, 1, 1]);
}

/// Files come in all the time, some of them large, while the watcher is killed again and again.
fn kill_while_files_come(remove: bool) {
    const FILES: usize = 240;
    let place = place();
    let content = |n: usize| {
        let len = if n.is_multiple_of(10) { 3_000_000 } else { n * 100 };
        (0..len).map(|at| (at ^ n ^ (at >> 8)) as u8).collect::<Vec<_>>()
    };
    let args: &[&str] = if remove { &["--remove", "--settle", "0"] } else { &["--settle", "20"] };
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            for n in 0..FILES {
                let (name, bytes) = (format!("{n:03}"), content(n));
                if n % 3 == 0 {
                    place.write(&format!("in/{name}.tmp"), bytes);
                    let (from, to) = (format!("in/{name}.tmp"), format!("in/{name}"));
                    fs::rename(place.path(&from), place.path(&to)).expect("it moves");
                } else {
                    place.write(&format!("in/{name}"), bytes);
                }
                sleep(Duration::from_millis(10));
            }
        });
        let mut kills = 0;
        while !producer.is_finished() {
            let watcher = Watcher::start(&place, args);
            sleep(Duration::from_millis(150 + kills * 37 % 200));
            // What it has printed is durable.
            let (printed, there) = (watcher.kill(), place.ok(["ls", "s"]));
            let there: BTreeSet<_> = there.lines().collect();
            printed.iter().for_each(|key| assert!(there.contains(&**key), "{key}"));
            kills += 1;
        }
        assert!(kills > 3, "{kills}");
        producer.join().expect("the files are written");
    });
    once(&place, args);
    for n in 0..FILES {
        let key = format!("{n:03}");
        assert!(place.get(&key) == content(n), "{key}");
        assert_eq!(place.path("in").join(&key).exists(), !remove, "{key}");
    }
    let puts = puts(&place);
    assert_eq!(puts.len(), FILES);
    // Without time to settle, a file that is being written when a watcher starts is taken as it is,
    // and once more when it has changed.
    let may_be_taken_twice = |key: &str| remove && !key.parse::<usize>().unwrap().is_multiple_of(3);
    let doubled: Vec<_> =
        puts.iter().filter(|(key, count)| **count > 1 && !may_be_taken_twice(key)).collect();
    assert_eq!(doubled, []);
    place.ok(["verify", "s"]);
}

#[test]
fn no_file_is_missed_or_stored_twice_however_often_the_watcher_is_killed() {
    kill_while_files_come(false);
}

#[test]
fn no_file_is_removed_before_it_is_stored_however_often_the_watcher_is_killed() {
    kill_while_files_come(true);
}

/// The kernel keeps so many events; what comes after them is told of as lost.
#[test]
fn what_comes_faster_than_it_is_told_of_is_found_all_the_same() {
    let place = place();
    let watcher = Watcher::start(&place, &[]);
    place.write("in/0", "it watches");
    watcher.expect("0");
    watcher.signal("-STOP");
    let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
    let kept: usize = kept.trim().parse().expect("a number");
    // Of two events that are the same only one is kept.
    let files = ["in/a", "in/b"].map(|name| place.path(name));
    for at in 0..kept + 10 {
        File::create(&files[at % 2]).expect("a file");
    }
    place.write("in/new/last", "nobody was told");
    watcher.signal("-CONT");
    let keys: BTreeSet<_> = (0..3)
        .map(|_| watcher.lines.recv_timeout(Duration::from_secs(30)).expect("a key"))
        .collect();
    assert!(keys.iter().eq(["a", "b", "new/last"].iter()), "{keys:?}");
    place.write("in/new/later", "and watched");
    watcher.expect("new/later");
    watcher.interrupt();
}

#[test]
fn rules_are_kept_up_while_files_come() {
    let place = place();
    let watcher = Watcher::start(&place, &["--rule", "cam/:bytes=1M", "--expires-in", "1d"]);
    for n in 0..40 {
        let name = format!("cam/{n:02}");
        place.write(&format!("in/{name}"), vec![n; 100_000]);
        watcher.expect(&name);
    }
    watcher.interrupt();
    let left = place.ok(["ls", "s"]);
    let keys: Vec<_> = left.lines().collect();
    assert!((9..=10).contains(&keys.len()) && keys.last() == Some(&"cam/39"), "{left}");
    let head = json_lines(&place.ok(["head", "s", "cam/39", "--json"])).remove(0);
    assert!(head["expires_ms"].as_u64() > head["created_ms"].as_u64(), "{head}");
    // Also where it ends at once.
    assert_eq!(once(&place, &["--prefix", "x/", "--rule", ":bytes=500k"]), (40, 0));
    let left = place.ok(["ls", "s"]);
    let newest = ["x/cam/35", "x/cam/36", "x/cam/37", "x/cam/38", "x/cam/39"];
    // Two in a hundred are made room when it is too much.
    assert!(left.lines().eq(newest) || left.lines().eq(newest[1..].to_vec()), "{left}");
}
