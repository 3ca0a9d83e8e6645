//! Tombstones: one by its key, or those that are wanted.

use super::{Family, Index};
use crate::error::Result;
use crate::format::entry::Grave;

/// A tombstone, with the key of its row.
pub(crate) type GraveRow = (Vec<u8>, Grave);

/// The tombstones that are wanted, in pages of `most`: each is of the moment when it is asked for.
pub(crate) fn graves(
    index: &Index,
    most: usize,
    wanted: impl Fn(&Grave) -> bool,
) -> impl Iterator<Item = Result<Vec<GraveRow>>> {
    let mut from = Vec::new();
    std::iter::from_fn(move || {
        let page = page(index, &from, most, &wanted);
        if let Ok(page) = &page {
            from = [&page.last()?.0[..], &[0]].concat();
        }
        Some(page)
    })
}

fn page(
    index: &Index,
    from: &[u8],
    most: usize,
    wanted: impl Fn(&Grave) -> bool,
) -> Result<Vec<GraveRow>> {
    let view = index.snapshot();
    let mut cursor = view.rows(Family::Graves);
    let mut graves = Vec::new();
    cursor.seek(from);
    while let Some((key, row)) = cursor.row()?.filter(|_| graves.len() < most) {
        let grave = Grave::decode(row).map_err(|fault| index.fault(fault))?;
        if wanted(&grave) {
            graves.push((key.to_vec(), grave));
        }
        cursor.next();
    }
    Ok(graves)
}

/// A tombstone, by the key of its row.
pub(crate) fn grave(index: &Index, row_key: &[u8]) -> Result<Option<Grave>> {
    let row = index.get(Family::Graves, row_key)?;
    let decode = |row: rocksdb::DBPinnableSlice<'_>| Grave::decode(&row);
    row.map(decode).transpose().map_err(|fault| index.fault(fault))
}
