//! The crate's own tests of an implementation, each on a store of its own.
//!
//! All are run but one: `response_extensions` is about HTTP, which there is none of here. Of
//! `get_opts`, what reads earlier versions is passed over by itself: there are none.

use object_store::integration;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::on_a_store;

#[test]
fn puts_gets_deletes_and_lists() {
    on_a_store(async |store| integration::put_get_delete_list(&store).await);
}

#[test]
fn attributes_come_back() {
    on_a_store(async |store| integration::put_get_attributes(&store).await);
}

#[test]
fn conditional_gets() {
    on_a_store(async |store| integration::get_opts(&store).await);
}

#[test]
fn conditional_puts() {
    on_a_store(async |store| integration::put_opts(&store, true).await);
}

#[test]
fn streams_of_parts() {
    on_a_store(async |store| integration::stream_get(&store).await);
}

#[test]
fn directories_are_whole_segments() {
    on_a_store(async |store| integration::list_uses_directories_correctly(&store).await);
}

#[test]
fn listings_with_a_delimiter() {
    on_a_store(async |store| integration::list_with_delimiter(&store).await);
}

#[test]
fn listings_from_an_offset() {
    on_a_store(async |store| integration::list_with_offset_exclusivity(&store).await);
}

#[test]
fn listings_by_pages() {
    on_a_store(async |store| integration::list_paginated(&store, &store).await);
}

#[test]
fn what_is_absent_is_not_found() {
    on_a_store(async |store| {
        for path in [None, Some(Path::from("absent"))] {
            let outcome = integration::get_nonexistent_object(&store, path).await;
            assert!(matches!(outcome, Err(Error::NotFound { .. })), "{outcome:?}");
        }
        integration::copy_rename_nonexistent_object(&store).await;
    });
}

#[test]
fn renames_and_copies() {
    on_a_store(async |store| {
        integration::rename_and_copy(&store).await;
        integration::copy_if_not_exists(&store).await;
    });
}

#[test]
fn uploads_by_name() {
    on_a_store(async |store| {
        integration::multipart(&store, &store).await;
        integration::multipart_with_opts(&store, &store).await;
        integration::multipart_put_part_out_of_order(&store, &store).await;
    });
}

#[test]
fn uploads_of_parts_in_any_order() {
    on_a_store(async |store| integration::multipart_out_of_order(&store).await);
}

#[test]
fn of_two_uploads_of_a_path_the_later_one_to_end_wins() {
    on_a_store(async |store| integration::multipart_race_condition(&store, true).await);
}

#[test]
fn behind_pointers_it_is_the_same() {
    on_a_store(async |store| {
        let store: std::sync::Arc<dyn ObjectStore> = std::sync::Arc::new(store);
        integration::put_get_delete_list(&store).await;
        store.put(&"a".into(), "b".into()).await.unwrap();
    });
}
