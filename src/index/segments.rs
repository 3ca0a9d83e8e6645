//! Segments: all that are wanted.

use super::{Family, Index};
use crate::error::Result;
use crate::format::Seq;
use crate::format::entry::{SegmentRow, parse_seq_key};

/// The segments that are wanted, in the order of their seqs.
pub(crate) fn segments(
    index: &Index,
    wanted: impl Fn(&SegmentRow) -> bool,
) -> Result<Vec<(Seq, SegmentRow)>> {
    let view = index.snapshot();
    let mut cursor = view.rows(Family::Segments);
    let mut segments = Vec::new();
    cursor.seek(&[]);
    while let Some((key, row)) = cursor.row()? {
        let decoded = parse_seq_key(key).and_then(|seq| Ok((seq, SegmentRow::decode(row)?)));
        let (seq, row) = decoded.map_err(|fault| index.fault(fault))?;
        if wanted(&row) {
            segments.push((seq, row));
        }
        cursor.next();
    }
    Ok(segments)
}
