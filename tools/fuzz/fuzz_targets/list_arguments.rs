//! Whatever a listing is asked for, its pages together are the listing by its definition, and
//! cost a move an entry.

#![no_main]

use std::collections::BTreeSet;

use kogia_fuzz::keys::{Item, ListOptions, list};
use kogia_fuzz::seeds;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: seeds::write_if_asked(samples), |data: &[u8]| {
    let mut source = Unstructured::new(data);
    if let Ok((options, keys)) = draw(&mut source) {
        check(&keys, options);
    }
});

/// Bytes that make keys share much: few letters, the least byte and the greatest.
const ALPHABET: [u8; 6] = [b'a', b'b', b'/', 0, 0xff, b'-'];

fn word(source: &mut Unstructured<'_>, longest: usize) -> Result<Vec<u8>> {
    let len = source.int_in_range(0..=longest)?;
    (0..len).map(|_| source.choose(&ALPHABET).copied()).collect()
}

fn draw(source: &mut Unstructured<'_>) -> Result<(ListOptions, BTreeSet<Vec<u8>>)> {
    let options = ListOptions {
        prefix: word(source, 3)?,
        start_after: source.arbitrary::<bool>()?.then(|| word(source, 6)).transpose()?,
        delimiter: source.arbitrary::<bool>()?.then(|| word(source, 3)).transpose()?,
        max_keys: source.int_in_range(0..=9)?,
    };
    let mut keys = BTreeSet::new();
    while !source.is_empty() && keys.len() < 200 {
        keys.insert(word(source, 8)?);
    }
    keys.remove(&Vec::new());
    Ok((options, keys))
}

fn check(keys: &BTreeSet<Vec<u8>>, mut options: ListOptions) {
    if options.max_keys == 0 {
        let page = list(keys, &options);
        assert!(page.items.is_empty() && page.next.is_none());
        return;
    }
    let expected = by_definition(keys, &options);
    let mut found = Vec::new();
    // Each page but the last brings at least one entry, and no entry comes twice.
    for _ in 0..=expected.len() {
        let page = list(keys, &options);
        assert!(page.items.len() <= options.max_keys);
        assert!(page.moves <= page.items.len() + 1, "{} moves for {options:?}", page.moves);
        assert!(page.next.is_none() || page.items.len() == options.max_keys);
        found.extend(page.items);
        options.start_after = page.next;
        if options.start_after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected, "{options:?}");
}

/// The listing, walking every key.
fn by_definition(keys: &BTreeSet<Vec<u8>>, options: &ListOptions) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(&options.prefix)) {
        let common = common_prefix(key, options);
        if options.start_after.as_ref().is_some_and(|after| key <= after || common == Some(after)) {
            continue;
        }
        let item = match common {
            Some(common) => Item::Prefix(common.to_vec()),
            None => Item::Key(key.clone()),
        };
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    items
}

fn common_prefix<'k>(key: &'k [u8], options: &ListOptions) -> Option<&'k [u8]> {
    let delimiter = options.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty())?;
    let from = options.prefix.len();
    let ends = from + delimiter.len()..=key.len();
    ends.map(|end| &key[..end]).find(|common| common.ends_with(delimiter))
}

fn samples() -> Vec<Vec<u8>> {
    // What they mean is up to `arbitrary`; that they are many bytes is what counts.
    (1..=4_u8)
        .map(|factor| (0..=255_u8).map(|i| i.wrapping_mul(factor * 2 + 1)).collect())
        .collect()
}
