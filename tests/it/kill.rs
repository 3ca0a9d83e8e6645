//! SIGKILL, for real: a child process writes and says what was acknowledged, and is killed in the
//! middle; the next one goes on with what it left.
//!
//! `KOGIA_TEST_ROUNDS` sets how often.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kogia::{Batch, Durability, Store};

use crate::sample::{self, copy_tree, home, options, value};

const ROOT: &str = "KOGIA_TEST_CHILD_ROOT";
const ROUND: &str = "KOGIA_TEST_CHILD_ROUND";
const DURABILITY: &str = "KOGIA_TEST_CHILD_DURABILITY";
/// Set apart from what the test harness prints.
const ACK: &str = "ack: ";
const WRITERS: u64 = 3;

/// What the children have said so far.
#[derive(Default)]
struct Said {
    /// Seeds and lengths of what was put.
    put: BTreeMap<String, (u64, usize)>,
    /// Keys whose deletion was begun, and perhaps carried out.
    deleting: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["put", key, seed, len] => {
                self.put.insert(key.into(), (seed.parse().unwrap(), len.parse().unwrap()));
            }
            ["deleting", key] => drop(self.deleting.insert(key.into())),
            ["deleted", key] => drop(self.deleted.insert(key.into())),
            _ => panic!("the child says {line:?}"),
        }
    }

    fn check(&self, store: &Store) {
        assert_eq!(store.recovery().damage, []);
        for (key, &(seed, len)) in &self.put {
            let found = store.get(key).unwrap();
            if self.deleted.contains(key) {
                assert!(found.is_none(), "{key} was deleted and is back");
            } else if found.is_some() || !self.deleting.contains(key) {
                assert!(found == Some(value(seed, len)), "{key} was acknowledged and is lost");
            }
        }
        assert_eq!(store.verify(&kogia::VerifyOptions::default()).unwrap().problems, []);
    }
}

/// The child's part; in the parent process there is nothing to do.
#[test]
fn part_of_the_child_that_is_killed() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let durability = match std::env::var(DURABILITY).unwrap().as_str() {
        "os" => Durability::Os,
        _ => Durability::Sync,
    };
    let root = Path::new(&root);
    let store = options(root)
        .durability(durability)
        .sync_interval(Duration::from_millis(20))
        .checkpoint_interval(Duration::from_millis(60))
        .open(home(root))
        .unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for i in 0.. {
                    write(store, round, writer, i);
                }
            });
        }
    });
}

fn say(words: &str) {
    // The parent may have closed its end already.
    let _ = std::io::stdout().lock().write_all(format!("{ACK}{words}\n").as_bytes());
}

/// One step of a writer: puts of all kinds under keys of their own, and deletes of older ones.
fn write(store: &Store, round: u64, writer: u64, i: u64) {
    let key = format!("{round}/{writer}/{i}");
    let seed = round << 32 | writer << 24 | i;
    let len = [10, 3000, 20_000, 140_000][(i % 4) as usize];
    match i % 5 {
        0 => {
            let mut stream = store.writer(&key).unwrap();
            stream.write_all(&value(seed, len)).unwrap();
            stream.commit().unwrap();
        }
        1 => {
            let mut batch = Batch::new();
            batch.put(&key, value(seed, len)).put(format!("{key}/twin"), value(seed + 1, 50));
            store.write(batch).unwrap();
            say(&format!("put {key}/twin {} 50", seed + 1));
        }
        _ => drop(store.put(&key, value(seed, len)).unwrap()),
    }
    say(&format!("put {key} {seed} {len}"));
    if i % 3 == 2 {
        let old = format!("{round}/{writer}/{}", i / 2);
        say(&format!("deleting {old}"));
        if store.delete(&old).unwrap() {
            say(&format!("deleted {old}"));
        }
    }
}

fn spawn(root: &Path, round: u64, durability: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::part_of_the_child_that_is_killed", "--nocapture"])
        .env(ROOT, root)
        .env(ROUND, round.to_string())
        .env(DURABILITY, durability)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill_in_rounds(durability: &str) {
    let rounds = std::env::var("KOGIA_TEST_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("live");
    let mut said = Said::default();
    for round in 0..rounds {
        let mut child = spawn(&root, round, durability);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut hear = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
            for line in lines {
                if let Some((_, words)) = line.unwrap().split_once(ACK) {
                    said.hear(words);
                }
            }
        };
        // A different moment each time: soon after the start, in the middle of rolls and
        // checkpoints.
        hear(&mut lines.by_ref().take((round * 67 % 120 + 4) as usize));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "the child ended by itself");
        // What it said before it died.
        hear(&mut lines);

        let copy = dir.path().join("copy");
        copy_tree(&root, &copy);
        said.check(&sample::open(&copy).unwrap());
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(said.put.len() as u64 > 4 * rounds && !said.deleted.is_empty());
    let store = sample::open(&root).unwrap();
    said.check(&store);
    drop(store);
    said.check(&options(&root).rebuild(home(&root)).unwrap());
}

#[test]
fn a_killed_process_loses_nothing_acknowledged_as_durable() {
    kill_in_rounds("sync");
}

#[test]
fn a_killed_process_loses_nothing_acknowledged_by_the_operating_system() {
    kill_in_rounds("os");
}
