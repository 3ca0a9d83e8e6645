//! The free list: runs of chunks that nothing live refers to, merged with their neighbours.

use super::{Family, Index, Join};
use crate::error::Result;
use crate::format::TrackId;
use crate::format::entry::{self, Extent, FreeRow};

impl Join<'_> {
    /// Adds an extent to the free list, merged with unpunched neighbours.
    ///
    /// Invariant I4: the row says which batch freed it; nobody may reuse the chunks before that
    /// batch is in a checkpoint and the readers pinned before it are gone.
    pub(super) fn release_merging(&mut self, extent: Extent) -> Result<()> {
        let Extent { track, mut chunk, mut chunks } = extent;
        if chunks == 0 {
            return Ok(());
        }
        if let Some(row) = self.track(track) {
            row.free_chunks += chunks;
        }
        self.freed_chunks += u64::from(chunks);
        let end = chunk + chunks;
        if let Some((before, row)) = self.free_at_or_before(track, chunk)?
            && before + row.chunks == chunk
            && !row.punched
        {
            self.free.insert((track, before), None);
            chunk = before;
            chunks += row.chunks;
        }
        if let Some(row) = self.free_row(track, end)?
            && !row.punched
        {
            self.free.insert((track, end), None);
            chunks += row.chunks;
        }
        let row = FreeRow { chunks, freed_by: self.number, punched: false };
        self.free.insert((track, chunk), Some(row));
        Ok(())
    }

    /// Adds an extent that has no neighbours in the free list yet.
    pub(super) fn release(&mut self, extent: Extent) {
        let Extent { track, chunk, chunks } = extent;
        if chunks == 0 {
            return;
        }
        if let Some(row) = self.track(track) {
            row.free_chunks += chunks;
        }
        self.freed_chunks += u64::from(chunks);
        let row = FreeRow { chunks, freed_by: self.number, punched: false };
        self.free.insert((track, chunk), Some(row));
    }

    /// Takes an extent out of the free list; whether it was all there. It may lie in several rows:
    /// those that are one now were not when the last checkpoint was taken.
    pub(crate) fn claim(&mut self, extent: Extent) -> Result<bool> {
        let Extent { track, chunk, chunks } = extent;
        let end = chunk + chunks;
        let (mut rows, mut at) = (Vec::new(), chunk);
        while at < end {
            match self.free_at_or_before(track, at)? {
                Some((start, row)) if start + row.chunks > at => {
                    rows.push((start, row));
                    at = start + row.chunks;
                }
                _ => return Ok(false),
            }
        }
        for (start, row) in rows {
            self.claim_part(track, (start, row), (chunk.max(start), end.min(start + row.chunks)));
        }
        Ok(true)
    }

    /// Takes the chunks from `part.0` to `part.1` out of a row.
    fn claim_part(&mut self, track: TrackId, (start, row): (u32, FreeRow), part: (u32, u32)) {
        let (chunk, end) = part;
        let row_end = start + row.chunks;
        self.free.insert((track, start), None);
        if start < chunk {
            self.free.insert((track, start), Some(FreeRow { chunks: chunk - start, ..row }));
        }
        if end < row_end {
            self.free.insert((track, end), Some(FreeRow { chunks: row_end - end, ..row }));
        }
        if let Some(counts) = self.track(track) {
            if row.punched {
                counts.punched_chunks -= end - chunk;
            } else {
                counts.free_chunks -= end - chunk;
            }
        }
    }

    /// Says that the chunks of some rows of a track, in order, were punched out, of those that are
    /// still the same, and merges them with one another and with punched neighbours. A row that has
    /// grown meanwhile stays to be punched again.
    pub(crate) fn set_punched(&mut self, track: TrackId, seen: &[(u32, FreeRow)]) -> Result<()> {
        let mut punched_chunks = 0;
        let mut left = seen.iter().copied().peekable();
        while let Some((chunk, row)) = left.next() {
            if self.free_row(track, chunk)? != Some(row) {
                continue;
            }
            let (mut start, mut end, mut freed_by) = (chunk, chunk + row.chunks, row.freed_by);
            punched_chunks += row.chunks;
            if let Some((before, row)) = self.free_before(track, chunk)?
                && before + row.chunks == chunk
                && row.punched
            {
                self.free.insert((track, chunk), None);
                start = before;
            }
            // Run by run and not row by row: with each row that is merged into one far before it, all
            // that were merged already would be passed over again.
            while let Some(row) = self.free_row(track, end)? {
                if left.next_if_eq(&(end, row)).is_some() {
                    punched_chunks += row.chunks;
                } else if !row.punched {
                    break;
                }
                self.free.insert((track, end), None);
                end += row.chunks;
                freed_by = freed_by.max(row.freed_by);
            }
            let whole = FreeRow { chunks: end - start, freed_by, punched: true };
            self.free.insert((track, start), Some(whole));
        }
        if let Some(row) = self.track(track) {
            row.free_chunks -= punched_chunks;
            row.punched_chunks += punched_chunks;
        }
        Ok(())
    }

    /// Forgets all free rows of a track.
    pub(super) fn drop_free_of(&mut self, track: TrackId) -> Result<()> {
        for (chunk, _) in free_rows(self.index, track)? {
            self.free.insert((track, chunk), None);
        }
        Ok(())
    }

    fn free_row(&self, track: TrackId, chunk: u32) -> Result<Option<FreeRow>> {
        if let Some(row) = self.free.get(&(track, chunk)) {
            return Ok(*row);
        }
        let key = entry::free_key(track, chunk);
        match self.index.get(Family::Free, &key)? {
            Some(row) => FreeRow::decode(&row).map(Some).map_err(|fault| self.index.fault(fault)),
            None => Ok(None),
        }
    }

    fn free_before(&self, track: TrackId, chunk: u32) -> Result<Option<(u32, FreeRow)>> {
        match chunk.checked_sub(1) {
            Some(before) => self.free_at_or_before(track, before),
            None => Ok(None),
        }
    }

    /// The last row of the track at or before `chunk`, this join's changes included.
    fn free_at_or_before(&self, track: TrackId, chunk: u32) -> Result<Option<(u32, FreeRow)>> {
        let changed = self.free.range((track, 0)..=(track, chunk)).rev();
        let changed = changed.filter_map(|(&(_, at), row)| Some((at, (*row)?))).next();
        let view = self.index.view();
        let mut cursor = view.rows(Family::Free);
        cursor.seek_back(&entry::free_key(track, chunk));
        while let Some((key, row)) = cursor.row()? {
            let (of, at) = entry::parse_free_key(key).map_err(|fault| self.index.fault(fault))?;
            if of != track || changed.is_some_and(|(known, _)| known >= at) {
                break;
            }
            if !self.free.contains_key(&(track, at)) {
                let row = FreeRow::decode(row).map_err(|fault| self.index.fault(fault))?;
                return Ok(Some((at, row)));
            }
            cursor.prev();
        }
        Ok(changed)
    }
}

/// The free rows of a track, in order.
pub(crate) fn free_rows(index: &Index, track: TrackId) -> Result<Vec<(u32, FreeRow)>> {
    let mut rows = Vec::new();
    let view = index.view();
    let mut cursor = view.rows(Family::Free);
    cursor.seek(&entry::free_key(track, 0));
    while let Some((key, row)) = cursor.row()? {
        let ((of, at), row) = decode(index, key, row)?;
        if of != track {
            break;
        }
        rows.push((at, row));
        cursor.next();
    }
    Ok(rows)
}

/// The free row that has all of an extent, if there is one.
pub(crate) fn free_row_around(index: &Index, extent: Extent) -> Result<Option<FreeRow>> {
    let view = index.view();
    let mut cursor = view.rows(Family::Free);
    cursor.seek_back(&entry::free_key(extent.track, extent.chunk));
    let Some((key, row)) = cursor.row()? else { return Ok(None) };
    let ((track, chunk), row) = decode(index, key, row)?;
    let has_all = track == extent.track && chunk + row.chunks >= extent.chunk + extent.chunks;
    Ok(has_all.then_some(row))
}

fn decode(index: &Index, key: &[u8], row: &[u8]) -> Result<((TrackId, u32), FreeRow)> {
    let decoded = entry::parse_free_key(key).and_then(|key| Ok((key, FreeRow::decode(row)?)));
    decoded.map_err(|fault| index.fault(fault))
}
