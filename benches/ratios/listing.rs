//! A page of 1,000 common prefixes, over ever more keys below them: the cost should not grow.

use std::path::Path;
use std::time::Instant;

use kogia::{Batch, Durability, Item, ListOptions, Options, Store};

use crate::machine::{Result, data_dir};
use crate::rounds::{Comparison, Timing};

const PREFIXES: usize = 1000;
const PAGES: usize = 100;

pub fn measure(rounds: usize) -> Result<()> {
    let dir = data_dir()?;
    let mut stores = Vec::new();
    for keys in [10_000, 100_000, 1_000_000] {
        stores.push((keys, store(&dir.path().join(keys.to_string()), keys)?));
    }
    let title = "listing: pages of 1,000 common prefixes; the aim is to be flat";
    let mut comparison = Comparison::new(title, "pages/s")?;
    for (keys, store) in &stores {
        let aim = (*keys > 10_000).then_some(0.5);
        comparison.add(format!("kogia, {keys} keys"), aim, |_| pages(store));
    }
    comparison.measure(rounds)
}

fn store(home: &Path, keys: usize) -> Result<Store> {
    let store = Options::new().durability(Durability::Os).open(home)?;
    let mut left = (0..keys).map(|at| format!("camera-{:03}/{:08}", at % PREFIXES, at / PREFIXES));
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
    let options = ListOptions { delimiter: Some(b"/".to_vec()), ..ListOptions::default() };
    let started = Instant::now();
    for _ in 0..PAGES {
        let page = store.list(&options)?;
        let prefixes = page.items.iter().filter(|item| matches!(item, Item::Prefix(_)));
        assert_eq!((prefixes.count(), page.next), (PREFIXES, None));
    }
    let took = started.elapsed();
    let note = format!("{:.2?} a page", took / PAGES as u32);
    Ok(Timing { took, amount: PAGES as f64, note })
}
