//! A store behind Apache's `object_store`: the crate's own tests of an implementation, and what is
//! promised beyond them.

mod conformance;
mod killed;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use futures_util::{FutureExt, future};
use kogia::object_store::{KogiaStore, Tags};
use kogia::{ErrorKind, Options, PutOptions};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, ObjectStore, ObjectStoreExt,
    PutMode, PutPayload, RenameOptions, RenameTargetMode, TagSet, UpdateVersion,
};

use crate::sample::value;

/// Runs a test on a new store, with threads enough for races.
fn on_a_store(test: impl AsyncFnOnce(KogiaStore)) {
    let dir = tempfile::tempdir().unwrap();
    let store = Options::new().memory_bytes(16 << 20).open(dir.path()).unwrap();
    block_on(test(KogiaStore::new(Arc::new(store))));
}

/// What was begun on other threads is ended when this returns.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(test)
}

async fn read(store: &KogiaStore, path: &str) -> Bytes {
    store.get(&path.into()).await.unwrap().bytes().await.unwrap()
}

async fn listed(store: &KogiaStore, prefix: Option<&Path>) -> Vec<String> {
    let paths = store.list(prefix).map_ok(|meta| meta.location.to_string());
    paths.try_collect().await.unwrap()
}

fn update(e_tag: Option<&str>, version: Option<&str>) -> PutMode {
    let text = |text: &str| text.to_owned();
    PutMode::Update(UpdateVersion { e_tag: e_tag.map(text), version: version.map(text) })
}

#[test]
fn of_concurrent_creates_of_a_path_one_wins() {
    on_a_store(async |store| {
        for round in 0..10 {
            let path = Path::from(format!("commit/{round}"));
            let tries = (0..16).map(|i| {
                let (store, path) = (store.clone(), path.clone());
                tokio::spawn(async move {
                    let body = format!("by {i}").into();
                    (i, store.put_opts(&path, body, PutMode::Create.into()).await)
                })
            });
            let mut winners = Vec::new();
            for outcome in future::join_all(tries).await {
                match outcome.unwrap() {
                    (i, Ok(_)) => winners.push(i),
                    (_, Err(Error::AlreadyExists { .. })) => {}
                    (_, Err(error)) => panic!("{error}"),
                }
            }
            let [winner] = winners[..] else { panic!("{winners:?} have won") };
            assert_eq!(read(&store, path.as_ref()).await, format!("by {winner}"));
        }
    });
}

#[test]
fn an_update_is_refused_unless_it_names_the_put_that_it_replaces() {
    on_a_store(async |store| {
        let path = Path::from("counter");
        let first = store.put(&path, "1".into()).await.unwrap().e_tag;
        let second = store.put(&path, "2".into()).await.unwrap().e_tag;
        let put = async |mode: PutMode| store.put_opts(&path, "3".into(), mode.into()).await;
        for stale in [
            update(first.as_deref(), None),
            update(Some("\"1\""), None),
            update(Some("*"), None),
            update(second.as_deref(), Some("1")),
        ] {
            let error = put(stale).await.unwrap_err();
            assert!(matches!(error, Error::Precondition { .. }), "{error}");
        }
        assert!(matches!(put(update(None, None)).await, Err(Error::Generic { .. })));
        assert_eq!(read(&store, "counter").await, "2");
        put(update(second.as_deref(), None)).await.unwrap();
        assert_eq!(read(&store, "counter").await, "3");

        // What was put again after a delete is another one.
        let third = store.head(&path).await.unwrap().e_tag;
        store.delete(&path).await.unwrap();
        store.put(&path, "3".into()).await.unwrap();
        let error = put(update(third.as_deref(), None)).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    });
}

#[test]
fn an_object_is_read_in_pieces_of_which_each_is_small_and_all_are_of_one_put() {
    on_a_store(async |store| {
        let path = Path::from("long");
        let part = Bytes::from(value(1, 8 << 20));
        let mut upload = store.put_multipart(&path).await.unwrap();
        for _ in 0..8 {
            upload.put_part(part.clone().into()).await.unwrap();
        }
        upload.complete().await.unwrap();

        let found = store.get(&path).await.unwrap();
        assert_eq!(found.range, 0..64 << 20);
        let mut pieces = found.into_stream();
        let mut at = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= 1 << 20, "{} bytes at once", piece.len());
            // They lie as the parts do: none goes over a part's end.
            let from = at % part.len();
            assert!(piece == part[from..from + piece.len()], "other bytes at {at}");
            if at == 0 {
                store.put(&path, "short".into()).await.unwrap();
            }
            at += piece.len();
        }
        assert_eq!(at, 64 << 20);
        assert_eq!(read(&store, "long").await, "short");
    });
}

#[test]
fn a_payload_of_pieces_is_put_whole() {
    on_a_store(async |store| {
        for (count, len) in [(3, 10), (700, 10_007)] {
            let pieces: Vec<_> = (0..count).map(|i| Bytes::from(value(i, len))).collect();
            let payload = PutPayload::from_iter(pieces.clone());
            store.put_opts(&"of pieces".into(), payload, PutMode::Overwrite.into()).await.unwrap();
            assert!(read(&store, "of pieces").await == pieces.concat(), "other bytes");
        }
        let long = PutPayload::from_iter([Bytes::from(vec![1; 6 << 20]), Bytes::from_static(b"2")]);
        let taken = store.put_opts(&"of pieces".into(), long, PutMode::Create.into()).await;
        assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    });
}

#[test]
fn ranges_may_overlap_and_end_with_the_object() {
    on_a_store(async |store| {
        let (path, whole) = (Path::from("a"), Bytes::from(value(7, 3 << 20)));
        store.put(&path, whole.clone().into()).await.unwrap();
        let end = whole.len() as u64;
        let ranges = [5..9, 0..2_000_000, 1_999_999..2_000_001, 7..8, end - 3..end + 10];
        let found = store.get_ranges(&path, &ranges).await.unwrap();
        for (range, found) in ranges.iter().zip(found) {
            let expected = range.start as usize..range.end.min(end) as usize;
            assert!(found == whole[expected], "{range:?}");
        }
        assert_eq!(store.get_ranges(&path, &[]).await.unwrap(), Vec::<Bytes>::new());
        for range in [end..end + 1, 3..3] {
            let refused = store.get_ranges(&path, &[0..1, range]).await;
            assert!(matches!(refused, Err(Error::Generic { .. })), "{refused:?}");
        }
        let absent = store.get_ranges(&"b".into(), &ranges).await;
        assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    });
}

#[test]
fn a_head_reads_nothing_and_says_all() {
    on_a_store(async |store| {
        let path = Path::from("a");
        let put = store.put(&path, vec![1; 100].into()).await.unwrap();
        let options = GetOptions::new().with_head(true).with_range(Some(10..20));
        let found = store.get_opts(&path, options).await.unwrap();
        assert_eq!((found.meta.size, found.range.clone()), (100, 10..20));
        assert_eq!(found.meta.e_tag, put.e_tag);
        let info = store.store().head("a").unwrap().unwrap();
        assert_eq!(found.meta.last_modified.timestamp_millis() as u64, info.created_ms);
        assert_eq!(
            found.into_stream().map_ok(|piece| piece.len()).try_next().await.unwrap(),
            Some(0)
        );
        let versioned = store.get_opts(&path, GetOptions::new().with_version(Some("1"))).await;
        assert!(matches!(versioned, Err(Error::NotSupported { .. })), "{versioned:?}");
    });
}

#[test]
fn any_path_is_a_key_and_other_keys_are_passed_over() {
    on_a_store(async |store| {
        let long = format!("z/{}", "long".repeat(1000));
        let mut odd = vec![
            "a b/c\u{a0}d",
            "a%2Fb/%00",
            "a+b&c=d?e#f",
            "a\\b|c\"d'e<f>g`h",
            "a/...",
            "a/b/.c",
            "a.b/~",
            "{curly}/[square]/(round)",
            "Ünïcödé/\u{1f640}/\u{202e}rtl",
            "a/\u{10ffff}",
            &long,
        ];
        for path in &odd {
            let path = Path::parse(path).unwrap();
            store.put(&path, path.to_string().into()).await.unwrap();
        }
        for theirs in [&b"/a"[..], b"a/", b"a//b", b"a/./b", b"a/\xff", b"\x00", b"a/b\n"] {
            store.store().put(theirs, "theirs").unwrap();
        }
        odd.sort_unstable();
        assert_eq!(listed(&store, None).await, odd);
        for path in &odd {
            let path = Path::parse(path).unwrap();
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), path.as_ref());
            let parent = path.parent().unwrap();
            assert!(listed(&store, Some(&parent)).await.contains(&path.to_string()));
            let level = store.list_with_delimiter(Some(&parent)).await.unwrap();
            assert!(level.objects.iter().any(|meta| meta.location == path), "{path}");
        }
        assert_eq!(listed(&store, Some(&"a".into())).await, ["a/...", "a/b/.c", "a/\u{10ffff}"]);
    });
}

#[test]
fn a_path_that_can_be_no_key_is_not_there_and_not_put() {
    on_a_store(async |store| {
        for path in [Path::ROOT, Path::from("x".repeat(65_536))] {
            let absent = |outcome: Error| matches!(outcome, Error::NotFound { .. });
            assert!(absent(store.get(&path).await.unwrap_err()));
            assert!(absent(store.head(&path).await.unwrap_err()));
            assert!(absent(store.copy(&path, &"a".into()).await.unwrap_err()));
            assert!(absent(store.rename(&path, &"a".into()).await.unwrap_err()));
            store.delete(&path).await.unwrap();
            let Error::Generic { source, .. } = store.put(&path, "".into()).await.unwrap_err()
            else {
                panic!("an error of another kind")
            };
            let source = source.downcast_ref::<kogia::Error>().expect("the store's own error");
            assert_eq!(source.kind(), ErrorKind::InvalidArgument);
        }
    });
}

#[test]
fn listings_go_on_over_pages_in_the_order_of_the_paths() {
    on_a_store(async |store| {
        let mut batch = kogia::Batch::new();
        let paths: Vec<_> = (0..3500).map(|i| format!("t/{:02}/{i:04}", i / 100)).collect();
        for path in &paths {
            batch.put(path, "");
        }
        // Behind and before the prefix, and not below it.
        batch.put("t", "").put("t.x", "").put("s/1", "").put("t0", "");
        store.store().write(batch).unwrap();

        assert_eq!(listed(&store, Some(&"t".into())).await, paths);
        let behind = async |prefix: &str, offset: &str| -> Vec<String> {
            let prefix = Path::from(prefix);
            let found = store.list_with_offset(Some(&prefix), &Path::from(offset));
            found.map_ok(|meta| meta.location.into()).try_collect().await.unwrap()
        };
        assert_eq!(behind("t", "t/10/1007").await, paths[1008..]);
        assert_eq!(behind("t", "s/2").await, paths);
        assert_eq!(behind("t/03", "t/03").await, paths[300..400]);
        assert_eq!(behind("t/03", "t/04").await, Vec::<String>::new());

        let level = store.list_with_delimiter(Some(&"t".into())).await.unwrap();
        let expected: Vec<_> = (0..35).map(|i| Path::from(format!("t/{i:02}"))).collect();
        assert_eq!((level.common_prefixes, level.objects), (expected, vec![]));
        let level = store.list_with_delimiter(None).await.unwrap();
        assert_eq!(level.common_prefixes, [Path::from("s"), Path::from("t")]);
        assert_eq!(level.objects.len(), 3);
    });
}

#[test]
fn a_level_of_more_than_a_page_is_listed_whole() {
    on_a_store(async |store| {
        let mut batch = kogia::Batch::new();
        for i in 0..2500 {
            batch.put(format!("d/{i:04}"), "").put(format!("d/{i:04}/deep"), "");
        }
        store.store().write(batch).unwrap();
        let level = store.list_with_delimiter(Some(&"d".into())).await.unwrap();
        assert_eq!((level.objects.len(), level.common_prefixes.len()), (2500, 2500));
    });
}

#[test]
fn a_stream_of_deletes_answers_each_path_in_its_place() {
    on_a_store(async |store| {
        for i in (0..2500).step_by(2) {
            store.store().put(format!("{i}"), "").unwrap();
        }
        store.store().put("kept", "").unwrap();
        let named = |i: usize| match i {
            7 | 1000 => Err(Error::NotSupported { source: "given so".into() }),
            _ => Ok(Path::from(i.to_string())),
        };
        let outcomes = store.delete_stream(stream::iter((0..2500).map(named)).boxed());
        let outcomes: Vec<_> = outcomes.collect().await;
        assert_eq!(outcomes.len(), 2500);
        for (i, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(path) => assert_eq!(path, Path::from(i.to_string())),
                Err(Error::NotSupported { .. }) => assert!(i == 7 || i == 1000),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(listed(&store, None).await, ["1000", "kept"]);

        // A stream that is not ready does not hold up what came before.
        let waiting = stream::iter([Ok("kept".into())]).chain(stream::pending()).boxed();
        let first = store.delete_stream(waiting).next().await.unwrap().unwrap();
        assert_eq!(first, Path::from("kept"));
    });
}

#[test]
fn keys_of_any_length_are_deleted_in_one_stream() {
    on_a_store(async |store| {
        let paths: Vec<_> =
            (0..100).map(|i| Path::from(format!("{i}{}", "x".repeat(65_000)))).collect();
        for path in &paths {
            store.put(path, "".into()).await.unwrap();
        }
        let deleted = store.delete_stream(stream::iter(paths.clone()).map(Ok).boxed());
        assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap(), paths);
        assert_eq!(listed(&store, None).await, Vec::<String>::new());
    });
}

#[test]
fn copies_and_renames_take_along_what_is_kept_with_the_object() {
    on_a_store(async |store| {
        let attributes = Attributes::from_iter([(Attribute::ContentType, "video/mp4")]);
        let mut tags = TagSet::default();
        tags.push("camera", "1");
        for len in [10, 3 << 20] {
            let body = Bytes::from(value(3, len));
            let put = object_store::PutOptions {
                attributes: attributes.clone(),
                tags: tags.clone(),
                ..Default::default()
            };
            store.put_opts(&"a".into(), body.clone().into(), put).await.unwrap();
            store.copy(&"a".into(), &"b".into()).await.unwrap();
            store.rename(&"b".into(), &"c".into()).await.unwrap();
            assert_eq!(listed(&store, None).await, ["a", "c"]);
            let found = store.get(&"c".into()).await.unwrap();
            assert_eq!(found.attributes, attributes);
            assert_eq!(found.extensions.get::<Tags>(), Some(&Tags("camera=1".into())));
            assert!(found.bytes().await.unwrap() == body, "other bytes");

            let until = PutOptions { expires_ms: Some(4_000_000_000_000), ..PutOptions::default() };
            store.store().put_with("a", &body, &until).unwrap();
            store.rename(&"a".into(), &"b".into()).await.unwrap();
            let info = store.store().head("b").unwrap().unwrap();
            assert_eq!(info.expires_ms, until.expires_ms);
        }
    });
}

#[test]
fn a_rename_takes_no_place_that_is_taken_and_loses_nothing_onto_itself() {
    on_a_store(async |store| {
        for len in [10, 3 << 20] {
            let body = Bytes::from(value(3, len));
            store.put(&"a".into(), body.clone().into()).await.unwrap();
            store.put(&"b".into(), "taken".into()).await.unwrap();
            let rename = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
            let copy = CopyOptions::new().with_mode(CopyMode::Create);
            for outcome in [
                store.rename_opts(&"a".into(), &"b".into(), rename.clone()).await,
                store.rename_opts(&"a".into(), &"a".into(), rename).await,
                store.copy_opts(&"a".into(), &"b".into(), copy).await,
            ] {
                assert!(matches!(outcome, Err(Error::AlreadyExists { .. })), "{outcome:?}");
            }
            store.rename(&"a".into(), &"a".into()).await.unwrap();
            store.copy(&"a".into(), &"a".into()).await.unwrap();
            assert!(read(&store, "a").await == body, "other bytes");
            assert_eq!(read(&store, "b").await, "taken");
        }
    });
}

#[test]
fn of_concurrent_renames_to_a_path_that_is_free_one_wins() {
    on_a_store(async |store| {
        for i in 0..8 {
            store.put(&Path::from(format!("tmp/{i}")), format!("by {i}").into()).await.unwrap();
        }
        let renames = (0..8).map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                let from = Path::from(format!("tmp/{i}"));
                store.rename_if_not_exists(&from, &"commit".into()).await
            })
        });
        let outcomes = future::join_all(renames).await;
        let won = |outcome: &Result<_, _>| matches!(outcome, Ok(Ok(())));
        let winner = outcomes.iter().position(won).expect("one wins");
        assert_eq!(outcomes.iter().filter(|outcome| won(outcome)).count(), 1);
        assert_eq!(read(&store, "commit").await, format!("by {winner}"));
        assert_eq!(listed(&store, Some(&"tmp".into())).await.len(), 7);
    });
}

#[test]
fn what_others_keep_with_an_object_is_not_shown() {
    on_a_store(async |store| {
        let theirs = PutOptions { attributes: b"theirs".into(), ..PutOptions::default() };
        store.store().put_with("a", "bytes", &theirs).unwrap();
        let found = store.get(&"a".into()).await.unwrap();
        assert!(found.attributes.is_empty());
        assert_eq!(found.bytes().await.unwrap(), "bytes");
    });
}

#[test]
fn without_a_runtime_calls_run_in_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let store = KogiaStore::open(dir.path()).unwrap();
    let now = |error| panic!("{error}");
    store.put(&"a".into(), "b".into()).now_or_never().unwrap().unwrap_or_else(now);
    let found = store.get(&"a".into()).now_or_never().unwrap().unwrap();
    assert_eq!(found.bytes().now_or_never().unwrap().unwrap(), "b");
    assert_eq!(store.to_string(), format!("Kogia({})", dir.path().display()));
}
