//! The rows of a space that a join has looked up or changed. Knows nothing of what is in them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

/// What an entry without attributes takes at most, about.
pub(super) const ENTRY_BYTES: usize = 64;

/// Rows of entries, by key.
///
/// Those of a chain are looked up together, and their keys lie in one run of memory, in their
/// order: RocksDB finds the place of a row faster beside the one before. They are then asked for
/// in the order of the chain's records, so that finding one seldom takes a search.
#[derive(Default)]
pub(super) struct Rows {
    /// Keys that were looked up and rows that were put, one behind the other.
    bytes: Vec<u8>,
    /// In the order of their keys, each once.
    looked_up: Vec<Known>,
    /// The place in `looked_up` of each key, in the order in which they are asked for.
    order: Vec<u32>,
    /// Where in `order` the last key was.
    asked: Cell<usize>,
    /// Changed without having been looked up.
    others: BTreeMap<Vec<u8>, Option<Range<usize>>>,
}

/// Where the row of a key is that was looked up.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl Place {
    /// Its number: keys have ascending ones.
    pub(super) fn at(self) -> usize {
        self.0
    }
}

struct Known {
    key: Range<usize>,
    row: Row,
}

enum Row {
    /// As it is in the index.
    Old(Option<Vec<u8>>),
    /// Put (in `bytes`) or deleted.
    New(Option<Range<usize>>),
}

impl Rows {
    /// Looks up the rows of `keys`, which will be asked for in this order; `get` is given each
    /// once, ascending.
    pub(super) fn look_up<E>(
        keys: &[&[u8]],
        get: impl FnOnce(&[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, E>,
    ) -> Result<Self, E> {
        let ascending = ascending(keys);
        let mut rows = Rows { order: vec![0; keys.len()], ..Rows::default() };
        rows.bytes.reserve(keys.iter().map(|key| key.len() + ENTRY_BYTES).sum());
        let mut unique: Vec<&[u8]> = Vec::with_capacity(keys.len());
        for at in ascending {
            let key = keys[at];
            if unique.last() != Some(&key) {
                unique.push(key);
            }
            rows.order[at] = unique.len() as u32 - 1;
        }
        let found = get(&unique)?;
        rows.looked_up.reserve(unique.len());
        for (key, row) in unique.into_iter().zip(found) {
            let key = rows.store(key);
            rows.looked_up.push(Known { key, row: Row::Old(row) });
        }
        Ok(rows)
    }

    /// Whether these very keys were looked up, in this order.
    pub(super) fn are_of(&self, keys: &[&[u8]]) -> bool {
        let known = |at: &u32| &self.bytes[self.looked_up[*at as usize].key.clone()];
        self.order.len() == keys.len() && self.order.iter().map(known).eq(keys.iter().copied())
    }

    /// The row of a key, if it is known here: `Some(None)` where there is none.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if let Some(place) = self.place(key) {
            return Some(self.at(place));
        }
        self.others.get(key).map(|row| row.clone().map(|row| &self.bytes[row]))
    }

    /// Where a key's row is, if it was looked up.
    pub(super) fn place(&self, key: &[u8]) -> Option<Place> {
        self.find(key).map(Place)
    }

    /// The key of a place, which is below the number of keys that were looked up.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        &self.bytes[self.looked_up[at].key.clone()]
    }

    /// The row there; `None` where there is none.
    pub(super) fn at(&self, place: Place) -> Option<&[u8]> {
        match &self.looked_up[place.0].row {
            Row::Old(row) => row.as_deref(),
            Row::New(row) => row.clone().map(|row| &self.bytes[row]),
        }
    }

    /// Changes the row of a key to what `write` appends; `place` is the key's.
    pub(super) fn put(
        &mut self,
        key: &[u8],
        place: Option<Place>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.set(key, place, Some(start..self.bytes.len()));
    }

    /// Deletes the row of a key.
    pub(super) fn delete(&mut self, key: &[u8]) {
        self.set(key, self.place(key), None);
    }

    /// The rows that were changed; `None` where one was deleted.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let looked_up = self.looked_up.iter().filter_map(|known| match &known.row {
            Row::Old(_) => None,
            Row::New(row) => Some((&self.bytes[known.key.clone()], row)),
        });
        let others = self.others.iter().map(|(key, row)| (&key[..], row));
        looked_up.chain(others).map(|(key, row)| (key, row.clone().map(|row| &self.bytes[row])))
    }

    /// Rows that are known here.
    pub(super) fn len(&self) -> usize {
        self.looked_up.len() + self.others.len()
    }

    /// Bytes of the keys and of what was put.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn set(&mut self, key: &[u8], place: Option<Place>, row: Option<Range<usize>>) {
        match place {
            Some(Place(at)) => self.looked_up[at].row = Row::New(row),
            None => drop(self.others.insert(key.to_vec(), row)),
        }
    }

    /// The place in `looked_up` of a key.
    fn find(&self, key: &[u8]) -> Option<usize> {
        let is_key = |at: usize| self.bytes[self.looked_up[at].key.clone()] == *key;
        let asked = self.asked.get();
        for next in [asked, asked + 1] {
            if let Some(&at) = self.order.get(next)
                && is_key(at as usize)
            {
                self.asked.set(next);
                return Some(at as usize);
            }
        }
        self.looked_up.binary_search_by(|known| self.bytes[known.key.clone()].cmp(key)).ok()
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

/// The places of `keys` in ascending order of the keys.
fn ascending(keys: &[&[u8]]) -> impl Iterator<Item = usize> {
    // Keys of one batch begin alike: their first bytes that differ are compared as a number.
    let common = keys.iter().skip(1).fold(keys.first().map_or(0, |key| key.len()), |most, key| {
        key.iter().zip(&keys[0][..most]).take_while(|(a, b)| a == b).count()
    });
    let number = |key: &[u8]| {
        let mut number = [0; 8];
        let rest = &key[common..];
        let len = rest.len().min(8);
        number[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(number)
    };
    let mut places: Vec<_> = keys.iter().enumerate().map(|(at, key)| (number(key), at)).collect();
    places.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys[a.1].cmp(keys[b.1])));
    places.into_iter().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_up<'k>(keys: &[&'k str]) -> (Rows, Vec<&'k str>) {
        let mut asked = Vec::new();
        let bytes: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let rows = Rows::look_up(&bytes, |unique| {
            asked = unique.iter().map(|key| key.to_vec()).collect();
            Ok::<_, ()>(unique.iter().map(|key| Some([b"old ", *key].concat())).collect())
        });
        let find =
            |key: Vec<u8>| *keys.iter().find(|k| k.as_bytes() == key).expect("a key of ours");
        (rows.expect("it can't fail"), asked.into_iter().map(find).collect())
    }

    #[test]
    fn each_key_is_looked_up_once_and_ascending() {
        let keys = ["cam/2/b", "cam/10", "cam/2/a", "cam/", "cam/2/b", "cam/2/aaaaaaaaaa", "cam/2"];
        let (rows, asked) = looked_up(&keys);
        assert_eq!(asked, ["cam/", "cam/10", "cam/2", "cam/2/a", "cam/2/aaaaaaaaaa", "cam/2/b"]);
        assert_eq!(rows.len(), 6);
        let orders = [keys.to_vec(), asked.iter().rev().copied().collect()];
        for key in orders.concat() {
            assert_eq!(rows.get(key.as_bytes()), Some(Some(format!("old {key}").as_bytes())));
        }
        assert_eq!(rows.get(b"cam/3"), None);
        let keys = keys.map(str::as_bytes);
        let mut others = keys;
        others.swap(0, 1);
        assert!(rows.are_of(&keys) && !rows.are_of(&keys[1..]) && !rows.are_of(&others));
    }

    #[test]
    fn the_last_change_of_a_key_counts_whether_it_was_looked_up_or_not() {
        let (mut rows, _) = looked_up(&["b", "a", "b", "c"]);
        let put = |rows: &mut Rows, key: &[u8], row: &[u8]| {
            rows.put(key, rows.place(key), |out| out.extend_from_slice(row));
        };
        put(&mut rows, b"b", b"first");
        put(&mut rows, b"z", b"other");
        rows.delete(b"a");
        assert_eq!(rows.get(b"b"), Some(Some(&b"first"[..])));
        put(&mut rows, b"b", b"second");
        rows.delete(b"y");
        assert_eq!(rows.get(b"a"), Some(None));
        assert_eq!(rows.get(b"y"), Some(None));
        assert_eq!(rows.get(b"z"), Some(Some(&b"other"[..])));
        let changed: Vec<_> = rows.changed().collect();
        let expected: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", None), (b"b", Some(b"second")), (b"y", None), (b"z", Some(b"other"))];
        assert_eq!(changed, expected);
    }

    #[test]
    fn an_empty_key_and_no_keys_are_looked_up_too() {
        let (rows, asked) = looked_up(&["", "a", ""]);
        assert_eq!(asked, ["", "a"]);
        assert_eq!(rows.get(b""), Some(Some(&b"old "[..])));
        let (rows, _) = looked_up(&[]);
        assert_eq!((rows.len(), rows.get(b"")), (0, None));
    }
}
