//! SIGKILL in the middle of puts, uploads and renames, and the store behind the trait after it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use futures_util::TryStreamExt;
use kogia::object_store::KogiaStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::block_on;
use crate::sample::value;

const HOME: &str = "KOGIA_TEST_OBJECT_STORE_HOME";
const ROUND: &str = "KOGIA_TEST_OBJECT_STORE_ROUND";
/// Set apart from what the test harness prints.
const ACK: &str = "ack: ";
const ROUNDS: u64 = 4;

/// The child's part; in the parent process there is nothing to do.
#[test]
fn part_of_the_child_that_is_killed() {
    let Ok(home) = std::env::var(HOME) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    block_on(async {
        let store = KogiaStore::open(home).unwrap();
        for i in 0.. {
            put(&store, round, i).await;
            let _ = writeln!(std::io::stdout().lock(), "{ACK}{round} {i}");
        }
    });
}

fn path(round: u64, i: u64) -> Path {
    Path::from(format!("{round}/{i}"))
}

fn body(round: u64, i: u64) -> Vec<u8> {
    value(round << 32 | i, [10, 3_000, 700_000][(i / 3 % 3) as usize])
}

async fn put(store: &KogiaStore, round: u64, i: u64) {
    let (path, body) = (path(round, i), body(round, i));
    match i % 3 {
        0 => drop(store.put_opts(&path, body.into(), PutMode::Create.into()).await.unwrap()),
        1 => {
            let mut upload = store.put_multipart(&path).await.unwrap();
            for part in body.chunks(200_000) {
                upload.put_part(part.to_vec().into()).await.unwrap();
            }
            upload.complete().await.unwrap();
        }
        _ => {
            let temporary = Path::from(format!("tmp/{path}"));
            store.put(&temporary, body.into()).await.unwrap();
            store.rename_if_not_exists(&temporary, &path).await.unwrap();
        }
    }
}

/// All that was acknowledged is there, and all that is there is whole.
async fn check(store: &KogiaStore, acknowledged: &BTreeMap<u64, u64>) {
    assert_eq!(store.store().recovery().damage, []);
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    for meta in objects {
        let whole = meta.location.as_ref();
        let (round, i) = whole.trim_start_matches("tmp/").split_once('/').unwrap();
        let (round, i): (u64, u64) = (round.parse().unwrap(), i.parse().unwrap());
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        assert!(bytes == body(round, i), "{whole} has other bytes");
        if whole.starts_with("tmp/") {
            // A rename is at the one place or at the other.
            assert!(store.head(&path(round, i)).await.is_err(), "{whole} is there twice");
        } else {
            *found.entry(round).or_default() += 1;
        }
    }
    for (round, count) in acknowledged {
        let there = found.get(round).copied().unwrap_or_default();
        assert!((*count..=count + 1).contains(&there), "{there} of {count} in round {round}");
    }
    let report = store.store().verify(&kogia::VerifyOptions::default()).unwrap();
    assert_eq!(report.problems, []);
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_when_it_is_opened_again() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "object_store::killed::part_of_the_child_that_is_killed"])
            .arg("--nocapture")
            .env(HOME, home.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acks = lines.map(|line| line.unwrap()).filter(|line| line.contains(ACK));
        // A different moment each time.
        let mut count = acks.by_ref().take(5 + 16 * round as usize).count() as u64;
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "the child ended by itself");
        // What it said before it died.
        count += acks.count() as u64;
        acknowledged.insert(round, count);
        block_on(check(&KogiaStore::open(home.path()).unwrap(), &acknowledged));
    }
}
