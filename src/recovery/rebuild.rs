//! The last part of a rebuild: what nothing live refers to is free.
//!
//! While the chains were joined, all their body chunks went to the free list; here the live ones
//! are taken out again. Freeing as records die would be wrong: a chunk that a dead record had may
//! belong to another by now (it was refilled), and the record's death is seen a second time.

use super::report::Damage;
use crate::error::Result;
use crate::format::entry::{self, Entry, Extent, Place, SegmentRow};
use crate::format::record::{SegmentList, Space};
use crate::format::{Seq, TrackId};
use crate::index::{Books, Family, Index, Join};

const CLAIMS_A_BATCH: usize = 4096;

/// Gives all segments to the puts that name them. A segment that compaction moved may have come up
/// after its put, where its first place is gone with its track. Where the end of a part is lost, the
/// object that was made of it has its segments as well: they are the object's. Gives the first put of
/// which a segment is nowhere.
pub(super) fn adopt_segments(index: &Index, books: &mut Books) -> Result<Option<Damage>> {
    let view = index.snapshot();
    let (mut owned, mut orphan) = (Vec::new(), None);
    for space in [Space::Part, Space::Object] {
        let mut cursor = view.entries(space);
        cursor.seek(&[]);
        while let Some((_, entry)) = cursor.entry()? {
            if let Place::Segments(SegmentList(list)) = &entry.place {
                owned.extend(list.iter().map(|segment| (segment.seq, entry.seq, entry.track)));
            }
            cursor.next();
            if owned.len() >= CLAIMS_A_BATCH {
                orphan = orphan.or(adopt(index, books, &mut owned)?);
            }
        }
    }
    Ok(orphan.or(adopt(index, books, &mut owned)?))
}

fn adopt(
    index: &Index,
    books: &mut Books,
    owned: &mut Vec<(Seq, Seq, TrackId)>,
) -> Result<Option<Damage>> {
    let mut join = Join::new(index, books);
    let mut orphan = None;
    for (segment, owner, track) in owned.drain(..) {
        if !join.set_owner(segment, owner)? {
            orphan.get_or_insert(track);
        }
    }
    join.commit()?;
    let what = "an object in this track has bytes on no disk that was given";
    Ok(orphan.map(|track| Damage { track, chunk: 0, chunks: 0, what: what.into() }))
}

/// Takes the chunks of all live values out of the free list; gives those that two values claim.
pub(super) fn claim_live(index: &Index, books: &mut Books) -> Result<Vec<Damage>> {
    let mut claims = Claims { index, books, batch: Vec::new(), damage: Vec::new() };
    let view = index.snapshot();
    for space in [Space::Object, Space::Part] {
        let mut cursor = view.entries(space);
        cursor.seek(&[]);
        while let Some((_, entry)) = cursor.entry()? {
            claims.push(Entry::owned_extent(&entry))?;
            cursor.next();
        }
    }
    let mut cursor = view.rows(Family::Segments);
    cursor.seek(&[]);
    while let Some((key, row)) = cursor.row()? {
        entry::parse_seq_key(key).map_err(|fault| index.fault(fault))?;
        let row = SegmentRow::decode(row).map_err(|fault| index.fault(fault))?;
        claims.push(Some(row.extent()))?;
        cursor.next();
    }
    claims.flush()?;
    Ok(claims.damage)
}

struct Claims<'a> {
    index: &'a Index,
    books: &'a mut Books,
    batch: Vec<Extent>,
    damage: Vec<Damage>,
}

impl Claims<'_> {
    fn push(&mut self, extent: Option<Extent>) -> Result<()> {
        self.batch.extend(extent);
        if self.batch.len() >= CLAIMS_A_BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut join = Join::new(self.index, self.books);
        for extent in self.batch.drain(..) {
            if !join.claim(extent)? {
                self.damage.push(Damage {
                    track: extent.track,
                    chunk: extent.chunk,
                    chunks: extent.chunks,
                    what: "two values claim these chunks, or no chain has them".into(),
                });
            }
        }
        join.commit()?;
        Ok(())
    }
}
