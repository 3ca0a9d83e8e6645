//! Listing by pages.

use kogia::{Info, Item, ListOptions, Store};

use crate::failure::Failure;

/// The objects whose keys begin with `prefix`, a page at a time, in the order of their keys.
/// Objects that come or go meanwhile may or may not be among them.
pub fn pages(
    store: &Store,
    prefix: &[u8],
) -> impl Iterator<Item = Result<Vec<(Vec<u8>, Info)>, Failure>> {
    let options = ListOptions { prefix: prefix.to_vec(), ..ListOptions::default() };
    let mut next_page = Some(options);
    std::iter::from_fn(move || {
        let options = next_page.take()?;
        let page = match store.list(&options) {
            Ok(page) => page,
            Err(error) => return Some(Err(error.into())),
        };
        next_page = page.next.map(|next| ListOptions { start_after: Some(next), ..options });
        Some(Ok(page.items.into_iter().filter_map(object).collect()))
    })
}

fn object(item: Item) -> Option<(Vec<u8>, Info)> {
    match item {
        Item::Object { key, info } => Some((key, info)),
        Item::Prefix(_) => None,
    }
}
