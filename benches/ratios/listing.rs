//! A page of 1,000 common prefixes, over ever more keys: the cost should not grow. Once with ever more
//! keys below each prefix, which then have blocks of the index of their own; and once with ever more
//! prefixes.

use std::path::Path;
use std::time::Instant;

use kogia::{Batch, Durability, Item, ListOptions, Options, Store};

use crate::machine::{Result, data_dir};
use crate::rounds::{Comparison, Timing};

const PAGE_PREFIXES: usize = 1000;
const FEW_BELOW: usize = 10;
const KEYS: [usize; 3] = [10_000, 100_000, 1_000_000];
const PAGES: usize = 100;

pub fn measure(rounds: usize) -> Result<()> {
    let denser = "listing: pages of 1,000 common prefixes, ever more keys below each; aim: flat";
    compare(rounds, denser, |_| PAGE_PREFIXES)?;
    let wider = "listing: pages of 1,000 common prefixes, 10 keys below each; aim: flat";
    compare(rounds, wider, |keys| keys / FEW_BELOW)
}

fn compare(rounds: usize, title: &str, prefixes: impl Fn(usize) -> usize) -> Result<()> {
    let dir = data_dir()?;
    let mut stores = Vec::new();
    for keys in KEYS {
        stores.push((keys, store(&dir.path().join(keys.to_string()), keys, prefixes(keys))?));
    }
    let mut comparison = Comparison::new(title, "pages/s")?;
    for (keys, store) in &stores {
        let aim = (*keys > KEYS[0]).then_some(0.5);
        comparison.add(format!("kogia, {keys} keys"), aim, |_| pages(store));
    }
    comparison.measure(rounds)
}

fn store(home: &Path, keys: usize, prefixes: usize) -> Result<Store> {
    let store = Options::new().durability(Durability::Os).open(home)?;
    let key = |at: usize| format!("camera-{:06}/{:08}", at % prefixes, at / prefixes);
    let mut left = (0..keys).map(key);
    loop {
        let mut batch = Batch::new();
        for key in left.by_ref().take(5000) {
            batch.put(key, "value");
        }
        if batch.is_empty() {
            break;
        }
        store.write(batch)?;
    }
    store.checkpoint()?;
    Ok(store)
}

fn pages(store: &Store) -> Result<Timing> {
    let options = ListOptions {
        delimiter: Some(b"/".to_vec()),
        max_keys: PAGE_PREFIXES,
        ..ListOptions::default()
    };
    let started = Instant::now();
    for _ in 0..PAGES {
        let page = store.list(&options)?;
        let prefixes = page.items.iter().filter(|item| matches!(item, Item::Prefix(_)));
        assert_eq!(prefixes.count(), PAGE_PREFIXES);
    }
    let took = started.elapsed();
    let note = format!("{:.2?} a page", took / PAGES as u32);
    Ok(Timing { took, amount: PAGES as f64, note })
}
