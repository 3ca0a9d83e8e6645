//! Tombstones: one by its key, or those that are wanted.

use super::{Family, Index};
use crate::error::Result;
use crate::format::entry::Grave;

/// Tombstones that are wanted, `most` of them and from row `from` on, with the keys of their rows.
pub(crate) fn graves(
    index: &Index,
    from: &[u8],
    most: usize,
    wanted: impl Fn(&Grave) -> bool,
) -> Result<Vec<(Vec<u8>, Grave)>> {
    let view = index.snapshot();
    let mut cursor = view.rows(Family::Graves);
    let mut graves = Vec::new();
    cursor.seek(from);
    while let Some((key, row)) = cursor.row()? {
        let grave = Grave::decode(row).map_err(|fault| index.fault(fault))?;
        if wanted(&grave) {
            graves.push((key.to_vec(), grave));
            if graves.len() == most {
                break;
            }
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
