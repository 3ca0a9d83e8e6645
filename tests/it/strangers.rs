//! Directories that are not a store's, or not yet, and what opening does to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kogia::queue::Queue;
use kogia::{Create, ErrorKind, Options, Store};

/// Symptom: listing a web site's directory as a store deleted its `index/`. Cause: a directory
/// named `index` was taken for what is left of a store, and a damaged index is made anew. Rule: a
/// store is known by files that only a store has, and an index is removed only if all in it is
/// RocksDB's.
#[test]
fn a_strangers_index_directory_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("index/page.html");
    fs::create_dir_all(dir.path().join("index")).expect("a directory");
    fs::write(&page, "precious").expect("a file");
    let missing = Options::new().create(Create::Never).open(dir.path()).expect_err("no store");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let rebuild = Options::new().rebuild(dir.path()).expect_err("no store");
    assert_eq!(rebuild.kind(), ErrorKind::NotFound);
    let opened = Store::open(dir.path()).expect_err("its index would lie in a stranger's");
    assert_eq!(opened.kind(), ErrorKind::InvalidArgument);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let index_dir = Options::new().index_dir(dir.path().join("index"));
    let opened = index_dir.open(elsewhere.path()).expect_err("it is a stranger's");
    assert_eq!(opened.kind(), ErrorKind::InvalidArgument);
    assert_eq!(fs::read_to_string(page).expect("it is there"), "precious");
}

#[test]
fn a_store_that_could_not_be_made_for_its_disk_is_no_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let (home, full) = (dir.path().join("home"), dir.path().join("full"));
    fs::create_dir_all(&full).expect("a directory");
    fs::write(full.join("holiday.jpg"), "a file").expect("a file");
    let refused = Options::new().disk(&full).open(&home).expect_err("not an empty directory");
    assert_eq!(refused.kind(), ErrorKind::Disk);
    let missing = Options::new().create(Create::Never).open(&home).expect_err("no store");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    Options::new().disk(dir.path().join("empty")).create(Create::Always).open(&home).expect("now");
}

/// Symptom: a rebuild passed over the loss of a sealed track. Cause: it threw the index away before
/// it looked, and the tracks that are left can't tell. Rule: the old index is asked first.
#[test]
fn a_rebuild_names_a_track_that_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    let store = Options::new().track_bytes(64 << 10).open(&home).expect("it opens");
    for i in 0..10 {
        store.put(format!("k{i}"), vec![i; 20_000]).expect("it puts");
    }
    let folder = home.join("tracks").join(store.id().to_string());
    drop(store);
    fs::remove_file(folder.join("0000000001.track")).expect("it is there");
    let refused = Options::new().rebuild(&home).expect_err("a track is gone");
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(refused.to_string().contains("0000000001"), "{refused}");
    let store = Options::new().accept_loss(true).rebuild(&home).expect("the loss is accepted");
    assert_eq!(store.recovery().damage.len(), 1);
    assert_eq!(store.get("k9").expect("it reads"), Some(vec![9; 20_000]));
}

#[test]
fn a_store_and_a_queue_have_directories_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, queue) = (dir.path().join("store"), dir.path().join("queue"));
    drop(Store::open(&store).expect("it opens"));
    drop(Queue::open(&queue).expect("it opens"));
    let listed = |dir: &Path| {
        let names = fs::read_dir(dir).expect("it lists").map(|entry| entry.expect("one").path());
        names.collect::<BTreeSet<_>>()
    };
    let before = [listed(&store), listed(&queue)];
    assert_eq!(Queue::open(&store).expect_err("a store").kind(), ErrorKind::Exists);
    assert_eq!(Store::open(&queue).expect_err("a queue").kind(), ErrorKind::Exists);
    assert_eq!([listed(&store), listed(&queue)], before, "nothing was left in them");
    Store::open(&store).expect("it is as it was");
    Queue::open(&queue).expect("it is as it was");
}

#[test]
fn a_backup_that_is_refused_leaves_nothing_in_a_strangers_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (home, photos) = (dir.path().join("home"), dir.path().join("photos"));
    fs::create_dir_all(&photos).expect("a directory");
    fs::write(photos.join("holiday.jpg"), "a file").expect("a file");
    let store = Store::open(&home).expect("it opens");
    let refused = store.backup(&photos, &Default::default()).expect_err("a stranger's");
    assert_eq!(refused.kind(), ErrorKind::Exists);
    assert_eq!(fs::read_dir(&photos).expect("it lists").count(), 1);
}
