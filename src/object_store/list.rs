//! Listings: page by page, from the index alone.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::{DELIMITER, Path};
use object_store::{ListResult, ObjectMeta, Result};

use super::blocking::blocking;
use super::error::generic;
use super::object;
use crate::store::{Item, ListOptions, Store};

/// All objects below `prefix`, in the byte order of their paths, those behind `offset` only. Each page
/// is of the moment when it is asked for.
pub(super) fn list(
    store: Arc<Store>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let first = ListOptions {
        prefix: below(prefix),
        start_after: offset.map(|offset| object::key(offset).to_vec()),
        ..ListOptions::default()
    };
    let next = move |options| objects(store.clone(), options);
    stream::try_unfold(Some(first), next).try_flatten().boxed()
}

/// The objects of a page, and how the next one is asked for.
async fn objects(
    store: Arc<Store>,
    options: Option<ListOptions>,
) -> Result<Option<(impl Stream<Item = Result<ObjectMeta>>, Option<ListOptions>)>> {
    let Some(options) = options else { return Ok(None) };
    let (level, next) = blocking(move || page(&store, options)).await?;
    Ok(Some((stream::iter(level.objects.into_iter().map(Ok)), next)))
}

/// What lies directly below `prefix`. What lies deeper is sought past.
pub(super) async fn list_with_delimiter(
    store: Arc<Store>,
    prefix: Option<&Path>,
) -> Result<ListResult> {
    let first = ListOptions {
        prefix: below(prefix),
        delimiter: Some(DELIMITER.into()),
        ..ListOptions::default()
    };
    blocking(move || {
        let mut whole = empty();
        let mut options = Some(first);
        while let Some(some) = options {
            let (level, next) = page(&store, some)?;
            whole.objects.extend(level.objects);
            whole.common_prefixes.extend(level.common_prefixes);
            options = next;
        }
        Ok(whole)
    })
    .await
}

/// One page, by prefixes and delimiters of any kind. The token is the place where the next one goes
/// on, in hexadecimal: keys of others need not be text.
pub(super) async fn list_paginated(
    store: Arc<Store>,
    prefix: Option<&str>,
    asked: PaginatedListOptions,
) -> Result<PaginatedListResult> {
    let start_after = match asked.page_token {
        Some(token) => Some(of_token(&token).ok_or_else(|| generic("no token of a page"))?),
        None => asked.offset.map(String::into_bytes),
    };
    let options = ListOptions {
        prefix: prefix.unwrap_or_default().into(),
        start_after,
        delimiter: asked.delimiter.map(|delimiter| delimiter.as_bytes().to_vec()),
        max_keys: asked.max_keys.unwrap_or(ListOptions::default().max_keys),
    };
    blocking(move || {
        let (result, next) = page(&store, options)?;
        let after = next.and_then(|next| next.start_after);
        Ok(PaginatedListResult { result, page_token: after.as_deref().map(token) })
    })
    .await
}

/// One page, and how the next one is asked for. Keys that are no paths are passed over.
fn page(store: &Store, mut options: ListOptions) -> Result<(ListResult, Option<ListOptions>)> {
    let page = store.list(&options).map_err(generic)?;
    let mut level = empty();
    for item in page.items {
        match item {
            Item::Object { key, info } => {
                let location = object::path(&key);
                level.objects.extend(location.map(|location| object::meta(location, &info)));
            }
            Item::Prefix(prefix) => {
                let directory = prefix.strip_suffix(DELIMITER.as_bytes()).unwrap_or(&prefix);
                level.common_prefixes.extend(object::path(directory));
            }
        }
    }
    options.start_after = page.next;
    Ok((level, options.start_after.is_some().then_some(options)))
}

/// What the keys below a path begin with.
fn below(prefix: Option<&Path>) -> Vec<u8> {
    match prefix {
        Some(prefix) if !prefix.is_root() => format!("{prefix}{DELIMITER}").into_bytes(),
        _ => Vec::new(),
    }
}

fn empty() -> ListResult {
    ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() }
}

fn token(after: &[u8]) -> String {
    after.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_token(token: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| (digit as char).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    };
    token.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_any_key() {
        for key in [&b""[..], b"a/b", &[0, 9, 0x7f, 0x80, 0xff]] {
            assert_eq!(of_token(&token(key)).as_deref(), Some(key));
        }
        for bad in ["1", "0g", "ü"] {
            assert_eq!(of_token(bad), None, "{bad}");
        }
    }
}
