//! Uploads in parts, and what is left of those that do not end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future;
use kogia::object_store::KogiaStore;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};

use super::{block_on, on_a_store, read};
use crate::sample::value;

/// What is dropped is freed on another thread.
fn assert_no_parts_stay(store: &kogia::Store) {
    let begun = Instant::now();
    while !store.parts().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", store.parts());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn parts_are_put_at_once_and_lie_in_the_order_they_were_asked_for() {
    on_a_store(async |store| {
        let mut upload = store.put_multipart(&"a".into()).await.unwrap();
        let bodies: Vec<_> = (0..20).map(|i| Bytes::from(value(i, 100_000 * i as usize))).collect();
        let parts: Vec<_> =
            bodies.iter().map(|body| upload.put_part(body.clone().into())).collect();
        // The last one begins first.
        for outcome in future::join_all(parts.into_iter().rev().map(tokio::spawn)).await {
            outcome.unwrap().unwrap();
        }
        upload.complete().await.unwrap();
        assert!(read(&store, "a").await == bodies.concat(), "other bytes");
        assert_eq!(store.store().parts().unwrap(), []);
    });
}

#[test]
fn an_upload_that_is_dropped_leaves_nothing_behind() {
    on_a_store(async |store| {
        let mut upload = store.put_multipart(&"a".into()).await.unwrap();
        upload.put_part(vec![1; 3 << 20].into()).await.unwrap();
        upload.put_part(vec![2; 10].into()).await.unwrap();
        drop(upload.put_part("never polled".into()));
        let mut in_flight = upload.put_part(vec![3; 3 << 20].into());
        assert!(futures_util::poll!(&mut in_flight).is_pending());
        assert_ne!(store.store().parts().unwrap(), []);
        drop((upload, in_flight));
        assert_no_parts_stay(store.store());
        assert!(matches!(store.head(&"a".into()).await, Err(Error::NotFound { .. })));
        let problems = store.store().verify(&kogia::VerifyOptions::default()).unwrap().problems;
        assert_eq!(problems, []);
    });
}

#[test]
fn an_upload_that_is_aborted_leaves_nothing_behind_and_takes_no_more() {
    on_a_store(async |store| {
        let mut upload = store.put_multipart(&"a".into()).await.unwrap();
        upload.put_part(vec![1; 3 << 20].into()).await.unwrap();
        let mut in_flight = upload.put_part(vec![3; 3 << 20].into());
        assert!(futures_util::poll!(&mut in_flight).is_pending());
        upload.abort().await.unwrap();
        let _ = in_flight.await;
        assert_eq!(store.store().parts().unwrap(), []);
        assert!(upload.put_part("late".into()).await.is_err());
        assert!(upload.complete().await.is_err());
        assert!(matches!(store.head(&"a".into()).await, Err(Error::NotFound { .. })));
    });
}

#[test]
fn an_upload_of_which_a_part_is_missing_is_not_completed() {
    on_a_store(async |store| {
        let mut upload = store.put_multipart(&"a".into()).await.unwrap();
        upload.put_part("one".into()).await.unwrap();
        drop(upload.put_part("two".into()));
        let error = upload.complete().await.unwrap_err();
        assert!(error.to_string().contains("part 1"), "{error}");
        assert!(matches!(store.head(&"a".into()).await, Err(Error::NotFound { .. })));
        drop(upload);
        assert_no_parts_stay(store.store());
    });
}

#[test]
fn uploads_by_name_are_their_path_s_and_end_once() {
    on_a_store(async |store| {
        let (a, b) = (Path::from("a"), Path::from("b"));
        let id = store.create_multipart(&a).await.unwrap();
        let stale = store.put_part(&a, &id, 0, "zero".into()).await.unwrap();
        let zero = store.put_part(&a, &id, 0, "one ".into()).await.unwrap();
        let one = store.put_part(&a, &id, 1, "two".into()).await.unwrap();
        store.put_part(&a, &id, 2, "not asked for".into()).await.unwrap();
        assert!(matches!(store.put_part(&b, &id, 0, "".into()).await, Err(Error::NotFound { .. })));
        let unknown = PartId { content_id: "7".into() };
        for wrong in [vec![stale], vec![one.clone(), zero.clone()], vec![unknown]] {
            assert!(store.complete_multipart(&a, &id, wrong).await.is_err());
        }
        store.clone().complete_multipart(&a, &id, vec![zero, one]).await.unwrap();
        assert_eq!(read(&store, "a").await, "one two");
        assert_eq!(store.store().parts().unwrap(), []);
        let again = store.complete_multipart(&a, &id, vec![]).await;
        assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");

        let id = store.create_multipart(&a).await.unwrap();
        store.put_part(&a, &id, 5, "gone".into()).await.unwrap();
        store.abort_multipart(&a, &id).await.unwrap();
        assert_eq!(store.store().parts().unwrap(), []);
        assert!(matches!(store.abort_multipart(&a, &id).await, Err(Error::NotFound { .. })));
    });
}

#[test]
fn uploads_by_name_that_do_not_end_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(kogia::Store::open(dir.path()).unwrap());
    block_on(async {
        let uploads = KogiaStore::new(store.clone());
        let path = Path::from("a");
        let id = uploads.create_multipart(&path).await.unwrap();
        uploads.put_part(&path, &id, 0, vec![1; 1 << 20].into()).await.unwrap();
        assert_eq!(store.parts().unwrap().len(), 1);
    });
    assert_no_parts_stay(&store);
    // Nothing holds the store any more: it can be closed by whoever opened it.
    Arc::into_inner(store).expect("the last one").close().unwrap();
}
