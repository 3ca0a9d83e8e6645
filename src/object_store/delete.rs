//! Deleting, in batches.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::Result;
use object_store::path::Path;

use super::blocking::blocking;
use super::error::generic;
use super::object;
use crate::format::record::MAX_KEY_BYTES;
use crate::store::{Batch, Store};

/// Paths that go at once, if so many wait.
const BATCH_KEYS: usize = 1000;
/// The least that a store takes for a batch is four times as much.
const BATCH_BYTES: usize = 1 << 20;

/// Deletes what the stream names, as it comes: what is ready goes in one batch. What is not there is
/// deleted as well as what is.
pub(super) fn delete_stream(
    store: Arc<Store>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let delete = move |ready: Vec<Result<Path>>| {
        let store = store.clone();
        async move {
            let outcomes = blocking(move || Ok(delete(&store, ready))).await;
            stream::iter(outcomes.unwrap_or_else(|error| vec![Err(error)]))
        }
    };
    locations.ready_chunks(BATCH_KEYS).then(delete).flatten().boxed()
}

fn delete(store: &Store, ready: Vec<Result<Path>>) -> Vec<Result<Path>> {
    let mut outcomes = Vec::with_capacity(ready.len());
    let mut ready = ready.into_iter().peekable();
    while ready.peek().is_some() {
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(location) = ready.next_if(|_| bytes < BATCH_BYTES) {
            bytes += location.as_ref().map_or(0, |location| object::key(location).len());
            taken.push(location);
        }
        outcomes.extend(delete_batch(store, taken));
    }
    outcomes
}

fn delete_batch(store: &Store, taken: Vec<Result<Path>>) -> impl Iterator<Item = Result<Path>> {
    let mut batch = Batch::new();
    for key in taken.iter().flatten().map(object::key) {
        // No object has a key that is none.
        if (1..=MAX_KEY_BYTES).contains(&key.len()) {
            batch.delete(key);
        }
    }
    let done = store.write(batch);
    taken.into_iter().map(move |location| match &done {
        Ok(_) => location,
        Err(error) => location.and(Err(generic(error.clone()))),
    })
}
