//! Moving a bucket to another partition, while it is in use.
//!
//! Its rows are copied pass after pass, until one finds little that has changed since the one before.
//! Then whoever wants to change something in the bucket waits for a last pass, and the bucket's row in
//! the catalogue is put with the other partition: that is the moment. What the old partition has of it
//! is deleted when nobody is left who has found the bucket there.
//!
//! A crash before that moment leaves rows of a bucket that lies elsewhere in the one partition, and one
//! behind it in the other: they are swept at the next start.
//!
//! A pass compares the rows of both partitions, so that there is nothing to remember, and one that was
//! cut off is gone on with. Two rows have a value of their own in each store: tags of an object name its
//! seq, and a part's row its name in the store.

use std::time::{Duration, Instant};

use kogia::{Batch, Durability, Info, PartId, PutOptions, Store};

use super::keys::{self, BucketId};
use super::scan::Scan;
use super::streams::of_io;
use super::tags::TagsRow;
use super::uploads::PartRow;
use super::{Attributes, rows};
use crate::error::Result;

/// Values of this length and more are streamed.
const STREAMED_BYTES: u64 = 64 << 10;
/// So often it is asked whether to go on with a stream.
const ASKED_BYTES: u64 = 64 << 10;
/// And so often while the copy takes its time.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// A batch holds no more.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_ROWS: usize = 256;

/// What is told of a move, and asked whether to go on.
pub type OnCopied<'a> = dyn FnMut(&Copied) -> bool + 'a;

/// What was done so far: rows that were copied or taken back, and bytes that were copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    pub rows: u64,
    pub bytes: u64,
}

/// Why a pass ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Whole,
    Cancelled,
    /// Clients change more than is copied meanwhile.
    Outrun,
}

/// Copies a bucket from one store to another.
pub struct Mover<'a> {
    pub from: &'a Store,
    pub to: &'a Store,
    pub bucket: BucketId,
    pub bytes_per_second: Option<u64>,
    on_copied: &'a mut OnCopied<'a>,
    copied: Copied,
    began: Instant,
    batch: Batch,
    batched: (usize, u64),
}

/// What is to be done with a row by its name.
enum Step {
    /// It is in the old partition, and perhaps not the same in the new one.
    Copy(Vec<u8>, Info, Option<Info>),
    /// It is in the new one alone.
    Drop(Vec<u8>),
}

impl<'a> Mover<'a> {
    pub fn new(
        (from, to): (&'a Store, &'a Store),
        bucket: BucketId,
        bytes_per_second: Option<u64>,
        on_copied: &'a mut OnCopied<'a>,
    ) -> Self {
        Mover {
            from,
            to,
            bucket,
            bytes_per_second,
            on_copied,
            copied: Copied::default(),
            began: Instant::now(),
            batch: Batch::new(),
            batched: (0, 0),
        }
    }

    /// What was copied by all passes.
    #[must_use]
    pub fn copied(&self) -> Copied {
        self.copied
    }

    /// Makes the rows in the new partition those of the old one, as far as nobody changes them meanwhile.
    /// They are durable after a sync of the store.
    pub fn pass(&mut self) -> Result<Ended> {
        // Tags come behind what they belong to, and parts are copied by their rows.
        for kind in keys::KINDS.into_iter().filter(|kind| ![keys::TAGS, keys::PARTS].contains(kind))
        {
            let take = |this: &mut Self, name: &[u8], info: &Info, there: Option<&Info>| match there
            {
                Some(there) if is_same(info, there) => Ok(()),
                _ => this.copy(name),
            };
            if self.walk(kind, take, Self::drop_row)? == Ended::Cancelled {
                return Ok(Ended::Cancelled);
            }
        }
        if self.walk(keys::TAGS, Self::copy_tags, Self::drop_row)? == Ended::Cancelled {
            return Ok(Ended::Cancelled);
        }
        self.walk(keys::PARTS, Self::copy_part, Self::drop_part)
    }

    /// Goes over the rows of a kind in both partitions.
    fn walk(
        &mut self,
        kind: &[u8],
        take: impl Fn(&mut Self, &[u8], &Info, Option<&Info>) -> Result<()>,
        drop: impl Fn(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<Ended> {
        let prefix = keys::of_bucket(kind, self.bucket);
        let (mut old, mut new) = (Scan::new(self.from, prefix.clone()), Scan::new(self.to, prefix));
        while let Some(step) = next(&mut old, &mut new)? {
            match step {
                Step::Copy(name, info, there) => take(self, &name, &info, there.as_ref())?,
                Step::Drop(name) => drop(self, &name)?,
            }
            if !(self.on_copied)(&self.copied) {
                return Ok(Ended::Cancelled);
            }
        }
        self.write_batch()?;
        Ok(Ended::Whole)
    }

    fn copy(&mut self, name: &[u8]) -> Result<()> {
        let Some(mut reader) = self.from.reader(name)? else { return Ok(()) };
        let info = reader.info().clone();
        let options = PutOptions {
            attributes: info.attributes,
            created_ms: Some(info.created_ms),
            modified_ms: Some(info.modified_ms),
            expires_ms: info.expires_ms,
            durability: Some(Durability::Os),
            ..PutOptions::default()
        };
        if info.len < STREAMED_BYTES {
            let mut value = Vec::with_capacity(info.len as usize);
            std::io::copy(&mut reader, &mut value).map_err(of_io)?;
            return self.put(name, value, &options);
        }
        let mut writer = self.to.writer_with(name, options)?;
        if self.pour(&mut reader, &mut writer)? {
            writer.commit()?;
            self.copied.rows += 1;
        }
        Ok(())
    }

    /// Copies bytes, and takes its time where it has to. Says whether it came to their end, and was not
    /// called off.
    fn pour(&mut self, from: &mut kogia::Reader<'_>, to: &mut impl std::io::Write) -> Result<bool> {
        let mut unasked = 0;
        while let Some(slice) = from.next_slice()? {
            to.write_all(slice).map_err(of_io)?;
            let len = slice.len() as u64;
            self.count(len);
            unasked += len;
            if unasked >= ASKED_BYTES {
                unasked = 0;
                if !(self.on_copied)(&self.copied) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn put(&mut self, name: &[u8], value: Vec<u8>, options: &PutOptions) -> Result<()> {
        let bytes = value.len() as u64;
        let row_bytes = (name.len() + options.attributes.len()) as u64;
        self.batch.put_with(name, value, options);
        self.copied.rows += 1;
        self.count(bytes);
        self.batched(row_bytes + bytes)
    }

    fn drop_row(&mut self, name: &[u8]) -> Result<()> {
        self.batch.delete(name);
        self.copied.rows += 1;
        self.batched(name.len() as u64)
    }

    fn batched(&mut self, bytes: u64) -> Result<()> {
        self.batched.0 += 1;
        self.batched.1 += bytes;
        if self.batched.0 < BATCH_ROWS && self.batched.1 < BATCH_BYTES {
            return Ok(());
        }
        self.write_batch()
    }

    fn write_batch(&mut self) -> Result<()> {
        self.batched = (0, 0);
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.to.write_with(batch, Durability::Os)?;
        }
        Ok(())
    }

    /// Counts what was copied, and waits where that was faster than is allowed, unless it was called off.
    fn count(&mut self, bytes: u64) {
        self.copied.bytes += bytes;
        let Some(rate) = self.bytes_per_second else { return };
        let due = Duration::from_secs_f64(self.copied.bytes as f64 / rate as f64);
        loop {
            let left = due.saturating_sub(self.began.elapsed());
            if left.is_zero() || !(self.on_copied)(&self.copied) {
                return;
            }
            std::thread::sleep(left.min(LONGEST_SLEEP));
        }
    }

    /// Copies a row of tags, unless it is of an object that was overwritten.
    fn copy_tags(&mut self, name: &[u8], _: &Info, _: Option<&Info>) -> Result<()> {
        let Some(row) = self.from.get(name)? else { return Ok(()) };
        let row: TagsRow = rows::decode(&row)?;
        let seq = if self.is_of_version(name, row.seq)? {
            Some(row.seq)
        } else {
            let object = [&b"o"[..], &name[1..]].concat();
            let is_meant = self.from.head(&object)?.is_some_and(|info| info.seq.0 == row.seq);
            let there = if is_meant { self.to.head(&object)? } else { None };
            there.map(|info| info.seq.0)
        };
        let wanted = seq.map(|seq| rows::encode(&TagsRow { seq, ..row }));
        if self.to.get(name)? == wanted {
            return Ok(());
        }
        match wanted {
            Some(row) => self.put(name, row, &PutOptions::default()),
            None => self.drop_row(name),
        }
    }

    /// Whether a row of tags belongs to a version, which it names by what it is called for ever.
    fn is_of_version(&self, name: &[u8], mark: u64) -> Result<bool> {
        let version = [&b"v"[..], &name[1..]].concat();
        let Some(info) = self.from.head(&version)? else { return Ok(false) };
        let id = Attributes::decode(&info.attributes)?.version.map(|version| version.id.0);
        Ok(id == Some(mark))
    }

    /// Copies a part, whose row in the new partition names it as it is called there.
    fn copy_part(&mut self, name: &[u8], _: &Info, _: Option<&Info>) -> Result<()> {
        let Some(row) = self.from.get(name)? else { return Ok(()) };
        let row: PartRow = rows::decode(&row)?;
        let there = self.part_of(name)?;
        if there.as_ref().is_some_and(|there| PartRow { part: row.part, ..there.clone() } == row) {
            return Ok(());
        }
        // One that is used up or discarded meanwhile has no row any more, or another one.
        let Some(mut reader) = self.from.part_reader(PartId(row.part))? else { return Ok(()) };
        let mut writer = self.to.part()?;
        if !self.pour(&mut reader, &mut writer)? {
            return Ok(());
        }
        let part = writer.finish()?.id.0;
        self.to.put(name, rows::encode(&PartRow { part, ..row }))?;
        self.copied.rows += 1;
        match there {
            Some(old) => self.discard(&old),
            None => Ok(()),
        }
    }

    fn drop_part(&mut self, name: &[u8]) -> Result<()> {
        let there = self.part_of(name)?;
        self.to.delete(name)?;
        self.copied.rows += 1;
        there.map_or(Ok(()), |old| self.discard(&old))
    }

    fn part_of(&self, name: &[u8]) -> Result<Option<PartRow>> {
        Ok(self.to.get(name)?.map(|row| rows::decode(&row)).transpose()?)
    }

    fn discard(&self, row: &PartRow) -> Result<()> {
        self.to.discard_part(PartId(row.part))?;
        Ok(())
    }
}

/// The next row that is in either partition, by its name.
fn next(old: &mut Scan<'_>, new: &mut Scan<'_>) -> Result<Option<Step>> {
    let there = new.peek()?.map(|(name, _)| name.clone());
    let Some((name, _)) = old.peek()? else {
        return Ok(new.next().transpose()?.map(|(name, _)| Step::Drop(name)));
    };
    if there.as_ref().is_some_and(|there| there < name) {
        return Ok(new.next().transpose()?.map(|(name, _)| Step::Drop(name)));
    }
    let is_in_both = there.as_ref() == Some(name);
    let copy = if is_in_both { new.next().transpose()?.map(|(_, info)| info) } else { None };
    Ok(old.next().transpose()?.map(|(name, info)| Step::Copy(name, info, copy)))
}

/// Whether two rows are the same, as far as can be told without reading them; that each was put alone
/// at its millisecond does not matter, since that of its bytes' sum is told as well.
fn is_same(one: &Info, other: &Info) -> bool {
    Info { seq: one.seq, ..other.clone() } == *one
}
