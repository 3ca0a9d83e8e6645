//! Giving up a disk that will not be back.
//!
//! What lay on it is deleted, by tombstones on the other disks; so are keys that tombstones on it
//! deleted, once more: without, a rebuild would find older records of them elsewhere, and nothing
//! that hides them. Then the index forgets the disk's tracks, and after that `META` the disk. Cut
//! off, it is done again from the beginning.

use std::collections::HashSet;

use super::gate::Pass;
use super::{Info, PartId, Shared};
use crate::disk::Proposal;
use crate::error::{Error, ErrorKind, Result};
use crate::format::entry::{self, Entry, Grave, Place};
use crate::format::record::{Record, Space};
use crate::format::{DiskId, Seq, TrackId};
use crate::index::{self, View};

/// Keys that are deleted in one append.
const KEYS_A_BATCH: usize = 256;

/// The tracks of a disk.
struct OnDisk(HashSet<TrackId>);

impl OnDisk {
    /// Whether the record or a byte of the value lies there.
    fn has(&self, view: &View<'_>, entry: &Entry<'_>) -> Result<bool> {
        if self.0.contains(&entry.track) {
            return Ok(true);
        }
        let Place::Segments(list) = &entry.place else { return Ok(false) };
        for segment in &list.0 {
            if view.segment(segment.seq)?.is_none_or(|row| self.0.contains(&row.track)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Shared {
    /// Calls with each object of which anything lies on the disk; gives how many there are.
    pub(crate) fn objects_on(
        &self,
        disk: DiskId,
        on_object: &mut dyn FnMut(&[u8], &Info),
    ) -> Result<u64> {
        let mut objects = 0;
        self.each_on(&self.tracks_of(disk), Space::Object, |key, entry| {
            on_object(key, &Info::of(entry));
            objects += 1;
            Ok(())
        })?;
        Ok(objects)
    }

    /// Calls with what of a space lies on the disk, as it is now.
    fn each_on(
        &self,
        on_disk: &OnDisk,
        space: Space,
        mut on_entry: impl FnMut(&[u8], &Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let view = self.index.snapshot();
        let mut cursor = view.entries(space);
        cursor.seek(&[]);
        while let Some((key, entry)) = cursor.entry()? {
            if on_disk.has(&view, &entry)? {
                on_entry(key, &entry)?;
            }
            cursor.next();
        }
        Ok(())
    }

    pub(crate) fn forget_disk(
        &self,
        disk: DiskId,
        on_object: &mut dyn FnMut(&[u8], &Info),
    ) -> Result<u64> {
        let volume = self.volumes.of(disk).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the store has no disk {disk}"))
        })?;
        let on_disk = self.tracks_of(disk);
        // Its record would claim chunks of a track that the index has forgotten. None takes any that begins now.
        if self.refills.are_taken(|track| on_disk.0.contains(&track)) {
            let what = "is being written to by an object in the making; finish or drop its writer, and try again";
            return Err(Error::new(ErrorKind::Disk, what).with_path(&volume.dir));
        }
        if !self.volumes.are_without(&volume) || !volume.leave() {
            let what = "is not missing; drain it, or open the store without it";
            return Err(Error::new(ErrorKind::InvalidArgument, what).with_path(&volume.dir));
        }
        let objects = self.delete_objects_on(&on_disk, on_object)?;
        self.discard_parts_on(&on_disk)?;
        self.delete_once_more(&on_disk)?;
        self.drop_tracks(&on_disk)?;
        // The index must not know the disk when `META` does not any more.
        self.checkpoint()?;
        self.volumes.remove(disk);
        self.ledger.update(|meta| {
            meta.disks.retain(|state| state.id != disk);
            meta.cuts.retain(|(track, _)| !on_disk.0.contains(track));
            meta.trims.retain(|(track, _)| !on_disk.0.contains(track));
        })?;
        tracing::warn!(%disk, objects, path = %volume.disk.path.display(), "the disk is given up");
        Ok(objects)
    }

    fn tracks_of(&self, disk: DiskId) -> OnDisk {
        let books = self.books();
        let on = books.tracks.iter().filter(|(_, row)| row.disk == disk);
        OnDisk(on.map(|(id, _)| *id).collect())
    }

    fn delete_objects_on(
        &self,
        on_disk: &OnDisk,
        on_object: &mut dyn FnMut(&[u8], &Info),
    ) -> Result<u64> {
        let (mut objects, mut lost) = (0, Vec::new());
        self.each_on(on_disk, Space::Object, |key, entry| {
            on_object(key, &Info::of(entry));
            lost.push((key.to_vec(), entry.seq));
            if lost.len() >= KEYS_A_BATCH {
                objects += self.delete_lost(&std::mem::take(&mut lost))?;
            }
            Ok(())
        })?;
        Ok(objects + self.delete_lost(&lost)?)
    }

    /// Deletes those of the objects that were not put again meanwhile.
    fn delete_lost(&self, lost: &[(Vec<u8>, Seq)]) -> Result<u64> {
        self.admit_delete()?;
        let _gates =
            self.gates.pass(lost.iter().map(|(key, _)| (Space::Object, &key[..], Pass::Alone)));
        let view = self.index.view();
        let mut same = Vec::new();
        for (key, seq) in lost {
            if let Some(row) = view.entry(Space::Object, key)?
                && row.entry()?.seq == *seq
            {
                same.push((Space::Object, &key[..]));
            }
        }
        self.append_deletes(&same)?;
        Ok(same.len() as u64)
    }

    fn append_deletes(&self, keys: &[(Space, &[u8])]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        self.append(0, None, true, |_| {
            let mut proposal = Proposal::default();
            keys.iter().for_each(|&(space, key)| proposal.push(&Record::Delete { space, key }));
            proposal
        })?;
        Ok(())
    }

    fn discard_parts_on(&self, on_disk: &OnDisk) -> Result<()> {
        let mut parts = Vec::new();
        self.each_on(on_disk, Space::Part, |key, _| {
            let id = entry::parse_seq_key(key).map_err(|fault| self.index.fault(fault))?;
            parts.push(PartId(id.0));
            Ok(())
        })?;
        parts.into_iter().try_for_each(|part| self.discard_part(part).map(drop))
    }

    fn delete_once_more(&self, on_disk: &OnDisk) -> Result<()> {
        let is_on_disk = |grave: &Grave| on_disk.0.contains(&grave.track);
        for batch in index::graves(&self.index, KEYS_A_BATCH, is_on_disk) {
            let batch = batch?;
            self.admit_delete()?;
            let named = |(row_key, _): &'_ (Vec<u8>, Grave)| match row_key.split_first() {
                Some((0, _)) => Space::Object,
                _ => Space::Part,
            };
            let keys: Vec<_> = batch.iter().map(|row| (named(row), &row.0[1..])).collect();
            let _gates =
                self.gates.pass(keys.iter().map(|&(space, key)| (space, key, Pass::Alone)));
            let mut same = Vec::new();
            for (key, (row_key, grave)) in keys.iter().zip(&batch) {
                if index::grave(&self.index, row_key)? == Some(*grave) {
                    same.push(*key);
                }
            }
            self.append_deletes(&same)?;
        }
        Ok(())
    }

    /// Makes the index forget tracks in which nothing lives, but segments that nobody claimed.
    fn drop_tracks(&self, on_disk: &OnDisk) -> Result<()> {
        let unclaimed = index::segments(&self.index, |row| {
            row.owner.is_none() && on_disk.0.contains(&row.track)
        })?;
        self.free_unowned(unclaimed.into_iter().map(|(seq, _)| seq).collect())?;
        self.drop_graves(|grave| on_disk.0.contains(&grave.track))?;
        self.change(&mut self.books(), |join| {
            on_disk.0.iter().try_for_each(|id| join.drop_track(*id))
        })?;
        on_disk.0.iter().for_each(|id| self.files.forget(*id));
        Ok(())
    }
}
